"""Record before release: the trail has what was asked and what was delivered, as delivered, and nothing else."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.demo.gateway import Gateway, command
from penstock.demo.processes import wait_until
from penstock.demo.shop import Shop
from support.clients import Outcome, run
from support.manifests import House
from support.wire import SYNC, Raw, bind, execute, parse, query, rows


@pytest.fixture
def own(gateway: Callable[..., Gateway], standard: House) -> Gateway:
    return gateway(standard)


def penstock(gateway: Gateway, *arguments: str, token: str | None = None) -> Outcome:
    return run(*command(), *arguments, environment={**gateway.environment(token), "NO_COLOR": "1", "COLUMNS": "200"})


def played(own: Gateway, shop: Shop, standard: House) -> dict[str, Any]:
    """Plays a short session and returns its line in the list of sessions."""
    with Raw(own.host, own.port) as raw:
        raw.log_in("reader", shop.database, standard.token("reader"), application_name="short-job")
        assert len(rows(raw.ask(query("select id, ssn, card_number from customers order by id limit 3")))) == 3
        raw.ask(parse("select name from products where id = $1", types=[23]), bind(values=[b"7"]), execute(), SYNC)
        raw.ask(query("drop table orders"))
        raw.ask(query("select 1/0"))
    found: list[dict[str, Any]] = []

    def ended() -> bool:
        _, body = own.request("GET", "/v1/sessions?identity=reader", token=standard.token("reviewer"))
        found[:] = [entry for entry in body["sessions"] if entry["closed"] is not None]
        return bool(found)

    wait_until(ended, seconds=5, what="the session is in the index")
    return found[0]


def plain(own: Gateway) -> bytes:
    """Everything the trail's segments hold, decompressed by a tool that is not ours."""
    parts = []
    for segment in sorted(own.trail.rglob("*.seg")):
        done = subprocess.run(["zstd", "-dcq", str(segment)], capture_output=True, check=False)
        parts.append(done.stdout)
    return b"".join(parts)


def test_the_index_has_the_session_s_counts(own: Gateway, shop: Shop, standard: House) -> None:
    entry = played(own, shop, standard)
    assert entry["identity"] == "reader"
    assert entry["target"] == "shop"
    assert entry["database"] == shop.database
    assert entry["application"] == "short-job"
    assert entry["statements"] == 4
    assert entry["rows"] == 4


def test_replay_as_text_shows_what_was_asked_and_delivered(own: Gateway, shop: Shop, standard: House) -> None:
    entry = played(own, shop, standard)
    outcome = penstock(own, "replay", entry["session"], token=standard.token("reviewer"))
    assert outcome.code == 0, outcome
    for told in (
        "select id, ssn, card_number from customers",
        "****",
        shop.ssns[0][-4:],
        "nothing is dropped",
        "22012",
    ):
        assert told in outcome.out, told
    assert not any(value in outcome.out for value in (*shop.ssns, *shop.cards))


def test_replay_as_json_lines(own: Gateway, shop: Shop, standard: House) -> None:
    entry = played(own, shop, standard)
    outcome = penstock(own, "replay", entry["session"], "--json", token=standard.token("reviewer"))
    assert outcome.code == 0, outcome
    assert len([json.loads(line) for line in outcome.lines]) >= 4


def test_the_trail_holds_no_protected_value(own: Gateway, shop: Shop, standard: House) -> None:
    with Raw(own.host, own.port) as raw:
        raw.log_in("reader", shop.database, standard.token("reader"))
        raw.ask(query(f"select id from customers where ssn = '{shop.ssns[3]}'"))
        raw.ask(
            parse("select id from customers where card_number = $1"),
            bind(values=[shop.cards[4].encode()]),
            execute(),
            SYNC,
        )
        raw.ask(query(f"select 'my card is {shop.cards[5]}'"))
        raw.ask(query("select * from customers limit 50"))
    text = plain(own)
    assert b"select id from customers where ssn" in text
    leaked = [value for value in (*shop.ssns, *shop.cards, *shop.emails) if value.encode() in text]
    assert not leaked


def test_reading_the_trail_is_recorded(own: Gateway, shop: Shop, standard: House) -> None:
    entry = played(own, shop, standard)
    assert penstock(own, "replay", entry["session"], token=standard.token("reviewer")).code == 0
    assert b"trail_read" in plain(own)


def test_whoever_is_no_operator_reads_nothing(own: Gateway, shop: Shop, standard: House) -> None:
    entry = played(own, shop, standard)
    status, _ = own.request("GET", f"/v1/replay/{entry['session']}", token=standard.token("reader"))
    assert status == 403


def test_the_trail_is_the_gateway_s_user_s_alone(own: Gateway, shop: Shop, standard: House) -> None:
    played(own, shop, standard)
    segments = list(own.trail.rglob("*.seg"))
    assert segments
    for path in (own.trail, *segments):
        assert path.stat().st_mode & 0o077 == 0, path


def test_tampering_is_found(own: Gateway, shop: Shop, standard: House) -> None:
    entry = played(own, shop, standard)
    own.stop()
    segment = max(own.trail.rglob("*evidence*.seg"), key=lambda path: path.stat().st_size)
    data = bytearray(segment.read_bytes())
    place = data.find(b"customers")
    assert place > 0
    data[place] ^= 1
    Path(segment).write_bytes(data)
    own.start()
    outcome = penstock(own, "replay", entry["session"], token=standard.token("reviewer"))
    assert segment.name in outcome.out + outcome.err + own.process.tail()


def test_the_index_is_rebuilt_from_the_segments(own: Gateway, shop: Shop, standard: House) -> None:
    entry = played(own, shop, standard)
    own.stop()
    for name in own.folder.glob("penstock.db*"):
        name.unlink()
    own.start()
    _, body = own.request("GET", "/v1/sessions?identity=reader", token=standard.token("reviewer"))
    assert [found["session"] for found in body["sessions"]] == [entry["session"]]
