"""Records of a trail as the native reader tells them, and the messages that payload consists of."""

import base64
import struct
from typing import Any

import orjson

SESSION = "01jd0000000000000000000000"


def evidence(
    exchange: int, at: int, name: str, /, *, session: str = SESSION, segment: str = "n1-evidence", **body: Any
) -> bytes:
    """One record of evidence."""
    return orjson.dumps(
        {
            "session": session, "channel": 0, "exchange": exchange, "at": at, "segment": segment, "offset": 0,
            "content": "evidence", "body": {"evidence": name, **body},
        }
    )  # fmt: skip


def payload(exchange: int, at: int, data: bytes, direction: str = "to_client") -> bytes:
    """One record of payload."""
    return orjson.dumps(
        {
            "session": SESSION, "channel": 0, "exchange": exchange, "at": at, "segment": "n1-payload", "offset": 0,
            "content": "payload", "direction": direction, "body": base64.b64encode(data).decode(),
        }
    )  # fmt: skip


def message(tag: str, body: bytes) -> bytes:
    return tag.encode() + struct.pack("!i", len(body) + 4) + body


def columns(*named: tuple[str, int, int]) -> bytes:
    """A RowDescription of names, type OIDs and formats."""
    body = struct.pack("!H", len(named))
    for name, oid, form in named:
        body += name.encode() + b"\0" + struct.pack("!IhIhih", 0, 0, oid, -1, -1, form)
    return message("T", body)


def row(*values: bytes | None) -> bytes:
    """A DataRow."""
    body = struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message("D", body)


def session() -> list[bytes]:
    """A whole small session: one result in text, one refusal, one result held and denied."""
    t0 = 1_795_000_000_000_000
    result = columns(("name", 25, 0), ("n", 23, 1)) + row(b"ann, a", struct.pack("!i", -7)) + row(None, None)
    result += row(b"", struct.pack("!i", 1)) + message("C", b"SELECT 3\0") + message("Z", b"I")
    refusal = message("E", b"SERROR\0C42501\0Mrule \x1b[31mno\0\0") + message("Z", b"I")
    return [
        evidence(0, t0, "session_opened", identity="job", groups=["a"], target="shop", database="shop",
                 client="10.0.0.9:5", protocol="postgres", settings="ff", application="nightly"),
        evidence(1, t0 + 1, "statement_text", id=1, text="SELECT name, n\nFROM t"),
        evidence(1, t0 + 2, "asked", text_id=1, kind="select", verdict="allow", parameters=["<ssn>", None]),
        payload(1, t0 + 3, result[:20]),
        payload(1, t0 + 4, result[20:]),
        evidence(1, t0 + 5, "answered", rows=3, bytes=len(result), masked=2, duration=1500, delivered=True),
        evidence(2, t0 + 6, "statement_text", id=2, text="DROP TABLE t\x1b[2J"),
        evidence(2, t0 + 7, "asked", text_id=2, kind="drop", verdict="deny", rule="nothing is dropped",
                 why="destructive"),
        payload(2, t0 + 8, refusal),
        evidence(2, t0 + 9, "answered", error="42501", duration=10, delivered=True),
        evidence(3, t0 + 10, "asked", text_id=1, kind="select", verdict="allow"),
        evidence(3, t0 + 11, "held", hold=1, rule="bulk", rows=10001),
        evidence(3, t0 + 12, "decided", hold=1, decision="denied", by="corp:ada", reason="no need"),
        evidence(3, t0 + 13, "answered", error="42501", delivered=False, duration=9),
        evidence(0, t0 + 14, "session_closed", reason="client", statements=3, rows=3, bytes=99),
    ]  # fmt: skip
