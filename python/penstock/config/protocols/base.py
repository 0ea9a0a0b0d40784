"""The descriptor every protocol fills in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.config.live import LiveTarget, Report

LiveCheck = Callable[["LiveTarget"], Awaitable["Report"]]
"""Connects to a target and reports what the manifest and the target disagree about."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What one protocol means by the manifest's words."""

    name: str
    port: int
    """The port the specification gives it."""
    data: str
    """How a class names its data on a target, for people: `schema.table.column`."""
    data_problem: Callable[[str], str | None]
    """What is wrong with such a name, or None."""
    load_live_check: Callable[[], LiveCheck]
    """Imports the live check only when somebody asks for it."""
