"""An issuer's public keys: from a file, or by discovery over HTTPS with a bounded refresh."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import orjson
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from penstock.errors import IssuerUnavailable
from penstock.identity.settings import Issuer

PublicKey = RSAKey | ECKey | OKPKey

#: The largest discovery document or key set read, in bytes.
MAX_DOCUMENT = 1 << 20
#: The most keys taken of one set.
MAX_KEYS = 200
#: Seconds for one fetch, from connecting to the last byte.
FETCH_SECONDS = 5.0
#: A kid nobody knows fetches the keys again, but never more often than this.
UNKNOWN_KID_SECONDS = 30.0
#: Keys are fetched again once they are this old, so that a withdrawn key goes.
REFRESH_SECONDS = 600.0
#: Keys of an issuer out of reach are trusted this long.
STALE_SECONDS = 24 * 3600.0
#: After a fetch that failed and left no keys at all, the next waits this long.
_RETRY_SECONDS = 2.0

_LOG = structlog.get_logger("penstock.identity")


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """One public key with what its issuer says it may be used for."""

    kid: str | None
    alg: str | None
    kty: str
    crv: str | None
    key: PublicKey

    def fits(self, alg: str) -> bool:
        """Whether this key may verify signatures of ``alg``: its own statement, its type and its curve must agree."""
        if self.alg is not None and self.alg != alg and {self.alg, alg} != {"EdDSA", "Ed25519"}:
            return False
        wanted: dict[str, tuple[str, str | None]] = {
            "ES256": ("EC", "P-256"),
            "ES384": ("EC", "P-384"),
            "EdDSA": ("OKP", "Ed25519"),
            "Ed25519": ("OKP", "Ed25519"),
        }
        kty, crv = wanted.get(alg, ("RSA", None))
        return self.kty == kty and (crv is None or self.crv == crv)


class KeySource(Protocol):
    """Where one issuer's keys come from."""

    async def find(self, kid: str | None, alg: str) -> VerifyKey | None:
        """The one key for ``kid`` and ``alg``; None where there is none, :class:`IssuerUnavailable` where none are."""


def parse_jwks(document: bytes) -> tuple[VerifyKey, ...]:
    """The usable signature keys of a JWKS document; ``ValueError`` when it is none."""
    if len(document) > MAX_DOCUMENT:
        raise ValueError(f"the key set is larger than {MAX_DOCUMENT} bytes")
    found = orjson.loads(document)
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the key set has no list 'keys'")
    if len(entries) > MAX_KEYS:
        raise ValueError(f"the key set has more than {MAX_KEYS} keys")
    keys = (_parse_key(entry) for entry in entries if isinstance(entry, dict))
    return tuple(key for key in keys if key is not None)


def _parse_key(entry: dict[str, Any]) -> VerifyKey | None:
    """One key, or None for what is no public signature key we accept: symmetric, for encryption, weak, unreadable."""
    kinds: dict[str, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    kty, kid, alg = entry.get("kty"), entry.get("kid"), entry.get("alg")
    if not isinstance(kty, str) or kty not in kinds or entry.get("use", "sig") != "sig":
        return None
    if not (kid is None or isinstance(kid, str)) or not (alg is None or isinstance(alg, str)):
        return None
    public = {name: value for name, value in entry.items() if name in {"kty", "n", "e", "crv", "x", "y"}}
    try:
        key = kinds[kty].import_key(public)
        if isinstance(key, RSAKey) and key.public_key.key_size < 2048:
            return None
        if isinstance(key, ECKey | OKPKey):
            _ = key.public_key
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    crv = public.get("crv")
    return VerifyKey(kid, alg, kty, crv if isinstance(crv, str) else None, key)


def pick(keys: tuple[VerifyKey, ...], kid: str | None, alg: str) -> VerifyKey | None:
    """The one key for a token's header. Without a kid only a set with exactly one fitting key is unambiguous."""
    fitting = [key for key in keys if key.fits(alg) and (kid is None or key.kid == kid)]
    return fitting[0] if len(fitting) == 1 else None


def is_loopback(host: str | None) -> bool:
    """Whether ``host`` names this machine, where plain HTTP leaves nothing to read on a wire."""
    if host is None:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class FileKeys:
    """Keys of a JWKS file, read again when the file changes; an unreadable change leaves the last good keys."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._stamp: tuple[int, int, int] | None = None
        self._keys: tuple[VerifyKey, ...] = ()

    async def find(self, kid: str | None, alg: str) -> VerifyKey | None:
        """The key of the file for ``kid`` and ``alg``."""
        await asyncio.to_thread(self._reload)
        if not self._keys:
            raise IssuerUnavailable(f"{self._path} holds no usable key")
        return pick(self._keys, kid, alg)

    def _reload(self) -> None:
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._stamp:
                return
            with self._path.open("rb") as file:
                self._keys = parse_jwks(file.read(MAX_DOCUMENT + 1))
            self._stamp = stamp
        except (OSError, ValueError) as error:
            _LOG.warning("jwks_file_unreadable", path=str(self._path), error=str(error))


class DiscoveredKeys:
    """Keys found through ``/.well-known/openid-configuration``, cached and refreshed within bounds."""

    def __init__(self, issuer: Issuer, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: tuple[VerifyKey, ...] = ()
        self._fetched: float | None = None
        self._tried: float | None = None

    async def find(self, kid: str | None, alg: str) -> VerifyKey | None:
        """The issuer's key for ``kid`` and ``alg``; fetches when the keys are missing, old or do not know the kid."""
        if not self._fresh(REFRESH_SECONDS):
            await self._refresh()
        if not self._fresh(STALE_SECONDS):
            raise IssuerUnavailable(f"the keys of {self._issuer.url} are out of reach")
        found = pick(self._keys, kid, alg)
        if found is None and kid is not None and all(key.kid != kid for key in self._keys):
            await self._refresh()
            found = pick(self._keys, kid, alg)
        return found

    def _fresh(self, seconds: float) -> bool:
        return self._fetched is not None and self._clock() - self._fetched < seconds

    def _may_try(self) -> bool:
        pause = UNKNOWN_KID_SECONDS if self._fresh(STALE_SECONDS) else _RETRY_SECONDS
        return self._tried is None or self._clock() - self._tried >= pause

    async def _refresh(self) -> None:
        # One fetch serves everybody who waits: whoever comes second finds the bound below closed.
        async with self._lock:
            if not self._may_try():
                return
            self._tried = self._clock()
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    self._keys = await self._fetch()
            except (httpx.HTTPError, ValueError, TimeoutError, OSError) as error:
                _LOG.warning("issuer_keys_unreachable", issuer=self._issuer.name, error=str(error) or "timed out")
                return
            self._fetched = self._clock()

    async def _fetch(self) -> tuple[VerifyKey, ...]:
        base = self._issuer.url
        local = is_loopback(urlsplit(base).hostname)
        async with httpx.AsyncClient(follow_redirects=False, trust_env=not local, timeout=FETCH_SECONDS) as client:
            where = base.rstrip("/") + "/.well-known/openid-configuration"
            found = orjson.loads(await _get(client, where, loopback=local))
            if not isinstance(found, dict) or found.get("issuer") != base:
                raise ValueError("the discovery document names another issuer")
            jwks = found.get("jwks_uri")
            if not isinstance(jwks, str):
                raise ValueError("the discovery document has no jwks_uri")
            keys = parse_jwks(await _get(client, jwks, loopback=local))
        if not keys:
            raise ValueError("the key set holds no usable key")
        return keys


async def _get(client: httpx.AsyncClient, url: str, *, loopback: bool) -> bytes:
    """The body at ``url``: HTTPS, or HTTP where the issuer itself is this machine; bounded, no redirects."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback and is_loopback(parts.hostname)):
        raise ValueError(f"{url} is neither https nor on loopback")
    async with client.stream("GET", url, headers={"accept": "application/json"}) as response:
        if response.status_code != 200:
            raise ValueError(f"{url} answered {response.status_code}")
        body = bytearray()
        async for chunk in response.aiter_bytes(65536):
            body += chunk
            if len(body) > MAX_DOCUMENT:
                raise ValueError(f"{url} is larger than {MAX_DOCUMENT} bytes")
    return bytes(body)


def source_of(issuer: Issuer) -> KeySource:
    """Where ``issuer``'s keys come from."""
    return FileKeys(issuer.jwks) if issuer.jwks is not None else DiscoveredKeys(issuer)
