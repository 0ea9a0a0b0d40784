"""The manifest most tests run on: a shop with classes, and one identity for each kind of right."""

from dataclasses import dataclass, field
from typing import Any

from penstock.demo.cluster import Cluster
from penstock.demo.issuer import AUDIENCE, Issuer
from penstock.demo.manifest import CLASSES
from penstock.demo.shop import Shop
from support.tokens import Token, new_token

EVERYTHING = ["write", "ddl", "copy_in", "copy_out", "call"]
# identity → its groups
IDENTITIES = {
    "reader": ["readers"],
    "writer": ["writers"],
    "revealed": ["trusted"],
    "everything": ["everything"],
    "bulk": ["bulk"],
    "nobody": [],
    "reviewer": ["data-owners"],
    "other-reviewer": ["data-owners"],
}
BULK_ROWS = 1000


@dataclass
class House:
    """A manifest and the secrets that fit it."""

    manifest: dict[str, Any]
    tokens: dict[str, Token]
    environment: dict[str, str] = field(default_factory=dict)

    def token(self, identity: str) -> str:
        """The token of an identity."""
        return self.tokens[identity].text


def house(cluster: Cluster, shop: Shop, issuer: Issuer | None = None, *, classes: bool = True) -> House:
    """The standard manifest over a loaded shop."""
    tokens = {name: new_token(name) for name in IDENTITIES}
    identities: list[dict[str, Any]] = [
        {"name": name, "tokens": [tokens[name].entry()], "groups": groups} for name, groups in IDENTITIES.items()
    ]
    if issuer is not None:
        identities.append(
            {
                "name": "job",
                "issuer": "ci",
                "when": 'claims.repository == "shop/reports" && claims.ref == "refs/heads/main"',
                "groups": ["readers"],
            }
        )
    manifest: dict[str, Any] = {
        "identities": identities,
        "targets": [shop_target(cluster, shop)],
        "classes": CLASSES if classes else [],
        "reviewers": [{"name": "data-owners", "members": ["group:data-owners"]}],
        "rules": rules(reveal=["ssn", "card", "email"] if classes else []),
    }
    if issuer is not None:
        manifest["issuers"] = [{"name": "ci", "issuer": issuer.address, "audience": AUDIENCE}]
    return House(
        manifest=manifest,
        tokens=tokens,
        environment={
            "SHOP_RO": shop.reader_password,
            "SHOP_RW": shop.writer_password,
            "SHOP_SUPER": cluster.password,
            "PENSTOCK_DEMO_MASK_KEY": "00112233445566778899aabbccddeeff" * 2,
        },
    )


def shop_target(cluster: Cluster, shop: Shop, **changes: Any) -> dict[str, Any]:
    """The shop as a target, with a reading, a writing and an all-powerful credential."""
    return {
        "name": "shop",
        "protocol": "postgres",
        "labels": {"env": "test"},
        "address": f"{cluster.host}:{cluster.port}",
        "databases": [shop.database],
        "tls": {"mode": "prefer"},
        "credentials": {
            "default": {"user": shop.reader, "password": {"env": "SHOP_RO"}},
            "writer": {"user": shop.writer, "password": {"env": "SHOP_RW"}, "set_role": f"{shop.database}_owner"},
            "super": {"user": cluster.superuser, "password": {"env": "SHOP_SUPER"}},
        },
        "unclassified": "scan",
        "mode": "enforce",
        "accept_superuser": True,
        **changes,
    }


def rules(*, reveal: list[str]) -> list[dict[str, Any]]:
    """One allow rule for each identity, then what nobody may, then what a person decides."""
    trusted: dict[str, Any] = {"name": "trusted read all", "who": ["group:trusted"], "allow": ["read"]}
    return [
        {"name": "readers read", "who": ["group:readers", "group:bulk"], "to": ["env:test"], "allow": ["read"]},
        {"name": "writers write", "who": ["group:writers"], "allow": ["write"], "as": "writer"},
        {
            "name": "everything goes",
            "who": ["group:everything"],
            "allow": EVERYTHING,
            "functions": ["*"],
            "as": "super",
        },
        trusted | ({"reveal": reveal} if reveal else {}),
        {"name": "nothing is dropped", "except": ["group:everything"], "deny": "sql.destructive"},
        {
            "name": "nothing touches the server's files",
            "except": ["group:everything"],
            "deny": "sql.server_io",
        },
        {
            "name": "bulk needs a person",
            "who": ["group:bulk"],
            "hold": {"when": f"result.rows > {BULK_ROWS}", "reviewers": ["data-owners"], "expires": "15m"},
        },
        {
            "name": "payroll needs a person",
            "who": ["group:bulk"],
            "hold": {"when": '"hr.employees" in sql.tables', "reviewers": ["data-owners"], "expires": "15m"},
        },
    ]


def allow_all(cluster: Cluster, *, databases: list[str], identity: str, user: str | None = None) -> House:
    """A gateway that refuses nothing and masks nothing: for comparing with a direct connection."""
    token = new_token(identity)
    return House(
        manifest={
            "identities": [{"name": identity, "tokens": [token.entry()], "groups": ["all"]}],
            "targets": [
                {
                    "name": "all",
                    "protocol": "postgres",
                    "address": f"{cluster.host}:{cluster.port}",
                    "databases": databases,
                    "tls": {"mode": "prefer"},
                    "credentials": {"default": {"user": user or cluster.superuser, "password": {"env": "TARGET"}}},
                    "unclassified": "pass",
                    "accept_superuser": True,
                }
            ],
            "rules": [{"name": "all", "allow": EVERYTHING, "functions": ["*"]}],
        },
        tokens={identity: token},
        environment={"TARGET": cluster.password},
    )
