"""Keeps the index of sessions up behind the sessions themselves: opening one never waits for the database."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

import structlog

from penstock.errors import StateUnavailable
from penstock.state.sessions import SessionIndex, SessionRow

#: Changes that wait while the database is away. What is dropped beyond it comes back from the trail at the next start.
MOST_WAITING = 20_000
_RETRY_SECONDS = 1.0
_LOG = structlog.get_logger("penstock.sessions")


class IndexWriter:
    """Writes what happens to sessions into the index, in order, in the background."""

    def __init__(self, index: SessionIndex, node: str) -> None:
        self._index = index
        self._node = node
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._dropped = 0

    def note(self, event: Mapping[str, Any]) -> None:
        """Takes an ``opened`` or ``closed`` event of the gateway."""
        if len(self._waiting) >= MOST_WAITING:
            self._dropped += 1
            if self._dropped == 1:
                _LOG.error("session_index_behind", effect="the index is rebuilt from the trail at the next start")
            return
        self._waiting.append(event)
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Writes for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                try:
                    await self._write(self._waiting[0])
                except StateUnavailable:
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                self._waiting.popleft()
            self._idle.set()

    async def settle(self, seconds: float) -> None:
        """Waits until everything is written, but not for ever."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            _LOG.warning("session_index_behind", waiting=len(self._waiting))

    async def _write(self, event: Mapping[str, Any]) -> None:
        session = str(event["session"])
        if event["type"] == "opened":
            await self._index.opened(
                SessionRow(
                    id=session,
                    node=self._node,
                    identity=str(event["identity"]),
                    target=str(event["target"]),
                    database=str(event["database"]),
                    client=str(event["client"]),
                    opened=int(event["at"]),
                    groups=tuple(event.get("groups") or ()),
                    application=str(event.get("application") or ""),
                )
            )
            return
        ending = {name: int(event.get(name) or 0) for name in ("statements", "rows", "bytes")}
        ended = {"closed": int(event["at"]), "reason": str(event.get("reason") or "")}
        await self._index.closed(session, {**ending, **ended, "segments": event.get("segments") or {}})
