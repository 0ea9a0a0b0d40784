"""The manifest's JSON Schema, for editors: `penstock check --schema`."""

from __future__ import annotations

from typing import Any

from penstock.config.models import Manifest
from penstock.config.protocols import PROTOCOLS

_SHORT: dict[str, dict[str, Any]] = {
    "Token": {"type": "string", "pattern": r"^SCRAM-SHA-256\$"},
    "UnclassifiedColumns": {"enum": ["pass", "scan", "mask", "refuse"]},
    "Mask": {"enum": ["full", "null"]},
}
"""What may stand in place of a mapping, for those who need no more."""


def json_schema() -> dict[str, Any]:
    """Draft 2020-12. What only a look at the whole manifest can tell is left to `penstock check`."""
    schema = Manifest.model_json_schema(by_alias=True)
    parts = schema["$defs"]
    _listeners(parts["Listeners"])
    parts["Token"]["required"] = ["verifier"]
    parts["Mask"].update(minProperties=1, maxProperties=1)
    parts["Credential"].setdefault("required", ["user"])
    for name, part in list(parts.items()):
        parts[name] = _with_short(part)
    whole: dict[str, Any] = _with_short(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole, "title": "Penstock manifest"}


def _listeners(part: dict[str, Any]) -> None:
    listener = part.pop("additionalProperties")
    part["properties"].update(dict.fromkeys(PROTOCOLS, listener))
    part["additionalProperties"] = False
    part["anyOf"] = [{"required": [name]} for name in PROTOCOLS]


def _with_short(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_short(each) for each in node]
    if not isinstance(node, dict):
        return node
    short = _SHORT.get(str(node.get("$ref", "")).rpartition("/")[2])
    if short is None:
        return {key: _with_short(each) for key, each in node.items()}
    rest = {key: each for key, each in node.items() if key != "$ref"}
    return {**rest, "anyOf": [short, {"$ref": node["$ref"]}]}
