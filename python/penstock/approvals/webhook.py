"""Tells reviewers by webhook, signed, that a request waits or is decided."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import structlog

from penstock.approvals.reviewers import ReviewerSet
from penstock.identity.keys import is_loopback

#: Seconds for one delivery, and between one that failed and the next.
DELIVERY_SECONDS = 5.0
BACKOFF = (1.0, 2.0, 4.0, 8.0)
#: Deliveries under way at once; beyond it new ones are dropped and said so: a dead receiver must not fill memory.
MOST_PENDING = 256
SIGNATURE = "Penstock-Signature"

_LOG = structlog.get_logger("penstock.approvals")

#: Told how a delivery ended: reviewer set, whether it arrived, and why not.
Told = Callable[[str, bool, str], Awaitable[None]]


def sign(secret: str, body: bytes, at: int) -> str:
    """The signature header of ``body`` sent at ``at`` (Unix seconds): HMAC-SHA256 over ``<at>.<body>``."""
    mac = hmac.new(secret.encode(), str(at).encode() + b"." + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def verify(secret: str, body: bytes, header: str, *, now: float, tolerance: float = 300.0) -> bool:
    """Whether ``header`` is our signature of ``body`` and not older than ``tolerance`` seconds: for receivers."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    stated = parts.get("t", "")
    if not stated.isascii() or not stated.isdigit() or abs(now - int(stated)) > tolerance:
        return False
    return hmac.compare_digest(sign(secret, body, int(stated)), f"t={stated},v1={parts.get('v1', '')}")


class Webhooks:
    """Deliveries to reviewers, each tried a few times in the background."""

    def __init__(self, *, backoff: tuple[float, ...] = BACKOFF) -> None:
        self._backoff = backoff
        self._pending: set[asyncio.Task[None]] = set()

    def send(self, sets: Iterable[ReviewerSet], document: Mapping[str, Any], told: Told) -> None:
        """Begins to deliver ``document`` to every address of ``sets``; returns at once."""
        body = orjson.dumps(document)
        for reviewers in sets:
            for url in reviewers.notify:
                if len(self._pending) >= MOST_PENDING:
                    _LOG.error("webhook_dropped", reviewers=reviewers.name, pending=len(self._pending))
                    continue
                task = asyncio.create_task(self._deliver(reviewers, url, body, told))
                self._pending.add(task)
                task.add_done_callback(self._pending.discard)

    async def close(self) -> None:
        """Gives up on what is still under way."""
        for task in list(self._pending):
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)

    async def _deliver(self, reviewers: ReviewerSet, url: str, body: bytes, told: Told) -> None:
        why = "the address is neither https nor on loopback"
        if _allowed(url):
            for pause in (*self._backoff, None):
                why, again = await _post(reviewers, url, body)
                if not why or not again or pause is None:
                    break
                await asyncio.sleep(pause)
        if why:
            _LOG.warning("webhook_failed", reviewers=reviewers.name, host=urlsplit(url).hostname, why=why)
        await told(reviewers.name, not why, why)


def _allowed(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))


async def _post(reviewers: ReviewerSet, url: str, body: bytes) -> tuple[str, bool]:
    """Sends once; returns why it failed (empty: it did not) and whether another try may help."""
    headers = {"content-type": "application/json", "user-agent": "penstock"}
    if reviewers.secret is not None:
        headers[SIGNATURE] = sign(reviewers.secret, body, int(time.time()))
    local = is_loopback(urlsplit(url).hostname)
    try:
        async with (
            asyncio.timeout(DELIVERY_SECONDS),
            httpx.AsyncClient(follow_redirects=False, trust_env=not local, timeout=DELIVERY_SECONDS) as client,
            client.stream("POST", url, content=body, headers=headers) as response,
        ):
            # The answer's body is nobody's business: only the status counts, so that it cannot fill memory.
            status = response.status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, True
    if 200 <= status < 300:
        return "", False
    return f"the receiver answered {status}", status >= 500 or status in {408, 429}
