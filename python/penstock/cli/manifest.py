"""``penstock check`` and ``penstock explain``."""

from __future__ import annotations

import asyncio
import json as json_text
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from penstock import seam
from penstock.cli.output import fields, plain, say, say_json
from penstock.config import DirectChecker, GuardedChecker, examine, load
from penstock.config.live import check_live
from penstock.config.schema import json_schema
from penstock.rules.explain import Question
from penstock.rules.explain import explain as ask_rules

Flag = Annotated[bool, Parameter(negative=())]


def check(
    manifest: Path = Path("penstock.yaml"), *, live: Flag = False, schema: Flag = False, json: Flag = False
) -> int:
    """Validate a manifest: every problem at once, each with its line and a hint.

    Args:
        manifest: The manifest: a file, or a folder of *.yaml.
        live: Connect to every target and compare it with the manifest as well.
        schema: Print the manifest's JSON Schema for editors, and check nothing.
        json: Print JSON.
    """
    if schema:
        say(json_text.dumps(json_schema(), indent=2))
        return 0
    loaded, problems = examine(manifest, checker=GuardedChecker())
    if loaded is not None and live:
        problems += asyncio.run(check_live(loaded))
    failed = loaded is None or any(problem.level == "error" for problem in problems)
    if json:
        say_json({"ok": not failed, "problems": [problem.json() for problem in problems]})
        return int(failed)
    for problem in problems:
        say(problem.text())
    if loaded is not None and not failed:
        counts = ((len(getattr(loaded.manifest, part)), part) for part in ("identities", "targets", "classes", "rules"))
        say(f"{manifest} is good: {', '.join(f'{count} {part}' for count, part in counts)}")
    return int(failed)


def explain(
    *,
    identity: str,
    target: str,
    sql: str,
    database: str | None = None,
    manifest: Path = Path("penstock.yaml"),
    json: Flag = False,
) -> int:
    """Say what the gateway would decide about a statement, by which rules, and what it would mask.

    Args:
        identity: Who would ask: an identity of the manifest.
        target: What would be asked: a target of the manifest.
        sql: The statement.
        database: The database on the target; else its first.
        manifest: The manifest: a file, or a folder of *.yaml.
        json: Print JSON.
    """
    loaded = load(manifest, checker=DirectChecker(seam))
    found = ask_rules(loaded.manifest, Question(identity, target, sql, database), seam.explain)
    if json:
        say_json(found)
    else:
        fields((name, _shown(value)) for name, value in found.items())
    return 1 if found.get("verdict") == "deny" else 0


def _shown(value: object) -> object:
    if isinstance(value, list):
        return "; ".join(plain(_shown(each)) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(_shown(each))}" for name, each in value.items() if each not in (None, [], ""))
    return value
