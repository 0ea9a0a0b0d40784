"""How commands print: JSON for programs, aligned text for people; what strangers wrote never steers a terminal."""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence

from penstock.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def plain(value: object) -> str:
    """``value`` as one line of text without anything a terminal acts on."""
    text = "" if value is None else str(value)
    return "".join(
        char if char.isprintable() or unicodedata.category(char) == "Zs" else ascii(char)[1:-1] for char in text
    )


def say(text: str = "") -> None:
    """One line on standard output."""
    print(text)


def say_json(document: object) -> None:
    """One JSON document on standard output."""
    print(json.dumps(document, ensure_ascii=True, indent=2 if sys.stdout.isatty() else None))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Rows in columns as wide as they need; ``empty`` where there are none."""
    cells = [[plain(cell) for cell in row] for row in rows]
    if not cells:
        say(empty)
        return
    widths = [max(len(name), *(len(row[place]) for row in cells)) for place, name in enumerate(head)]
    for row in [[name.upper() for name in head], *cells]:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values under each other; those without a value are left out."""
    known = [(name, plain(value)) for name, value in pairs if value is not None and value != ""]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        say(f"{name.ljust(width)}  {value}")


def moment(microseconds: object) -> str:
    """A time in UTC, to the second."""
    if not isinstance(microseconds, int):
        return ""
    return dt.datetime.fromtimestamp(microseconds / 1e6, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def seconds_of(text: str | None, option: str) -> int | None:
    """Seconds written as 300s, 15m, 8h or 30d."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if found is None or int(found.group(1)) == 0:
        raise UsageError(f"{option} {text!r} is no duration", hint=f"write {option} 15m, 8h or 30d")
    return int(found.group(1)) * _UNITS[found.group(2)]
