"""Hold before release: no byte of a held result reaches the client before a person approved it."""

import time
from collections.abc import Callable, Iterator

import pytest

from penstock.demo.gateway import Gateway
from penstock.demo.processes import wait_until
from penstock.demo.shop import Shop
from support.approvals import decide, listed, none_pending, pending, show
from support.clients import psql
from support.manifests import BULK_ROWS, House
from support.wire import SYNC, Message, Raw, bind, close, errors, execute, parse, query, rows

BULK = "select id, total from orders order by id"
PAYROLL = "select department, count(*) from hr.employees group by department"


@pytest.fixture
def held_gateway(gateway: Callable[..., Gateway], standard: House) -> Gateway:
    return gateway(standard)


@pytest.fixture
def bulk(held_gateway: Gateway, standard: House, shop: Shop) -> Iterator[Raw]:
    with Raw(held_gateway.host, held_gateway.port, timeout=30) as raw:
        raw.log_in("bulk", shop.database, standard.token("bulk"))
        yield raw


def approved(bulk: Raw, held_gateway: Gateway, standard: House, sql: str) -> list[Message]:
    bulk.send(query(sql))
    request = pending(held_gateway, standard.token("reviewer"))
    status, answer = decide(held_gateway, standard.token("reviewer"), request["id"], "approve")
    assert status == 200, answer
    return bulk.until("Z")


def test_below_the_limit_nothing_is_held(bulk: Raw, held_gateway: Gateway, standard: House) -> None:
    assert len(rows(bulk.ask(query(f"{BULK} limit {BULK_ROWS}")))) == BULK_ROWS
    assert not listed(held_gateway, standard.token("reviewer"))


def test_an_approved_result_is_complete_and_in_order(
    bulk: Raw, held_gateway: Gateway, standard: House, direct: Callable[[str], str], shop: Shop
) -> None:
    answer = approved(bulk, held_gateway, standard, BULK)
    seen = ["|".join(cell.decode() for cell in row if cell is not None) for row in rows(answer)]
    assert seen == psql(direct(shop.reader), BULK).lines
    assert [part.text() for part in answer if part.tag == "C"] == ["SELECT 3000"]


def test_no_row_comes_before_the_decision(bulk: Raw, held_gateway: Gateway, standard: House) -> None:
    bulk.send(query(BULK))
    pending(held_gateway, standard.token("reviewer"))
    bulk.socket.settimeout(1)
    early: list[Message] = []
    with pytest.raises(TimeoutError):
        while True:
            early.append(bulk.receive())
    assert not rows(early)
    assert any(seen.tag == "N" for seen in early), "a notice tells the waiting person"


def test_a_denied_result_shows_no_row_and_one_clear_error(bulk: Raw, held_gateway: Gateway, standard: House) -> None:
    bulk.send(query(BULK))
    request = pending(held_gateway, standard.token("reviewer"))
    assert decide(held_gateway, standard.token("reviewer"), request["id"], "deny", "not today")[0] == 200
    answer = bulk.until("Z")
    refused = errors(answer)
    assert len(refused) == 1
    assert refused[0]["C"] == "42501"
    assert "not today" in str(refused[0])
    assert not rows(answer)
    assert rows(bulk.ask(query("select 1"))) == [[b"1"]]


def test_the_reviewer_sees_who_what_how_much_and_a_masked_sample(
    bulk: Raw, held_gateway: Gateway, standard: House, shop: Shop
) -> None:
    sql = "select c.ssn, c.card_number, o.id from orders o join customers c on c.id = o.customer_id order by o.id"
    bulk.send(query(sql))
    waiting = pending(held_gateway, standard.token("reviewer"))
    wait_until(
        lambda: bool(show(held_gateway, standard.token("reviewer"), waiting["id"])["complete"]),
        seconds=10,
        what="the result is read to its end",
    )
    request = show(held_gateway, standard.token("reviewer"), waiting["id"])
    assert request["identity"] == "bulk"
    assert request["rule"] == "bulk needs a person"
    assert request["rows"] == 3000
    assert request["target"] == "shop"
    text = str(request)
    assert "join customers" in text
    assert not any(value in text for value in (*shop.ssns, *shop.cards))
    decide(held_gateway, standard.token("reviewer"), waiting["id"], "deny")
    bulk.until("Z")


def test_a_statement_rule_holds_before_the_target_sees_it(bulk: Raw, held_gateway: Gateway, standard: House) -> None:
    bulk.send(parse(PAYROLL), bind(), execute(), SYNC)
    request = pending(held_gateway, standard.token("reviewer"))
    assert not request["rows"]
    decide(held_gateway, standard.token("reviewer"), request["id"], "approve")
    assert len(rows(bulk.until("Z"))) == 5


def test_the_requester_may_not_review(held_gateway: Gateway, bulk: Raw, standard: House) -> None:
    bulk.send(query(BULK))
    request = pending(held_gateway, standard.token("reviewer"))
    for token in (standard.token("bulk"), standard.token("reader"), None):
        status, _ = held_gateway.request(
            "POST", f"/v1/approvals/{request['id']}/approve", token=token, body={"reason": "mine"}
        )
        assert status in {401, 403, 404}
    decide(held_gateway, standard.token("reviewer"), request["id"], "deny")
    bulk.until("Z")


def test_a_decision_is_made_once(held_gateway: Gateway, bulk: Raw, standard: House) -> None:
    bulk.send(query(BULK))
    request = pending(held_gateway, standard.token("reviewer"))
    assert decide(held_gateway, standard.token("reviewer"), request["id"], "deny")[0] == 200
    assert decide(held_gateway, standard.token("other-reviewer"), request["id"], "approve")[0] == 409
    assert errors(bulk.until("Z"))


def test_a_client_that_goes_away_withdraws_its_request(held_gateway: Gateway, bulk: Raw, standard: House) -> None:
    bulk.send(query(BULK))
    request = pending(held_gateway, standard.token("reviewer"))
    bulk.reset()
    none_pending(held_gateway, standard.token("reviewer"))
    assert decide(held_gateway, standard.token("reviewer"), request["id"], "approve")[0] == 409


def test_cancelling_withdraws_the_request(held_gateway: Gateway, bulk: Raw, standard: House) -> None:
    import struct

    bulk.send(query(BULK))
    pending(held_gateway, standard.token("reviewer"))
    assert bulk.key is not None
    with Raw(held_gateway.host, held_gateway.port) as canceller:
        body = struct.pack("!II", 80877102, bulk.key[0]) + bulk.key[1]
        canceller.send(struct.pack("!I", len(body) + 4) + body)
    assert errors(bulk.until("Z"))[0]["C"] == "57014"
    none_pending(held_gateway, standard.token("reviewer"))


def test_an_undecided_request_expires(gateway: Callable[..., Gateway], standard: House, shop: Shop) -> None:
    rules = [dict(rule) for rule in standard.manifest["rules"]]
    for rule in rules:
        if "hold" in rule:
            rule["hold"] = {**rule["hold"], "expires": "10s"}
    started = gateway({**standard.manifest, "rules": rules}, environment=standard.environment)
    with Raw(started.host, started.port, timeout=30) as raw:
        raw.log_in("bulk", shop.database, standard.token("bulk"))
        began = time.monotonic()
        refused = errors(raw.ask(query(BULK)))
        assert refused[0]["C"] == "57014"
        assert 8 < time.monotonic() - began < 20
        assert rows(raw.ask(query("select 1"))) == [[b"1"]]


def test_small_fetches_of_one_cursor_are_counted_together(bulk: Raw, held_gateway: Gateway, standard: House) -> None:
    bulk.ask(query("begin; declare c cursor for select id from orders"))
    answer: list[Message] = []
    for _ in range(BULK_ROWS // 100):
        answer += bulk.ask(query("fetch 100 from c"))
    assert len(rows(answer)) == BULK_ROWS
    bulk.send(query("fetch 100 from c"))
    request = pending(held_gateway, standard.token("reviewer"))
    decide(held_gateway, standard.token("reviewer"), request["id"], "deny")
    assert errors(bulk.until("Z"))


def test_partial_executes_of_one_portal_are_counted_together(bulk: Raw, held_gateway: Gateway, standard: House) -> None:
    bulk.send(parse("select id from orders"), bind(portal="p"), execute("p", BULK_ROWS), execute("p", 1), SYNC)
    request = pending(held_gateway, standard.token("reviewer"))
    decide(held_gateway, standard.token("reviewer"), request["id"], "deny")
    answer = bulk.until("Z")
    assert len(rows(answer)) <= BULK_ROWS
    assert errors(answer)


def test_identical_requests_are_one(held_gateway: Gateway, standard: House, shop: Shop) -> None:
    with Raw(held_gateway.host, held_gateway.port) as one, Raw(held_gateway.host, held_gateway.port) as two:
        for raw in (one, two):
            raw.log_in("bulk", shop.database, standard.token("bulk"))
            raw.send(parse(PAYROLL), bind(), execute(), SYNC)
        time.sleep(1)
        request = pending(held_gateway, standard.token("reviewer"))
        decide(held_gateway, standard.token("reviewer"), request["id"], "approve")
        assert rows(one.until("Z")) == rows(two.until("Z"))


def test_an_approval_can_cover_the_shape(bulk: Raw, held_gateway: Gateway, standard: House) -> None:
    bulk.send(query("select total from orders where id > 0 order by id"))
    request = pending(held_gateway, standard.token("reviewer"))
    status, answer = decide(held_gateway, standard.token("reviewer"), request["id"], "approve", for_seconds=3600)
    assert status == 200, answer
    assert len(rows(bulk.until("Z"))) == 3000
    assert len(rows(bulk.ask(query("select total from orders where id > 1 order by id")))) == 2999
    bulk.send(query("select id from orders where total > 0 order by id"))
    other = pending(held_gateway, standard.token("reviewer"))
    decide(held_gateway, standard.token("reviewer"), other["id"], "deny")
    assert errors(bulk.until("Z"))


def test_a_restart_expires_what_waits(held_gateway: Gateway, bulk: Raw, standard: House) -> None:
    bulk.send(query(BULK))
    request = pending(held_gateway, standard.token("reviewer"))
    held_gateway.stop()
    ended = errors(bulk.until_closed())
    assert not ended or ended[0]["C"] == "57P01"
    held_gateway.start()
    found = {entry["id"]: entry["status"] for entry in listed(held_gateway, standard.token("reviewer"))}
    assert found[request["id"]] == "expired"


def test_requests_pipelined_behind_a_hold_keep_their_order(bulk: Raw, held_gateway: Gateway, standard: House) -> None:
    bulk.send(parse(BULK), bind(), execute(), SYNC, parse("select 'after'"), bind(), execute(), SYNC)
    request = pending(held_gateway, standard.token("reviewer"))
    decide(held_gateway, standard.token("reviewer"), request["id"], "approve")
    assert len(rows(bulk.until("Z"))) == 3000
    assert rows(bulk.until("Z")) == [[b"after"]]


def test_the_denied_rows_are_not_in_the_trail(held_gateway: Gateway, bulk: Raw, standard: House) -> None:
    bulk.send(query("select 'needle-' || 'in-rows', id from orders"))
    request = pending(held_gateway, standard.token("reviewer"))
    decide(held_gateway, standard.token("reviewer"), request["id"], "deny")
    bulk.until("Z")
    bulk.close()
    import subprocess

    for segment in held_gateway.trail.rglob("*.seg"):
        plain = subprocess.run(["zstd", "-dcq", str(segment)], capture_output=True, check=False).stdout
        assert b"needle-in-rows" not in plain + segment.read_bytes()


def test_names_that_the_server_cuts_alike_are_one_name(
    bulk: Raw, held_gateway: Gateway, standard: House, shop: Shop
) -> None:
    long = "n" * 63
    bulk.ask(parse("select 1", f"{long}1"), SYNC)
    # To the server this closes the statement above, and then prepares another in its place.
    bulk.ask(close("S", f"{long}2"), SYNC)
    bulk.ask(parse(PAYROLL, f"{long}3"), SYNC)
    bulk.send(bind(f"{long}1"), execute(), SYNC)
    request = pending(held_gateway, standard.token("reviewer"))
    assert decide(held_gateway, standard.token("reviewer"), request["id"], "deny", "no")[0] == 200
    answer = bulk.until("Z")
    assert [error["C"] for error in errors(answer)] == ["42501"]
    assert not rows(answer)
