"""Exchanged tokens: bound to issuer, subject and identity, kept as verifiers."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from penstock.state import schema
from penstock.state.database import Database, now_us


@dataclass(frozen=True, slots=True)
class ExchangedToken:
    """One token of ``penstock login``; times in Unix microseconds, ``claims`` as the issuer signed them."""

    id: str
    identity: str
    issuer: str
    subject: str
    claims: str
    verifier: str
    created: int
    expires: int

    def __repr__(self) -> str:
        return f"ExchangedToken(id={self.id!r}, identity={self.identity!r})"


class TokenStore:
    """The table of exchanged tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, token: ExchangedToken) -> None:
        """Keeps a token, and drops those that expired long ago."""
        table = schema.tokens
        row = {name: getattr(token, name) for name in table.c.keys()}  # noqa: SIM118  (columns are no mapping)
        async with self._database.write() as connection:
            await connection.execute(insert(table).values(**row))
            await connection.execute(delete(table).where(table.c.expires < now_us() - 86_400_000_000))

    async def get(self, token_id: str) -> ExchangedToken | None:
        """The token of that id, expired or not."""
        table = schema.tokens
        async with self._database.read() as connection:
            row = (await connection.execute(select(table).where(table.c.id == token_id))).mappings().first()
        return ExchangedToken(**row) if row is not None else None

    async def unexpired(self, limit: int = 1000) -> list[ExchangedToken]:
        """Tokens that have not expired, the newest first."""
        table = schema.tokens
        wanted = select(table).where(table.c.expires > now_us()).order_by(table.c.created.desc()).limit(limit)
        async with self._database.read() as connection:
            return [ExchangedToken(**row) for row in (await connection.execute(wanted)).mappings()]
