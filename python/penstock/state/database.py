"""One database, two engines: SQLite embedded, PostgreSQL when several gateways share it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from penstock.errors import StateUnavailable

#: Seconds a statement may take before the database counts as away.
_STATEMENT_SECONDS = 5.0
#: Any number, the same in every gateway: who holds it migrates.
_MIGRATION_LOCK = 0x70656E73
_MIGRATION_SECONDS = 120.0
_READ_ONLY = "penstock_read_only"


def now_us() -> int:
    """The time in Unix microseconds, as every table keeps it."""
    return time.time_ns() // 1000


class Database:
    """The state database of this gateway. Every failure of the engine leaves as :class:`StateUnavailable`."""

    def __init__(self, url: str) -> None:
        self._url = _async_url(url)
        self._engine = _engine(self._url)
        self._writes = 0

    @property
    def shared(self) -> bool:
        """Whether other gateways may use the same database."""
        return self._url.get_backend_name() == "postgresql"

    @property
    def writes(self) -> int | None:
        """Counts this gateway's writes; ``None`` when others write too, so that only looking tells what is new."""
        return None if self.shared else self._writes

    async def open(self) -> None:
        """Brings the tables up to this version; safe while other gateways do the same."""
        if not self.shared:
            await asyncio.to_thread(_private_file, self._url)
        with _away(self._url):
            async with asyncio.timeout(_MIGRATION_SECONDS), self._engine.begin() as connection:
                if self.shared:
                    await connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                await connection.run_sync(_migrate)

    async def close(self) -> None:
        """Gives back every connection."""
        await self._engine.dispose()

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading: on SQLite it takes no writer's lock."""
        with _away(self._url):
            async with asyncio.timeout(_STATEMENT_SECONDS), self._engine.connect() as connection:
                await connection.execution_options(**{_READ_ONLY: True})
                yield connection

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end of the block, rolled back by an exception."""
        with _away(self._url):
            try:
                async with asyncio.timeout(_STATEMENT_SECONDS), self._engine.begin() as connection:
                    yield connection
            finally:
                self._writes += 1


@contextlib.contextmanager
def _away(url: URL) -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise  # another writer was first: the stores expect it and look again
    except (SQLAlchemyError, TimeoutError, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        said = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise StateUnavailable(
            f"the state database {url.render_as_string(hide_password=True)} is away: {said}"
        ) from error


def _async_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StateUnavailable("state.database is no database address, such as sqlite:///penstock.db") from error
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    backend = parsed.drivername.split("+")[0]
    if backend not in drivers:
        raise StateUnavailable(f"state.database speaks {backend!r}; use sqlite:///file or postgresql://host/database")
    return parsed.set(drivername=drivers[backend])


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() == "postgresql":
        return create_async_engine(
            url,
            pool_size=5,
            max_overflow=5,
            pool_timeout=_STATEMENT_SECONDS,
            pool_pre_ping=True,
            connect_args={"timeout": _STATEMENT_SECONDS, "server_settings": {"application_name": "penstock/state"}},
        )
    engine = create_async_engine(url, connect_args={"timeout": _STATEMENT_SECONDS})
    _tune_sqlite(engine.sync_engine)
    return engine


def _tune_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: object) -> None:
        # The driver would begin transactions at the first change only; we say when, so that DDL is inside one too.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("pragma journal_mode=wal")
        cursor.execute("pragma synchronous=normal")
        cursor.execute("pragma foreign_keys=on")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        reading = connection.get_execution_options().get(_READ_ONLY, False)
        connection.exec_driver_sql("begin" if reading else "begin immediate")


def _private_file(url: URL) -> None:
    """Creates the SQLite file so that only its owner reads it; the journal files inherit its mode."""
    if not url.database or url.database == ":memory:":
        return
    path = Path(url.database)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        raise StateUnavailable(f"the state database {path} cannot be created: {error.strerror}") from error


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
