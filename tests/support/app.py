"""The Python side running on a stand-in for the native gateway."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock import seam
from penstock.app import Gateway
from penstock.config import from_data
from penstock.demo.issuer import AUDIENCE, Issuer
from penstock.identity import tokens
from support.native import FakeGateway, evaluate
from support.payload import session as recorded_session
from support.waiting import eventually


@dataclass
class Running:
    """A gateway that was started, its stand-in, and a client of its admin interface."""

    gateway: Gateway
    native: FakeGateway
    socket: Path
    agent: tokens.NewToken
    issuer: Issuer
    asked_trail: list[dict[str, Any]]

    @property
    def admin(self) -> str:
        """What --admin takes."""
        return f"unix:{self.socket}"

    async def call(self, method: str, path: str, *, token: str | None = None, **more: Any) -> httpx.Response:
        """One request to the admin interface."""
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://penstock", headers=headers) as client:
            return await client.request(method, path, **more)

    def reviewer(self, **claims: Any) -> str:
        """A token of a reviewer."""
        return self.issuer.mint("ada", **({"groups": ["dba"]} | claims))

    def job(self) -> str:
        """A token that satisfies the identity `job`."""
        return self.issuer.mint("repo:shop", repository="shop")

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Waits until something holds, a few seconds at most."""

        async def look() -> Any:
            return condition()

        return await eventually(look)


def manifest_data(folder: Path, issuer: Issuer, agent: tokens.NewToken) -> dict[str, Any]:
    """A small manifest with one identity of each kind."""
    return {
        "version": 1,
        "listeners": {"postgres": {"bind": "127.0.0.1:6432"}, "admin": {"bind": f"unix:{folder}/p.sock"}},
        "state": {"database": f"sqlite:///{folder}/penstock.db"},
        "trail": {"store": f"{folder}/trail", "node": "n1"},
        "issuers": [{"name": "ci", "issuer": issuer.address, "audience": AUDIENCE}],
        "identities": [
            {"name": "job", "issuer": "ci", "when": 'claims.repository == "shop"', "groups": ["pipelines"]},
            {"name": "agent", "tokens": [{"id": agent.id, "verifier": agent.verifier}], "groups": ["penstock-admins"]},
        ],
        "targets": [
            {
                "name": "shop",
                "protocol": "postgres",
                "address": "127.0.0.1:5432",
                "databases": ["shop"],
                "credentials": {"default": {"user": "reader"}},
            }
        ],
        "reviewers": [{"name": "owners", "members": ["ci:group:dba"]}],
        "rules": [{"name": "all read", "allow": ["read"]}],
    }


@asynccontextmanager
async def running_gateway(folder: Path, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """Starts a gateway in ``folder``; it is stopped at the end."""
    asked: list[dict[str, Any]] = []

    def read_trail(_store: str, query: bytes) -> Iterator[bytes]:
        asked.append(json.loads(query))
        # Only replays ask for one session; an empty trail has nothing to rebuild an index from.
        return iter(recorded_session() if "session" in asked[-1] else [])

    monkeypatch.setattr(seam, "read_trail", read_trail)
    monkeypatch.setattr(seam, "evaluate_claims", evaluate)
    agent = tokens.mint("agent")
    manifest = from_data(manifest_data(folder, issuer, agent), directory=folder)
    made: list[FakeGateway] = []

    def open_gateway(settings: bytes) -> FakeGateway:
        made.append(FakeGateway(settings))
        return made[0]

    gateway = Gateway(manifest, open_gateway=open_gateway)
    try:
        await gateway.start()
        yield Running(gateway, made[0], folder / "p.sock", agent, issuer, asked)
    finally:
        await gateway.stop()


def login(number: int, user: str, *, secret: str | None = None, token: str | None = None) -> dict[str, Any]:
    """A login event."""
    proof = {"kind": "clear", "secret": secret} if secret is not None else {"kind": "scram", "token": token}
    return {
        "type": "login", "id": number, "session": session_id(number), "user": user, "database": "shop",
        "client": "127.0.0.1:5", "tls": False, "listener": "postgres", "proof": proof,
    }  # fmt: skip


def opened(number: int, identity: str) -> dict[str, Any]:
    """The event of a session that opened."""
    return {
        "type": "opened", "session": session_id(number), "identity": identity, "groups": ["pipelines"],
        "target": "shop", "database": "shop", "client": "127.0.0.1:5", "application": "psql",
        "at": 1_795_000_000_000_000 + number,
    }  # fmt: skip


def session_id(number: int) -> str:
    """A session's id."""
    return f"01jd{number:022d}"
