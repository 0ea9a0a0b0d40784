"""What a login proves, and whether it would still prove it under another manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from penstock.identity.settings import Book, Identity

#: Evaluates a CEL expression over claims (JSON); raises when it cannot.
Evaluate = Callable[[str, bytes], bool]


@dataclass(frozen=True, slots=True)
class Principal:
    """A proven identity, in the form the gateway takes."""

    identity: str
    groups: tuple[str, ...] = ()
    issuer: str | None = None
    subject: str | None = None
    token: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The principal as it crosses the seam."""
        return {
            "identity": self.identity,
            "issuer": self.issuer,
            "subject": self.subject,
            "groups": list(self.groups),
            "token": self.token,
        }


@dataclass(frozen=True, slots=True)
class Proof:
    """A principal with what proved it: ``claims`` of an issuer's token (JSON), or a static token's verifier."""

    principal: Principal
    claims: bytes | None = None
    verifier: str | None = None
    issuer_url: str | None = None


class Claimed:
    """Answers whether claims satisfy an identity's rule; an expression that fails is no match."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def matches(self, identity: Identity, issuer: str, claims: bytes) -> bool:
        """Whether a token of ``issuer`` with ``claims`` is this identity."""
        if identity.issuer != issuer:
            return False
        if identity.when is None:
            return True
        try:
            return self._evaluate(identity.when, claims) is True
        except Exception:  # noqa: BLE001  (whatever went wrong, the rule did not match)
            return False

    def again(self, proof: Proof, book: Book) -> Principal | None:
        """The principal that ``proof`` gives under ``book``; None when it proves nothing any more."""
        held = proof.principal
        identity = book.identities.get(held.identity)
        if identity is None:
            return None
        if proof.claims is not None:
            issuer = book.issuers.get(held.issuer or "")
            if issuer is None or issuer.url != proof.issuer_url:
                return None
            if not self.matches(identity, issuer.name, proof.claims):
                return None
        else:
            token = identity.token(held.token or "")
            if token is None or token.verifier != proof.verifier:
                return None
        return Principal(held.identity, identity.groups, held.issuer, held.subject, held.token)
