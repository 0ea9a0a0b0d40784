"""What the manifest says about issuers and identities, in the form this package works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

#: Signature algorithms a token may carry. Never ``none``, never a shared secret: a public key must not serve as one.
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "Ed25519",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer of OIDC tokens: keys by discovery at ``url``, or from the file ``jwks``."""

    name: str
    url: str
    audience: tuple[str, ...]
    jwks: str | None = None
    algorithms: tuple[str, ...] = ALGORITHMS
    leeway_seconds: float = 30.0
    max_age_seconds: float = 3600.0
    groups_claim: str = "groups"


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A token the manifest names by its SCRAM verifier; ``expires`` in Unix seconds."""

    id: str
    verifier: str
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a connection's ``user`` may name, and what proves it."""

    name: str
    groups: tuple[str, ...] = ()
    issuer: str | None = None
    when: str | None = None
    tokens: tuple[StaticToken, ...] = ()

    def token(self, token_id: str) -> StaticToken | None:
        """The static token of that id, if this identity has it."""
        return next((token for token in self.tokens if token.id == token_id), None)


@dataclass(frozen=True, slots=True)
class Book:
    """Every issuer and identity of one manifest, by name; replaced whole on a reload."""

    issuers: Mapping[str, Issuer] = field(default_factory=lambda: MappingProxyType({}))
    identities: Mapping[str, Identity] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, issuers: list[Issuer], identities: list[Identity]) -> Book:
        """A book of these issuers and identities."""
        return cls(
            MappingProxyType({issuer.name: issuer for issuer in issuers}),
            MappingProxyType({identity.name: identity for identity in identities}),
        )
