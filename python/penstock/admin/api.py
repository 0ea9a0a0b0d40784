"""The admin interface's routes. Every one names who calls, answers JSON, and says errors the same way."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from penstock.admin import metrics
from penstock.admin.auth import Unauthenticated, caller_of, need_operator
from penstock.admin.replay import replay
from penstock.admin.service import Service
from penstock.approvals.desk import MAX_COVER_SECONDS, Review
from penstock.approvals.reviewers import Caller
from penstock.errors import (
    AlreadyDecided,
    Forbidden,
    NotAReviewer,
    NotFound,
    PenstockError,
    StateUnavailable,
    TokenRejected,
    UsageError,
)
from penstock.state.approvals import Approval
from penstock.state.database import now_us

#: The largest request body, in bytes.
MAX_BODY = 64 * 1024
_MAX_REASON = 1000
_LOG = structlog.get_logger("penstock.admin")

_Handler = Callable[[Request, Service], Awaitable[Response]]

_STATUS: tuple[tuple[type[PenstockError], int], ...] = (
    (Unauthenticated, 401),
    (TokenRejected, 401),
    (NotAReviewer, 403),
    (Forbidden, 403),
    (NotFound, 404),
    (AlreadyDecided, 409),
    (UsageError, 400),
    (StateUnavailable, 503),
)


def build(service: Service) -> Starlette:
    """The interface over ``service``."""

    def route(path: str, method: str, handler: _Handler) -> Route:
        async def answer(request: Request) -> Response:
            try:
                return await handler(request, service)
            except PenstockError as error:
                return _refused(error)
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception:  # noqa: BLE001  (a defect must answer, not cut the connection)
                # Ours, not the caller's: the log has it whole, the caller learns only that.
                _LOG.exception("admin_failed", path=path)
                return _json({"error": "the gateway failed at this; its log says where", "hint": None}, 500)

        return Route(path, answer, methods=[method])

    return Starlette(
        routes=[
            route("/healthz", "GET", _healthz),
            route("/metrics", "GET", _metrics),
            route("/v1/login", "POST", _login),
            route("/v1/whoami", "GET", _whoami),
            route("/v1/sessions", "GET", _sessions),
            route("/v1/sessions/{session}", "GET", _session),
            route("/v1/sessions/{session}/kill", "POST", _kill),
            route("/v1/replay/{session}", "GET", replay),
            route("/v1/approvals", "GET", _approvals),
            route("/v1/approvals/{approval}", "GET", _approval),
            route("/v1/approvals/{approval}/approve", "POST", _approve),
            route("/v1/approvals/{approval}/deny", "POST", _deny),
            route("/v1/tokens", "GET", _tokens),
            route("/v1/tokens/{token}/revoke", "POST", _revoke_token),
            route("/v1/identities/{identity}/revoke", "POST", _revoke_identity),
            route("/v1/identities/{identity}/revoke", "DELETE", _lift_identity),
        ]
    )


# Without a token: health and figures


async def _healthz(_request: Request, service: Service) -> Response:
    health = service.health()
    document = {"status": "failing" if health.wrong else "ok", "wrong": health.wrong, "notes": health.notes}
    return _json(document, 503 if health.wrong else 200)


async def _metrics(_request: Request, service: Service) -> Response:
    text = service.gateway.metrics() + metrics.text(service).encode()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


# Login and callers


async def _login(request: Request, service: Service) -> Response:
    body = await _body(request)
    identity, token = _text(body, "identity"), _text(body, "token", most=16 * 1024)
    try:
        got = await service.exchange.login(identity, token, _count(body, "ttl_seconds"))
    except TokenRejected as error:
        # The reason is for us: whoever guesses learns nothing from the answer.
        _LOG.warning("exchange_refused", user=identity, reason=str(error))
        raise Unauthenticated("the token is not accepted for this identity") from error
    await service.stores.acts.add(got.identity, "login", {"expires": got.expires})
    return _json({"identity": got.identity, "token": got.token, "expires": got.expires})


async def _whoami(request: Request, service: Service) -> Response:
    caller = await caller_of(request, service)
    return _json({"name": caller.name, "identities": sorted(caller.identities), "operator": caller.operator})


# Sessions


async def _sessions(request: Request, service: Service) -> Response:
    need_operator(await caller_of(request, service))
    query = request.query_params
    rows = await service.stores.sessions.newest(
        identity=query.get("identity"),
        target=query.get("target"),
        live=query.get("live") == "1",
        limit=_limit(query.get("limit")),
    )
    return _json({"sessions": [row.as_json() for row in rows]})


async def _session(request: Request, service: Service) -> Response:
    need_operator(await caller_of(request, service))
    session = _session_id(request)
    row = await service.stores.sessions.get(session)
    if row is None:
        raise NotFound(f"there is no session {session}", hint="penstock sessions list shows them")
    live = next((entry for entry in service.gateway.sessions() if entry.get("session") == session), None)
    return _json({**row.as_json(), "live": live})


async def _kill(request: Request, service: Service) -> Response:
    caller = await caller_of(request, service)
    need_operator(caller)
    session, body = _session_id(request), await _body(request)
    row = await service.stores.sessions.get(session)
    if row is None:
        raise NotFound(f"there is no session {session}", hint="penstock sessions list --live shows them")
    if row.closed is not None:
        raise AlreadyDecided(f"session {session} has already ended")
    reason = _reason(body, "ended by an operator")
    # Through the table, so that it reaches whichever gateway holds the session.
    await service.stores.revocations.add("session", session, by=caller.name, reason=reason)
    await _acted(service, caller, "session_kill", {"session": session, "reason": reason})
    await service.poll()
    return _json({"session": session, "killed": True})


# Approvals


async def _approvals(request: Request, service: Service) -> Response:
    caller = await caller_of(request, service)
    query = request.query_params
    status = query.get("status", "pending")
    found = await service.stores.approvals.newest(
        status=None if status == "all" else status, limit=_limit(query.get("limit"))
    )
    return _json({"approvals": [_brief(each) for each in found if service.desk.may_see(caller, each)]})


async def _approval(request: Request, service: Service) -> Response:
    caller = await caller_of(request, service)
    approval = await _seen(request, caller, service)
    events = await service.stores.approvals.events(approval.id)
    return _json({**_brief(approval), **approval.request, "sample": approval.sample, "events": events})


async def _approve(request: Request, service: Service) -> Response:
    return await _review(request, service, approve=True)


async def _deny(request: Request, service: Service) -> Response:
    return await _review(request, service, approve=False)


async def _review(request: Request, service: Service, *, approve: bool) -> Response:
    caller = await caller_of(request, service)
    approval, body = await _seen(request, caller, service), await _body(request)
    reason = _reason(body, "")
    if not reason:
        raise UsageError("a decision needs a reason", hint="--reason 'why'")
    cover, rows = _count(body, "for_seconds"), _count(body, "rows")
    if cover is not None and cover > MAX_COVER_SECONDS:
        raise UsageError("an approval covers a shape for at most 366 days", hint="--for 30d")
    if rows is not None and cover is None:
        raise UsageError("a bound of rows belongs to an approval of the shape", hint="--for 30d --rows 50000")
    decided = await service.desk.review(
        approval.id, caller, Review(approve=approve, reason=reason, cover_seconds=cover, rows_limit=rows)
    )
    act = {"approval": approval.id, "approve": approve, "reason": reason, "for_seconds": cover}
    await service.stores.acts.add(caller.name, "approval_decided", act)
    return _json(_brief(decided))


async def _seen(request: Request, caller: Caller, service: Service) -> Approval:
    """The request named in the path; for whoever may not see it, there is none."""
    wanted = request.path_params["approval"]
    if re.fullmatch(r"apr_[0-9a-z]{12}", wanted):
        approval = await service.desk.show(wanted)
        if service.desk.may_see(caller, approval):
            return approval
    raise NotFound("there is no such request", hint="penstock approvals list shows what waits")


def _brief(approval: Approval) -> dict[str, Any]:
    statement = approval.request.get("statement") or {}
    return {
        "id": approval.id,
        "status": approval.status,
        "identity": approval.identity,
        "issuer": approval.request.get("issuer"),
        "subject": approval.request.get("subject"),
        "target": approval.target,
        "database": approval.database,
        "rule": approval.rule,
        "phase": approval.phase,
        "why": approval.request.get("why"),
        "session": approval.request.get("session"),
        "statement": statement.get("text"),
        "reviewers": list(approval.reviewers),
        "rows": approval.rows,
        "bytes": approval.bytes,
        "complete": approval.complete,
        "created": approval.created,
        "expires": approval.expires,
        "decided": approval.decided,
        "decided_by": approval.decided_by,
        "reason": approval.reason,
    }


# Tokens and identities


async def _tokens(request: Request, service: Service) -> Response:
    need_operator(await caller_of(request, service))
    revoked = {(each.kind, each.value): each for each in await service.stores.revocations.all()}
    found = [
        {
            "id": token.id,
            "identity": identity.name,
            "kind": "static",
            "expires": int(token.expires) if token.expires is not None else None,
        }
        for identity in service.authenticator.book.identities.values()
        for token in identity.tokens
    ]
    found += [
        {
            "id": kept.id,
            "identity": kept.identity,
            "kind": "exchanged",
            "issuer": kept.issuer,
            "subject": kept.subject,
            "created": kept.created // 1_000_000,
            "expires": kept.expires // 1_000_000,
        }
        for kept in await service.stores.tokens.unexpired()
    ]
    now = now_us() // 1_000_000
    for entry in found:
        ended = ("token", entry["id"]) in revoked or ("identity", entry["identity"]) in revoked
        expires = entry["expires"]
        late = isinstance(expires, int) and expires <= now
        entry["status"] = "revoked" if ended else "expired" if late else "live"
    return _json({"tokens": found})


async def _revoke_token(request: Request, service: Service) -> Response:
    token = request.path_params["token"]
    if not re.fullmatch(r"[a-z0-9]{10}", token):
        raise UsageError("a token's id is 10 small letters and digits", hint="it stands after pst_ in the token")
    return await _revoke(request, service, "token", token)


async def _revoke_identity(request: Request, service: Service) -> Response:
    name = request.path_params["identity"]
    if name not in service.authenticator.book.identities:
        raise NotFound(f"the manifest has no identity {name[:80]!r}")
    return await _revoke(request, service, "identity", name)


async def _revoke(request: Request, service: Service, kind: Any, value: str) -> Response:
    caller = await caller_of(request, service)
    need_operator(caller)
    reason = _reason(await _body(request), "revoked by an operator")
    await service.stores.revocations.add(kind, value, by=caller.name, reason=reason)
    await _acted(service, caller, "revoke", {"kind": kind, "value": value, "reason": reason})
    await service.poll()
    return _json({"kind": kind, "value": value, "revoked": True})


async def _lift_identity(request: Request, service: Service) -> Response:
    caller = await caller_of(request, service)
    need_operator(caller)
    name = request.path_params["identity"]
    if not await service.stores.revocations.lift("identity", name):
        raise NotFound(f"the identity {name[:80]!r} is not revoked")
    await _acted(service, caller, "revocation_lifted", {"kind": "identity", "value": name})
    await service.poll()
    return _json({"kind": "identity", "value": name, "revoked": False})


async def _acted(service: Service, caller: Caller, action: str, detail: dict[str, Any]) -> None:
    service.gateway.record(action, {"who": caller.name, **detail})
    await service.stores.acts.add(caller.name, action, detail)


# Reading requests, writing answers


async def _body(request: Request) -> dict[str, Any]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise UsageError(f"the request is larger than {MAX_BODY} bytes")
    if not body:
        return {}
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UsageError("the request is no JSON") from error
    if not isinstance(found, dict):
        raise UsageError("the request is no JSON object")
    return found


def _text(body: dict[str, Any], name: str, *, most: int = 512) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise UsageError(f"{name} is missing or no text of at most {most} characters")
    return value


def _reason(body: dict[str, Any], default: str) -> str:
    value = body.get("reason", default)
    if not isinstance(value, str) or len(value) > _MAX_REASON:
        raise UsageError(f"a reason is text of at most {_MAX_REASON} characters")
    return value.strip()


def _count(body: dict[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 53:
        raise UsageError(f"{name} is no positive number")
    return value


def _limit(value: str | None) -> int:
    if value is None:
        return 100
    if not re.fullmatch(r"[0-9]{1,4}", value):
        raise UsageError("limit is a number from 1 to 9999")
    return max(1, int(value))


def _session_id(request: Request) -> str:
    session = str(request.path_params["session"])
    if not re.fullmatch(r"[0-7][0-9a-hjkmnp-tv-z]{25}", session):
        raise UsageError("a session's id has 26 digits and small letters", hint="penstock sessions list shows them")
    return session


def _json(document: object, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status_code=status, media_type="application/json")


def _refused(error: PenstockError) -> Response:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status == 500:
        _LOG.error("admin_failed", error=str(error))
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    body = orjson.dumps({"error": str(error), "hint": error.hint})
    return Response(body, status_code=status, media_type="application/json", headers=headers)
