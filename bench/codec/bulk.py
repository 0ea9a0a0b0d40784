"""A large result read as fast as it comes: rate, and the proxy's processor time per GB that the target sent."""

import time

from bench.facts import cpu_seconds
from bench.lanes import BULK_QUERY, Lane
from support.wire import query

_END = b"Z\0\0\0\5I"


def once(lane: Lane, *, sent: int | None = None) -> dict[str, float]:
    """One run. `sent`: the size of the direct answer, to which all lanes relate; None to take one's own."""
    buffer = memoryview(bytearray(1 << 20))
    with lane.connect() as raw:
        lane.log_in(raw)
        before = cpu_seconds(lane.pid) if lane.pid else 0.0
        began, received, last = time.perf_counter(), 0, b""
        raw.send(query(BULK_QUERY))
        while last != _END:
            got = raw.socket.recv_into(buffer)
            if got == 0:
                raise RuntimeError(f"{lane.name} closed after {received} bytes")
            if received == 0 and buffer[0] == ord("E"):
                raise RuntimeError(f"{lane.name} refused: {bytes(buffer[:got])!r}")
            received += got
            last = (last + bytes(buffer[max(0, got - 6) : got]))[-6:]
        seconds = time.perf_counter() - began
        used = cpu_seconds(lane.pid) - before if lane.pid else 0.0
    size = sent or received
    return {"bytes": received, "rate": size / seconds / 1e6, "cpu_s_per_gb": used / (size / 1e9)}
