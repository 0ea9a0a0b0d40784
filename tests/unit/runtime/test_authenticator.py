"""Logins, exchanges, revocations and what a reload does to open sessions."""

import time
from typing import Any

import pytest

from penstock.demo.issuer import AUDIENCE, Issuer
from penstock.errors import TokenRejected
from penstock.identity import tokens
from penstock.identity.authenticator import Admitted, Login, Refused
from penstock.identity.exchange import Exchange
from penstock.identity.live import LiveSessions
from penstock.identity.principal import Proof
from penstock.identity.settings import Book, Identity, StaticToken
from penstock.identity.settings import Issuer as IssuerSettings
from penstock.state import revocations
from support.state import House


def book(issuer: Issuer | None, *identities: Identity) -> Book:
    described = IssuerSettings(name="ci", url=issuer.address, audience=(AUDIENCE,)) if issuer is not None else None
    return Book.of([described] if described is not None else [], list(identities))


JOB = Identity("job", ("pipelines",), issuer="ci", when='claims.repository == "shop"')


def static(name: str = "agent", **more: Any) -> tuple[str, Identity]:
    minted = tokens.mint(name)
    return minted.text, Identity(name, ("agents",), tokens=(StaticToken(minted.id, minted.verifier, **more),))


async def proof_of(house: House, login: Login) -> Proof:
    outcome = await house.authenticator.authenticate(login)
    assert isinstance(outcome, Admitted), outcome
    return outcome.proof


async def reason_of(house: House, login: Login) -> str:
    outcome = await house.authenticator.authenticate(login)
    assert isinstance(outcome, Refused)
    return outcome.reason


async def test_an_issuers_token_opens_its_identity(house: House, oidc_issuer: Issuer) -> None:
    house.authenticator.load(book(oidc_issuer, JOB))
    proof = await proof_of(house, Login("job", secret=oidc_issuer.mint("repo:shop", repository="shop")))
    assert proof.principal.as_json() == {
        "identity": "job", "issuer": "ci", "subject": "repo:shop", "groups": ["pipelines"], "token": None,
    }  # fmt: skip


@pytest.mark.parametrize("when", ['claims.repository == "other"', 'claims.absent == "x"', "broken"])
async def test_a_rule_that_fails_is_no_match(house: House, oidc_issuer: Issuer, when: str) -> None:
    house.authenticator.load(book(oidc_issuer, Identity("job", issuer="ci", when=when)))
    assert "satisfy" in await reason_of(house, Login("job", secret=oidc_issuer.mint("x", repository="shop")))


async def test_every_refusal_takes_its_place_on_the_grid(house: House, oidc_issuer: Issuer) -> None:
    text, agent = static()
    house.authenticator.load(book(oidc_issuer, JOB, agent))
    wrong = text[:-1] + ("a" if text[-1] != "a" else "b")
    logins = [
        Login("nobody", secret="x"),
        Login("nobody", secret=text),
        Login("agent", secret=wrong),
        Login("job", secret="a.b.c"),
        Login("job", secret=oidc_issuer.mint("x", repository="else")),
        Login("agent", secret=oidc_issuer.mint("x", repository="shop")),
        Login("job", secret="pst_aaaaaaaaaa_" + "x" * 32),
        Login("agent", token="aaaaaaaaaa"),
    ]
    for login in logins:
        began = time.monotonic()
        assert await reason_of(house, login)
        took = time.monotonic() - began
        assert 0.24 <= took < 0.49, (login, took)
        assert "x" * 32 not in repr(login)
        assert text not in repr(login)


async def test_static_tokens_expire_and_two_may_live(house: House) -> None:
    first, second = tokens.mint("agent"), tokens.mint("agent")
    late = tokens.mint("agent")
    identity = Identity(
        "agent",
        tokens=(
            StaticToken(first.id, first.verifier),
            StaticToken(second.id, second.verifier, time.time() + 60),
            StaticToken(late.id, late.verifier, time.time() - 1),
        ),
    )
    house.authenticator.load(book(None, identity))
    for minted in (first, second):
        assert (await proof_of(house, Login("agent", token=minted.id))).principal.token == minted.id
        assert (await proof_of(house, Login("agent", secret=minted.text))).principal.token == minted.id
    assert "expired" in await reason_of(house, Login("agent", token=late.id))
    assert "expired" in await reason_of(house, Login("agent", secret=late.text))


async def test_a_bare_verifiers_token_is_found_by_its_secret(house: House) -> None:
    minted = tokens.mint("agent")
    house.authenticator.load(book(None, Identity("agent", tokens=(StaticToken("0123456789", minted.verifier),))))
    assert (await proof_of(house, Login("agent", secret=minted.text))).principal.token == "0123456789"


async def test_an_exchanged_token_is_bound_to_who_got_it(house: House, oidc_issuer: Issuer) -> None:
    other = Identity("other", issuer="ci", when="true")
    house.authenticator.load(book(oidc_issuer, JOB, other))
    exchange = Exchange(house.authenticator, house.tokens, most_seconds=600)
    got = await exchange.login("job", oidc_issuer.mint("repo:shop", repository="shop"), 9999)
    assert time.time() + 590 < got.expires < time.time() + 610
    assert got.token not in repr(got)
    proof = await proof_of(house, Login("job", secret=got.token))
    assert (proof.principal.issuer, proof.principal.subject) == ("ci", "repo:shop")
    assert "another identity" in await reason_of(house, Login("other", secret=got.token))
    with pytest.raises(TokenRejected, match="cannot be exchanged"):
        await exchange.login("job", got.token)
    # The rule changes: the token dies with it, and comes back with it.
    house.authenticator.load(book(oidc_issuer, Identity("job", issuer="ci", when='claims.repository == "x"')))
    assert "any more" in await reason_of(house, Login("job", secret=got.token))
    house.authenticator.load(book(None, JOB))
    assert "any more" in await reason_of(house, Login("job", secret=got.token))


async def test_an_exchanged_token_ends(house: House, oidc_issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    house.authenticator.load(book(oidc_issuer, JOB))
    got = await Exchange(house.authenticator, house.tokens).login("job", oidc_issuer.mint("s", repository="shop"), 5)
    later = time.time() + 6
    monkeypatch.setattr(house.authenticator, "_clock", lambda: later)
    assert "expired" in await reason_of(house, Login("job", secret=got.token))


async def test_only_a_satisfying_token_is_exchanged(house: House, oidc_issuer: Issuer) -> None:
    text, agent = static()
    house.authenticator.load(book(oidc_issuer, JOB, agent))
    exchange = Exchange(house.authenticator, house.tokens)
    for identity, secret in (
        ("job", oidc_issuer.mint("s", repository="else")),
        ("nobody", oidc_issuer.mint("s", repository="shop")),
        ("agent", oidc_issuer.mint("s", repository="shop")),
        ("agent", text),
    ):
        with pytest.raises(TokenRejected):
            await exchange.login(identity, secret)


async def test_revoked_means_refused(house: House, oidc_issuer: Issuer) -> None:
    text, agent = static()
    house.authenticator.load(book(oidc_issuer, JOB, agent))
    got = await Exchange(house.authenticator, house.tokens).login("job", oidc_issuer.mint("s", repository="shop"))
    for token in (tokens.token_id(text), tokens.token_id(got.token)):
        assert token is not None
        await house.revocations.add("token", token, by="op", reason="leaked")
    await house.watch.poll()
    assert "token is revoked" in await reason_of(house, Login("agent", secret=text))
    assert "token is revoked" in await reason_of(house, Login("job", secret=got.token))
    await house.revocations.add("identity", "job", by="op", reason="incident")
    await house.watch.poll()
    fresh = oidc_issuer.mint("s", repository="shop")
    assert "identity is revoked" in await reason_of(house, Login("job", secret=fresh))
    await house.revocations.lift("identity", "job")
    await house.watch.poll()
    await proof_of(house, Login("job", secret=fresh))


async def test_without_a_fresh_view_of_revocations_nobody_enters(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    text, agent = static()
    house.authenticator.load(book(None, agent))
    monkeypatch.setattr(revocations, "FRESH_SECONDS", -1.0)
    assert "state database is away" in await reason_of(house, Login("agent", secret=text))


class Sessions:
    """Remembers what was done to sessions."""

    def __init__(self) -> None:
        self.killed: dict[str, str] = {}
        self.regrouped: dict[str, Any] = {}

    def kill(self, session: str, reason: str) -> bool:
        self.killed[session] = reason
        return True

    def regroup(self, session: str, principal: Any) -> bool:
        self.regrouped[session] = principal
        return True


async def test_a_reload_reaches_open_sessions(house: House, oidc_issuer: Issuer) -> None:
    text, agent = static()
    house.authenticator.load(book(oidc_issuer, JOB, agent))
    done = Sessions()
    live = LiveSessions(done)
    live.admitted("s-job", await proof_of(house, Login("job", secret=oidc_issuer.mint("s", repository="shop"))))
    live.admitted("s-agent", await proof_of(house, Login("agent", secret=text)))
    assert live.revise(house.authenticator.again) == (0, 0)
    # Other groups: the session follows.
    house.authenticator.load(book(oidc_issuer, Identity("job", ("new",), "ci", JOB.when), agent))
    assert live.revise(house.authenticator.again) == (0, 1)
    assert done.regrouped["s-job"]["groups"] == ["new"]
    # The rule no longer matches, the token is gone: both end.
    house.authenticator.load(book(oidc_issuer, Identity("job", ("new",), "ci", "broken"), Identity("agent")))
    assert live.revise(house.authenticator.again) == (2, 0)
    assert set(done.killed) == {"s-job", "s-agent"}
    assert len(live) == 0


async def test_an_identity_proven_otherwise_ends_its_sessions(house: House, oidc_issuer: Issuer) -> None:
    house.authenticator.load(book(oidc_issuer, JOB))
    proof = await proof_of(house, Login("job", secret=oidc_issuer.mint("s", repository="shop")))
    moved = Book.of([IssuerSettings("ci", "https://other.example", (AUDIENCE,))], [JOB])
    house.authenticator.load(moved)
    assert house.authenticator.again(proof) is None
    text, agent = static()
    house.authenticator.load(book(None, agent))
    kept = await proof_of(house, Login("agent", secret=text))
    renewed = tokens.mint("agent")
    assert kept.principal.token is not None
    swapped = Identity("agent", ("agents",), tokens=(StaticToken(kept.principal.token, renewed.verifier),))
    house.authenticator.load(book(None, swapped))
    assert house.authenticator.again(kept) is None, "the same id with another secret is another token"


async def test_a_revocation_ends_what_it_names(house: House) -> None:
    text, agent = static()
    house.authenticator.load(book(None, agent))
    proof = await proof_of(house, Login("agent", secret=text))
    for kind, value in (("session", "s-1"), ("token", proof.principal.token), ("identity", "agent")):
        done = Sessions()
        live = LiveSessions(done)
        live.admitted("s-1", proof)
        await house.revocations.add(kind, str(value), by="op", reason="because")  # type: ignore[arg-type]
        fresh = await house.watch.poll()
        await live.revoked(fresh)
        assert "because" in done.killed["s-1"]
        assert await house.watch.poll() == [], "told once"


async def test_logins_that_never_open_are_forgotten(house: House) -> None:
    text, agent = static()
    house.authenticator.load(book(None, agent))
    proof = await proof_of(house, Login("agent", secret=text))
    clock = [0.0]
    live = LiveSessions(Sessions(), clock=lambda: clock[0])
    for number in range(64):
        live.admitted(f"s-{number}", proof)
    live.opened("s-0")
    clock[0] = 1000.0
    live.admitted("s-last", proof)
    assert len(live) == 2
    assert live.principal("s-0") is not None
    assert live.principal("s-1") is None
