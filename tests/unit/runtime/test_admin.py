"""The admin interface over a real unix socket: who may do what, and what bad input gets."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from penstock import __version__
from penstock.admin.server import AdminServer
from penstock.demo.issuer import Issuer
from penstock.errors import StartError
from penstock.identity import tokens
from support.app import Running, login, opened, running_gateway, session_id
from support.desk import hold
from support.metrics import scraped
from support.payload import SESSION
from support.waiting import eventually


@pytest.fixture
async def running(tmp_path: Path, oidc_issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    async with running_gateway(tmp_path, oidc_issuer, monkeypatch) as started:
        yield started


@pytest.fixture
async def reference(running: Running) -> str:
    """A request that waits."""
    running.native.tell(hold("s1"))
    await running.until(lambda: running.native.registered)
    return running.native.registered[0][2]


async def test_the_socket_is_the_gateways_users_alone(running: Running) -> None:
    assert stat.S_IMODE(running.socket.stat().st_mode) == 0o600


async def test_health_and_figures_need_no_token(running: Running) -> None:
    assert (await running.call("GET", "/healthz")).json() == {"status": "ok", "wrong": {}, "notes": {}}
    metrics = await running.call("GET", "/metrics")
    seen = scraped(metrics.text)
    process = {name: value for name, value in seen.items() if name.startswith("process_")}
    assert set(seen.items()) - set(process.items()) == {
        ("penstock_sessions_open", 0),
        ("penstock_holds_waiting", 0),
        ("penstock_observing", 0),
        ("penstock_state_reachable", 1),
        ("penstock_manifest_refused", 0),
        ("penstock_manifest_needs_restart", 0),
        ("penstock_draining", 0),
        (f'penstock_build_info{{version="{__version__}"}}', 1),
    }
    assert process["process_resident_memory_bytes"] > 1 << 20
    assert process["process_open_fds"] > 3
    assert 0 <= time.time() - process["process_start_time_seconds"] < 3600
    assert process["process_cpu_seconds_total"] > 0
    assert metrics.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "authorization",
    ["Bearer x", "Bearer a.b.c", "Basic dTpw", "Bearer pst_aaaaaaaaaa_" + "x" * 32, "Bearer " + "é" * 10, "x"],
)
async def test_a_wrong_token_is_never_better_than_none(running: Running, authorization: str) -> None:
    headers = {"authorization": authorization.encode()}
    for method, path in (("GET", "/v1/sessions"), ("GET", "/v1/approvals"), ("GET", f"/v1/replay/{SESSION}")):
        answer = await running.call(method, path, headers=headers)
        if authorization == "x":
            assert answer.status_code == 200, "no credentials at all: the local user operates"
        else:
            assert answer.status_code == 401, (path, answer.text)
            assert "reason" not in answer.json()


async def who(running: Running, token: str | None) -> dict[str, Any]:
    found: dict[str, Any] = (await running.call("GET", "/v1/whoami", token=token)).json()
    return found


async def test_who_one_is(running: Running) -> None:
    assert await who(running, None) == {"name": f"local user {os.getuid()}", "identities": [], "operator": True}
    assert await who(running, running.reviewer()) == {"name": "ci:ada", "identities": [], "operator": True}
    assert await who(running, running.job()) == {"name": "ci:repo:shop", "identities": ["job"], "operator": False}
    assert await who(running, running.agent.text) == {"name": "agent", "identities": ["agent"], "operator": True}


async def test_another_user_of_the_machine_needs_a_token(running: Running) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    running.socket.parent.chmod(0o755)
    running.socket.chmod(0o666)
    for parent in running.socket.parents:
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    program = (
        "import http.client, os, socket, sys\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "c = http.client.HTTPConnection('x'); c.sock = socket.socket(socket.AF_UNIX); c.sock.connect(sys.argv[1])\n"
        "c.request('GET', sys.argv[2]); print(c.getresponse().status)"
    )
    for path, status in (("/v1/sessions", "401"), ("/healthz", "200")):
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-S", "-c", program, str(running.socket), path], capture_output=True
        )
        assert done.stdout.decode().strip() == status, done.stderr


async def test_operators_see_and_only_reviewers_decide(running: Running, reference: str) -> None:
    path = f"/v1/approvals/{reference}"
    for token in (None, running.agent.text, running.reviewer()):
        assert (await running.call("GET", path, token=token)).json()["id"] == reference
        assert len((await running.call("GET", "/v1/approvals", token=token)).json()["approvals"]) == 1
    for token in (running.job(), running.issuer.mint("stranger")):
        assert (await running.call("GET", path, token=token)).status_code == 404
        assert (await running.call("GET", "/v1/approvals", token=token)).json() == {"approvals": []}
        assert (await running.call("POST", f"{path}/approve", token=token, json={"reason": "r"})).status_code == 404
    for token in (None, running.agent.text):
        answer = await running.call("POST", f"{path}/approve", token=token, json={"reason": "r"})
        assert answer.status_code == 403
        assert "owners" in answer.json()["error"]
    assert running.native.decided == []
    shown = (await running.call("GET", path, token=running.reviewer())).json()
    assert shown["sample"] == {"columns": ["a"], "rows": [["x"]]}
    assert [event["kind"] for event in shown["events"]] == ["requested"]
    denied = await running.call("POST", f"{path}/deny", token=running.reviewer(), json={"reason": "not today"})
    assert denied.json()["status"] == "denied"
    again = await running.call("POST", f"{path}/approve", token=running.reviewer(), json={"reason": "r"})
    assert (again.status_code, "already denied" in again.json()["error"]) == (409, True)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "needs a reason"),
        (b"{}", "needs a reason"),
        (b'{"reason": "  "}', "needs a reason"),
        (b"[]", "no JSON object"),
        (b"{", "no JSON"),
        (b'{"reason": 7}', "reason is text"),
        (b'{"reason": "r", "for_seconds": -1}', "for_seconds"),
        (b'{"reason": "r", "for_seconds": true}', "for_seconds"),
        (b'{"reason": "r", "for_seconds": 99999999}', "366 days"),
        (b'{"reason": "r", "rows": 5}', "belongs to an approval of the shape"),
        (b'{"reason": "' + b"x" * 70_000 + b'"}', "larger than"),
    ],
)
async def test_bad_input_is_told_what_is_wrong(running: Running, reference: str, body: bytes, said: str) -> None:
    answer = await running.call("POST", f"/v1/approvals/{reference}/approve", token=running.reviewer(), content=body)
    assert (answer.status_code, said in answer.json()["error"]) == (400, True), answer.text
    assert (await running.call("GET", "/healthz")).status_code == 200


@pytest.mark.parametrize("path", ["/v1/sessions/x", "/v1/replay/..%2f..", f"/v1/replay/{SESSION}?format=exe"])
async def test_paths_are_checked(running: Running, path: str) -> None:
    assert (await running.call("GET", path)).status_code in {400, 404}
    assert running.asked_trail[1:] == []


async def test_a_session_is_killed_and_that_is_recorded(running: Running) -> None:
    native = running.native
    native.tell(login(1, "agent", token=running.agent.id))
    await running.until(lambda: native.answers)
    native.tell(opened(1, "agent"))
    path = f"/v1/sessions/{session_id(1)}"

    async def indexed() -> bool:
        return (await running.call("GET", path)).status_code == 200

    await eventually(indexed)
    assert (await running.call("POST", f"{path}/kill", token=running.job())).status_code == 403
    answer = await running.call("POST", f"{path}/kill", json={"reason": "loops"})
    assert answer.status_code == 200
    await running.until(lambda: native.killed)
    assert "loops" in native.killed[0][1]
    assert native.recorded[-1] == (
        "session_kill",
        {"who": f"local user {os.getuid()}", "session": session_id(1), "reason": "loops"},
    )
    assert (await running.call("POST", f"/v1/sessions/{session_id(9)}/kill")).status_code == 404


async def test_tokens_are_listed_and_revoked(running: Running) -> None:
    got = (await running.call("POST", "/v1/login", json={"identity": "job", "token": running.job()})).json()
    exchanged = tokens.token_id(got["token"])
    listed = {each["id"]: each for each in (await running.call("GET", "/v1/tokens")).json()["tokens"]}
    assert {key: (each["kind"], each["status"]) for key, each in listed.items()} == {
        running.agent.id: ("static", "live"),
        exchanged: ("exchanged", "live"),
    }
    assert "SCRAM" not in str(listed)
    running.native.tell(login(1, "job", secret=got["token"]))
    await running.until(lambda: running.native.answers)
    assert running.native.answers[1]["ok"] is True
    done = await running.call("POST", f"/v1/tokens/{exchanged}/revoke", json={"reason": "leaked"})
    assert done.json()["revoked"] is True
    await running.until(lambda: running.native.killed)
    listed = {each["id"]: each for each in (await running.call("GET", "/v1/tokens")).json()["tokens"]}
    assert exchanged is not None
    assert listed[exchanged]["status"] == "revoked"
    assert (await running.call("GET", "/v1/whoami", token=got["token"])).status_code == 401


async def test_an_identity_is_revoked_until_it_is_lifted(running: Running) -> None:
    path = "/v1/identities/job/revoke"
    assert (await running.call("POST", path, token=running.job())).status_code == 403
    assert (await running.call("POST", path)).status_code == 200
    refused = await running.call("POST", "/v1/login", json={"identity": "job", "token": running.job()})
    assert refused.status_code == 401
    assert (await running.call("DELETE", path)).status_code == 200
    assert (await running.call("DELETE", path)).status_code == 404
    assert (await running.call("POST", "/v1/identities/nobody/revoke")).status_code == 404
    given = await running.call("POST", "/v1/login", json={"identity": "job", "token": running.job()})
    assert given.status_code == 200


async def test_a_refused_login_does_not_say_why(running: Running) -> None:
    answers = [
        await running.call("POST", "/v1/login", json={"identity": identity, "token": token})
        for identity, token in (
            ("job", running.issuer.mint("s", repository="other")),
            ("nobody", running.job()),
            ("job", running.issuer.mint("s", exp=1)),
            ("agent", running.job()),
        )
    ]
    assert {answer.text for answer in answers} == {answers[0].text}
    assert {answer.status_code for answer in answers} == {401}


async def test_a_replay_is_recorded_before_it_is_shown(running: Running) -> None:
    assert (await running.call("GET", f"/v1/replay/{SESSION}", token=running.job())).status_code == 403
    assert not any(kind == "trail_read" for kind, _ in running.native.recorded)
    shown = await running.call("GET", f"/v1/replay/{SESSION}", token=running.reviewer())
    assert "SELECT name, n" in shown.text
    read = {"who": "ci:ada", "session": SESSION, "exchange": None, "as": "text"}
    assert ("trail_read", read) in running.native.recorded
    csv = await running.call("GET", f"/v1/replay/{SESSION}?format=csv&exchange=1")
    assert csv.text.startswith("name,n\r\n")
    assert (await running.call("GET", f"/v1/replay/{SESSION}?format=csv")).status_code == 400


async def test_what_cannot_be_recorded_is_not_read(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock._native import NativeError

    def full(_kind: str, _detail: bytes) -> None:
        raise NativeError("the trail cannot be written: no space left on device")

    monkeypatch.setattr(running.native, "record", full)
    answer = await running.call("GET", f"/v1/replay/{SESSION}")
    assert answer.status_code == 500
    assert "SELECT" not in answer.text


async def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    first = AdminServer(Starlette(), path=path)
    await first.start()
    with pytest.raises(StartError, match="another gateway serves"):
        AdminServer(Starlette(), path=path)
    await first.stop()
    assert not path.exists()
    with pytest.raises(StartError, match="cannot be created"):
        AdminServer(Starlette(), path=tmp_path / "missing" / "p.sock")


async def test_over_loopback_the_token_alone_counts(running: Running) -> None:
    from penstock.admin.api import build

    server = AdminServer(build(running.gateway._service()), host="127.0.0.1")
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://{server.address}", trust_env=False) as client:
        assert (await client.get("/v1/sessions")).status_code == 401
        assert (await client.get("/metrics")).status_code == 200
        headers = {"authorization": f"Bearer {running.reviewer()}", "x-forwarded-for": "uid:0"}
        assert (await client.get("/v1/sessions", headers=headers)).status_code == 200
        assert (await client.get("/v1/sessions", headers={"x-forwarded-for": "uid:0"})).status_code == 401
    await server.stop()
    with pytest.raises(StartError, match="this machine alone"):
        AdminServer(Starlette(), host="0.0.0.0")
