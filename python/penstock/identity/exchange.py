"""``penstock login``: an issuer's short-lived token becomes a Penstock token bound to issuer, subject and identity."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.errors import TokenRejected
from penstock.identity import tokens
from penstock.identity.authenticator import Authenticator
from penstock.state.database import now_us
from penstock.state.tokens import ExchangedToken, TokenStore

#: How long an exchanged token lives unless asked for less or more, in seconds.
DEFAULT_SECONDS = 3600
#: The longest an exchanged token may live, in seconds.
MAX_SECONDS = 8 * 3600


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A new token's text, shown once, and when it ends in Unix seconds."""

    identity: str
    token: str
    expires: int

    def __repr__(self) -> str:
        return f"Exchanged(identity={self.identity!r})"


class Exchange:
    """Gives Penstock tokens for issuers' tokens."""

    def __init__(self, authenticator: Authenticator, store: TokenStore, *, most_seconds: int = MAX_SECONDS) -> None:
        self._authenticator = authenticator
        self._store = store
        self.limit(most_seconds)

    def limit(self, most_seconds: int) -> None:
        """Sets how long tokens given from now on live at most."""
        self._most = min(most_seconds, MAX_SECONDS)

    async def login(self, identity_name: str, secret: str, seconds: int | None = None) -> Exchanged:
        """A token for ``identity_name`` in return for an issuer's token; :class:`TokenRejected` says why not."""
        if tokens.token_id(secret) is not None:
            raise TokenRejected("a Penstock token cannot be exchanged for another")
        identity = self._authenticator.book.identities.get(identity_name)
        proof = await self._authenticator.prove_secret(secret, identity)
        held = proof.principal
        if proof.claims is None or held.issuer is None or held.subject is None:
            raise TokenRejected("only an issuer's token can be exchanged")
        fresh = tokens.mint(identity_name)
        created = now_us()
        lives = max(1, min(seconds if seconds is not None else DEFAULT_SECONDS, self._most))
        kept = ExchangedToken(
            id=fresh.id,
            identity=identity_name,
            issuer=held.issuer,
            subject=held.subject,
            claims=proof.claims.decode(),
            verifier=fresh.verifier,
            created=created,
            expires=created + lives * 1_000_000,
        )
        await self._store.add(kept)
        return Exchanged(identity_name, fresh.text, kept.expires // 1_000_000)
