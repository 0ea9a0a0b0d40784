"""The manifest as the one JSON document that the native part reads: units spelled out, secrets resolved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import orjson
from pydantic import BaseModel

from penstock.config.models import Class, Credential, Identity, Listener, Manifest, Mask, Rule, Target, TargetTls
from penstock.config.sources import PrivateKey, Secret, Source
from penstock.config.tree import Where

_BLANK_KEY = "00" * 32


def manifest_hash(manifest: Manifest) -> str:
    """Names the manifest in the trail: SHA-256 over its canonical form, in which secrets are mere references."""
    return hashlib.sha256(_canonical(manifest)).hexdigest()


def _canonical(manifest: Manifest) -> bytes:
    return orjson.dumps(manifest.model_dump(mode="json", by_alias=True), option=orjson.OPT_SORT_KEYS)


def compile_settings(manifest: Manifest, generation: int, *, blank: bool = False) -> bytes:
    """The settings document. With `blank` every secret is replaced, for a reader that only checks."""
    writer = _Writer(blank)
    return orjson.dumps(
        {
            "version": manifest.version,
            "generation": generation,
            "hash": manifest_hash(manifest),
            "listeners": {name: writer.listener(each) for name, each in manifest.listeners.protocols.items()},
            "trail": {
                "store": str(manifest.trail.store.path),
                "durability": manifest.trail.durability,
                "node": manifest.trail.node or "local",
                "segment_bytes": manifest.trail.segment,
            },
            "spool": {"directory": str(manifest.spool.directory.path), "bytes": manifest.spool.size},
            "session": {"max_seconds": manifest.session.max},
            "limits": {
                "connections": manifest.limits.connections,
                "connections_per_identity": manifest.limits.connections_per_identity,
                "login_seconds": manifest.limits.login,
                "message_bytes": manifest.limits.message,
                "statement_bytes": manifest.limits.statement,
                "statements_per_second": manifest.limits.statements_per_second,
                "memory_bytes": manifest.limits.memory,
                "threads": manifest.limits.threads,
            },
            "targets": [writer.target(each) for each in manifest.targets],
            "classes": [writer.classification(each) for each in manifest.classes],
            "rules": [_rule(each) for each in manifest.rules],
            "identities": [writer.identity(each) for each in manifest.identities],
        }
    )


class _Writer:
    """Writes the parts that hold secrets, or blanks in their place."""

    def __init__(self, blank: bool) -> None:
        self._blank = blank

    def _secret(self, secret: Secret | PrivateKey | None) -> str | None:
        if secret is None:
            return None
        return None if self._blank else secret.reveal()

    def listener(self, listener: Listener) -> dict[str, Any]:
        tls = listener.tls
        shown = None if tls is None or self._blank else {"cert": tls.cert.text, "key": tls.key.reveal()}
        return {"bind": listener.bind, "tls": shown}

    def target(self, target: Target) -> dict[str, Any]:
        return {
            "name": target.name,
            "protocol": target.protocol,
            "labels": target.labels,
            "address": target.address,
            "databases": target.databases,
            "server_names": target.server_names,
            "tls": self._target_tls(target.tls),
            "credentials": {name: self._credential(each) for name, each in target.credentials.items()},
            "unclassified": {"default": target.unclassified.default, "except": target.unclassified.except_},
            "mode": target.mode,
            "record": {"results": target.record.results},
            "accept_superuser": target.accept_superuser,
            "connect_seconds": target.connect,
        }

    def _target_tls(self, tls: TargetTls) -> dict[str, Any]:
        return {
            "mode": tls.mode,
            "ca": tls.ca.text if tls.ca and not self._blank else None,
            "cert": tls.cert.text if tls.cert and not self._blank else None,
            "key": self._secret(tls.key),
        }

    def _credential(self, credential: Credential) -> dict[str, Any]:
        return {
            "user": credential.user,
            "password": self._secret(credential.password),
            "set_role": credential.set_role,
            "cert": credential.cert.text if credential.cert and not self._blank else None,
            "key": self._secret(credential.key),
        }

    def classification(self, each: Class) -> dict[str, Any]:
        return {"name": each.name, "columns": each.columns, "detect": each.detect, "mask": self._mask(each.mask)}

    def _mask(self, mask: Mask) -> dict[str, Any]:
        if mask.hmac is not None:
            key = _BLANK_KEY if self._blank else mask.hmac.key.reveal().encode().hex()
            return {"hmac": {"key": key, "id": mask.hmac.id}}
        said = {
            "full": mask.full,
            "keep_first": mask.keep_first,
            "keep_last": mask.keep_last,
            "replace": mask.replace,
            "null": mask.null_,
        }
        return {key: value for key, value in said.items() if value is not None}

    def identity(self, identity: Identity) -> dict[str, Any]:
        return {
            "name": identity.name,
            "groups": identity.groups,
            "login": identity.login,
            "mode": identity.mode,
            "tokens": [
                {
                    "id": token.id,
                    "verifier": token.verifier,
                    "expires": None if token.expires is None else int(token.expires.timestamp()),
                }
                for token in identity.tokens or ()
            ],
        }


def _rule(rule: Rule) -> dict[str, Any]:
    hold = None
    if rule.hold is not None:
        hold = {
            "when": rule.hold.when,
            "reviewers": rule.hold.reviewers,
            "expires_seconds": rule.hold.expires,
            "in_transaction": rule.hold.in_transaction,
        }
    return {
        "name": rule.name,
        "who": rule.who,
        "to": rule.to,
        "except": rule.except_,
        "allow": rule.allow,
        "functions": rule.functions,
        "reveal": rule.reveal,
        "as": rule.as_,
        "deny": rule.deny,
        "hold": hold,
    }


def sources(value: Any, where: Where = ()) -> Iterator[tuple[Where, Source]]:
    """Everything the manifest points to, with its path."""
    if isinstance(value, Source):
        yield where, value
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from sources(getattr(value, name), (*where, field.alias or name))
        for name, extra in (value.model_extra or {}).items():
            yield from sources(extra, (*where, name))
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from sources(each, (*where, name))
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield from sources(each, (*where, index))


def needs_restart(old: Manifest, new: Manifest) -> list[str]:
    """The parts that changed and that a running gateway cannot take over."""
    parts = ("listeners", "state", "trail")
    # Compared as references: a certificate renewed under its old name is taken over like any other change.
    changed = [part for part in parts if getattr(old, part).model_dump() != getattr(new, part).model_dump()]
    return changed if old.limits.threads == new.limits.threads else [*changed, "limits.threads"]
