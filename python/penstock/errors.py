"""Everything that can go wrong on the Python side, as one tree.

    PenstockError
    ├── ConfigError            the manifest is wrong: carries every problem, each with its place
    ├── UsageError             the command line is wrong
    ├── StartError             the gateway cannot start: port in use, unreadable key, full disk
    ├── SeamError              the native part refused or failed
    ├── StateError             the state database
    │   ├── StateUnavailable       cannot be reached; may work later
    │   └── StateConflict          somebody else was faster
    ├── IdentityError          who is asking
    │   ├── TokenRejected          the proof does not hold
    │   └── IssuerUnavailable      the issuer's keys cannot be had
    ├── ApprovalError          reviewing held requests
    │   ├── NotAReviewer           this person may not decide it
    │   └── AlreadyDecided         it has been decided, has expired or was withdrawn
    ├── TargetError            a target cannot be reached or read
    ├── TrailError             the trail cannot be read or written
    └── AdminError             a call to the admin interface
        ├── AdminUnreachable       nobody listens there
        ├── Forbidden              the caller may not do this
        └── NotFound               there is no such thing

Each is told to a person: what happened, and in `hint` what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["error", "warning"]


class PenstockError(Exception):
    """Base of all errors; `str()` is one sentence for a person."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in a manifest, and where. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str
    hint: str | None = None
    level: Level = "error"
    where: tuple[str | int, ...] = field(default=(), compare=False)

    def text(self) -> str:
        """`file:line:column: message`, and the hint on a line of its own."""
        place = f"{self.file}:{self.line}:{self.column}: "
        told = f"warning: {self.message}" if self.level == "warning" else self.message
        hint = f"\n    hint: {self.hint}" if self.hint else ""
        return place + told + hint

    def json(self) -> dict[str, Any]:
        """The same as primitives, for `--json`."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "where": list(self.where),
            "level": self.level,
            "message": self.message,
            "hint": self.hint,
        }


class ConfigError(PenstockError):
    """The manifest cannot be used. `problems` holds all of them in the order of the files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        errors = sum(problem.level == "error" for problem in self.problems)
        noun = "error" if errors == 1 else "errors"
        super().__init__(f"the manifest has {errors} {noun}", hint="penstock check shows them with their lines")

    def __str__(self) -> str:
        return "\n".join([str(self.args[0]), *(problem.text() for problem in self.problems)])


class UsageError(PenstockError):
    """The command line is wrong."""


class StartError(PenstockError):
    """The gateway cannot start."""


class SeamError(PenstockError):
    """The native part refused or failed."""


class StateError(PenstockError):
    """The state database."""


class StateUnavailable(StateError):
    """The state database cannot be reached; the same call may work later."""


class StateConflict(StateError):
    """Somebody else changed it first."""


class IdentityError(PenstockError):
    """Who is asking could not be established."""


class TokenRejected(IdentityError):
    """The proof does not hold."""


class IssuerUnavailable(IdentityError):
    """The issuer's keys cannot be had, and no cached ones are young enough."""


class ApprovalError(PenstockError):
    """Reviewing a held request."""


class NotAReviewer(ApprovalError):
    """The caller may not decide this request."""


class AlreadyDecided(ApprovalError):
    """The request has been decided, has expired or was withdrawn."""


class TargetError(PenstockError):
    """A target cannot be reached or read."""


class TrailError(PenstockError):
    """The trail cannot be read or written."""


class AdminError(PenstockError):
    """A call to the admin interface failed."""


class AdminUnreachable(AdminError):
    """Nobody listens at the admin address."""


class Forbidden(AdminError):
    """The caller may not do this."""


class NotFound(AdminError):
    """There is no such thing."""
