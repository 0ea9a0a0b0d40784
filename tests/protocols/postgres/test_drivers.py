"""The clients people already have: each does its own ordinary work through the gateway."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.ext.asyncio import create_async_engine

from penstock.demo.cluster import Cluster, embedded_binaries
from penstock.demo.gateway import Gateway
from penstock.demo.shop import Shop
from support.clients import connect, psql, run
from support.manifests import House, allow_all

NODE_FOLDER = Path(__file__).parents[2] / "drivers" / "node"


@pytest.mark.parametrize(
    "command", ["\\dt", "\\d orders", "\\d+ products", "\\dv", "\\df", "\\dn", "\\du", "\\l", "\\dT+", "\\di"]
)
def test_psql_s_catalogue_commands(
    dsn: Callable[[str], str], direct: Callable[[str], str], shop: Shop, command: str
) -> None:
    through, straight = (psql(address, stdin=f"{command}\n") for address in (dsn("reader"), direct(shop.reader)))
    assert through.code == 0, through
    assert through.out == straight.out


def test_psql_variables_copy_and_gexec(dsn: Callable[[str], str]) -> None:
    script = "select 1 as a \\gset\n\\echo :a\n\\copy (select id from products order by id limit 2) to stdout\n"
    script += "select 'select 42' \\gexec\n\\set ON_ERROR_ROLLBACK on\nbegin;\nselect 1/0;\nselect 7;\ncommit;\n"
    outcome = psql(dsn("everything"), stdin=script)
    assert outcome.lines == ["1", "1", "2", "42", "7"], outcome


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench(gateway: Callable[..., Gateway], postgres15: Cluster, mode: str) -> None:
    psql(postgres15.dsn(), "drop database if exists bench", "create database bench")
    direct = postgres15.dsn("bench")
    assert run("pgbench", "-i", "-s", "1", "-q", direct).code == 0
    rights = allow_all(postgres15, databases=["bench"], identity="bench")
    through = gateway(rights).dsn("bench", user="bench", password=rights.token("bench"), sslmode="disable")
    outcome = run("pgbench", "-n", "-M", mode, "-c", "4", "-j", "2", "-t", "50", through)
    assert outcome.code == 0, outcome
    assert "number of transactions actually processed: 200/200" in outcome.out
    assert "number of failed transactions: 0" in outcome.out
    reading = run("pgbench", "-n", "-S", "-M", mode, "-c", "8", "-t", "100", through)
    assert reading.code == 0, reading
    psql(postgres15.dsn(), "drop database bench with (force)")


def test_pg_dump_of_permitted_tables(
    gateway: Callable[..., Gateway], standard: House, postgres15: Cluster, shop: Shop
) -> None:
    rules = [
        {"name": "dump", "who": ["reader"], "allow": ["read", "copy_out"], "functions": ["set_config"]},
        {"name": "payroll is not copied", "deny": '"hr.employees" in sql.tables'},
    ]
    started = gateway({**standard.manifest, "rules": rules}, environment=standard.environment)
    address = started.dsn(shop.database, user="reader", password=standard.token("reader"), sslmode="disable")
    tables = ("--table=products", "--table=orders", "--no-owner", "--no-acl")
    binary = str(postgres15.binaries / "pg_dump")
    through = run(binary, *tables, "-d", address)
    straight = run(
        binary, *tables, "-d", postgres15.dsn(shop.database, user=shop.reader, password=shop.reader_password)
    )
    assert through.code == 0, through.err
    assert _without_tokens(through.out) == _without_tokens(straight.out)
    refused = run(binary, "--table=customers", "--data-only", "-d", address)
    assert refused.code != 0
    assert not any(value in refused.out for value in shop.ssns)


def _without_tokens(text: str) -> list[str]:
    """A dump without the random word that newer pg_dump puts around its commands."""
    return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


async def test_asyncpg(dsn: Callable[[str], str]) -> None:
    connection = await connect(dsn("reader"))
    assert await connection.fetchval("select $1::int + $2::bigint", 1, 2) == 3
    statement = await connection.prepare("select id, name, tags from products where id = any($1::int[]) order by id")
    assert [row["id"] for row in await statement.fetch([1, 2])] == [1, 2]
    async with connection.transaction():
        seen = [
            row["id"] async for row in connection.cursor("select id from orders order by id limit 500", prefetch=50)
        ]
    assert seen == list(range(1, 501))
    async with connection.transaction(isolation="serializable", readonly=True):
        assert await connection.fetchval("show transaction_isolation") == "serializable"
    assert await connection.fetch("select 1 where false") == []
    await connection.executemany("select $1::int", [(number,) for number in range(50)])
    await connection.reset()
    await connection.close()


async def test_asyncpg_pool_and_timeouts(dsn: Callable[[str], str]) -> None:
    async with asyncpg.create_pool(dsn("everything"), ssl=False, min_size=2, max_size=4) as pool:
        results = await asyncio.gather(*(pool.fetchval("select $1::int", number) for number in range(40)))
        assert results == list(range(40))
        with pytest.raises(TimeoutError):
            await pool.fetchval("select pg_sleep(5)", timeout=0.2)
        assert await pool.fetchval("select 1") == 1


def test_psycopg(dsn: Callable[[str], str]) -> None:
    with psycopg.connect(dsn("reader")) as connection:
        assert connection.execute("select %s::int + 1", (1,)).fetchone() == (2,)
        with connection.cursor(binary=True) as cursor:
            cursor.execute("select id, price, tags from products order by id limit 2")
            assert len(cursor.fetchall()) == 2
        with connection.cursor(name="on_the_server") as cursor:
            cursor.itersize = 100
            cursor.execute("select id from orders order by id")
            assert sum(1 for _ in cursor) == 3000
        connection.prepare_threshold = 1
        for number in range(5):
            assert connection.execute("select %s::int", (number,)).fetchone() == (number,)


def test_psycopg_pipeline(dsn: Callable[[str], str]) -> None:
    with psycopg.connect(dsn("reader"), autocommit=True) as connection:
        with connection.pipeline():
            cursors = [connection.execute("select %s::int", (number,)) for number in range(20)]
        assert [cursor.fetchone() for cursor in cursors] == [(number,) for number in range(20)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.pipeline():
            connection.execute("select 1")
            connection.execute("drop table orders")
            connection.execute("select 2")
        assert connection.execute("select 3").fetchone() == (3,)


def _sqlalchemy(address: str, driver: str) -> str:
    return address.split("?", 1)[0].replace("postgresql://", f"postgresql+{driver}://")


def test_sqlalchemy_on_psycopg(dsn: Callable[[str], str]) -> None:
    engine = sa.create_engine(_sqlalchemy(dsn("reader"), "psycopg"), connect_args={"sslmode": "disable"})
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        assert {"orders", "products", "customers"} <= set(inspector.get_table_names())
        assert "customer_contacts" in inspector.get_view_names()
        orders = sa.Table("orders", sa.MetaData(), autoload_with=connection)
        by_state = sa.select(orders.c.state, sa.func.count()).group_by(orders.c.state)
        assert sum(row[1] for row in connection.execute(by_state)) == 3000
    engine.dispose()


async def test_sqlalchemy_on_asyncpg(dsn: Callable[[str], str]) -> None:
    engine = create_async_engine(_sqlalchemy(dsn("reader"), "asyncpg"), connect_args={"ssl": False})
    async with engine.connect() as connection:
        names = await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names())
        assert "orders" in names
        rows = await connection.execute(sa.text("select id from orders where id < :limit order by id"), {"limit": 10})
        assert len(rows.fetchall()) == 9
    await engine.dispose()


def test_alembic_migrates_through_the_gateway(gateway: Callable[..., Gateway], postgres15: Cluster) -> None:
    psql(postgres15.dsn(), "drop database if exists migrated", "create database migrated")
    rights = allow_all(postgres15, databases=["migrated"], identity="migrator")
    address = gateway(rights).dsn("migrated", user="migrator", password=rights.token("migrator"))
    engine = sa.create_engine(_sqlalchemy(address, "psycopg"), connect_args={"sslmode": "disable"})
    with engine.begin() as connection:
        operations = Operations(MigrationContext.configure(connection))
        operations.create_table(
            "parcels", sa.Column("id", sa.Integer, primary_key=True), sa.Column("label", sa.Text, nullable=False)
        )
        operations.add_column("parcels", sa.Column("weight", sa.Numeric(6, 2)))
        operations.create_index("parcels_label", "parcels", ["label"])
        operations.bulk_insert(sa.table("parcels", sa.column("id"), sa.column("label")), [{"id": 1, "label": "x"}])
    with engine.connect() as connection:
        assert [column["name"] for column in sa.inspect(connection).get_columns("parcels")] == ["id", "label", "weight"]
        assert connection.execute(sa.text("select label from parcels")).scalar() == "x"
    engine.dispose()
    psql(postgres15.dsn(), "drop database migrated with (force)")


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Where node finds `pg`, installed from the lock once, outside the checkout."""
    if shutil.which("npm") is None:
        pytest.fail("npm is not installed; run ci/install-system-packages tests", pytrace=False)
    cache = Path(os.environ.get("PENSTOCK_CACHE") or Path.home() / ".cache" / "penstock") / "node"
    lock = NODE_FOLDER / "package-lock.json"
    if not (cache / "package-lock.json").exists() or (cache / "package-lock.json").read_text() != lock.read_text():
        cache.mkdir(parents=True, exist_ok=True)
        shutil.copy(NODE_FOLDER / "package.json", cache)
        pending = cache / "package-lock.json"
        shutil.copy(lock, pending)
        done = run("npm", "ci", "--omit=optional", "--prefix", str(cache), seconds=300)
        if done.code != 0:
            pending.unlink()
            pytest.fail(f"npm ci failed:\n{done.err}", pytrace=False)
    return cache / "node_modules"


def test_node_pg(dsn: Callable[[str], str], shop: Shop, node_modules: Path) -> None:
    address = dsn("reader").split("?", 1)[0]
    outcome = run(
        "node",
        str(NODE_FOLDER / "driver.mjs"),
        environment={"DSN": address, "PENSTOCK_NODE_MODULES": str(node_modules)},
    )
    assert outcome.code == 0, outcome
    seen = json.loads(outcome.out)
    assert seen["simple"] == [{"one": 1, "letter": "x"}]
    assert seen["parameters"] == [{"two": 2, "told": "hello"}]
    assert [row["id"] for row in seen["prepared"]] == [1, 2, 3]
    assert seen["masked"][0]["card_number"] == "****"
    assert seen["masked"][0]["ssn"].endswith(shop.ssns[0][-4:])
    assert seen["refused"]["code"] == "42501"
    assert "nothing is dropped" in json.dumps(seen["refused"])
    assert seen["broken"]["code"] == "22012"
    assert seen["after"] == [{"state": "still here"}]


def test_the_embedded_psql_and_pg_dump_18(gateway: Callable[..., Gateway], demo_postgres: Cluster) -> None:
    binaries = embedded_binaries()
    assert binaries is not None
    assert (
        psql(demo_postgres.dsn(), "create table if not exists things as select generate_series(1, 100) as x").code == 0
    )
    rights = allow_all(demo_postgres, databases=["postgres"], identity="all")
    address = gateway(rights).dsn("postgres", user="all", password=rights.token("all"), sslmode="disable")
    assert run(str(binaries / "psql"), "-XAtc", "table things", address).out.count("\n") == 100
    dumped = run(str(binaries / "pg_dump"), "--table=things", address)
    assert dumped.code == 0, dumped
    assert "\n100\n" in dumped.out
