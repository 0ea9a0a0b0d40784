"""Open sessions and what proved them, so that a change of manifest or a revocation reaches them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog

from penstock.identity.principal import Principal, Proof
from penstock.state.revocations import Revocation

#: A login that never became a session is forgotten after this many seconds.
_LOGIN_SECONDS = 120.0

_LOG = structlog.get_logger("penstock.identity")


class Sessions(Protocol):
    """What can be done to an open session."""

    def kill(self, session: str, reason: str) -> bool:
        """Ends it."""

    def regroup(self, session: str, principal: Mapping[str, Any]) -> bool:
        """Gives it its principal anew."""


@dataclass(frozen=True, slots=True)
class _Live:
    proof: Proof
    since: float
    opened: bool = False


class LiveSessions:
    """The sessions of this gateway by id, each with its proof."""

    def __init__(self, sessions: Sessions, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._sessions = sessions
        self._clock = clock
        self._live: dict[str, _Live] = {}

    def __len__(self) -> int:
        return len(self._live)

    def admitted(self, session: str, proof: Proof) -> None:
        """Notes a login that was answered with yes."""
        stale = [key for key, live in self._live.items() if self._forgotten(live)] if len(self._live) % 64 == 0 else []
        for key in stale:
            del self._live[key]
        self._live[session] = _Live(proof, self._clock())

    def opened(self, session: str) -> None:
        """Notes that the login became a session."""
        if (live := self._live.get(session)) is not None:
            self._live[session] = replace(live, opened=True)

    def closed(self, session: str) -> None:
        """Forgets a session."""
        self._live.pop(session, None)

    def principal(self, session: str) -> Principal | None:
        """Who holds a session, or None."""
        live = self._live.get(session)
        return live.proof.principal if live is not None else None

    def revise(self, again: Callable[[Proof], Principal | None]) -> tuple[int, int]:
        """After a reload: ends sessions whose proof is void, regroups the others; returns (ended, regrouped)."""
        ended = regrouped = 0
        for session, live in list(self._live.items()):
            principal = again(live.proof)
            if principal is None:
                self._end(session, "the manifest no longer admits this login")
                ended += 1
            elif principal != live.proof.principal:
                self._sessions.regroup(session, principal.as_json())
                self._live[session] = replace(live, proof=replace(live.proof, principal=principal))
                regrouped += 1
        return ended, regrouped

    async def revoked(self, fresh: Iterable[Revocation]) -> None:
        """Ends the sessions that new revocations name."""
        found = {(revocation.kind, revocation.value): revocation for revocation in fresh}
        for session, live in list(self._live.items()):
            held = live.proof.principal
            keys = [("session", session), ("identity", held.identity), ("token", held.token or "")]
            revocation = next((found[key] for key in keys if key in found), None)
            if revocation is not None:
                what = "ended" if revocation.kind == "session" else f"{revocation.kind} revoked"
                self._end(session, f"{what} by {revocation.by}: {revocation.reason}")

    def _end(self, session: str, reason: str) -> None:
        self._sessions.kill(session, reason)
        self._live.pop(session, None)
        _LOG.info("session_ended", session=session, reason=reason)

    def _forgotten(self, live: _Live) -> bool:
        return not live.opened and self._clock() - live.since > _LOGIN_SECONDS
