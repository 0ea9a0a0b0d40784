"""Memory: of a thousand idle connections, and while a slow client reads a large result."""

import contextlib
import time

from bench.facts import memory_kib
from bench.lanes import BULK_QUERY, Lane
from support.wire import query


def idle(lane: Lane, *, connections: int) -> float:
    """KiB per idle, logged-in connection that has run one query."""
    assert lane.pid is not None
    with contextlib.ExitStack() as stack:
        # The first few pay for pools and code that is touched once.
        for _ in range(8):
            raw = stack.enter_context(lane.connect())
            lane.log_in(raw)
            raw.ask(query("select 1"))
        before = memory_kib(lane.pid)
        for _ in range(connections):
            raw = stack.enter_context(lane.connect())
            lane.log_in(raw)
            raw.ask(query("select 1"))
        time.sleep(1)
        return (memory_kib(lane.pid) - before) / connections


def slow(lane: Lane, *, seconds: float, rate: int = 4 << 20) -> float:
    """MiB over idle, at the most, while a client reads a large result at `rate` bytes a second."""
    assert lane.pid is not None
    with lane.connect() as raw:
        lane.log_in(raw)
        before = highest = memory_kib(lane.pid)
        raw.send(query(BULK_QUERY))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            raw.socket.recv(rate // 20)
            time.sleep(1 / 20)
            highest = max(highest, memory_kib(lane.pid))
    return (highest - before) / 1024
