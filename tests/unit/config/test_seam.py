"""What the native part finds gets its place in the manifest, and hostile expressions break only a guarded process."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.config import DirectChecker, GuardedChecker, examine, load
from penstock.config.seam_protocol import Question, Seam
from penstock.errors import ConfigError, SeamError

Write = Callable[[str], Path]
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def fake() -> Any:
    """The fake seam as a module of this process."""
    spec = importlib.util.spec_from_file_location("fake_seam", HERE / "fake_seam.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> str:
    """The fake seam's name, importable by processes started from here."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(HERE)])
    return "fake_seam"


class Counting:
    """A seam that counts."""

    def __init__(self, seam: Seam) -> None:
        self._seam = seam
        self.rules = 0
        self.expressions: list[tuple[str, str]] = []

    def check_rules(self, settings: bytes, /) -> bytes:
        self.rules += 1
        return self._seam.check_rules(settings)

    def check_expression(self, expression: str, scope: str, /) -> bytes:
        self.expressions.append((scope, expression))
        return self._seam.check_expression(expression, scope)


def test_a_good_manifest_passes(write: Write, good: str, environ: dict[str, str], fake: Any) -> None:
    seam = Counting(fake)
    load(write(good), checker=DirectChecker(seam), environ=environ)
    assert seam.rules == 1
    assert [scope for scope, _ in seam.expressions] == ["claims"]


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "message"),
    [
        ("deny: sql.server_io", "deny: bogus == 1", 36, 54, "unknown fact bogus in a rule"),
        ("deny: sql.server_io", 'deny: "1 == bogus"', 36, 60, "unknown fact bogus in a rule"),
        ("deny: sql.server_io", 'deny: "1 ==\\x20bogus"', 36, 54, "unknown fact bogus in a rule"),
        ('"result.rows > 10000"', '"x && bogus"', 37, 52, "unknown fact bogus in a rule"),
        ('when: claims.repository_id == "4711" &&', "when: bogus &&", 13, 11, "unknown fact bogus in a claims"),
        ("when: claims", "when: |\n      true &&\n      bogus && claims", 13, 11, "unknown fact bogus in a claims"),
        ("detect: [payment_card]", "detect: [payment_crd]", 30, 75, "no detector payment_crd"),
    ],
)
def test_findings_get_their_places(
    write: Write, good: str, environ: dict[str, str], fake: Any,
    old: str, new: str, line: int, column: int, message: str,
) -> None:  # fmt: skip
    assert old in good
    _, problems = examine(write(good.replace(old, new)), checker=DirectChecker(fake), environ=environ)
    assert [(each.line, each.column, each.message) for each in problems] == [(line, column, message)]


def test_a_broken_manifest_still_has_its_expressions_checked(
    write: Write, good: str, environ: dict[str, str], fake: Any
) -> None:
    text = good.replace("max: 8h", "max: 8").replace("deny: sql.server_io", "deny: bogus")
    seam = Counting(fake)
    _, problems = examine(write(text), checker=DirectChecker(seam), environ=environ)
    assert [each.line for each in problems] == [7, 36]
    assert seam.rules == 0


def test_a_warning_of_the_native_part_does_not_refuse(
    write: Write, good: str, environ: dict[str, str], fake: Any
) -> None:
    loaded = load(write(good.replace("15m", "13s")), checker=DirectChecker(fake), environ=environ)
    assert [(each.level, each.line, each.message) for each in loaded.warnings] == [("warning", 37, "unlucky")]


def test_an_unreadable_answer_refuses(write: Write, good: str, environ: dict[str, str], fake: Any) -> None:
    text = good.replace("when: claims.repository_id", "when: JUNK || claims.repository_id")
    with pytest.raises(ConfigError, match="unreadable answer"):
        load(write(text), checker=DirectChecker(fake), environ=environ)


def test_the_guard_answers_like_the_seam_itself(
    write: Write, good: str, environ: dict[str, str], fake: Any, importable: str
) -> None:
    text = good.replace("deny: sql.server_io", "deny: bogus == 1")
    path = write(text)
    guarded = examine(path, checker=GuardedChecker(importable), environ=environ)[1]
    assert guarded == examine(path, checker=DirectChecker(fake), environ=environ)[1]
    assert len(guarded) == 1


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("deny: sql.server_io", "deny: GREEDY", 36),
        ('"result.rows > 10000"', '"GREEDY"', 37),
        ("when: claims.repository_id", "when: GREEDY && claims.repository_id", 13),
    ],
)
def test_a_greedy_expression_is_named_and_refused(
    write: Write, good: str, environ: dict[str, str], importable: str, old: str, new: str, line: int
) -> None:
    assert old in good
    checker = GuardedChecker(importable, memory=64 << 20)
    _, problems = examine(write(good.replace(old, new)), checker=checker, environ=environ)
    assert [(each.line, each.message) for each in problems] == [
        (line, "this expression needs more than 64 MiB to compile")
    ]
    assert "simplify" in (problems[0].hint or "")


def test_an_endless_expression_is_named_and_refused(
    write: Write, good: str, environ: dict[str, str], importable: str
) -> None:
    checker = GuardedChecker(importable, seconds=1)
    began = time.monotonic()
    _, problems = examine(write(good.replace("sql.server_io", "SLOW")), checker=checker, environ=environ)
    assert [(each.line, each.message) for each in problems] == [(36, "this expression takes too long to compile")]
    assert time.monotonic() - began < 30


def test_a_missing_native_part_is_not_a_bad_manifest() -> None:
    with pytest.raises(SeamError, match="cannot be used"):
        GuardedChecker("no_such_module").check(None, [Question("true", "rule")])


def test_the_guarded_process_sees_no_secret(
    write: Write, good: str, environ: dict[str, str], importable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    import subprocess

    run = subprocess.run

    def spy(*arguments: Any, **options: Any) -> Any:
        seen.append(options)
        return run(*arguments, **options)

    monkeypatch.setenv("SHOP_RO", environ["SHOP_RO"])
    monkeypatch.setattr(subprocess, "run", spy)
    load(write(good), checker=GuardedChecker(importable), environ=environ)
    assert seen
    for options in seen:
        assert b"s3cret" not in options["input"]
        assert b"PRIVATE KEY" not in options["input"]
        assert "SHOP_RO" not in options["env"]
