"""Requests that wait for a person, each decided exactly once whichever gateway or reviewer comes first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.state import schema
from penstock.state.database import Database, now_us

#: Statuses: ``pending``, then exactly one of ``approved denied expired withdrawn``.
PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Wait:
    """One hold that waits for a request's decision, and who asked."""

    node: str
    session: str
    hold: int
    issuer: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """One request; times in Unix microseconds. ``request`` is the hold event as the gateway told it."""

    id: str
    open_key: str | None
    identity: str
    target: str
    database: str
    rule: str
    phase: str
    shape: str
    status: str
    created: int
    expires: int
    reviewers: tuple[str, ...]
    request: dict[str, Any]
    rows: int | None = None
    bytes: int | None = None
    complete: bool = False
    sample: dict[str, Any] | None = None
    decided: int | None = None
    decided_by: str | None = None
    reason: str | None = None

    @property
    def pending(self) -> bool:
        """Whether nobody has decided yet."""
        return self.status == PENDING


@dataclass(frozen=True, slots=True)
class ShapeApproval:
    """An approval that covers a statement's shape for a time, within ``rows_limit`` rows where it has one."""

    id: str
    identity: str
    target: str
    database: str
    rule: str
    shape: str
    created: int
    until: int
    rows_limit: int | None
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """How a request is to end. ``shape`` is kept with it when an approval is to cover the statement's shape."""

    status: str
    by: str
    reason: str
    shape: ShapeApproval | None = None


class ApprovalStore:
    """The tables of requests, waits, events and shape approvals."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def join(self, fresh: Approval, wait: Wait) -> tuple[Approval, bool]:
        """Adds ``wait`` to the open request with the same key, or to ``fresh`` made new; true when it is new."""
        for _ in range(3):
            try:
                return await self._join(fresh, wait)
            except IntegrityError:
                continue  # another gateway made the same request between our look and our insert
        return await self._join(fresh, wait)

    async def _join(self, fresh: Approval, wait: Wait) -> tuple[Approval, bool]:
        table = schema.approvals
        async with self._database.write() as connection:
            same = select(table).where(table.c.open_key == fresh.open_key).with_for_update()
            row = (await connection.execute(same)).mappings().first()
            joined = row is not None and row["expires"] > now_us()
            if row is not None and not joined:
                await _close(connection, row["id"], Ruling("expired", "gateway", "nobody decided in time"))
            approval = _approval(dict(row)) if row is not None and joined else fresh
            if not joined:
                await connection.execute(insert(table).values(**_values(fresh)))
                await _note(connection, fresh.id, "requested", fresh.identity, {})
            values = {name: getattr(wait, name) for name in Wait.__slots__}
            await connection.execute(insert(schema.approval_waits).values(approval=approval.id, **values))
        return approval, not joined

    async def decide(self, approval_id: str, ruling: Ruling, *, not_by: Iterable[Requester] = ()) -> bool:
        """Ends a pending request; false when another did so first, it expired, or a requester would be its reviewer.

        The requesters are read in the same transaction that decides, so that nobody can join in between.
        """
        table = schema.approvals
        async with self._database.write() as connection:
            still = select(table).where(table.c.id == approval_id, table.c.status == PENDING).with_for_update()
            row = (await connection.execute(still)).mappings().first()
            if row is None or (ruling.status in {"approved", "denied"} and row["expires"] <= now_us()):
                return False
            if await _requesters(connection, approval_id) & set(not_by):
                return False
            await _close(connection, approval_id, ruling)
            if ruling.shape is not None:
                values = {name: getattr(ruling.shape, name) for name in ShapeApproval.__slots__}
                await connection.execute(insert(schema.shape_approvals).values(**values))
        return True

    async def grew(self, approval_id: str, update_of: Mapping[str, Any]) -> None:
        """Notes what a held result has grown to: ``rows``, ``bytes``, ``complete``, ``sample``."""
        table = schema.approvals
        values = {**update_of, "sample": _json(update_of.get("sample"))}
        async with self._database.write() as connection:
            await connection.execute(
                update(table).where(table.c.id == approval_id, table.c.status == PENDING).values(**values)
            )

    async def leave(self, wait: Wait, why: str) -> str | None:
        """Takes a wait away; returns the request's id when it was the last one and the request is withdrawn."""
        waits = schema.approval_waits
        this = (waits.c.node == wait.node, waits.c.session == wait.session, waits.c.hold == wait.hold)
        async with self._database.write() as connection:
            found = (await connection.execute(select(waits.c.approval).where(*this))).scalar_one_or_none()
            if found is None:
                return None
            table = schema.approvals
            await connection.execute(select(table.c.id).where(table.c.id == found).with_for_update())
            await connection.execute(delete(waits).where(*this))
            others = select(func.count()).select_from(waits).where(waits.c.approval == found)
            if (await connection.execute(others)).scalar_one() > 0:
                return None
            closed = await _close(connection, found, Ruling("withdrawn", "client", why))
            return str(found) if closed else None

    async def expire(self, *, before: int) -> list[str]:
        """Ends every request whose time is over, whichever gateway it belonged to; returns their ids."""
        table = schema.approvals
        async with self._database.read() as connection:
            late = select(table.c.id).where(table.c.status == PENDING, table.c.expires <= before).limit(1000)
            found = [str(row[0]) for row in await connection.execute(late)]
        ruling = Ruling("expired", "gateway", "nobody decided in time")
        return [approval for approval in found if await self.decide(approval, ruling)]

    async def abandon(self, node: str) -> list[str]:
        """At a gateway's start: its own waits died with it; ends the requests nobody else waits for."""
        waits = schema.approval_waits
        async with self._database.read() as connection:
            mine = select(waits.c.approval, waits.c.session, waits.c.hold).where(waits.c.node == node)
            found = [(str(row[0]), Wait(node, str(row[1]), int(row[2]))) for row in await connection.execute(mine)]
        ended = []
        for approval, wait in found:
            ruling = Ruling("expired", "gateway", "the gateway restarted")
            if await self._alone(approval, node) and await self.decide(approval, ruling):
                ended.append(approval)
            await self.leave(wait, "the gateway restarted")
        return ended

    async def _alone(self, approval: str, node: str) -> bool:
        waits = schema.approval_waits
        others = select(func.count()).select_from(waits).where(waits.c.approval == approval, waits.c.node != node)
        async with self._database.read() as connection:
            return (await connection.execute(others)).scalar_one() == 0

    async def outcomes(self, approval_ids: Iterable[str]) -> list[Approval]:
        """Those of the requests that are decided."""
        table = schema.approvals
        wanted = select(table).where(table.c.id.in_(list(approval_ids)), table.c.status != PENDING)
        async with self._database.read() as connection:
            return [_approval(dict(row)) for row in (await connection.execute(wanted)).mappings()]

    async def get(self, approval_id: str) -> Approval | None:
        """One request, or None."""
        table = schema.approvals
        async with self._database.read() as connection:
            row = (await connection.execute(select(table).where(table.c.id == approval_id))).mappings().first()
        return _approval(dict(row)) if row is not None else None

    async def newest(self, *, status: str | None = None, limit: int = 100) -> list[Approval]:
        """Requests, the newest first."""
        table = schema.approvals
        wanted = select(table).order_by(table.c.created.desc(), table.c.id.desc()).limit(limit)
        if status is not None:
            wanted = wanted.where(table.c.status == status)
        async with self._database.read() as connection:
            return [_approval(dict(row)) for row in (await connection.execute(wanted)).mappings()]

    async def requesters(self, approval_id: str) -> set[Requester]:
        """Issuer and subject of everybody who waits for this request, or waited when it was decided."""
        async with self._database.read() as connection:
            return await _requesters(connection, approval_id)

    async def events(self, approval_id: str) -> list[dict[str, Any]]:
        """A request's history, the oldest first."""
        table = schema.approval_events
        async with self._database.read() as connection:
            found = await connection.execute(select(table).where(table.c.approval == approval_id).order_by(table.c.seq))
            return [
                {str(name): orjson.loads(value) if name == "detail" else value for name, value in row.items()}
                for row in found.mappings()
            ]

    async def note(self, approval_id: str, kind: str, by: str, detail: Mapping[str, Any]) -> None:
        """Adds an event to a request's history."""
        async with self._database.write() as connection:
            await _note(connection, approval_id, kind, by, detail)

    async def covering(self, request: Approval, *, rows: int | None) -> ShapeApproval | None:
        """A shape approval in force that covers ``request``; ``rows`` is None while the result still grows."""
        table = schema.shape_approvals
        within = table.c.rows_limit.is_(None)
        wanted = select(table).where(
            table.c.identity == request.identity,
            table.c.target == request.target,
            table.c.database == request.database,
            table.c.rule == request.rule,
            table.c.shape == request.shape,
            table.c.until > now_us(),
            within if rows is None else or_(within, table.c.rows_limit >= rows),
        )
        async with self._database.read() as connection:
            row = (await connection.execute(wanted.limit(1))).mappings().first()
        return ShapeApproval(**row) if row is not None else None


#: Issuer and subject of a requester; both None for a static token.
Requester = tuple[str | None, str | None]


async def _requesters(connection: AsyncConnection, approval_id: str) -> set[Requester]:
    waits = schema.approval_waits
    found = await connection.execute(select(waits.c.issuer, waits.c.subject).where(waits.c.approval == approval_id))
    return {(issuer, subject) for issuer, subject in found}


async def _close(connection: AsyncConnection, approval_id: str, ruling: Ruling) -> bool:
    table = schema.approvals
    ending = {
        "status": ruling.status,
        "open_key": None,
        "decided": now_us(),
        "decided_by": ruling.by,
        "reason": ruling.reason,
    }
    if ruling.status != "approved":
        ending["sample"] = None  # of what was not approved, no rows stay behind
    changed = await connection.execute(
        update(table).where(table.c.id == approval_id, table.c.status == PENDING).values(**ending)
    )
    if changed.rowcount != 1:
        return False
    await _note(connection, approval_id, ruling.status, ruling.by, {"reason": ruling.reason})
    return True


async def _note(connection: AsyncConnection, approval_id: str, kind: str, by: str, detail: Mapping[str, Any]) -> None:
    row = {"approval": approval_id, "at": now_us(), "kind": kind, "by": by, "detail": _json(detail)}
    await connection.execute(insert(schema.approval_events).values(**row))


def _values(approval: Approval) -> dict[str, Any]:
    values = {name: getattr(approval, name) for name in Approval.__slots__}
    documents = {name: _json(values[name]) for name in ("reviewers", "request", "sample")}
    return {**values, **documents}


def _approval(values: dict[str, Any]) -> Approval:
    for name in ("reviewers", "request", "sample"):
        values[name] = orjson.loads(values[name]) if values[name] is not None else None
    return Approval(**{**values, "reviewers": tuple(values["reviewers"])})


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
