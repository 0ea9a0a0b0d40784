"""A real psql in a terminal of its own: what it prints appears on our screen while it happens."""

import errno
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from penstock.demo.processes import Failed

__all__ = ["Terminal"]

_PROMPT = re.compile(r"(?:^|\n)[\w-]+[=^-][*!?]?[>#] $")
_CHUNK = 65536


class Terminal:
    """One psql session: statements are typed into it, its lines are handed to `show` as they come."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], show: Callable[[str], None]) -> None:
        """Starts psql; `show` is given every line without its end."""
        self._show = show
        self._pending = ""
        self._at_prompt = False
        ours, theirs = pty.openpty()
        settings = termios.tcgetattr(theirs)
        settings[1] &= ~termios.OPOST  # lines end as psql ends them
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        self._ours = ours
        try:
            self._psql = subprocess.Popen(
                [*arguments, "--no-psqlrc", "--no-readline", "--pset=pager=off"],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env={**os.environ, "TERM": "dumb", **environment},
                start_new_session=True,
                close_fds=True,
            )
        finally:
            os.close(theirs)

    def wait_for_prompt(self, *, seconds: float, elide_after: int | None = None) -> list[str]:
        """Shows lines until psql asks for the next statement or has ended; returns them.

        Args:
            seconds: how long to wait.
            elide_after: show no more than this many lines of a result; say how many there were.

        Raises:
            Failed: psql did neither in time.
        """
        deadline = time.monotonic() + seconds
        lines: list[str] = []
        shown = hidden = 0
        while not self._at_prompt:
            text = self._read(deadline)
            if text is None:
                break
            self._pending += text
            *complete, self._pending = self._pending.split("\n")
            for line in (part.rstrip("\r") for part in complete):
                lines.append(line)
                if elide_after is not None and shown >= elide_after and not _notable(line):
                    hidden += 1
                    continue
                shown += 1
                self._show(line)
            self._at_prompt = _PROMPT.search("\n" + self._pending) is not None
        if hidden:
            self._show(f"… and {hidden:,} more lines, ending in: {_last(lines)}")
        if not self._at_prompt and self._pending:
            lines.append(self._pending)
            self._show(self._pending)
            self._pending = ""
        return lines

    def type(self, statement: str) -> None:
        """Types a statement at the prompt.

        Raises:
            Failed: psql has ended.
        """
        if not self._at_prompt:
            raise Failed("psql is not at its prompt")
        self._show(f"{self._pending}{statement}")
        self._pending, self._at_prompt = "", False
        self._echo_off()
        os.write(self._ours, statement.encode() + b"\n")

    def run(self, statement: str, *, seconds: float = 30, elide_after: int | None = None) -> list[str]:
        """Types a statement and returns the lines that came back."""
        self.type(statement)
        return self.wait_for_prompt(seconds=seconds, elide_after=elide_after)

    def close(self) -> int:
        """Ends psql and returns its exit code."""
        if self._psql.poll() is None and self._at_prompt:
            os.write(self._ours, b"\\q\n")
        try:
            self._psql.wait(5)
        except subprocess.TimeoutExpired:
            self._psql.send_signal(signal.SIGKILL)
            self._psql.wait(5)
        os.close(self._ours)
        return self._psql.returncode

    def _echo_off(self) -> None:
        """We show what is typed ourselves, beside the prompt; the terminal must not do it again."""
        settings = termios.tcgetattr(self._ours)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(self._ours, termios.TCSANOW, settings)

    def _read(self, deadline: float) -> str | None:
        """The next piece of output, None once psql has ended."""
        remaining = deadline - time.monotonic()
        ready, _, _ = select.select([self._ours], [], [], max(remaining, 0))
        if not ready:
            raise Failed(f"psql did not come back in time; its last words: {self._pending[-400:]!r}")
        try:
            data = os.read(self._ours, _CHUNK)
        except OSError as gone:
            if gone.errno == errno.EIO:  # how Linux says that the other side of a terminal is closed
                return None
            raise
        return data.decode(errors="replace") if data else None


def _notable(line: str) -> bool:
    """Whether a line must be seen even when a long result is cut short."""
    return line.startswith(("NOTICE", "WARNING", "ERROR", "FATAL", "DETAIL", "HINT"))


def _last(lines: Sequence[str]) -> str:
    """The last line that says something."""
    return next((line for line in reversed(lines) if line.strip()), "")


def psql_arguments(program: str | Path, *, port: int, user: str, database: str) -> list[str]:
    """How psql is started; the password comes through the environment, never through the process list."""
    return [str(program), f"host=127.0.0.1 port={port} user={user} dbname={database} sslmode=disable"]
