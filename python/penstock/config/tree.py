"""YAML text to a tree in which every node remembers its place.

Built from the parser's events rather than from a loader's objects: depth, size and alias expansion are bounded while
reading, a repeated key is an error that names both places, and no tag can make anything but plain data. Scalars follow
the YAML 1.2 core schema, so that `on`, `08:00` and `2026-01-01` stay text; so do fractions, which no key takes, because
a token's id may look like one (`12345678e9`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from penstock.errors import Problem

MAX_BYTES = 4 * 1024 * 1024
"""Size of all files of a manifest together, in bytes."""
MAX_DEPTH = 32
"""Lists and mappings within one another."""
MAX_NODES = 200_000
"""Nodes after every alias has been expanded."""

Plain = str | int | bool | None
Where = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]{1,18}\Z")
_WORDS: dict[str, Plain] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(slots=True)
class Scalar:
    """Text, a number, true, false or null. `text` is how it is written; it begins `inner` columns after the mark,
    unless its place in the file cannot be told (escapes, several lines)."""

    mark: Mark
    value: Plain
    text: str = ""
    inner: int | None = None
    weight: int = 1


@dataclass(slots=True)
class Items:
    """A list."""

    mark: Mark
    nodes: list[Node] = field(default_factory=list)
    weight: int = 1


@dataclass(slots=True)
class Table:
    """A mapping. `keys` holds the place of each key."""

    mark: Mark
    nodes: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)
    weight: int = 1


Node = Scalar | Items | Table


def plain(node: Node) -> Any:
    """The node as Python's own dicts, lists and scalars."""
    match node:
        case Scalar(value=value):
            return value
        case Items(nodes=nodes):
            return [plain(each) for each in nodes]
        case Table(nodes=nodes):
            return {key: plain(each) for key, each in nodes.items()}


def child(node: Node, step: str | int) -> Node | None:
    """The node one step further, if there is one."""
    if isinstance(node, Table) and isinstance(step, str):
        return node.nodes.get(step)
    if isinstance(node, Items) and isinstance(step, int) and 0 <= step < len(node.nodes):
        return node.nodes[step]
    return None


def find(node: Node, where: Iterable[str | int]) -> tuple[Node, Where]:
    """The deepest node on the path, and as much of the path as exists."""
    taken: list[str | int] = []
    for step in where:
        below = child(node, step)
        if below is None:
            break
        taken.append(step)
        node = below
    return node, tuple(taken)


def key_mark(node: Node, where: Where) -> Mark:
    """Where the last key of the path stands; for a list's item, where the item stands."""
    if not where:
        return node.mark
    parent, taken = find(node, where[:-1])
    last = where[-1]
    if len(taken) == len(where) - 1 and isinstance(parent, Table) and last in parent.keys:
        return parent.keys[str(last)]
    return find(node, where)[0].mark


def read_tree(text: str, file: str, problems: list[Problem]) -> Node | None:
    """Reads one document. Everything wrong is appended to `problems`; None if something of it is lost."""
    builder = _Builder(file, problems)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
            if builder.stopped:
                break
    except MarkedYAMLError as error:
        builder.syntax(error)
    except RecursionError:
        builder.stop(Mark(file, 1, 1), "lists and mappings are nested too deeply")
    except (YAMLError, Exception) as error:  # noqa: BLE001
        # The parser raises bare ValueErrors and worse for hostile escapes and directives; none of them may get through.
        told = str(error).splitlines()[0] if str(error) else repr(error)
        builder.stop(Mark(file, 1, 1), f"this is not YAML: {told}")
    return None if builder.stopped else builder.root


class _Builder:
    """Puts nodes together from events."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = problems
        self.root: Node | None = None
        self.stopped = False
        """Nothing that follows can be trusted."""
        self._documents = 0
        self._open: list[Items | Table] = []
        self._anchors_open: list[str | None] = []
        self._pending: list[tuple[str | None, Mark] | None] = []
        self._anchors: dict[str, Node] = {}
        self._weight = 0

    def problem(self, mark: Mark, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(mark.file, mark.line, mark.column, message, hint))

    def stop(self, mark: Mark, message: str, hint: str | None = None) -> None:
        """A problem after which nothing can be trusted."""
        self.stopped = True
        self.problem(mark, message, hint)

    def syntax(self, error: MarkedYAMLError) -> None:
        self.stopped = True
        at = error.problem_mark or error.context_mark
        mark = Mark(self.file, at.line + 1, at.column + 1) if at is not None else Mark(self.file, 1, 1)
        said = " ".join(str(part).strip() for part in (error.context, error.problem) if part)
        hint = "YAML is indented with spaces, not tabs" if "\\t" in said else None
        self.problem(mark, f"this is not YAML: {said.splitlines()[0] if said else 'unreadable'}", hint)

    def take(self, event: Any) -> None:
        name = type(event).__name__
        mark = Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)
        if name == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                self.problem(mark, "a manifest file holds one document", "remove the line `---`, or use two files")
                self.stopped = True
        elif name == "ScalarEvent":
            self._tag(event, mark)
            self._weigh(1, mark)
            self._put(_scalar(event, mark), event.anchor)
        elif name in ("SequenceStartEvent", "MappingStartEvent"):
            self._tag(event, mark)
            self._weigh(1, mark)
            self._push(Items(mark) if name == "SequenceStartEvent" else Table(mark), event.anchor)
        elif name in ("SequenceEndEvent", "MappingEndEvent"):
            self._pop()
        elif name == "AliasEvent":
            self._alias(event.anchor, mark)

    def _tag(self, event: Any, mark: Mark) -> None:
        tag = str(event.tag) if event.tag is not None else ""
        if tag not in ("", "!", "tag:yaml.org,2002:str"):
            # Not quoted: a secret may begin with such a sign.
            self.problem(
                mark, "this tag has no meaning in a manifest", "remove it, or put a text that begins with ! in quotes"
            )

    def _weigh(self, weight: int, mark: Mark) -> None:
        self._weight += weight
        if self._weight > MAX_NODES and not self.stopped:
            self.stopped = True
            self.problem(mark, f"a manifest has at most {MAX_NODES:,} nodes, counting what its aliases stand for")

    def _push(self, node: Items | Table, anchor: str | None) -> None:
        self._open.append(node)
        self._anchors_open.append(anchor)
        self._pending.append(None)
        if len(self._open) > MAX_DEPTH:
            self.stopped = True
            self.problem(node.mark, f"lists and mappings nest at most {MAX_DEPTH} deep")

    def _pop(self) -> None:
        node = self._open.pop()
        self._pending.pop()
        self._put(node, self._anchors_open.pop())

    def _alias(self, anchor: str, mark: Mark) -> None:
        node = self._anchors.get(anchor)
        if node is None:
            inside = anchor in self._anchors_open
            if inside:
                self.problem(mark, f"*{anchor} stands inside itself")
            else:
                self.problem(mark, "there is no anchor for this alias", "put a text that begins with * in quotes")
            self.stopped = True
            node = Scalar(mark, None)
        self._weigh(node.weight, mark)
        self._put(node, None)

    def _put(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if not self._open:
            if self.root is None:
                self.root = node
            return
        parent = self._open[-1]
        parent.weight += node.weight
        if isinstance(parent, Items):
            parent.nodes.append(node)
        else:
            self._entry(parent, node)

    def _entry(self, parent: Table, node: Node) -> None:
        pending = self._pending[-1]
        if pending is None:
            self._pending[-1] = self._key(node)
            return
        self._pending[-1] = None
        key, mark = pending
        if key is None:
            return
        if isinstance(node, Scalar) and not node.text and node.inner == 0:
            node.mark = mark  # a value left out stands nowhere; the parser would say on the next line
        if key in parent.nodes:
            self.problem(mark, f"the key '{key}' is there twice; first at {parent.keys[key]}", "keep one of them")
        elif key == "<<":
            self.problem(mark, "merge keys (<<) are not supported", "write the keys out; a whole value may be an alias")
        else:
            parent.nodes[key] = node
            parent.keys[key] = mark

    def _key(self, node: Node) -> tuple[str | None, Mark]:
        if not isinstance(node, Scalar):
            self.problem(node.mark, "a key must be a word, not a list or mapping", "is a quote or a comma missing?")
            return None, node.mark
        # Keys are text whatever they look like, so that `{null: true}` names the mask.
        return node.text, node.mark


def _scalar(event: Any, mark: Mark) -> Scalar:
    text = str(event.value)
    one_line = event.start_mark.line == event.end_mark.line
    if event.style is None:
        bare = event.tag in (None, "")
        inner = 0 if one_line else None
        return Scalar(mark, _resolve(text) if bare else text, text, inner)
    width = event.end_mark.column - event.start_mark.column
    exact = one_line and event.style in ("'", '"') and width == len(text) + 2
    return Scalar(mark, text, text, 1 if exact else None)


def _resolve(text: str) -> Plain:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text)
    return text


def walk(node: Node, where: Where = ()) -> Iterator[tuple[Where, Node]]:
    """Every node below and including `node`, with its path."""
    yield where, node
    if isinstance(node, Items):
        for index, each in enumerate(node.nodes):
            yield from walk(each, (*where, index))
    elif isinstance(node, Table):
        for key, each in node.nodes.items():
            yield from walk(each, (*where, key))
