"""The index of sessions, made again from the trail: what the database lost in a crash, the trail still knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import orjson

from penstock.errors import SeamError
from penstock.recordings.records import Record, records
from penstock.state.sessions import SessionRow


def query_since(since: int | None) -> bytes:
    """What to ask the native reader for: evidence alone (payload says nothing about sessions), from that time on."""
    return orjson.dumps({"kind": "evidence", "from": since})


def rows(raw: Iterator[bytes], node: str, damage: Callable[[SeamError], None]) -> Iterator[SessionRow]:
    """The sessions of ``node`` that the trail tells of, each once it is known whole, open ones last.

    ``damage`` hears of each segment that cannot be read to its end; the rest of the trail is read all the same.
    """
    found: dict[str, SessionRow] = {}
    for record in records(_readable(raw, damage)):
        if record.segment and not record.segment.startswith(f"{node}-"):
            continue  # another gateway's, on the same store
        if record.kind == "session_opened":
            found[record.session] = _opened(record, node)
        elif record.kind == "session_closed" and (row := found.pop(record.session, None)) is not None:
            yield _closed(row, record)
    yield from found.values()


def _readable(raw: Iterator[bytes], damage: Callable[[SeamError], None]) -> Iterator[bytes]:
    # The native reader goes on with the next segment when it is asked again.
    while True:
        try:
            yield next(raw)
        except StopIteration:
            return
        except SeamError as error:
            damage(error)


def _opened(record: Record, node: str) -> SessionRow:
    body = record.body
    return SessionRow(
        id=record.session,
        node=node,
        identity=str(body.get("identity", "")),
        target=str(body.get("target", "")),
        database=str(body.get("database", "")),
        client=str(body.get("client", "")),
        opened=record.time,
        groups=tuple(str(group) for group in body.get("groups", ())),
        application=str(body.get("application") or ""),
        segments={"first": record.segment},
    )


def _closed(row: SessionRow, record: Record) -> SessionRow:
    body = record.body
    return SessionRow(
        id=row.id,
        node=row.node,
        identity=row.identity,
        target=row.target,
        database=row.database,
        client=row.client,
        opened=row.opened,
        groups=row.groups,
        application=row.application,
        closed=record.time,
        reason=str(body.get("reason", "")),
        statements=int(body.get("statements") or 0),
        rows=int(body.get("rows") or 0),
        bytes=int(body.get("bytes") or 0),
        segments={**row.segments, "last": record.segment},
    )
