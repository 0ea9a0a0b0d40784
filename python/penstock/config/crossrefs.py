"""What one part of the manifest says of another: names that must exist, names that must not exist twice.

Works on the tree rather than on the models, so that one broken entry does not hide what is wrong in the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from pydantic_core import PydanticCustomError

from penstock.config.models.base import MAX_IDENTITY
from penstock.config.models.people import member_parts, verifier_parts
from penstock.config.problems import problem_at, problem_of_key, suggest
from penstock.config.protocols import PROTOCOLS
from penstock.config.sources import scram_salt, shown
from penstock.config.tree import Items, Node, Scalar, Table, Where, child, find
from penstock.errors import Problem

_PARTS = {
    "issuers": "issuer",
    "identities": "identity",
    "targets": "target",
    "classes": "class",
    "reviewers": "reviewers",
    "rules": "rule",
}


def check_references(tree: Node) -> list[Problem]:
    """Everything wrong between the parts of a manifest."""
    return list(_Checker(tree).run())


class _Checker:
    def __init__(self, tree: Node) -> None:
        self.tree = tree
        self.names = {part: self._names(part) for part in _PARTS}
        self.groups = {text for _, text in self._texts("identities", "groups")}
        self.labels = {f"{key}:{text}" for _, entry in self._entries("targets") for key, text in _labels(entry)}

    def run(self) -> Iterator[Problem]:
        checks: list[Callable[[], Iterator[Problem]]] = [
            self._duplicates,
            self._listeners,
            self._identities,
            self._targets,
            self._databases,
            self._classes,
            self._reviewers,
            self._rules,
        ]
        for check in checks:
            yield from check()

    def _entries(self, part: str) -> Iterator[tuple[Where, Table]]:
        items = child(self.tree, part)
        if isinstance(items, Items):
            for index, node in enumerate(items.nodes):
                if isinstance(node, Table):
                    yield (part, index), node

    def _names(self, part: str) -> dict[str, Where]:
        names: dict[str, Where] = {}
        for where, entry in self._entries(part):
            name = _text(child(entry, "name"))
            if name is not None:
                names.setdefault(name, where)
        return names

    def _texts(self, part: str, *steps: str) -> Iterator[tuple[Where, str]]:
        """Every text of the lists (or single texts) at `steps` below each entry of a part."""
        for where, entry in self._entries(part):
            node, taken = find(entry, steps)
            if len(taken) == len(steps):
                yield from _listed((*where, *steps), node)

    def _wrong(self, where: Where, message: str, hint: str | None = None) -> Problem:
        return problem_at(self.tree, where, message, hint)

    def _unknown(self, where: Where, part: str, name: str) -> Problem:
        word = _PARTS[part]
        hint = suggest(name, self.names[part]) or f"no {word} is declared; add it under {part}:"
        return self._wrong(where, f"there is no {word} '{name}'", hint)

    def _duplicates(self) -> Iterator[Problem]:
        for part, word in _PARTS.items():
            seen: dict[str, Node] = {}
            for where, entry in self._entries(part):
                node = child(entry, "name")
                name = _text(node)
                if name is None or node is None:
                    continue
                if name in seen:
                    said = f"the name '{name}' is taken by another {word} at {seen[name].mark}"
                    yield self._wrong((*where, "name"), said, "give each its own name")
                seen.setdefault(name, node)

    def _listeners(self) -> Iterator[Problem]:
        listeners = child(self.tree, "listeners")
        if not isinstance(listeners, Table):
            return
        for name in listeners.nodes:
            if name != "admin" and name not in PROTOCOLS:
                hint = suggest(name, [*PROTOCOLS, "admin"])
                yield problem_of_key(self.tree, ("listeners", name), f"there is no protocol '{name}'", hint)
        if not any(name in PROTOCOLS for name in listeners.nodes):
            yield self._wrong(("listeners",), "no client could connect", 'add postgres: {bind: "127.0.0.1:6432"}')
        yield from self._same_bind(listeners)

    def _same_bind(self, listeners: Table) -> Iterator[Problem]:
        seen: dict[str, str] = {}
        for name, node in listeners.nodes.items():
            bind = _text(child(node, "bind"))
            if bind is None or bind.endswith(":0"):
                continue
            if bind in seen:
                yield self._wrong(("listeners", name, "bind"), f"the listener {seen[bind]} already uses {bind}")
            seen.setdefault(bind, name)

    def _identities(self) -> Iterator[Problem]:
        for where, issuer in self._texts("identities", "issuer"):
            if issuer not in self.names["issuers"]:
                yield self._unknown(where, "issuers", issuer)
        ids: dict[str, Node] = {}
        for where, entry in self._entries("identities"):
            tokens = child(entry, "tokens")
            if isinstance(tokens, Items):
                yield from self._tokens((*where, "tokens"), tokens, _text(child(entry, "name")), ids)

    def _tokens(self, where: Where, tokens: Items, identity: str | None, ids: dict[str, Node]) -> Iterator[Problem]:
        if not tokens.nodes:
            yield self._wrong(where, "nothing proves this identity", "make a token with: penstock token new")
        live = 0
        for index, node in enumerate(tokens.nodes):
            verifier = _text(node) or _text(child(node, "verifier"))
            token = child(node, "id") or child(node, "verifier") or node
            key = _text(token)
            if key is not None and key in ids:
                yield self._wrong((*where, index), f"this token is also at {ids[key].mark}", "tokens are never shared")
            if key is not None:
                ids.setdefault(key, token)
            live += _is_live(node)
            if live > 2:
                yield self._wrong((*where, index), "at most two tokens are live at once", "remove the one rotated out")
            if verifier is not None and identity is not None:
                yield from self._salt((*where, index), verifier, identity)

    def _salt(self, where: Where, verifier: str, identity: str) -> Iterator[Problem]:
        """One salt and one iteration count per identity: SCRAM names both before it knows which token is meant."""
        try:
            iterations, salt, _, _ = verifier_parts(verifier)
        except PydanticCustomError:
            return
        if len(identity) <= MAX_IDENTITY and (iterations != 4096 or salt != scram_salt(identity)):
            yield self._wrong(
                where,
                f"this verifier was not made for the identity '{identity}'",
                f"make one with: penstock token new {identity} (a renamed identity needs new tokens)",
            )

    def _targets(self) -> Iterator[Problem]:
        for where, protocol in self._texts("targets", "protocol"):
            if protocol not in PROTOCOLS:
                yield self._wrong(where, f"there is no protocol '{protocol}'", suggest(protocol, PROTOCOLS))
            elif isinstance(listeners := child(self.tree, "listeners"), Table) and protocol not in listeners.nodes:
                yield self._wrong(where, f"nothing listens for {protocol}", f"add it under listeners: {protocol}:")
        for where, name in self._texts("targets", "unclassified", "except"):
            described = PROTOCOLS.get(_text(find(self.tree, (*where[:2], "protocol"))[0]) or "")
            if described and (wrong := described.data_problem(name)):
                yield self._wrong(where, wrong, f"write {described.data}, without the target")

    def _databases(self) -> Iterator[Problem]:
        for key, word in (("databases", "database"), ("server_names", "server name")):
            seen: dict[tuple[str | None, str], tuple[Where, Node]] = {}
            for where, name in self._texts("targets", key):
                entry, _ = find(self.tree, where[:2])
                marker = (_text(child(entry, "protocol")), name)
                other = seen.get(marker)
                if other is not None and other[0][:2] != where[:2]:
                    said = f"the {word} '{name}' already leads to another target, at {other[1].mark}"
                    yield self._wrong(where, said, "a client's name must lead to one target")
                seen.setdefault(marker, (where, find(self.tree, where)[0]))

    def _classes(self) -> Iterator[Problem]:
        for where, column in self._texts("classes", "columns"):
            target, colon, name = column.partition(":")
            if not colon:
                yield self._wrong(where, f"'{shown(column, 80)}' names no target", "write target:schema.table.column")
            elif target == "*":
                wrongs = [protocol.data_problem(name) or "" for protocol in PROTOCOLS.values()]
                if all(wrongs):
                    yield self._wrong(where, wrongs[0], "write target:schema.table.column")
            elif target not in self.names["targets"]:
                yield self._unknown(where, "targets", target)
            else:
                yield from self._column(where, target, name)

    def _column(self, where: Where, target: str, name: str) -> Iterator[Problem]:
        protocol = PROTOCOLS.get(_text(find(self.tree, (*self.names["targets"][target], "protocol"))[0]) or "")
        if protocol and (wrong := protocol.data_problem(name)):
            yield self._wrong(where, wrong, f"write {target}:{protocol.data}")

    def _reviewers(self) -> Iterator[Problem]:
        for where, member in self._texts("reviewers", "members"):
            try:
                parts = member_parts(member)
            except PydanticCustomError:
                continue
            if "identity" in parts and parts["identity"] not in self.names["identities"]:
                yield self._unknown(where, "identities", parts["identity"])
            if "group" in parts and parts["group"] not in self.groups:
                yield self._unknown_group(where, parts["group"])
            if "issuer" in parts and parts["issuer"] not in self.names["issuers"]:
                known = suggest(parts["issuer"], self.names["issuers"])
                said = f"there is no issuer '{parts['issuer']}', so nobody can review as {shown(member, 80)}"
                yield problem_at(self.tree, where, said, known, "warning")
        for where, entry in self._entries("reviewers"):
            if child(entry, "notify") is not None and child(entry, "secret") is None:
                said = "these webhooks are not signed"
                yield problem_at(self.tree, (*where, "notify"), said, "add secret: {env: NAME}", "warning")

    def _unknown_group(self, where: Where, group: str) -> Problem:
        hint = suggest(group, self.groups) or "identities name their groups under groups:"
        return self._wrong(where, f"no identity is in the group '{group}'", hint)

    def _rules(self) -> Iterator[Problem]:
        for key in ("who", "except"):
            for where, who in self._texts("rules", key):
                yield from self._who(where, who)
        for where, to in self._texts("rules", "to"):
            yield from self._to(where, to)
        for where, name in self._texts("rules", "reveal"):
            if name not in self.names["classes"]:
                yield self._unknown(where, "classes", name)
        for where, name in self._texts("rules", "hold", "reviewers"):
            if name not in self.names["reviewers"]:
                yield self._unknown(where, "reviewers", name)
        yield from self._credentials()

    def _who(self, where: Where, who: str) -> Iterator[Problem]:
        prefix, colon, name = who.partition(":")
        if colon and prefix == "group":
            if name not in self.groups:
                yield self._unknown_group(where, name)
        elif colon:
            yield self._wrong(where, f"'{shown(who, 80)}' names nobody", "write an identity's name, or group:NAME")
        elif who not in self.names["identities"]:
            if who in self.groups:
                yield self._wrong(where, f"there is no identity '{who}'", f"did you mean 'group:{who}'?")
            else:
                yield self._unknown(where, "identities", who)

    def _to(self, where: Where, to: str) -> Iterator[Problem]:
        label, colon, value = to.partition(":")
        if not colon:
            if to not in self.names["targets"]:
                yield self._unknown(where, "targets", to)
            return
        if f"{label}:{value}" not in self.labels:
            hint = suggest(to, self.labels) or "targets name their labels under labels:"
            yield self._wrong(where, f"no target has the label '{shown(to, 80)}'", hint)

    def _credentials(self) -> Iterator[Problem]:
        """`as:` must exist on every target the rule leads to."""
        for where, name in self._texts("rules", "as"):
            selectors = [text for _, text in _listed((), child(find(self.tree, where[:2])[0], "to"))]
            for _, entry in self._entries("targets"):
                credentials = child(entry, "credentials")
                if not isinstance(credentials, Table) or name in credentials.nodes or not _chosen(entry, selectors):
                    continue
                target = _text(child(entry, "name"))
                said = f"the target '{target}' has no credential '{name}'"
                yield self._wrong(where, said, suggest(name, credentials.nodes))


def _text(node: Node | None) -> str | None:
    return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None


def _listed(where: Where, node: Node | None) -> Iterator[tuple[Where, str]]:
    if isinstance(node, Items):
        for index, each in enumerate(node.nodes):
            if (text := _text(each)) is not None:
                yield (*where, index), text
    elif (text := _text(node)) is not None:
        yield where, text


def _labels(target: Table) -> Iterator[tuple[str, str]]:
    labels = child(target, "labels")
    if isinstance(labels, Table):
        for key, node in labels.nodes.items():
            if (text := _text(node)) is not None:
                yield key, text


def _chosen(target: Table, selectors: list[str]) -> bool:
    names = {_text(child(target, "name")), *(f"{key}:{text}" for key, text in _labels(target))}
    return not selectors or any(selector in names for selector in selectors)


def _is_live(token: Node) -> bool:
    expires = _text(child(token, "expires"))
    if expires is None:
        return True
    try:
        moment = datetime.fromisoformat(expires)
    except ValueError:
        return True
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) > datetime.now(UTC)
