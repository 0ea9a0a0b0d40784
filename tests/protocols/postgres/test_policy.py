"""Decide before execute: what no rule allows does not reach the target, and the refusal says why."""

import time
from collections.abc import Callable

import psycopg
import pytest

from penstock.demo.cluster import Cluster
from penstock.demo.gateway import Gateway
from penstock.demo.processes import wait_until
from penstock.demo.shop import Shop
from support.clients import psql
from support.manifests import House, shop_target
from support.wire import SYNC, Raw, bind, errors, execute, parse, query, rows

NOT_A_READ = [
    "insert into products values (9999, 'x', 1, '{}')",
    "update products set price = 0",
    "delete from products where id = 1",
    "truncate products",
    "drop table orders",
    "create table t (x int)",
    "create temp table t (x int)",
    "alter table orders add column x int",
    "create view v as select 1",
    "create function f() returns int language sql as 'select 1'",
    "with gone as (delete from products returning *) select * from gone",
    "select * into copied from products",
    "create table copied as select * from products",
    "select * from products for update",
    "explain analyze delete from products",
    "prepare p as delete from products",
    "declare c cursor for with x as (delete from products returning 1) select * from x",
    "do $$ begin perform 1; end $$",
    "call nothing()",
    "copy products from stdin",
    "copy products to '/tmp/products'",
    "copy products to program 'cat'",
    "copy products from program 'cat'",
    "grant select on products to public",
    "set role postgres",
    "set session authorization postgres",
    "reset session authorization",
    "set session_replication_role to replica",
    "load 'auto_explain'",
    "alter system set work_mem = '1GB'",
    "vacuum products",
    "lock table products in access exclusive mode",
    "select pg_read_file('/etc/passwd')",
    "select lo_import('/etc/passwd')",
    "select lo_export(1, '/tmp/x')",
    "select pg_terminate_backend(1)",
    "select set_config('role', 'postgres', false)",
    "select query_to_xml('delete from products', true, false, '')",
    "select order_count(1)",
    "select nextval('x')",
    "select pg_sleep(1)",
    "select public.order_count(1)",
    "select p.label from products p",
    "select (p).label from products p",
    "select id from products where products.label = 'x'",
    "notify channel, 'x'",
]


@pytest.mark.parametrize("sql", NOT_A_READ)
@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_a_reader_only_reads(shop_gateway: Gateway, shop: Shop, standard: House, sql: str, extended: bool) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in("reader", shop.database, standard.token("reader"))
        answer = raw.ask(*((parse(sql), bind(), execute(), SYNC) if extended else (query(sql),)))
        refused = errors(answer)
        assert len(refused) == 1, answer
        assert refused[0]["C"] == "42501", refused
        assert answer[-1].body == b"I"
        assert rows(raw.ask(query("select 1"))) == [[b"1"]]


def test_nothing_of_a_refused_statement_reaches_the_target(
    gateway: Callable[..., Gateway], standard: House, postgres15: Cluster, shop: Shop
) -> None:
    marker = f"marker_{time.monotonic_ns()}"
    assert psql(postgres15.dsn(), "alter system set log_statement = 'all'", "select pg_reload_conf()").code == 0
    try:
        started = gateway(standard)
        with Raw(started.host, started.port) as raw:
            raw.log_in("reader", shop.database, standard.token("reader"))
            raw.ask(query(f"drop table {marker}"))
            raw.ask(parse(f"delete from {marker}"), bind(), execute(), SYNC)
            raw.ask(query(f"select 1 as allowed_{marker}"))
        log = postgres15.process.log.read_text()
    finally:
        psql(postgres15.dsn(), "alter system reset log_statement", "select pg_reload_conf()")
    assert f"allowed_{marker}" in log
    assert f"drop table {marker}" not in log
    assert f"delete from {marker}" not in log


def test_a_text_with_one_refused_statement_is_refused_whole(
    dsn: Callable[[str], str], direct: Callable[[str], str]
) -> None:
    before = psql(direct("postgres"), "select count(*) from products").out
    outcome = psql(dsn("writer"), "delete from products where id = 1; drop table orders")
    assert "nothing is dropped" in outcome.err
    assert psql(direct("postgres"), "select count(*) from products").out == before


def test_the_refusal_names_the_rule_and_a_reference(shop_gateway: Gateway, shop: Shop, standard: House) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in("writer", shop.database, standard.token("writer"))
        refused = errors(raw.ask(query("drop table orders")))[0]
    assert refused["C"] == "42501"
    assert "nothing is dropped" in refused["M"] + refused.get("D", "")
    assert refused.get("H") or refused.get("D"), refused


@pytest.mark.parametrize(
    "sql",
    ["selec 1", "select 'unterminated", "select 1 /* open", "select $1$ x", "select (((", "\\copy x", "select 1 1 1"],
)
def test_what_cannot_be_understood_is_the_server_s_syntax_error(
    dsn: Callable[[str], str], direct: Callable[[str], str], shop: Shop, sql: str
) -> None:
    with psycopg.connect(dsn("reader"), autocommit=True) as connection:
        with pytest.raises(psycopg.Error) as raised:
            connection.execute(sql.encode())
        assert raised.value.sqlstate == "42601"
        assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "sql",
    [
        "select " + "(" * 20000 + "1" + ")" * 20000,
        "select " + "+".join(["1"] * 64000),
        "select '" + "x" * (2 << 20) + "'",
    ],
    ids=["deep", "long chain", "large"],
)
def test_hostile_texts_are_refused_and_the_session_goes_on(
    shop_gateway: Gateway, shop: Shop, standard: House, sql: str
) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in("reader", shop.database, standard.token("reader"))
        assert errors(raw.ask(query(sql)))
        assert rows(raw.ask(query("select 1"))) == [[b"1"]]


def test_deny_beats_allow_and_except_exempts(dsn: Callable[[str], str]) -> None:
    made = "create table if not exists scratch (x int)"
    assert psql(dsn("everything"), made).code == 0
    assert psql(dsn("writer"), "drop table scratch").code != 0
    assert psql(dsn("everything"), "drop table scratch").code == 0


def test_functions_are_allowed_by_name(
    gateway: Callable[..., Gateway], standard: House, postgres15: Cluster, shop: Shop
) -> None:
    rules = [{"name": "read", "who": ["reader"], "allow": ["read"], "functions": ["public.order_count"]}]
    started = gateway({**standard.manifest, "rules": rules}, environment=standard.environment)
    address = started.dsn(shop.database, user="reader", password=standard.token("reader"), sslmode="disable")
    assert psql(address, "select order_count(1) >= 0").out == "t\n"
    assert psql(address, "select pg_sleep(0)").code != 0


def test_a_rule_s_evaluation_error_is_a_refusal(gateway: Callable[..., Gateway], standard: House, shop: Shop) -> None:
    rules = [
        {"name": "read", "who": ["reader"], "allow": ["read"]},
        {"name": "first table", "deny": 'sql.tables[0] == "public.secret"'},
    ]
    started = gateway({**standard.manifest, "rules": rules}, environment=standard.environment)
    address = started.dsn(shop.database, user="reader", password=standard.token("reader"), sslmode="disable")
    assert "first table" in psql(address, "select 1").err
    assert psql(address, "select count(*) from orders").code == 0


def test_observe_lets_through_and_says_so(
    gateway: Callable[..., Gateway], standard: House, postgres15: Cluster, shop: Shop
) -> None:
    target = shop_target(postgres15, shop, mode="observe")
    started = gateway({**standard.manifest, "targets": [target]}, environment=standard.environment)
    address = started.dsn(shop.database, user="reader", password=standard.token("reader"), sslmode="disable")
    assert psql(address, "select ssn from customers where id = 1").out == f"{shop.ssns[0]}\n"
    assert "observe" in started.process.log.read_text()
    _, metrics = started.request("GET", "/metrics")
    assert "observe" in str(metrics)


def test_a_new_manifest_reaches_open_sessions_within_a_second(
    gateway: Callable[..., Gateway], standard: House, shop: Shop
) -> None:
    started = gateway(standard)
    complete = _complete(standard, started)
    with psycopg.connect(
        started.dsn(shop.database, user="reader", password=standard.token("reader"), sslmode="disable"), autocommit=True
    ) as connection:
        assert connection.execute("select count(*) from orders").fetchone() == (3000,)
        denied = [*standard.manifest["rules"], {"name": "orders are closed", "deny": '"public.orders" in sql.tables'}]
        started.rewrite({**complete, "rules": denied})

        def refused() -> bool:
            try:
                connection.execute("select count(*) from orders")
            except psycopg.Error as error:
                return "orders are closed" in str(error)
            return False

        wait_until(refused, seconds=2, what="the new rule holds in the open session")


def test_a_wrong_manifest_leaves_the_last_good_one(
    gateway: Callable[..., Gateway], standard: House, shop: Shop
) -> None:
    started = gateway(standard)
    started.rewrite({**_complete(standard, started), "rules": [{"name": "broken", "deny": "no.such.fact"}]})
    time.sleep(1.5)
    address = started.dsn(shop.database, user="reader", password=standard.token("reader"), sslmode="disable")
    assert psql(address, "select 1").code == 0
    assert "no.such.fact" in started.process.log.read_text()


def test_revocation_ends_open_sessions_within_a_second(
    gateway: Callable[..., Gateway], standard: House, shop: Shop
) -> None:
    started = gateway(standard)
    address = started.dsn(shop.database, user="reader", password=standard.token("reader"), sslmode="disable")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("select 1")
        identifier = standard.tokens["reader"].id
        status, answer = started.request("POST", f"/v1/tokens/{identifier}/revoke", body={"reason": "leaked"})
        assert status == 200, answer
        time.sleep(1)
        with pytest.raises(psycopg.Error):
            connection.execute("select 1")
    assert psql(address, "select 1").code != 0


def _complete(standard: House, started: Gateway) -> dict[str, object]:
    """The manifest as it was started: with listeners, state and trail."""
    return {
        "version": 1,
        "listeners": {"postgres": {"bind": f"127.0.0.1:{started.port}"}, "admin": {"bind": "unix:./penstock.sock"}},
        "state": {"database": f"sqlite:///{started.folder}/penstock.db"},
        "trail": {"store": "./trail", "durability": "process"},
        **standard.manifest,
    }
