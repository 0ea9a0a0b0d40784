"""What was revoked: tokens, identities and single sessions; every gateway on the database follows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import structlog
from sqlalchemy import delete, func, insert, select

from penstock.errors import StateUnavailable
from penstock.state import schema
from penstock.state.database import Database, now_us

Kind = Literal["token", "identity", "session"]

#: Seconds between two looks at the table: a revocation reaches open sessions well within a second.
POLL_SECONDS = 0.4
#: A database that nobody else writes to is looked at this often, in seconds, to know that it is there.
QUIET_SECONDS = 2.0
#: A view older than this decides no login: a revocation may have been missed.
FRESH_SECONDS = 3.0
#: A killed session's row is kept this long, for gateways that were away.
_SESSION_KEPT_US = 86_400_000_000

_LOG = structlog.get_logger("penstock.state")


@dataclass(frozen=True, slots=True)
class Revocation:
    """One revoked thing; ``at`` and ``until`` in Unix microseconds."""

    kind: str
    value: str
    at: int
    by: str
    reason: str


class RevocationStore:
    """The table of revocations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, kind: Kind, value: str, *, by: str, reason: str) -> None:
        """Revokes; a second time replaces reason and time."""
        table = schema.revocations
        until = now_us() + _SESSION_KEPT_US if kind == "session" else None
        async with self._database.write() as connection:
            await connection.execute(delete(table).where(table.c.kind == kind, table.c.value == value))
            await connection.execute(delete(table).where(table.c.until < now_us()))
            await connection.execute(
                insert(table).values(kind=kind, value=value, at=now_us(), until=until, by=by, reason=reason)
            )

    async def lift(self, kind: Kind, value: str) -> bool:
        """Takes a revocation back; false when there was none."""
        table = schema.revocations
        async with self._database.write() as connection:
            done = await connection.execute(delete(table).where(table.c.kind == kind, table.c.value == value))
            return done.rowcount > 0

    async def mark(self) -> tuple[int, int]:
        """Count and highest number: while both stay, the table is unchanged (numbers are never used twice)."""
        table = schema.revocations
        async with self._database.read() as connection:
            row = (await connection.execute(select(func.count(), func.coalesce(func.max(table.c.seq), 0)))).one()
        return int(row[0]), int(row[1])

    @property
    def writes(self) -> int | None:
        """As :attr:`Database.writes`."""
        return self._database.writes

    async def all(self) -> list[Revocation]:
        """Every revocation in force."""
        table = schema.revocations
        columns = (table.c.kind, table.c.value, table.c.at, table.c.by, table.c.reason)
        async with self._database.read() as connection:
            return [Revocation(*row) for row in await connection.execute(select(*columns))]


class RevocationWatch:
    """The revocations as this gateway last saw them, looked at again every ``POLL_SECONDS``."""

    def __init__(self, store: RevocationStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._mark: tuple[int, int] | None = None
        self._seen: float | None = None
        self._known: dict[tuple[str, str], Revocation] = {}
        self._away = False
        self._writes: int | None = None

    @property
    def fresh(self) -> bool:
        """Whether this view is young enough to decide a login."""
        return self._seen is not None and self._clock() - self._seen < FRESH_SECONDS

    def find(self, kind: Kind, value: str) -> Revocation | None:
        """The revocation of that thing, if it is revoked."""
        return self._known.get((kind, value))

    async def poll(self) -> list[Revocation]:
        """Looks once; returns what was revoked since the last look."""
        began, self._writes = self._clock(), self._store.writes
        mark = await self._store.mark()
        fresh: list[Revocation] = []
        if mark != self._mark:
            now = {(found.kind, found.value): found for found in await self._store.all()}
            fresh = [found for key, found in now.items() if self._known.get(key) != found]
            self._known, self._mark = now, mark
        self._seen = began
        return fresh

    def _quiet(self) -> bool:
        """Whether nothing can be new, so that an idle gateway need not ask twice a second."""
        looked = self._seen is not None and self._clock() - self._seen < QUIET_SECONDS
        return looked and self._writes is not None and self._writes == self._store.writes

    async def run(self, tell: Callable[[list[Revocation]], Awaitable[None]]) -> None:
        """Looks for ever, telling ``tell`` what is new; a database that is away is said once, and tried on."""
        while True:
            try:
                fresh = [] if self._quiet() else await self.poll()
                if self._away:
                    _LOG.warning("state_database_back")
                self._away = False
                if fresh:
                    await tell(fresh)
            except StateUnavailable as error:
                if not self._away:
                    _LOG.error("state_database_away", error=str(error), effect="new sessions are refused")
                self._away = True
            await asyncio.sleep(POLL_SECONDS)
