"""Limits on rates and memory: a clear error comes before failure, names the limit, and leaves everybody else alone."""

import contextlib
import re
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.demo.gateway import Gateway
from penstock.demo.processes import wait_until
from penstock.demo.shop import Shop
from support.manifests import BULK_ROWS, House
from support.metrics import metrics
from support.wire import (
    SYNC,
    Closed,
    LoginRefused,
    Raw,
    bind,
    describe,
    errors,
    execute,
    parse,
    query,
    rows,
    tags,
)

Start = Callable[..., Gateway]
MIB = 1 << 20


def limited(gateway: Start, standard: House, **limits: Any) -> Gateway:
    return gateway({**standard.manifest, "limits": limits}, environment=standard.environment)


@contextlib.contextmanager
def session(own: Gateway, standard: House, shop: Shop, identity: str = "reader") -> Iterator[Raw]:
    with Raw(own.host, own.port, timeout=20) as raw:
        raw.log_in(identity, shop.database, standard.token(identity))
        yield raw


def resident(own: Gateway) -> int:
    """Bytes of memory the gateway has."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{own.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


# Statements a second

RATE = 5


def outcomes(raw: Raw, count: int) -> list[str]:
    """The SQLSTATE of each of so many statements, empty where it ran."""
    answers = [raw.ask(query("select 1")) for _ in range(count)]
    return [next((error["C"] for error in errors(answer)), "") for answer in answers]


def test_statements_beyond_the_rate_are_refused_and_say_so(gateway: Start, standard: House, shop: Shop) -> None:
    own = limited(gateway, standard, statements_per_second=RATE)
    with session(own, standard, shop) as one, session(own, standard, shop) as two:
        began = time.monotonic()
        codes = outcomes(one, RATE + 3) + outcomes(two, RATE + 3)
        spent = time.monotonic() - began
        assert set(codes) == {"", "53400"}
        assert codes[:RATE] == [""] * RATE, "a rested identity may run a second's worth at once"
        assert codes.count("") <= RATE * (1 + spent) + 1, "both sessions share what the identity may run"
        refused = next(
            error for answer in (one.ask(query("select 1")) for _ in range(RATE + 1)) for error in errors(answer)
        )
        assert refused["S"] == "ERROR"
        assert '"reader"' in refused["M"]
        assert f"all {RATE} statements a second" in refused["M"]
        assert "limits.statements_per_second" in refused["H"]
        with session(own, standard, shop, "writer") as other:
            assert outcomes(other, RATE) == [""] * RATE, "another identity has a rate of its own"
        time.sleep(1.1)
        assert outcomes(one, RATE) == [""] * RATE
    seen = metrics(own)
    assert seen['penstock_limit_hits_total{limit="statements_per_second"}'] >= codes.count("53400")
    assert seen['penstock_statements_total{verdict="deny"}'] >= codes.count("53400")
    assert seen['penstock_statements_total{verdict="allow"}'] >= codes.count("")


def test_connecting_anew_does_not_rest_an_identity(gateway: Start, standard: House, shop: Shop) -> None:
    own = limited(gateway, standard, statements_per_second=1)
    codes = []
    began = time.monotonic()
    for _ in range(8):
        with session(own, standard, shop) as raw:
            codes += outcomes(raw, 1)
    assert codes.count("") <= 2 + (time.monotonic() - began)
    assert "53400" in codes


def test_a_pipeline_beyond_the_rate_fails_as_the_server_would_fail_it(
    gateway: Start, standard: House, shop: Shop
) -> None:
    own = limited(gateway, standard, statements_per_second=RATE)
    with session(own, standard, shop) as raw:
        one = [bind(), describe("P"), execute()]
        answer = raw.ask(parse("select 1"), *one * (RATE + 20), SYNC)
        ran = tags(answer).count("C")
        assert RATE <= ran < RATE + 20
        assert [error["C"] for error in errors(answer)] == ["53400"], "what follows in the pipeline is skipped"
        assert tags(answer).endswith("EZ")
        time.sleep(1.1)
        assert rows(raw.ask(parse("select 2"), *one, SYNC)) == [[b"2"]]


def test_a_transaction_over_the_rate_is_aborted_and_can_be_left(gateway: Start, standard: House, shop: Shop) -> None:
    own = limited(gateway, standard, statements_per_second=2)
    with session(own, standard, shop) as raw:
        raw.ask(query("begin"))
        answers = (raw.ask(query("select 1")) for _ in range(10))
        refused = next(answer for answer in answers if errors(answer))
        assert errors(refused)[0]["C"] == "53400"
        assert refused[-1].body == b"E", "the transaction is really aborted"
        ended = raw.ask(query("rollback"))
        assert not errors(ended)
        assert ended[-1].body == b"I"


def test_a_refusal_by_rate_stands_in_the_trail(gateway: Start, standard: House, shop: Shop) -> None:
    own = limited(gateway, standard, statements_per_second=1)
    with session(own, standard, shop) as raw:
        assert "53400" in outcomes(raw, 3)
    token = standard.token("reviewer")

    def recorded() -> str:
        _, body = own.request("GET", "/v1/sessions?identity=reader", token=token)
        ended = [each["session"] for each in body["sessions"]]
        return "".join(str(own.request("GET", f"/v1/replay/{each}", token=token)[1]) for each in ended)

    wait_until(lambda: "limits.statements_per_second" in recorded(), seconds=10, what="the refusal is recorded")


def test_a_new_rate_counts_for_open_sessions(gateway: Start, standard: House, shop: Shop) -> None:
    own = gateway(standard)
    complete = {**standard.manifest, "listeners": {"postgres": {"bind": f"127.0.0.1:{own.port}"}}, "version": 1}
    with session(own, standard, shop) as raw:
        assert set(outcomes(raw, 20)) == {""}
        own.rewrite({**complete, "limits": {"statements_per_second": 1}})
        wait_until(lambda: "53400" in outcomes(raw, 3), seconds=10, what="the new limit is in force")
        own.rewrite(complete)
        wait_until(lambda: set(outcomes(raw, 5)) == {""}, seconds=10, what="the limit is gone")


# Memory


def part(size: int) -> bytes:
    """The beginning of a message of twice this size."""
    return b"B" + struct.pack("!I", 2 * size) + b"\0\0" + b"\0" * (size - 2)


def test_unfinished_messages_cannot_fill_the_memory(gateway: Start, standard: House, shop: Shop) -> None:
    own = limited(gateway, standard, memory="64MiB", message="64MiB")
    with contextlib.ExitStack() as open_sessions:
        bystander = open_sessions.enter_context(session(own, standard, shop, "writer"))
        before = resident(own)
        refused: list[dict[str, str]] = []
        for _ in range(20):
            raw = open_sessions.enter_context(session(own, standard, shop))
            with contextlib.suppress(OSError):
                raw.send(part(10 * MIB))
            wait_until(lambda: metrics(own)["penstock_buffered_bytes"] > 0, seconds=10, what="it is counted")
            raw.socket.settimeout(1)
            with contextlib.suppress(TimeoutError, Closed, ConnectionResetError):
                refused += errors([raw.receive()])
            if refused:
                break
        assert refused, "no session was ended"
        assert (refused[0]["S"], refused[0]["C"]) == ("FATAL", "54000")
        assert "limits.memory" in refused[0]["M"]
        assert "64 MiB" in refused[0]["M"]
        seen = metrics(own)
        assert seen["penstock_buffered_bytes"] <= 64 * MIB == seen["penstock_buffered_bytes_limit"]
        assert seen['penstock_limit_hits_total{limit="memory"}'] >= 1
        assert resident(own) - before < 80 * MIB
        # What is left is for those who need little, until less than an eighth is.
        assert rows(bystander.ask(query("select 1"))) == [[b"1"]]

        def fill_up() -> None:
            for _ in range(120):
                open_sessions.enter_context(session(own, standard, shop)).send(part(700 << 10))

        with pytest.raises(LoginRefused) as full:
            fill_up()
        assert full.value.fields["C"] == "53300"
        assert "limits.memory" in full.value.fields["M"]
        assert rows(bystander.ask(query("select 1"))) == [[b"1"]]
        assert metrics(own)["penstock_buffered_bytes"] <= 64 * MIB
    wait_until(lambda: metrics(own)["penstock_buffered_bytes"] == 0, seconds=20, what="everything is given back")
    with session(own, standard, shop) as raw:
        assert rows(raw.ask(query("select 1"))) == [[b"1"]]


def test_prepared_statements_cannot_fill_the_memory(gateway: Start, standard: House, shop: Shop) -> None:
    own = limited(gateway, standard, memory="64MiB")
    filler = "/*" + "x" * (900 << 10) + "*/ select "
    with session(own, standard, shop) as raw, contextlib.suppress(Closed, OSError):
        ended: list[dict[str, str]] = []
        for number in range(90):
            raw.send(parse(f"{filler}{number}", f"s{number}"), SYNC)
            ended = errors(raw.until("ZE"))
            if ended:
                break
        assert [error["C"] for error in ended] == ["54000"]
        assert "limits.memory" in ended[0]["M"]
    with session(own, standard, shop) as raw:
        assert rows(raw.ask(query("select 1"))) == [[b"1"]]


def test_slow_readers_take_little(gateway: Start, standard: House, shop: Shop) -> None:
    own = limited(gateway, standard, memory="64MiB")
    before = resident(own)
    with contextlib.ExitStack() as open_sessions:
        for _ in range(12):
            raw = open_sessions.enter_context(session(own, standard, shop, "everything"))
            raw.send(query("select repeat('x', 8000) from generate_series(1, 20000)"))
        time.sleep(3)
        assert 0 < metrics(own)["penstock_buffered_bytes"] < 32 * MIB
        assert resident(own) - before < 64 * MIB
        with session(own, standard, shop) as other:
            assert rows(other.ask(query("select 1"))) == [[b"1"]]


def test_held_rows_are_counted_until_the_decision(gateway: Start, standard: House, shop: Shop) -> None:
    own = limited(gateway, standard, memory="64MiB")
    with session(own, standard, shop, "bulk") as raw:
        raw.send(query("select repeat('x', 100) from orders"))
        wait_until(lambda: metrics(own)["penstock_holds_waiting"] == 1, seconds=20, what="the result is held")
        seen = metrics(own)
        assert seen["penstock_buffered_bytes"] > BULK_ROWS * 100
        assert seen["penstock_spool_bytes"] > BULK_ROWS * 100
    wait_until(lambda: metrics(own)["penstock_buffered_bytes"] == 0, seconds=20, what="everything is given back")
    assert metrics(own)["penstock_spool_bytes"] == 0
