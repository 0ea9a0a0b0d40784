"""A refusal has the effect the server's own would have: open work is aborted, the status is true, pipelines go on."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from penstock.demo.gateway import Gateway
from penstock.demo.shop import Shop
from support.clients import psql
from support.manifests import House
from support.wire import SYNC, Raw, bind, errors, execute, parse, query, rows, tags

FORBIDDEN = "drop table orders"


@pytest.fixture
def table(direct: Callable[[str], str]) -> Iterator[str]:
    name = "transaction_probe"
    made = f"create table {name} (x int); alter table {name} owner to shop_owner; grant select on {name} to public"
    assert psql(direct("postgres"), f"drop table if exists {name}", made).code == 0
    yield name
    psql(direct("postgres"), f"drop table if exists {name}")


@pytest.fixture
def writer(shop_gateway: Gateway, shop: Shop, standard: House) -> Iterator[Raw]:
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in("writer", shop.database, standard.token("writer"))
        yield raw


def count(direct: Callable[[str], str], table: str) -> int:
    return int(psql(direct("postgres"), f"select count(*) from {table}").out)


def test_a_refusal_aborts_the_transaction_at_the_target(writer: Raw, table: str, direct: Callable[[str], str]) -> None:
    writer.ask(query("begin"))
    writer.ask(query(f"insert into {table} values (1)"))
    refused = writer.ask(query(FORBIDDEN))
    assert errors(refused)[0]["C"] == "42501"
    assert refused[-1].body == b"E"
    assert errors(writer.ask(query("select 1")))[0]["C"] == "25P02"
    ended = writer.ask(query("commit"))
    assert [seen.text() for seen in ended if seen.tag == "C"] == ["ROLLBACK"]
    assert ended[-1].body == b"I"
    assert count(direct, table) == 0


def test_a_savepoint_brings_it_back(writer: Raw, table: str, direct: Callable[[str], str]) -> None:
    writer.ask(query("begin"))
    writer.ask(query(f"insert into {table} values (1)"))
    writer.ask(query("savepoint s"))
    assert writer.ask(query(FORBIDDEN))[-1].body == b"E"
    assert writer.ask(query("rollback to s"))[-1].body == b"T"
    assert writer.ask(query("commit"))[-1].body == b"I"
    assert count(direct, table) == 1


def test_an_implicit_transaction_of_a_pipeline_is_rolled_back(
    writer: Raw, table: str, direct: Callable[[str], str]
) -> None:
    insert = (parse(f"insert into {table} values (7)"), bind(), execute())
    answer = writer.ask(*insert, parse(FORBIDDEN), bind(), execute(), *insert, SYNC)
    assert len(errors(answer)) == 1
    assert answer[-1].body == b"I"
    assert count(direct, table) == 0


def test_what_sync_committed_before_a_refusal_stays(writer: Raw, table: str, direct: Callable[[str], str]) -> None:
    insert = (parse(f"insert into {table} values (7)"), bind(), execute(), SYNC)
    writer.send(*insert, parse(FORBIDDEN), bind(), execute(), SYNC, *insert)
    answers = [writer.until("Z") for _ in range(3)]
    assert [len(errors(answer)) for answer in answers] == [0, 1, 0]
    assert count(direct, table) == 2


def test_a_refused_parse_leaves_no_statement_of_that_name(writer: Raw) -> None:
    assert errors(writer.ask(parse(FORBIDDEN, name="s"), SYNC))
    assert errors(writer.ask(bind("s"), execute(), SYNC))[0]["C"] == "26000"


def test_a_refusal_is_queued_behind_answers_in_flight(writer: Raw) -> None:
    writer.send(
        parse("select generate_series(1, 1000)"), bind(), execute(), SYNC, parse(FORBIDDEN), bind(), execute(), SYNC,
        parse("select 'last'"), bind(), execute(), SYNC,
    )  # fmt: skip
    first, second, third = (writer.until("Z") for _ in range(3))
    assert len(rows(first)) == 1000
    assert tags(second) == "EZ"
    assert rows(third) == [[b"last"]]


def test_refused_copy_in_does_not_leave_the_session_in_copy_mode(writer: Raw, table: str) -> None:
    answer = writer.ask(query(f"copy {table} from stdin"))
    assert errors(answer)[0]["C"] == "42501"
    assert rows(writer.ask(query("select 1"))) == [[b"1"]]


def test_drivers_keep_their_transaction_state(
    dsn: Callable[[str], str], table: str, direct: Callable[[str], str]
) -> None:
    with psycopg.connect(dsn("writer")) as connection:
        connection.execute(f"insert into {table} values (1)".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(FORBIDDEN)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        connection.rollback()
        connection.execute(f"insert into {table} values (2)".encode())
    assert count(direct, table) == 1
