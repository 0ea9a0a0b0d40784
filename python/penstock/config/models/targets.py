"""What is reached: targets, their credentials, what happens to columns in no class."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictStr, model_validator

from penstock.config.models.base import Duration, Model, Name, SomeTexts, Text, Texts, between, preset
from penstock.config.models.gateway import is_loopback, split_address
from penstock.config.sources import Authorities, Certificates, PrivateKey, Secret, check_pair, wrong

TlsMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
Unclassified = Literal["pass", "scan", "mask", "refuse"]


def _reachable(value: str) -> str:
    if value.startswith(("unix:", "/")):
        raise wrong("targets are reached over TCP", "write host:port")
    _, port = split_address(value)
    if port == 0:
        raise wrong("port 0 reaches nothing", "write the target's port")
    return value


class TargetTls(Model):
    """How the connection to the target is protected; the modes mean what libpq's sslmode means."""

    mode: TlsMode = "verify-full"
    ca: Authorities | None = Field(default=None, description="PEM file with the CA that signs for the target.")
    cert: Certificates | None = Field(default=None, description="Client certificate.")
    key: PrivateKey | None = Field(default=None, description="The client certificate's key.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.mode.startswith("verify-") and self.ca is None:
            raise wrong(f"mode {self.mode} needs a CA", "add ca: FILE, or ca: system for what this machine trusts")
        _check_client_pair(self.cert, self.key)
        return self


def _check_client_pair(cert: Certificates | None, key: PrivateKey | None) -> None:
    if (cert is None) != (key is None):
        raise wrong("a client certificate needs both cert and key", "add the missing one")
    if cert is not None and key is not None:
        check_pair(cert, key)


class Credential(Model):
    """One of the accounts the gateway has on a target. Clients never see it."""

    user: Text = Field(description="The role on the target.")
    password: Secret | None = None
    set_role: Text | None = Field(default=None, description="Role to take on after login.")
    cert: Certificates | None = Field(default=None, description="Client certificate of this account.")
    key: PrivateKey | None = Field(default=None, description="The client certificate's key.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        _check_client_pair(self.cert, self.key)
        return self


class UnclassifiedColumns(Model):
    """What happens to columns that no class names."""

    default: Unclassified = "scan"
    except_: Texts = Field(default=(), alias="except", description="schema.table.column that pass as they are.")


def _unclassified(value: Any) -> Any:
    return {"default": value} if isinstance(value, str) else value


class Recording(Model):
    """What the trail keeps of results."""

    results: Literal["full", "digest"] = Field(
        default="full", description="digest: a hash instead of the rows; a stated exception to the trail's promise."
    )


class Target(Model):
    """Something clients reach through the gateway."""

    name: Name
    protocol: StrictStr
    labels: dict[Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_.-]{1,63}$")], Text] = Field(default_factory=dict)
    address: Annotated[StrictStr, AfterValidator(_reachable)] = Field(description="host:port")
    databases: SomeTexts = Field(description="The databases clients reach here, by the name they ask for.")
    server_names: Texts = Field(default=(), description="TLS server names that choose this target.")
    tls: TargetTls = preset({"mode": "prefer"})
    credentials: dict[Name, Credential] = Field(description="Accounts on the target; `default` and others.")
    unclassified: Annotated[UnclassifiedColumns, BeforeValidator(_unclassified)] = preset(
        {}, description="What happens to columns in no class."
    )
    mode: Literal["enforce", "observe"] = Field(
        default="enforce", description="observe: decides, records, lets through."
    )
    record: Recording = preset({})
    accept_superuser: StrictBool = Field(
        default=False, description="Accept credentials that could go around every rule."
    )
    connect: Annotated[Duration, between(1, 120, "1s and 120s")] = preset(
        "10s", description="The target must have answered after this."
    )

    @model_validator(mode="before")
    @classmethod
    def _default_tls(cls, value: Any) -> Any:
        """Without a word about TLS, a target beyond this machine must prove who it is."""
        if isinstance(value, dict) and "tls" not in value and isinstance(value.get("address"), str):
            try:
                host, _ = split_address(value["address"])
            except ValueError:
                return value
            if not is_loopback(host):
                return {**value, "tls": {"mode": "verify-full", "ca": "system"}}
        return value

    @model_validator(mode="after")
    def _has_default(self) -> Self:
        if "default" not in self.credentials:
            raise wrong("the credential `default` is missing", "rules without `as:` use it")
        return self
