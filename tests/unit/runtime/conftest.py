"""What the tests of the Python side share: a stand-in for the native module, databases, tokens of a local issuer."""

import importlib.util
import sys
import types
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

# The Python side is tested without a build of the extension; where one is there, these tests still use the stand-in
# for a gateway, and nothing else of it.
if importlib.util.find_spec("penstock._native") is None:
    _stand_in = types.ModuleType("penstock._native")
    _stand_in.NativeError = type("NativeError", (Exception,), {})  # type: ignore[attr-defined]
    sys.modules["penstock._native"] = _stand_in

from penstock.state.database import Database
from support.state import House, fresh_postgres


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    """A fresh SQLite state database."""
    database = Database(f"sqlite:///{tmp_path}/state.db")
    await database.open()
    yield database
    await database.close()


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A fresh state database on each engine."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/state.db"
    else:
        url = await fresh_postgres(request.getfixturevalue("postgres15"), tmp_path.name)
    opened = Database(url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def house(sqlite: Database) -> House:
    """An authenticator on SQLite whose view of revocations is fresh."""
    made = House(sqlite)
    await made.watch.poll()
    return made
