"""Replays: decoded from pieces that end anywhere, shown without harm, and the index made again from the trail."""

import csv
import io
import json
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import SeamError
from penstock.recordings import index, render
from penstock.recordings.decoders import postgres
from penstock.recordings.decoders.postgres import Columns, Complete, CopyData, Decoder, Row, Said, Skipped
from support.payload import SESSION, columns, evidence, message, payload, row, session


def unexpected(error: SeamError) -> None:
    pytest.fail(f"unexpected damage: {error}")


def text() -> str:
    return "".join(render.render("text", iter(session()), None))


def test_a_replay_tells_what_was_asked_and_answered() -> None:
    shown = text()
    for part in (
        "job on shop/shop from 10.0.0.9:5",
        "#1 allow",
        "    > SELECT name, n\n    > FROM t\n",
        "with <ssn>, ∅",
        "    name   | n\n",
        "    ann, a | -7\n",
        "    ∅      | ∅\n",
        "    SELECT 3\n",
        "= 3 rows, 2 cells masked in 1.5 ms",
        "#2 deny by rule 'nothing is dropped': destructive",
        "error 42501: rule \\x1b[31mno",
        "held by rule 'bulk', 10001 rows wait",
        "denied by corp:ada: no need",
        "not delivered",
        "closed: client (3 statements, 3 rows, 99 bytes)",
    ):
        assert part in shown, part


def test_nothing_recorded_steers_a_terminal() -> None:
    shown = text()
    assert "\x1b" not in shown
    assert "DROP TABLE t\\x1b[2J" in shown
    assert render.plain("a\u202eb\x9bc\td\u200b") == "a\\u202eb\\x9bc\\td\\u200b"
    assert "\x1b" not in "".join(render.render("jsonl", iter(session()), None))


def test_json_lines_hold_everything() -> None:
    lines = [json.loads(line) for line in render.render("jsonl", iter(session()), None)]
    assert [line["row"] for line in lines if "row" in line] == [["ann, a", "-7"], [None, None], ["", "1"]]
    assert [line["columns"] for line in lines if "columns" in line] == [["name", "n"]]
    assert sum(line.get("evidence") == "asked" for line in lines) == 3


def test_one_result_as_csv() -> None:
    shown = "".join(render.render("csv", iter(session()), 1))
    assert shown == 'name,n\r\n"ann, a",-7\r\n,\r\n"",1\r\n'
    assert list(csv.reader(io.StringIO(shown, newline="")))[1] == ["ann, a", "-7"]
    assert "".join(render.render("csv", iter(session()), 2)) == ""


def test_rows_whose_columns_were_described_earlier() -> None:
    described = [payload(1, 1, columns(("a", 25, 0))), payload(2, 2, row(b"x") + message("C", b"SELECT 1\0"))]
    assert "".join(render.render("csv", iter(described), 2)) == "a\r\nx\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_pieces_may_end_anywhere(step: int) -> None:
    stream = columns(("a", 25, 0)) + row(b"x") + message("N", b"SNOTICE\0Mhi\0\0") + message("d", b"1\t2\n")
    stream += message("C", b"COPY 1\0") + message("Z", b"I")
    decoder, told = Decoder(), list[postgres.Told]()
    for at in range(0, len(stream), step):
        told += decoder.feed(stream[at : at + step])
    assert [type(each) for each in told] == [Columns, Row, Said, CopyData, Complete]


def test_binary_values_become_text() -> None:
    cells: list[tuple[int, bytes, str]] = [
        (16, b"\1", "t"),
        (20, struct.pack("!q", -5), "-5"),
        (21, struct.pack("!h", 7), "7"),
        (23, struct.pack("!i", 1), "1"),
        (701, struct.pack("!d", 1.5), "1.5"),
        (25, "grün".encode(), "grün"),
        (1082, struct.pack("!i", 366), "2001-01-01"),
        (1114, struct.pack("!q", 86_400_000_000), "2000-01-02 00:00:00"),
        (2950, bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        (3802, b'\1{"a":1}', '{"a":1}'),
        (999, b"\x01\x02", "\\x0102"),
        (23, b"odd", "\\x6f6464"),
    ]
    for oid, cell, shown in cells:
        told = list(Decoder().feed(columns(("a", oid, 1)) + row(cell)))
        assert told[1] == Row((shown,)), oid
    # Described before its format was known: text that is none is read as binary.
    assert list(Decoder().feed(columns(("a", 23, 0)) + row(struct.pack("!i", 1))))[1] == Row(("1",))


def test_what_cannot_be_read_is_said() -> None:
    lost = list(Decoder().feed(b"D\0\0\0\1xxxx" + row(b"x")))
    assert lost == [Skipped("a message with an impossible length", lost=True)]
    damaged = message("D", struct.pack("!Hi", 1, 100) + b"x") + message("T", b"\0\5zz") + message("C", b"OK\0")
    assert [type(each) for each in Decoder().feed(damaged)] == [Skipped, Skipped, Complete]


def test_a_huge_message_is_skipped_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "MAX_MESSAGE", 100)
    decoder, told = Decoder(), list[postgres.Told]()
    stream = row(b"y" * 5000) + message("C", b"SELECT 1\0")
    for at in range(0, len(stream), 64):
        told += decoder.feed(stream[at : at + 64])
        assert len(decoder._rest) < 200
    assert [type(each) for each in told] == [Skipped, Complete]


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_arbitrary_bytes_never_break_a_decoder(pieces: list[bytes]) -> None:
    decoder = Decoder()
    for piece in pieces:
        list(decoder.feed(piece))


def test_a_long_result_is_written_in_bounded_tables() -> None:
    many = columns(("a", 25, 0)) + b"".join(row(str(number).encode()) for number in range(130))
    shown = list(render.render("text", iter([payload(1, 1, many)]), None))
    assert sum(line.startswith("    a") for line in shown) == 1
    assert len(shown) == 132


def test_the_index_is_made_from_evidence() -> None:
    other, lost = "01jd0000000000000000000001", "01jd0000000000000000000002"
    opened = {"identity": "x", "target": "t", "database": "d", "client": "c"}
    told = [
        *(record for record in session() if b'"evidence":' in record),
        evidence(0, 5, "session_opened", session=lost, **opened),
        evidence(0, 6, "session_opened", session=other, segment="n2-evidence-1", **opened),
        evidence(0, 7, "session_closed", session="01jd0000000000000000000009", reason="seen before"),
    ]
    found = {each.id: each for each in index.rows(iter(told), "n1", unexpected)}
    assert set(found) == {SESSION, lost}
    assert (found[SESSION].reason, found[SESSION].statements, found[SESSION].groups) == ("client", 3, ("a",))
    assert found[lost].closed is None
    assert json.loads(index.query_since(5)) == {"kind": "evidence", "from": 5}


def test_a_damaged_segment_hides_no_other() -> None:
    opened = {"identity": "x", "target": "t", "database": "d", "client": "c"}
    told: list[bytes | SeamError] = [
        evidence(0, 5, "session_opened", session="01jd0000000000000000000001", **opened),
        SeamError("segment n1-evidence-1 at byte 7: bad"),
        evidence(0, 6, "session_opened", session="01jd0000000000000000000002", **opened),
    ]

    class Reader:
        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            if not told:
                raise StopIteration
            step = told.pop(0)
            if isinstance(step, SeamError):
                raise step
            return step

    heard: list[SeamError] = []
    found = [each.id for each in index.rows(Reader(), "n1", heard.append)]
    assert [each[-1] for each in found] == ["1", "2"]
    assert [str(error) for error in heard] == ["segment n1-evidence-1 at byte 7: bad"]
