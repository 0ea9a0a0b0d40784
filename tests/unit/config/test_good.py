"""Manifests with nothing wrong: what they load into, and what the native part gets to see."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from penstock.config import ConfigError, compile_settings, examine, from_data, load, manifest_hash, needs_restart
from penstock.config.report import exit_code, render_json, render_text
from penstock.config.settings import sources
from penstock.config.sources import Secret
from penstock.config.starter import starter_manifest

Write = Callable[[str], Path]


def test_the_good_manifest_loads(write: Write, good: str, environ: dict[str, str]) -> None:
    path = write(good)
    loaded = load(path, environ=environ)
    assert loaded.warnings == ()
    manifest = loaded.manifest
    assert [each.name for each in manifest.identities] == ["nightly-report", "agent-7"]
    assert [each.login for each in manifest.identities] == ["clear", "scram"]
    assert manifest.trail.store.path == path.parent / "trail"
    assert manifest.listeners.admin.bind.path == path.parent / "penstock.sock"
    assert manifest.state.url() == f"sqlite+aiosqlite:///{path.parent}/penstock.db"
    assert {file.name for file in loaded.files} == {"penstock.yaml", "gw.pem", "gw.key", "ca.pem", "shop.secret"}


def test_settings_have_the_agreed_shape(write: Write, good: str, environ: dict[str, str]) -> None:
    path = write(good)
    settings = orjson.loads(compile_settings(load(path, environ=environ).manifest, 3))
    assert settings["version"] == 1
    assert settings["generation"] == 3
    assert len(settings["hash"]) == 64
    assert settings["listeners"] == {
        "postgres": {
            "bind": "127.0.0.1:6432",
            "tls": {"cert": (path.parent / "gw.pem").read_text(), "key": (path.parent / "gw.key").read_text()},
        }
    }
    assert settings["trail"] == {
        "store": str(path.parent / "trail"),
        "durability": "process",
        "node": "local",
        "segment_bytes": 64 << 20,
    }
    assert settings["spool"] == {"directory": str(path.parent / "spool"), "bytes": 1 << 30}
    assert settings["session"] == {"max_seconds": 8 * 3600}
    assert settings["limits"] == {
        "connections": 1000,
        "connections_per_identity": 100,
        "login_seconds": 15,
        "message_bytes": 64 << 20,
        "statement_bytes": 1 << 20,
        "threads": None,
        "statements_per_second": None,
        "memory_bytes": 512 << 20,
    }
    (target,) = settings["targets"]
    assert target["tls"] == {
        "mode": "verify-full",
        "ca": (path.parent / "ca.pem").read_text(),
        "cert": None,
        "key": None,
    }
    assert target["credentials"] == {
        "default": {"user": "penstock_ro", "password": "s3cret-ro", "set_role": None, "cert": None, "key": None},
        "migrator": {
            "user": "penstock_rw",
            "password": "s3cret-rw",
            "set_role": "app_owner",
            "cert": None,
            "key": None,
        },
    }
    assert target["unclassified"] == {"default": "scan", "except": []}
    assert target["record"] == {"results": "full"}
    assert target["connect_seconds"] == 10
    assert target["accept_superuser"] is False
    assert settings["classes"][0]["mask"] == {"keep_last": 4}
    assert settings["classes"][1]["mask"] == {"replace": "****"}
    assert settings["classes"][2]["mask"] == {"hmac": {"key": environ["MASK_KEY"].encode().hex(), "id": "k1"}}
    assert settings["rules"][0] == {
        "name": "pipelines read the shop",
        "who": ["group:pipelines"],
        "to": ["env:prod"],
        "except": [],
        "allow": ["read"],
        "functions": [],
        "reveal": ["email"],
        "as": None,
        "deny": None,
        "hold": None,
    }
    assert settings["rules"][1]["deny"] == "sql.server_io"
    assert settings["rules"][2]["hold"] == {
        "when": "result.rows > 10000",
        "reviewers": ["data-owners"],
        "expires_seconds": 900,
        "in_transaction": None,
    }
    agent = settings["identities"][1]
    assert (agent["name"], agent["groups"], agent["login"], agent["mode"]) == (
        "agent-7",
        ["agents"],
        "scram",
        "enforce",
    )
    assert agent["tokens"][0]["verifier"].startswith("SCRAM-SHA-256$4096:")
    assert len(agent["tokens"][0]["id"]) == 10
    assert agent["tokens"][0]["expires"] is None


def test_the_settings_keys_are_exactly_the_contract(write: Write, good: str, environ: dict[str, str]) -> None:
    settings = orjson.loads(compile_settings(load(write(good), environ=environ).manifest, 1))
    assert list(settings) == [
        "version", "generation", "hash", "listeners", "trail", "spool", "session", "limits",
        "targets", "classes", "rules", "identities",
    ]  # fmt: skip
    assert list(settings["targets"][0]) == [
        "name", "protocol", "labels", "address", "databases", "server_names", "tls", "credentials", "unclassified",
        "mode", "record", "accept_superuser", "connect_seconds",
    ]  # fmt: skip


def test_blank_settings_hold_no_secret(write: Write, good: str, environ: dict[str, str]) -> None:
    loaded = load(write(good), environ=environ)
    blank = compile_settings(loaded.manifest, 1, blank=True).decode()
    for secret in ("s3cret", environ["MASK_KEY"], environ["MASK_KEY"].encode().hex(), "PRIVATE KEY"):
        assert secret not in blank
        assert secret not in repr(loaded)
        assert secret not in loaded.manifest.model_dump_json()


def test_the_hash_follows_the_text_and_not_the_secrets(write: Write, good: str, environ: dict[str, str]) -> None:
    path = write(good)
    first = manifest_hash(load(path, environ=environ).manifest)
    assert manifest_hash(load(path, environ={**environ, "SHOP_RO": "another"}).manifest) == first
    path.write_text(path.read_text().replace("allow: [read]", "allow: [write]"))
    assert manifest_hash(load(path, environ=environ).manifest) != first


def test_a_folder_of_files_is_one_manifest(folder: Path, write: Write, good: str, environ: dict[str, str]) -> None:
    whole = load(write(good), environ=environ).manifest
    text = (folder / "penstock.yaml").read_text()
    (folder / "penstock.yaml").unlink()
    at = text.index("classes:")
    (folder / "10-base.yaml").write_text(text[:at].replace('\n  admin: {bind: "unix:./penstock.sock"}', ""))
    rules = text[at:].splitlines(keepends=True)
    (folder / "20-rules.yml").write_text("version: 1\n" + "".join(rules[:-1]))
    (folder / "30-more.yaml").write_text(f'rules:\n{rules[-1]}listeners:\n  admin: {{bind: "unix:./penstock.sock"}}\n')
    (folder / ".hidden.yaml").write_text("nonsense: [")
    (folder / "notes.txt").write_text("nonsense: [")
    assert load(folder, environ=environ).manifest == whole


def test_names_said_twice_in_a_folder_name_both_places(folder: Path) -> None:
    (folder / "a.yaml").write_text('version: 1\nlisteners:\n  postgres: {bind: "127.0.0.1:1"}\nrules:\n'
                                   "  - {name: x, deny: 'true'}\n")  # fmt: skip
    (folder / "b.yaml").write_text(
        'listeners:\n  postgres: {bind: "127.0.0.1:2"}\nrules:\n  - {name: x, deny: "true"}\n'
    )
    _, problems = examine(folder)
    told = [(Path(each.file).name, each.line, each.message) for each in problems]
    assert told == [
        ("b.yaml", 2, f"'postgres' is said in another file already, at {folder}/a.yaml:3:3"),
        ("b.yaml", 4, f"the name 'x' is taken by another rule at {folder}/a.yaml:5:12"),
    ]


def test_versions_of_a_folder_must_agree(folder: Path) -> None:
    (folder / "a.yaml").write_text('version: 1\nlisteners: {postgres: {bind: "127.0.0.1:1"}}\n')
    (folder / "b.yaml").write_text("version: 2\n")
    with pytest.raises(ConfigError, match="said in another file already"):
        load(folder)


@pytest.mark.parametrize(
    ("old", "new", "path", "value"),
    [
        ("max: 8h", "max: 300s", "session.max_seconds", 300),
        ("max: 8h", "max: 2d", "session.max_seconds", 172800),
        ("session: {max: 8h}", "limits: {message: 128KiB}", "limits.message_bytes", 131072),
        ("session: {max: 8h}", "limits: {message: 65536}", "limits.message_bytes", 65536),
        ("session: {max: 8h}", "limits: {statements_per_second: 5}", "limits.statements_per_second", 5),
        ("session: {max: 8h}", "spool: {directory: /tmp/x, size: 2GiB}", "spool.bytes", 2 << 30),
        ("durability: process", "durability: disk", "trail.durability", "disk"),
        ("durability: process", "node: gw-2", "trail.node", "gw-2"),
        ("unclassified: scan", "unclassified: refuse", "targets.0.unclassified.default", "refuse"),
        ("unclassified: scan", "unclassified: {except: [a.b.c]}", "targets.0.unclassified.except", ["a.b.c"]),
        ("unclassified: scan", "record: {results: digest}", "targets.0.record.results", "digest"),
        ("unclassified: scan", "accept_superuser: true", "targets.0.accept_superuser", True),
        ("unclassified: scan", "connect: 3s", "targets.0.connect_seconds", 3),
        ("unclassified: scan", "server_names: [shop.example]", "targets.0.server_names", ["shop.example"]),
        ("10.0.0.5:5432", '"[2001:db8::1]:5432"', "targets.0.address", "[2001:db8::1]:5432"),
        ("{keep_last: 4}", "{keep_first: 2}", "classes.0.mask", {"keep_first": 2}),
        ("{keep_last: 4}", "{full: true}", "classes.0.mask", {"full": True}),
        ("{keep_last: 4}", "full", "classes.0.mask", {"full": True}),
        ("{keep_last: 4}", "{null: true}", "classes.0.mask", {"null": True}),
        (", mask: {keep_last: 4}", "", "classes.0.mask", {"full": True}),
        ("expires: 15m", "in_transaction: wait", "rules.2.hold.in_transaction", "wait"),
        ("reveal: [email]", "as: migrator", "rules.0.as", "migrator"),
        ("reveal: [email]", "except: [agent-7]", "rules.0.except", ["agent-7"]),
        ("reveal: [email]", "functions: [public.f, pg_sleep]", "rules.0.functions", ["public.f", "pg_sleep"]),
        ("shop:*.employees.ssn", "*:*.employees.ssn", "classes.0.columns.1", "*:*.employees.ssn"),
        ("shop:*.employees.ssn", 'shop:\\"a.b\\".t.\\"C d\\"', "classes.0.columns.1", 'shop:"a.b".t."C d"'),
        ('tokens: ["@agent-7@"]', 'mode: observe, tokens: ["@agent-7@"]', "identities.1.mode", "observe"),
        (
            'tokens: ["@agent-7@"]',
            'tokens: [{id: 0123456789, verifier: "@agent-7@", expires: 2099-01-02}]',
            "identities.1.tokens.0.expires",
            4070995200,
        ),
        (
            '"@agent-7@"',
            '{id: 12345678e9, verifier: "@agent-7@"}',
            "identities.1.tokens.0.id",
            "12345678e9",
        ),
        ('["@agent-7@"]', '["@agent-7@", "@agent-7/2@"]', "identities.1.name", "agent-7"),
    ],
)
def test_every_way_to_say_it(
    write: Write, good: str, environ: dict[str, str], old: str, new: str, path: str, value: object
) -> None:
    assert old in good
    if "0123456789" in new:
        new = new.replace("id: 0123456789", 'id: "0123456789"')
    found = orjson.loads(compile_settings(load(write(good.replace(old, new)), environ=environ).manifest, 1))
    for step in path.split("."):
        found = found[int(step)] if isinstance(found, list) else found[step]
    assert found == value


@pytest.mark.parametrize(("address", "mode"), [("127.0.0.1:5432", "prefer"), ("db.example:5432", "verify-full")])
def test_tls_left_out_depends_on_where_the_target_is(
    write: Write, good: str, environ: dict[str, str], address: str, mode: str
) -> None:
    text = good.replace("10.0.0.5:5432", address).replace("    tls: {mode: verify-full, ca: ca.pem}\n", "")
    settings = orjson.loads(compile_settings(load(write(text), environ=environ).manifest, 1))
    tls = settings["targets"][0]["tls"]
    assert tls["mode"] == mode
    assert (tls["ca"] is None) == (mode == "prefer")


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("127.0.0.1:6432", "0.0.0.0:6432", None, None),
        (", tls: {cert: gw.pem, key: gw.key}", "", None, None),
        ('"127.0.0.1:6432", tls: {cert: gw.pem, key: gw.key}', '"0.0.0.0:6432"', 3, "without TLS"),
        ("mode: enforce", "mode: observe", 27, "shop is only observed"),
        ("github:group:dba", "corp:group:dba", 33, "there is no issuer 'corp'"),
        (", secret: {env: HOOK}", "", 33, "not signed"),
        ('"@agent-7@"', '{verifier: "@agent-7@", expires: 2020-01-01}', 15, "expired"),
    ],
)
def test_doubts_are_warnings(
    write: Write, good: str, environ: dict[str, str], old: str, new: str, line: int | None, message: str | None
) -> None:
    assert old in good
    warnings = load(write(good.replace(old, new)), environ=environ).warnings
    assert [each.level for each in warnings] == ["warning"] * (line is not None)
    if message is not None:
        assert warnings[0].line == line
        assert message in warnings[0].message
        assert warnings[0].text().split(": ")[1] == "warning"


def test_a_secret_that_others_can_read_is_a_warning(
    folder: Path, write: Write, good: str, environ: dict[str, str]
) -> None:
    (folder / "shop.secret").chmod(0o644)
    (folder / "gw.key").chmod(0o644)
    warnings = load(write(good), environ=environ).warnings
    assert {each.line for each in warnings} == {3, 25}
    assert all("other users" in each.message for each in warnings)
    assert all((each.hint or "").startswith("chmod 600") for each in warnings)


def test_a_shared_state_database_wants_named_nodes(write: Write, good: str, environ: dict[str, str]) -> None:
    shared = good.replace('"sqlite:///penstock.db"', '"postgresql://penstock@db.example/state", password: {env: HOOK}')
    _, problems = examine(write(shared), environ=environ)
    assert [(each.line, each.level, each.message) for each in problems] == [
        (5, "error", "gateways that share a state database need names")
    ]
    manifest = load(write(shared.replace("durability:", "node: gw-1, durability:")), environ=environ).manifest
    assert manifest.state.url() == "postgresql+asyncpg://penstock:hook-key@db.example/state"
    assert manifest.state.database.shared


def test_what_needs_a_restart(folder: Path, write: Write, good: str, environ: dict[str, str]) -> None:
    old = load(write(good), environ=environ).manifest
    new = load(write(good.replace("6432", "6433").replace("./trail", "./elsewhere")), environ=environ).manifest
    assert needs_restart(old, new) == ["listeners", "trail"]
    live = good.replace("session: {max: 8h}", "session: {max: 1h}\nlimits: {memory: 64MiB}\nspool: {size: 1MiB}")
    assert needs_restart(old, load(write(live), environ=environ).manifest) == []
    threads = live.replace("memory: 64MiB", "threads: 3")
    assert needs_restart(old, load(write(threads), environ=environ).manifest) == ["limits.threads"]
    for name in ("pem", "key"):
        (folder / f"gw.{name}").write_bytes((folder / f"other.{name}").read_bytes())
    assert needs_restart(old, load(write(good), environ=environ).manifest) == []


def test_a_manifest_made_by_the_program(folder: Path) -> None:
    data = {
        "version": 1,
        "listeners": {"postgres": {"bind": "127.0.0.1:0"}},
        "targets": [
            {
                "name": "t",
                "protocol": "postgres",
                "address": "127.0.0.1:1",
                "databases": ["d"],
                "credentials": {"default": {"user": "u", "password": Secret.of("hidden")}},
            }
        ],
    }
    manifest = from_data(data, directory=folder)
    assert orjson.loads(compile_settings(manifest, 1))["targets"][0]["credentials"]["default"]["password"] == "hidden"
    assert "hidden" not in repr(manifest) + manifest.model_dump_json()
    with pytest.raises(ConfigError, match=r"targets\.0"):
        from_data({**data, "targets": [{"name": "t"}]}, directory=folder)


def test_the_starter_loads(folder: Path, verifier: Callable[[str], str]) -> None:
    path = folder / "new.yaml"
    path.write_text(starter_manifest(verifier("agent-1")))
    loaded = load(path, environ={"SHOP_PASSWORD": "x"})
    assert loaded.warnings == ()
    assert loaded.manifest.rules[0].name == "agents read shop"


def test_every_source_is_found_by_its_path(write: Write, good: str, environ: dict[str, str]) -> None:
    manifest = load(write(good), environ=environ).manifest
    paths = {".".join(map(str, where)) for where, _ in sources(manifest)}
    assert {
        "listeners.postgres.tls.key",
        "listeners.admin.bind",
        "targets.0.credentials.migrator.password",
        "classes.2.mask.hmac.key",
        "reviewers.0.secret",
    } <= paths


def test_problems_as_json(write: Write, good: str) -> None:
    _, problems = examine(write(good), environ={})
    shown = json.loads(json.dumps([each.json() for each in problems]))
    assert [each["where"] for each in shown] == [
        ["targets", 0, "credentials", "default", "password"],
        ["classes", 2, "mask", "hmac", "key"],
        ["reviewers", 0, "secret"],
    ]
    assert set(shown[0]) == {"file", "line", "column", "where", "level", "message", "hint"}


def test_reports(write: Write, good: str, environ: dict[str, str]) -> None:
    assert (render_text([]), exit_code([])) == ("good", 0)
    path = write(good.replace("mode: enforce", "mode: observe"))
    _, problems = examine(path, environ=environ)
    assert render_text(problems).splitlines()[-1] == "1 warning"
    assert exit_code(problems) == 0
    _, problems = examine(path, environ={})
    assert render_text(problems).splitlines()[-1] == "3 errors"
    assert exit_code(problems) == 1
    shown = json.loads(render_json(problems))
    assert shown["good"] is False
    assert [each["line"] for each in shown["problems"]] == [24, 31, 33]


def test_thousands_of_entries_do_not_take_minutes(folder: Path) -> None:
    path = folder / "big.yaml"
    lines = ["version: 1", 'listeners: {postgres: {bind: "127.0.0.1:0"}}', "rules:"]
    lines += [f"  - {{name: r{number}, who: [nobody-{number}], allow: [read]}}" for number in range(1500)]
    lines += ["targets:"]
    lines += [
        f"  - {{name: t{number}, protocol: postgres, address: 'h:1', tls: {{mode: require}}, "
        f"databases: [d{number}], credentials: {{default: {{user: u}}}}}}"
        for number in range(1500)
    ]
    path.write_text("\n".join(lines))
    began = time.monotonic()
    _, problems = examine(path)
    assert len(problems) == 1500
    assert time.monotonic() - began < 60
