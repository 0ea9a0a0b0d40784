"""What a DSN says and how a client connects, one folder per protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from penstock.errors import UsageError
from penstock.targets.protocols import postgres


@dataclass(frozen=True, slots=True)
class Named:
    """A target as a DSN names it: its manifest entry without the credential's password, and the password apart."""

    protocol: str
    entry: dict[str, Any]
    user: str
    database: str
    password: str | None = field(default=None, repr=False)


_SCHEMES: dict[str, tuple[str, Callable[[str], postgres.Dsn]]] = dict.fromkeys(
    postgres.SCHEMES, (postgres.NAME, postgres.parse)
)
_CONNECTING: dict[str, Callable[..., str]] = {postgres.NAME: postgres.command_line}


def parse(dsn: str) -> Named:
    """The target that ``dsn`` names; :class:`UsageError` says what is wrong without repeating a password."""
    scheme = urlsplit(dsn).scheme if "://" in dsn else ""
    if scheme not in _SCHEMES:
        raise UsageError("this is no DSN", hint=f"write {' or '.join(f'{name}://…' for name in sorted(_SCHEMES))}")
    protocol, read = _SCHEMES[scheme]
    found = read(dsn)
    entry = {"protocol": protocol, "address": found.address, "databases": [found.database], "tls": found.tls}
    return Named(protocol, entry, found.user, found.database, found.password)


def command_line(protocol: str, *, address: str, user: str, database: str) -> str:
    """How a client of ``protocol`` connects to the gateway at ``address``."""
    return _CONNECTING[protocol](address=address, user=user, database=database)
