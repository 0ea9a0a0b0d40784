"""The trail's records as the native reader tells them, one JSON object each.

Every record has ``session``, ``channel``, ``exchange``, ``at`` (Unix microseconds), ``content``, ``segment`` and
``offset``. Evidence (``content: evidence``) has ``body``, an object whose field ``evidence`` names its kind. Payload
(``content: payload``) has ``direction`` (``to_client | to_target``) and ``body``: the bytes in base64.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Record:
    """One record. ``body`` is empty for payload, ``payload`` is empty for evidence; ``direction`` is payload's."""

    session: str
    exchange: int
    time: int
    direction: str
    body: dict[str, Any]
    payload: bytes
    segment: str

    @property
    def kind(self) -> str:
        """The kind of evidence; empty for payload."""
        return str(self.body.get("evidence", ""))


def parse(raw: bytes) -> Record:
    """The record in ``raw``."""
    found = orjson.loads(raw)
    is_payload = found["content"] == "payload"
    return Record(
        session=str(found["session"]),
        exchange=int(found["exchange"]),
        time=int(found["at"]),
        direction=str(found["direction"]) if is_payload else "",
        body={} if is_payload else found["body"] or {},
        payload=base64.b64decode(found["body"]) if is_payload else b"",
        segment=str(found.get("segment", "")),
    )


def records(raw: Iterator[bytes]) -> Iterator[Record]:
    """The records of a native reader."""
    return (parse(each) for each in raw)


def query_of(session: str) -> bytes:
    """What to ask the native reader for one session; texts are named once, so even one exchange needs them all."""
    return orjson.dumps({"session": session})
