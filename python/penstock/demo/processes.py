"""Programs the demo and the tests start: found ports, bounded waits, an orderly end by process id."""

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Failed", "Process", "free_port", "run_as", "wait_until"]


class Failed(RuntimeError):
    """A program did not do what it was started for; the message carries the end of its log."""


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run_as() -> str | None:
    """The user that a PostgreSQL must run as: it refuses root. None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise Failed(
        "a PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody` to run it as"
    )


def wait_until(ready: Callable[[], bool], *, seconds: float, what: str, interval: float = 0.02) -> None:
    """Waits until `ready()` is true.

    Raises:
        Failed: it was not true within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:g} s")
        time.sleep(interval)


@dataclass
class Process:
    """A running program with its log."""

    arguments: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    folder: Path | None = None
    _running: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Starts it; output of both kinds is appended to the log."""
        with self.log.open("ab") as sink:
            self._running = subprocess.Popen(
                list(self.arguments),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                cwd=self.folder,
                user=self.user,
                group=None if self.user is None else pwd.getpwnam(self.user).pw_gid,
                extra_groups=None if self.user is None else [],
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            Failed: it was not started.
        """
        if self._running is None:
            raise Failed(f"{self.arguments[0]} was not started")
        return self._running.pid

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._running is not None and self._running.poll() is None

    def exit_code(self) -> int | None:
        """Its exit code, None while it runs."""
        return None if self._running is None else self._running.poll()

    def wait_until(self, ready: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Waits until `ready()`, and no longer than the program lives.

        Raises:
            Failed: it ended or was not ready in time; with the end of its log.
        """

        def settled() -> bool:
            return not self.alive() or ready()

        try:
            wait_until(settled, seconds=seconds, what=what)
        except Failed as late:
            raise Failed(f"{late}\n{self.tail()}") from None
        if not self.alive():
            raise Failed(f"{what}: {self.arguments[0]} ended with {self.exit_code()}\n{self.tail()}")

    def send(self, number: int) -> None:
        """Sends it a signal, if it still runs."""
        if self._running is not None and self.alive():
            self._running.send_signal(number)

    def stop(self, *, number: int = signal.SIGTERM, seconds: float = 10) -> int | None:
        """Ends it: first with `number`, after `seconds` for good. Returns its exit code."""
        if self._running is None:
            return None
        self.send(number)
        try:
            self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait(10)
        return self._running.returncode

    def tail(self, lines: int = 40) -> str:
        """The last lines of its log."""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])
