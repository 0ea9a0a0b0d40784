"""Command-line clients as tests use them."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg


@dataclass(frozen=True)
class Outcome:
    """What a program printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Its output by lines."""
        return self.out.splitlines()


def run(*arguments: str, environment: Mapping[str, str] | None = None, stdin: str = "", seconds: float = 60) -> Outcome:
    """Runs a program to its end."""
    done = subprocess.run(
        arguments,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def psql(dsn: str, *statements: str, options: tuple[str, ...] = (), stdin: str = "", seconds: float = 60) -> Outcome:
    """Runs statements in psql, unaligned and without headings; each is its own query."""
    commands = [part for statement in statements for part in ("-c", statement)]
    return run("psql", "-XAtq", *options, dsn, *commands, stdin=stdin, seconds=seconds)


async def connect(dsn: str, **settings: str) -> "asyncpg.Connection[asyncpg.Record]":
    """An asyncpg connection without TLS."""
    return await asyncpg.connect(dsn, ssl=False, server_settings=settings or None, timeout=20)
