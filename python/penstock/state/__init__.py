"""What outlives a session and a gateway: tokens, revocations, approvals, the index of sessions."""

from penstock.state.database import Database

__all__ = ["Database"]
