"""PostgreSQL's DSN, as libpq reads it, and the psql line that reaches the gateway."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from penstock.errors import UsageError

NAME = "postgres"
SCHEMES = ("postgres", "postgresql")
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True, slots=True)
class Dsn:
    """What a DSN says."""

    address: str
    user: str
    database: str
    tls: dict[str, str]
    password: str | None = field(default=None, repr=False)


def parse(dsn: str) -> Dsn:
    """``postgresql://user:password@host:port/database?sslmode=…``; PGPASSWORD gives a password that is left out."""
    try:
        parts = urlsplit(dsn)
        host, port = parts.hostname, parts.port or 5432
        options = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    except ValueError:
        raise UsageError("the DSN cannot be read", hint="postgresql://user@host:5432/database") from None
    if not host or "," in host:
        raise UsageError("the DSN must name one host", hint="postgresql://user@host:5432/database")
    unknown = sorted(set(options) - {"sslmode", "sslrootcert"})
    if unknown:
        raise UsageError(f"the DSN's option {unknown[0]} is not understood", hint="sslmode and sslrootcert are")
    user = unquote(parts.username or os.environ.get("PGUSER") or os.environ.get("USER") or "postgres")
    password = unquote(parts.password) if parts.password else os.environ.get("PGPASSWORD")
    bracketed = f"[{host}]" if ":" in host else host
    return Dsn(f"{bracketed}:{port}", user, unquote(parts.path.lstrip("/")) or user, _tls(options), password)


def _tls(options: dict[str, str]) -> dict[str, str]:
    mode = options.get("sslmode", "prefer")
    if mode not in _MODES:
        raise UsageError(f"sslmode {mode} is not one of {', '.join(_MODES)}")
    tls = {"mode": mode}
    if mode.startswith("verify-") or "sslrootcert" in options:
        tls["ca"] = options.get("sslrootcert", "system")
    return tls


def command_line(*, address: str, user: str, database: str) -> str:
    """The psql line; the token goes into PGPASSWORD, not onto the line."""
    host, _, port = address.rpartition(":")
    return "psql " + shlex.quote(f"host={host.strip('[]')} port={port} user={user} dbname={database}")
