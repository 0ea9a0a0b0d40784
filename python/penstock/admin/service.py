"""What the admin interface works with, gathered in one place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from penstock.approvals.desk import Desk
from penstock.approvals.reviewers import ReviewerSet
from penstock.identity.authenticator import Authenticator
from penstock.identity.exchange import Exchange
from penstock.identity.live import LiveSessions
from penstock.state.approvals import ApprovalStore
from penstock.state.nodes import NodeStore, OperatorActs
from penstock.state.revocations import RevocationStore
from penstock.state.sessions import SessionIndex
from penstock.state.tokens import TokenStore


class Gateway(Protocol):
    """What the interface asks of the running gateway."""

    def kill(self, session: str, reason: str) -> bool:
        """Ends a session."""

    def sessions(self) -> list[dict[str, Any]]:
        """The sessions open in this gateway."""

    def metrics(self) -> bytes:
        """Prometheus text."""

    def record(self, kind: str, detail: Mapping[str, Any]) -> None:
        """Adds evidence to the trail."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The tables the interface reads and changes."""

    sessions: SessionIndex
    approvals: ApprovalStore
    tokens: TokenStore
    revocations: RevocationStore
    nodes: NodeStore
    acts: OperatorActs


@dataclass(frozen=True, slots=True)
class Health:
    """What is ``wrong``, so that no new session is taken, and what else an operator should know."""

    wrong: Mapping[str, str]
    notes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Service:
    """Everything a request may touch."""

    gateway: Gateway
    authenticator: Authenticator
    exchange: Exchange
    live: LiveSessions
    desk: Desk
    stores: Stores
    reviewer_sets: Callable[[], Mapping[str, ReviewerSet]]
    read_trail: Callable[[bytes], Iterator[bytes]]
    health: Callable[[], Health]
    observing: Callable[[], int]
    poll: Callable[[], Awaitable[None]]
