"""Who gets in: static tokens by SCRAM, signed tokens by clear password, and nobody else, all alike."""

import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.demo.cluster import Cluster, embedded_binaries
from penstock.demo.gateway import Gateway
from penstock.demo.issuer import Issuer
from penstock.demo.shop import Shop
from support.certificates import Authority, Pair
from support.clients import psql, run
from support.manifests import House, house, shop_target
from support.tokens import new_token
from support.wire import (
    CANCEL_REQUEST,
    GSSENC_REQUEST,
    PROTOCOL_3_0,
    PROTOCOL_3_2,
    LoginRefused,
    Raw,
    errors,
    query,
    request,
    rows,
    startup,
)

REFUSED = "identity could not be established"


@pytest.fixture(scope="session")
def gateway_certificate(authority: Authority) -> Pair:
    return authority.sign("gateway", hosts=("localhost", "127.0.0.1"))


@pytest.fixture
def tls_gateway(gateway: Callable[..., Gateway], standard: House, gateway_certificate: Pair, free_port: int) -> Gateway:
    tls = {"cert": str(gateway_certificate.certificate), "key": str(gateway_certificate.key)}
    listeners = {"postgres": {"bind": f"127.0.0.1:{free_port}", "tls": tls}}
    return gateway({**standard.manifest, "listeners": listeners}, environment=standard.environment)


def refusal(raw_gateway: Gateway, user: str, database: str, password: str) -> tuple[dict[str, str], float]:
    began = time.monotonic()
    with Raw(raw_gateway.host, raw_gateway.port) as raw, pytest.raises(LoginRefused) as refused:
        raw.log_in(user, database, password)
    return refused.value.fields, time.monotonic() - began


def test_static_token_by_scram(dsn: Callable[[str], str]) -> None:
    outcome = psql(dsn("reader"), "select 1")
    assert (outcome.code, outcome.out) == (0, "1\n"), outcome


def test_the_target_sees_the_credential_and_who_it_is_for(dsn: Callable[[str], str], shop: Shop) -> None:
    outcome = psql(dsn("reader"), "select current_user, current_setting('application_name')")
    user, application = outcome.lines[0].split("|")
    assert user == shop.reader
    assert application.startswith("reader/")


def test_oidc_token_as_clear_password_on_loopback(shop_gateway: Gateway, shop: Shop, oidc_issuer: Issuer) -> None:
    token = oidc_issuer.mint("repo:shop/reports", repository="shop/reports", ref="refs/heads/main")
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.send(startup({"user": "job", "database": shop.database}))
        assert raw.prove(token) == "clear"
        raw.until("Z")
        assert rows(raw.ask(query("select 7"))) == [[b"7"]]


@pytest.mark.parametrize(
    "claims",
    [
        {"repository": "somebody/else"},
        {"ref": "refs/heads/feature"},
        {"aud": "another-service"},
        {"exp": 1},
        {"exp": None},
        {"nbf": 4102444800, "exp": 4102448400},
        {"nbf": None},
        {"iss": "https://elsewhere.example"},
        {"iat": 1000000000, "nbf": 1000000000},
    ],
    ids=str,
)
def test_wrong_oidc_tokens(shop_gateway: Gateway, shop: Shop, oidc_issuer: Issuer, claims: dict[str, Any]) -> None:
    token = oidc_issuer.mint("s", **({"repository": "shop/reports", "ref": "refs/heads/main"} | claims))
    fields, _ = refusal(shop_gateway, "job", shop.database, token)
    assert fields["C"] == "28000"
    assert REFUSED in fields["M"]


def test_every_refusal_is_alike(shop_gateway: Gateway, shop: Shop, standard: House) -> None:
    good, wrong = standard.token("reader"), new_token("reader").text
    causes = {
        "wrong token": refusal(shop_gateway, "reader", shop.database, wrong),
        "another identity's token": refusal(shop_gateway, "writer", shop.database, good),
        "unknown user": refusal(shop_gateway, "stranger", shop.database, good),
        "no token at all": refusal(shop_gateway, "reader", shop.database, "x"),
    }
    texts = {
        cause: {key: value for key, value in fields.items() if key not in "FLR"}
        for cause, (fields, _) in causes.items()
    }
    assert len({str(text) for text in texts.values()}) == 1, texts
    spread = [seconds for _, seconds in causes.values()]
    assert max(spread) - min(spread) < 0.25, causes


def test_an_unknown_user_is_imitated_the_same_each_time(shop_gateway: Gateway, shop: Shop) -> None:
    seen = set()
    for _ in range(3):
        with Raw(shop_gateway.host, shop_gateway.port) as raw:
            raw.send(startup({"user": "stranger", "database": shop.database}))
            seen.add(raw.receive().body)
    assert len(seen) == 1
    assert struct.unpack_from("!I", seen.pop())[0] == 10


def test_two_live_tokens_and_an_expired_one(gateway: Callable[..., Gateway], postgres15: Cluster, shop: Shop) -> None:
    first, second, old = (new_token("agent") for _ in range(3))
    manifest = house(postgres15, shop)
    manifest.manifest["identities"].append(
        {
            "name": "agent",
            "tokens": [first.entry(), second.entry(), old.entry(expires="2020-01-01T00:00:00Z")],
            "groups": ["readers"],
        }
    )
    started = gateway(manifest)
    for token in (first, second):
        outcome = psql(started.dsn(shop.database, user="agent", password=token.text, sslmode="disable"), "select 1")
        assert outcome.code == 0, outcome
    fields, _ = refusal(started, "agent", shop.database, old.text)
    assert fields["C"] == "28000"


def test_an_identity_without_any_rule_gets_no_session(shop_gateway: Gateway, shop: Shop, standard: House) -> None:
    fields, _ = refusal(shop_gateway, "nobody", shop.database, standard.token("nobody"))
    assert fields["C"] in {"28000", "42501"}


def test_an_unknown_database_is_refused(shop_gateway: Gateway, standard: House) -> None:
    fields, _ = refusal(shop_gateway, "reader", "elsewhere", standard.token("reader"))
    assert fields["C"] in {"3D000", "28000"}


def test_tls_with_channel_binding(tls_gateway: Gateway, shop: Shop, standard: House, authority: Authority) -> None:
    address = tls_gateway.dsn(
        shop.database,
        user="reader",
        password=standard.token("reader"),
        sslmode="verify-full",
        sslrootcert=str(authority.certificate),
        channel_binding="require",
    )
    outcome = psql(address, "select 1")
    assert (outcome.code, outcome.out) == (0, "1\n"), outcome


def test_direct_tls_needs_alpn(tls_gateway: Gateway, shop: Shop, standard: House, authority: Authority) -> None:
    with Raw("localhost", tls_gateway.port) as raw:
        raw.start_tls(authority=str(authority.certificate), direct=True)
        raw.log_in("reader", shop.database, standard.token("reader"))
        assert rows(raw.ask(query("select 1"))) == [[b"1"]]
    with Raw("localhost", tls_gateway.port) as raw, pytest.raises((OSError, LoginRefused, AssertionError)):
        raw.start_tls(authority=str(authority.certificate), direct=True, alpn=None)
        raw.log_in("reader", shop.database, standard.token("reader"))


def test_bytes_smuggled_before_the_tls_handshake_end_the_connection(tls_gateway: Gateway, shop: Shop) -> None:
    with Raw(tls_gateway.host, tls_gateway.port) as raw:
        raw.send(request(80877103), startup({"user": "reader", "database": shop.database}))
        answer = raw.until_closed() if raw.take(1) == b"S" else []
        assert all(seen.tag == "E" for seen in answer)


def test_gss_encryption_is_declined(shop_gateway: Gateway, shop: Shop, standard: House) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.send(request(GSSENC_REQUEST))
        assert raw.take(1) == b"N"
        raw.log_in("reader", shop.database, standard.token("reader"))


def test_replication_is_refused(shop_gateway: Gateway, shop: Shop, standard: House) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as raw, pytest.raises(LoginRefused) as refused:
        raw.log_in("reader", shop.database, standard.token("reader"), replication="database")
    assert refused.value.fields["C"] == "0A000"


def test_protocol_3_2_and_unknown_options_are_negotiated(shop_gateway: Gateway, shop: Shop, standard: House) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in("reader", shop.database, standard.token("reader"), version=PROTOCOL_3_2)
        assert raw.key is not None
        assert len(raw.key[1]) == 32
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.send(startup({"user": "reader", "database": shop.database, "_pq_.unheard": "1"}, PROTOCOL_3_0 | 9999))
        first = raw.receive()
        assert first.tag == "v"
        assert struct.unpack_from("!II", first.body) == (PROTOCOL_3_2, 1)


@pytest.mark.parametrize("newest", ["3.0", "3.2"])
def test_psql_18(shop_gateway: Gateway, shop: Shop, standard: House, newest: str) -> None:
    binaries = embedded_binaries()
    assert binaries is not None
    address = shop_gateway.dsn(
        shop.database,
        user="reader",
        password=standard.token("reader"),
        sslmode="disable",
        min_protocol_version=newest,
        max_protocol_version=newest,
    )
    outcome = run(str(binaries / "psql"), "-XAtc", "select 1", address)
    assert (outcome.code, outcome.out) == (0, "1\n"), outcome


def test_start_up_settings_reach_the_target(shop_gateway: Gateway, shop: Shop, standard: House) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in(
            "reader", shop.database, standard.token("reader"), DateStyle="German", options="-c extra_float_digits=0"
        )
        assert raw.parameters["DateStyle"].startswith("German")
        assert rows(raw.ask(query("show extra_float_digits"))) == [[b"0"]]


def test_a_cancel_request_ends_its_own_session_s_query_only(shop_gateway: Gateway, shop: Shop, standard: House) -> None:
    token = standard.token("everything")
    with Raw(shop_gateway.host, shop_gateway.port) as one, Raw(shop_gateway.host, shop_gateway.port) as other:
        for raw in (one, other):
            raw.log_in("everything", shop.database, token)
        assert one.key is not None
        one.send(query("select pg_sleep(10)"))
        other.send(query("select pg_sleep(1), 5"))
        time.sleep(0.3)
        for guess in (b"\0" * len(one.key[1]), one.key[1]):
            with Raw(shop_gateway.host, shop_gateway.port) as canceller:
                canceller.send(request(CANCEL_REQUEST, struct.pack("!I", one.key[0]) + guess))
        began = time.monotonic()
        assert errors(one.until("Z"))[0]["C"] == "57014"
        assert time.monotonic() - began < 5
        assert not errors(other.until("Z"))


def test_a_cancel_request_that_has_ended_hits_nothing_later(shop_gateway: Gateway, shop: Shop, standard: House) -> None:
    with Raw(shop_gateway.host, shop_gateway.port) as raw:
        raw.log_in("everything", shop.database, standard.token("everything"))
        assert raw.key is not None
        for _ in range(10):
            with Raw(shop_gateway.host, shop_gateway.port) as canceller:
                canceller.send(request(CANCEL_REQUEST, struct.pack("!I", raw.key[0]) + raw.key[1]))
                assert canceller.until_closed() == []
            assert not errors(raw.ask(query("select pg_sleep(0.1)")))


@pytest.mark.parametrize("mode", ["disable", "prefer", "require", "verify-ca", "verify-full"])
def test_tls_modes_to_the_target(
    gateway: Callable[..., Gateway], standard: House, postgres15: Cluster, shop: Shop, authority: Authority, mode: str
) -> None:
    tls = {"mode": mode} | ({"ca": str(authority.certificate)} if mode.startswith("verify") else {})
    started = gateway(
        {**standard.manifest, "targets": [shop_target(postgres15, shop, tls=tls)]}, environment=standard.environment
    )
    address = started.dsn(shop.database, user="reader", password=standard.token("reader"), sslmode="disable")
    outcome = psql(address, "select ssl from pg_stat_ssl where pid = pg_backend_pid()")
    assert outcome.out == ("f\n" if mode == "disable" else "t\n"), outcome


def test_a_target_whose_certificate_is_another_authority_s(
    gateway: Callable[..., Gateway], standard: House, postgres15: Cluster, shop: Shop, tmp_path: Path
) -> None:
    tls = {"mode": "verify-full", "ca": str(Authority(tmp_path, "stranger").certificate)}
    started = gateway(
        {**standard.manifest, "targets": [shop_target(postgres15, shop, tls=tls)]}, environment=standard.environment
    )
    fields, _ = refusal(started, "reader", shop.database, standard.token("reader"))
    assert fields["C"].startswith("08")


@pytest.mark.parametrize("role", ["md5_user", "clear_user", "only_tls", "certified"])
def test_proofs_the_target_may_ask_for(
    gateway: Callable[..., Gateway], standard: House, postgres15: Cluster, shop: Shop, authority: Authority, role: str
) -> None:
    made = "set password_encryption = 'md5'" if role == "md5_user" else "set password_encryption = 'scram-sha-256'"
    psql(postgres15.dsn(), f"drop role if exists {role}")
    done = psql(postgres15.dsn(), made, options=("-c", f"{made}; create role {role} login password 'proof'"))
    assert done.code == 0, done
    credential: dict[str, object] = {"user": role, "password": {"env": "PROOF"}}
    if role == "certified":
        pair = authority.sign(role)
        credential = {"user": role, "cert": str(pair.certificate), "key": str(pair.key)}
    target = shop_target(postgres15, shop, credentials={"default": credential}, tls={"mode": "require"})
    rules = [{"name": "read", "who": ["group:readers"], "allow": ["read"]}]
    started = gateway(
        {**standard.manifest, "targets": [target], "rules": rules, "classes": []},
        environment={**standard.environment, "PROOF": "proof"},
    )
    address = started.dsn(shop.database, user="reader", password=standard.token("reader"), sslmode="disable")
    outcome = psql(address, "select current_user")
    assert outcome.out == f"{role}\n", outcome


def test_guessing_is_slowed_down(gateway: Callable[..., Gateway], standard: House, shop: Shop) -> None:
    started = gateway(standard)
    codes = [refusal(started, "reader", shop.database, "guess")[0]["C"] for _ in range(24)]
    assert "53300" in codes, codes
    assert psql(started.dsn(shop.database, user="reader", password="guess", sslmode="disable"), "select 1").code != 0


def test_no_secret_in_log_metrics_or_process_list(
    shop_gateway: Gateway, shop: Shop, standard: House, dsn: Callable[[str], str]
) -> None:
    assert psql(dsn("reader"), "select 1").code == 0
    refusal(shop_gateway, "reader", shop.database, standard.token("writer"))
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    _, metrics = shop_gateway.request("GET", "/metrics")
    texts = {"log": shop_gateway.process.log.read_text(), "process list": listing, "metrics": str(metrics)}
    for name, text in texts.items():
        for secret in (*(token.text for token in standard.tokens.values()), shop.reader_password, "StoredKey"):
            if len(secret) > 4:
                assert secret not in text, f"a secret is in the {name}"
