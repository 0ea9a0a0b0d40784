"""The gateways on this database, and what their operators did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import delete, insert, select, update

from penstock.state import schema
from penstock.state.database import Database, now_us


class NodeStore:
    """The table of gateways."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def started(self, node: str, version: str) -> None:
        """Notes that this gateway began."""
        table = schema.nodes
        async with self._database.write() as connection:
            await connection.execute(delete(table).where(table.c.id == node))
            await connection.execute(insert(table).values(id=node, started=now_us(), seen=now_us(), version=version))

    async def seen(self, node: str) -> None:
        """Notes that this gateway lives."""
        table = schema.nodes
        async with self._database.write() as connection:
            await connection.execute(update(table).where(table.c.id == node).values(seen=now_us()))

    async def known(self) -> list[dict[str, Any]]:
        """Every gateway seen so far."""
        async with self._database.read() as connection:
            found = await connection.execute(select(schema.nodes).order_by(schema.nodes.c.id))
            return [{str(name): value for name, value in row.items()} for row in found.mappings()]


class OperatorActs:
    """Who did what through the admin interface; the trail holds the same as evidence."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, who: str, action: str, detail: Mapping[str, Any]) -> None:
        """Notes one act."""
        row = {"at": now_us(), "who": who, "action": action, "detail": orjson.dumps(detail).decode()}
        async with self._database.write() as connection:
            await connection.execute(insert(schema.operator_acts).values(**row))
