"""``penstock try``: a gateway that only observes, before any database, live on the screen."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
import uvloop
from cyclopts import Parameter

from penstock import logs, seam
from penstock.app import Gateway, Started, run
from penstock.cli.output import plain, say
from penstock.config import DirectChecker, Manifest, compile_settings, from_data
from penstock.errors import SeamError, StartError, UsageError
from penstock.identity import tokens
from penstock.recordings.records import Record, records
from penstock.targets.protocols import Named, command_line, parse

#: Who the user of `try` is at the gateway.
IDENTITY = "me"
_LOOK_SECONDS = 0.4
_DETECTORS = ("us_ssn", "payment_card", "email", "phone", "iban")


def try_target(dsn: str, *, bind: str = "127.0.0.1:0", json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Put an observing gateway before a database: see who reads what, and what would be masked, held or refused.

    Nothing is refused, masked or held, and nothing stays behind. Ctrl-C ends it.

    Args:
        dsn: The database, such as postgresql://user@host/database. Better give its password in PGPASSWORD: other
            users of this machine can read command lines.
        bind: Where to listen: host:port on this machine; port 0 takes a free one.
        json: Print one JSON object per line.
    """
    named = parse(dsn)
    logs.configure(level=40)
    with tempfile.TemporaryDirectory(prefix="penstock-try-") as folder:
        minted = tokens.mint(IDENTITY)
        manifest = observing_manifest(Path(folder), named, minted, bind=bind)
        _check(manifest)
        uvloop.run(_observe(manifest, named, minted.text, as_json=json))
    return 0


def observing_manifest(folder: Path, named: Named, minted: tokens.NewToken, *, bind: str) -> Manifest:
    """The manifest of `try`, with everything it writes inside ``folder``."""
    credential: dict[str, Any] = {"user": named.user}
    if named.password is not None:
        secret = folder / "password"
        # Made private before it is filled.
        secret.touch(mode=0o600)
        secret.write_text(named.password, encoding="utf-8")
        credential["password"] = {"file": str(secret)}
    target = {
        **named.entry,
        "name": "observed",
        "credentials": {"default": credential},
        "mode": "observe",
        "accept_superuser": True,
        "record": {"results": "digest"},
    }
    data = {
        "version": 1,
        "listeners": {named.protocol: {"bind": bind}, "admin": {"bind": f"unix:{folder}/penstock.sock"}},
        "state": {"database": f"sqlite:///{folder}/penstock.db"},
        "trail": {"store": f"{folder}/trail", "node": "try", "segment": "1MiB"},
        "spool": {"directory": f"{folder}/spool"},
        "identities": [{"name": IDENTITY, "tokens": [{"id": minted.id, "verifier": minted.verifier}]}],
        "targets": [target],
        "classes": [{"name": name, "detect": [name], "mask": {"full": True}} for name in _DETECTORS],
        "reviewers": [{"name": "nobody", "members": ["group:nobody"]}],
        "rules": [
            {"name": "everything", "allow": ["read", "write", "ddl", "copy_in", "copy_out", "call"]},
            {"name": "large results", "hold": {"when": "result.rows > 10000", "reviewers": ["nobody"]}},
        ],
    }
    return from_data(data, directory=folder)


def _check(manifest: Manifest) -> None:
    found = DirectChecker(seam).check(compile_settings(manifest, 0, blank=True), [])
    if found.rules:
        raise UsageError(str(found.rules[0].get("message")), hint=found.rules[0].get("hint"))


async def _observe(manifest: Manifest, named: Named, token: str, *, as_json: bool) -> None:
    screen = Screen(as_json=as_json)
    watching: list[asyncio.Task[None]] = []

    def ready(started: Started) -> None:
        address = started.listeners[named.protocol]
        line = command_line(named.protocol, address=address, user=IDENTITY, database=named.database)
        screen.ready(line, token)
        watching.append(asyncio.create_task(_watch(str(manifest.trail.store.path), screen.show)))

    try:
        gateway = Gateway(manifest)
    except SeamError as error:
        raise StartError(str(error), hint=error.hint) from error
    try:
        await run(gateway, None, ready=ready)
    finally:
        for task in watching:
            task.cancel()


async def _watch(store: str, show: Callable[[Record], None]) -> None:
    """Shows the trail's evidence as it grows: what is on the screen is what is recorded."""
    since = 0

    def look(start: int) -> list[Record]:
        query = orjson.dumps({"kind": "evidence", "from": start})
        return [record for record in records(seam.read_trail(store, query)) if record.kind]

    seen: set[tuple[str, int, int, str]] = set()
    while True:
        with contextlib.suppress(SeamError):
            found = await asyncio.to_thread(look, since)
            # Several sessions may share a microsecond: the last one is read again, and shown once.
            fresh = [each for each in found if _key(each) not in seen]
            for record in fresh:
                show(record)
            if found:
                since = max(each.time for each in found)
                seen = {_key(each) for each in found if each.time == since}
        await asyncio.sleep(_LOOK_SECONDS)


def _key(record: Record) -> tuple[str, int, int, str]:
    return record.session, record.exchange, record.time, record.kind


class Screen:
    """What `try` shows: one line per request, and what enforcing would have done."""

    def __init__(self, *, as_json: bool = False, out: Callable[[str], None] = say) -> None:
        self._as_json = as_json
        self._out = out
        self._texts: dict[tuple[str, int], str] = {}
        self._who: dict[str, str] = {}

    def ready(self, line: str, token: str) -> None:
        """How to connect. The token is shown here alone, and dies with this gateway."""
        if self._as_json:
            self._out(orjson.dumps({"connect": line, "token": token}).decode())
        else:
            self._out("Observing: nothing is refused, masked or held. In another terminal:\n")
            self._out(f"    PGPASSWORD={token} {line}\n")
            self._out("Ctrl-C ends it, and nothing stays behind.\n")
        sys.stdout.flush()

    def show(self, record: Record) -> None:
        """One record of evidence."""
        if record.kind == "statement_text":
            self._texts[record.session, int(record.body["id"])] = str(record.body["text"])
            return
        if record.kind == "session_opened":
            self._who[record.session] = str(record.body.get("application") or record.body.get("client") or "")
        if self._as_json:
            self._out(orjson.dumps({"at": record.time, "session": record.session, **record.body}).decode())
        else:
            for line in self._lines(record):
                self._out(line)
        if record.kind == "session_closed":
            self._forget(record.session)
        sys.stdout.flush()

    def _lines(self, record: Record) -> Iterator[str]:
        body, who = record.body, self._who.get(record.session, "")
        if record.kind == "asked":
            text = self._texts.get((record.session, int(body.get("text_id") or 0)), str(body.get("kind", "")))
            yield f"{plain(who)} #{record.exchange}  {plain(' '.join(text.split()))}"
            verdict = str(body.get("verdict", ""))
            if verdict.startswith("would_"):
                by = f" by “{plain(body['rule'])}”" if body.get("rule") else ""
                why = f": {plain(body['why'])}" if body.get("why") else ""
                yield f"    would be {_WORDS.get(verdict, verdict)}{by}{why}"
        elif record.kind == "held":
            yield f"    would be held by “{plain(body.get('rule'))}” ({body.get('rows', 0)} rows)"
        elif record.kind == "answered":
            masked = f", {body['would_mask']} cells would be masked" if body.get("would_mask") else ""
            error = f", error {plain(body['error'])}" if body.get("error") else ""
            yield f"    {body.get('rows', 0)} rows{masked}{error}"
        elif record.kind == "session_opened":
            yield f"{plain(who)} connected to {plain(body.get('database'))}"
        elif record.kind == "session_closed":
            yield f"{plain(who)} left"

    def _forget(self, session: str) -> None:
        self._who.pop(session, None)
        for key in [key for key in self._texts if key[0] == session]:
            del self._texts[key]


_WORDS = {"would_deny": "refused", "would_hold": "held"}
