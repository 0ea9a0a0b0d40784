"""The only importer of the native extension: events out by an eventfd, answers in by plain calls.

Everything crosses as JSON bytes. The rest of the package is handed a :class:`Seam` or a plain function, so that a test
can stand in for the extension and no other module can grow a second way across.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import orjson

from penstock import _native
from penstock._native import NativeError
from penstock.errors import SeamError

#: Events taken in one turn of the loop, so that a flood of them cannot starve everything else.
_EVENTS_PER_TURN = 256

#: One event, as the gateway tells it: always with ``type``.
Event = dict[str, Any]


class NativeGateway(Protocol):
    """What a running gateway can be asked; the extension's ``Gateway`` class."""

    def start(self) -> bytes:
        """Binds the listeners and starts the threads; JSON with their addresses."""

    def load(self, settings: bytes) -> None:
        """Replaces the settings at once."""

    def event_fd(self) -> int:
        """What becomes readable when events wait."""

    def take_events(self, most: int) -> list[bytes]:
        """Up to ``most`` events, the oldest first."""

    def answer(self, id: int, answer: bytes) -> bool:  # noqa: A002  (the extension's own name)
        """Answers an event that carries an id."""

    def decide(self, session: str, hold: int, decision: bytes) -> bool:
        """Ends a hold."""

    def register(self, session: str, hold: int, approval: str) -> bool:
        """Names a hold for people."""

    def kill(self, session: str, reason: str) -> bool:
        """Ends a session."""

    def regroup(self, session: str, principal: bytes) -> bool:
        """Gives a session its principal anew."""

    def sessions(self) -> bytes:
        """The open sessions, as JSON."""

    def metrics(self) -> bytes:
        """Prometheus text."""

    def record(self, kind: str, detail: bytes) -> None:
        """Adds evidence to the trail."""

    def drain(self, seconds: float) -> None:
        """Takes nobody new."""

    def stop(self) -> None:
        """Joins all threads."""


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turns the extension's exception, a message and perhaps a hint, into ours."""
    try:
        yield
    except NativeError as error:
        message, hint = [*error.args, None, None][:2]
        raise SeamError(str(message), hint=str(hint) if hint else None) from error


def open_gateway(settings: bytes) -> NativeGateway:
    """Validates ``settings``, opens (and recovers) the trail; :class:`SeamError` says what is wrong."""
    with _told():
        return _native.Gateway(settings)


def check_rules(settings: bytes) -> bytes:
    """Problems of the rules, classes and masks in ``settings``: a JSON list, empty when good."""
    with _told():
        return _native.check_rules(settings)


def check_expression(expression: str, scope: str) -> bytes:
    """Problems of one CEL expression; ``scope`` is ``claims`` or ``rule``."""
    with _told():
        return _native.check_expression(expression, scope)


def evaluate_claims(expression: str, claims: bytes) -> bool:
    """Whether ``expression`` holds for the JSON object ``claims``; :class:`SeamError` when it cannot be evaluated."""
    with _told():
        return _native.evaluate_claims(expression, claims)


def explain(settings: bytes, request: bytes) -> bytes:
    """What the gateway would decide about one statement, as JSON."""
    with _told():
        return _native.explain(settings, request)


def facts() -> bytes:
    """The facts that rules may use, as a JSON list."""
    with _told():
        return _native.facts()


def read_trail(store: str, query: bytes) -> Iterator[bytes]:
    """The trail's records that match ``query``, each a JSON object; :class:`SeamError` on a damaged segment."""
    with _told():
        yield from _native.read_trail(store, query)


class Seam:
    """One running gateway: its events handed to ``handler``, its calls in typed form.

    ``handler`` runs on the loop and must not block; it starts tasks for whatever takes time.
    """

    def __init__(self, gateway: NativeGateway, handler: Callable[[Event], None]) -> None:
        self._gateway = gateway
        self._handler = handler
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fd = -1

    def start(self) -> dict[str, str]:
        """Binds the listeners and begins to hand out events; returns each listener's address by name."""
        with _told():
            started = orjson.loads(self._gateway.start())
        self._loop = asyncio.get_running_loop()
        self._fd = self._gateway.event_fd()
        os.set_blocking(self._fd, False)
        self._loop.add_reader(self._fd, self._wake)
        return {str(name): str(address) for name, address in started["listeners"].items()}

    def _wake(self) -> None:
        # Read the counter before the queue: an event added in between wakes us once more, never too seldom.
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 8)
        self._take()

    def _take(self) -> None:
        if self._fd < 0:
            return
        events = self._gateway.take_events(_EVENTS_PER_TURN)
        for raw in events:
            self._handler(orjson.loads(raw))
        if len(events) == _EVENTS_PER_TURN and self._loop is not None:
            self._loop.call_soon(self._take)

    def answer(self, event_id: int, answer: Mapping[str, Any]) -> bool:
        """Answers an event that carries an id; false when nobody waits for it any more."""
        with _told():
            return self._gateway.answer(event_id, orjson.dumps(answer))

    def decide(self, session: str, hold: int, *, verdict: str, by: str, reason: str) -> bool:
        """Ends a hold: ``approved``, ``denied`` or ``expired``; false when it is gone."""
        with _told():
            return self._gateway.decide(session, hold, orjson.dumps({"verdict": verdict, "by": by, "reason": reason}))

    def register(self, session: str, hold: int, approval: str) -> bool:
        """Tells a hold the reference under which reviewers see it."""
        with _told():
            return self._gateway.register(session, hold, approval)

    def kill(self, session: str, reason: str) -> bool:
        """Ends a session; false when it is gone."""
        with _told():
            return self._gateway.kill(session, reason)

    def regroup(self, session: str, principal: Mapping[str, Any]) -> bool:
        """Gives an open session its principal anew; false when it is gone."""
        with _told():
            return self._gateway.regroup(session, orjson.dumps(principal))

    def load(self, settings: bytes) -> None:
        """Replaces rules, targets, classes and identities at once; on an error nothing changes."""
        with _told():
            self._gateway.load(settings)

    def sessions(self) -> list[dict[str, Any]]:
        """The sessions open in this gateway now."""
        with _told():
            found: list[dict[str, Any]] = orjson.loads(self._gateway.sessions())
            return found

    def metrics(self) -> bytes:
        """Prometheus text."""
        with _told():
            return self._gateway.metrics()

    def record(self, kind: str, detail: Mapping[str, Any]) -> None:
        """Puts an operator's or reviewer's act into the trail; :class:`SeamError` when the trail cannot be written."""
        with _told():
            self._gateway.record(kind, orjson.dumps(detail))

    def drain(self, seconds: float) -> None:
        """Accepts nobody new and tells sessions to end within ``seconds``; returns at once."""
        with _told():
            self._gateway.drain(seconds)

    def stop(self) -> None:
        """Joins every native thread; takes no more events."""
        if self._loop is not None and self._fd >= 0:
            self._loop.remove_reader(self._fd)
        self._fd = -1
        with _told():
            self._gateway.stop()
