"""Serves the admin interface from the gateway's own loop: a unix socket of the gateway's user, or loopback."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
import struct
from collections.abc import Generator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from penstock.admin.auth import PEER_PREFIX
from penstock.errors import StartError
from penstock.identity.keys import is_loopback

#: Requests served at once; more are told 503.
_MOST_REQUESTS = 128
_MOST_HEADERS = 32 * 1024


class _PeerProtocol(H11Protocol):
    """Puts the uid of a unix socket's peer where an address would stand."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        found = transport.get_extra_info("socket")
        if found is not None and found.family == socket.AF_UNIX:
            pid, uid, _gid = struct.unpack("3i", found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            self.client = (f"{PEER_PREFIX}{uid}", pid)


class _QuietServer(uvicorn.Server):
    """Leaves signals to the gateway."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class AdminServer:
    """One listener of the admin interface."""

    def __init__(self, app: Starlette, *, path: Path | None = None, host: str = "", port: int = 0) -> None:
        self._path = path
        self._socket = _unix(path) if path is not None else _loopback(host, port)
        config = uvicorn.Config(
            app,
            http=_PeerProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MOST_REQUESTS,
            h11_max_incomplete_event_size=_MOST_HEADERS,
            timeout_graceful_shutdown=2,
        )
        self._server = _QuietServer(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where it listens, as the CLI's ``--admin`` takes it."""
        if self._path is not None:
            return f"unix:{self._path}"
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def start(self) -> None:
        """Begins to serve."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110  (uvicorn has no event for it)
            await asyncio.sleep(0.005)
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Ends, and takes its socket away."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _unix(path: Path) -> socket.socket:
    """A listening unix socket that only the gateway's user can open. One left by a dead gateway is replaced."""
    _clear_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode must be right from the first moment, not after a chmod: hence the mask.
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise StartError(
            f"the admin socket {path} cannot be created: {error.strerror or error}",
            hint="listeners.admin.bind names a path in a folder that the gateway's user may write",
        ) from error
    finally:
        os.umask(mask)
    listener.setblocking(False)
    return listener


def _clear_stale(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartError(f"the admin socket {path} cannot be looked at: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise StartError(f"{path} is there and is no socket", hint="listeners.admin.bind must name a path of its own")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                path.unlink(missing_ok=True)
                return
    raise StartError(f"another gateway serves {path}", hint="stop it, or give this one another listeners.admin.bind")


def _loopback(host: str, port: int) -> socket.socket:
    if not is_loopback(host):
        raise StartError(f"the admin interface listens on this machine alone, not on {host}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1" if host == "localhost" else host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise StartError(f"the admin interface cannot listen on {host}:{port}: {error.strerror}") from error
    listener.setblocking(False)
    return listener
