"""The index of sessions: derived from the trail, and rebuilt from it where a crash left it behind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.state import schema
from penstock.state.database import Database

#: The trail is read again from this much before the index' last word, as sessions open side by side.
_OVERLAP_US = 60_000_000


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session as the index knows it; times in Unix microseconds, ``closed`` None while it is open."""

    id: str
    node: str
    identity: str
    target: str
    database: str
    client: str
    opened: int
    groups: tuple[str, ...] = ()
    application: str = ""
    closed: int | None = None
    reason: str | None = None
    statements: int = 0
    rows: int = 0
    bytes: int = 0
    segments: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The row as the admin interface shows it."""
        shown = {name: getattr(self, name) for name in self.__slots__ if name != "id"}
        return {"session": self.id, **shown, "groups": list(self.groups)}


class SessionIndex:
    """The table of sessions of all gateways on this database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def opened(self, row: SessionRow) -> None:
        """Notes a session that opened."""
        async with self._database.write() as connection:
            await _put(connection, row)

    async def closed(self, session: str, ending: dict[str, Any]) -> None:
        """Notes how a session ended: ``closed``, ``reason`` and its counts."""
        table = schema.sessions
        values = {**ending, "segments": _json(ending.get("segments", {}))}
        async with self._database.write() as connection:
            await connection.execute(update(table).where(table.c.id == session).values(**values))

    async def rebuild(self, node: str, rows: Iterable[SessionRow]) -> int:
        """Takes the trail's word for the sessions of ``node``: replaces what is known, ends what died unseen."""
        table = schema.sessions
        count = 0
        async with self._database.write() as connection:
            for row in rows:
                await _put(connection, row)
                count += 1
            lost = update(table).where(table.c.node == node, table.c.closed.is_(None))
            await connection.execute(lost.values(closed=table.c.opened, reason="the gateway ended before the session"))
        return count

    async def behind(self, node: str) -> int | None:
        """From when on the index of ``node`` may lack something, in Unix microseconds; None: it knows nothing."""
        table = schema.sessions
        mine = select(func.min(table.c.opened).filter(table.c.closed.is_(None)), func.max(table.c.opened))
        async with self._database.read() as connection:
            unclosed, newest = (await connection.execute(mine.where(table.c.node == node))).one()
        known = [moment for moment in (unclosed, newest) if moment is not None]
        return min(known) - _OVERLAP_US if known else None

    async def get(self, session: str) -> SessionRow | None:
        """One session, or None."""
        table = schema.sessions
        async with self._database.read() as connection:
            row = (await connection.execute(select(table).where(table.c.id == session))).mappings().first()
        return _row(dict(row)) if row is not None else None

    async def newest(
        self, *, identity: str | None = None, target: str | None = None, live: bool = False, limit: int = 100
    ) -> list[SessionRow]:
        """Sessions, the newest first."""
        table = schema.sessions
        wanted = select(table).order_by(table.c.opened.desc(), table.c.id.desc()).limit(limit)
        if identity is not None:
            wanted = wanted.where(table.c.identity == identity)
        if target is not None:
            wanted = wanted.where(table.c.target == target)
        if live:
            wanted = wanted.where(table.c.closed.is_(None))
        async with self._database.read() as connection:
            return [_row(dict(row)) for row in (await connection.execute(wanted)).mappings()]


async def _put(connection: AsyncConnection, row: SessionRow) -> None:
    table = schema.sessions
    await connection.execute(delete(table).where(table.c.id == row.id))
    values = {name: getattr(row, name) for name in SessionRow.__slots__}
    values |= {"groups": _json(list(row.groups)), "segments": _json(row.segments)}
    await connection.execute(insert(table).values(**values))


def _row(values: dict[str, Any]) -> SessionRow:
    groups, segments = (orjson.loads(values.pop(name)) for name in ("groups", "segments"))
    return SessionRow(**values, groups=tuple(groups), segments=segments)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
