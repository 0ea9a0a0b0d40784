"""A small OpenID Connect issuer on loopback: discovery, keys, and signed tokens of any content.

It stands where a CI system's issuer stands in production. Tests use it to sign what a real issuer never would.
"""

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

__all__ = ["AUDIENCE", "Issuer", "start_issuer"]

AUDIENCE = "penstock"
_LIFETIME_SECONDS = 600


class Issuer:
    """A running issuer with one RSA and one elliptic-curve key."""

    def __init__(self, address: str) -> None:
        """Makes the keys of the issuer that is reached at `address`."""
        self.address = address
        self.requests: list[str] = []
        self._keys: dict[str, RSAKey | ECKey] = {}
        self.published: list[str] = []
        self.add_key("rsa-1", RSAKey.generate_key(2048, private=True))
        self.add_key("ec-1", ECKey.generate_key("P-256", private=True))

    def add_key(self, name: str, key: RSAKey | ECKey, *, publish: bool = True) -> None:
        """Adds a signing key under the key id `name`; one that is not published cannot be verified by anybody."""
        self._keys[name] = key
        if publish:
            self.published.append(name)

    def withdraw_key(self, name: str) -> None:
        """Stops publishing a key, as a rotation does."""
        self.published.remove(name)

    def documents(self) -> dict[str, object]:
        """What it serves, by path."""
        keys = []
        for name in self.published:
            public = dict(self._keys[name].as_dict(private=False))
            keys.append({**public, "kid": name, "use": "sig"})
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.address,
                "jwks_uri": f"{self.address}/keys",
                "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            },
            "/keys": {"keys": keys},
        }

    def claims(self, subject: str, **claims: Any) -> dict[str, Any]:
        """The claims of a token that is valid now, with `claims` added or put in their place (None leaves one out)."""
        now = int(time.time())
        standard: dict[str, Any] = {
            "iss": self.address,
            "sub": subject,
            "aud": AUDIENCE,
            "iat": now,
            "nbf": now,
            "exp": now + _LIFETIME_SECONDS,
            "jti": secrets.token_hex(8),
        }
        return {name: value for name, value in (standard | claims).items() if value is not None}

    def mint(self, subject: str, *, key: str = "rsa-1", algorithm: str | None = None, **claims: Any) -> str:
        """A signed token for `subject`."""
        chosen = self._keys[key]
        named = algorithm or ("RS256" if isinstance(chosen, RSAKey) else "ES256")
        return jwt.encode({"alg": named, "kid": key, "typ": "JWT"}, self.claims(subject, **claims), chosen)

    def key_set(self) -> KeySet:
        """The keys with their private halves."""
        return KeySet(list(self._keys.values()))


def _handler(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requests.append(self.path)
            document = issuer.documents().get(self.path)
            body = json.dumps({"error": "not found"} if document is None else document).encode()
            self.send_response(404 if document is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it
            pass

    return Handler


@contextlib.contextmanager
def start_issuer() -> Iterator[Issuer]:
    """Starts an issuer on a free loopback port; it ends with the context."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.daemon_threads = True
    issuer = Issuer(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = _handler(issuer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
