"""No secret reaches the log."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from penstock import logs

TOKEN = "pst_abcdefghij_" + "S" * 32
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqb2IifQ.c2lnbmF0dXJl"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as it would reach standard error."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure(stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    "secret",
    [
        TOKEN,
        JWT,
        "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy",
        "postgresql://user:hunter2@host/db",
        "password=hunter2",
        "PASSWORD: 'hunter2'",
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2",
    ],
)
def test_secrets_are_taken_out_wherever_they_stand(lines: io.StringIO, secret: str) -> None:
    log = structlog.get_logger("test")
    log.warning(secret, error=ValueError(secret), deep={"a": [secret, {"b": secret}]}, many=[secret])
    logging.getLogger("library").error("it said %s", secret)
    try:
        raise RuntimeError(secret)
    except RuntimeError:
        log.exception("failed")
    told = lines.getvalue()
    for part in ("hunter2", "S" * 32, "c2lnbmF0dXJl", "c3RvcmVk"):
        assert part not in told
    assert len([json.loads(line) for line in told.splitlines()]) == 3


def test_keys_that_hold_secrets_are_hidden(lines: io.StringIO) -> None:
    structlog.get_logger("test").info("x", password="a-b-c", nested={"Authorization": "a-b-c"}, token="abcdefghij")
    told = json.loads(lines.getvalue())
    assert "a-b-c" not in lines.getvalue()
    assert (told["password"], told["token"], told["level"], told["logger"]) == (
        "[hidden]",
        "abcdefghij",
        "info",
        "test",
    )


def test_the_id_of_a_token_stays() -> None:
    assert logs.redact(f"token {TOKEN}") == "token pst_abcdefghij_[hidden]"
