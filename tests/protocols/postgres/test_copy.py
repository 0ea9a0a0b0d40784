"""COPY both ways and in every format: as direct for who may, refused for who may not, never around a mask."""

import io
from collections.abc import Callable, Iterator

import psycopg
import pytest

from penstock.demo.gateway import Gateway
from penstock.demo.shop import Shop
from support.clients import connect, psql
from support.manifests import House
from support.wire import SYNC, Raw, bind, errors, execute, message, parse, query, rows, tags

FORMATS = ["", "(format csv, header)", "(format binary)", "(delimiter '|', null 'nothing')"]


@pytest.fixture
def table(direct: Callable[[str], str]) -> Iterator[str]:
    name = "copy_probe"
    made = f"create table {name} (id int, told text)"
    assert psql(direct("postgres"), f"drop table if exists {name}", made).code == 0
    yield name
    psql(direct("postgres"), f"drop table if exists {name}")


def copied(address: str, statement: str) -> bytes:
    with psycopg.connect(address) as connection, connection.cursor().copy(statement.encode()) as copy:
        return b"".join(bytes(block) for block in copy)


@pytest.mark.parametrize("options", FORMATS)
def test_out_is_the_same(dsn: Callable[[str], str], direct: Callable[[str], str], options: str) -> None:
    statement = f"copy products to stdout {options}"
    assert copied(dsn("everything"), statement) == copied(direct("postgres"), statement)


@pytest.mark.parametrize("options", FORMATS)
def test_in_is_the_same(dsn: Callable[[str], str], table: str, options: str) -> None:
    rows_in = [(number, f"line {number} \t \\ | ☃") for number in range(500)]
    with psycopg.connect(dsn("everything")) as connection:
        with connection.cursor().copy(f"copy {table} from stdin".encode()) as copy:
            for row in rows_in:
                copy.write_row(row)
        data = copied_within(connection, f"copy {table} to stdout {options}")
        connection.execute(f"truncate {table}".encode())
        with connection.cursor().copy(f"copy {table} from stdin {options}".encode()) as copy:
            copy.write(data)
        assert connection.execute(f"select * from {table} order by id".encode()).fetchall() == rows_in


def copied_within(connection: "psycopg.Connection[tuple[object, ...]]", statement: str) -> bytes:
    with connection.cursor().copy(statement.encode()) as copy:
        return b"".join(bytes(block) for block in copy)


async def test_asyncpg_copies_both_ways(dsn: Callable[[str], str], table: str) -> None:
    connection = await connect(dsn("everything"))
    records = [(number, "x" * 100) for number in range(2000)]
    assert await connection.copy_records_to_table(table, records=records) == "COPY 2000"
    sink = io.BytesIO()
    assert await connection.copy_from_table(table, output=sink) == "COPY 2000"
    assert sink.getvalue().count(b"\n") == 2000
    await connection.close()


def test_a_failing_copy_in_keeps_the_session_in_step(
    shop_gateway: Gateway, shop: Shop, standard: House, table: str
) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in("everything", shop.database, standard.token("everything"))
        raw.send(query(f"copy {table} from stdin"))
        assert raw.until("G")[-1].tag == "G"
        answer = raw.ask(message("d", b"not a number\tx\n"), message("c"))
        assert errors(answer)[0]["C"] == "22P02"
        raw.send(query(f"copy {table} from stdin"))
        raw.until("G")
        assert errors(raw.ask(message("f", b"changed my mind\0")))[0]["C"] == "57014"
        raw.send(parse(f"copy {table} from stdin"), bind(), execute(), SYNC)
        raw.until("G")
        assert tags(raw.ask(message("d", b"1\tx\n"), message("c"), SYNC)) == "CZ"
        assert rows(raw.ask(query(f"select count(*) from {table}"))) == [[b"1"]]


@pytest.mark.parametrize(
    "statement",
    [
        "copy products to stdout",
        "copy (select 1) to stdout",
        "copy customers to stdout",
        "copy products from stdin",
        "copy products to '/tmp/x'",
        "copy products to program 'cat'",
    ],
)
def test_a_reader_does_not_copy(shop_gateway: Gateway, shop: Shop, standard: House, statement: str) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in("reader", shop.database, standard.token("reader"))
        assert errors(raw.ask(query(statement)))[0]["C"] == "42501"
        assert rows(raw.ask(query("select 1"))) == [[b"1"]]


@pytest.mark.parametrize("options", FORMATS)
@pytest.mark.parametrize(
    "source",
    ["customers", "customers (ssn, email)", "(select ssn from customers)", "(table card_holders)", "hr.employees"],
)
def test_nobody_copies_a_protected_relation(dsn: Callable[[str], str], source: str, options: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        copied(dsn("everything"), f"copy {source} to stdout {options}")


@pytest.mark.parametrize("options", ["", "(format csv)"])
def test_free_text_is_scanned_on_its_way_out(dsn: Callable[[str], str], shop: Shop, options: str) -> None:
    data = copied(dsn("everything"), f"copy tickets (id, body) to stdout {options}").decode()
    assert "My card is" in data
    assert not any(value in data for value in (*shop.cards, *shop.emails))


def test_a_large_copy_out_is_complete(dsn: Callable[[str], str]) -> None:
    data = copied(dsn("everything"), "copy (select repeat('x', 1000) from generate_series(1, 50000)) to stdout")
    assert len(data) == 50000 * 1001
