"""The tables. Times are Unix microseconds, documents are JSON text, so that both engines hold the same."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Table, Text, UniqueConstraint

metadata = MetaData()

#: SQLite numbers rows by itself only for INTEGER PRIMARY KEY.
_SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("identity", Text, nullable=False, index=True),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("claims", Text, nullable=False),
    Column("verifier", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
)

revocations = Table(
    "revocations",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("until", BigInteger),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    UniqueConstraint("kind", "value"),
    sqlite_autoincrement=True,  # a number of a deleted row never comes back: watchers compare the highest
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("open_key", Text, unique=True),
    Column("identity", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("database", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("shape", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("decided", BigInteger),
    Column("decided_by", Text),
    Column("reason", Text),
    Column("reviewers", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("rows", BigInteger),
    Column("bytes", BigInteger),
    Column("complete", Boolean, nullable=False),
    Column("sample", Text),
    Index("approvals_by_status", "status", "created"),
)

approval_waits = Table(
    "approval_waits",
    metadata,
    Column("approval", Text, nullable=False, index=True),
    Column("node", Text, primary_key=True),
    Column("session", Text, primary_key=True),
    Column("hold", BigInteger, primary_key=True),
    Column("issuer", Text),
    Column("subject", Text),
)

approval_events = Table(
    "approval_events",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("approval", Text, nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("detail", Text, nullable=False),
)

shape_approvals = Table(
    "shape_approvals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("identity", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("database", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("shape", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("rows_limit", BigInteger),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("shape_approvals_by_shape", "shape", "identity", "target"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("node", Text, nullable=False),
    Column("identity", Text, nullable=False, index=True),
    Column("groups", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("database", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("application", Text, nullable=False),
    Column("opened", BigInteger, nullable=False, index=True),
    Column("closed", BigInteger),
    Column("reason", Text),
    Column("statements", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("segments", Text, nullable=False),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("started", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("version", Text, nullable=False),
)

operator_acts = Table(
    "operator_acts",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("detail", Text, nullable=False),
)
