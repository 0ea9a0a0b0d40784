"""Verifies tokens of OIDC issuers: pinned algorithms, the right keys, and the claims every token must have."""

from __future__ import annotations

import base64
import binascii
import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError

from penstock.errors import IssuerUnavailable, TokenRejected
from penstock.identity.keys import KeySource, source_of
from penstock.identity.settings import Issuer

#: The longest token looked at, in characters.
MAX_TOKEN = 16 * 1024
#: The longest subject, issuer or group name a token may carry.
_MAX_NAME = 512


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a verified token; ``issuer`` is the issuer's name in the manifest."""

    issuer: str
    subject: str
    raw: bytes
    values: Mapping[str, Any]

    groups_claim: str = "groups"

    def groups(self) -> tuple[str, ...]:
        """The strings of the groups claim, or nothing where the claim is absent or of another form."""
        found = self.values.get(self.groups_claim)
        return tuple(group for group in found if isinstance(group, str)) if isinstance(found, list) else ()


class Verifier:
    """Checks tokens against the issuers of one manifest; keeps each issuer's keys over a reload that leaves it be."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._issuers: dict[str, Issuer] = {}
        self._sources: dict[str, KeySource] = {}

    def load(self, issuers: Mapping[str, Issuer]) -> None:
        """Takes the issuers of a manifest."""
        kept = {
            name: self._sources[name]
            for name, issuer in issuers.items()
            if (old := self._issuers.get(name)) is not None and (old.url, old.jwks) == (issuer.url, issuer.jwks)
        }
        self._sources = {name: kept.get(name) or source_of(issuer) for name, issuer in issuers.items()}
        self._issuers = dict(issuers)

    async def verify(self, token: str, issuer_name: str) -> Claims:
        """The claims of ``token`` as a token of that issuer; :class:`TokenRejected` says why not."""
        issuer = self._issuers.get(issuer_name)
        if issuer is None:
            raise TokenRejected(f"the manifest has no issuer {issuer_name!r}")
        header, payload = _split(token)
        alg, kid = header.get("alg"), header.get("kid")
        if not isinstance(alg, str) or alg not in issuer.algorithms:
            raise TokenRejected("the token's algorithm is not accepted")
        if not (kid is None or isinstance(kid, str)) or "crit" in header or header.get("b64", True) is not True:
            raise TokenRejected("the token's header asks for what is not supported")
        await self._check_signature(token, issuer_name, alg=alg, kid=kid)
        return self._check_claims(payload, issuer)

    async def verify_any(self, token: str) -> Claims:
        """The claims of ``token`` as a token of whichever issuer it names in ``iss``."""
        _, payload = _split(token)
        stated = payload.get("iss")
        names = [name for name, issuer in self._issuers.items() if issuer.url == stated]
        refused = TokenRejected("no issuer of the manifest is the token's")
        for name in names:
            try:
                return await self.verify(token, name)
            except TokenRejected as error:
                refused = error
        raise refused

    async def _check_signature(self, token: str, issuer_name: str, *, alg: str, kid: str | None) -> None:
        try:
            key = await self._sources[issuer_name].find(kid, alg)
        except IssuerUnavailable as error:
            raise TokenRejected(str(error)) from error
        if key is None:
            raise TokenRejected("no key of the issuer fits the token")
        try:
            with warnings.catch_warnings():
                # joserfc warns that the name EdDSA is deprecated; the curve is pinned by the key's own type.
                warnings.simplefilter("ignore")
                jws.deserialize_compact(token, key.key, algorithms=[alg])
        except (JoseError, ValueError, TypeError) as error:
            raise TokenRejected("the token's signature is not the issuer's") from error

    def _check_claims(self, payload: dict[str, Any], issuer: Issuer) -> Claims:
        now, leeway = self._clock(), issuer.leeway_seconds
        if payload.get("iss") != issuer.url:
            raise TokenRejected("the token is another issuer's")
        if not set(_audiences(payload.get("aud"))) & set(issuer.audience):
            raise TokenRejected("the token is for another audience")
        expires, not_before = _moment(payload, "exp"), _moment(payload, "nbf")
        issued = _moment(payload, "iat") if "iat" in payload else not_before
        if expires <= now - leeway:
            raise TokenRejected("the token has expired")
        if max(not_before, issued) > now + leeway:
            raise TokenRejected("the token is not valid yet")
        if now - min(not_before, issued) > issuer.max_age_seconds + leeway:
            raise TokenRejected("the token is older than the manifest allows")
        subject = payload.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_NAME:
            raise TokenRejected("the token names no subject")
        return Claims(issuer.name, subject, orjson.dumps(payload), payload, issuer.groups_claim)


def _split(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a compact token, unverified."""
    parts = token.split(".") if len(token) <= MAX_TOKEN else []
    if len(parts) != 3 or not all(parts):
        raise TokenRejected("this is no signed token")
    header, payload = (_object(part) for part in parts[:2])
    return header, payload


def _object(part: str) -> dict[str, Any]:
    try:
        found = orjson.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise TokenRejected("this is no signed token") from error
    if not isinstance(found, dict):
        raise TokenRejected("this is no signed token")
    return found


def _audiences(claim: object) -> tuple[str, ...]:
    if isinstance(claim, str):
        return (claim,)
    return tuple(entry for entry in claim if isinstance(entry, str)) if isinstance(claim, list) else ()


def _moment(payload: dict[str, Any], name: str) -> float:
    """A NumericDate claim; text, booleans and infinities are refused, so that no comparison is ever skipped."""
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenRejected(f"the token's {name} is missing or no number")
    return float(value)
