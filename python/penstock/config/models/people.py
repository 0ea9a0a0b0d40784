"""Who asks and who reviews: issuers, identities, reviewers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictStr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from penstock.config.models.base import (
    Duration,
    Expression,
    IdentityName,
    Model,
    Name,
    Names,
    SomeTexts,
    Text,
    between,
    distinct,
    filled,
    preset,
)
from penstock.config.models.gateway import is_loopback
from penstock.config.sources import KeySet, Secret, kind, shown, wrong

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "Ed25519"]
ALGORITHMS: tuple[Algorithm, ...] = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "Ed25519",
)  # fmt: skip


def check_url(value: str) -> str:
    """An https URL; http only to this machine."""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
        secret = parts.username or parts.password
    except ValueError:
        raise wrong(f"'{shown(value, 80)}' is not a URL", "write https://…") from None
    if parts.scheme not in ("https", "http") or not host or any(c.isspace() for c in value):
        raise wrong(f"'{shown(value, 80)}' is not a URL", "write https://…")
    if secret:
        raise wrong("a URL must not carry a name or a password", "secrets are named by {env: …} or {file: …}")
    if parts.scheme == "http" and not is_loopback(host):
        raise wrong(
            "http is accepted on this machine only", f"write https://{shown(value.removeprefix('http://'), 80)}"
        )
    return value


Url = Annotated[StrictStr, AfterValidator(check_url)]


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Issuer(Model):
    """Somebody who signs tokens."""

    name: Name
    jwks: KeySet | None = Field(default=None, description="File with its keys, instead of discovery.")
    issuer: Text = Field(description="The `iss` of its tokens; its discovery document lies below this URL.")
    audience: Annotated[
        SomeTexts,
        BeforeValidator(_one_or_more),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
    ] = Field(description="The `aud` a token must carry; one of several will do.")
    algorithms: Annotated[tuple[Algorithm, ...], AfterValidator(filled), AfterValidator(distinct)] = Field(
        default=ALGORITHMS, description="Signature algorithms accepted."
    )
    leeway: Annotated[Duration, between(0, 300, "0s and 300s")] = preset(
        "30s", description="How far clocks may differ."
    )
    max_age: Annotated[Duration, between(60, 7 * 86400, "60s and 7d")] = preset(
        "1h", description="A token older than this is refused, whatever its `exp` says."
    )
    groups_claim: Text = Field(default="groups", description="The claim that lists a reviewer's groups.")

    @field_validator("issuer")
    @classmethod
    def _reachable(cls, value: str, info: ValidationInfo) -> str:
        return check_url(value) if info.data.get("jwks", ...) is None else value


_VERIFIER = re.compile(r"SCRAM-SHA-256\$([1-9][0-9]{0,6}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)\Z")
_MAKE_ONE = "make one with: penstock token new IDENTITY"


def verifier_parts(value: str) -> tuple[int, bytes, bytes, bytes]:
    """Iterations, salt, stored key and server key of a SCRAM-SHA-256 verifier."""
    match = _VERIFIER.match(value)
    if match is None:
        if value.startswith("pst_"):
            raise wrong("this is the token itself; the manifest keeps only its verifier", _MAKE_ONE)
        raise wrong("this is not a SCRAM-SHA-256 verifier", _MAKE_ONE)
    try:
        salt, stored, server = (base64.b64decode(part, validate=True) for part in match.groups()[1:])
    except (binascii.Error, ValueError):
        raise wrong("the verifier's base64 is damaged", "was it cut off when it was copied? " + _MAKE_ONE) from None
    if len(stored) != 32 or len(server) != 32 or len(salt) < 8:
        raise wrong("the verifier's keys have the wrong length", "was it cut off when it was copied? " + _MAKE_ONE)
    return int(match[1]), salt, stored, server


def _check_verifier(value: str) -> str:
    verifier_parts(value)
    return value


def _instant(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    raise wrong(
        f"{shown(value) if isinstance(value, str) else kind(value)!r} is not a date",
        "write 2027-01-31 or 2027-01-31T12:00:00Z",
    )


Instant = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "examples": ["2027-01-31"]})]


def _token_id(value: str) -> str:
    if re.fullmatch(r"[a-z0-9]{10}", value):
        return value
    raise wrong("a token's id is 10 small letters and digits", "it stands between the two underlines of pst_<id>_…")


class Token(Model):
    """One static token of an identity, as its verifier."""

    id: Annotated[StrictStr, AfterValidator(_token_id)] = Field(description="The part between pst_ and the next _.")
    verifier: Annotated[StrictStr, AfterValidator(_check_verifier)] = Field(description="SCRAM-SHA-256$…")
    expires: Instant | None = Field(default=None, description="Not accepted from this moment on.")

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        """A bare verifier is a token that does not expire; its id follows from it."""
        if isinstance(value, str):
            value = {"verifier": value}
        if isinstance(value, dict) and "id" not in value and isinstance(value.get("verifier"), str):
            value = {"id": hashlib.sha256(value["verifier"].encode()).hexdigest()[:10], **value}
        return value

    def live(self, now: datetime) -> bool:
        """Whether it is accepted at `now`."""
        return self.expires is None or now < self.expires


class Identity(Model):
    """A non-human identity: who a connection's `user` claims to be, and what proves it."""

    name: IdentityName
    issuer: Name | None = Field(default=None, description="Name of the issuer whose tokens prove it.")
    when: Expression | None = Field(default=None, description="CEL over `claims`; true for this identity's tokens.")
    tokens: tuple[Token, ...] | None = Field(default=None, description="Static tokens; two while one is rotated.")
    groups: Names = ()
    mode: Literal["enforce", "observe"] = Field(
        default="enforce", description="observe: decides, records, lets through."
    )

    @model_validator(mode="after")
    def _proven_one_way(self) -> Self:
        if self.issuer is not None and self.tokens is not None:
            raise wrong("an identity is proven by an issuer or by tokens, not both", "make it two identities")
        if self.issuer is None and self.tokens is None:
            raise wrong("nothing proves this identity", "add `issuer` and `when`, or `tokens`")
        if self.issuer is not None and self.when is None:
            raise wrong("every token of the issuer would prove this identity", 'add when: claims.sub == "…"')
        if self.tokens is not None and self.when is not None:
            raise wrong("`when` looks at an issuer's claims; static tokens have none", "remove `when`, or add `issuer`")
        return self

    @property
    def login(self) -> Literal["scram", "clear"]:
        """How its clients are asked for the proof."""
        return "clear" if self.tokens is None else "scram"


_MEMBERS = re.compile(
    r"(?:(?P<issuer>[^:\s]+):(?:group|sub):\S.*|identity:(?P<identity>[^:\s]+)|group:(?P<group>[^:\s]+))\Z"
)


def member_parts(value: str) -> dict[str, str]:
    """What a reviewers' member refers to: `issuer`, `identity` or `group`, by name."""
    match = _MEMBERS.match(value)
    if match is None:
        raise wrong(
            f"'{shown(value, 80)}' is not a member",
            "ISSUER:group:NAME, ISSUER:sub:SUBJECT, identity:NAME or group:NAME",
        )
    return {key: text for key, text in match.groupdict().items() if text}


def _check_members(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        member_parts(value)
    return values


class Reviewers(Model):
    """People who may decide held requests."""

    name: Name
    members: Annotated[SomeTexts, AfterValidator(_check_members)] = Field(
        description="ISSUER:group:NAME, ISSUER:sub:SUBJECT, identity:NAME or group:NAME."
    )
    notify: Annotated[tuple[Url, ...], AfterValidator(distinct)] = Field(default=(), description="Webhooks.")
    secret: Secret | None = Field(default=None, description="The key that signs the webhooks.")
