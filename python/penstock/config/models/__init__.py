"""The manifest as frozen models. `Manifest` is the whole; every other class is one mapping in it."""

from __future__ import annotations

from typing import Literal

from penstock.config.models.base import Model, preset
from penstock.config.models.gateway import (
    AdminListener,
    Limits,
    Listener,
    Listeners,
    ServerTls,
    Session,
    Spool,
    State,
    Trail,
)
from penstock.config.models.people import Identity, Issuer, Reviewers, Token
from penstock.config.models.rules import Class, Hmac, Hold, Mask, Rule
from penstock.config.models.targets import Credential, Recording, Target, TargetTls, UnclassifiedColumns

__all__ = [
    "AdminListener",
    "Class",
    "Credential",
    "Hmac",
    "Hold",
    "Identity",
    "Issuer",
    "Limits",
    "Listener",
    "Listeners",
    "Manifest",
    "Mask",
    "Model",
    "Recording",
    "Reviewers",
    "Rule",
    "ServerTls",
    "Session",
    "Spool",
    "State",
    "Target",
    "TargetTls",
    "Token",
    "Trail",
    "UnclassifiedColumns",
]


class Manifest(Model):
    """The whole manifest. `version` names the form; this program reads form 1."""

    version: Literal[1]
    listeners: Listeners
    state: State = preset({})
    trail: Trail = preset({})
    spool: Spool = preset({})
    session: Session = preset({})
    limits: Limits = preset({})
    issuers: tuple[Issuer, ...] = ()
    identities: tuple[Identity, ...] = ()
    targets: tuple[Target, ...] = ()
    classes: tuple[Class, ...] = ()
    reviewers: tuple[Reviewers, ...] = ()
    rules: tuple[Rule, ...] = ()

    def identity(self, name: str) -> Identity | None:
        """The identity of this name."""
        return next((each for each in self.identities if each.name == name), None)

    def target(self, name: str) -> Target | None:
        """The target of this name."""
        return next((each for each in self.targets if each.name == name), None)
