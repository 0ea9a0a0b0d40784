"""Stands in for the native part, in this process and in the guarded one. It reacts to words in the expressions."""

from __future__ import annotations

import json
from typing import Any


def check_expression(expression: str, scope: str) -> bytes:
    """Good, unless the expression says otherwise."""
    if "GREEDY" in expression:
        hoard = [bytearray(1 << 20) for _ in range(4096)]
        return json.dumps([{"message": f"{len(hoard)} MiB should have been refused"}]).encode()
    if "SLOW" in expression:
        while True:
            pass
    if "JUNK" in expression:
        return b"{not json"
    problems: list[dict[str, Any]] = []
    if "bogus" in expression:
        at = expression.index("bogus")
        problems.append({"message": f"unknown fact bogus in a {scope}", "hint": "known: sql.kind", "offset": at})
    return json.dumps(problems).encode()


def check_rules(settings: bytes) -> bytes:
    """Checks each rule's expressions and each class's detectors."""
    document = json.loads(settings)
    problems: list[dict[str, Any]] = []
    for index, rule in enumerate(document["rules"]):
        for where, text in ((["deny"], rule["deny"]), (["hold", "when"], (rule["hold"] or {}).get("when"))):
            if text is not None:
                found = json.loads(check_expression(text, "rule"))
                problems += [{**each, "where": ["rules", index, *where]} for each in found]
        if rule["hold"] and rule["hold"]["expires_seconds"] == 13:
            problems.append(
                {"where": ["rules", index, "hold", "expires_seconds"], "message": "unlucky", "level": "warning"}
            )
    for index, each in enumerate(document["classes"]):
        for place, name in enumerate(each["detect"]):
            if name not in ("us_ssn", "payment_card", "email"):
                problems.append({"where": ["classes", index, "detect", place], "message": f"no detector {name}"})
    return json.dumps(problems).encode()
