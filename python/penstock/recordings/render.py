"""A session's replay as text for people, as JSON lines for programs, one result as CSV.

Recordings hold what strangers sent: whatever a terminal could take for a command is shown as an escape.
"""

from __future__ import annotations

import datetime as dt
import json
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from penstock.recordings.decoders import Decoder, decoder_of
from penstock.recordings.decoders.postgres import Columns, Complete, CopyData, Row, Said, Skipped, Told
from penstock.recordings.records import Record, records

#: Rows whose widths decide a table's columns; the following use the same.
_ROWS_PER_TABLE = 50
_WIDEST = 60


def plain(text: str) -> str:
    """``text`` with everything a terminal could act on, or that changes reading order, made visible."""
    return "".join(
        char if char.isprintable() or unicodedata.category(char) == "Zs" else ascii(char)[1:-1] for char in text
    )


def text(raw: Iterator[bytes]) -> Iterator[str]:
    """The whole session for people."""
    texts: dict[int, str] = {}
    decoder: Decoder | None = decoder_of("")
    table = _Table()
    for record in records(raw):
        if record.direction == "to_client":
            if decoder is None:
                yield f"    {len(record.payload)} bytes\n"
                continue
            for told in decoder.feed(record.payload):
                yield from table.add(told)
            continue
        yield from table.flush()
        if record.kind == "session_opened":
            decoder = decoder_of(str(record.body.get("protocol", "")))
        if record.kind == "statement_text":
            texts[int(record.body["id"])] = str(record.body["text"])
            continue
        yield from _evidence(record, texts)
    yield from table.flush()


def jsonl(raw: Iterator[bytes]) -> Iterator[str]:
    """Every record, one JSON object a line; results decoded."""
    decoder: Decoder | None = decoder_of("")
    for record in records(raw):
        head: dict[str, Any] = {"time": record.time, "exchange": record.exchange}
        if not record.direction:
            if record.kind == "session_opened":
                decoder = decoder_of(str(record.body.get("protocol", "")))
            yield _line({**head, **record.body})
        elif record.direction == "to_client" and decoder is not None:
            for told in decoder.feed(record.payload):
                yield _line({**head, **_as_json(told)})
        else:
            yield _line({**head, "payload": record.direction, "bytes": len(record.payload)})


def result_csv(raw: Iterator[bytes], exchange: int) -> Iterator[str]:
    """The first result of one exchange. NULL is an empty field, an empty text is ``""``."""
    decoder: Decoder | None = decoder_of("")
    header: tuple[str, ...] | None = None
    begun = False
    for record in records(raw):
        if record.kind == "session_opened":
            decoder = decoder_of(str(record.body.get("protocol", "")))
        if record.direction != "to_client" or decoder is None:
            continue
        for told in decoder.feed(record.payload):
            if isinstance(told, Columns):
                header = told.names
            if record.exchange != exchange:
                continue
            if isinstance(told, Columns | Row) and not begun:
                begun = True
                if header is not None:
                    yield _csv(header)
            if isinstance(told, Row):
                yield _csv(told.values)
            if isinstance(told, CopyData):
                yield told.data.decode(errors="replace")
            if isinstance(told, Complete) and begun:
                return


#: What a replay may be asked for, by the name of its format; CSV needs the exchange's number.
RENDERERS = ("text", "jsonl", "csv")


def render(form: str, raw: Iterator[bytes], exchange: int | None) -> Iterator[str]:
    """The replay in one of the formats of ``RENDERERS``."""
    if form == "csv":
        return result_csv(raw, exchange or 0)
    renderers: dict[str, Callable[[Iterator[bytes]], Iterator[str]]] = {"text": text, "jsonl": jsonl}
    return renderers[form](raw)


class _Table:
    """Lays rows out in columns, a bounded number at a time."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._rows: list[tuple[str, ...]] = []
        self._widths: list[int] | None = None

    def add(self, told: Told) -> Iterator[str]:
        """Text that ``told`` completes."""
        if isinstance(told, Row):
            self._rows.append(tuple("∅" if value is None else plain(value) for value in told.values))
            if len(self._rows) >= _ROWS_PER_TABLE:
                yield from self._write()
            return
        if isinstance(told, CopyData):
            yield "    " + plain(told.data.decode(errors="replace").rstrip("\n")) + "\n"
            return
        yield from self.flush()
        if isinstance(told, Columns):
            self._names = tuple(plain(name) for name in told.names)
        elif isinstance(told, Complete):
            yield f"    {plain(told.tag)}\n"
        elif isinstance(told, Said):
            word = "error" if told.error else "notice"
            code = told.fields.get("C", "")
            yield f"    {word} {plain(code)}: {plain(told.fields.get('M', ''))}\n"
        elif isinstance(told, Skipped):
            yield f"    ({told.why} is not shown)\n"

    def flush(self) -> Iterator[str]:
        """What is left of a result."""
        yield from self._write()
        self._widths = None

    def _write(self) -> Iterator[str]:
        if not self._rows:
            return
        if self._widths is None or len(self._widths) != len(self._rows[0]):
            names = self._names if len(self._names) == len(self._rows[0]) else ("?",) * len(self._rows[0])
            lengths = ([len(name), *(len(row[place]) for row in self._rows)] for place, name in enumerate(names))
            self._widths = [min(_WIDEST, max(column)) for column in lengths]
            yield self._align(names)
            yield "    " + "-+-".join("-" * width for width in self._widths) + "\n"
        for row in self._rows:
            yield self._align(row)
        self._rows.clear()

    def _align(self, row: tuple[str, ...]) -> str:
        cells = (value.ljust(width) for value, width in zip(row, self._widths or (), strict=False))
        return ("    " + " | ".join(cells)).rstrip() + "\n"


def _evidence(record: Record, texts: dict[int, str]) -> Iterator[str]:
    body, at = record.body, _clock(record.time)
    if record.kind == "session_opened":
        mode = " · observing" if body.get("mode") == "observe" else ""
        who = plain(str(body.get("identity")))
        where = plain(f"{body.get('target')}/{body.get('database')} from {body.get('client')}")
        yield f"{at}  {who} on {where}{mode}\n"
    elif record.kind == "asked":
        rule = f" by rule {body['rule']!r}" if body.get("rule") else ""
        why = f": {plain(str(body['why']))}" if body.get("why") else ""
        yield f"\n{at}  #{record.exchange} {body.get('verdict')}{plain(rule)}{why}\n"
        statement = texts.get(int(body.get("text_id") or 0), str(body.get("kind", "")))
        for line in statement.splitlines():
            yield f"    > {plain(line)}\n"
        if body.get("parameters"):
            yield f"    with {plain(', '.join('∅' if p is None else str(p) for p in body['parameters']))}\n"
    elif record.kind == "held":
        rule = plain(repr(body.get("rule")))
        yield f"{at}  #{record.exchange} held by rule {rule}, {body.get('rows', 0)} rows wait\n"
    elif record.kind == "decided":
        by = f" by {body['by']}" if body.get("by") else ""
        reason = f": {body['reason']}" if body.get("reason") else ""
        yield f"{at}  #{record.exchange} {plain(str(body.get('decision')) + by + reason)}\n"
    elif record.kind == "answered":
        yield _answered(record)
    elif record.kind == "session_closed":
        counts = ", ".join(f"{body[name]} {name}" for name in ("statements", "rows", "bytes") if name in body)
        yield f"\n{at}  closed: {plain(str(body.get('reason')))}{f' ({counts})' if counts else ''}\n"


def _answered(record: Record) -> str:
    body = record.body
    parts = [f"{body.get('rows', 0)} rows"]
    parts += [f"{body[name]} cells {word}" for name, word in _CELLS if body.get(name)]
    parts += [f"error {body['error']}"] if body.get("error") else []
    parts += [] if body.get("delivered", True) else ["not delivered"]
    return f"    = {plain(', '.join(parts))} in {int(body.get('duration', 0)) / 1000:.1f} ms\n"


_CELLS = (("masked", "masked"), ("would_mask", "would be masked"))


def _as_json(told: Told) -> dict[str, Any]:
    if isinstance(told, Columns):
        return {"columns": list(told.names)}
    if isinstance(told, Row):
        return {"row": list(told.values)}
    if isinstance(told, Complete):
        return {"tag": told.tag}
    if isinstance(told, Said):
        return {"error" if told.error else "notice": told.fields}
    if isinstance(told, CopyData):
        return {"copy": told.data.decode(errors="replace")}
    return {"skipped": told.why}


def _line(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")) + "\n"


def _csv(values: tuple[str | None, ...]) -> str:
    # The standard library's writer cannot tell NULL from an empty text, hence our own quotes.
    cells = ("" if value is None else _quoted(value) for value in values)
    return ",".join(cells) + "\r\n"


def _quoted(value: str) -> str:
    if value == "" or any(char in value for char in ',"\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value


def _clock(time: int) -> str:
    moment = dt.datetime.fromtimestamp(time / 1e6, tz=dt.UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
