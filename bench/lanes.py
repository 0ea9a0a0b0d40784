"""The lanes in front of one PostgreSQL: direct, PgBouncer in session mode, and Penstock; SCRAM on every side."""

import contextlib
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.demo.cluster import Cluster, start_cluster, system_binaries
from penstock.demo.gateway import start_gateway
from penstock.demo.processes import Failed, Process, free_port, run_as
from support.tokens import new_token
from support.wire import Raw, message, query

BULK_QUERY = "select id, name, email, ssn, card, phone, address, note, created from bulk /*canned*/"
_BULK_TABLE = """
create table bulk (id int primary key, name text, email text, ssn text, card text, phone text, address text, note text,
    created timestamp);
insert into bulk select i, 'Customer number ' || i, 'customer' || i || '@example.org',
    lpad((i % 900)::text, 3, '1') || '-12-' || lpad((i % 10000)::text, 4, '0'), '4000' || lpad(i::text, 12, '0'),
    '+1 202-555-' || lpad((i % 10000)::text, 4, '0'), i || ' Station Road, Lakeside',
    repeat('a note of some length ', 5), timestamp '2026-01-01' + i * interval '1 minute'
from generate_series(1, {rows}) as i
"""
_USER = "bench"


@dataclass(frozen=True)
class Lane:
    """One way to the database."""

    name: str
    port: int
    user: str
    password: str
    # The process whose cost is measured; None for direct.
    pid: int | None

    def connect(self) -> Raw:
        """A raw connection; use it as a context, then log in."""
        return Raw("127.0.0.1", self.port, timeout=120)

    def log_in(self, raw: Raw) -> None:
        """Logs in."""
        raw.log_in(self.user, _USER, self.password)

    def dsn(self) -> str:
        """For libpq, without the password."""
        return f"host=127.0.0.1 port={self.port} user={self.user} dbname={_USER} sslmode=disable"


@contextlib.contextmanager
def database(*, scale: int, rows: int) -> Iterator[Cluster]:
    """A PostgreSQL 15 with pgbench's tables and one with wide rows."""
    binaries = system_binaries(15)
    if binaries is None:
        raise Failed("PostgreSQL 15 is not installed; run ci/install-system-packages tests")
    settings = {"max_connections": "1300", "shared_buffers": "512MB", "autovacuum": "off"}
    with start_cluster(binaries, settings=settings) as cluster:
        for database, sql in (
            ("postgres", f"create role {_USER} login password '{cluster.password}'"),
            ("postgres", f"create database {_USER} owner {_USER}"),
            (_USER, f"set role {_USER}; {_BULK_TABLE.format(rows=rows)}"),
        ):
            subprocess.run([cluster.program("psql"), "-qXc", sql, cluster.dsn(database)], check=True)
        mine = cluster.dsn(_USER, user=_USER)
        pgbench = [cluster.program("pgbench"), "-i", "-q", "-s", str(scale), mine]
        subprocess.run(pgbench, check=True, capture_output=True)
        subprocess.run([cluster.program("psql"), "-qXc", "vacuum freeze analyze", cluster.dsn(_USER)], check=True)
        yield cluster


def direct(cluster: Cluster, port: int | None = None) -> Lane:
    """Without anything between."""
    return Lane("direct", port or cluster.port, _USER, cluster.password, None)


@contextlib.contextmanager
def pgbouncer(cluster: Cluster, port: int | None = None) -> Iterator[Lane]:
    """PgBouncer in session mode."""
    listen, user = free_port(), run_as()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        (folder / "users").write_text(f'"{_USER}" "{cluster.password}"\n')
        upstream = f"host=127.0.0.1 port={port or cluster.port} dbname={_USER} user={_USER} password={cluster.password}"
        (folder / "ini").write_text(
            f"[databases]\n{_USER} = {upstream}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {listen}\n"
            f"auth_type = scram-sha-256\nauth_file = {folder}/users\npool_mode = session\nmax_client_conn = 1500\n"
            "default_pool_size = 1200\nserver_reset_query = DISCARD ALL\nunix_socket_dir =\nlog_connections = 0\n"
            "log_disconnections = 0\nignore_startup_parameters = extra_float_digits\n"
        )
        if user is not None:
            subprocess.run(["chown", "-R", user, name], check=True)
        process = Process(["/usr/sbin/pgbouncer", str(folder / "ini")], log=folder / "log", user=user, folder=folder)
        process.start()
        try:
            process.wait_until(lambda: _listens(listen), seconds=10, what="PgBouncer started")
            yield Lane("pgbouncer", listen, _USER, cluster.password, process.pid)
        finally:
            process.stop()


@contextlib.contextmanager
def penstock(
    cluster: Cluster,
    port: int | None = None,
    *,
    name: str = "penstock",
    classes: tuple[Mapping[str, Any], ...] = (),
    unclassified: str = "pass",
) -> Iterator[Lane]:
    """The gateway: policy, classes and recording on, no rule about results."""
    token = new_token("bench")
    manifest = {
        "limits": {"connections": 1500, "connections_per_identity": 1500},
        "identities": [{"name": _USER, "tokens": [token.entry()], "groups": ["pipelines"]}],
        "targets": [
            {
                "name": "bench",
                "protocol": "postgres",
                "address": f"127.0.0.1:{port or cluster.port}",
                "databases": [_USER],
                "tls": {"mode": "disable"},
                "credentials": {"default": {"user": _USER, "password": {"env": "BENCH"}}},
                "unclassified": unclassified,
            }
        ],
        "classes": [dict(each) for each in classes],
        "rules": [
            {"name": "pipelines read", "who": ["group:pipelines"], "allow": ["read"]},
            {"name": "nothing is dropped", "deny": "sql.destructive"},
            {"name": "no server files", "deny": "sql.server_io"},
        ],
    }
    with (
        tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder,
        start_gateway(Path(folder), manifest, environment={"BENCH": cluster.password}) as gateway,
    ):
        yield Lane(name, gateway.port, _USER, token.text, gateway.process.pid)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def canned(cluster: Cluster, *, megabytes: int, repeat: int = 1) -> Iterator[int]:
    """A port on which the bulk query is answered at the speed of the reader: `megabytes` of rows, `repeat` times."""
    source = Path(__file__).parent / "codec" / "canned.c"
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", str(folder / "canned"), str(source)], check=True)
        _record(cluster, folder, megabytes << 20)
        port = free_port()
        files = [str(folder / part) for part in ("head", "rows", "tail")]
        arguments = [str(folder / "canned"), str(port), str(cluster.port), *files, str(repeat)]
        process = Process(arguments, log=folder / "log")
        process.start()
        try:
            process.wait_until(lambda: _listens(port), seconds=10, what="the canned server started")
            yield port
        finally:
            process.stop()


def _record(cluster: Cluster, folder: Path, size: int) -> None:
    """Writes down what the real server answers, its rows repeated up to `size` bytes."""
    lane = direct(cluster)
    with lane.connect() as raw:
        lane.log_in(raw)
        answer = raw.ask(query(BULK_QUERY))
    frames = {tag: [message(seen.tag, seen.body) for seen in answer if seen.tag == tag] for tag in "TDCZ"}
    rows = b"".join(frames["D"])
    times = max(1, size // len(rows))
    with (folder / "rows").open("wb") as file:
        for _ in range(times):
            file.write(rows)
    (folder / "head").write_bytes(frames["T"][0])
    (folder / "tail").write_bytes(frames["C"][0] + frames["Z"][0])
