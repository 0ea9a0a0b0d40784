"""What all models of the manifest share: strictness, and the small types that YAML does not have."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, WithJsonSchema

from penstock.config.sources import kind, shown, wrong


def preset(value: Any, **more: Any) -> Any:
    """A field's default as the manifest would write it: checked and resolved like everything else."""
    return Field(default=value, **more)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*\Z")

MAX_IDENTITY = 36
"""Bytes of an identity's name: a slash and a session id after it fill PostgreSQL's 63 bytes of application_name."""


class Model(BaseModel):
    """A mapping of the manifest. A key that is not declared is an error, so that nothing looks enforced that is not."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, validate_default=True)


def parse_duration(value: Any) -> Any:
    """Seconds from `300s`, `15m`, `8h`, `30d`; a number passes only from inside the program's own defaults."""
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
        if match:
            return int(match[1]) * _UNITS[match[2]]
        raise wrong(f"'{shown(value)}' is not a duration", "write a number and a unit: 300s, 15m, 8h, 30d")
    raise wrong(f"a duration needs a unit, found {kind(value)}", "write 300s, 15m, 8h or 30d")


def parse_size(value: Any) -> Any:
    """Bytes from `64MiB`, `1GiB`, `512KiB` or a plain number."""
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,9}) ?([KMGT]iB|B)", value)
        if match:
            return int(match[1]) * _BYTES[match[2]]
        raise wrong(f"'{shown(value)}' is not a size", "write a number and a unit: 512KiB, 64MiB, 1GiB")
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise wrong(f"a size must be a number of bytes, found {kind(value)}", "write 512KiB, 64MiB or 1GiB")


def _named(value: str) -> str:
    if _NAME.match(value) and len(value) <= 63:
        return value
    if not value:
        raise wrong("a name must not be empty")
    raise wrong(
        f"'{shown(value)}' is not a name", "1 to 63 letters, digits and _ . @ -, beginning with a letter, digit or _"
    )


def _identity_named(value: str) -> str:
    if len(_named(value)) > MAX_IDENTITY:
        raise wrong(
            f"'{shown(value)}' is longer than {MAX_IDENTITY} characters",
            "the name and the session's id together must fit the target's application_name",
        )
    return value


def _titled(value: str) -> str:
    if not value.strip():
        raise wrong("a name must not be empty")
    if len(value) > 200 or not value.isprintable():
        raise wrong("a name is one line of at most 200 printable characters")
    return value


def _told(value: str) -> str:
    if not value.strip():
        raise wrong("this text must not be empty")
    if "\0" in value:
        raise wrong("this text contains the character NUL")
    return value


def _expressed(value: str) -> str:
    if not value.strip():
        raise wrong("an expression must not be empty", "remove the key, or write `true`")
    if len(value.encode()) > 4096:
        raise wrong("an expression has at most 4096 bytes", "split the rule in two")
    return value


Text = Annotated[StrictStr, AfterValidator(_told)]
Name = Annotated[StrictStr, AfterValidator(_named)]
IdentityName = Annotated[StrictStr, AfterValidator(_identity_named)]
Title = Annotated[StrictStr, AfterValidator(_titled)]
Expression = Annotated[StrictStr, AfterValidator(_expressed)]

Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,9}[smhd]$", "examples": ["15m"]}),
]
"""Seconds; written 300s, 15m, 8h, 30d."""
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": ["string", "integer"], "pattern": "^[0-9]{1,9} ?([KMGT]iB|B)$", "examples": ["64MiB"]}),
]
"""Bytes; written 512KiB, 64MiB, 1GiB or as a number."""


def between(low: int, high: int, shown: str) -> AfterValidator:
    """Refuses what lies outside; `shown` names the bounds the way the manifest writes them."""

    def check(value: int) -> int:
        if low <= value <= high:
            return value
        raise wrong(f"this must lie between {shown}")

    return AfterValidator(check)


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuses a list that says something twice."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise wrong(f"'{shown(value)}' is in the list twice", "remove one")
        seen.add(value)
    return values


def filled(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuses an empty list where leaving the key out means something else."""
    if not values:
        raise wrong("this list must not be empty", "remove the key, or add an entry")
    return values


Names = Annotated[tuple[Name, ...], AfterValidator(distinct)]
Texts = Annotated[tuple[Text, ...], AfterValidator(distinct)]
SomeTexts = Annotated[tuple[Text, ...], AfterValidator(filled), AfterValidator(distinct)]
SomeNames = Annotated[tuple[Name, ...], AfterValidator(filled), AfterValidator(distinct)]
