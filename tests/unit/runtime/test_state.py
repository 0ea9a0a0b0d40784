"""The state database on both engines."""

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from penstock.demo.cluster import Cluster
from penstock.errors import StateUnavailable
from penstock.state.database import Database, now_us
from penstock.state.nodes import NodeStore, OperatorActs
from penstock.state.revocations import RevocationStore, RevocationWatch
from penstock.state.schema import metadata
from penstock.state.sessions import SessionIndex, SessionRow
from penstock.state.tokens import ExchangedToken, TokenStore
from support.state import fresh_postgres
from support.waiting import eventually


async def test_the_migrations_make_the_schema(database: Database) -> None:
    async with database.read() as connection:
        tables = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
        columns = await connection.run_sync(
            lambda sync: {
                name: {column["name"] for column in inspect(sync).get_columns(name)} for name in metadata.tables
            }
        )
    assert tables == set(metadata.tables) | {"alembic_version"}
    assert columns == {name: set(table.c.keys()) for name, table in metadata.tables.items()}


async def test_several_gateways_may_migrate_at_once(postgres15: Cluster, tmp_path: Path) -> None:
    url = await fresh_postgres(postgres15, tmp_path.name)
    gateways = [Database(url) for _ in range(4)]
    await asyncio.gather(*(gateway.open() for gateway in gateways))
    async with gateways[0].read() as connection:
        assert (await connection.execute(text("select count(*) from alembic_version"))).scalar_one() == 1
    for gateway in gateways:
        await gateway.close()


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.db"
    database = Database(f"sqlite:///{path}")
    await database.open()
    async with database.write() as connection:
        await connection.execute(text("create table probe (x int)"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert all(stat.S_IMODE(each.stat().st_mode) == 0o600 for each in path.parent.iterdir())
    await database.close()
    assert sqlite3.connect(path).execute("pragma journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://h/d", "speaks 'mysql'"),
        ("nonsense", "no database address"),
        ("postgresql://u:hunter2@127.0.0.1:1/d", "away"),
        ("sqlite:////proc/none/state.db", "cannot be created"),
    ],
)
async def test_a_database_that_cannot_be_had_is_said(url: str, said: str) -> None:
    with pytest.raises(StateUnavailable, match=said) as caught:
        await Database(url).open()
    assert "hunter2" not in str(caught.value)


async def test_tokens_are_kept_until_they_expire(database: Database) -> None:
    store = TokenStore(database)
    kept = ExchangedToken("aaaaaaaaaa", "job", "ci", "sub", "{}", "SCRAM…", now_us(), now_us() + 60_000_000)
    late = ExchangedToken("bbbbbbbbbb", "job", "ci", "sub", "{}", "SCRAM…", now_us(), now_us() - 1)
    await store.add(kept)
    await store.add(late)
    assert await store.get("aaaaaaaaaa") == kept
    assert await store.get("cccccccccc") is None
    assert await store.unexpired() == [kept]
    assert "SCRAM" not in repr(kept)


async def test_a_revocation_is_seen_by_the_other_gateway(database: Database) -> None:
    here, there = RevocationStore(database), RevocationWatch(RevocationStore(database))
    assert await there.poll() == []
    assert there.fresh
    await here.add("token", "aaaaaaaaaa", by="op", reason="one")
    assert [each.value for each in await there.poll()] == ["aaaaaaaaaa"]
    await here.add("token", "aaaaaaaaaa", by="op", reason="two")
    assert [each.reason for each in await there.poll()] == ["two"]
    assert await here.lift("token", "aaaaaaaaaa")
    assert not await here.lift("token", "aaaaaaaaaa")
    assert await there.poll() == []
    assert there.find("token", "aaaaaaaaaa") is None


async def test_the_watch_goes_on_while_the_database_is_away(database: Database) -> None:
    store = RevocationStore(database)
    watch = RevocationWatch(store)
    told: list[str] = []

    async def tell(fresh: list[object]) -> None:
        told.extend(each.value for each in fresh)  # type: ignore[attr-defined]

    failing = True
    real = store.mark

    async def mark() -> tuple[int, int]:
        if failing:
            raise StateUnavailable("away")
        return await real()

    store.mark = mark  # type: ignore[method-assign]
    task = asyncio.create_task(watch.run(tell))  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    assert not watch.fresh
    failing = False
    await store.add("session", "s", by="op", reason="r")

    async def heard() -> bool:
        return bool(told)

    await eventually(heard, seconds=1.0)
    assert told == ["s"]
    task.cancel()


def row(number: int, **more: object) -> SessionRow:
    values = {
        "id": f"s-{number}", "node": "n1", "identity": "job", "target": "shop", "database": "shop", "client": "c",
        "opened": now_us() + number, "groups": ("a", "b"),
    }  # fmt: skip
    return SessionRow(**{**values, **more})  # type: ignore[arg-type]


async def test_the_index_of_sessions(database: Database) -> None:
    index = SessionIndex(database)
    assert await index.behind("n1") is None
    for number in range(3):
        await index.opened(row(number, identity="job" if number else "other"))
    ending = {"closed": now_us(), "reason": "bye", "statements": 4, "rows": 5, "bytes": 6, "segments": {"first": "x"}}
    await index.closed("s-1", ending)
    assert [each.id for each in await index.newest()] == ["s-2", "s-1", "s-0"]
    assert [each.id for each in await index.newest(live=True)] == ["s-2", "s-0"]
    assert [each.id for each in await index.newest(identity="other")] == ["s-0"]
    found = await index.get("s-1")
    assert found is not None
    assert (found.groups, found.rows, found.segments, found.reason) == (("a", "b"), 5, {"first": "x"}, "bye")
    assert await index.get("s-9") is None
    oldest = await index.get("s-0")
    assert oldest is not None
    assert await index.behind("n1") == oldest.opened - 60_000_000


async def test_a_rebuild_takes_the_trails_word(database: Database) -> None:
    index = SessionIndex(database)
    await index.opened(row(1))
    await index.opened(row(2))
    await index.opened(row(3, node="n2"))
    assert await index.rebuild("n1", [row(1, closed=7, reason="lost", rows=9), row(4, closed=8)]) == 2
    found = {each.id: each for each in await index.newest()}
    assert (found["s-1"].reason, found["s-1"].rows) == ("lost", 9)
    assert found["s-2"].closed is not None, "what the trail does not know has ended"
    assert found["s-3"].closed is None, "another gateway's is not ours to end"
    assert found["s-4"].closed == 8


async def test_nodes_and_acts(database: Database) -> None:
    nodes = NodeStore(database)
    await nodes.started("n1", "0.1")
    await nodes.started("n1", "0.2")
    await nodes.seen("n1")
    known = await nodes.known()
    assert [(each["id"], each["version"]) for each in known] == [("n1", "0.2")]
    await OperatorActs(database).add("op", "kill", {"session": "s"})
    async with database.read() as connection:
        assert (await connection.execute(text("select who, action from operator_acts"))).all() == [("op", "kill")]
