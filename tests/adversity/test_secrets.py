"""No secret in logs, errors, metrics, the trail, the process list or on disk, whatever goes wrong with it."""

import copy
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from penstock.demo.cluster import Cluster
from penstock.demo.gateway import Gateway, command, write_manifest
from penstock.demo.issuer import Issuer
from penstock.demo.processes import free_port, wait_until
from penstock.demo.shop import Shop
from support.certificates import Authority
from support.clients import psql, run
from support.manifests import House, house, shop_target
from support.tokens import new_token
from support.wire import LoginRefused, Raw, startup


@dataclass
class Secrets:
    """Everything that must not be told, by what it is, and what clients were told."""

    hidden: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def new(self, what: str) -> str:
        """A secret nobody would find by chance."""
        self.hidden[what] = f"{what.replace(' ', '')}{secrets.token_hex(16)}"
        return self.hidden[what]

    def found(self, where: str, text: str) -> list[str]:
        """What of them stands in a text."""
        return [f"{what} in {where}" for what, secret in self.hidden.items() if secret in text]


@pytest.fixture
def own_role(postgres15: Cluster, shop: Shop) -> Iterator[tuple[str, str]]:
    """A role for the gateway whose password occurs nowhere else, and that password."""
    role, password = "told_nobody", f"targetpassword{secrets.token_hex(16)}"
    with psycopg.connect(postgres15.dsn(shop.database), autocommit=True) as admin:
        name = sql.Identifier(role)
        admin.execute(sql.SQL("create role {} login password {}").format(name, sql.Literal(password)))
        admin.execute(sql.SQL("grant {} to {}").format(sql.Identifier(shop.reader), name))
        yield role, password
        admin.execute(sql.SQL("drop role {}").format(name))


@dataclass
class Scene:
    """A gateway with a target it can log in to, one it cannot, and secrets of every kind."""

    own: Gateway
    house: House
    secrets: Secrets
    shop: Shop
    manifest: dict[str, Any]


@pytest.fixture
def scene(
    gateway: Callable[..., Gateway],
    postgres15: Cluster,
    shop: Shop,
    oidc_issuer: Issuer,
    authority: Authority,
    own_role: tuple[str, str],
) -> Scene:
    kept = Secrets()
    made = house(postgres15, shop, oidc_issuer)
    role, kept.hidden["target password"] = own_role
    made.environment |= {
        "OWN": kept.hidden["target password"],
        "WRONG": kept.new("wrong target password"),
        "HOOK": kept.new("webhook secret"),
        "PENSTOCK_DEMO_MASK_KEY": kept.new("mask key"),
    }
    for name, token in made.tokens.items():
        kept.hidden[f"token of {name}"] = token.text
    targets = made.manifest["targets"]
    targets[0]["credentials"]["default"] = {"user": role, "password": {"env": "OWN"}}
    locked = shop_target(postgres15, shop, name="locked", databases=["locked"])
    locked["credentials"]["default"] = {"user": role, "password": {"env": "WRONG"}}
    targets.append(locked)
    made.manifest["reviewers"][0] |= {"notify": [f"http://127.0.0.1:{free_port()}/hook"], "secret": {"env": "HOOK"}}
    pair = authority.sign("secret", hosts=("127.0.0.1",))
    kept.hidden["private key"] = pair.key.read_text().splitlines()[1]
    tls = {"cert": str(pair.certificate), "key": str(pair.key)}
    made.manifest["listeners"] = {"postgres": {"bind": f"127.0.0.1:{free_port()}", "tls": tls}}
    return Scene(gateway(made), made, kept, shop, made.manifest)


def refused(scene: Scene, user: str, password: str, database: str | None = None) -> None:
    """A login that must fail; what the client hears is noted."""
    with Raw(scene.own.host, scene.own.port, timeout=20) as raw, pytest.raises(LoginRefused) as refusal:
        raw.log_in(user, database or scene.shop.database, password)
    scene.secrets.told.append(str(refusal.value.fields))


def failing_logins(scene: Scene, issuer: Issuer) -> None:
    kept = scene.secrets
    refused(scene, "reader", new_token("reader").text)
    refused(scene, "writer", scene.house.token("reader"))
    refused(scene, "reader", kept.new("typed password"))
    for what, token in {
        "a foreign token": issuer.mint("s", repository="somebody/else", ref="refs/heads/main"),
        "an old token": issuer.mint("s", repository="shop/reports", ref="refs/heads/main", exp=1),
        "a static token in clear": kept.hidden["token of reader"],
        "nonsense in clear": kept.new("clear password"),
        "a broken token": f"eyJhbGciOiJub25lIn0.{kept.new('claims')}.{kept.new('signature')}",
    }.items():
        kept.hidden[what] = token
        refused(scene, "job", token)
    good = kept.hidden["a good token"] = issuer.mint("s", repository="shop/reports", ref="refs/heads/main")
    with Raw(scene.own.host, scene.own.port) as raw:
        raw.send(startup({"user": "job", "database": scene.shop.database}))
        raw.prove(good)
        raw.until("Z")
    # The target refuses the gateway's own password.
    refused(scene, "reader", scene.house.token("reader"), "locked")


def requests(scene: Scene, issuer: Issuer) -> None:
    kept, own = scene.secrets, scene.own
    admin = kept.new("admin token")
    for token in (admin, new_token("reviewer").text, kept.hidden["a foreign token"]):
        status, body = own.request("GET", "/v1/sessions", token=token)
        assert status in {401, 403}
        kept.told.append(str(body))
    for token in (kept.hidden["a foreign token"], kept.new("exchange token"), kept.hidden["token of reader"]):
        status, body = own.request("POST", "/v1/login", body={"identity": "job", "token": token})
        assert status == 401
        kept.told.append(str(body))
    good = issuer.mint("s", repository="shop/reports", ref="refs/heads/main")
    status, body = own.request("POST", "/v1/login", body={"identity": "job", "token": good})
    assert status == 200
    kept.hidden["exchanged token"] = body["token"]
    shop = scene.shop
    address = own.dsn(shop.database, user="job", password=body["token"], sslmode="require")
    outcome = psql(address, "select 1")
    assert outcome.out == "1\n", outcome
    # What a statement says of passwords is the client's secret.
    address = own.dsn(shop.database, user="everything", password=scene.house.token("everything"), sslmode="require")
    told = psql(
        address,
        f"alter role nobody_at_all password '{kept.new('role password')}'",
        f"create user mapping for nobody_at_all server nowhere options (password '{kept.new('server password')}')",
    )
    assert told.code != 0


def wrong_manifests(scene: Scene) -> None:
    """Manifests with secrets in them are refused, by a running gateway and by `check` and `serve`."""
    kept, own = scene.secrets, scene.own
    complete = {
        "version": 1,
        "state": {"database": f"sqlite:///{own.folder}/penstock.db"},
        "trail": {"store": "./trail"},
        **copy.deepcopy(scene.manifest),
    }
    password, key, address, state, token = (copy.deepcopy(complete) for _ in range(5))
    password["targets"][0]["credentials"]["default"]["password"] = kept.new("inline password")
    pem = f"-----BEGIN PRIVATE KEY-----\n{kept.new('inline key')}\n-----END PRIVATE KEY-----\n"
    key["listeners"]["postgres"]["tls"]["key"] = pem
    address["targets"][0]["address"] = f"postgresql://me:{kept.new('address password')}@10.0.0.5:5432"
    state["state"] = {"database": f"postgresql://me:{kept.new('state password')}@127.0.0.1/x"}
    token["identities"][0]["tokens"] = kept.hidden["token of reader"]
    for number, wrong in enumerate([password, key, address, state, token]):
        path = own.folder / f"wrong{number}.yaml"
        write_manifest(wrong, path)
        for arguments in (("check", str(path)), ("check", "--json", str(path)), ("serve", str(path))):
            said = run(*command(), *arguments, environment=scene.house.environment)
            assert said.code != 0, said
            assert f"wrong{number}.yaml" in said.out + said.err, said
            kept.told.append(said.out + said.err)
        path.unlink()
        refusals = own.process.log.read_text().count("manifest_refused")
        own.rewrite(wrong)
        wait_until(
            lambda before=refusals: own.process.log.read_text().count("manifest_refused") > before,  # type: ignore[misc]
            seconds=15,
            what="the manifest is refused",
        )
        kept.told.append(str(own.request("GET", "/healthz")))
    own.rewrite(complete)
    wait_until(lambda: own.request("GET", "/healthz")[1]["notes"] == {}, seconds=15, what="the manifest is good again")


def processes(root: int) -> str:
    """The command lines of a process and of all below it."""
    seen, waiting = "", [root]
    while waiting:
        own = Path("/proc") / str(waiting.pop())
        try:
            seen += (own / "cmdline").read_text().replace("\0", " ") + "\n"
            waiting += [int(each) for each in (own / "task" / own.name / "children").read_text().split()]
        except OSError:
            continue
    return seen


def stored(folder: Path) -> Iterator[tuple[str, str]]:
    """Everything the gateway wrote to disk, readable."""
    for path in folder.rglob("*"):
        if not path.is_file() or path.name == "penstock.yaml":
            continue
        data = path.read_bytes()
        if data[:4] == b"\x28\xb5\x2f\xfd":
            data += subprocess.run(["zstd", "-dc", str(path)], capture_output=True, check=False).stdout
        yield str(path.relative_to(folder)), data.decode("latin-1")


def test_no_secret_is_told_whatever_fails(scene: Scene, oidc_issuer: Issuer) -> None:
    own, kept = scene.own, scene.secrets
    listed = ""
    acts: list[Callable[[], object]] = [
        lambda: failing_logins(scene, oidc_issuer),
        lambda: requests(scene, oidc_issuer),
        lambda: wrong_manifests(scene),
    ]
    for act in acts:
        act()
        listed += processes(own.process.pid)
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    time.sleep(0.5)
    texts = {
        "an answer": "\n".join(kept.told),
        "the process list": listed + listing,
        "the metrics": str(own.request("GET", "/metrics")[1]),
        "the sessions": str(own.request("GET", "/v1/sessions", token=scene.house.token("reviewer"))[1]),
    }
    assert own.stop() == 0
    texts |= {f"the file {name}": text for name, text in stored(own.folder)}
    assert any("evidence" in name for name in texts), texts.keys()
    assert "login_failed" in texts["the file gateway.log"]
    assert "manifest_refused" in texts["the file gateway.log"]
    leaks = [leak for name, text in texts.items() for leak in kept.found(name, text)]
    assert not leaks
    # The search finds what is there: the name of a secret is told where its text is not.
    assert len(kept.hidden) > 25
    assert "told_nobody" in Path(own.manifest).read_text()
    assert Secrets({"it": "manifest_refused"}).found("the log", texts["the file gateway.log"])


def test_a_secret_in_the_manifest_stops_the_start_and_is_not_told(
    tmp_path: Path, postgres15: Cluster, shop: Shop
) -> None:
    secret = f"inline{secrets.token_hex(16)}"
    target = shop_target(postgres15, shop)
    target["credentials"] = {"default": {"user": "me", "password": secret}}
    path = tmp_path / "penstock.yaml"
    write_manifest({"version": 1, "listeners": {"postgres": {"bind": "127.0.0.1:0"}}, "targets": [target]}, path)
    said = run(*command(), "serve", str(path))
    assert said.code != 0
    assert "penstock.yaml:" in said.err
    assert "a secret must not stand in the manifest" in said.err
    assert "{env: NAME}" in said.err
    assert secret not in said.out + said.err
