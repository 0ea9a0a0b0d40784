"""``penstock approvals``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from penstock.cli.client import Access
from penstock.cli.output import fields, moment, plain, say, say_json, seconds_of, table

approvals = App(
    name="approvals",
    help="Requests that wait for a person. Deciding needs a reviewer's own token, and never whoever asked.",
)


@approvals.command(name="list")
def list_(
    *,
    status: Literal["pending", "approved", "denied", "expired", "withdrawn", "all"] = "pending",
    limit: int = 100,
    access: Access = Access(),  # noqa: B008  (frozen)
) -> int:
    """List requests, the newest first.

    Args:
        status: Only those; or all.
        limit: At most so many.
    """
    found = access.get("/v1/approvals", status=status, limit=limit)
    if access.json:
        say_json(found)
        return 0
    rows = (
        (
            each["id"],
            each["status"],
            each["identity"],
            f"{each['target']}/{each['database']}",
            each["rule"],
            each["rows"],
            moment(each["expires"]),
        )
        for each in found["approvals"]
    )
    head = ("request", "status", "identity", "target", "rule", "rows", "expires")
    table(head, rows, empty="nothing waits" if status == "pending" else "there are no such requests")
    return 0


@approvals.command
def show(approval: str, *, access: Access = Access()) -> int:  # noqa: B008  (frozen)
    """Show one request: who asks what, by which rule it waits, how much, and a masked sample.

    Args:
        approval: Its id, such as apr_….
    """
    found = access.get(f"/v1/approvals/{approval}")
    if access.json:
        say_json(found)
        return 0
    statement = found.get("statement")
    text = statement.get("text") if isinstance(statement, Mapping) else statement
    who = found["identity"] + (f" ({found['issuer']}:{found['subject']})" if found.get("subject") else "")
    fields(
        [
            ("request", found["id"]),
            ("status", found["status"]),
            ("who", who),
            ("target", f"{found['target']}/{found['database']}"),
            ("rule", found["rule"]),
            ("why", found.get("why")),
            ("rows", _rows(found)),
            ("expires", moment(found["expires"]) if found["status"] == "pending" else None),
            ("decided by", found.get("decided_by")),
            ("reason", found.get("reason")),
            ("reviewers", ", ".join(found["reviewers"])),
        ]
    )
    say("\nstatement:")
    for line in str(text or "").splitlines():
        say(f"    {plain(line)}")
    sample = found.get("sample") or {}
    if sample.get("rows"):
        say("\nsample, as the client would see it:")
        table([str(name) for name in sample["columns"]], sample["rows"], empty="")
    return 0


def _rows(found: Mapping[str, Any]) -> str | None:
    if found["phase"] != "result" or found["rows"] is None:
        return None
    return f"{found['rows']:,}" + ("" if found["complete"] else " so far")


@approvals.command
def approve(
    approval: str,
    *,
    reason: str,
    for_: Annotated[str | None, Parameter(name="--for")] = None,
    rows: int | None = None,
    access: Access = Access(),  # noqa: B008  (frozen)
) -> int:
    """Approve a request, or with --for every request of the same shape by the same identity for a time.

    Args:
        approval: Its id.
        reason: Why; it stands in the trail.
        for_: How long the approval covers the statement's shape, such as 30d.
        rows: With --for: cover results of at most so many rows.
    """
    body = {"reason": reason, "for_seconds": seconds_of(for_, "--for"), "rows": rows}
    return _told(access.post(f"/v1/approvals/{approval}/approve", body), access)


@approvals.command
def deny(approval: str, *, reason: str, access: Access = Access()) -> int:  # noqa: B008  (frozen)
    """Deny a request.

    Args:
        approval: Its id.
        reason: Why; the client is told, and it stands in the trail.
    """
    return _told(access.post(f"/v1/approvals/{approval}/deny", {"reason": reason}), access)


def _told(decided: Mapping[str, Any], access: Access) -> int:
    if access.json:
        say_json(decided)
    else:
        say(f"{decided['id']} is {decided['status']}")
    return 0
