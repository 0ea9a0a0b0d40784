"""The gateway itself: where it listens, what it stores and where, and what bounds it."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, ConfigDict, Field, StrictInt, StrictStr, model_validator
from pydantic.json_schema import JsonSchemaValue
from typing_extensions import override

from penstock.config.models.base import Duration, Model, Name, Size, between, preset
from penstock.config.sources import (
    Certificates,
    LocalPath,
    PrivateKey,
    Resolver,
    Secret,
    Source,
    check_pair,
    kind,
    shown,
    wrong,
)


def split_address(value: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[ipv6]:port`."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]/@]+)):([0-9]{1,5})", value)
    if match is None or int(match[3]) > 65535:
        raise _bad_address(value)
    if match[1] is not None:
        try:
            ipaddress.IPv6Address(match[1])
        except ValueError:
            raise _bad_address(value) from None
    return match[1] or match[2], int(match[3])


def _bad_address(value: str) -> Exception:
    if "://" in value:
        return wrong(f"'{shown(value, 80)}' is a URL, not an address", "write host:port")
    if value.count(":") > 1 and "[" not in value:
        return wrong(f"'{shown(value, 80)}' is not an address", "an IPv6 address stands in brackets: [::1]:5432")
    if re.fullmatch(r"[^\s:/\[\]]+:?", value):
        return wrong(f"'{shown(value, 80)}' has no port", f"write {shown(value.rstrip(':'), 80)}:PORT")
    return wrong(f"'{shown(value, 80)}' is not an address", "write host:port, or [ipv6]:port")


def is_loopback(host: str) -> bool:
    """Whether a host stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bindable(value: str) -> str:
    if value.startswith("unix:"):
        raise wrong("this listener needs host:port", "only the admin listener may be a unix socket")
    if re.fullmatch(r"\*?:[0-9]*", value):
        raise wrong(f"'{shown(value, 80)}' is not an address", "write 0.0.0.0:PORT for every interface")
    host, _ = split_address(value)
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise wrong(f"'{shown(host, 80)}' is not an IP address", "bind to an address of this machine") from None
    return value


class ServerTls(Model):
    """The gateway's own certificate, shown to clients."""

    cert: Certificates = Field(description="PEM file with the certificate and its chain.")
    key: PrivateKey = Field(description="PEM file with the certificate's private key.")

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        check_pair(self.cert, self.key)
        return self


class Listener(Model):
    """Where clients of one protocol connect."""

    bind: Annotated[StrictStr, AfterValidator(_bindable)] = Field(description="host:port; port 0 picks a free one.")
    tls: ServerTls | None = Field(default=None, description="Without it, clients are served without TLS only.")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(split_address(self.bind)[0])


class AdminAddress(Source):
    """`unix:PATH`, or host:port on this machine."""

    shape: ClassVar[JsonSchemaValue] = {
        "type": "string",
        "description": "unix:PATH, or host:port on loopback.",
        "examples": ["unix:./penstock.sock"],
    }

    def __init__(self, name: str, *, path: Path | None = None, host: str = "", port: int = 0) -> None:
        self._name = name
        self.path = path
        self.host = host
        self.port = port

    @override
    def reference(self) -> str:
        return self._name

    @classmethod
    @override
    def resolve(cls, value: Any, resolver: Resolver) -> AdminAddress:
        if not isinstance(value, str):
            raise wrong(f"an address must be text, found {kind(value)}", "write unix:./penstock.sock")
        if value.startswith("unix:"):
            return cls._socket(value, resolver)
        host, port = split_address(value)
        if not is_loopback(host):
            raise wrong("the admin listener stays on this machine", "write unix:PATH or 127.0.0.1:PORT")
        return cls(value, host=host, port=port)

    @classmethod
    def _socket(cls, value: str, resolver: Resolver) -> AdminAddress:
        name = value.removeprefix("unix:")
        if not name or "\0" in name:
            raise wrong("the path of the socket is missing", "write unix:./penstock.sock")
        path = resolver.path(name)
        if len(str(path).encode()) > 107:
            raise wrong("the path of a unix socket has at most 107 bytes", "use a shorter path, such as in /run")
        return cls(value, path=path)


class AdminListener(Model):
    """Where operators and reviewers connect."""

    bind: AdminAddress = preset("unix:./penstock.sock")


class Listeners(Model):
    """One listener per protocol, by its name, and `admin`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Listener] = Field(init=False)

    admin: AdminListener = preset({})

    @property
    def protocols(self) -> dict[str, Listener]:
        """The listeners for clients, by protocol."""
        return dict(self.__pydantic_extra__)


class Database(Source):
    """`sqlite:///PATH`, or `postgresql://USER@HOST:PORT/DATABASE` without the password."""

    shape: ClassVar[JsonSchemaValue] = {
        "type": "string",
        "description": "sqlite:///PATH, or postgresql://USER@HOST:PORT/DATABASE.",
        "pattern": "^(sqlite:///|postgres(ql)?://)",
    }

    def __init__(self, name: str, path: Path | None) -> None:
        self._name = name
        self.path = path

    @override
    def reference(self) -> str:
        return self._name

    @property
    def shared(self) -> bool:
        """Whether several gateways can use it."""
        return self.path is None

    @classmethod
    @override
    def resolve(cls, value: Any, resolver: Resolver) -> Database:
        if not isinstance(value, str):
            raise wrong(f"a database must be a URL, found {kind(value)}", "write sqlite:///penstock.db")
        if value.startswith("sqlite:///"):
            name = value.removeprefix("sqlite:///")
            if not name or "\0" in name:
                raise wrong("the path of the database is missing", "write sqlite:///penstock.db")
            return cls(value, resolver.path(name))
        return cls._server(value)

    @classmethod
    def _server(cls, value: str) -> Database:
        try:
            parts = urlsplit(value)
            shaped = parts.scheme in ("postgresql", "postgres") and parts.hostname and parts.path.strip("/")
            secret = parts.password
            _ = parts.port
        except ValueError:
            shaped, secret = None, None
        if secret:
            raise wrong("a secret must not stand in the manifest", "state: {database: …, password: {env: NAME}}")
        if not shaped:
            raise wrong("this is not a database penstock can use", "sqlite:///PATH or postgresql://USER@HOST:PORT/DB")
        return cls(value, None)

    def url(self, password: str | None) -> str:
        """The URL for SQLAlchemy's asynchronous engines. It holds the password: never log it."""
        if self.path is not None:
            return f"sqlite+aiosqlite:///{self.path}"
        parts = urlsplit(self._name)
        secret = ":" + quote(password, safe="") if password else ""
        user = (parts.username or "penstock") + secret
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(scheme="postgresql+asyncpg", netloc=f"{user}@{host}").geturl()


class State(Model):
    """The state database: tokens, approvals, the index of sessions."""

    database: Database = preset("sqlite:///penstock.db")
    password: Secret | None = Field(default=None, description="Password of the PostgreSQL state database.")

    @model_validator(mode="after")
    def _password_used(self) -> Self:
        if self.password is not None and not self.database.shared:
            raise wrong("an SQLite database has no password", "remove the key `password`")
        return self

    def url(self) -> str:
        """The URL for SQLAlchemy's asynchronous engines. It holds the password: never log it."""
        return self.database.url(self.password.reveal() if self.password else None)


class Trail(Model):
    """Where the trail is written, and when it counts as written."""

    store: LocalPath = preset("./trail", description="Folder of the segments.")
    durability: Literal["process", "disk"] = preset(
        "process", description="process: outlives kill -9; disk: outlives power loss, synced before release."
    )
    node: Name | None = Field(default=None, description="This gateway's name in the names of segments.")
    segment: Annotated[Size, between(1 << 20, 4 << 30, "1MiB and 4GiB")] = preset(
        "64MiB", description="Size at which a new segment begins."
    )


class Spool(Model):
    """Where the rows of held results wait, encrypted."""

    directory: LocalPath = preset("./spool", description="Folder of the spool's files.")
    size: Annotated[Size, between(1 << 20, 1 << 44, "1MiB and 16TiB")] = preset(
        "1GiB", description="All held rows together; beyond it the target is slowed."
    )


class Session(Model):
    """How long proofs hold."""

    max: Annotated[Duration, between(60, 7 * 86400, "60s and 7d")] = preset(
        "8h", description="A session lives this long at most."
    )
    exchange: Annotated[Duration, between(60, 8 * 3600, "60s and 8h")] = preset(
        "1h", description="A token that `penstock login` hands out lives this long at most."
    )


class Limits(Model):
    """Bounds after which a clear error comes before failure."""

    connections: Annotated[StrictInt, between(1, 1_000_000, "1 and 1000000")] = Field(
        default=1000, description="Sessions and logins at once."
    )
    connections_per_identity: Annotated[StrictInt, between(1, 1_000_000, "1 and 1000000")] = Field(
        default=100, description="Sessions of one identity at once."
    )
    login: Annotated[Duration, between(1, 300, "1s and 300s")] = preset(
        "15s", description="A client must have logged in after this."
    )
    message: Annotated[Size, between(1 << 16, 1 << 30, "64KiB and 1GiB")] = preset(
        "64MiB", description="The largest message of either side."
    )
    statement: Annotated[Size, between(1 << 10, 4 << 20, "1KiB and 4MiB")] = preset(
        "1MiB", description="The longest text of a statement; the trail keeps it whole, in one record."
    )
    statements_per_second: Annotated[StrictInt, between(1, 10_000_000, "1 and 10000000")] | None = Field(
        default=None,
        description="What one identity may run, over all its sessions; a rested one may run a second's worth at once. "
        "Beyond it statements are refused with 53400; what ends a transaction never is. Left out means no bound.",
    )
    threads: Annotated[StrictInt, between(1, 1024, "1 and 1024")] | None = Field(
        default=None,
        description="Threads that carry sessions; left out means one less than the machine has cores, which leaves one "
        "to logins, approvals and the kernel. A change needs a restart.",
    )
    memory: Annotated[Size, between(64 << 20, 1 << 44, "64MiB and 16TiB")] = preset(
        "512MiB",
        description="What all sessions' buffers may take together: messages being received, results on their way, held "
        "rows in memory, texts of prepared statements. A session that needs more than is left ends with 54000, and "
        "while less than an eighth is left new ones are refused with 53300. Idle sessions (some 30 KiB each, bounded "
        "by `connections`), what each processor works on just now (a message of each side), remembered parse results "
        "and Python are not part of it.",
    )

    @model_validator(mode="after")
    def _messages_fit(self) -> Self:
        if self.message > self.memory:
            raise wrong("`message` is larger than `memory`: such a message could never pass", "raise limits.memory")
        return self
