"""Who calls: the bearer of a token, or the gateway's own user on this machine."""

from __future__ import annotations

import os

from starlette.requests import Request

from penstock.admin.service import Service
from penstock.approvals.reviewers import Caller, sets_of
from penstock.errors import Forbidden, TokenRejected
from penstock.identity import tokens
from penstock.identity.settings import Identity

#: Members of this group of the manifest may operate sessions without being reviewers.
ADMIN_GROUP = "penstock-admins"
#: Where the connection's protocol puts the uid of a unix socket's peer; no address of a network looks like it.
PEER_PREFIX = "uid:"


class Unauthenticated(Forbidden):
    """Nobody is proven: no token, or one that proves nothing."""


async def caller_of(request: Request, service: Service) -> Caller:
    """Who calls; :class:`Unauthenticated` where nobody is proven. One answer for every cause."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if secret:
        if scheme.lower() != "bearer":
            raise Unauthenticated("only bearer tokens are accepted", hint="Authorization: Bearer TOKEN")
        try:
            return await _bearer(secret.strip(), request.headers.get("penstock-identity"), service)
        except TokenRejected as error:
            raise Unauthenticated("the token is not accepted", hint="is it expired, or another gateway's?") from error
    local = _local_operator(request)
    if local is None:
        raise Unauthenticated("a token is needed", hint="set PENSTOCK_TOKEN, or use --token-file")
    return local


def _local_operator(request: Request) -> Caller | None:
    """The gateway's own user (or root) over the unix socket: may operate, never review."""
    peer = request.client.host if request.client is not None else ""
    if not peer.startswith(PEER_PREFIX):
        return None
    uid = peer.removeprefix(PEER_PREFIX)
    return Caller(f"local user {uid}", operator=True) if uid in {"0", str(os.geteuid())} else None


async def _bearer(secret: str, named: str | None, service: Service) -> Caller:
    token_id = tokens.token_id(secret)
    if token_id is None:
        return await _of_issuer(secret, service)
    return await _of_identity(secret, await _holder(token_id, named, service), service)


async def _holder(token_id: str, named: str | None, service: Service) -> Identity | None:
    if named is not None:
        return service.authenticator.book.identities.get(named)
    found = service.authenticator.holder_of(token_id)
    return found if found is not None else await service.authenticator.holder_of_exchanged(token_id)


async def _of_identity(secret: str, identity: Identity | None, service: Service) -> Caller:
    proof = await service.authenticator.prove_secret(secret, identity)
    held = proof.principal
    return _with_rights(
        Caller(
            held.identity,
            issuer=held.issuer,
            subject=held.subject,
            identity=held.identity,
            identities=frozenset({held.identity}),
            groups=frozenset(held.groups),
        ),
        service,
    )


async def _of_issuer(secret: str, service: Service) -> Caller:
    claims = await service.authenticator.claims_of(secret)
    identities = service.authenticator.identities_of(claims)
    return _with_rights(
        Caller(
            f"{claims.issuer}:{claims.subject}",
            issuer=claims.issuer,
            subject=claims.subject,
            identities=frozenset(identity.name for identity in identities),
            claim_groups=frozenset(claims.groups()),
            groups=frozenset(group for identity in identities for group in identity.groups),
        ),
        service,
    )


def _with_rights(caller: Caller, service: Service) -> Caller:
    """Any reviewer, and any member of the admins' group, may operate sessions."""
    if ADMIN_GROUP not in caller.groups and not sets_of(caller, service.reviewer_sets()):
        return caller
    return Caller(
        caller.name,
        issuer=caller.issuer,
        subject=caller.subject,
        identity=caller.identity,
        identities=caller.identities,
        claim_groups=caller.claim_groups,
        groups=caller.groups,
        operator=True,
    )


def need_operator(caller: Caller) -> None:
    """Refuses whoever may not operate."""
    if not caller.operator:
        raise Forbidden(f"{caller.name} may not do this", hint=f"reviewers and the group {ADMIN_GROUP} may")
