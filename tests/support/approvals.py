"""Requests that wait for a reviewer, through the gateway's admin socket."""

from typing import Any

from penstock.demo.gateway import Gateway
from penstock.demo.processes import wait_until


def listed(gateway: Gateway, token: str) -> list[dict[str, Any]]:
    """All requests that this reviewer may see."""
    status, body = gateway.request("GET", "/v1/approvals?status=all", token=token)
    assert status == 200, (status, body)
    return list(body["approvals"] if isinstance(body, dict) else body)


def pending(gateway: Gateway, token: str, *, seconds: float = 20) -> dict[str, Any]:
    """The one request that waits now, once there is one."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [entry for entry in listed(gateway, token) if entry["status"] == "pending"]
        return bool(found)

    wait_until(there, seconds=seconds, what="a request waits for a reviewer", interval=0.05)
    assert len(found) == 1, found
    return found[0]


def none_pending(gateway: Gateway, token: str, *, seconds: float = 10) -> None:
    """Waits until no request waits any more."""
    wait_until(
        lambda: all(entry["status"] != "pending" for entry in listed(gateway, token)),
        seconds=seconds,
        what="no request waits",
        interval=0.05,
    )


def decide(
    gateway: Gateway, token: str, approval: str, verb: str, reason: str = "seen", **more: Any
) -> tuple[int, Any]:
    """Approves or denies a request; returns the status and the answer."""
    return gateway.request("POST", f"/v1/approvals/{approval}/{verb}", token=token, body={"reason": reason, **more})


def show(gateway: Gateway, token: str, approval: str) -> dict[str, Any]:
    """One request in full."""
    status, body = gateway.request("GET", f"/v1/approvals/{approval}", token=token)
    assert status == 200, (status, body)
    return dict(body)
