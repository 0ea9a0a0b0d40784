"""Harmless work does not notice: same rows, types, tags, errors and order as a direct connection."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.demo.cluster import Cluster
from penstock.demo.gateway import Gateway
from penstock.demo.shop import Shop
from support.clients import connect, psql
from support.manifests import House
from support.wire import (
    FLUSH,
    PROTOCOL_3_0,
    PROTOCOL_3_2,
    SYNC,
    Message,
    Raw,
    bind,
    close,
    describe,
    errors,
    execute,
    message,
    parse,
    query,
    rows,
    tags,
)

# What a reader may do, compared message for message. Nothing here depends on time or on a process.
HARMLESS = [
    "select 1",
    "",
    ";",
    "-- nothing but a comment",
    "select 1; select 2; select 'three' as name",
    "select 1; select 1/0; select 2",
    "select 1 where false",
    "values (1, 'a'), (2, null)",
    "table products",
    "select * from products order by id limit 5",
    "select name, price::text, tags from products where id = any(array[1,2,3]) order by id",
    "select state, count(*), sum(total) from orders group by state order by state",
    "select c.city, count(*) from customers c join orders o on o.customer_id = c.id group by 1 order by 1 limit 3",
    "with big as (select * from orders where total > 500) select count(*) from big",
    "select row_number() over (order by id), id from orders order by id limit 3",
    "select * from monthly_revenue",
    "select generate_series(1, 5)",
    "select null, true, 1.5::float8, 'x'::bytea, '{}'::json, '2026-01-02'::date, '1 day'::interval, 'a'::char(3)",
    "show server_version",
    "show all",
    "explain (costs off) select * from orders where id = 1",
    "begin; select 1; commit",
    "begin; select 1/0; select 2; rollback",
    "commit",
    "rollback",
    "begin; savepoint a; select 1/0; rollback to a; select 3; commit",
    "set search_path to public, hr; show search_path; reset search_path",
    "begin; declare c cursor for select id from orders order by id; fetch 2 from c; move 1 in c; fetch c; commit",
    "prepare p as select $1::int + 1; execute p(41); deallocate p",
    "discard all",
    "listen channel; unlisten *",
    "lock table products in access share mode",
    "select nothing from products",
    "select * from not_there",
    "selec 1",
    "select 'unterminated",
    "select $1",
    "select 'grün ☃'::text",
    "select '\\x00ff'::bytea",
    "select relname from pg_class where relname = 'orders'",
    "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'orders'::regclass and attnum > 0",
]


@dataclass(frozen=True)
class Both:
    """The same login, through the gateway and directly."""

    through: Raw
    straight: Raw

    def compare(self, *frames: bytes) -> tuple[list[Message], list[Message]]:
        return self.through.ask(*frames), self.straight.ask(*frames)


@pytest.fixture
def both(shop_gateway: Gateway, postgres15: Cluster, shop: Shop, standard: House) -> Iterator[Both]:
    with Raw(shop_gateway.host, shop_gateway.port) as through, Raw(postgres15.host, postgres15.port) as straight:
        through.log_in("reader", shop.database, standard.token("reader"))
        straight.log_in(shop.reader, shop.database, shop.reader_password)
        for raw in (through, straight):
            raw.ask(query("set application_name to same"))
        yield Both(through, straight)


def plain(messages: list[Message]) -> list[tuple[str, object]]:
    """Messages without what may differ: source lines of the server, and the name by which it knows the session."""
    return [
        (seen.tag, {k: v for k, v in seen.fields().items() if k not in "FLR"} if seen.tag in "EN" else seen.body)
        for seen in messages
        if not (seen.tag == "S" and seen.body.startswith(b"application_name"))
    ]


@pytest.mark.parametrize("sql", HARMLESS)
def test_simple_queries_are_the_same(both: Both, sql: str) -> None:
    through, straight = both.compare(query(sql))
    assert plain(through) == plain(straight)


@pytest.mark.parametrize("sql", [sql for sql in HARMLESS if ";" not in sql.rstrip(";")])
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_extended_queries_are_the_same(both: Both, sql: str, binary: bool) -> None:
    formats = [1] if binary else []
    frames = (parse(sql), bind(results=formats), describe("P"), execute(), SYNC)
    through, straight = both.compare(*frames)
    assert plain(through) == plain(straight)


def test_without_describe_nothing_is_added(both: Both) -> None:
    frames = (parse("select id, name from products order by id limit 3"), bind(), execute(), SYNC)
    through, straight = both.compare(*frames)
    assert tags(through) == "12DCZ"
    assert plain(through) == plain(straight)


def test_named_statements_and_portals_with_partial_execute(both: Both) -> None:
    frames = (
        parse("select id from orders where id <= $1 order by id", name="s", types=[23]),
        describe("S", "s"),
        bind("s", "p", [b"7"]),
        execute("p", 3),
        execute("p", 3),
        execute("p", 3),
        close("P", "p"),
        bind("s", "q", [b"1"]),
        execute("q"),
        close("S", "s"),
        SYNC,
    )
    through, straight = both.compare(*frames)
    assert tags(through).count("s") == 2
    assert plain(through) == plain(straight)


def test_sql_and_protocol_share_a_portal(both: Both) -> None:
    for frames in (
        (query("begin"),),
        (parse("select id from orders order by id"), bind(portal="p"), execute("p", 3), SYNC),
        (query("move forward 2 in p"),),
        (execute("p", 2), SYNC),
        (query("fetch 2 from p; move 1 in p; fetch backward 1 from p"),),
        (execute("p", 2), SYNC),
        (query("commit"),),
    ):
        through, straight = both.compare(*frames)
        assert plain(through) == plain(straight)


def test_a_failed_portal_fails_again(both: Both) -> None:
    for frames in (
        (query("begin"),),
        (parse("select 1 / (4 - id) from orders order by id"), bind(portal="p"), execute("p", 2), SYNC),
        (execute("p"), SYNC),
        (execute("p"), SYNC),
        (query("rollback"),),
        (execute("p"), SYNC),
    ):
        through, straight = both.compare(*frames)
        assert plain(through) == plain(straight)


def test_a_portal_outlives_a_rollback_to_a_later_savepoint(both: Both) -> None:
    for frames in (
        (query("begin"),),
        (parse("select id, name from products order by id", "s"), bind("s", "p"), SYNC),
        (query("savepoint a"),),
        (parse("select 1/0"), bind(), execute(), execute("p", 2), SYNC),
        (query("rollback to a"),),
        (execute("p", 2), SYNC),
        (query("commit"),),
    ):
        through, straight = both.compare(*frames)
        assert plain(through) == plain(straight)


def test_pipelined_requests_keep_their_order_around_an_error(both: Both) -> None:
    def one(sql: str) -> tuple[bytes, ...]:
        return parse(sql), bind(), execute(), SYNC

    frames = (*one("select 1"), *one("select 1/0"), *one("select 3"))
    for raw in (both.through, both.straight):
        raw.send(*frames)
    through = [seen for _ in range(3) for seen in both.through.until("Z")]
    straight = [seen for _ in range(3) for seen in both.straight.until("Z")]
    assert plain(through) == plain(straight)


def test_after_an_error_everything_up_to_sync_is_skipped(both: Both) -> None:
    frames = (parse("select 1/0"), bind(), execute(), parse("select 2"), bind(), execute(), SYNC)
    through, straight = both.compare(*frames)
    assert plain(through) == plain(straight)
    assert len(errors(through)) == 1


def test_flush_brings_answers_before_sync(both: Both) -> None:
    for raw in (both.through, both.straight):
        raw.send(parse("select 5"), bind(), execute(), FLUSH)
    assert plain(both.through.until("C")) == plain(both.straight.until("C"))
    through, straight = both.compare(SYNC)
    assert tags(through) == tags(straight) == "Z"


def test_split_at_every_byte(both: Both) -> None:
    frames = (parse("select $1::int + 1", types=[23]), bind(values=[b"41"]), describe("P"), execute(), SYNC)
    both.through.send_split(*frames)
    through = both.through.until("Z")
    assert plain(through) == plain(both.straight.ask(*frames))


def test_unknown_names_are_the_target_s_own_errors(both: Both) -> None:
    for frames in (
        (bind("never"), execute(), SYNC),
        (execute("never"), SYNC),
        (describe("S", "never"), SYNC),
        (describe("P", "never"), SYNC),
        (close("S", "never"), SYNC),
    ):
        through, straight = both.compare(*frames)
        assert plain(through) == plain(straight)


def test_function_call_is_refused_and_the_session_goes_on(both: Both) -> None:
    answer = both.through.ask(message("F", (1598).to_bytes(4, "big") + b"\0\0\0\0\0\0"))
    assert errors(answer)[0]["C"] in {"0A000", "42501"}
    assert rows(both.through.ask(query("select 1"))) == [[b"1"]]


@pytest.mark.parametrize("size", [1, 8191, 8192, 65536, 1 << 20, 20 << 20])
def test_rows_of_any_size(both: Both, size: int) -> None:
    through, straight = both.compare(query(f"select repeat('x', {size}), 1"))
    assert plain(through) == plain(straight)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_harmless_pipeline_is_the_same(both: Both, data: st.DataObject) -> None:
    texts = st.sampled_from(
        ["select 1", "select 1/0", "select id from products order by id limit 4", "", "values (1),(2)"]
    )
    frames: list[bytes] = []
    syncs = 0
    for _ in range(data.draw(st.integers(1, 6))):
        sql, limit = data.draw(texts), data.draw(st.sampled_from([0, 1, 2]))
        frames += [parse(sql), bind()]
        if data.draw(st.booleans()):
            frames.append(describe("P"))
        frames.append(execute(rows=limit))
        if data.draw(st.booleans()):
            frames.append(SYNC)
            syncs += 1
    frames.append(SYNC)
    answers = []
    for raw in (both.through, both.straight):
        raw.send(*frames)
        answers.append([seen for _ in range(syncs + 1) for seen in raw.until("Z")])
    assert plain(answers[0]) == plain(answers[1])


async def test_notifications_reach_the_listener(dsn: Callable[[str], str], direct: Callable[[str], str]) -> None:
    heard: asyncio.Queue[tuple[str, object]] = asyncio.Queue()

    def listener(connection: object, pid: int, channel: str, payload: object) -> None:
        heard.put_nowait((channel, payload))

    listening = await connect(dsn("reader"))
    await listening.add_listener("news", listener)
    speaking = await connect(direct("postgres"))
    await speaking.execute("notify news, 'hello'")
    assert await asyncio.wait_for(heard.get(), 5) == ("news", "hello")
    await speaking.close()
    await listening.close()


def test_the_session_has_the_number_its_target_knows_it_by(
    shop_gateway: Gateway, shop: Shop, standard: House, direct: Callable[[str], str]
) -> None:
    for version in (PROTOCOL_3_0, PROTOCOL_3_2):
        with Raw(shop_gateway.host, shop_gateway.port) as raw:
            raw.log_in("everything", shop.database, standard.token("everything"), version=version)
            assert raw.key is not None
            number = raw.key[0]
            assert rows(raw.ask(query("select pg_backend_pid()"))) == [[str(number).encode()]]
            answer = raw.ask(query("listen news; notify news, 'mine'"))
            heard = next(seen.body for seen in answer if seen.tag == "A")
            assert int.from_bytes(heard[:4], "big") == number
            assert psql(direct("postgres"), f"select pg_terminate_backend({number})").out == "t\n"
            last = raw.until_closed()
            # The server's own words, and none of the gateway's behind them.
            assert [(words["S"], words["C"]) for words in errors(last)] == [("FATAL", "57P01")]
            assert tags(last) == "E"


async def test_a_slow_client_of_a_large_result_does_not_stop_the_others(
    shop_gateway: Gateway, shop: Shop, standard: House, dsn: Callable[[str], str]
) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as slow:
        slow.log_in("reader", shop.database, standard.token("reader"))
        slow.send(query("select repeat('x', 1000) from generate_series(1, 200000)"))
        connection = await connect(dsn("reader"))
        for _ in range(20):
            assert await asyncio.wait_for(connection.fetchval("select 1"), 5) == 1
        await connection.close()


async def test_types_survive_both_formats(dsn: Callable[[str], str], direct: Callable[[str], str], shop: Shop) -> None:
    statement = """
        select 1::int2, 2::int4, 3::int8, 1.5::float4, 2.5::float8, 12.30::numeric, true, 'text', 'v'::varchar(5),
               'c'::char(4), '\\xdeadbeef'::bytea, '{"a": 1}'::json, '[1, 2]'::jsonb, '2026-02-03'::date, '04:05'::time,
               '2026-02-03 04:05+00'::timestamptz, '3 days'::interval, array[1,2], array['a',null], '10.0.0.1'::inet,
               '6b1d5c9e-0000-4000-8000-000000000001'::uuid, int4range(1, 5), row(1, 'a'), 'paid'::order_state, null
    """
    seen: list[Any] = []
    for address in (dsn("reader"), direct(shop.reader)):
        connection = await connect(address)
        record = await connection.fetchrow(statement)
        assert record is not None
        seen.append(
            (tuple(record.values()), [str(a.type.name) for a in (await connection.prepare(statement)).get_attributes()])
        )
        await connection.close()
    assert seen[0] == seen[1]


async def test_server_errors_keep_their_code_and_the_session(dsn: Callable[[str], str]) -> None:
    connection = await connect(dsn("reader"))
    with pytest.raises(asyncpg.DivisionByZeroError):
        await connection.fetch("select 1/0")
    with pytest.raises(asyncpg.UndefinedTableError):
        await connection.fetch("select * from not_there")
    assert await connection.fetchval("select 1") == 1
    await connection.close()
