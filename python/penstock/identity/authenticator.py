"""Answers logins: one answer for every cause of refusal, the cause in the log alone."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from penstock.errors import StateUnavailable, TokenRejected
from penstock.identity import tokens
from penstock.identity.oidc import Claims, Verifier
from penstock.identity.principal import Claimed, Evaluate, Principal, Proof
from penstock.identity.settings import Book, Identity
from penstock.state.revocations import RevocationWatch
from penstock.state.tokens import ExchangedToken, TokenStore

#: Refusals leave on this grid of seconds after the question came, so that time does not tell one cause from another.
REFUSAL_GRID = 0.25

#: Static tokens of one identity that are tried for a text whose id is none of theirs.
_MOST_TOKENS = 8

_LOG = structlog.get_logger("penstock.identity")


@dataclass(frozen=True, slots=True)
class Login:
    """What a client shows: the identity it names, and a proof already checked by SCRAM, or a secret to check here."""

    user: str
    token: str | None = None
    secret: str | None = None

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Login:
        """The login in an event of the gateway."""
        proof = event["proof"]
        if proof["kind"] == "scram":
            return cls(event["user"], token=str(proof["token"]))
        return cls(event["user"], secret=str(proof["secret"]))


@dataclass(frozen=True, slots=True)
class Admitted:
    """A login that succeeded."""

    proof: Proof


@dataclass(frozen=True, slots=True)
class Refused:
    """A login that did not; ``reason`` is for log and evidence and holds no secret."""

    reason: str


Outcome = Admitted | Refused


class Authenticator:
    """Checks logins, bearer tokens and exchanges against one book of issuers and identities."""

    def __init__(
        self,
        *,
        verifier: Verifier,
        evaluate: Evaluate,
        exchanged: TokenStore,
        revoked: RevocationWatch,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._verifier = verifier
        self._claimed = Claimed(evaluate)
        self._exchanged = exchanged
        self._revoked = revoked
        self._clock = clock
        self._book = Book()

    @property
    def book(self) -> Book:
        """The issuers and identities in force."""
        return self._book

    def load(self, book: Book) -> None:
        """Takes a manifest's issuers and identities."""
        self._verifier.load(book.issuers)
        self._book = book

    def again(self, proof: Proof) -> Principal | None:
        """What an open session's proof is worth under the book in force."""
        return self._claimed.again(proof, self._book)

    async def authenticate(self, login: Login) -> Outcome:
        """Whether ``login`` may open a session; a refusal takes its time and says its reason only to us."""
        began = time.monotonic()
        try:
            return Admitted(await self._prove(login))
        except TokenRejected as error:
            reason = str(error)
        except StateUnavailable:
            reason = "the state database is away, so that no revocation can be ruled out"
        elapsed = time.monotonic() - began
        await asyncio.sleep(math.ceil(elapsed / REFUSAL_GRID) * REFUSAL_GRID - elapsed)
        return Refused(reason)

    async def _prove(self, login: Login) -> Proof:
        if not self._revoked.fresh:
            raise StateUnavailable("the revocations are older than a login may rest on")
        identity = self._book.identities.get(login.user)
        if login.secret is None:
            return self._proof_of_static(identity, login.token or "")
        return await self.prove_secret(login.secret, identity)

    async def prove_secret(self, secret: str, identity: Identity | None) -> Proof:
        """What ``secret`` proves about ``identity``; :class:`TokenRejected` says why it proves nothing."""
        token_id = tokens.token_id(secret)
        if token_id is None:
            return await self._prove_claims(secret, identity)
        if identity is not None and identity.tokens:
            return self._proof_of_static(identity, await _matching(secret, token_id, identity))
        kept = await self._exchanged.get(token_id)
        # The same work for a token that exists and one that does not.
        if kept is None:
            await asyncio.to_thread(tokens.spend, secret)
            raise TokenRejected("nobody has a token of that id")
        if not await asyncio.to_thread(tokens.verify, secret, kept.verifier):
            raise TokenRejected("the token's secret is wrong")
        return self._proof_of_exchanged(identity, kept)

    def _proof_of_static(self, identity: Identity | None, token_id: str) -> Proof:
        static = identity.token(token_id) if identity is not None else None
        if identity is None or static is None:
            raise TokenRejected("the identity has no token of that id")
        if static.expires is not None and static.expires <= self._clock():
            raise TokenRejected("the token has expired")
        self._check_revoked(identity.name, token_id)
        return Proof(Principal(identity.name, identity.groups, token=token_id), verifier=static.verifier)

    def _proof_of_exchanged(self, identity: Identity | None, kept: ExchangedToken) -> Proof:
        if identity is None or kept.identity != identity.name:
            raise TokenRejected("the token is another identity's")
        if kept.expires <= self._clock() * 1e6:
            raise TokenRejected("the token has expired")
        self._check_revoked(identity.name, kept.id)
        claims = kept.claims.encode()
        issuer = self._book.issuers.get(kept.issuer)
        if issuer is None or not self._claimed.matches(identity, kept.issuer, claims):
            raise TokenRejected("the token's claims do not satisfy the identity any more")
        held = Principal(identity.name, identity.groups, kept.issuer, kept.subject, kept.id)
        return Proof(held, claims=claims, issuer_url=issuer.url)

    async def _prove_claims(self, secret: str, identity: Identity | None) -> Proof:
        if identity is None or identity.issuer is None:
            raise TokenRejected("the identity takes no issuer's token")
        claims = await self._verifier.verify(secret, identity.issuer)
        if not self._claimed.matches(identity, claims.issuer, claims.raw):
            raise TokenRejected("the token's claims do not satisfy the identity")
        self._check_revoked(identity.name, None)
        held = Principal(identity.name, identity.groups, claims.issuer, claims.subject)
        return Proof(held, claims=claims.raw, issuer_url=self._book.issuers[claims.issuer].url)

    async def claims_of(self, secret: str) -> Claims:
        """The claims of a token of any issuer, whether or not an identity takes it (a reviewer needs none)."""
        return await self._verifier.verify_any(secret)

    def identities_of(self, claims: Claims) -> list[Identity]:
        """The identities that ``claims`` satisfy and that are not revoked."""
        return [
            identity
            for identity in self._book.identities.values()
            if self._claimed.matches(identity, claims.issuer, claims.raw)
            and self._revoked.find("identity", identity.name) is None
        ]

    def holder_of(self, token_id: str) -> Identity | None:
        """The identity with a static token of that id."""
        return next((found for found in self._book.identities.values() if found.token(token_id) is not None), None)

    async def holder_of_exchanged(self, token_id: str) -> Identity | None:
        """The identity an exchanged token is bound to."""
        kept = await self._exchanged.get(token_id)
        return self._book.identities.get(kept.identity) if kept is not None else None

    def _check_revoked(self, identity: str, token_id: str | None) -> None:
        if self._revoked.find("identity", identity) is not None:
            raise TokenRejected("the identity is revoked")
        if token_id is not None and self._revoked.find("token", token_id) is not None:
            raise TokenRejected("the token is revoked")


async def _matching(secret: str, token_id: str, identity: Identity) -> str:
    """The id of the identity's token that ``secret`` is. A bare verifier's id is not the text's: then all are tried."""
    named = identity.token(token_id)
    for token in [named] if named is not None else identity.tokens[:_MOST_TOKENS]:
        if await asyncio.to_thread(tokens.verify, secret, token.verifier):
            return token.id
    raise TokenRejected("the identity has no such token")


def log_refusal(login: Login, refused: Refused, *, client: str) -> None:
    """Says in the log, and only there, why a login was refused."""
    _LOG.warning("login_refused", user=login.user, client=client, reason=refused.reason)
