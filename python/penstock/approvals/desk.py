"""Where holds meet reviewers: a hold becomes a request, a request is decided once, the decision reaches every hold."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import orjson
import structlog

from penstock.approvals.reviewers import Caller, ReviewerSet, sets_of
from penstock.approvals.webhook import Webhooks
from penstock.errors import AlreadyDecided, NotAReviewer, NotFound, PenstockError, StateUnavailable
from penstock.state.approvals import Approval, ApprovalStore, Requester, Ruling, ShapeApproval, Wait
from penstock.state.database import now_us

#: Seconds between two looks at what other gateways decided.
POLL_SECONDS = 0.4
#: And this long while no request of this gateway waits.
IDLE_SECONDS = 5.0
#: The longest an approval may cover a statement's shape, in seconds.
MAX_COVER_SECONDS = 366 * 86400
_REFERENCE_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"

_LOG = structlog.get_logger("penstock.approvals")


class Gate(Protocol):
    """What the desk tells the gateway."""

    def decide(self, session: str, hold: int, *, verdict: str, by: str, reason: str) -> bool:
        """Ends a hold."""

    def register(self, session: str, hold: int, approval: str) -> bool:
        """Tells a hold its reference."""

    def record(self, kind: str, detail: Mapping[str, Any]) -> None:
        """Adds evidence to the trail."""


@dataclass(frozen=True, slots=True)
class Review:
    """What a reviewer says about a request: ``cover_seconds`` lets an approval cover the statement's shape."""

    approve: bool
    reason: str
    cover_seconds: int | None = None
    rows_limit: int | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    approval: str
    wait: Wait
    expires: int
    event: Mapping[str, Any]


class Desk:
    """The holds of this gateway and the requests of all."""

    def __init__(self, *, gate: Gate, store: ApprovalStore, webhooks: Webhooks, node: str) -> None:
        self._gate = gate
        self._store = store
        self._webhooks = webhooks
        self._node = node
        self._sets: Mapping[str, ReviewerSet] = {}
        self._held: dict[tuple[str, int], _Held] = {}
        self._gone: set[tuple[str, int]] = set()
        self._joining: set[tuple[str, int]] = set()

    def load(self, sets: Mapping[str, ReviewerSet]) -> None:
        """Takes a manifest's reviewer sets."""
        self._sets = dict(sets)

    async def start(self) -> None:
        """Ends what a former run of this gateway left open."""
        for approval in await self._store.abandon(self._node):
            self._record(approval, "expired", "gateway", "the gateway restarted")

    def __len__(self) -> int:
        return len(self._held)

    # Holds, as the gateway tells them

    async def hold(self, event: Mapping[str, Any]) -> None:
        """A request waits: covered by a shape approval, joined to the same request, or put before reviewers."""
        key = (str(event["session"]), int(event["hold"]))
        self._joining.add(key)
        try:
            await self._hold(key, event)
        except StateUnavailable as error:
            _LOG.error("hold_refused", session=key[0], error=str(error))
            self._tell(key, "denied", "gateway", "the state database is away, so nobody can be asked")
        finally:
            self._joining.discard(key)
            self._gone.discard(key)

    async def _hold(self, key: tuple[str, int], event: Mapping[str, Any]) -> None:
        fresh = _request(event)
        rows = _rows_known(event)
        covered = await self._store.covering(fresh, rows=rows)
        if covered is not None:
            self._record(covered.id, "approved", covered.by, "covered by an approval of the statement's shape")
            self._tell(key, "approved", covered.by, f"covered by {covered.id}: {covered.reason}")
            return
        wait = Wait(self._node, key[0], key[1], event.get("issuer"), event.get("subject"))
        approval, new = await self._store.join(fresh, wait)
        if key in self._gone:
            await self._leave(wait, "the client went away")
            return
        self._held[key] = _Held(approval.id, wait, approval.expires, event)
        self._gate.register(key[0], key[1], approval.id)
        if new:
            self._record(approval.id, "requested", approval.identity, str(event.get("why", "")))
            self._notify(approval, "approval.requested")

    async def update(self, event: Mapping[str, Any]) -> None:
        """A held result grew; once it is complete, an approval of the shape with a bound of rows may cover it."""
        key = (str(event["session"]), int(event["hold"]))
        held = self._held.get(key)
        if held is None:
            return
        grown = {name: event.get(name) for name in ("rows", "bytes", "sample")}
        await self._store.grew(held.approval, {**grown, "complete": bool(event.get("complete"))})
        if event.get("complete"):
            covered = await self._store.covering(_request({**held.event, **event}), rows=int(event["rows"]))
            if covered is not None:
                await self._rule(held.approval, Ruling("approved", covered.by, f"covered by {covered.id}"))

    async def withdrawn(self, event: Mapping[str, Any]) -> None:
        """Nobody waits for this hold any more."""
        key = (str(event["session"]), int(event["hold"]))
        if key in self._joining:
            self._gone.add(key)
        held = self._held.pop(key, None)
        if held is None:
            return
        if held.expires <= now_us():
            # The gateway's own clock was a moment faster than ours: the request expired, nobody took it back.
            await self._rule(held.approval, Ruling("expired", "gateway", "nobody decided in time"))
        await self._leave(held.wait, str(event.get("why", "withdrawn")))

    async def session_closed(self, session: str) -> None:
        """Every hold of a session that ended is withdrawn."""
        for key in [key for key in (*self._held, *self._joining) if key[0] == session]:
            await self.withdrawn({"session": key[0], "hold": key[1], "why": "the session ended"})

    async def _leave(self, wait: Wait, why: str) -> None:
        ended = await self._store.leave(wait, why)
        if ended is not None:
            self._record(ended, "withdrawn", "client", why)
            await self._notify_decision(ended)

    # Requests, as reviewers decide them

    async def show(self, approval_id: str) -> Approval:
        """One request; :class:`NotFound` where there is none."""
        approval = await self._store.get(approval_id)
        if approval is None:
            raise NotFound(f"there is no request {approval_id}", hint="penstock approvals list shows what waits")
        return approval

    def may_see(self, caller: Caller, approval: Approval) -> bool:
        """Whether the caller reviews requests of this kind, or operates the gateway."""
        return caller.operator or bool(sets_of(caller, self._sets) & set(approval.reviewers))

    async def review(self, approval_id: str, caller: Caller, review: Review) -> Approval:
        """Decides a request in the name of ``caller``; raises where it may not, or where it is too late."""
        approval = await self.show(approval_id)
        await self._check(caller, approval)
        if not approval.pending:
            raise _too_late(approval)
        shape = _cover(approval, caller, review)
        ruling = Ruling("approved" if review.approve else "denied", caller.name, review.reason, shape)
        # Checked once more where it cannot change: somebody may have joined the request since.
        own: set[Requester] = {(caller.issuer, caller.subject)} if caller.subject is not None else set()
        if approval.identity in caller.identities:
            own.add((None, None))
        if not await self._rule(approval_id, ruling, not_by=own):
            await self._check(caller, approval)
            raise _too_late(await self.show(approval_id))
        return await self.show(approval_id)

    async def _check(self, caller: Caller, approval: Approval) -> None:
        if not sets_of(caller, self._sets) & set(approval.reviewers):
            raise NotAReviewer(
                f"only {' or '.join(approval.reviewers)} may decide this request",
                hint="present a reviewer's own token: PENSTOCK_TOKEN or --token-file",
            )
        if caller.asked(approval.identity, await self._store.requesters(approval.id)):
            raise NotAReviewer("whoever asked may not decide", hint="let another member of the reviewers decide")

    async def _rule(self, approval_id: str, ruling: Ruling, *, not_by: set[Requester] | None = None) -> bool:
        if not await self._store.decide(approval_id, ruling, not_by=not_by or ()):
            return False
        self._record(approval_id, ruling.status, ruling.by, ruling.reason)
        self._deliver(approval_id, ruling)
        await self._notify_decision(approval_id)
        return True

    # Time, and other gateways

    async def tick(self) -> None:
        """Expires what is late, and takes over what other gateways decided."""
        now = now_us()
        try:
            for approval in await self._store.expire(before=now):
                self._record(approval, "expired", "gateway", "nobody decided in time")
                await self._notify_decision(approval)
            waited_for = {held.approval for held in self._held.values()}
            if waited_for:
                for decided in await self._store.outcomes(waited_for):
                    ruling = Ruling(decided.status, decided.decided_by or "gateway", decided.reason or "")
                    self._deliver(decided.id, ruling)
        finally:
            # Even while the database is away, nobody waits past the time they were told.
            for late in {held.approval for held in self._held.values() if held.expires <= now}:
                self._deliver(late, Ruling("expired", "gateway", "nobody decided in time"))

    async def run(self) -> None:
        """Ticks for ever; a database that is away is said once."""
        away, looked = False, -IDLE_SECONDS
        while True:
            began = time.monotonic()
            try:
                # Requests that nobody here waits for are other gateways' to expire, and ours only if they are gone.
                if self._held or began - looked >= IDLE_SECONDS:
                    looked = began
                    await self.tick()
                away = False
            except StateUnavailable as error:
                if not away:
                    _LOG.warning("approvals_not_polled", error=str(error), effect="decisions elsewhere are not seen")
                away = True
            await asyncio.sleep(max(0.05, POLL_SECONDS - (time.monotonic() - began)))

    async def drain(self, reason: str) -> None:
        """The gateway goes: what only this gateway waits for expires."""
        self._held.clear()
        for approval in await self._store.abandon(self._node):
            self._record(approval, "expired", "gateway", reason)

    def _deliver(self, approval_id: str, ruling: Ruling) -> None:
        # A hold leaves the table before it is told, so that no second decision can reach it.
        for key in [key for key, held in self._held.items() if held.approval == approval_id]:
            del self._held[key]
            verdict = ruling.status if ruling.status in {"approved", "denied"} else "expired"
            self._tell(key, verdict, ruling.by, ruling.reason)

    def _tell(self, key: tuple[str, int], verdict: str, by: str, reason: str) -> None:
        self._gate.decide(key[0], key[1], verdict=verdict, by=by, reason=reason)
        _LOG.info("hold_decided", session=key[0], hold=key[1], verdict=verdict, by=by)

    def _record(self, approval_id: str, what: str, by: str, reason: str) -> None:
        try:
            self._gate.record("approval", {"approval": approval_id, "what": what, "by": by, "reason": reason})
        except PenstockError as error:
            _LOG.error("approval_unrecorded", approval=approval_id, what=what, error=str(error))

    def _notify(self, approval: Approval, kind: str) -> None:
        async def told(reviewers: str, arrived: bool, why: str) -> None:
            detail = {"reviewers": reviewers, "why": why}
            try:
                await self._store.note(approval.id, "notified" if arrived else "notify_failed", "gateway", detail)
            except StateUnavailable:
                _LOG.warning("notification_unrecorded", approval=approval.id)

        sets = [self._sets[name] for name in approval.reviewers if name in self._sets]
        self._webhooks.send(sets, _announcement(approval, kind), told)

    async def _notify_decision(self, approval_id: str) -> None:
        approval = await self._store.get(approval_id)
        if approval is not None:
            self._notify(approval, "approval.decided")


def _request(event: Mapping[str, Any]) -> Approval:
    """The request a hold event asks for, pending and new."""
    statement = event.get("statement") or {}
    rule, target, identity = str(event["rule"]), str(event["target"]), str(event["identity"])
    same = orjson.dumps([identity, target, str(event["database"]), rule, str(event["request"]), str(event["phase"])])
    created = now_us()
    return Approval(
        id="apr_" + "".join(secrets.choice(_REFERENCE_ALPHABET) for _ in range(12)),
        open_key=hashlib.sha256(same).hexdigest(),
        identity=identity,
        target=target,
        database=str(event["database"]),
        rule=rule,
        phase=str(event["phase"]),
        shape=str(statement.get("shape", "")),
        status="pending",
        created=created,
        expires=created + int(event["expires_seconds"]) * 1_000_000,
        reviewers=tuple(str(name) for name in event["reviewers"]),
        request={name: event[name] for name in _REQUEST_KEPT if name in event},
        rows=event.get("rows"),
        bytes=event.get("bytes"),
        complete=bool(event.get("complete")),
        sample=event.get("sample"),
    )


_REQUEST_KEPT = (
    "session", "issuer", "subject", "groups", "why", "statement", "parameters", "expires_seconds", "request",
)  # fmt: skip


def _rows_known(event: Mapping[str, Any]) -> int | None:
    """The rows of a complete result. Before execution, and while it grows, nobody knows."""
    return int(event["rows"]) if event.get("complete") and event.get("rows") is not None else None


def _cover(approval: Approval, caller: Caller, review: Review) -> ShapeApproval | None:
    if review.cover_seconds is None or not review.approve:
        return None
    if not approval.shape:
        raise NotAReviewer("this request has no shape that an approval could cover", hint="approve it without --for")
    created = now_us()
    return ShapeApproval(
        id=approval.id,
        identity=approval.identity,
        target=approval.target,
        database=approval.database,
        rule=approval.rule,
        shape=approval.shape,
        created=created,
        until=created + min(review.cover_seconds, MAX_COVER_SECONDS) * 1_000_000,
        rows_limit=review.rows_limit,
        by=caller.name,
        reason=review.reason,
    )


def _too_late(approval: Approval) -> AlreadyDecided:
    by = f" by {approval.decided_by}" if approval.decided_by else ""
    ended = "expired" if approval.pending else approval.status
    return AlreadyDecided(
        f"request {approval.id} is already {ended}{by}", hint="penstock approvals list shows what waits"
    )


def _announcement(approval: Approval, kind: str) -> dict[str, Any]:
    """What a webhook says: who, what, how much. No rows, no parameters: the receiver may be anybody's chat."""
    shown = replace(approval, sample=None)
    statement = shown.request.get("statement") or {}
    return {
        "type": kind,
        "approval": shown.id,
        "status": shown.status,
        "identity": shown.identity,
        "subject": shown.request.get("subject"),
        "target": shown.target,
        "database": shown.database,
        "rule": shown.rule,
        "phase": shown.phase,
        "why": shown.request.get("why"),
        "statement": str(statement.get("text", ""))[:4096],
        "rows": shown.rows,
        "expires": shown.expires // 1_000_000,
        "decided_by": shown.decided_by,
        "reason": shown.reason,
    }
