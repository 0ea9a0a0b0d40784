"""Turns delivered bytes back into results, one decoder per protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from penstock.recordings.decoders import postgres


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Bytes that no decoder understands."""

    count: int


class Decoder(Protocol):
    """Takes the bytes of one session towards its client, in order, in pieces of any size."""

    def feed(self, data: bytes) -> Iterator[postgres.Told]:
        """What ``data`` completes."""


_DECODERS: dict[str, type[postgres.Decoder]] = {"postgres": postgres.Decoder}


def decoder_of(protocol: str) -> Decoder | None:
    """The decoder of a protocol by its folder's name, or None."""
    kind = _DECODERS.get(protocol or "postgres")
    return kind() if kind is not None else None
