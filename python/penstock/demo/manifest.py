"""The manifest of the demo: one shop, one pipeline job, three classes, four rules."""

from typing import Any, Final

from penstock.demo.cluster import Cluster
from penstock.demo.issuer import AUDIENCE, Issuer
from penstock.demo.shop import Shop

__all__ = ["CLASSES", "JOB", "REPOSITORY", "REVIEWER", "demo_manifest", "target"]

JOB: Final = "nightly-report"
REPOSITORY: Final = "shop/reports"
REVIEWER: Final = "data-owner"
CLASSES: Final[list[dict[str, Any]]] = [
    {
        "name": "ssn",
        "columns": ["shop:public.customers.ssn", "shop:*.employees.ssn"],
        "detect": ["us_ssn"],
        "mask": {"keep_last": 4},
    },
    {
        "name": "card",
        "columns": ["shop:public.customers.card_number", "shop:public.payments.card_number"],
        "detect": ["payment_card"],
        "mask": {"replace": "****"},
    },
    {
        "name": "email",
        "columns": ["shop:*.*.email"],
        "detect": ["email"],
        "mask": {"hmac": {"key": {"env": "PENSTOCK_DEMO_MASK_KEY"}, "id": "k1"}},
    },
]


def target(cluster: Cluster, shop: Shop, *, name: str = "shop") -> dict[str, Any]:
    """The manifest's entry for a shop database."""
    return {
        "name": name,
        "protocol": "postgres",
        "labels": {"env": "prod", "team": "sales"},
        "address": f"{cluster.host}:{cluster.port}",
        "databases": [shop.database],
        "tls": {"mode": "disable"},
        "credentials": {"default": {"user": shop.reader, "password": {"env": "PENSTOCK_DEMO_SHOP_RO"}}},
        "unclassified": "scan",
        "mode": "enforce",
    }


def demo_manifest(cluster: Cluster, shop: Shop, issuer: Issuer) -> dict[str, Any]:
    """The whole manifest, without listeners, state and trail, which the launcher adds."""
    return {
        "issuers": [{"name": "ci", "issuer": issuer.address, "audience": AUDIENCE}],
        "identities": [
            {
                "name": JOB,
                "issuer": "ci",
                "when": f'claims.repository == "{REPOSITORY}" && claims.ref == "refs/heads/main"',
                "groups": ["pipelines"],
            },
            {"name": REVIEWER, "issuer": "ci", "when": '"data-owners" in claims.groups', "groups": ["data-owners"]},
        ],
        "targets": [target(cluster, shop)],
        "classes": CLASSES,
        "reviewers": [{"name": "data-owners", "members": ["ci:group:data-owners", "group:data-owners"]}],
        "rules": [
            {"name": "pipelines read the shop", "who": ["group:pipelines"], "to": ["env:prod"], "allow": ["read"]},
            {"name": "nothing is dropped", "deny": "sql.destructive"},
            {"name": "nothing touches the server's files", "deny": "sql.server_io"},
            {
                "name": "bulk needs a person",
                "hold": {"when": "result.rows > 10000", "reviewers": ["data-owners"], "expires": "15m"},
            },
        ],
    }
