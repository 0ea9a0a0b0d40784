"""A gateway as a subprocess: `penstock serve` on a manifest, ready when its admin socket says so."""

import contextlib
import http.client
import json
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ruamel.yaml import YAML

from penstock.demo.processes import Failed, Process, free_port

__all__ = ["Gateway", "command", "start_gateway", "write_manifest"]


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def command() -> list[str]:
    """How this environment's `penstock` is started."""
    script = Path(sys.executable).parent / "penstock"
    if script.exists():
        return [str(script)]
    found = shutil.which("penstock")
    return [found] if found else [sys.executable, "-m", "penstock"]


def write_manifest(manifest: Mapping[str, Any], path: Path) -> None:
    """Writes a manifest as YAML that a person can read."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.width = 120
    text = StringIO()
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.dump(dict(manifest), text)
    path.write_text(text.getvalue())
    path.chmod(0o600)


@dataclass
class Gateway:
    """A running gateway."""

    folder: Path
    manifest: Path
    socket: Path
    port: int
    process: Process
    host: str = "127.0.0.1"

    @property
    def trail(self) -> Path:
        """The folder of its trail."""
        return self.folder / "trail"

    def dsn(self, database: str, *, user: str, password: str, **options: str) -> str:
        """The address of a database behind the gateway, for any driver."""
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
        return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{self.host}:{self.port}/{database}" + (
            f"?{query}" if query else ""
        )

    def environment(self, token: str | None = None) -> dict[str, str]:
        """The variables that make `penstock` commands talk to this gateway, with a token if one is given."""
        return {"PENSTOCK_ADMIN": f"unix:{self.socket}"} | ({} if token is None else {"PENSTOCK_TOKEN": token})

    def request(
        self, method: str, path: str, *, token: str | None = None, body: object | None = None, timeout: float = 10
    ) -> tuple[int, Any]:
        """One request to the admin socket: the status and the decoded body (text when it is not JSON).

        Raises:
            OSError: nobody listens there.
        """
        connection = _UnixConnection(self.socket, timeout)
        headers = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        payload = None if body is None else json.dumps(body)
        if payload is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body=payload, headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(text)
        return answer.status, text

    def healthy(self) -> bool:
        """Whether it says that it serves."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.request("GET", "/healthz", timeout=2)[0] == 200
        return False

    def start(self, *, seconds: float = 30) -> None:
        """Starts it (again) and waits until it serves.

        Raises:
            Failed: it ended, or was not ready in time; with the end of its log.
        """
        self.process.start()
        self.process.wait_until(self.healthy, seconds=seconds, what="the gateway is ready")

    def stop(self) -> int | None:
        """Ends it as an operator does, and returns its exit code."""
        return self.process.stop(seconds=15)

    def rewrite(self, manifest: Mapping[str, Any]) -> None:
        """Puts another manifest in the place of the present one, in one step, as a deployment does."""
        beside = self.manifest.with_suffix(".new")
        write_manifest(manifest, beside)
        beside.rename(self.manifest)


@contextlib.contextmanager
def start_gateway(
    folder: Path, manifest: Mapping[str, Any], *, environment: Mapping[str, str] | None = None, keep: bool = False
) -> Iterator[Gateway]:
    """Starts a gateway on `manifest`, to which listeners, state and trail inside `folder` are added where absent.

    Raises:
        Failed: it did not become ready; the message has the end of its log.
    """
    port = free_port()
    complete: dict[str, Any] = {
        "version": 1,
        "listeners": {"postgres": {"bind": f"127.0.0.1:{port}"}, "admin": {"bind": "unix:./penstock.sock"}},
        "state": {"database": f"sqlite:///{folder}/penstock.db"},
        "trail": {"store": "./trail", "durability": "process"},
    }
    for name, value in manifest.items():
        complete[name] = {**complete[name], **value} if name == "listeners" else value
    path = folder / "penstock.yaml"
    write_manifest(complete, path)
    bound = str(complete["listeners"]["postgres"]["bind"])
    gateway = Gateway(
        folder=folder,
        manifest=path,
        socket=folder / "penstock.sock",
        port=int(bound.rsplit(":", 1)[1]),
        process=Process(
            [*command(), "serve", str(path)], log=folder / "gateway.log", environment=environment or {}, folder=folder
        ),
    )
    try:
        gateway.start()
        yield gateway
    finally:
        if not keep:
            gateway.stop()


def ensure_started(gateway: Gateway) -> None:
    """Raises unless the gateway still runs; with the end of its log.

    Raises:
        Failed: it ended.
    """
    if not gateway.process.alive():
        raise Failed(f"the gateway ended with {gateway.process.exit_code()}\n{gateway.process.tail()}")
