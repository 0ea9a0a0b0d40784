"""From files to a manifest, or to every problem it has at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from penstock.config.crossrefs import check_references
from penstock.config.models import Manifest
from penstock.config.problems import from_validation, problem_at
from penstock.config.seam_protocol import Checker, Findings, Question, Scope
from penstock.config.settings import compile_settings, sources
from penstock.config.sources import Resolver, read_regular
from penstock.config.tree import MAX_BYTES, Items, Node, Scalar, Table, Where, child, find, plain, read_tree
from penstock.errors import ConfigError, Level, Problem

_LISTS = ("issuers", "identities", "targets", "classes", "reviewers", "rules")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A manifest that can be used, what is doubtful about it, and the files it depends on."""

    manifest: Manifest
    warnings: tuple[Problem, ...]
    files: frozenset[Path]
    tree: Node = field(repr=False, compare=False)

    def problems_at(self, found: Iterable[tuple[Where, str, str | None]]) -> list[Problem]:
        """Problems found later, with the places in the manifest they point at."""
        return _ordered([problem_at(self.tree, where, message, hint) for where, message, hint in found])


def load(path: Path, *, checker: Checker | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """Loads a manifest file, or every *.yaml of a folder. Raises ConfigError with all problems."""
    loaded, problems = examine(path, checker=checker, environ=environ)
    if loaded is None:
        raise ConfigError(problems)
    return loaded


def from_data(data: Mapping[str, Any], *, directory: Path) -> Manifest:
    """A manifest made by the program itself. Raises ConfigError, with the key's path instead of a line."""
    try:
        return Manifest.model_validate(data, context=Resolver(directory))
    except ValidationError as error:
        said = [
            (".".join(map(str, each["loc"])), (each.get("ctx") or {}).get("message", each["msg"]))
            for each in error.errors(include_url=False)
        ]
        raise ConfigError(Problem("manifest", 0, 0, f"{where}: {message}") for where, message in said) from None


def examine(
    path: Path, *, checker: Checker | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Loaded | None, list[Problem]]:
    """Like `load`, but hands back errors and warnings together, and a manifest only when there is no error."""
    problems: list[Problem] = []
    tree, files = _read(path, problems)
    if tree is None or not isinstance(tree, Table):
        if tree is not None:
            problems.append(problem_at(tree, (), "a manifest is a mapping", "begin it with: version: 1"))
        return None, _ordered(problems)
    directory = path if path.is_dir() else path.parent
    manifest = _validate(tree, Resolver(directory, environ), problems)
    problems += check_references(tree)
    if checker is not None:
        broken = any(problem.level == "error" for problem in problems)
        problems += _ask(tree, None if broken else manifest, checker)
    if manifest is not None:
        problems += _doubts(manifest, tree)
    problems = _ordered(problems)
    if manifest is None or any(problem.level == "error" for problem in problems):
        return None, problems
    needed = files | {source.file for _, source in sources(manifest) if source.file is not None}
    return Loaded(manifest, tuple(problems), frozenset(needed), tree), problems


def manifest_files(path: Path) -> list[Path]:
    """The file itself, or the *.yaml and *.yml of the folder in the order of their names."""
    if not path.is_dir():
        return [path]
    found = [each for each in path.iterdir() if each.suffix in (".yaml", ".yml") and not each.name.startswith(".")]
    return sorted(found)


def _read(path: Path, problems: list[Problem]) -> tuple[Node | None, set[Path]]:
    try:
        files = manifest_files(path)
    except OSError as error:
        problems.append(Problem(str(path), 1, 1, f"the folder cannot be read: {error.strerror}"))
        return None, set()
    if not files:
        problems.append(Problem(str(path), 1, 1, "there is no *.yaml in this folder"))
        return None, set()
    trees, left, whole = [], MAX_BYTES, True
    for file in files:
        text = _text(file, left, problems)
        left -= len(text.encode()) if text is not None else 0
        found = len(problems)
        tree = None if text is None else read_tree(text, str(file), problems)
        # An empty file says nothing; one that cannot be read leaves holes that would look like other mistakes.
        whole = whole and (tree is not None or (text is not None and len(problems) == found))
        trees += [] if tree is None else [tree]
    if whole and not trees:
        problems.append(Problem(str(files[0]), 1, 1, "the manifest is empty", "begin it with: version: 1"))
    return _merge(trees, problems) if whole else None, {file.absolute() for file in files}


def _text(file: Path, most: int, problems: list[Problem]) -> str | None:
    content = _bytes(file, most, problems)
    if content is None:
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        problems.append(Problem(str(file), line, column, "this is not UTF-8 text", "save the file as UTF-8"))
        return None


def _bytes(file: Path, most: int, problems: list[Problem]) -> bytes | None:
    hint = None
    try:
        content, _ = read_regular(file, most + 1)
    except OSError as error:
        said = f"the manifest cannot be read: {error.strerror}"
        hint = "penstock demo shows one" if isinstance(error, FileNotFoundError) else None
    except ValueError:
        said = "the manifest cannot be read: this is not a path"
    else:
        if content is not None and len(content) <= most:
            return content
        said = f"the manifest is larger than {MAX_BYTES // (1024 * 1024)} MiB"
        if content is None:
            said = "the manifest cannot be read: it is not a regular file"
    problems.append(Problem(str(file), 1, 1, said, hint))
    return None


def _merge(trees: list[Node], problems: list[Problem]) -> Node | None:
    """One tree of several files: lists are joined, mappings joined key by key, nothing may be said twice."""
    if not trees:
        return None
    whole = trees[0]
    for tree in trees[1:]:
        if not isinstance(tree, Table) or not isinstance(whole, Table):
            problems.append(problem_at(tree, (), "a manifest is a mapping", "begin it with: version: 1"))
            continue
        for key, node in tree.nodes.items():
            _join(whole, key, node, tree, problems)
    return whole


def _join(whole: Table, key: str, node: Node, tree: Table, problems: list[Problem]) -> None:
    present = whole.nodes.get(key)
    if present is None:
        whole.nodes[key] = node
        whole.keys[key] = tree.keys[key]
    elif isinstance(present, Items) and isinstance(node, Items) and key in _LISTS:
        whole.nodes[key] = Items(present.mark, [*present.nodes, *node.nodes])
    elif isinstance(present, Table) and isinstance(node, Table):
        whole.nodes[key] = joined = Table(present.mark, dict(present.nodes), dict(present.keys))
        for inner, each in node.nodes.items():
            if inner in joined.nodes:
                problems.append(_twice(node, inner, joined))
            joined.nodes.setdefault(inner, each)
            joined.keys.setdefault(inner, node.keys[inner])
    elif plain(present) != plain(node):
        problems.append(_twice(tree, key, whole))


def _twice(table: Table, key: str, other: Table) -> Problem:
    mark = table.keys[key]
    said = f"'{key}' is said in another file already, at {other.keys[key]}"
    return Problem(mark.file, mark.line, mark.column, said, "keep one of them", "error", (key,))


def _validate(tree: Table, resolver: Resolver, problems: list[Problem]) -> Manifest | None:
    try:
        return Manifest.model_validate(plain(tree), context=resolver)
    except ValidationError as error:
        problems += from_validation(error, tree, Manifest)
        return None


def _questions(tree: Node, whole: bool) -> list[tuple[Where, Question]]:
    """The expressions to check one by one: claims always, rules only if the manifest as a whole cannot be checked."""
    places: list[tuple[str, tuple[str, ...], Scope]] = [("identities", ("when",), "claims")]
    if not whole:
        places += [("rules", ("deny",), "rule"), ("rules", ("hold", "when"), "rule")]
    found: list[tuple[Where, Question]] = []
    for part, steps, scope in places:
        items = child(tree, part)
        for index, entry in enumerate(items.nodes if isinstance(items, Items) else ()):
            node, taken = find(entry, steps)
            if len(taken) == len(steps) and isinstance(node, Scalar) and isinstance(node.value, str) and node.value:
                found.append(((part, index, *steps), Question(node.value[:8192], scope)))
    return found


def _ask(tree: Node, manifest: Manifest | None, checker: Checker) -> list[Problem]:
    settings = None if manifest is None else compile_settings(manifest, 0, blank=True)
    questions = _questions(tree, manifest is not None)
    findings = checker.check(settings, [question for _, question in questions])
    if findings.rules and manifest is not None and not any("where" in each for each in findings.rules):
        # The settings as a whole broke the guard: one by one shows which expression does.
        questions = _questions(tree, False)
        alone = checker.check(None, [question for _, question in questions])
        if any(alone.expressions):
            findings = Findings([], alone.expressions)
    told = [_told(tree, tuple(each.get("where") or ()), each) for each in findings.rules]
    for (where, _), found in zip(questions, findings.expressions, strict=True):
        told += [_told(tree, where, each) for each in found]
    return told


def _told(tree: Node, where: Where, found: Mapping[str, Any]) -> Problem:
    node, taken = find(tree, where)
    column, offset = node.mark.column, found.get("offset")
    if isinstance(node, Scalar) and node.inner is not None and isinstance(offset, int) and offset >= 0:
        # The native part counts bytes, a person's editor characters.
        column += node.inner + len(node.text.encode(errors="replace")[:offset].decode(errors="ignore"))
    level: Level = "warning" if found.get("level") == "warning" else "error"
    said, hint = str(found.get("message", "this is wrong")), found.get("hint")
    return Problem(node.mark.file, node.mark.line, column, said, str(hint) if hint else None, level, taken)


def _doubts(manifest: Manifest, tree: Node) -> list[Problem]:
    """What works and should not stay."""

    def doubt(where: Where, message: str, hint: str | None) -> Problem:
        return problem_at(tree, where, message, hint, "warning")

    found = [doubt(where, *source.warning) for where, source in sources(manifest) if source.warning is not None]
    for name, listener in manifest.listeners.protocols.items():
        if listener.tls is None and not listener.loopback:
            said = "clients beyond this machine are served without TLS"
            found.append(doubt(("listeners", name), said, "add tls: {cert: FILE, key: FILE}"))
    for part in ("targets", "identities"):
        for index, each in enumerate(getattr(manifest, part)):
            if each.mode == "observe":
                said = f"{each.name} is only observed: nothing is refused, held or masked"
                found.append(doubt((part, index, "mode"), said, "mode: enforce protects it"))
    now = datetime.now(UTC)
    for index, identity in enumerate(manifest.identities):
        for place, token in enumerate(identity.tokens or ()):
            if not token.live(now):
                found.append(doubt(("identities", index, "tokens", place), "this token has expired", "remove it"))
    if manifest.state.database.shared and manifest.trail.node is None:
        problem = problem_at(
            tree,
            ("state", "database"),
            "gateways that share a state database need names",
            "add trail: {node: NAME}, another one for each gateway",
        )
        found.append(problem)
    return found


def _ordered(problems: Sequence[Problem]) -> list[Problem]:
    """In the order of the files, and each said once."""
    kept: dict[tuple[str, int, int, str], Problem] = {}
    for problem in problems:
        kept.setdefault((problem.file, problem.line, problem.column, problem.message), problem)
    return sorted(kept.values(), key=lambda each: (each.file, each.line, each.column))
