"""`check --live` against a PostgreSQL 15 of its own."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from penstock.config import load
from penstock.config.live import MaskFits, check_live
from penstock.errors import Problem

BIN = Path("/usr/lib/postgresql/15/bin")
SESSION = "agent-7/01hzy3v9k8qwertyabcdefghjk"[:34]

SETUP = """
CREATE ROLE reader LOGIN PASSWORD 'reader-pw';
CREATE ROLE owner_role NOLOGIN;
CREATE ROLE migrator LOGIN PASSWORD 'migrator-pw' IN ROLE owner_role;
CREATE ROLE super LOGIN SUPERUSER PASSWORD 'super-pw';
CREATE ROLE bypass LOGIN BYPASSRLS PASSWORD 'bypass-pw';
CREATE ROLE files LOGIN PASSWORD 'files-pw' IN ROLE pg_read_server_files;
CREATE ROLE middle NOLOGIN IN ROLE pg_execute_server_program, pg_write_server_files;
CREATE ROLE inherits LOGIN NOINHERIT PASSWORD 'inherits-pw' IN ROLE middle;
CREATE ROLE becomes LOGIN NOINHERIT PASSWORD 'becomes-pw' IN ROLE bypass;
CREATE ROLE creator LOGIN CREATEROLE PASSWORD 'creator-pw';
CREATE ROLE blind LOGIN PASSWORD 'blind-pw';
CREATE ROLE watched LOGIN PASSWORD 'watched-pw';
"""
TABLES = """
CREATE DOMAIN mail AS text;
CREATE TABLE customers (id int PRIMARY KEY, ssn text, email mail, "Odd.name" text, born date);
CREATE VIEW v_customers AS SELECT * FROM customers;
CREATE SCHEMA hr;
CREATE TABLE hr.employees (id int, ssn varchar(11));
"""


@dataclass(frozen=True)
class Cluster:
    """Where it listens, and a certificate that signs for it."""

    port: int
    ca: Path

    def run(self, sql: str, database: str = "postgres") -> None:
        """Runs statements as the superuser."""

        async def main() -> None:
            connection = await asyncpg.connect(
                host="127.0.0.1", port=self.port, user="super", password="super-pw", database=database
            )
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        asyncio.run(main())


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Cluster]:
    """A private cluster over TCP with SCRAM and TLS; ended with the tests."""
    if not (BIN / "initdb").exists():
        pytest.fail("PostgreSQL 15 is needed: apt-get install postgresql-15")
    as_root = os.geteuid() == 0
    account: dict[str, Any] = {"user": "postgres", "group": "postgres"} if as_root else {}
    home = tmp_path_factory.mktemp("pg")
    data = home / "data"
    shutil.copy(certificates / "gw.pem", home / "server.crt")
    shutil.copy(certificates / "gw.key", home / "server.key")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if as_root:
        owner = pwd.getpwnam("postgres")
        for path in (home, *home.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        for parent in (home, *home.parents):
            if parent.stat().st_uid == 0 and parent.is_relative_to("/tmp/pytest-of-root"):
                parent.chmod(0o755)
    init: list[str | Path] = [
        BIN / "initdb",
        "-D",
        data,
        "-A",
        "trust",
        "-U",
        "postgres",
        "--no-sync",
        "-E",
        "UTF8",
        "--locale=C",
    ]
    subprocess.run(init, check=True, capture_output=True, cwd="/", **account)
    hba = "host all super 127.0.0.1/32 scram-sha-256\nhost all postgres 127.0.0.1/32 trust\n"
    hba += "host all all 127.0.0.1/32 scram-sha-256\n"
    (data / "pg_hba.conf").write_text(hba)
    options = {
        "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "ssl": "on",
        "ssl_cert_file": home / "server.crt", "ssl_key_file": home / "server.key", "max_connections": 40,
        "shared_buffers": "16MB",
    }  # fmt: skip
    arguments = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [BIN / "postgres", "-D", data, *arguments], stdout=log, stderr=log, cwd="/", **account
        )
    try:
        _prepare(port, home / "log")
        yield Cluster(port, certificates / "gw.pem")
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _prepare(port: int, log: Path) -> None:
    async def main() -> None:
        connection = await _ready(port, log)
        await connection.execute(SETUP)
        await connection.execute("CREATE DATABASE shop")
        await connection.execute("CREATE DATABASE closed")
        await connection.close()
        for database, sql in (("shop", TABLES), ("closed", "REVOKE SELECT ON pg_catalog.pg_attribute FROM PUBLIC")):
            connection = await asyncpg.connect(host="127.0.0.1", port=port, user="postgres", database=database)
            await connection.execute(sql)
            await connection.close()

    asyncio.run(main())


async def _ready(port: int, log: Path) -> Any:
    deadline = time.monotonic() + 30
    while True:
        try:
            return await asyncpg.connect(host="127.0.0.1", port=port, user="postgres", database="postgres")
        except (OSError, asyncpg.CannotConnectNowError):
            if time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start; see {log}") from None
            await asyncio.sleep(0.05)


Check = Callable[..., list[Problem]]


@pytest.fixture
def check(cluster: Cluster, folder: Path, verifier: Callable[[str], str]) -> Check:
    """Writes a manifest for the cluster and checks it live."""

    def checker(
        *,
        user: str = "reader",
        columns: str = '"shop:public.customers.ssn"',
        database: str = "shop",
        tls: str = "{mode: prefer}",
        mask: str = "full",
        more: str = "",
        password: str | None = None,
        credentials: str = "",
        address: str | None = None,
        mask_fits: MaskFits | None = None,
        seconds: float = 30,
    ) -> list[Problem]:
        shutil.copy(cluster.ca, folder / "server-ca.pem")
        path = folder / "live.yaml"
        path.write_text(
            "version: 1\n"
            'listeners: {postgres: {bind: "127.0.0.1:0"}}\n'
            f'identities: [{{name: agent-7, tokens: ["{verifier("agent-7")}"]}}]\n'
            "targets:\n"
            "  - name: shop\n"
            "    protocol: postgres\n"
            f"    address: {address or f'127.0.0.1:{cluster.port}'}\n"
            f"    databases: [{database}]\n"
            f"    tls: {tls}\n"
            "    connect: 3s\n"
            f"    {more}\n"
            "    credentials:\n"
            f"      default: {{user: {user}, password: {{env: PW}}}}\n"
            f"{credentials}"
            "classes:\n"
            f"  - {{name: ssn, columns: [{columns}], mask: {mask}}}\n"
        )
        loaded = load(path, environ={"PW": password or f"{user}-pw", "PW2": "migrator-pw"})
        return asyncio.run(check_live(loaded, mask_fits=mask_fits, seconds=seconds))

    return checker


def told(problems: list[Problem]) -> list[tuple[int, str]]:
    return [(each.line, each.message) for each in problems]


def test_agreement_is_silence(check: Check) -> None:
    credentials = "      migrator: {user: migrator, password: {env: PW2}, set_role: owner_role}\n"
    assert told(check(credentials=credentials)) == []


@pytest.mark.parametrize(
    "column",
    [
        "shop:public.customers.ssn", "shop:*.employees.ssn", "shop:*.*.ssn", "shop:hr.*.*", "*:public.v_customers.ssn",
        "shop:*.*.*", "shop:PUBLIC.cust*.SSN", "shop:pg_catalog.pg_class.relname",
        'shop:public.customers.\\"Odd.name\\"',
    ],
)  # fmt: skip
def test_columns_that_exist(check: Check, column: str) -> None:
    assert told(check(columns=f'"{column}"')) == []


@pytest.mark.parametrize(
    "column",
    ["shop:public.customers.snn", "shop:hr.customers.ssn", "*:sales.*.*", "shop:public.custome_s.ssn",
     'shop:public.customers.\\"SSN\\"',
     "shop:*.pg_authid.rolpassword"],
)  # fmt: skip
def test_a_class_that_matches_no_column(check: Check, column: str) -> None:
    problems = check(columns=f'"shop:public.customers.email", "{column}"')
    name = column.partition(":")[2].replace("\\", "")
    assert told(problems) == [(15, f"the class 'ssn' matches no column: shop has no {name}")]
    assert problems[0].column == 58


@pytest.mark.parametrize(
    ("user", "messages"),
    [
        ("super", ["this credential is a superuser"]),
        ("bypass", ["this credential is not bound by row security (BYPASSRLS)"]),
        ("files", ["this credential is a member of pg_read_server_files"]),
        (
            "inherits",
            [
                "this credential is a member of pg_execute_server_program",
                "this credential is a member of pg_write_server_files",
            ],
        ),
        ("becomes", ["this credential is a member of bypass, which is not bound by row security (BYPASSRLS)"]),
        ("creator", ["this credential is able to grant itself other roles (CREATEROLE)"]),
    ],
)
def test_a_dangerous_credential(check: Check, user: str, messages: list[str]) -> None:
    assert told(check(user=user)) == [(13, message) for message in messages]
    assert told(check(user=user, more="accept_superuser: true")) == []


def test_a_second_credential_is_looked_at_too(check: Check, cluster: Cluster) -> None:
    credentials = "      other: {user: bypass, password: {file: bypass.secret}}\n"
    with pytest.raises(Exception, match=r"bypass\.secret"):
        check(credentials=credentials)
    credentials = "      other: {user: migrator, password: {env: PW2}, set_role: bypass}\n"
    problems = check(credentials=credentials)
    assert [each.line for each in problems] == [14]
    assert 'permission denied to set role "bypass"' in problems[0].message


@contextmanager
def login(port: int, application: str) -> Iterator[None]:
    """Somebody is logged in as `watched`, under that application name."""
    loop = asyncio.new_event_loop()
    try:
        connection = loop.run_until_complete(
            asyncpg.connect(
                host="127.0.0.1",
                port=port,
                user="watched",
                password="watched-pw",
                database="shop",
                server_settings={"application_name": application},
            )
        )
        yield
        loop.run_until_complete(connection.close())
    finally:
        loop.close()


@pytest.mark.parametrize("application", [SESSION, "penstock", "penstock/catalog"])
def test_the_gateways_own_sessions_are_no_strangers(check: Check, cluster: Cluster, application: str) -> None:
    with login(cluster.port, application):
        assert told(check(user="watched")) == []


@pytest.mark.parametrize(
    "application", ["psql", "", SESSION.replace("agent-7", "agent-8"), "agent-7/xyz", SESSION + "0", "a\tb"]
)
def test_logins_past_the_gateway(check: Check, cluster: Cluster, application: str) -> None:
    with login(cluster.port, application):
        problems = check(user="watched")
    shown = application.replace("\t", "?")
    assert told(problems) == [(13, f"watched is logged in past the gateway, from 127.0.0.1/32 as '{shown}'")]


def test_masks_that_do_not_fit_a_type(check: Check) -> None:
    asked: list[tuple[str, int]] = []

    def fits(mask: str, oid: int) -> bool:
        asked.append((mask, oid))
        return oid != 1082

    problems = check(columns='"shop:public.customers.*"', mask="{keep_last: 4}", mask_fits=fits)
    assert told(problems) == [(15, "the mask of 'ssn' leaves no valid date in public.customers.born")]
    assert {mask for mask, _ in asked} == {'{"keep_last":4}'}
    # A domain is asked about as the type it stands on.
    assert {oid for _, oid in asked} == {23, 25, 1082}


def test_an_unreadable_catalog(check: Check) -> None:
    problems = check(database="closed", user="blind")
    assert [each.line for each in problems] == [13]
    assert problems[0].message.startswith("the target's catalog cannot be read: permission denied")


def test_a_wrong_password(check: Check) -> None:
    problems = check(password="wrong")
    assert [each.line for each in problems] == [13]
    assert "does not let reader in" in problems[0].message
    assert "wrong" not in problems[0].message


def test_a_missing_database(check: Check) -> None:
    assert told(check(database="nowhere")) == [(8, 'database "nowhere" does not exist')]


def test_nobody_listens(check: Check) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        problems = check(address=f"127.0.0.1:{probe.getsockname()[1]}")
    assert [each.line for each in problems] == [7]
    assert "is the target running" in (problems[0].hint or "")


def test_somebody_listens_and_says_nothing(check: Check) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        problems = check(address=f"127.0.0.1:{mute.getsockname()[1]}", seconds=1)
    assert [each.line for each in problems] == [7]


@pytest.mark.parametrize(
    ("tls", "host", "message"),
    [
        ("{mode: disable}", "127.0.0.1", None),
        ("{mode: allow}", "127.0.0.1", None),
        ("{mode: require}", "127.0.0.1", None),
        ("{mode: verify-ca, ca: server-ca.pem}", "127.0.0.1", None),
        ("{mode: verify-full, ca: server-ca.pem}", "localhost", None),
        ("{mode: verify-full, ca: server-ca.pem}", "127.0.0.1", "certificate verify failed"),
        ("{mode: verify-full, ca: other.pem}", "localhost", "certificate verify failed"),
        ("{mode: require, cert: other.pem, key: other.key}", "127.0.0.1", None),
    ],
)
def test_tls_modes(check: Check, cluster: Cluster, tls: str, host: str, message: str | None) -> None:
    problems = check(tls=tls, address=f"{host}:{cluster.port}")
    if message is None:
        assert told(problems) == []
    else:
        assert [each.line for each in problems] == [7]
        assert message in problems[0].message
