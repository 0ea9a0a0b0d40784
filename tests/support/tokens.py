"""Static tokens and their verifiers, made here independently of the product, so that the tests check its arithmetic."""

import base64
import hashlib
import hmac
import secrets
import string
from dataclasses import dataclass

ITERATIONS = 4096
_ID_ALPHABET = string.ascii_lowercase + string.digits
_SECRET_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Token:
    """A token and what the manifest stores of it."""

    id: str
    text: str
    verifier: str

    def entry(self, *, expires: str | None = None) -> dict[str, str]:
        """The manifest's entry."""
        entry = {"id": self.id, "verifier": self.verifier}
        return entry if expires is None else {**entry, "expires": expires}


def salt_of(identity: str) -> bytes:
    """The salt that all tokens of an identity share."""
    return hashlib.sha256(b"penstock-scram-salt:" + identity.encode()).digest()[:16]


def verifier(password: str, salt: bytes) -> str:
    """The SCRAM-SHA-256 verifier of a password, as PostgreSQL writes it."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored = hashlib.sha256(client).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    texts = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{texts[0]}${texts[1]}:{texts[2]}"


def new_token(identity: str) -> Token:
    """A fresh token of an identity."""
    name = "".join(secrets.choice(_ID_ALPHABET) for _ in range(10))
    text = f"pst_{name}_" + "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(32))
    return Token(name, text, verifier(text, salt_of(identity)))
