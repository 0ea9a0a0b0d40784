"""Signed webhooks against a receiver of their own."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from penstock.approvals import webhook
from penstock.approvals.desk import Review
from penstock.approvals.reviewers import ReviewerSet
from penstock.state.approvals import ApprovalStore
from penstock.state.database import Database
from support.desk import DBA, desk_on, hold
from support.waiting import eventually

_SECRET = "a shared secret"


class Receiver:
    """What arrived, and how it is to be answered."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[str | None, bytes]] = []
        self.answers: list[int] = []


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.got.append((self.headers.get(webhook.SIGNATURE), body))
            self.send_response(made.answers.pop(0) if made.answers else 204)
            self.send_header("location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class names it)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


async def deliver(*sets: ReviewerSet, backoff: tuple[float, ...] = (0.01, 0.01)) -> list[tuple[bool, str]]:
    hooks, ended = webhook.Webhooks(backoff=backoff), list[tuple[bool, str]]()

    async def told(_reviewers: str, arrived: bool, why: str) -> None:
        ended.append((arrived, why))

    hooks.send(sets, {"type": "test"}, told)
    expected = sum(len(each.notify) for each in sets)

    async def all_ended() -> bool:
        return len(ended) == expected

    await eventually(all_ended, seconds=10)
    await hooks.close()
    return ended


def owners(*urls: str, secret: str | None = _SECRET) -> ReviewerSet:
    return ReviewerSet("owners", ("group:a",), urls, secret)


async def test_a_delivery_is_signed(receiver: Receiver) -> None:
    assert await deliver(owners(receiver.url)) == [(True, "")]
    signature, body = receiver.got[0]
    assert signature is not None
    assert json.loads(body) == {"type": "test"}
    now = time.time()
    assert webhook.verify(_SECRET, body, signature, now=now)
    assert not webhook.verify(_SECRET, body + b" ", signature, now=now)
    assert not webhook.verify("another", body, signature, now=now)
    assert not webhook.verify(_SECRET, body, signature, now=now + 301)
    for damaged in ("", "t=1", "v1=00", "t=x,v1=y", signature.replace("t=", "t=1")):
        assert not webhook.verify(_SECRET, body, damaged, now=now)


async def test_a_failing_receiver_is_tried_again_within_bounds(receiver: Receiver) -> None:
    receiver.answers = [500, 429, 204]
    assert await deliver(owners(receiver.url)) == [(True, "")]
    receiver.answers = [503] * 9
    assert await deliver(owners(receiver.url)) == [(False, "the receiver answered 503")]
    assert len(receiver.got) == 6


@pytest.mark.parametrize("status", [400, 404, 302])
async def test_a_refusal_is_not_repeated_nor_a_redirect_followed(receiver: Receiver, status: int) -> None:
    receiver.answers = [status] * 3
    assert await deliver(owners(receiver.url)) == [(False, f"the receiver answered {status}")]
    assert len(receiver.got) == 1


@pytest.mark.parametrize("url", ["http://hooks.example/x", "ftp://127.0.0.1/x", "http://127.0.0.1:1/closed"])
async def test_what_cannot_be_reached_or_must_not(url: str) -> None:
    ((arrived, why),) = await deliver(owners(url))
    assert not arrived
    assert why


async def test_a_dead_receiver_does_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "MOST_PENDING", 2)
    hooks = webhook.Webhooks(backoff=(60.0,))

    async def told(*_: object) -> None:
        raise AssertionError

    for _ in range(5):
        hooks.send([owners("http://127.0.0.1:1/x")], {}, told)
    assert len(hooks._pending) == 2
    await hooks.close()


async def test_a_request_and_its_decision_are_announced_without_rows(sqlite: Database, receiver: Receiver) -> None:
    desk, gate = desk_on(sqlite)
    desk.load({"owners": ReviewerSet("owners", ("corp:group:dba",), (receiver.url,), _SECRET)})
    await desk.hold(hold(parameters=["very secret"], sample={"columns": ["a"], "rows": [["row of data"]]}))
    reference = gate.registered["s1", 1]
    await desk.review(reference, DBA, Review(approve=True, reason="fine"))
    store = ApprovalStore(sqlite)

    async def both_arrived() -> bool:
        return [event["kind"] for event in await store.events(reference)].count("notified") == 2

    await eventually(both_arrived)
    told = sorted((json.loads(body) for _, body in receiver.got), key=lambda each: str(each["type"]))
    assert [each["type"] for each in told] == ["approval.decided", "approval.requested"]
    assert (told[0]["status"], told[0]["decided_by"], told[1]["status"]) == ("approved", "corp:ada", "pending")
    assert not any(secret in body for _, body in receiver.got for secret in (b"very secret", b"row of data"))
