"""Masked means masked: no protected value reaches the client, by whatever road; harmless values all do."""

import contextlib
import itertools
import re
from collections.abc import Callable

import asyncpg
import psycopg
import pytest

from penstock.demo.gateway import Gateway
from penstock.demo.shop import Shop
from support.clients import connect, psql
from support.manifests import House
from support.wire import SYNC, Message, Raw, bind, describe, errors, execute, parse, query, rows

# Statements that may answer with masked cells or be refused, but never with a protected value. Grouped by what a
# reader might try; one that ever leaked stays here for good.
PLAIN = [
    "select ssn, card_number, email from customers order by id limit 20",
    "select * from customers order by id limit 20",
    "table customers",
    "select c.* from customers c limit 20",
    "select * from hr.employees",
    "select * from payments limit 20",
    "select * from payments_h1 limit 20",
    "select * from only payments_h2 limit 20",
]
RENAMED = [
    "select ssn as id from customers limit 20",
    "select a, b from (select ssn, email from customers limit 20) as t(a, b)",
    "with name as (select ssn as name from customers) select name from name limit 20",
    "with products as (select card_number from customers) select * from products limit 20",
    'select t."id" from (select ssn as "id" from customers) t limit 20',
    "select x.* from customers as x(a, b, c, d, e, f) limit 20",
]
EXPRESSIONS = [
    "select ssn || '' from customers limit 20",
    "select 'x' || ssn from customers limit 20",
    "select substr(ssn, 1, 6), substr(ssn, 7) from customers limit 20",
    "select upper(email), reverse(ssn), repeat(ssn, 2) from customers limit 20",
    "select coalesce(ssn, email) from customers limit 20",
    "select case when true then ssn end from customers limit 20",
    "select format('%s', ssn) from customers limit 20",
    "select replace(ssn, '-', '') from customers limit 20",
    "select overlay(ssn placing '' from 1 for 0) from customers limit 20",
    "select lpad(ssn, 20, '*') from customers limit 20",
    "select card_number::numeric, card_number::bigint + 0 from customers limit 20",
    "select ssn::varchar, ssn::text, ssn::bpchar, cast(ssn as name) from customers limit 20",
    "select md5(ssn) from customers limit 20",
]
ENCODED = [
    "select encode(ssn::text::bytea, 'hex'), encode(ssn::text::bytea, 'base64') from customers limit 20",
    "select encode(convert_to(email, 'UTF8'), 'escape') from customers limit 20",
    "select regexp_split_to_table(ssn, '') from customers limit 20",
    "select ascii(substr(ssn, 1, 1)), ascii(substr(ssn, 2, 1)) from customers limit 20",
    "select translate(ssn, '0123456789', 'abcdefghij') from customers limit 20",
    "select ssn::text::bytea from customers limit 20",
]
STRUCTURED = [
    "select customers from customers limit 20",
    "select (customers).ssn from customers limit 20",
    "select row(ssn, email) from customers limit 20",
    "select row_to_json(c) from customers c limit 20",
    "select to_jsonb(c) -> 'ssn' from customers c limit 20",
    "select json_build_object('x', ssn) from customers limit 20",
    "select jsonb_object_agg(id, ssn) from customers",
    "select array[ssn, email] from customers limit 20",
    "select xmlforest(ssn) from customers limit 20",
    "select (json_each_text(row_to_json(c))).value from customers c limit 200",
    "select key, value from customers c, jsonb_each_text(to_jsonb(c)) limit 200",
    "select jsonb_path_query(to_jsonb(c), '$.*') from customers c limit 200",
]
AGGREGATED = [
    "select min(ssn), max(ssn) from customers",
    "select string_agg(ssn, ',') from customers",
    "select array_agg(email) from customers",
    "select json_agg(c) from customers c",
    "select ssn, count(*) from customers group by ssn limit 20",
    "select distinct card_number from customers limit 20",
    "select mode() within group (order by ssn) from customers",
    "select percentile_disc(0.5) within group (order by ssn) from customers",
    "select first_value(ssn) over (order by id), lag(email) over (order by id) from customers limit 20",
    "select ssn from customers group by ssn having count(*) = 1 limit 20",
]
COMBINED = [
    "select 'a' union all select ssn from customers limit 20",
    "select ssn from customers union select email from customers limit 20",
    "select (select ssn from customers where id = 1)",
    "select * from (values ((select ssn from customers where id = 1))) v",
    "select o.id, l.ssn from orders o, lateral (select ssn from customers c where c.id = o.customer_id) l limit 20",
    "with recursive r(s) as (select ssn::text from customers where id = 1 union select s from r) select * from r",
    "select ssn from customers tablesample system (100) limit 20",
    "select exists (select 1), c.ssn from customers c natural join (select id from customers) d limit 20",
]
VIEWS = [
    "select * from customer_contacts limit 20",
    "select mail from contacts_by_city limit 20",
    "select * from card_holders limit 20",
    "select card as harmless from card_holders limit 20",
]
CURSORS = [
    "begin; declare c cursor for select ssn as x from customers order by id; fetch 20 from c; commit",
    "begin; declare c cursor with hold for select email from customers; commit; fetch 20 from c; close c",
    "prepare p as select ssn from customers limit 20; execute p; deallocate p",
    "prepare p(int) as select email from customers where id = $1; execute p(1); deallocate p",
]
COPIED = [
    "copy customers to stdout",
    "copy customers (ssn) to stdout",
    "copy (select ssn from customers limit 20) to stdout",
    "copy (select row_to_json(c) from customers c limit 20) to stdout with csv header",
    "copy customers to stdout with (format binary)",
]
TOLD = [
    "select ssn::int from customers where id = 1",
    "select email::date from customers where id = 1",
    "select card_number::int from customers where id = 1",
    "select 1 / (length(ssn) - length(ssn)) from customers where id = 1",
    "select ('{' || ssn || '}')::json from customers where id = 1",
    "explain analyze select ssn from customers where id = 1",
    "explain (verbose) select * from customers where email = (select email from customers where id = 1)",
    "select query_to_xml('select ssn from customers', true, false, '')",
    "select table_to_xml('customers', true, false, '')",
    "select * from pg_stats where tablename = 'customers'",
    "select most_common_vals::text, histogram_bounds::text from pg_stats where attname = 'ssn'",
    "select stavalues1::text from pg_statistic",
    "do $$ begin raise notice '%', (select ssn from customers where id = 1); end $$",
    "select set_config('my.x', ssn, false) from customers where id = 1",
    "select pg_notify('c', ssn) from customers where id = 1",
    "select * from dblink('dbname=shop', 'select ssn from customers') as t(x text)",
]
FREE_TEXT = [
    "select body from tickets order by id",
    "select context from tickets order by id",
    "select context -> 'contact' ->> 'mail' from tickets order by id",
    "select notes from customers order by id",
    "select notes ->> 'callback' from customers order by id",
]
GROUPS = {
    "plain": PLAIN,
    "renamed": RENAMED,
    "expressions": EXPRESSIONS,
    "encoded": ENCODED,
    "structured": STRUCTURED,
    "aggregated": AGGREGATED,
    "combined": COMBINED,
    "views": VIEWS,
    "cursors": CURSORS,
    "copied": COPIED,
    "told": TOLD,
    "free text": FREE_TEXT,
}
EVERY = [pytest.param(sql, id=f"{name}: {sql[:60]}") for name, group in GROUPS.items() for sql in group]
TRANSFORMS: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: text[::-1],
    lambda text: text.upper(),
    lambda text: text.replace("-", ""),
    lambda text: text.translate(str.maketrans("0123456789", "abcdefghij")),
    lambda text: text.encode().hex(),
)


def leaks(answer: bytes, shop: Shop) -> list[str]:
    """The protected values that an answer holds, in any of the simple disguises."""
    text = answer.decode("utf-8", "replace")
    digits = re.sub(r"[^0-9]", "", text)
    found = [
        value
        for value in itertools.chain(shop.ssns, shop.cards, shop.emails)
        if any(transform(value) in text for transform in TRANSFORMS)
    ]
    return found or [card for card in shop.cards if card in digits]


def everything(messages: list[Message]) -> bytes:
    return b"\n".join(seen.body for seen in messages)


@pytest.mark.parametrize("sql", EVERY)
def test_no_protected_value_by_simple_query(shop_gateway: Gateway, shop: Shop, standard: House, sql: str) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in("reader", shop.database, standard.token("reader"))
        answer = raw.ask(query(sql))
        assert not leaks(everything(answer), shop)
        assert answer[-1].tag == "Z"
        if answer[-1].body == b"E":
            raw.ask(query("rollback"))
        assert rows(raw.ask(query("select 1"))) == [[b"1"]]


@pytest.mark.parametrize("sql", [case for case in EVERY if ";" not in str(case.values[0]).split("$$")[0]])
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("described", [False, True], ids=["undescribed", "described"])
def test_no_protected_value_by_extended_query(
    shop_gateway: Gateway, shop: Shop, standard: House, sql: str, binary: bool, described: bool
) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in("reader", shop.database, standard.token("reader"))
        frames = [parse(sql), bind(results=[1] if binary else [])]
        frames += [describe("P")] if described else []
        answer = raw.ask(*frames, execute(), SYNC)
        assert not leaks(everything(answer), shop)
        assert rows(raw.ask(query("select 1"))) == [[b"1"]]


def test_masks_are_what_the_manifest_says(dsn: Callable[[str], str], shop: Shop) -> None:
    outcome = psql(dsn("reader"), "select ssn, card_number, email from customers where id in (1, 2) order by id")
    for line, ssn, email in zip(outcome.lines, shop.ssns, shop.emails, strict=False):
        masked = line.split("|")
        assert masked[0].endswith(ssn[-4:])
        assert ssn[:6] not in masked[0]
        assert masked[1] == "****"
        assert masked[2] != email
        assert masked[2].startswith("k1")


def test_null_stays_null(dsn: Callable[[str], str]) -> None:
    outcome = psql(dsn("reader"), "select coalesce(null, id), ssn from customers where ssn is null order by id limit 1")
    assert outcome.lines == ["40|"], outcome


def test_a_keyed_hash_is_the_same_for_the_same_value(dsn: Callable[[str], str]) -> None:
    sql = "select email from customers where id = 3"
    assert psql(dsn("reader"), sql).out == psql(dsn("reader"), sql).out


def test_harmless_columns_beside_masked_ones_are_untouched(
    dsn: Callable[[str], str], direct: Callable[[str], str], shop: Shop
) -> None:
    sql = "select id, name, city, created_at from customers order by id"
    assert psql(dsn("reader"), sql).out == psql(direct(shop.reader), sql).out


@pytest.mark.parametrize(
    "sql",
    [
        "select count(*), count(ssn) from customers",
        "select city, count(*) from customers group by city order by city",
        "select c.id, o.total from customers c join orders o on o.customer_id = c.id order by o.id limit 50",
        "select '123456789012', 4111111111111112, 'version 1.2.3-45', '2026-11-24'",
        "select id, total, ordered_at from orders order by id limit 50",
        "select * from monthly_revenue",
        "select relname, reltuples from pg_class where relkind = 'r' order by 1 limit 5",
    ],
)
def test_what_looks_protected_but_is_not_stays(
    dsn: Callable[[str], str], direct: Callable[[str], str], shop: Shop, sql: str
) -> None:
    assert psql(dsn("reader"), sql).out == psql(direct(shop.reader), sql).out


def test_revealed_classes_are_seen(dsn: Callable[[str], str], direct: Callable[[str], str], shop: Shop) -> None:
    sql = "select ssn, card_number, email from customers order by id limit 10"
    assert psql(dsn("revealed"), sql).out == psql(direct(shop.reader), sql).out


async def test_binary_drivers_get_masked_values_of_the_right_type(dsn: Callable[[str], str], shop: Shop) -> None:
    connection = await connect(dsn("reader"))
    record = await connection.fetchrow("select id, ssn, card_number, email, notes from customers where id = 1")
    assert record is not None
    assert record["id"] == 1
    assert isinstance(record["ssn"], str)
    assert record["ssn"].endswith(shop.ssns[0][-4:])
    assert record["card_number"] == "****"
    await connection.close()
    with psycopg.connect(dsn("reader")) as other, other.cursor(binary=True) as cursor:
        row = cursor.execute("select ssn, card_number from customers where id = %s", (1,)).fetchone()
        assert row is not None
        assert row[0].endswith(shop.ssns[0][-4:])


def test_a_dump_of_a_protected_table_is_refused_with_a_reason(dsn: Callable[[str], str]) -> None:
    outcome = psql(dsn("reader"), "copy customers to stdout")
    assert outcome.code != 0
    assert "42501" in psql(dsn("reader"), "copy customers to stdout", options=("-v", "VERBOSITY=verbose")).err


async def test_an_error_that_would_echo_a_value_keeps_its_code(dsn: Callable[[str], str], shop: Shop) -> None:
    connection = await connect(dsn("reader"))
    with pytest.raises(asyncpg.PostgresError) as raised:
        await connection.fetch("select ssn::int from customers where id = 1")
    assert raised.value.sqlstate in {"22P02", "42501"}
    assert shop.ssns[0] not in str(raised.value.as_dict())
    await connection.close()


def test_a_constraint_s_detail_does_not_tell(dsn: Callable[[str], str], shop: Shop) -> None:
    sql = (
        "insert into customers (id, name, email, city, created_at)"
        " select 100000, 'x', email, 'x', now() from customers where id = 1"
    )
    with psycopg.connect(dsn("writer"), autocommit=True) as connection:
        with pytest.raises(psycopg.Error) as raised:
            connection.execute(sql.encode())
        assert raised.value.sqlstate in {"23505", "42501"}
        assert shop.emails[0] not in str(raised.value) + str(raised.value.diag.message_detail)


def test_a_view_made_after_login_is_protected(
    dsn: Callable[[str], str], direct: Callable[[str], str], shop: Shop
) -> None:
    with psycopg.connect(dsn("reader"), autocommit=True) as open_before:
        open_before.execute("select 1")
        made = "create or replace view later as select ssn as harmless from customers; grant select on later to public"
        assert psql(direct("postgres"), made).code == 0
        try:
            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                seen = open_before.execute("select harmless from later limit 50").fetchall()
                assert not leaks(str(seen).encode(), shop)
        finally:
            psql(direct("postgres"), "drop view later")


def test_refusals_name_what_and_how_to_go_on(shop_gateway: Gateway, shop: Shop, standard: House) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in("reader", shop.database, standard.token("reader"))
        refused = errors(raw.ask(query("copy customers to stdout")))[0]
        assert refused["C"] == "42501"
        assert refused["S"] == "ERROR"
        assert "customers" in refused["M"] + refused.get("D", "")
        assert refused.get("H"), refused


NAMES = {
    "execute": ("prepare c as {}", "execute c", "deallocate c"),
    "fetch": ("declare c cursor for {}", "fetch 3 from c", "close c"),
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("early", [False, True], ids=["bound-again", "bound-before"])
def test_a_name_that_stands_for_something_else_now(
    shop_gateway: Gateway, shop: Shop, standard: House, kind: str, early: bool
) -> None:
    define, use, forget = NAMES[kind]
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in("reader", shop.database, standard.token("reader"))
        raw.ask(query("begin"))
        raw.ask(query(define.format("select 'harmless'::text as a")))
        assert rows(raw.ask(parse(use, "f"), bind("f", "p"), bind("f"), execute(), SYNC)) == [[b"harmless"]]
        raw.ask(query(forget))
        raw.ask(query(define.format("select reverse(ssn) as a from customers order by id")))
        answer = raw.ask(execute("p"), SYNC) if early else raw.ask(bind("f"), execute(), SYNC)
        assert not leaks(everything(answer), shop)
        assert bool(errors(answer)) == early


def test_a_name_whose_new_definition_the_target_refused(shop_gateway: Gateway, shop: Shop, standard: House) -> None:
    protected, harmless = "select reverse(ssn) as a from customers order by id", "select 'harmless'::text as a"
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in("reader", shop.database, standard.token("reader"))
        raw.ask(parse(protected, "s"), SYNC)
        # Pipelined: the second definition fails, as the name is taken, and the Bind finds the first.
        raw.send(parse(harmless, "s"), SYNC, bind("s"), execute(), SYNC)
        assert errors(raw.until("Z"))[0]["C"] == "42P05"
        answer = raw.until("Z")
        assert rows(answer)
        assert not leaks(everything(answer), shop)
        raw.ask(parse(protected), SYNC)
        # The unnamed one is replaced in a batch that the target skips.
        raw.send(parse("select * from not_there", "x"), parse(harmless), SYNC, bind(), execute(), SYNC)
        assert errors(raw.until("Z"))[0]["C"] == "42P01"
        answer = raw.until("Z")
        assert rows(answer)
        assert not leaks(everything(answer), shop)


def test_a_copy_of_what_a_prepared_statement_reads_is_refused(
    shop_gateway: Gateway, shop: Shop, standard: House
) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in("everything", shop.database, standard.token("everything"))
        raw.ask(query("prepare p as select reverse(ssn) as a from customers"))
        for sql in (
            "create temp table copied as execute p",
            "explain analyze create temp table copied as execute p",
            "explain analyze create temp table copied as select reverse(ssn) as a from customers",
            "explain analyze insert into tickets (body) select reverse(ssn) from customers",
        ):
            answer = raw.ask(query(sql))
            assert errors(answer)[0]["C"] == "42501", sql
        assert errors(raw.ask(query("select * from copied")))[0]["C"] == "42P01"
