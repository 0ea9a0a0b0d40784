"""Tokens of issuers: what is accepted, and everything that is not."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from penstock.demo.issuer import AUDIENCE, Issuer, start_issuer
from penstock.errors import IssuerUnavailable, TokenRejected
from penstock.identity import keys, oidc
from penstock.identity import settings as identity_settings


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer of its own, whose keys a test may change."""
    with start_issuer() as started:
        yield started


def described(issuer: Issuer, **more: Any) -> identity_settings.Issuer:
    return identity_settings.Issuer(name="ci", url=issuer.address, audience=(AUDIENCE,), **more)


def verifier_for(issuer: Issuer, **more: Any) -> oidc.Verifier:
    verifier = oidc.Verifier()
    verifier.load({"ci": described(issuer, **more)})
    return verifier


async def rejected(verifier: oidc.Verifier, token: str) -> str:
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(token, "ci")
    return str(caught.value)


@pytest.mark.parametrize("key", ["rsa-1", "ec-1"])
async def test_a_signed_token_is_accepted(oidc_issuer: Issuer, key: str) -> None:
    claims = await verifier_for(oidc_issuer).verify(oidc_issuer.mint("job-1", key=key, groups=["a", 7, "b"]), "ci")
    assert (claims.issuer, claims.subject, claims.groups()) == ("ci", "job-1", ("a", "b"))


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
async def test_an_edwards_key_is_accepted(issuer: Issuer) -> None:
    key = OKPKey.generate_key("Ed25519", private=True)
    issuer.add_key("ed-1", key)  # type: ignore[arg-type]
    token = jwt.encode({"alg": "EdDSA", "kid": "ed-1"}, issuer.claims("job"), key, algorithms=["EdDSA"])
    assert (await verifier_for(issuer).verify(token, "ci")).subject == "job"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://elsewhere.example"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "someone-else"}, "another audience"),
        ({"aud": ["a", "b"]}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"aud": {"penstock": 1}}, "another audience"),
        ({"exp": None}, "exp is missing"),
        ({"exp": "9999999999"}, "exp is missing or no number"),
        ({"exp": True}, "exp is missing or no number"),
        ({"nbf": None}, "nbf is missing"),
        ({"nbf": "0"}, "nbf is missing or no number"),
        ({"sub": None}, "names no subject"),
        ({"sub": ""}, "names no subject"),
        ({"sub": 7}, "names no subject"),
        ({"sub": "x" * 513}, "names no subject"),
        ({"iat": "now"}, "iat is missing or no number"),
    ],
)
async def test_a_claim_that_is_wrong_is_said_to_us(oidc_issuer: Issuer, claims: dict[str, Any], reason: str) -> None:
    assert reason in await rejected(verifier_for(oidc_issuer), oidc_issuer.mint("job", **claims))


@pytest.mark.parametrize(
    ("offsets", "reason"),
    [
        ({"exp": -29}, None),
        ({"exp": -31}, "expired"),
        ({"nbf": 29}, None),
        ({"nbf": 31}, "not valid yet"),
        ({"iat": 31}, "not valid yet"),
        ({"iat": -3629, "nbf": -3629}, None),
        ({"iat": -3631}, "older than"),
        ({"nbf": -3631}, "older than"),
        ({"iat": None, "nbf": -3631}, "older than"),
    ],
)
async def test_clocks_may_differ_by_the_leeway_and_no_more(
    oidc_issuer: Issuer, offsets: dict[str, int | None], reason: str | None
) -> None:
    now = int(time.time())
    verifier = oidc.Verifier(clock=lambda: float(now))
    verifier.load({"ci": described(oidc_issuer)})
    claims: dict[str, Any] = {name: None if offset is None else now + offset for name, offset in offsets.items()}
    token = oidc_issuer.mint("job", **({"iat": now, "nbf": now} | claims))
    if reason is None:
        await verifier.verify(token, "ci")
    else:
        assert reason in await rejected(verifier, token)


def _part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


async def test_no_algorithm_stands_in_for_a_signature(oidc_issuer: Issuer) -> None:
    verifier, claims = verifier_for(oidc_issuer), oidc_issuer.claims("job")
    for alg in ("none", "None", "HS256", "RS1", "", None, 7):
        token = f"{_part({'alg': alg, 'kid': 'rsa-1'})}.{_part(claims)}.c2ln"
        assert "algorithm" in await rejected(verifier, token)
    unsigned = f"{_part({'alg': 'none'})}.{_part(claims)}."
    assert "no signed token" in await rejected(verifier, unsigned)


async def test_a_public_key_is_no_shared_secret(oidc_issuer: Issuer) -> None:
    documents = oidc_issuer.documents()["/keys"]
    assert isinstance(documents, dict)
    for document in documents["keys"]:
        secret = OctKey.import_key(json.dumps(document))
        token = jwt.encode({"alg": "HS256", "kid": document["kid"]}, oidc_issuer.claims("job"), secret)
        assert "algorithm" in await rejected(verifier_for(oidc_issuer), token)


async def test_a_key_serves_only_its_own_algorithm(oidc_issuer: Issuer) -> None:
    header = _part({"alg": "ES256", "kid": "rsa-1"})
    good = oidc_issuer.mint("job")
    token = ".".join([header, *good.split(".")[1:]])
    assert "no key of the issuer fits" in await rejected(verifier_for(oidc_issuer), token)
    narrow = verifier_for(oidc_issuer, algorithms=("ES256",))
    assert "algorithm" in await rejected(narrow, good)


async def test_a_strangers_key_and_changed_bytes_are_refused(oidc_issuer: Issuer) -> None:
    verifier = verifier_for(oidc_issuer)
    stranger = RSAKey.generate_key(2048, private=True)
    forged = jwt.encode({"alg": "RS256", "kid": "rsa-1"}, oidc_issuer.claims("job"), stranger)
    assert "signature" in await rejected(verifier, forged)
    head, body, signature = oidc_issuer.mint("job").split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    changed = ".".join([head, _part({**claims, "sub": "admin"}), signature])
    assert "signature" in await rejected(verifier, changed)


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"b64": False}, {"kid": 7}])
async def test_a_header_that_asks_for_more_is_refused(oidc_issuer: Issuer, header: dict[str, Any]) -> None:
    token = f"{_part({'alg': 'RS256', 'kid': 'rsa-1'} | header)}.{_part(oidc_issuer.claims('job'))}.c2ln"
    assert "header" in await rejected(verifier_for(oidc_issuer), token)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=200) | st.lists(st.text(max_size=60), min_size=3, max_size=3).map(".".join))
def test_arbitrary_text_is_refused_and_nothing_else(oidc_issuer: Issuer, text: str) -> None:
    asyncio.run(rejected(verifier_for(oidc_issuer), text))


async def test_an_oversized_token_is_not_even_read(oidc_issuer: Issuer) -> None:
    assert "no signed token" in await rejected(verifier_for(oidc_issuer), oidc_issuer.mint("job", pad="x" * 20_000))


async def test_unknown_kids_fetch_the_keys_once(issuer: Issuer) -> None:
    verifier = verifier_for(issuer)
    await verifier.verify(issuer.mint("job"), "ci")
    hidden = ECKey.generate_key("P-256", private=True)
    flood = [jwt.encode({"alg": "ES256", "kid": f"kid-{number}"}, issuer.claims("job"), hidden) for number in range(50)]
    await asyncio.gather(*(rejected(verifier, token) for token in flood))
    assert issuer.requests.count("/keys") == 1


async def test_a_rotated_key_is_found_after_the_pause(issuer: Issuer) -> None:
    clock = [1000.0]
    source = keys.DiscoveredKeys(described(issuer), clock=lambda: clock[0])
    assert await source.find("rsa-1", "RS256") is not None
    issuer.add_key("rsa-2", RSAKey.generate_key(2048, private=True))
    assert await source.find("rsa-2", "RS256") is None
    clock[0] += keys.UNKNOWN_KID_SECONDS
    assert await source.find("rsa-2", "RS256") is not None


async def test_cached_keys_outlive_the_issuer_for_a_day(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    source = keys.DiscoveredKeys(described(issuer), clock=lambda: clock[0])
    await source.find("rsa-1", "RS256")
    monkeypatch.setattr(issuer, "documents", dict)
    clock[0] += keys.STALE_SECONDS - 1
    assert await source.find("rsa-1", "RS256") is not None
    clock[0] += 2
    with pytest.raises(IssuerUnavailable):
        await source.find("rsa-1", "RS256")


async def test_a_withdrawn_key_goes_with_the_next_refresh(issuer: Issuer) -> None:
    clock = [1000.0]
    source = keys.DiscoveredKeys(described(issuer), clock=lambda: clock[0])
    await source.find("rsa-1", "RS256")
    issuer.withdraw_key("rsa-1")
    clock[0] += keys.REFRESH_SECONDS
    assert await source.find("rsa-1", "RS256") is None


@pytest.mark.parametrize(
    "documents",
    [
        {},
        {"/.well-known/openid-configuration": {"issuer": "https://other.example", "jwks_uri": "SELF/keys"}},
        {"/.well-known/openid-configuration": {"issuer": "SELF"}},
        {"/.well-known/openid-configuration": {"issuer": "SELF", "jwks_uri": "http://keys.example/keys"}},
        {"/.well-known/openid-configuration": {"issuer": "SELF", "jwks_uri": "file:///etc/passwd"}},
        {"/.well-known/openid-configuration": {"issuer": "SELF", "jwks_uri": "SELF/keys"}, "/keys": {"keys": []}},
        {"/.well-known/openid-configuration": {"issuer": "SELF", "jwks_uri": "SELF/keys"}, "/keys": ["x"]},
        {
            "/.well-known/openid-configuration": {"issuer": "SELF", "jwks_uri": "SELF/keys"},
            "/keys": {"keys": [], "pad": "x" * (1 << 20)},
        },
    ],
)
async def test_a_discovery_that_is_wrong_gives_no_keys(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch, documents: dict[str, Any]
) -> None:
    filled = json.loads(json.dumps(documents).replace("SELF", issuer.address))
    monkeypatch.setattr(issuer, "documents", lambda: filled)
    with pytest.raises(IssuerUnavailable):
        await keys.DiscoveredKeys(described(issuer)).find("rsa-1", "RS256")


async def test_plain_http_is_for_this_machine_alone() -> None:
    far = identity_settings.Issuer(name="ci", url="http://issuer.example", audience=(AUDIENCE,))
    with pytest.raises(IssuerUnavailable):
        await keys.DiscoveredKeys(far).find("a", "RS256")


async def test_keys_of_a_file_follow_the_file(tmp_path: Path, oidc_issuer: Issuer) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(oidc_issuer.documents()["/keys"]))
    verifier = verifier_for(oidc_issuer, jwks=str(file))
    await verifier.verify(oidc_issuer.mint("job"), "ci")
    file.write_text("{not json")
    await verifier.verify(oidc_issuer.mint("job"), "ci")
    (tmp_path / "new").write_text(json.dumps({"keys": []}))
    (tmp_path / "new").rename(file)
    assert "holds no usable key" in await rejected(verifier, oidc_issuer.mint("job"))


@pytest.mark.filterwarnings("ignore:Key size")
def test_only_public_signature_keys_are_taken() -> None:
    rsa = dict(RSAKey.generate_key(2048, private=True).as_dict(private=False))
    entries: list[object] = [
        {**rsa, "kid": "good"},
        {**rsa, "kid": "for-encryption", "use": "enc"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {**dict(RSAKey.generate_key(1024, private=True, auto_kid=False).as_dict(private=False)), "kid": "weak"},
        {"kty": "RSA", "kid": "broken"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "off-curve"},
        "no object",
        {**rsa, "kid": 7},
    ]
    assert [key.kid for key in keys.parse_jwks(json.dumps({"keys": entries}).encode())] == ["good"]
    with pytest.raises(ValueError, match="more than"):
        keys.parse_jwks(json.dumps({"keys": [{}] * 201}).encode())


async def test_a_token_finds_its_issuer_among_several(oidc_issuer: Issuer, issuer: Issuer) -> None:
    verifier = oidc.Verifier()
    second = identity_settings.Issuer(name="second", url=issuer.address, audience=(AUDIENCE,))
    verifier.load({"ci": described(oidc_issuer), "second": second})
    assert (await verifier.verify_any(issuer.mint("x"))).issuer == "second"
    with pytest.raises(TokenRejected):
        await verifier.verify(issuer.mint("x"), "ci")
    with pytest.raises(TokenRejected, match="no issuer"):
        await verifier.verify_any(issuer.mint("x", iss="https://unknown.example"))
