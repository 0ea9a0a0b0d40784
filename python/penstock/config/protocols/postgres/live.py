"""Looks at a PostgreSQL target the way the gateway will: with its credentials, over its TLS."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson

from penstock.config.live import Finding, LiveTarget, Pattern, Report
from penstock.config.models import Credential, Mask
from penstock.config.models.gateway import split_address
from penstock.config.tree import Where

APPLICATION = "penstock/check"
"""How this check calls itself on the target."""

_SESSION = re.compile(r"(?P<identity>[^/]+)/[0-7][0-9a-hjkmnp-tv-z]{25}\Z")
_SERVICE = re.compile(r"penstock(/[a-z]+)?\Z")
_PART = re.compile(r'"((?:[^"]|"")+)"|([^.]+)')
_FILES = ("pg_read_server_files", "pg_write_server_files", "pg_execute_server_program")

_POWERS = """
    SELECT r.rolname::text AS name, r.rolname = session_user AS own, r.rolsuper AS superuser,
           r.rolbypassrls AS bypassrls, r.rolcreaterole AS createrole
    FROM pg_catalog.pg_roles r
    WHERE pg_catalog.pg_has_role(session_user, r.oid, 'MEMBER')
      AND (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolname = ANY($1::text[]))
    ORDER BY own DESC, r.rolname
"""
_COLUMNS = """
    SELECT n.nspname::text || '.' || c.relname || '.' || a.attname AS name,
           CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END::bigint AS type,
           pg_catalog.format_type(a.atttypid, a.atttypmod) AS written
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind = ANY('{r,v,m,f,p}'::"char"[])
      AND CASE WHEN $2::bool THEN n.nspname = $1::text ELSE n.nspname ILIKE $1::text END
      AND CASE WHEN $4::bool THEN c.relname = $3::text ELSE c.relname ILIKE $3::text END
      AND CASE WHEN $6::bool THEN a.attname = $5::text ELSE a.attname ILIKE $5::text END
      AND ($7::bool OR n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
    ORDER BY 1 LIMIT 1000
"""
_LOGINS = """
    SELECT usename::text AS role, coalesce(application_name, '') AS application, client_addr::text AS address,
           coalesce(client_addr = inet_client_addr(), client_addr IS NULL AND inet_client_addr() IS NULL) AS ours
    FROM pg_catalog.pg_stat_activity
    WHERE usename = session_user AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()
    ORDER BY backend_start LIMIT 1000
"""


async def check(target: LiveTarget) -> Report:
    """Every credential in every database; the catalog with the default credential."""
    report = Report([], set())
    for name, credential in target.target.credentials.items():
        place = (*target.where, "credentials", name)
        for index, database in enumerate(target.target.databases):
            await _with_credential(target, place, (name, credential), (index, database), report)
    unique: dict[tuple[Where, str], Finding] = {(each.where, each.message): each for each in report.findings}
    return Report(list(unique.values()), report.matched)


async def _with_credential(
    target: LiveTarget, place: Where, named: tuple[str, Credential], database: tuple[int, str], report: Report
) -> None:
    name, credential = named
    try:
        async with _connected(target, credential, database[1]) as connection:
            await _look(target, place, connection, name == "default", report)
    except asyncpg.InvalidCatalogNameError as error:
        report.findings.append(Finding((*target.where, "databases", database[0]), str(error)))
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidParameterValueError) as error:
        report.findings.append(Finding(place, f"the target does not let {credential.user} in: {error}"))
    except asyncpg.InsufficientPrivilegeError as error:
        said = f"the target does not let {credential.user} do this: {error}"
        report.findings.append(Finding((*place, "set_role"), said))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        told = str(error) or type(error).__name__
        said = f"{target.target.name} cannot be checked in database {database[1]}: {told}"
        report.findings.append(Finding((*target.where, "address"), said, _connect_hint(error)))


def _connect_hint(error: Exception) -> str | None:
    if isinstance(error, ssl.SSLError):
        return "tls: mode and ca decide what is accepted of the target's certificate"
    if isinstance(error, ConnectionRefusedError):
        return "is the target running, and is the port right?"
    return "is the address reachable from here?" if isinstance(error, TimeoutError) else None


@asynccontextmanager
async def _connected(
    target: LiveTarget, credential: Credential, database: str
) -> AsyncIterator[asyncpg.Connection[Any]]:
    host, port = split_address(target.target.address)
    connection = await asyncpg.connect(
        host=host,
        port=port,
        user=credential.user,
        password=credential.password.reveal() if credential.password else "",
        database=database,
        ssl=_tls(target, credential),
        timeout=target.target.connect,
        command_timeout=15,
        server_settings={"application_name": APPLICATION},
    )
    try:
        if credential.set_role is not None:
            quoted = credential.set_role.replace('"', '""')
            await connection.execute(f'SET ROLE "{quoted}"')
        yield connection
    finally:
        await connection.close(timeout=5)


def _tls(target: LiveTarget, credential: Credential) -> Any:
    """What asyncpg understands: a mode by name where TLS may be left out, else a context."""
    tls = target.target.tls
    cert, key = credential.cert or tls.cert, credential.key or tls.key
    if tls.mode in ("disable", "allow", "prefer") and cert is None:
        return tls.mode
    if tls.mode == "disable":
        return False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.mode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if tls.mode.startswith("verify-") else ssl.CERT_NONE
    if tls.ca is not None:
        context.load_verify_locations(cadata=tls.ca.text.encode("ascii", "ignore").decode())
    if cert is not None and key is not None:
        context.load_cert_chain(cert.path, key.path, password=lambda: "")
    return context


async def _look(
    target: LiveTarget, place: Where, connection: asyncpg.Connection[Any], catalog: bool, report: Report
) -> None:
    try:
        if not target.target.accept_superuser:
            report.findings.extend(await _powers(place, connection))
        report.findings.extend(await _strangers(target, place, connection))
        if catalog:
            for pattern in target.patterns:
                report.findings.extend(await _columns(target, pattern, connection, report.matched))
    except asyncpg.InsufficientPrivilegeError as error:
        said = f"the target's catalog cannot be read: {error}"
        report.findings.append(Finding(place, said, "without it, classes cannot be applied and statements are refused"))


async def _powers(place: Where, connection: asyncpg.Connection[Any]) -> list[Finding]:
    """What this role can do, or can become by SET ROLE, that goes around every rule."""
    rows = await connection.fetch(_POWERS, list(_FILES))
    version = connection.get_server_version().major
    hint = "give the gateway a lesser role, or state the risk: accept_superuser: true"
    if any(row["own"] and row["superuser"] for row in rows):
        return [Finding(place, "this credential is a superuser", hint)]
    found = []
    for row in rows:
        via = "is" if row["own"] else f"is a member of {row['name']}, which is"
        if row["superuser"]:
            found.append(Finding(place, f"this credential {via} a superuser", hint))
        if row["bypassrls"]:
            found.append(Finding(place, f"this credential {via} not bound by row security (BYPASSRLS)", hint))
        if row["name"] in _FILES:
            found.append(Finding(place, f"this credential is a member of {row['name']}", hint))
        if row["createrole"] and version < 16:
            said = f"this credential {via} able to grant itself other roles (CREATEROLE)"
            found.append(Finding(place, said, hint))
    return found


async def _strangers(target: LiveTarget, place: Where, connection: asyncpg.Connection[Any]) -> list[Finding]:
    """Logins with the gateway's own role that the gateway did not make: somebody else knows its secret."""
    names = {identity.name for identity in target.manifest.identities}
    found = []
    for row in await connection.fetch(_LOGINS):
        session = _SESSION.match(row["application"])
        known = _SERVICE.match(row["application"]) or (session is not None and session["identity"] in names)
        # Another gateway of a shared state database connects from its own address.
        if known and (row["ours"] or target.manifest.state.database.shared):
            continue
        shown = "".join(each if each.isprintable() else "?" for each in row["application"])
        said = f"{row['role']} is logged in past the gateway, from {row['address'] or 'a local socket'} as '{shown}'"
        found.append(Finding(place, said, "change the password: it is known outside the gateway"))
    return found


async def _columns(
    target: LiveTarget, pattern: Pattern, connection: asyncpg.Connection[Any], matched: set[Where]
) -> list[Finding]:
    rows = await connection.fetch(_COLUMNS, *_parts(pattern.name))
    if rows:
        matched.add(pattern.where)
    return list(_unfit(target, pattern, rows))


def _unfit(target: LiveTarget, pattern: Pattern, rows: Iterable[Any]) -> Iterable[Finding]:
    """Columns whose type has no valid value that looks like the mask."""
    if target.mask_fits is None:
        return
    mask = _mask(pattern.of.mask)
    for row in rows:
        if not target.mask_fits(mask, row["type"]):
            said = f"the mask of '{pattern.of.name}' leaves no valid {row['written']} in {row['name']}"
            yield Finding(pattern.where, said, "use mask: {null: true}, or a class of its own for this column")


def _mask(mask: Mask) -> str:
    said = mask.model_dump(by_alias=True, exclude_none=True, exclude={"hmac"})
    if mask.hmac is not None:
        said = {"hmac": {"key": "00" * 32, "id": mask.hmac.id}}
    return orjson.dumps(said).decode()


def _parts(name: str) -> list[str | bool]:
    """For schema, table and column: what to compare with, and whether exactly. Last, whether system schemas count."""
    said: list[str | bool] = []
    for match in _PART.finditer(name):
        quoted, unquoted = match[1], match[2]
        if quoted is not None:
            said += [quoted.replace('""', '"'), True]
        else:
            escaped = re.sub(r"([\\%_])", r"\\\1", unquoted)
            said += [escaped.replace("*", "%"), False]
    named = said[1] is True or "%" not in str(said[0]).replace("\\%", "")
    return [*said, named]
