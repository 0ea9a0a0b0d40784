"""Penstock's own tokens and their verifiers."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.identity import tokens


def test_a_token_verifies_and_nothing_else_does() -> None:
    minted = tokens.mint("agent-7")
    assert tokens.token_id(minted.text) == minted.id
    assert tokens.verify(minted.text, minted.verifier)
    assert not tokens.verify(minted.text[:-1] + "!", minted.verifier)
    assert not tokens.verify(tokens.mint("agent-7").text, minted.verifier)
    assert minted.text not in repr(minted)
    assert minted.verifier not in repr(minted)


def test_a_verifier_is_what_scram_defines() -> None:
    verifier = tokens.make_verifier("agent-7", "pst_abcdefghij_" + "x" * 32)
    salt = hashlib.sha256(b"penstock-scram-salt:agent-7").digest()[:16]
    salted = hashlib.pbkdf2_hmac("sha256", b"pst_abcdefghij_" + b"x" * 32, salt, 4096)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    b64 = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    assert verifier == f"SCRAM-SHA-256$4096:{b64[0]}${b64[1]}:{b64[2]}"


def test_two_tokens_of_one_identity_share_their_salt() -> None:
    first, second = (tokens.mint("agent-7").verifier.split("$")[1] for _ in range(2))
    assert first == second != tokens.mint("agent-8").verifier.split("$")[1]


@pytest.mark.parametrize(
    "verifier",
    ["", "md5abc", "SCRAM-SHA-256$0:AAAA$AAAA:AAAA", "SCRAM-SHA-256$99999999:" + "A" * 24, "SCRAM-SHA-256$4096:*$*:*"],
)
def test_a_damaged_verifier_verifies_nothing(verifier: str) -> None:
    assert not tokens.verify(tokens.mint("a").text, verifier)


@given(st.text(max_size=300))
def test_arbitrary_text_is_no_token(text: str) -> None:
    assert tokens.token_id(text) is None or text.startswith("pst_")


@settings(max_examples=30)
@given(st.text(max_size=80), st.text(max_size=300))
def test_arbitrary_input_never_fails(text: str, verifier: str) -> None:
    assert tokens.verify(text, verifier) is False
    tokens.spend(text)
