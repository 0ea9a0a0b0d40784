"""Takes issuers, identities and their tokens out of a manifest."""

from __future__ import annotations

from penstock.config import Manifest
from penstock.identity.settings import Book, Identity, Issuer, StaticToken


def book_of(manifest: Manifest) -> Book:
    """The issuers and identities of ``manifest``."""
    issuers = [
        Issuer(
            name=each.name,
            url=each.issuer,
            audience=each.audience,
            jwks=str(each.jwks.path) if each.jwks is not None else None,
            algorithms=(*each.algorithms, *(("Ed25519",) if "EdDSA" in each.algorithms else ())),
            leeway_seconds=float(each.leeway),
            max_age_seconds=float(each.max_age),
            groups_claim=each.groups_claim or "groups",
        )
        for each in manifest.issuers
    ]
    identities = [
        Identity(
            name=each.name,
            groups=each.groups,
            issuer=each.issuer,
            when=each.when,
            tokens=tuple(
                StaticToken(token.id, token.verifier, token.expires.timestamp() if token.expires is not None else None)
                for token in each.tokens or ()
            ),
        )
        for each in manifest.identities
    ]
    return Book.of(issuers, identities)
