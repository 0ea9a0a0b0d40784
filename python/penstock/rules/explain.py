"""What the gateway would decide about one statement of one identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.config import Manifest, compile_settings
from penstock.errors import UsageError

#: The native side's ``explain``: settings and request in, JSON out.
Explain = Callable[[bytes, bytes], bytes]


@dataclass(frozen=True, slots=True)
class Question:
    """Who would ask what of which target; ``database`` None is the target's first."""

    identity: str
    target: str
    sql: str
    database: str | None = None


def explain(manifest: Manifest, question: Question, ask: Explain) -> dict[str, Any]:
    """The verdict, the rules that lead to it, and the columns that would be masked."""
    identity, target = manifest.identity(question.identity), manifest.target(question.target)
    if identity is None:
        known = ", ".join(each.name for each in manifest.identities) or "none"
        raise UsageError(f"the manifest has no identity {question.identity!r}", hint=f"it has: {known}")
    if target is None:
        known = ", ".join(each.name for each in manifest.targets) or "none"
        raise UsageError(f"the manifest has no target {question.target!r}", hint=f"it has: {known}")
    database = question.database if question.database is not None else target.databases[0]
    if database not in target.databases:
        raise UsageError(f"{target.name} has no database {database!r}", hint=f"it has: {', '.join(target.databases)}")
    request = {
        "identity": identity.name,
        "groups": list(identity.groups),
        "target": target.name,
        "database": database,
        "sql": question.sql,
    }
    found: dict[str, Any] = orjson.loads(ask(compile_settings(manifest, 0), orjson.dumps(request)))
    return found
