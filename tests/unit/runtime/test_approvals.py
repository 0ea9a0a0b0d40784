"""Holds and reviewers: one request, one decision, never by whoever asked."""

import asyncio
from typing import Any

import pytest

from penstock.approvals.desk import Review
from penstock.approvals.reviewers import Caller
from penstock.errors import AlreadyDecided, NotAReviewer, NotFound, StateUnavailable
from penstock.state.approvals import ApprovalStore
from penstock.state.database import Database
from support.desk import DBA, desk_on, hold

YES = Review(approve=True, reason="fine")
NO = Review(approve=False, reason="no need")


async def test_a_hold_waits_until_a_reviewer_decides(database: Database) -> None:
    desk, gate = desk_on(database)
    await desk.hold(hold())
    reference = gate.registered["s1", 1]
    assert gate.decided == []
    shown = await desk.show(reference)
    assert (shown.pending, shown.rows, shown.sample) == (True, 10001, {"columns": ["a"], "rows": [["x"]]})
    await desk.update({**hold(), "rows": 12000, "complete": True, "sample": {"columns": ["a"], "rows": [["y"]]}})
    shown = await desk.show(reference)
    assert (shown.rows, shown.complete) == (12000, True)
    decided = await desk.review(reference, DBA, YES)
    assert (decided.status, decided.decided_by) == ("approved", "corp:ada")
    assert gate.decided == [("s1", 1, "approved", "fine")]
    assert gate.recorded == [(reference, "requested"), (reference, "approved")]
    with pytest.raises(AlreadyDecided, match="already approved by corp:ada"):
        await desk.review(reference, DBA, NO)
    assert len(desk) == 0


async def test_of_a_denied_result_no_rows_stay(database: Database) -> None:
    desk, gate = desk_on(database)
    await desk.hold(hold())
    decided = await desk.review(gate.registered["s1", 1], DBA, NO)
    assert decided.sample is None
    assert gate.decided == [("s1", 1, "denied", "no need")]


@pytest.mark.parametrize(
    ("caller", "may"),
    [
        (Caller("x", issuer="corp", subject="bob"), True),
        (Caller("x", issuer="other", subject="bob"), False),
        (Caller("x", issuer="corp", subject="eve", claim_groups=frozenset({"sub"})), False),
        (Caller("x", issuer="other", subject="ada", claim_groups=frozenset({"dba"})), False),
        (Caller("robot", identity="robot", identities=frozenset({"robot"})), True),
        (Caller("x", identity="a", identities=frozenset({"a"}), groups=frozenset({"admins"})), True),
        (Caller("local user 0", operator=True), False),
        # Whoever asked: the same issuer and subject, or the identity itself.
        (Caller("x", issuer="ci", subject="repo", groups=frozenset({"admins"})), False),
        (Caller("job", identity="job", identities=frozenset({"job", "robot"})), False),
        # Another person who could be the same identity may review what this one did not ask.
        (Caller("x", issuer="corp", subject="bob", identities=frozenset({"job"})), True),
    ],
)
async def test_who_may_decide(sqlite: Database, caller: Caller, may: bool) -> None:
    desk, gate = desk_on(sqlite)
    await desk.hold(hold())
    if may:
        await desk.review(gate.registered["s1", 1], caller, YES)
    else:
        with pytest.raises(NotAReviewer):
            await desk.review(gate.registered["s1", 1], caller, YES)
        assert gate.decided == []


async def test_a_static_identity_never_reviews_itself(sqlite: Database) -> None:
    desk, gate = desk_on(sqlite)
    await desk.hold(hold(identity="robot", issuer=None, subject=None))
    for caller in (
        Caller("robot", identity="robot", identities=frozenset({"robot"})),
        Caller("x", issuer="corp", subject="bob", identities=frozenset({"robot"})),
    ):
        with pytest.raises(NotAReviewer, match="whoever asked"):
            await desk.review(gate.registered["s1", 1], caller, YES)


async def test_identical_requests_are_one(database: Database) -> None:
    desk, gate = desk_on(database)
    await asyncio.gather(*(desk.hold(hold(f"s{number}")) for number in range(5)))
    assert len(set(gate.registered.values())) == 1
    await desk.hold(hold("other", request="bb"))
    await desk.hold(hold("third", identity="job-2"))
    assert len(set(gate.registered.values())) == 3
    await desk.review(gate.registered["s0", 1], DBA, YES)
    assert sorted(gate.verdicts()) == [(f"s{number}", "approved") for number in range(5)]


async def test_who_joins_a_request_may_not_decide_it(database: Database) -> None:
    desk, gate = desk_on(database)
    await desk.hold(hold("s1"))
    await desk.hold(hold("s2", issuer="corp", subject="bob"))
    with pytest.raises(NotAReviewer):
        await desk.review(gate.registered["s1", 1], Caller("b", issuer="corp", subject="bob"), YES)


async def test_reviewers_of_two_gateways_decide_once(database: Database) -> None:
    (here, gate), (there, other) = desk_on(database, "n1"), desk_on(database, "n2")
    await here.hold(hold("s1"))
    await there.hold(hold("s2"))
    reference = gate.registered["s1", 1]
    assert other.registered["s2", 1] == reference
    reviews = [here.review(reference, DBA, YES) if turn % 2 else there.review(reference, DBA, NO) for turn in range(10)]
    results = await asyncio.gather(*reviews, return_exceptions=True)
    assert sum(isinstance(result, AlreadyDecided) for result in results) == 9
    await asyncio.gather(here.tick(), there.tick())
    assert len(gate.decided) == len(other.decided) == 1
    assert gate.decided[0][2] == other.decided[0][2] == (await here.show(reference)).status


async def test_nobody_decides_what_has_expired(database: Database) -> None:
    desk, gate = desk_on(database)
    await desk.hold(hold(expires_seconds=0))
    with pytest.raises(AlreadyDecided, match="already expired"):
        await desk.review(gate.registered["s1", 1], DBA, YES)
    await desk.tick()
    await desk.tick()
    assert gate.decided == [("s1", 1, "expired", "nobody decided in time")]
    assert (await desk.show(gate.registered["s1", 1])).status == "expired"


async def test_a_late_request_is_not_joined(database: Database) -> None:
    desk, gate = desk_on(database)
    await desk.hold(hold("s1", expires_seconds=0))
    await desk.hold(hold("s2"))
    assert gate.registered["s1", 1] != gate.registered["s2", 1]


async def test_a_restart_expires_what_waited(database: Database) -> None:
    (before, gate), (elsewhere, other) = desk_on(database, "n1"), desk_on(database, "n2")
    await before.hold(hold("s1"))
    await before.hold(hold("s2", request="shared"))
    await elsewhere.hold(hold("s3", request="shared"))
    after, _ = desk_on(database, "n1")
    await after.start()
    alone = await after.show(gate.registered["s1", 1])
    assert (alone.status, alone.reason) == ("expired", "the gateway restarted")
    assert (await after.show(other.registered["s3", 1])).pending, "another gateway still waits for it"


async def test_a_client_that_goes_withdraws_its_request(database: Database) -> None:
    desk, gate = desk_on(database)
    await desk.hold(hold("s1"))
    await desk.hold(hold("s2"))
    reference = gate.registered["s1", 1]
    await desk.withdrawn({"session": "s1", "hold": 1, "why": "cancelled"})
    assert (await desk.show(reference)).pending, "another still waits"
    await desk.session_closed("s2")
    shown = await desk.show(reference)
    assert (shown.status, shown.reason) == ("withdrawn", "the session ended")
    with pytest.raises(AlreadyDecided, match="withdrawn"):
        await desk.review(reference, DBA, YES)
    assert gate.decided == []


async def test_an_approval_may_cover_the_shape_for_a_time(database: Database) -> None:
    desk, gate = desk_on(database)
    await desk.hold(hold("s1"))
    await desk.review(gate.registered["s1", 1], DBA, Review(approve=True, reason="monthly", cover_seconds=3600))
    await desk.hold(hold("s2", request="other parameters"))
    assert gate.verdicts() == [("s1", "approved"), ("s2", "approved")]
    for number, change in enumerate(({"identity": "x"}, {"target": "x"}, {"database": "x"}, {"rule": "x"})):
        await desk.hold(hold(f"t{number}", request=f"{number}", **change))
    other_shape = {"text": "SELECT 2", "kind": "select", "tables": [], "shape": "beef"}
    await desk.hold(hold("t9", request="9", statement=other_shape))
    assert len(gate.decided) == 2, "another identity, target, database, rule or shape is not covered"


async def test_a_cover_ends(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, gate = desk_on(database)
    await desk.hold(hold("s1"))
    await desk.review(gate.registered["s1", 1], DBA, Review(approve=True, reason="r", cover_seconds=60))
    from penstock.state import approvals
    from penstock.state import database as clock

    now = clock.now_us()
    monkeypatch.setattr(approvals, "now_us", lambda: now + 61_000_000)
    await desk.hold(hold("s2", request="b"))
    assert gate.verdicts() == [("s1", "approved")]


async def test_a_cover_with_a_bound_waits_for_the_count(database: Database) -> None:
    desk, gate = desk_on(database)
    await desk.hold(hold("s1"))
    cover = Review(approve=True, reason="r", cover_seconds=3600, rows_limit=20_000)
    await desk.review(gate.registered["s1", 1], DBA, cover)
    await desk.hold(hold("s2", request="b"))
    await desk.update({**hold("s2"), "rows": 15_000, "complete": False})
    assert gate.verdicts() == [("s1", "approved")]
    await desk.update({**hold("s2"), "rows": 20_000, "complete": True})
    assert gate.verdicts() == [("s1", "approved"), ("s2", "approved")]
    await desk.hold(hold("s3", request="c"))
    await desk.update({**hold("s3"), "rows": 20_001, "complete": True})
    assert len(gate.decided) == 2


async def test_without_the_database_a_hold_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, gate = desk_on(database)
    await desk.hold(hold("open", expires_seconds=1))

    async def away(*_: object, **__: object) -> None:
        raise StateUnavailable("gone")

    for name in ("covering", "join", "expire", "outcomes"):
        monkeypatch.setattr(ApprovalStore, name, away)
    await desk.hold(hold("s1"))
    assert gate.verdicts() == [("s1", "denied")]
    await asyncio.sleep(1.05)
    with pytest.raises(StateUnavailable):
        await desk.tick()
    assert gate.verdicts() == [("s1", "denied"), ("open", "expired")], "nobody waits past the time they were told"


async def test_a_withdrawal_overtaking_its_hold_is_not_lost(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, gate = desk_on(sqlite)
    real, reached, go = ApprovalStore.join, asyncio.Event(), asyncio.Event()

    async def slow(self: ApprovalStore, *arguments: Any) -> Any:
        reached.set()
        await go.wait()
        return await real(self, *arguments)

    monkeypatch.setattr(ApprovalStore, "join", slow)
    holding = asyncio.create_task(desk.hold(hold()))
    await reached.wait()
    await desk.session_closed("s1")
    go.set()
    await holding
    assert gate.registered == {}
    assert [each.status for each in await ApprovalStore(sqlite).newest()] == ["withdrawn"]


async def test_there_must_be_such_a_request(sqlite: Database) -> None:
    desk, _ = desk_on(sqlite)
    with pytest.raises(NotFound):
        await desk.review("apr_000000000000", DBA, YES)
