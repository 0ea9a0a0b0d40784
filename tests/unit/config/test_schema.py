"""The JSON Schema says what the models say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from penstock.config.models import Manifest
from penstock.config.protocols import PROTOCOLS
from penstock.config.schema import json_schema
from penstock.config.starter import starter_manifest
from penstock.config.tree import plain, read_tree


def _data(text: str) -> Any:
    tree = read_tree(text, "x.yaml", [])
    assert tree is not None
    return plain(tree)


def _models(model: type[BaseModel], found: dict[str, type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """The model and all models in it, by name."""
    if model.__name__ not in found:
        found[model.__name__] = model
        for kind in (*model.__subclasses__(), *_inner(model)):
            _models(kind, found)
    return found


def _inner(model: type[BaseModel]) -> list[type[BaseModel]]:
    names: dict[str, type[BaseModel]] = {each.__name__: each for each in _all(BaseModel)}
    schema = model.model_json_schema(by_alias=True)
    return [names[name] for name in schema.get("$defs", {}) if name in names]


def _all(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [each for below in model.__subclasses__() for each in (below, *_all(below))]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_property_names_are_the_models_own() -> None:
    schema = json_schema()
    parts = {"Manifest": schema, **schema["$defs"]}
    models = _models(Manifest, {})
    assert set(parts) == set(models)
    for name, model in models.items():
        wanted = {field.alias or key for key, field in model.model_fields.items()}
        if name == "Listeners":
            wanted |= set(PROTOCOLS)
        assert set(parts[name]["properties"]) == wanted, name
        assert parts[name]["additionalProperties"] is False, name


def test_good_manifests_are_valid(good: str, verifier: Callable[[str], str]) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    text = good.replace("@agent-7@", verifier("agent-7"))
    for each in (
        text,
        text.replace("unclassified: scan", "unclassified: {default: mask, except: [a.b.c]}"),
        text.replace("{keep_last: 4}", "full"),
        text.replace(f'"{verifier("agent-7")}"', f'{{verifier: "{verifier("agent-7")}", expires: 2030-01-01}}'),
        starter_manifest(verifier("agent-1")),
    ):
        validator.validate(_data(each))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1", "version: 2"),
        ("postgres: {bind", "postgras: {bind"),
        ("max: 8h", "max: 8 h"),
        ("{keep_last: 4}", "{keep_last: 4, full: true}"),
        ("unclassified: scan", "unclassified: scam"),
        ("{env: SHOP_RO}", "hunter2"),
        ("allow: [read]", "allow: [reed]"),
        ("reveal: [email]", "budget: 4"),
    ],
)
def test_bad_manifests_are_not(good: str, old: str, new: str) -> None:
    assert old in good
    validator = jsonschema.Draft202012Validator(json_schema())
    text = good.replace("@agent-7@", "SCRAM-SHA-256$x")
    assert validator.is_valid(_data(text))
    assert not validator.is_valid(_data(text.replace(old, new)))


def test_defaults_in_the_schema_are_what_a_manifest_may_say(folder: Path) -> None:
    """A default shown to an editor must be accepted when it is written down."""
    from penstock.config import from_data

    schema = json_schema()
    for part in ("trail", "spool", "session", "limits", "state"):
        definition = schema["$defs"][part.capitalize()]
        said = {
            key: each["default"] for key, each in definition["properties"].items() if each.get("default") is not None
        }
        data = {"version": 1, "listeners": {"postgres": {"bind": "127.0.0.1:0"}}}
        assert from_data({**data, part: said}, directory=folder) == from_data(data, directory=folder)
