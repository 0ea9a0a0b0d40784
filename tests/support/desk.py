"""A desk of approvals on a state database, with a gateway that remembers what it was told."""

from collections.abc import Mapping
from typing import Any

from penstock.approvals.desk import Desk
from penstock.approvals.reviewers import Caller, ReviewerSet
from penstock.approvals.webhook import Webhooks
from penstock.state.approvals import ApprovalStore
from penstock.state.database import Database

DBA = Caller("corp:ada", issuer="corp", subject="ada", claim_groups=frozenset({"dba"}))


class Gate:
    """What the desk told the gateway."""

    def __init__(self) -> None:
        self.decided: list[tuple[str, int, str, str]] = []
        self.registered: dict[tuple[str, int], str] = {}
        self.recorded: list[tuple[str, str]] = []

    def decide(self, session: str, hold: int, *, verdict: str, by: str, reason: str) -> bool:
        assert by
        self.decided.append((session, hold, verdict, reason))
        return True

    def register(self, session: str, hold: int, approval: str) -> bool:
        self.registered[session, hold] = approval
        return True

    def record(self, kind: str, detail: Mapping[str, Any]) -> None:
        assert kind == "approval"
        self.recorded.append((detail["approval"], detail["what"]))

    def verdicts(self) -> list[tuple[str, str]]:
        return [(session, verdict) for session, _, verdict, _ in self.decided]


def desk_on(database: Database, node: str = "n1") -> tuple[Desk, Gate]:
    gate = Gate()
    desk = Desk(gate=gate, store=ApprovalStore(database), webhooks=Webhooks(), node=node)
    desk.load({"owners": ReviewerSet("owners", ("corp:group:dba", "corp:sub:bob", "identity:robot", "group:admins"))})
    return desk, gate


def hold(session: str = "s1", **more: Any) -> dict[str, Any]:
    event = {
        "type": "hold", "session": session, "hold": 1, "identity": "job", "issuer": "ci", "subject": "repo",
        "groups": ["pipelines"], "target": "shop", "database": "shop", "rule": "bulk", "reviewers": ["owners"],
        "expires_seconds": 900, "phase": "result", "why": "result.rows > 10000", "rows": 10001, "bytes": 5,
        "complete": False, "request": "aa", "parameters": ["1"],
        "statement": {"text": "SELECT 1", "kind": "select", "tables": [], "shape": "f00d"},
        "sample": {"columns": ["a"], "rows": [["x"]]},
    }  # fmt: skip
    return {**event, **more}
