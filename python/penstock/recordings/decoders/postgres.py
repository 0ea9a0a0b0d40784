"""Backend messages of the PostgreSQL protocol: columns, rows, completions, errors, notices, COPY data."""

from __future__ import annotations

import datetime as dt
import struct
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

#: The longest message looked into, in bytes; a longer one is skipped and said so.
MAX_MESSAGE = 64 << 20


@dataclass(frozen=True, slots=True)
class Columns:
    """A result begins; names, type OIDs and formats (0 text, 1 binary) of its columns."""

    names: tuple[str, ...]
    types: tuple[int, ...]
    formats: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row as text; None is NULL."""

    values: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Complete:
    """A result ends with its tag, such as ``SELECT 5``."""

    tag: str


@dataclass(frozen=True, slots=True)
class Said:
    """An error or a notice: its fields by their one-letter codes."""

    error: bool
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class CopyData:
    """A piece of COPY output."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Skipped:
    """Bytes that could not be read; nothing after them can be either when ``lost``."""

    why: str
    lost: bool


Told = Columns | Row | Complete | Said | CopyData | Skipped


class Decoder:
    """Reads messages out of pieces that end anywhere."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._skip = 0
        self._lost = False
        self._columns = Columns((), (), ())

    def feed(self, data: bytes) -> Iterator[Told]:
        """What ``data`` completes."""
        if self._lost:
            return
        if self._skip:
            dropped = min(self._skip, len(data))
            self._skip -= dropped
            data = data[dropped:]
        self._rest += data
        yield from self._messages()

    def _messages(self) -> Iterator[Told]:
        at, rest = 0, self._rest
        while len(rest) - at >= 5:
            (length,) = struct.unpack_from("!i", rest, at + 1)
            if length < 4:
                self._lost = True
                yield Skipped("a message with an impossible length", lost=True)
                break
            end = at + 1 + length
            if length > MAX_MESSAGE:
                yield Skipped(f"a message of {length} bytes", lost=False)
                self._skip = max(0, end - len(rest))
            elif len(rest) < end:
                break
            else:
                yield from self._message(chr(rest[at]), bytes(rest[at + 5 : end]))
            at = min(end, len(rest))
        # Cut once, not per message: a piece holds thousands of rows.
        del rest[:at]

    def _message(self, tag: str, body: bytes) -> Iterator[Told]:
        try:
            if tag == "T":
                self._columns = _columns(body)
                yield self._columns
            elif tag == "D":
                yield Row(self._row(body))
            elif tag == "C":
                yield Complete(body.rstrip(b"\0").decode(errors="replace"))
            elif tag in {"E", "N"}:
                yield Said(tag == "E", _fields(body))
            elif tag == "d":
                yield CopyData(body)
        except (struct.error, IndexError, ValueError):
            yield Skipped(f"a damaged message {tag!r}", lost=False)

    def _row(self, body: bytes) -> tuple[str | None, ...]:
        (count,) = struct.unpack_from("!H", body)
        types, formats = self._columns.types, self._columns.formats
        known = len(types) == count
        at, values = 2, list[str | None]()
        for column in range(count):
            (length,) = struct.unpack_from("!i", body, at)
            at += 4
            if length < 0:
                values.append(None)
                continue
            cell = body[at : at + length]
            if len(cell) != length:
                raise ValueError
            at += length
            values.append(_cell(cell, types[column] if known else 0, formats[column] if known else 0))
        return tuple(values)


def _columns(body: bytes) -> Columns:
    (count,) = struct.unpack_from("!H", body)
    at, found = 2, []
    for _ in range(count):
        end = body.index(0, at)
        _table, _number, oid, _size, _modifier, form = struct.unpack_from("!IhIhih", body, end + 1)
        found.append((body[at:end].decode(errors="replace"), oid, form))
        at = end + 19
    return Columns(tuple(f[0] for f in found), tuple(f[1] for f in found), tuple(f[2] for f in found))


def _fields(body: bytes) -> dict[str, str]:
    parts = [part for part in body.split(b"\0") if part]
    return {chr(part[0]): part[1:].decode(errors="replace") for part in parts}


def _cell(cell: bytes, oid: int, form: int) -> str:
    if form == 0:
        # A statement's description does not know the format its rows will have: text that is none is read as binary.
        try:
            text = cell.decode()
        except UnicodeDecodeError:
            return _binary(cell, oid)
        return _binary(cell, oid) if "\0" in text else text
    return _binary(cell, oid)


def _binary(cell: bytes, oid: int) -> str:
    read = _BINARY.get(oid)
    if read is not None:
        try:
            return read(cell)
        except (struct.error, ValueError, OverflowError):
            pass
    return "\\x" + cell.hex()


def _number(form: str) -> Callable[[bytes], str]:
    return lambda cell: str(struct.unpack(form, cell)[0])


_EPOCH = dt.datetime(2000, 1, 1)  # noqa: DTZ001  (the type without a zone has none)


def _timestamp(cell: bytes) -> str:
    return str(_EPOCH + dt.timedelta(microseconds=struct.unpack("!q", cell)[0]))


def _text(cell: bytes) -> str:
    return cell.decode()


_BINARY: dict[int, Callable[[bytes], str]] = {
    16: lambda cell: "t" if cell == b"\1" else "f",
    20: _number("!q"),
    21: _number("!h"),
    23: _number("!i"),
    25: _text,
    26: _number("!I"),
    114: _text,
    700: _number("!f"),
    701: _number("!d"),
    1042: _text,
    1043: _text,
    19: _text,
    1082: lambda cell: str(_EPOCH.date() + dt.timedelta(days=struct.unpack("!i", cell)[0])),
    1114: _timestamp,
    1184: lambda cell: _timestamp(cell) + "+00",
    2950: lambda cell: str(uuid.UUID(bytes=cell)),
    3802: lambda cell: cell[1:].decode(),
}
