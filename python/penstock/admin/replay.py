"""Replays a session over the admin interface; that it was read is recorded before anything is shown."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from penstock.admin.auth import caller_of, need_operator
from penstock.admin.service import Service
from penstock.errors import PenstockError, UsageError
from penstock.recordings.records import query_of
from penstock.recordings.render import RENDERERS, render

#: Pieces rendered off the loop at a time.
_PIECES = 64


async def replay(request: Request, service: Service) -> Response:
    """``/v1/replay/{session}?format=text|jsonl|csv&exchange=N``."""
    caller = await caller_of(request, service)
    need_operator(caller)
    session, form = str(request.path_params["session"]), request.query_params.get("format", "text")
    if not re.fullmatch(r"[0-7][0-9a-hjkmnp-tv-z]{25}", session):
        raise UsageError("a session's id has 26 digits and small letters", hint="penstock sessions list shows them")
    if form not in RENDERERS:
        raise UsageError(f"a replay's format is one of {', '.join(RENDERERS)}")
    exchange = _exchange(request.query_params.get("exchange"))
    if form == "csv" and exchange is None:
        raise UsageError("as CSV one result is shown", hint="--exchange N; the text replay numbers them")
    service.gateway.record("trail_read", {"who": caller.name, "session": session, "exchange": exchange, "as": form})
    await service.stores.acts.add(caller.name, "trail_read", {"session": session, "exchange": exchange})
    pieces = render(form, service.read_trail(query_of(session)), exchange)
    first = await asyncio.to_thread(next, pieces, None)
    media = {"text": "text/plain", "jsonl": "application/x-ndjson", "csv": "text/csv"}[form]
    return StreamingResponse(_stream(first, pieces), media_type=f"{media}; charset=utf-8")


def _exchange(value: str | None) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise UsageError("an exchange is a number")
    return int(value)


async def _stream(first: str | None, pieces: Iterator[str]) -> AsyncIterator[bytes]:
    if first is None:
        return
    yield first.encode()
    while batch := await asyncio.to_thread(_take, pieces):
        yield "".join(batch).encode()


def _take(pieces: Iterator[str]) -> list[str]:
    batch = []
    try:
        for piece in pieces:
            batch.append(piece)
            if len(batch) == _PIECES:
                break
    except PenstockError as error:
        batch.append(f"\nthe trail cannot be read further: {error}\n")
    return batch
