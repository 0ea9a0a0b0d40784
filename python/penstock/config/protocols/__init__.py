"""What the manifest must know of each protocol. A protocol is one entry here and one folder beside this file."""

from __future__ import annotations

from penstock.config.protocols.base import LiveCheck, Protocol
from penstock.config.protocols.postgres import POSTGRES

__all__ = ["PROTOCOLS", "LiveCheck", "Protocol"]

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (POSTGRES,)}
"""All protocols of this version, by name."""
