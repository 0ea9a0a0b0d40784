"""The application on a stand-in gateway: events in, answers out, reloads, the end."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from penstock import seam
from penstock._native import NativeError
from penstock.app import Gateway, run
from penstock.config import compile_settings, from_data, load
from penstock.config.watch import Reloaded
from penstock.demo.issuer import Issuer
from penstock.errors import ConfigError, Problem, SeamError, StartError
from penstock.identity import tokens
from penstock.state.revocations import RevocationStore
from support.app import Running, login, manifest_data, opened, running_gateway, session_id
from support.desk import hold
from support.native import FakeGateway
from support.waiting import eventually


@pytest.fixture
async def running(tmp_path: Path, oidc_issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    async with running_gateway(tmp_path, oidc_issuer, monkeypatch) as started:
        yield started


async def test_logins_are_answered(running: Running) -> None:
    native = running.native
    native.tell(
        login(1, "job", secret=running.job()),
        login(2, "agent", token=running.agent.id),
        login(3, "agent", token="aaaaaaaaaa"),
        login(4, "nobody", secret="x"),
    )
    await running.until(lambda: len(native.answers) == 4)
    assert native.answers[1] == {
        "ok": True,
        "until": None,
        "principal": {
            "identity": "job", "issuer": "ci", "subject": "repo:shop", "groups": ["pipelines"], "token": None,
        },
    }  # fmt: skip
    assert native.answers[2]["principal"]["token"] == running.agent.id
    assert [native.answers[number]["ok"] for number in (3, 4)] == [False, False]


async def test_a_flood_of_events_is_taken_in_turns(running: Running) -> None:
    running.native.tell(*(login(number, "agent", token=running.agent.id) for number in range(1000)))
    await running.until(lambda: len(running.native.answers) == 1000)


async def test_sessions_reach_the_index_in_order(running: Running) -> None:
    ending = {"statements": 3, "rows": 4, "bytes": 5, "segments": {"first": "a"}, "reason": "client", "at": 9}
    for number in range(20):
        running.native.tell(opened(number, "job"), {"type": "closed", "session": session_id(number), **ending})
    running.native.tell(opened(20, "job"))

    async def listed(query: str) -> list[dict[str, Any]]:
        answer = await running.call("GET", f"/v1/sessions?{query}")
        found: list[dict[str, Any]] = answer.json()["sessions"]
        return found

    async def complete() -> bool:
        return len(await listed("limit=100")) == 21

    await eventually(complete)
    live = await listed("live=1")
    assert [each["session"] for each in live] == [session_id(20)]
    assert {each["reason"] for each in await listed("limit=100") if each["closed"]} == {"client"}


async def test_a_hold_goes_to_a_reviewer_and_back(running: Running) -> None:
    native = running.native
    native.tell(hold("s1"), {**hold("s1"), "type": "hold_update", "rows": 12_345, "complete": True})
    await running.until(lambda: native.registered)
    reference = native.registered[0][2]
    token = running.reviewer()

    async def grown() -> bool:
        shown = await running.call("GET", f"/v1/approvals/{reference}", token=token)
        return bool(shown.json()["rows"] == 12_345)

    await eventually(grown)
    answer = await running.call("POST", f"/v1/approvals/{reference}/approve", token=token, json={"reason": "agreed"})
    assert (answer.status_code, answer.json()["status"]) == (200, "approved")
    assert native.decided == [("s1", 1, {"verdict": "approved", "by": "ci:ada", "reason": "agreed"})]
    assert ("approval", "approved") in [(kind, detail.get("what")) for kind, detail in native.recorded]


async def test_a_closing_session_withdraws_its_hold(running: Running) -> None:
    running.native.tell(hold("s1"), {"type": "closed", "session": "s1", "at": 1, "reason": "gone"})

    async def withdrawn() -> bool:
        answer = await running.call("GET", "/v1/approvals?status=all", token=running.reviewer())
        return [each["status"] for each in answer.json()["approvals"]] == ["withdrawn"]

    await eventually(withdrawn)


async def test_a_revocation_reaches_open_sessions_within_a_second(running: Running, tmp_path: Path) -> None:
    native = running.native
    native.tell(login(1, "agent", token=running.agent.id))
    await running.until(lambda: native.answers)
    native.tell(opened(1, "agent"))
    began = time.monotonic()
    # As another gateway on the same database would do it.
    await RevocationStore(running.gateway._database).add("token", running.agent.id, by="op", reason="leaked")
    await running.until(lambda: native.killed)
    assert time.monotonic() - began < 1.0
    assert native.killed == [(session_id(1), "token revoked by op: leaked")]


def changed(folder: Path, running: Running, **parts: Any) -> Path:
    from penstock.demo.gateway import write_manifest

    path = folder / "penstock.yaml"
    write_manifest({**manifest_data(folder, running.issuer, running.agent), **parts}, path)
    return path


async def test_a_reload_is_whole_or_not_at_all(running: Running, tmp_path: Path) -> None:
    native = running.native
    native.tell(login(1, "job", secret=running.job()), login(2, "agent", token=running.agent.id))
    await running.until(lambda: len(native.answers) == 2)
    fresh = tokens.mint("agent")
    path = changed(
        tmp_path,
        running,
        identities=[
            {"name": "job", "issuer": "ci", "when": 'claims.repository == "shop"', "groups": ["new"]},
            {"name": "agent", "tokens": [{"id": fresh.id, "verifier": fresh.verifier}]},
        ],
    )
    loaded = load(path)
    settings = compile_settings(loaded.manifest, 2)
    native.refuse_load = NativeError("a rule does not compile")
    with pytest.raises(SeamError, match="does not compile"):
        await running.gateway.apply(loaded, settings, 2)
    assert not native.killed
    assert not native.regrouped
    native.refuse_load = None
    await running.gateway.apply(loaded, settings, 2)
    assert [session for session, _ in native.killed] == [session_id(2)]
    assert [(session, principal["groups"]) for session, principal in native.regrouped] == [(session_id(1), ["new"])]
    assert native.recorded[-1][0] == "reload"


async def test_a_wrong_manifest_is_loud_and_changes_nothing(running: Running) -> None:
    problem = Problem("penstock.yaml", 3, 1, "unknown key")
    running.gateway.report(Reloaded(1, None, ConfigError([problem])))
    health = (await running.call("GET", "/healthz")).json()
    assert (health["status"], list(health["notes"])) == ("ok", ["manifest"])


async def test_without_the_database_the_gateway_says_so(running: Running) -> None:
    running.gateway._revoked._seen = -1e9
    running.gateway._revoked._store = None  # type: ignore[assignment]
    answer = await running.call("GET", "/healthz")
    assert (answer.status_code, list(answer.json()["wrong"])) == (503, ["state"])


@pytest.mark.parametrize(("number", "times"), [(signal.SIGTERM, 1), (signal.SIGINT, 2)])
async def test_signals_drain_and_stop(
    tmp_path: Path, oidc_issuer: Issuer, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, times: int
) -> None:
    monkeypatch.setattr(seam, "read_trail", lambda *_: iter([]))
    manifest = from_data(manifest_data(tmp_path, oidc_issuer, tokens.mint("agent")), directory=tmp_path)
    native = FakeGateway(compile_settings(manifest, 1))
    gateway = Gateway(manifest, open_gateway=lambda _: native)
    ready = asyncio.Event()
    task = asyncio.create_task(run(gateway, None, ready=lambda _: ready.set()))
    await ready.wait()
    assert (tmp_path / "p.sock").exists()
    if times == 2:
        # A session that does not end: only the second signal cuts the wait short.
        native.drain = lambda seconds: setattr(native, "drained", seconds)  # type: ignore[method-assign]
        native.open = [{"session": "s"}]
    for _ in range(times):
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        await task
    assert native.stopped
    assert native.drained is not None
    assert not (tmp_path / "p.sock").exists()


async def test_what_prevents_a_start_is_said(
    tmp_path: Path, oidc_issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seam, "read_trail", lambda *_: iter([]))
    data = manifest_data(tmp_path, oidc_issuer, tokens.mint("agent"))

    async def started(native: FakeGateway | None = None) -> str:
        manifest = from_data(data, directory=tmp_path)
        gateway = Gateway(manifest, open_gateway=lambda settings: native or FakeGateway(settings))
        try:
            with pytest.raises(StartError) as caught:
                await gateway.start()
        finally:
            await gateway.stop()
        return f"{caught.value} {caught.value.hint}"

    class Taken(FakeGateway):
        def start(self) -> bytes:
            raise NativeError("127.0.0.1:6432 is in use", "stop the other program")

    assert "127.0.0.1:6432 is in use" in await started(Taken(b'{"listeners":{}}'))
    (tmp_path / "p.sock").write_text("no socket")
    assert "is no socket" in await started()
    (tmp_path / "p.sock").unlink()
    data["state"] = {"database": "postgresql://127.0.0.1:1/none"}
    assert "state database" in await started()
