"""The command: what it prints, its exit codes, and that no secret stands on its command line or in its errors."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from penstock import cli
from penstock.cli import output
from penstock.demo.issuer import Issuer
from penstock.errors import UsageError
from penstock.identity import tokens
from support.app import Running, login, opened, running_gateway, session_id
from support.desk import hold
from support.payload import SESSION
from support.waiting import eventually

Run = Callable[..., Coroutine[Any, Any, tuple[int, str, str]]]


@pytest.fixture
async def running(tmp_path: Path, oidc_issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    # The gateway's log would mix with what the commands print.
    with capture_logs():
        async with running_gateway(tmp_path, oidc_issuer, monkeypatch) as started:
            monkeypatch.setenv("PENSTOCK_ADMIN", started.admin)
            monkeypatch.delenv("PENSTOCK_TOKEN", raising=False)
            yield started


def finished(arguments: tuple[str, ...]) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def penstock(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command beside the loop that serves it: exit code, standard output, standard error."""

    async def run(*arguments: str, token: str | None = None) -> tuple[int, str, str]:
        capfd.readouterr()
        if token is not None:
            monkeypatch.setenv("PENSTOCK_TOKEN", token)
        code = await asyncio.to_thread(finished, arguments)
        monkeypatch.delenv("PENSTOCK_TOKEN", raising=False)
        out, err = capfd.readouterr()
        return code, out, err

    return run


async def test_approvals_from_the_list_to_the_decision(running: Running, penstock: Run) -> None:
    code, out, _ = await penstock("approvals", "list")
    assert (code, out) == (0, "nothing waits\n")
    running.native.tell(hold("s1", statement={"text": "SELECT 1\n\x1b[2J", "shape": "aa"}))
    await running.until(lambda: running.native.registered)
    reference = running.native.registered[0][2]
    code, out, _ = await penstock("approvals", "list")
    assert (code, reference in out, "shop/shop" in out) == (0, True, True)
    code, out, _ = await penstock("approvals", "show", reference)
    assert "10,001 so far" in out
    assert "job (ci:repo)" in out
    assert "sample, as the client would see it:\nA\nx\n" in out
    assert "\x1b" not in out
    code, out, err = await penstock("approvals", "approve", reference, "--reason", "ok")
    assert (code, out) == (1, "")
    assert "hint: present a reviewer's own token" in err
    code, out, _ = await penstock(
        "approvals", "approve", reference, "--reason", "ok", "--for", "30d", "--rows", "50000", token=running.reviewer()
    )
    assert (code, out) == (0, f"{reference} is approved\n")
    code, out, _ = await penstock("approvals", "deny", reference, "--reason", "x", "--json", token=running.reviewer())
    assert (code, "already approved" in json.loads(out)["error"]) == (1, True)


async def test_sessions_and_replay(running: Running, penstock: Run) -> None:
    native = running.native
    native.tell(login(1, "agent", token=running.agent.id))
    await running.until(lambda: native.answers)
    native.tell(
        opened(1, "agent"), opened(2, "job"), {"type": "closed", "session": session_id(2), "at": 5, "reason": "bye"}
    )

    async def indexed() -> bool:
        return "bye" in (await penstock("sessions", "list", "--all"))[1]

    await eventually(indexed)
    code, out, _ = await penstock("sessions", "list", "--json")
    assert [each["session"] for each in json.loads(out)["sessions"]] == [session_id(1)]
    code, out, _ = await penstock("sessions", "show", session_id(2))
    assert "identity     job\n" in out
    code, out, _ = await penstock("sessions", "kill", session_id(1), "--reason", "loops")
    assert (code, out) == (0, f"session {session_id(1)} is ended\n")
    code, _, err = await penstock("sessions", "kill", session_id(9))
    assert (code, "there is no session" in err) == (1, True)
    code, out, _ = await penstock("replay", SESSION)
    assert "SELECT name, n" in out
    code, out, _ = await penstock("replay", SESSION, "--format", "csv", "--exchange", "1")
    assert out.replace("\r", "").startswith("name,n\n")
    code, out, _ = await penstock("replay", SESSION, "--json")
    assert json.loads(out.splitlines()[0])["evidence"] == "session_opened"
    code, _, err = await penstock("replay", SESSION, "--format", "csv")
    assert (code, "--exchange N" in err) == (2, True)


async def test_login_gives_a_token_that_works(running: Running, penstock: Run, tmp_path: Path) -> None:
    code, out, _ = await penstock("login", "job", "--ttl", "10m", token=running.job())
    assert code == 0
    assert tokens.token_id(out.strip()) is not None
    file = tmp_path / "token"
    file.write_text(running.job() + "\n")
    code, out, _ = await penstock("login", "job", "--token-file", str(file), "--json")
    assert json.loads(out)["identity"] == "job"
    wrong = running.issuer.mint("x", repository="no")
    code, out, err = await penstock("login", "job", token=wrong)
    assert (code, out) == (1, "")
    assert "not accepted" in err
    assert wrong not in err
    assert (await penstock("login", "job"))[0] == 2


async def test_tokens_are_minted_listed_and_revoked(running: Running, penstock: Run) -> None:
    code, out, _ = await penstock("token", "new", "agent-9", "--json")
    made = json.loads(out)
    assert tokens.verify(made["token"], made["verifier"])
    code, out, _ = await penstock("token", "new", "agent-9", "--expires", "2999-01-31")
    assert "expires: 2999-01-31}" in out
    assert (await penstock("token", "new", "agent-9", "--expires", "2001-01-01"))[0] == 2
    code, out, _ = await penstock("token", "list")
    assert running.agent.id in out
    code, out, _ = await penstock("token", "revoke", running.agent.id, "--reason", "r")
    assert out == f"token {running.agent.id} is revoked\n"
    code, out, _ = await penstock("token", "revoke", "--identity", "job")
    assert out == "identity job is revoked\n"
    code, out, _ = await penstock("token", "revoke", "--identity", "job", "--lift")
    assert code == 0
    assert out == "identity job is no longer revoked\n"
    for arguments in ((), ("a", "--identity", "b"), ("a", "--lift"), ("not-an-id",)):
        assert (await penstock("token", "revoke", *arguments))[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("approvals", "approve", "x"),
        ("approvals", "approve", "apr_000000000000", "--reason", "r", "--for", "soon"),
        ("sessions", "list", "--limit", "many"),
        ("sessions", "list", "--nonsense"),
        ("sessions", "list", "--admin", "nowhere"),
        ("sessions", "list", "--token-file", "/nonexistent/token"),
        ("replay", SESSION, "--format", "exe"),
    ],
)
def test_a_wrong_command_line_ends_with_2(arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    assert finished(arguments) == 2
    out, err = capfd.readouterr()
    assert err.startswith("penstock: ")
    assert "Traceback" not in out + err


def test_nobody_there_is_said_with_what_to_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for admin in (f"unix:{tmp_path}/none.sock", "127.0.0.1:1"):
        assert finished(("sessions", "list", "--admin", admin)) == 1
        assert "is the gateway running?" in capfd.readouterr().err


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_help_is_quick_and_loads_nothing_heavy(option: str) -> None:
    program = (
        "import sys; from penstock.cli import main\n"
        f"try: main(['{option}'])\n"
        "except SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'httpx', 'pydantic', 'starlette', 'uvicorn', 'alembic', 'penstock._native'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "0.1.0" in done.stdout or "approvals" in done.stdout


def test_every_command_has_help(capfd: pytest.CaptureFixture[str]) -> None:
    for command in ("", "login", "token new", "token revoke", "sessions list", "replay", "approvals approve"):
        with pytest.raises(SystemExit) as ended:
            cli.main([*command.split(), "--help"])
        assert ended.value.code in {0, None}
        assert "Usage" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("8h", 28800), ("30d", 2592000), (None, None)]
)
def test_durations(text: str | None, seconds: int | None) -> None:
    assert output.seconds_of(text, "--for") == seconds


@pytest.mark.parametrize("text", ["", "0s", "5", "-5m", "1w", "9999999999s", "１m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError):
        output.seconds_of(text, "--for")
