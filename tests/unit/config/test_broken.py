"""Broken manifests, each told with its place, what is wrong and what to do.

A case replaces a part of the good manifest; `§` in the new text is where the problem must be reported, by line and
column. Exactly one problem may be reported: a mistake that drags others along hides the one that matters.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.config import ConfigError, examine, load

Write = Callable[[str], Path]

POSTGRES = '  postgres: {bind: "127.0.0.1:6432", tls: {cert: gw.pem, key: gw.key}}'
BIND = '"127.0.0.1:6432"'
ADMIN = '"unix:./penstock.sock"'
STATE = '"sqlite:///penstock.db"'
ISSUER = '{name: github, issuer: "https://token.actions.githubusercontent.com", audience: penstock}'
AGENT = '{name: agent-7, tokens: ["@agent-7@"], groups: [agents]}'
WHEN = '    when: claims.repository_id == "4711" && claims.ref == "refs/heads/main"\n'
TLS = "{mode: verify-full, ca: ca.pem}"
ADDRESS = "10.0.0.5:5432"
DEFAULT = "      default: {user: penstock_ro, password: {env: SHOP_RO}}\n"
RULE1 = '{name: pipelines read the shop, who: ["group:pipelines"], to: ["env:prod"], allow: [read], reveal: [email]}'
RULE2 = "{name: nothing touches the server's files, deny: sql.server_io}"
HOLD = 'hold: {when: "result.rows > 10000", reviewers: [data-owners], expires: 15m}'
SSN = (
    '{name: ssn, columns: ["shop:public.customers.ssn", "shop:*.employees.ssn"], '
    "detect: [us_ssn], mask: {keep_last: 4}}"
)
HMAC = "{hmac: {key: {env: MASK_KEY}, id: k1}}"
MEMBERS = '["github:group:dba"]'
OTHER_TARGET = (
    "  - {name: b, protocol: postgres, address: 'h:1', databases: [§shop], credentials: {default: {user: u}}}\n"
)

CASES: dict[str, tuple[str, str, str, str | None]] = {
    # YAML itself
    "tab": ("session: {max: 8h}", "session:\n§\tmax: 8h", "this is not YAML", None),
    "unclosed list": ("groups: [agents]}", "groups: [agents§}", "this is not YAML", None),
    "bad escape": (BIND, '"127\\§q"', "this is not YAML", None),
    "a key twice": ("version: 1", "version: 1\n§version: 1", "the key 'version' is there twice; first at", "keep one"),
    "a nested key twice": ("max: 8h", "max: 8h, §max: 9h", "the key 'max' is there twice", "keep one"),
    "two documents": ("rules:", "reviewers2: []\n§---\nrules:", "one document", "---"),
    "a tag": ("max: 8h", "max: §!!python/object:os.system 8h", "has no meaning in a manifest", "remove it"),
    "a merge key": ("max: 8h", "max: 8h, §<<: {max: 9h}", "merge keys", "write the keys out"),
    "an unknown alias": ("max: 8h", "max: §*eight", "there is no anchor for this alias", "in quotes"),
    "a list as a key": ("max: 8h", "max: 8h, §[a, b]: c", "a key must be a word", "quote"),
    # the top
    "no version": ("version: 1\n", "§", "the key 'version' is missing", "version: 1"),
    "version as text": ("version: 1", 'version: §"1"', "expected 1, found '1'", None),
    "another version": ("version: 1", "version: §2", "expected 1, found '2'", None),
    "misspelt part": ("session:", "§sesion:", "unknown key 'sesion'", "did you mean 'session'?"),
    "unknown part": ("session:", "§zebra: {}\nsession:", "unknown key 'zebra'", "--schema"),
    "part of the wrong shape": ("session: {max: 8h}", "session: §[8h]", "expected a mapping, found a list", None),
    "part without a value": ("session: {max: 8h}", "§session:", "expected a mapping, found nothing", "remove the key"),
    "budgets": ("session:", "§budget: {rows: 5}\nsession:", "'budget' is not enforced by this version", "remove it"),
    # listeners
    "bind without a port": (BIND, '§"127.0.0.1"', "has no port", "127.0.0.1:PORT"),
    "bind to a star": (BIND, '§"*:6432"', "is not an address", "0.0.0.0"),
    "bind to a name": (BIND, "§gateway.example:6432", "'gateway.example' is not an IP address", "address of this"),
    "bind beyond ports": (BIND, '§"127.0.0.1:65536"', "is not an address", "host:port"),
    "bind to bare IPv6": (BIND, '§"::1:6432"', "is not an address", "brackets"),
    "bind to false IPv6": (BIND, '§"[:::]:6432"', "is not an address", "host:port"),
    "bind to a socket": (BIND, '§"unix:./x"', "needs host:port", "admin"),
    "bind to a number": (BIND, "§6432", "expected text, found a number", "quotes"),
    "a protocol unknown": (POSTGRES, f"{POSTGRES}\n  §mysql: {{bind: '127.0.0.1:1'}}", "no protocol 'mysql'", "known"),
    "a listener misspelt key": ("tls: {cert", "§tsl: {cert", "unknown key 'tsl'", "did you mean 'tls'?"),
    "certificate without key": (", key: gw.key}}", "}}", "the key 'key' is missing", None),
    "certificate missing": ("gw.pem", "§gone.pem", "there is no file", "manifest's folder"),
    "certificate is a key": ("cert: gw.pem", "cert: §gw.key", "holds no certificate", "BEGIN CERTIFICATE"),
    "certificate damaged": ("ca: ca.pem", "ca: §damaged.pem", "cannot be read", None),
    "key with a passphrase": ("key: gw.key", "key: §locked.key", "has a passphrase", "openssl pkey"),
    "key of another": ("tls: {cert: gw.pem, key: gw", "tls: §{cert: gw.pem, key: other", "does not belong", "first"),
    "key is a folder": ("key: gw.key", "key: §.", "is not a regular file", None),
    "admin beyond the machine": (ADMIN, '§"0.0.0.0:9000"', "stays on this machine", "unix:PATH"),
    "admin without a path": (ADMIN, '§"unix:"', "path of the socket is missing", "penstock.sock"),
    "admin with a long path": (ADMIN, f'§"unix:{"x" * 120}"', "at most 107 bytes", "shorter"),
    # state, trail, spool, session, limits
    "state of another kind": (STATE, '§"mysql://db/x"', "not a database penstock can use", "sqlite:///"),
    "state with a secret": (STATE, '§"postgresql://me:pw@db/x"', "must not stand in the manifest", "password"),
    "state without a path": (STATE, '§"sqlite:///"', "path of the database is missing", None),
    "sqlite with a password": (f"{{database: {STATE}}}", "§{password: {env: HOOK}}", "has no password", "remove"),
    "durability": ("process}", "§fsync}", "expected process or disk, found 'fsync'", None),
    "segment too small": ("durability: process", "segment: §1KiB", "between 1MiB and 4GiB", None),
    "spool of nonsense": ("session: {max: 8h}", "spool: {size: §big}", "'big' is not a size", "1GiB"),
    "duration without a unit": ("max: 8h", "max: §8", "a duration needs a unit, found a number", "8h"),
    "duration of nonsense": ("max: 8h", "max: §8 hours", "'8 hours' is not a duration", "300s"),
    "duration out of bounds": ("max: 8h", "max: §30d", "between 60s and 7d", None),
    "limit as text": ("session: {max: 8h}", "limits: {connections: §many}", "a whole number, found text", None),
    "limit as truth": ("session: {max: 8h}", "limits: {connections: §true}", "whole number, found true or false", None),
    "limit of nothing": ("session: {max: 8h}", "limits: {connections: §0}", "between 1 and 1000000", None),
    "limit beyond the trail": ("session: {max: 8h}", "limits: {statement: §8MiB}", "between 1KiB and 4MiB", None),
    "limit of no rate": ("session: {max: 8h}", "limits: {statements_per_second: §0}", "1 and 10000000", None),
    "limit beyond another": (
        "session: {max: 8h}",
        "limits: §{memory: 64MiB, message: 65MiB}",
        "`message` is larger than `memory`",
        "raise limits.memory",
    ),
    "hold beyond a day": ("expires: 15m", "expires: §2d", "between 10s and 24h", None),
    "limit unknown": ("session: {max: 8h}", "limits: {§conections: 5}", "unknown key", "did you mean 'connections'?"),
    # issuers and identities
    "issuer over http": ("https://token", "http§://token", "http is accepted on this machine only", "https://"),
    "issuer without audience": (", audience: penstock}", "}", "the key 'audience' is missing", None),
    "issuer of a weak algorithm": ("audience: penstock", "audience: x, algorithms: [§HS256]", "found 'HS256'", "RS256"),
    "issuer of no algorithm": ("audience: penstock", "audience: x, algorithms: [§none]", "found 'none'", None),
    "issuer with empty keys": ("audience: penstock", "audience: x, jwks: §nokeys.json", "holds no keys", "keys"),
    "issuer with no JSON": ("audience: penstock", "audience: x, jwks: §notjson.json", "is not JSON", "keys"),
    "issuer with a bad name": (
        ISSUER,
        ISSUER + "\n  - " + ISSUER.replace("github,", "§git hub,"),
        "'git hub' is not a name",
        "letters",
    ),
    "issuer twice": (
        ISSUER,
        f"{ISSUER}\n  - {ISSUER.replace('github,', '§github,')}",
        "taken by another issuer",
        "own",
    ),
    "identity of an unknown issuer": ("issuer: github\n", "issuer: §gitlab\n", "there is no issuer 'gitlab'", "github"),
    "identity without when": (WHEN, "", "every token of the issuer would prove", "add when"),
    "identity proven twice": (AGENT, "§" + AGENT.replace("tokens", "issuer: github, tokens"), "not both", "two"),
    "identity proven by nothing": (', tokens: ["@agent-7@"]', "", "nothing proves this identity", "tokens"),
    "identity without tokens": ('["@agent-7@"]', "§[]", "nothing proves this identity", "token new"),
    "identity with a long name": (
        '{name: agent-7, tokens: ["@agent-7@"]',
        "{name: §" + "a" * 37 + ', tokens: ["@agent-7@"]',
        "longer than 36",
        "application_name",
    ),
    "the token itself": ('"@agent-7@"', "§pst_0123456789_secret", "the token itself", "token new"),
    "not a verifier": ('"@agent-7@"', "§md5abc", "not a SCRAM-SHA-256 verifier", "token new"),
    "a verifier cut off": ('"@agent-7@"', '§"SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$AAAA:AAAA"', "length", "cut"),
    "a verifier damaged": ('"@agent-7@"', '§"SCRAM-SHA-256$4096:A=A$B=B:C=C"', "base64 is damaged", "cut off"),
    "another's verifier": ('"@agent-7@"', '§"@nobody@"', "not made for the identity 'agent-7'", "token new agent-7"),
    "two salts": ('"@agent-7@"', '"@agent-7@", §"@nobody@"', "not made for the identity 'agent-7'", "renamed"),
    "three live tokens": ('"@agent-7@"', '"@agent-7@", "@agent-7/2@", §"@agent-7/3@"', "at most two", "rotated out"),
    "a token twice": ('"@agent-7@"', '"@agent-7@", §"@agent-7@"', "this token is also at", "never shared"),
    "a token's bad id": ('"@agent-7@"', '{id: §A-1, verifier: "@agent-7@"}', "10 small letters", "pst_<id>_"),
    "a token's bad date": ('"@agent-7@"', '{verifier: "@agent-7@", expires: §soon}', "not a date", "2027-01-31"),
    "groups as text": ("groups: [agents]", "groups: §agents", "expected a list, found text", "[agents]"),
    "a group twice": ("groups: [agents]", "groups: §[agents, agents]", "'agents' is in the list twice", "remove"),
    "identity's bad mode": ('tokens: ["@agent-7@"]', 'mode: §watch, tokens: ["@agent-7@"]', "found 'watch'", "enforce"),
    # targets
    "target of no protocol": ("protocol: postgres\n", "protocol: §postgre\n", "no protocol 'postgre'", "'postgres'"),
    "target without a port": (ADDRESS, "§10.0.0.5", "'10.0.0.5' has no port", "10.0.0.5:PORT"),
    "target as a URL": (ADDRESS, "§postgres://db:5432", "is a URL", "host:port"),
    "target over a socket": (ADDRESS, "§/run/postgresql", "over TCP", "host:port"),
    "target at port 0": (ADDRESS, "§10.0.0.5:0", "port 0 reaches nothing", None),
    "target without databases": ("databases: [shop]", "databases: §[]", "must not be empty", None),
    "target's label as number": ("team: sales", "team: §7", "expected text, found a number", "quotes"),
    "target's label's key": ("team: sales", "§te am: sales", "characters that are not allowed", None),
    "tls mode unknown": ("mode: verify-full", "mode: §verify_full", "found 'verify_full'", "'verify-full'"),
    "tls mode false": ("mode: verify-full", "mode: §off", "found 'off'", "verify-full"),
    "tls without a CA": (TLS, "§{mode: verify-ca}", "verify-ca needs a CA", "system"),
    "tls certificate alone": (TLS, "§{mode: require, cert: gw.pem}", "needs both cert and key", "missing"),
    "no default credential": (DEFAULT, "", "the credential `default` is missing", "as:"),
    "a password in the open": ("{env: SHOP_RO}", "§hunter2", "must not stand in the manifest", "{env: NAME}"),
    "a variable not set": ("{env: SHOP_RO}", "§{env: UNSET}", "variable UNSET is not set", "export UNSET"),
    "a variable empty": ("{env: SHOP_RO}", "§{env: EMPTY}", "variable EMPTY is empty", None),
    "a secret of two sources": ("{env: SHOP_RO}", "§{env: A, file: B}", "exactly one of env and file", None),
    "a secret's file missing": ("{file: shop.secret}", "§{file: gone.secret}", "there is no file", "manifest's folder"),
    "a secret's file empty": ("{file: shop.secret}", "§{file: empty.secret}", "is empty", None),
    "unclassified unknown": ("unclassified: scan", "unclassified: §scann", "found 'scann'", "did you mean 'scan'?"),
    "unclassified except": (
        "unclassified: scan",
        "unclassified: {except: [§ssn]}",
        "not schema.table.column",
        "without",
    ),
    "target's bad mode": ("mode: enforce", "mode: §enforced", "found 'enforced'", "'enforce'"),
    "superuser as text": ("mode: enforce", "accept_superuser: §yes", "expected true or false, found text", None),
    "one database, two targets": (
        "classes:",
        OTHER_TARGET + "classes:",
        "the database 'shop' already leads to another target",
        "one target",
    ),
    # classes
    "class without a name": (SSN, "§{detect: [us_ssn], mask: full}", "the key 'name' is missing", None),
    "class of nothing": (SSN, "§{name: ssn}", "this class names nothing", "columns or detect"),
    "class twice": (SSN, SSN + "\n  - {name: §ssn, detect: [iban]}", "taken by another class", "own"),
    "column without a target": ("shop:*.employees.ssn", "x§", "names no target", "target:schema.table.column"),
    "column of an unknown target": ("shop:*.employees.ssn", "shp:*.e.ssn§", "there is no target 'shp'", "'shop'"),
    "column without a schema": ("shop:*.employees.ssn", "shop:e.ssn§", "is not schema.table.column", "shop:schema"),
    "column with a blank": ("shop:*.employees.ssn", "shop:e.s s.n§", "is not schema.table.column", None),
    "two masks": ("{keep_last: 4}", "§{keep_last: 4, full: true}", "one mask, found keep_last and full", "keep one"),
    "no mask": ("{keep_last: 4}", "§{}", "the mask is missing", "keep_last"),
    "null mask": ("{keep_last: 4}", "§null", "the mask is missing", "{null: true}"),
    "unknown mask": ("{keep_last: 4}", "{§keep_lst: 4}", "unknown key 'keep_lst'", "did you mean 'keep_last'?"),
    "mask keeps nothing": ("{keep_last: 4}", "{keep_last: §0}", "between 1 and 64", "full: true"),
    "mask that is false": ("{keep_last: 4}", "{full: §false}", "can only be true", None),
    "mask without a key's id": (HMAC, "{hmac: §{key: {env: MASK_KEY}}}", "the key 'id' is missing", None),
    "mask with a short key": (HMAC, "{hmac: §{key: {env: SHOP_RO}, id: k1}}", "shorter than 16 bytes", "openssl rand"),
    "mask with a long key": (HMAC, "{hmac: §{key: {file: ca.pem}, id: k1}}", "longer than 64 bytes", "openssl rand"),
    "mask with a key's odd id": (HMAC, "{hmac: {key: {env: MASK_KEY}, id: §k.1}}", "a key's id is", "k1"),
    "mask by nothing": ("{keep_last: 4}", '{replace: §""}', "the replacement is empty", "****"),
    "mask with an open key": (HMAC, "{hmac: {key: §abc, id: k1}}", "must not stand in the manifest", "{env: NAME}"),
    # reviewers
    "member of no kind": (MEMBERS, "§[dba]", "'dba' is not a member", "ISSUER:group:NAME"),
    "member unknown": (MEMBERS, '[§"identity:agent-8"]', "there is no identity 'agent-8'", "'agent-7'"),
    "member of an unknown group": (MEMBERS, '[§"group:agent"]', "no identity is in the group 'agent'", "'agents'"),
    "webhook over http": ("https://hooks.example/p", "http://hooks.example/p§", "http is accepted", "https://"),
    "webhook with a password": ("https://hooks.example/p", "https://a:b@hooks.example/p§", "must not carry", "secrets"),
    # rules
    "rule of nothing": (RULE2, "§{name: idle}", "this rule does nothing", "allow, deny and hold"),
    "rule of two things": (RULE2, '§{name: x, allow: [read], deny: "true"}', "found allow and deny", "several rules"),
    "rule twice": (RULE2, f"{RULE2}\n  - {{name: §nothing touches the server's files, deny: x}}", "taken by", "own"),
    "rule without a name": (RULE2, "§{deny: sql.server_io}", "the key 'name' is missing", None),
    "rule for nobody": ("group:pipelines", "group:pipeline§", "in the group 'pipeline'", "'pipelines'"),
    "rule for an unknown": ('["group:pipelines"]', "[§nobody]", "there is no identity 'nobody'", "known"),
    "rule for a bare group": ('["group:pipelines"]', "[§pipelines]", "no identity 'pipelines'", "'group:pipelines'"),
    "rule for an odd kind": ("group:pipelines", "role:x§", "names nobody", "group:NAME"),
    "rule for an empty list": ('["group:pipelines"]', "§[]", "this list must not be empty", "remove the key"),
    "rule to an unknown target": ('["env:prod"]', "[§shoq]", "there is no target 'shoq'", "'shop'"),
    "rule to an unknown label": ("env:prod", "env:prd§", "no target has the label 'env:prd'", "'env:prod'"),
    "rule except an unknown": ("reveal: [email]", "except: [§agent7]", "no identity 'agent7'", "'agent-7'"),
    "rule of an unknown preset": ("[read]", "[§reed]", "found 'reed'", "did you mean 'read'?"),
    "rule of an empty allow": ("[read]", "§[]", "must not be empty", None),
    "rule of a bare allow": ("[read]", "§read", "expected a list, found text", "[read]"),
    "rule reveals an unknown": ("reveal: [email]", "reveal: [§e-mail]", "there is no class 'e-mail'", "'email'"),
    "rule as an unknown": ("reveal: [email]", "as: §migrater", "has no credential 'migrater'", "'migrator'"),
    "reveal without allow": (RULE2, "§{name: x, reveal: [email], deny: 'true'}", "`reveal` belongs", "allow:"),
    "an empty deny": ("deny: sql.server_io", 'deny: §""', "must not be empty", "true"),
    "a deny that is true": ("deny: sql.server_io", "deny: §true", "expected text, found true or false", None),
    "hold without when": (HOLD, "hold: §{reviewers: [data-owners]}", "the key 'when' is missing", None),
    "hold without reviewers": (HOLD, "hold: §{when: 'true'}", "the key 'reviewers' is missing", None),
    "hold by unknowns": (
        "reviewers: [data-owners]",
        "reviewers: [§data-owner]",
        "no reviewers 'data-owner'",
        "owners'",
    ),
    "hold by nobody": ("reviewers: [data-owners]", "reviewers: §[]", "must not be empty", None),
    "hold too short": ("expires: 15m", "expires: §1s", "between 10s and 24h", None),
    "hold in transaction": ("expires: 15m", "in_transaction: §abort", "refuse or wait, found 'abort'", None),
    "a rule's budget": ("reveal: [email]", "§budget: 5", "'budget' is not enforced", "would look enforced"),
    "a class's expressions": ("detect: [email]", "§expressions: [x]", "'expressions' is not enforced", None),
    "a rule's predicates": ("reveal: [email]", "§predicates: [x]", "'predicates' is not enforced", None),
    "a rule misspelt": ("reveal: [email]", "§revael: [email]", "unknown key 'revael'", "did you mean 'reveal'?"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_mistake_one_problem(name: str, write: Write, good: str, environ: dict[str, str]) -> None:
    old, new, message, hint = CASES[name]
    assert good.count(old) >= 1, f"{old} is not in the good manifest"
    text = good.replace(old, new, 1)
    path = write(text)
    text = path.read_text()
    path.write_text(text.replace("§", ""))
    _, problems = examine(path, environ=environ)
    assert len(problems) == 1, "\n".join(each.text() for each in problems)
    (problem,) = problems
    assert message in problem.message
    if hint is not None:
        assert hint in (problem.hint or "")
    assert problem.level == "error"
    assert problem.file == str(path)
    if "§" in text:
        assert (problem.line, problem.column) == _place(text), problem.text()
    with pytest.raises(ConfigError):
        load(path, environ=environ)


def _place(text: str) -> tuple[int, int]:
    """Line and column of the mark; a mark behind a quoted text stands for where that text begins."""
    at = text.index("§")
    line = text.count("\n", 0, at) + 1
    start = text.rfind("\n", 0, at) + 1
    if text[at + 1 : at + 2] in ('"', ":") and text.count('"', start, at) % 2 == 1:
        at = text.rindex('"', 0, at)
    return line, at - start + 1


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 80


def test_all_mistakes_are_told_at_once(write: Write, good: str, environ: dict[str, str]) -> None:
    text = good
    for old, new in (
        ("127.0.0.1:6432", "127.0.0.1"),
        ("durability: process", "durability: never"),
        ("issuer: github\n", "issuer: gitlab\n"),
        ("10.0.0.5:5432", "10.0.0.5"),
        ("{env: SHOP_RO}", "{env: UNSET}"),
        ("{keep_last: 4}", "{keep_last: 400}"),
        ("allow: [read]", "alow: [read]"),
        ("reviewers: [data-owners]", "reviewers: [data-ownrs]"),
    ):
        text = text.replace(old, new)
    _, problems = examine(write(text), environ=environ)
    assert [each.line for each in problems] == [3, 6, 12, 20, 24, 29, 35, 37]
    assert [each.line for each in problems] == sorted(each.line for each in problems)


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"", 1, "the manifest is empty"),
        (b"# nothing\n", 1, "the manifest is empty"),
        (b"- a\n- b\n", 1, "a manifest is a mapping"),
        (b"just text\n", 1, "a manifest is a mapping"),
        (b"version: 1\nname: \xff\xfe\n", 2, "this is not UTF-8 text"),
        (b"version: 1\nname: \x00\n", 1, "this is not YAML"),
        (b"a: &a [*a]\n", 1, "*a stands inside itself"),
        (b"version: 1\n" + b"x: " + b"[" * 40 + b"]" * 40, 2, "nest at most 32 deep"),
        (b"version: 1\n" + b"x: " + b"[" * 20_000, 2, "nest at most 32 deep"),
        (b"version: 1\n" + b"#" * (4 * 1024 * 1024), 1, "larger than 4 MiB"),
        (b"%YAML 99999999999999999999999.1\n---\nversion: 1\n", 1, "this is not YAML"),
    ],
)
def test_files_that_are_no_manifest(folder: Path, content: bytes, line: int, message: str) -> None:
    path = folder / "penstock.yaml"
    path.write_bytes(content)
    _, problems = examine(path)
    assert (problems[0].line, message in problems[0].message) == (line, True), problems[0].text()


def test_a_bomb_of_aliases_is_bounded(folder: Path) -> None:
    lines = ["version: 1", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 12)]
    path = folder / "penstock.yaml"
    path.write_text("\n".join(lines) + "\n")
    _, problems = examine(path)
    assert any("200,000 nodes" in each.message for each in problems)


def test_an_alias_may_stand_for_a_value(write: Write, good: str, environ: dict[str, str]) -> None:
    text = good.replace("{env: SHOP_RO}", "&secret {env: SHOP_RO}").replace("{file: shop.secret}", "*secret")
    manifest = load(write(text), environ=environ).manifest
    password = manifest.targets[0].credentials["migrator"].password
    assert password is not None
    assert password.reveal() == "s3cret-ro"


@pytest.mark.parametrize("name", ["gone.yaml", "gone/penstock.yaml", "penstock.yaml\0"])
def test_a_manifest_that_is_not_there(folder: Path, name: str) -> None:
    _, problems = examine(folder / name)
    assert "the manifest cannot be read" in problems[0].message


def test_a_folder_without_manifests(tmp_path: Path) -> None:
    _, problems = examine(tmp_path)
    assert problems[0].message == "there is no *.yaml in this folder"


def test_the_error_tells_everything(write: Write, good: str, environ: dict[str, str]) -> None:
    path = write(good.replace("max: 8h", "max: 8"))
    with pytest.raises(ConfigError) as caught:
        load(path, environ=environ)
    assert str(caught.value) == (
        "the manifest has 1 error\n"
        f"{path}:7:16: a duration needs a unit, found a number\n"
        "    hint: write 300s, 15m, 8h or 30d"
    )
