"""`check --live`: what the manifest says, against what the targets really are.

Connects with every credential of every target and reports what differs. Each finding points at the manifest's line that
is wrong; there are no other kinds of findings, so that any of them can fail a pipeline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penstock.config.loading import Loaded
from penstock.config.models import Class, Manifest, Target
from penstock.config.protocols import PROTOCOLS
from penstock.config.tree import Where
from penstock.errors import Problem

SECONDS = 30.0
"""What one target may take altogether, beyond its own time to connect."""

MaskFits = Callable[[str, int], bool]
"""Whether a mask, as the settings' JSON object, leaves a value of the type with that OID valid."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One entry of a class's `columns`: where it stands, and what it names on this target."""

    where: Where
    name: str
    of: Class


@dataclass(frozen=True, slots=True)
class Finding:
    """What a target contradicts, at a place of the manifest."""

    where: Where
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What one target showed: what is wrong with it, and which patterns found something there."""

    findings: list[Finding]
    matched: set[Where]


@dataclass(frozen=True, slots=True)
class LiveTarget:
    """One target to be checked and everything about it the check needs."""

    manifest: Manifest
    target: Target
    where: Where
    patterns: tuple[Pattern, ...]
    mask_fits: MaskFits | None


async def check_live(loaded: Loaded, *, mask_fits: MaskFits | None = None, seconds: float = SECONDS) -> list[Problem]:
    """All findings over all targets, in the order of the manifest. Empty means manifest and targets agree."""
    manifest = loaded.manifest
    targets = [
        LiveTarget(manifest, target, ("targets", index), patterns_of(manifest, target), mask_fits)
        for index, target in enumerate(manifest.targets)
    ]
    reports = await asyncio.gather(*(_check(each, seconds) for each in targets))
    findings = [finding for report in reports for finding in report.findings]
    unreached = {target.target.name for target, report in zip(targets, reports, strict=True) if report.findings}
    findings += _unmatched(targets, reports, unreached)
    return loaded.problems_at((each.where, each.message, each.hint) for each in findings)


def patterns_of(manifest: Manifest, target: Target) -> tuple[Pattern, ...]:
    """The classes' columns that name something on this target."""
    found = []
    for index, each in enumerate(manifest.classes):
        for place, column in enumerate(each.columns):
            named, _, name = column.partition(":")
            if named in ("*", target.name):
                found.append(Pattern(("classes", index, "columns", place), name, each))
    return tuple(found)


async def _check(target: LiveTarget, seconds: float) -> Report:
    check = PROTOCOLS[target.target.protocol].load_live_check()
    try:
        async with asyncio.timeout(seconds + target.target.connect):
            return await check(target)
    except TimeoutError:
        said = f"the check of {target.target.name} took longer than {seconds:g} seconds"
        return Report([Finding((*target.where, "address"), said, "is the target busy or behind a firewall?")], set())


def _unmatched(targets: Sequence[LiveTarget], reports: Sequence[Report], unreached: set[str]) -> list[Finding]:
    """Patterns that found nothing anywhere. A target that could not be looked at says nothing about them."""
    matched = {where for report in reports for where in report.matched}
    found: dict[Where, Finding] = {}
    for each in targets:
        for pattern in each.patterns:
            if pattern.where in matched or each.target.name in unreached:
                continue
            said = f"the class '{pattern.of.name}' matches no column: {each.target.name} has no {pattern.name}"
            found.setdefault(pattern.where, Finding(pattern.where, said, "what it should protect passes unprotected"))
    return list(found.values())
