"""`penstock try`: the manifest it makes, and what it shows."""

import json
import stat
from pathlib import Path

import orjson
import pytest

from penstock.cli.observe import Screen, observing_manifest
from penstock.config import compile_settings
from penstock.errors import UsageError
from penstock.identity import tokens
from penstock.recordings.records import parse as parse_record
from penstock.targets.protocols import command_line, parse
from support.payload import evidence


def test_a_dsn_becomes_an_observed_target(tmp_path: Path) -> None:
    named = parse("postgresql://al%40ice:hun%2Fter2@db.example:6000/shop?sslmode=require")
    minted = tokens.mint("me")
    manifest = observing_manifest(tmp_path, named, minted, bind="127.0.0.1:0")
    settings = json.loads(compile_settings(manifest, 1))
    target = settings["targets"][0]
    assert (target["address"], target["mode"], target["databases"]) == ("db.example:6000", "observe", ["shop"])
    assert target["credentials"]["default"]["user"] == "al@ice"
    assert target["credentials"]["default"]["password"] == "hun/ter2"
    assert target["tls"]["mode"] == "require"
    assert target["record"] == {"results": "digest"} or target["record"]["results"] == "digest"
    assert {each["detect"][0] for each in settings["classes"]} == {"us_ssn", "payment_card", "email", "phone", "iban"}
    assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600
    assert "hun/ter2" not in repr(named)


@pytest.mark.parametrize(
    "dsn",
    [
        "", "shop", "mysql://u:hunter2@h/d", "postgresql://", "postgresql://a,b/c", "postgresql://h:99999/d",
        "postgresql://u:hunter2@h/d?sslmode=maybe", "postgresql://u:hunter2@h/d?options=x", "postgresql://h/d?x",
    ],
)  # fmt: skip
def test_what_is_no_dsn_is_said_without_its_password(dsn: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(dsn)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_a_dsn_takes_what_it_leaves_out_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "from the environment")
    monkeypatch.setenv("PGUSER", "bob")
    named = parse("postgres://[::1]")
    assert (named.entry["address"], named.user, named.database) == ("[::1]:5432", "bob", "bob")
    assert named.password == "from the environment"


def test_the_line_to_connect_with_holds_no_secret() -> None:
    line = command_line("postgres", address="127.0.0.1:6432", user="me", database="a shop")
    assert line == "psql 'host=127.0.0.1 port=6432 user=me dbname=a shop'"


def events() -> list[bytes]:
    return [
        evidence(0, 1, "session_opened", identity="me", client="127.0.0.1:5", application="psql", database="shop"),
        evidence(1, 2, "statement_text", id=1, text="SELECT *\n FROM customers\x1b[2J"),
        evidence(1, 3, "asked", text_id=1, kind="select", verdict="would_hold", rule="large results", why="big"),
        evidence(1, 4, "answered", rows=5, would_mask=7, delivered=True),
        evidence(2, 5, "asked", kind="drop", verdict="would_deny", why="no rule allows it"),
        evidence(2, 6, "answered", error="42501"),
        evidence(0, 7, "session_closed", reason="client"),
    ]


def test_the_screen_says_who_read_what_and_what_would_be() -> None:
    lines: list[str] = []
    screen = Screen(out=lines.append)
    for event in events():
        screen.show(parse_record(event))
    assert lines == [
        "psql connected to shop",
        "psql #1  SELECT * FROM customers\\x1b[2J",
        "    would be held by “large results”: big",
        "    5 rows, 7 cells would be masked",
        "psql #2  drop",
        "    would be refused: no rule allows it",
        "    0 rows, error 42501",
        "psql left",
    ]
    assert screen._texts == {}


def test_for_programs_every_line_is_json() -> None:
    lines: list[str] = []
    screen = Screen(as_json=True, out=lines.append)
    screen.ready("psql …", "pst_x")
    for event in events():
        screen.show(parse_record(event))
    told = [orjson.loads(line) for line in lines]
    assert told[0] == {"connect": "psql …", "token": "pst_x"}
    assert [each["evidence"] for each in told[1:]].count("asked") == 2
