"""State databases for tests, and an authenticator on one."""

import asyncpg

from penstock.demo.cluster import Cluster
from penstock.identity.authenticator import Authenticator
from penstock.identity.oidc import Verifier
from penstock.identity.principal import Evaluate
from penstock.state.database import Database
from penstock.state.revocations import RevocationStore, RevocationWatch
from penstock.state.tokens import TokenStore
from support.native import evaluate


async def fresh_postgres(cluster: Cluster, name: str) -> str:
    """The URL of an empty database of its own."""
    label = "state_" + "".join(char if char.isalnum() else "_" for char in name.lower())[:50]
    connection = await asyncpg.connect(cluster.dsn())
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{label}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{label}"')
    finally:
        await connection.close()
    return cluster.dsn(label)


class House:
    """An authenticator with everything it stands on."""

    def __init__(self, database: Database, evaluator: Evaluate = evaluate) -> None:
        self.tokens = TokenStore(database)
        self.revocations = RevocationStore(database)
        self.watch = RevocationWatch(self.revocations)
        self.authenticator = Authenticator(
            verifier=Verifier(), evaluate=evaluator, exchanged=self.tokens, revoked=self.watch
        )
