"""What is protected and what is allowed: classes, masks, rules."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt, StrictStr, model_validator

from penstock.config.models.base import (
    Duration,
    Expression,
    Model,
    Name,
    Names,
    SomeNames,
    SomeTexts,
    Texts,
    Title,
    between,
    distinct,
    filled,
    preset,
)
from penstock.config.sources import Secret, wrong

Preset = Literal["read", "write", "ddl", "copy_in", "copy_out", "call"]


def _kept(value: int) -> int:
    if 1 <= value <= 64:
        return value
    raise wrong("keep between 1 and 64 characters", "to keep none, write mask: {full: true}")


def _true(value: bool) -> bool:
    if value:
        return value
    raise wrong("this can only be true", "remove the mask, or name another")


def _key_id(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-]{1,16}", value):
        return value
    raise wrong("a key's id is 1 to 16 letters, digits, _ or -", "such as k1")


def _replacement(value: str) -> str:
    if 1 <= len(value.encode()) <= 256 and "\0" not in value:
        return value
    raise wrong("the replacement is empty, longer than 256 bytes or holds a NUL", 'for example mask: {replace: "****"}')


class Hmac(Model):
    """A keyed pseudonym: the same value gives the same text, and nobody without the key can tell which."""

    key: Secret = Field(description="At least 16 bytes; `openssl rand -hex 32` makes a good one.")
    id: Annotated[StrictStr, AfterValidator(_key_id)] = Field(
        description="Names the key in masked values, so that keys can be rotated."
    )

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        size = len(self.key.reveal().encode())
        if not 16 <= size <= 64:
            said = "shorter than 16" if size < 16 else "longer than 64"
            raise wrong(f"the key is {said} bytes", "make one with: openssl rand -hex 32")
        return self


class Mask(Model):
    """What a protected value turns into. Exactly one key."""

    full: Annotated[StrictBool, AfterValidator(_true)] | None = Field(default=None, description="Nothing is kept.")
    keep_first: Annotated[StrictInt, AfterValidator(_kept)] | None = Field(default=None)
    keep_last: Annotated[StrictInt, AfterValidator(_kept)] | None = Field(
        default=None, description="Keeps nothing of a value shorter than twice as long."
    )
    replace: Annotated[StrictStr, AfterValidator(_replacement)] | None = Field(
        default=None, description="A fixed text."
    )
    null_: Annotated[StrictBool, AfterValidator(_true)] | None = Field(default=None, alias="null")
    hmac: Hmac | None = None

    @model_validator(mode="before")
    @classmethod
    def _exactly_one(cls, value: Any) -> Any:
        if isinstance(value, dict):
            known = [key for key in value if key in MASKS]
            if len(known) > 1:
                raise wrong(f"a class has one mask, found {' and '.join(known)}", "keep one of them")
            if not known and not value:
                raise wrong("the mask is missing", "one of " + ", ".join(MASKS))
            empty = [key for key in known if value[key] is None]
            if empty:
                raise wrong(f"{empty[0]} has no value", "for example mask: {keep_last: 4} or mask: {full: true}")
        return value


MASKS = ("full", "keep_first", "keep_last", "replace", "null", "hmac")


def _mask(value: Any) -> Any:
    if value in ("full", "null") and isinstance(value, str):
        return {value: True}
    if value is None:
        raise wrong("the mask is missing", "for a mask that makes values NULL, write mask: {null: true}")
    return value


class Class(Model):
    """A kind of sensitive data: where it is, how it looks, what everybody sees instead."""

    name: Name
    columns: Texts = Field(default=(), description="target:schema.table.column; `*` for any one of them.")
    detect: Names = Field(default=(), description="Built-in detectors that recognise it in text and JSON.")
    mask: Annotated[Mask, BeforeValidator(_mask)] = preset({"full": True})

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.columns and not self.detect:
            raise wrong("this class names nothing", "add columns or detect")
        return self


class Hold(Model):
    """When a person must decide, and who."""

    when: Expression = Field(description="CEL over the declared facts.")
    reviewers: SomeNames = Field(description="Names of reviewers; any one of them may decide.")
    expires: Annotated[Duration, between(10, 86400, "10s and 24h")] = preset(
        "15m", description="Undecided after this, the request is refused."
    )
    in_transaction: Literal["refuse", "wait"] | None = Field(
        default=None, description="Left out: wait if the transaction has written nothing."
    )


class Rule(Model):
    """One rule: who, to what, and one of allow, deny, hold."""

    name: Title
    who: SomeTexts | None = Field(default=None, description="Identities and group:NAME; left out means all.")
    to: SomeTexts | None = Field(default=None, description="Targets and label:value; left out means all.")
    except_: Texts = Field(default=(), alias="except", description="Who is exempt.")
    allow: Annotated[tuple[Preset, ...], AfterValidator(filled), AfterValidator(distinct)] | None = None
    functions: Texts = Field(default=(), description="Functions allowed beyond the reviewed list.")
    reveal: Names = Field(default=(), description="Classes shown unmasked.")
    as_: Name | None = Field(default=None, alias="as", description="The credential used; else `default`.")
    deny: Expression | None = Field(default=None, description="CEL; a request for which it is true is refused.")
    hold: Hold | None = None

    @model_validator(mode="after")
    def _one_effect(self) -> Self:
        effects = [name for name in ("allow", "deny", "hold") if getattr(self, name) is not None]
        if len(effects) > 1:
            raise wrong(f"a rule does one thing, found {' and '.join(effects)}", "make it several rules")
        if not effects:
            raise wrong("this rule does nothing", "add one of allow, deny and hold")
        if effects != ["allow"]:
            for key, value in (("functions", self.functions), ("reveal", self.reveal), ("as", self.as_)):
                if value:
                    raise wrong(f"`{key}` belongs to a rule that allows", "move it to the rule with allow:")
        return self
