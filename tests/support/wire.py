"""A raw PostgreSQL client: it sends exactly the bytes a test wants and shows exactly the messages that come back.

Drivers hide the order of messages and never misbehave; this one does as it is told.
"""

import base64
import contextlib
import hashlib
import hmac
import secrets
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

PROTOCOL_3_0 = 3 << 16
PROTOCOL_3_2 = PROTOCOL_3_0 | 2
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
CANCEL_REQUEST = 80877102


class Closed(ConnectionError):
    """The other side closed the connection."""


@dataclass(frozen=True)
class Message:
    """One message from the server."""

    tag: str
    body: bytes

    def fields(self) -> dict[str, str]:
        """The fields of an ErrorResponse or NoticeResponse, by their letter."""
        parts = self.body.rstrip(b"\0").split(b"\0")
        return {chr(part[0]): part[1:].decode(errors="replace") for part in parts if part}

    def cells(self) -> list[bytes | None]:
        """The cells of a DataRow."""
        (count,) = struct.unpack_from("!h", self.body)
        offset, cells = 2, list[bytes | None]()
        for _ in range(count):
            (length,) = struct.unpack_from("!i", self.body, offset)
            offset += 4
            cells.append(None if length < 0 else self.body[offset : offset + length])
            offset += max(length, 0)
        return cells

    def text(self) -> str:
        """The body as text, its terminator removed (CommandComplete)."""
        return self.body.rstrip(b"\0").decode()


def message(tag: str, body: bytes = b"") -> bytes:
    """A frame."""
    return tag.encode() + struct.pack("!I", len(body) + 4) + body


def cstr(text: str) -> bytes:
    """A NUL-terminated string."""
    return text.encode() + b"\0"


def startup(parameters: dict[str, str], version: int = PROTOCOL_3_0) -> bytes:
    """A start-up message."""
    body = struct.pack("!I", version) + b"".join(cstr(k) + cstr(v) for k, v in parameters.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def request(code: int, rest: bytes = b"") -> bytes:
    """One of the requests that come in the place of a start-up message."""
    return struct.pack("!II", 8 + len(rest), code) + rest


def query(sql: str) -> bytes:
    """A simple query."""
    return message("Q", cstr(sql))


def parse(sql: str, name: str = "", types: Sequence[int] = ()) -> bytes:
    """Parse."""
    return message("P", cstr(name) + cstr(sql) + struct.pack(f"!h{len(types)}I", len(types), *types))


def bind(
    statement: str = "", portal: str = "", values: Sequence[bytes | None] = (), results: Sequence[int] = ()
) -> bytes:
    """Bind with text parameters; `results` are the wanted formats."""
    body = cstr(portal) + cstr(statement) + struct.pack("!hh", 0, len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message("B", body + struct.pack(f"!h{len(results)}h", len(results), *results))


def describe(kind: str, name: str = "") -> bytes:
    """Describe of a statement (S) or portal (P)."""
    return message("D", kind.encode() + cstr(name))


def execute(portal: str = "", rows: int = 0) -> bytes:
    """Execute, at most `rows` rows (0: all)."""
    return message("E", cstr(portal) + struct.pack("!I", rows))


def close(kind: str, name: str = "") -> bytes:
    """Close of a statement (S) or portal (P)."""
    return message("C", kind.encode() + cstr(name))


SYNC, FLUSH, TERMINATE = message("S"), message("H"), message("X")


@dataclass
class Raw:
    """A connection."""

    host: str
    port: int
    timeout: float = 15
    parameters: dict[str, str] = field(default_factory=dict)
    key: tuple[int, bytes] | None = None
    _buffer: bytearray = field(default_factory=bytearray)
    _socket: socket.socket | ssl.SSLSocket | None = None

    def __enter__(self) -> Self:
        self._socket = socket.create_connection((self.host, self.port), timeout=self.timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def socket(self) -> socket.socket | ssl.SSLSocket:
        """The socket below."""
        assert self._socket is not None, "used outside its with block"
        return self._socket

    def close(self) -> None:
        """Closes without a goodbye."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def reset(self) -> None:
        """Closes with a TCP reset, as a killed client's kernel may."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def send(self, *frames: bytes) -> None:
        """Sends frames in one write."""
        self.socket.sendall(b"".join(frames))

    def send_split(self, *frames: bytes) -> None:
        """Sends frames byte by byte."""
        for byte in b"".join(frames):
            self.socket.sendall(bytes((byte,)))

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes.

        Raises:
            Closed: the other side closed before.
        """
        while len(self._buffer) < count:
            data = self.socket.recv(1 << 18)
            if not data:
                raise Closed(f"closed with {bytes(self._buffer)!r} received of {count} bytes")
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def receive(self) -> Message:
        """The next message."""
        tag, length = struct.unpack("!cI", self.take(5))
        return Message(tag.decode("latin-1"), self.take(length - 4))

    def until(self, tags: str = "Z") -> list[Message]:
        """Messages up to one of these tags, itself included."""
        return list(self._until(lambda seen: seen.tag in tags))

    def until_closed(self) -> list[Message]:
        """Messages up to the end of the connection."""
        messages: list[Message] = []
        with contextlib.suppress(Closed, ConnectionResetError, ssl.SSLError):
            while True:
                messages.append(self.receive())
        return messages

    def _until(self, last: Callable[[Message], bool]) -> Iterator[Message]:
        while True:
            seen = self.receive()
            yield seen
            if last(seen):
                return

    def ask(self, *frames: bytes) -> list[Message]:
        """Sends frames and returns the messages up to ReadyForQuery."""
        self.send(*frames)
        return self.until("Z")

    def start_tls(self, *, authority: str | None = None, direct: bool = False, alpn: str | None = "postgresql") -> None:
        """Upgrades to TLS, after an SSLRequest unless `direct`."""
        if not direct:
            self.send(request(SSL_REQUEST))
            assert self.take(1) == b"S", "the server declined TLS"
        context = ssl.create_default_context(cafile=authority)
        context.check_hostname = authority is not None
        if authority is None:
            context.verify_mode = ssl.CERT_NONE
        if alpn is not None:
            context.set_alpn_protocols([alpn])
        assert isinstance(self._socket, socket.socket)
        self._socket = context.wrap_socket(self._socket, server_hostname=self.host)

    def log_in(self, user: str, database: str, password: str, *, version: int = PROTOCOL_3_0, **settings: str) -> None:
        """Start-up and login with whatever the server asks for.

        Raises:
            LoginRefused: the server answered with an error.
        """
        self.send(startup({"user": user, "database": database, **settings}, version))
        self.prove(password)
        for seen in self.until("ZE"):
            match seen.tag:
                case "E":
                    raise LoginRefused(seen)
                case "S":
                    name, value = seen.body.split(b"\0")[:2]
                    self.parameters[name.decode()] = value.decode()
                case "K":
                    self.key = (struct.unpack_from("!I", seen.body)[0], seen.body[4:])
                case _:
                    pass

    def prove(self, password: str) -> str:
        """Answers the server's request for proof; returns the kind of request."""
        while True:
            seen = self.receive()
            if seen.tag == "E":
                raise LoginRefused(seen)
            if seen.tag != "R":
                continue  # NegotiateProtocolVersion, notices
            (kind,) = struct.unpack_from("!I", seen.body)
            match kind:
                case 0:
                    return "trust"
                case 3:
                    self.send(message("p", cstr(password)))
                    self._accepted()
                    return "clear"
                case 10:
                    self._scram(password)
                    return "scram"
                case _:
                    raise AssertionError(f"the server asks for {kind}")

    def _accepted(self) -> None:
        seen = self.receive()
        if seen.tag == "E":
            raise LoginRefused(seen)
        assert seen.tag == "R", seen
        assert seen.body[:4] == b"\0\0\0\0", seen

    def _scram(self, password: str) -> None:
        nonce = secrets.token_urlsafe(18)
        bare = f"n=,r={nonce}"
        first = f"n,,{bare}".encode()
        self.send(message("p", cstr("SCRAM-SHA-256") + struct.pack("!i", len(first)) + first))
        offered = self._sasl()
        values = dict(part.split("=", 1) for part in offered.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(values["s"]), int(values["i"]))
        without = f"c=biws,r={values['r']}"
        signed = f"{bare},{offered},{without}".encode()
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
        self.send(message("p", f"{without},p={proof}".encode()))
        final = self._sasl()
        expected = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        assert final == f"v={base64.b64encode(expected).decode()}", "the server does not know the verifier"
        self._accepted()

    def _sasl(self) -> str:
        seen = self.receive()
        if seen.tag == "E":
            raise LoginRefused(seen)
        return seen.body[4:].decode()


class LoginRefused(Exception):
    """The server answered the login with an error."""

    def __init__(self, answer: Message) -> None:
        self.fields = answer.fields()
        super().__init__(f"{self.fields.get('C')}: {self.fields.get('M')}")


def tags(messages: Sequence[Message]) -> str:
    """The tags of messages in order, repeated DataRows once."""
    text = ""
    for seen in messages:
        if seen.tag != "D" or not text.endswith("D"):
            text += seen.tag
    return text


def rows(messages: Sequence[Message]) -> list[list[bytes | None]]:
    """The rows among messages."""
    return [seen.cells() for seen in messages if seen.tag == "D"]


def errors(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The errors among messages."""
    return [seen.fields() for seen in messages if seen.tag == "E"]
