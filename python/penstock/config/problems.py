"""From the models' complaints to problems with a place and a hint."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from penstock.config.sources import kind, shown
from penstock.config.tree import Node, Table, Where, find, key_mark
from penstock.errors import Level, Problem
from penstock.logs import hide

NOT_ENFORCED = {
    "budget": "budgets",
    "budgets": "budgets",
    "quota": "quotas",
    "expressions": "classes by expression",
    "predicates": "row predicates",
    "row_filter": "row filters",
    "rows": "row filters",
    "schedule": "schedules",
    "hours": "schedules",
    "rewrite": "rewriting",
    "require_mfa": "multi-factor checks",
    "redact": "redaction beside masks",
    "sign": "signing",
    "encrypt": "encryption of the trail",
    "retention": "retention",
    "pool": "pools",
}
"""Keys that other versions may know. Accepting one would look as if it were enforced."""

MANY = 500
"""Names compared for a suggestion, at most."""

_EXPECTED = {
    "string_type": "text",
    "string_sub_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def problem_at(tree: Node, where: Where, message: str, hint: str | None = None, level: Level = "error") -> Problem:
    """A problem with the value at `where`, or with the nearest thing above it that exists."""
    node, taken = find(tree, where)
    return Problem(node.mark.file, node.mark.line, node.mark.column, hide(message), hint and hide(hint), level, taken)


def problem_of_key(tree: Node, where: Where, message: str, hint: str | None = None) -> Problem:
    """A problem with the key itself rather than with its value."""
    mark = key_mark(tree, where)
    return Problem(mark.file, mark.line, mark.column, hide(message), hint and hide(hint), "error", where)


def suggest(word: object, known: Iterable[str], *, more: str | None = None) -> str | None:
    """`did you mean 'listeners'?`, or the known words when none is near, or `more`."""
    words = sorted(set(known))
    if len(words) > MANY:
        # Comparing is slow; a name misspelt in its first letter goes without a suggestion then.
        words = [each for each in words if each[:1] == str(word)[:1]][:MANY]
    near = difflib.get_close_matches(str(word), words, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    if words and len(words) <= 12:
        return "known: " + ", ".join(words)
    return more


def from_validation(error: ValidationError, tree: Node, model: type[BaseModel]) -> list[Problem]:
    """One problem per complaint. What follows only from another complaint at the same place is left out."""
    return [_problem(dict(each), tree, model) for each in error.errors(include_url=False)]


def _problem(error: dict[str, Any], tree: Node, model: type[BaseModel]) -> Problem:
    where: Where = tuple(error["loc"])
    code = error["type"]
    if code == "extra_forbidden":
        return _unknown_key(tree, where, model)
    if code == "missing":
        return _missing(tree, where)
    message, hint = _said(error)
    if where and where[-1] == "[key]":
        return problem_of_key(tree, where[:-1], message, hint)
    return problem_at(tree, where, message, hint)


def _said(error: dict[str, Any]) -> tuple[str, str | None]:
    code, value, context = error["type"], error.get("input"), error.get("ctx") or {}
    if code == "penstock":
        return context["message"], context["hint"]
    if code == "literal_error":
        words = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        found = f"'{shown(value)}'" if isinstance(value, (str, int)) and not isinstance(value, bool) else kind(value)
        return f"expected {_listed(words)}, found {found}", suggest(value, words) if len(words) > 1 else None
    expected = _EXPECTED.get(code)
    if expected is not None:
        return f"expected {expected}, found {kind(value)}", _type_hint(expected, value)
    if code == "string_pattern_mismatch":
        return f"'{shown(value)}' has characters that are not allowed here", "letters, digits and _ . -"
    return str(error["msg"]), None


def _type_hint(expected: str, value: Any) -> str | None:
    if expected == "text" and isinstance(value, (int, float)):
        return "put it in quotes"
    if expected == "a list" and isinstance(value, (str, int)):
        return f"write [{shown(value)}]"
    if expected == "a mapping" and isinstance(value, str):
        return "write {key: value}"
    if value is None:
        return "write a value, or remove the key"
    return None


def _missing(tree: Node, where: Where) -> Problem:
    message = f"the key '{where[-1]}' is missing"
    hint = "begin the manifest with: version: 1" if where == ("version",) else None
    parent, taken = find(tree, where[:-1])
    if isinstance(parent, Table):
        near = difflib.get_close_matches(str(where[-1]), list(parent.nodes), n=1, cutoff=0.6)
        hint = hint or (f"is '{near[0]}' meant to be it?" if near else None)
    return problem_at(tree, taken, message, hint)


def _unknown_key(tree: Node, where: Where, model: type[BaseModel]) -> Problem:
    key = str(where[-1])
    known = known_keys(model, where[:-1])
    near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.6)
    if key in NOT_ENFORCED and not near:
        return problem_of_key(
            tree,
            where,
            f"'{shown(key)}' is not enforced by this version",
            f"remove it: {NOT_ENFORCED[key]} would look enforced and would not be",
        )
    return problem_of_key(
        tree, where, f"unknown key '{shown(key)}'", suggest(key, known, more="penstock check --schema lists them")
    )


def known_keys(model: type[BaseModel], where: Where) -> set[str]:
    """The keys that the mapping at `where` may have, in the manifest's own spelling."""
    kinds: list[Any] = [model]
    for step in where:
        kinds = [below for each in kinds for below in _below(each, step)]
    return {field.alias or name for each in kinds if _is_model(each) for name, field in each.model_fields.items()}


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _below(annotation: Any, step: str | int) -> list[Any]:
    if _is_model(annotation):
        fields = annotation.model_fields
        found = [field.annotation for name, field in fields.items() if (field.alias or name) == step]
        if not found and annotation.model_config.get("extra") == "allow":
            found = list(get_args(get_type_hints(annotation).get("__pydantic_extra__"))[1:])
        return [flat for each in found for flat in _flat(each)]
    arguments = get_args(annotation)
    if get_origin(annotation) is dict and isinstance(step, str):
        return _flat(arguments[1])
    if get_origin(annotation) is tuple and isinstance(step, int):
        return _flat(arguments[0])
    return []


def _flat(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _flat(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [flat for each in get_args(annotation) for flat in _flat(each)]
    return [] if origin is Literal or annotation is type(None) else [annotation]


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]
