"""Talks to a running gateway's admin interface. The standard library's client alone: commands should start at once."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlencode

from cyclopts import Parameter

from penstock.errors import AdminError, AdminUnreachable, AlreadyDecided, Forbidden, NotFound, UsageError

#: Where the gateway of a default manifest listens.
DEFAULT_ADMIN = "unix:./penstock.sock"
_SECONDS = 30.0
_MAX_TOKEN_FILE = 64 * 1024
_ERRORS: dict[int, type[AdminError | AlreadyDecided | UsageError]] = {
    400: UsageError,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: AlreadyDecided,
}


@Parameter(name="*")
@dataclass(frozen=True)
class Access:
    """How to reach the gateway, and as whom. The token never stands in the command line: others could read it there."""

    admin: Annotated[str, Parameter(env_var="PENSTOCK_ADMIN")] = DEFAULT_ADMIN
    """Admin interface: unix:PATH or HOST:PORT."""

    token_file: Path | None = None
    """File with your token; else PENSTOCK_TOKEN, else the gateway's own user is taken as its operator."""

    json: Annotated[bool, Parameter(negative=())] = False
    """Print JSON."""

    def token(self) -> str | None:
        """The caller's token, from the file or the environment."""
        if self.token_file is None:
            return os.environ.get("PENSTOCK_TOKEN") or None
        try:
            with self.token_file.open(encoding="utf-8") as file:
                return file.read(_MAX_TOKEN_FILE).strip() or None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the token file {self.token_file} cannot be read: {error}") from error

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """What is at ``path``."""
        return self._json("GET", _with(path, query), None)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Does what ``path`` names."""
        return self._json("POST", path, {name: value for name, value in (body or {}).items() if value is not None})

    def delete(self, path: str) -> dict[str, Any]:
        """Takes back what ``path`` names."""
        return self._json("DELETE", path, None)

    def stream(self, path: str, **query: object) -> Iterator[bytes]:
        """The body at ``path`` in pieces."""
        with _Answer(self, "GET", _with(path, query), None) as answer:
            while piece := answer.read(65536):
                yield piece

    def _json(self, method: str, path: str, body: Mapping[str, object] | None) -> dict[str, Any]:
        with _Answer(self, method, path, body) as answer:
            found = _object(answer.read())
        if found is None:
            raise AdminError(f"{self.admin} does not answer as a gateway does", hint="is --admin another program's?")
        return found


class _Answer:
    """One request's answer; errors of every kind leave as ours."""

    def __init__(self, access: Access, method: str, path: str, body: Mapping[str, object] | None) -> None:
        self._access = access
        self._asked = (method, path, body)
        self._connection = _connection(access.admin)

    def __enter__(self) -> http.client.HTTPResponse:
        method, path, body = self._asked
        headers = {"accept": "application/json", "content-type": "application/json"}
        if token := self._access.token():
            headers["authorization"] = f"Bearer {token}"
        if identity := os.environ.get("PENSTOCK_IDENTITY"):
            headers["penstock-identity"] = identity
        try:
            self._connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise _unreachable(self._access.admin, error) from error
        if answer.status >= 400:
            with self._connection:
                raise _refusal(answer)
        return answer

    def __exit__(self, *_: object) -> None:
        self._connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str | None, host: str, port: int) -> None:
        super().__init__(host, port, timeout=_SECONDS)
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> None:
        """Connects to the socket, or to host and port."""
        if self._path is None:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(self._path)


def _connection(admin: str) -> _Connection:
    if admin.startswith("unix:"):
        return _Connection(admin.removeprefix("unix:"), "localhost", 0)
    host, _, port = admin.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{admin!r} is no admin address", hint="--admin unix:PATH or --admin 127.0.0.1:PORT")
    return _Connection(None, host.strip("[]"), int(port))


def _with(path: str, query: Mapping[str, object]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _unreachable(admin: str, error: Exception) -> AdminUnreachable:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    hint = "is the gateway running? --admin or PENSTOCK_ADMIN says where its admin interface is"
    return AdminUnreachable(f"no gateway answers at {admin}: {said}", hint=hint)


def _refusal(answer: http.client.HTTPResponse) -> Exception:
    said = _object(answer.read(65536)) or {}
    message = str(said.get("error") or f"the gateway answered {answer.status}")
    hint = said.get("hint")
    kind = _ERRORS.get(answer.status, AdminError)
    return kind(message, hint=str(hint) if hint else None)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
