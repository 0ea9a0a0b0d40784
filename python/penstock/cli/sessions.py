"""``penstock sessions`` and ``penstock replay``."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from cyclopts import App, Parameter

from penstock.cli.client import Access
from penstock.cli.output import fields, moment, plain, say, say_json, table

sessions = App(name="sessions", help="Sessions: open ones, and those the trail remembers.")
Flag = Annotated[bool, Parameter(negative=())]


@sessions.command(name="list")
def list_(
    *,
    all: Flag = False,  # noqa: A002  (the word people type)
    identity: str | None = None,
    target: str | None = None,
    limit: int = 100,
    access: Access = Access(),  # noqa: B008  (frozen)
) -> int:
    """List sessions, the newest first.

    Args:
        all: Those that have ended, too.
        identity: Of this identity only.
        target: Of this target only.
        limit: At most so many.
    """
    live = None if all else "1"
    found = access.get("/v1/sessions", live=live, identity=identity, target=target, limit=limit)
    if access.json:
        say_json(found)
        return 0
    rows = (
        (
            each["session"],
            each["identity"],
            f"{each['target']}/{each['database']}",
            moment(each["opened"]),
            "open" if each["closed"] is None else each["reason"],
            each["statements"],
            each["rows"],
        )
        for each in found["sessions"]
    )
    head = ("session", "identity", "target", "opened", "state", "statements", "rows")
    table(head, rows, empty="there are no sessions" if all else "no session is open; --all shows those that ended")
    return 0


@sessions.command
def show(session: str, *, access: Access = Access()) -> int:  # noqa: B008  (frozen)
    """Show one session.

    Args:
        session: Its id.
    """
    found = access.get(f"/v1/sessions/{session}")
    if access.json:
        say_json(found)
        return 0
    times = {"opened", "closed"}
    shown = {name: value for name, value in found.items() if name not in {"live", "segments"}}
    shown["groups"] = ", ".join(found["groups"])
    fields((name, moment(value) if name in times else value) for name, value in shown.items())
    return 0


@sessions.command
def kill(session: str, *, reason: str = "ended by an operator", access: Access = Access()) -> int:  # noqa: B008
    """End an open session within a second, whichever gateway holds it.

    Args:
        session: Its id.
        reason: Why; it stands in the trail.
    """
    done = access.post(f"/v1/sessions/{session}/kill", {"reason": reason})
    if access.json:
        say_json(done)
    else:
        say(f"session {done['session']} is ended")
    return 0


def replay(
    session: str,
    *,
    format: Literal["text", "jsonl", "csv"] = "text",  # noqa: A002  (the word people type)
    exchange: int | None = None,
    access: Access = Access(),  # noqa: B008  (frozen)
) -> int:
    """Show what a session asked and what it was answered, from the trail. That you read it is recorded.

    Args:
        session: Its id.
        format: text for people, jsonl for programs, csv for one result (with --exchange).
        exchange: The number of one request, as the text shows it.
    """
    form = "jsonl" if access.json else format
    terminal = sys.stdout.isatty()
    for piece in access.stream(f"/v1/replay/{session}", format=form, exchange=exchange):
        if terminal and form == "csv":
            # A file gets the values as they are; a terminal must not obey them.
            sys.stdout.write("\n".join(plain(line) for line in piece.decode(errors="replace").split("\r\n")))
        else:
            sys.stdout.buffer.write(piece)
    sys.stdout.flush()
    return 0
