"""A stand-in for the native gateway: it remembers what it was told, and its events are the test's own."""

import json
import os
import re
from typing import Any

import orjson


def evaluate(expression: str, claims: bytes) -> bool:
    """Enough CEL for tests: `claims.NAME == "VALUE"` joined by `&&`, `true`, and `broken`, which fails."""
    if expression == "true":
        return True
    values = json.loads(claims)
    for part in expression.split("&&"):
        found = re.fullmatch(r'\s*claims\.(\w+) == "([^"]*)"\s*', part)
        if found is None:
            raise ValueError(f"cannot evaluate {part}")
        if values[found.group(1)] != found.group(2):
            return False
    return True


class FakeGateway:
    """What the seam asks of the extension's gateway."""

    def __init__(self, settings: bytes = b"{}") -> None:
        self.settings = [orjson.loads(settings)]
        self.answers: dict[int, dict[str, Any]] = {}
        self.decided: list[tuple[str, int, dict[str, Any]]] = []
        self.registered: list[tuple[str, int, str]] = []
        self.killed: list[tuple[str, str]] = []
        self.regrouped: list[tuple[str, dict[str, Any]]] = []
        self.recorded: list[tuple[str, dict[str, Any]]] = []
        self.open: list[dict[str, Any]] = []
        self.drained: float | None = None
        self.stopped = False
        self.refuse_load: Exception | None = None
        self._events: list[bytes] = []
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def tell(self, *events: dict[str, Any]) -> None:
        """Puts events into the queue, as a native thread does."""
        self._events.extend(orjson.dumps(event) for event in events)
        os.eventfd_write(self._fd, 1)

    def start(self) -> bytes:
        return orjson.dumps({"listeners": dict.fromkeys(self.settings[0].get("listeners", {}), "127.0.0.1:6432")})

    def load(self, settings: bytes) -> None:
        if self.refuse_load is not None:
            raise self.refuse_load
        self.settings.append(orjson.loads(settings))

    def event_fd(self) -> int:
        return self._fd

    def take_events(self, most: int) -> list[bytes]:
        taken, self._events = self._events[:most], self._events[most:]
        return taken

    def answer(self, id: int, answer: bytes) -> bool:  # noqa: A002  (the extension's own name)
        self.answers[id] = orjson.loads(answer)
        return True

    def decide(self, session: str, hold: int, decision: bytes) -> bool:
        self.decided.append((session, hold, orjson.loads(decision)))
        return True

    def register(self, session: str, hold: int, approval: str) -> bool:
        self.registered.append((session, hold, approval))
        return True

    def kill(self, session: str, reason: str) -> bool:
        self.killed.append((session, reason))
        return True

    def regroup(self, session: str, principal: bytes) -> bool:
        self.regrouped.append((session, orjson.loads(principal)))
        return True

    def sessions(self) -> bytes:
        return orjson.dumps(self.open)

    def metrics(self) -> bytes:
        return (
            b"# HELP penstock_sessions_open Sessions open now.\n"
            b"# TYPE penstock_sessions_open gauge\npenstock_sessions_open 0\n"
        )

    def record(self, kind: str, detail: bytes) -> None:
        self.recorded.append((kind, orjson.loads(detail)))

    def drain(self, seconds: float) -> None:
        self.drained = seconds
        self.open.clear()

    def stop(self) -> None:
        self.stopped = True
        os.close(self._fd)
