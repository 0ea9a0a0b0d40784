"""What `config` asks of the native part, and who may answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import orjson
from typing_extensions import override

Scope = Literal["claims", "rule"]


class Seam(Protocol):
    """The functions of the native part that check what a manifest says."""

    def check_rules(self, settings: bytes, /) -> bytes:
        """JSON list of `{"where": [...], "message": ..., "hint": ...}`; empty when the settings are good."""

    def check_expression(self, expression: str, scope: str, /) -> bytes:
        """JSON list of `{"message": ..., "hint": ..., "offset": ...}`; empty when the expression is good."""


@dataclass(frozen=True, slots=True)
class Question:
    """An expression to check on its own."""

    expression: str
    scope: Scope


@dataclass(slots=True)
class Findings:
    """What is wrong: with the settings as a whole, and with each question in turn."""

    rules: list[dict[str, Any]] = field(default_factory=list)
    expressions: list[list[dict[str, Any]]] = field(default_factory=list)


class Checker(Protocol):
    """Answers about settings and expressions; in this process or, for a manifest just changed, in a guarded one."""

    def check(self, settings: bytes | None, questions: Sequence[Question]) -> Findings:
        """Checks both. `settings` is None when the manifest is too broken to have any."""


class DirectChecker(Checker):
    """Asks the seam in this process."""

    def __init__(self, seam: Seam) -> None:
        self._seam = seam

    @override
    def check(self, settings: bytes | None, questions: Sequence[Question]) -> Findings:
        rules = [] if settings is None else listed(self._seam.check_rules(settings))
        asked = [listed(self._seam.check_expression(each.expression, each.scope)) for each in questions]
        return Findings(rules, asked)


def listed(answer: bytes) -> list[dict[str, Any]]:
    """The native part's list of problems; anything else than such a list is itself a problem."""
    try:
        found = orjson.loads(answer)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        return [{"message": "the native part gave an unreadable answer", "hint": "is this build complete?"}]
    return found
