"""Structured logs, one JSON object a line, with whatever could be a secret taken out before it is written."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import orjson
import structlog

_HIDDEN = "[hidden]"
_SECRET_KEYS = frozenset({"password", "secret", "authorization", "proof", "verifier", "key", "claims"})
_SECRETS = (
    (re.compile(r"pst_([a-z0-9]{10})_[A-Za-z0-9]+"), r"pst_\1_" + _HIDDEN),
    (re.compile(r"eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?"), _HIDDEN),
    (re.compile(r"SCRAM-SHA-256\$[0-9]+:[^\s\"',]+"), _HIDDEN),
    (re.compile(r"(?<=://)([^\s/:@]+):\S+@"), r"\1:" + _HIDDEN + "@"),
    (re.compile(r"([^\s/:@'\"]+):\S+@(?=[^\s@]+:[0-9])"), r"\1:" + _HIDDEN + "@"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), _HIDDEN),
)
_NAMED = re.compile(r"(?i)\b(password|passwd|pwd|secret)(\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&]+)")
_DEEPEST = 6


def hide(text: str) -> str:
    """``text`` without what looks like a secret wherever it stands."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def redact(text: str) -> str:
    """``text`` with tokens, passwords and private keys taken out, and whatever is called a secret in it."""
    return _NAMED.sub(r"\1\2" + _HIDDEN, hide(text))


def _clean(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return redact(value)
    if depth > _DEEPEST:
        return _HIDDEN
    if isinstance(value, Mapping):
        return {
            str(name): _HIDDEN if str(name).lower() in _SECRET_KEYS else _clean(each, depth + 1)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(each, depth + 1) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(str(value))


def _redacted(_logger: object, _name: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    cleaned: dict[str, Any] = _clean(event)
    return cleaned


def _dumped(value: Any, **_options: object) -> str:
    return orjson.dumps(value, default=str).decode()


def configure(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Sends our own and every library's log lines to ``stream`` (standard error) as redacted JSON."""
    target = stream if stream is not None else sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _redacted,
        structlog.processors.JSONRenderer(serializer=_dumped),
    ]
    handler = logging.StreamHandler(target)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "uvicorn", "alembic", "aiosqlite", "sqlalchemy"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
