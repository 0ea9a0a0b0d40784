"""Penstock's own tokens: ``pst_<id>_<secret>``, kept as SCRAM-SHA-256 verifiers and never as text."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass

#: Iterations of PBKDF2 in a verifier. The secret has 190 random bits, so this guards nothing but compatibility.
ITERATIONS = 4096
#: The longest token text looked at.
MAX_TOKEN = 256

_ID_LENGTH = 10
_SECRET_LENGTH = 32
_ID_ALPHABET = string.ascii_lowercase + string.digits
_SECRET_ALPHABET = string.ascii_letters + string.digits
_TOKEN = re.compile(r"pst_([a-z0-9]{10})_([A-Za-z0-9]{32,200})")
_VERIFIER = re.compile(
    r"SCRAM-SHA-256\$([0-9]{1,7}):([A-Za-z0-9+/=]{1,100})\$([A-Za-z0-9+/=]{44}):([A-Za-z0-9+/=]{44})"
)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just minted: ``text`` is shown once, ``verifier`` is what is kept."""

    id: str
    text: str
    verifier: str

    def __repr__(self) -> str:
        return f"NewToken(id={self.id!r})"


def mint(identity: str) -> NewToken:
    """A new random token for ``identity``."""
    token_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
    secret = "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(_SECRET_LENGTH))
    text = f"pst_{token_id}_{secret}"
    return NewToken(token_id, text, make_verifier(identity, text))


def token_id(text: str) -> str | None:
    """The id in a token's text, or None where the text is no token of ours."""
    if len(text) > MAX_TOKEN:
        return None
    found = _TOKEN.fullmatch(text)
    return found.group(1) if found else None


def salt_of(identity: str) -> bytes:
    """The salt of every token of ``identity``: two live tokens must share it, as SCRAM sends one salt for a user."""
    return hashlib.sha256(f"penstock-scram-salt:{identity}".encode()).digest()[:16]


def make_verifier(identity: str, text: str) -> str:
    """The SCRAM-SHA-256 verifier of the token ``text`` for ``identity``."""
    salt = salt_of(identity)
    stored, server = _keys(text, salt, ITERATIONS)
    return f"SCRAM-SHA-256${ITERATIONS}:{_b64(salt)}${_b64(stored)}:{_b64(server)}"


def verify(text: str, verifier: str) -> bool:
    """Whether ``text`` is the token of ``verifier``; some milliseconds of work, so keep it off the loop."""
    found = _VERIFIER.fullmatch(verifier)
    if found is None or len(text) > MAX_TOKEN:
        return False
    try:
        salt, stored = (base64.b64decode(found.group(part), validate=True) for part in (2, 3))
    except (binascii.Error, ValueError):
        return False
    iterations = int(found.group(1))
    if not 1 <= iterations <= 1_000_000:
        return False
    return hmac.compare_digest(_keys(text, salt, iterations)[0], stored)


def spend(text: str) -> None:
    """The same work as :func:`verify` for a token that does not exist, so that time tells nothing."""
    _keys(text[:MAX_TOKEN], b"penstock-no-one!", ITERATIONS)


def _keys(text: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    salted = hashlib.pbkdf2_hmac("sha256", text.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
