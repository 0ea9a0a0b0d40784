"""The manifest: reading, checking, compiling and watching it."""

from __future__ import annotations

from penstock.config.guard import GuardedChecker
from penstock.config.loading import Loaded, examine, from_data, load
from penstock.config.models import Manifest
from penstock.config.seam_protocol import Checker, DirectChecker, Seam
from penstock.config.settings import compile_settings, manifest_hash, needs_restart
from penstock.errors import ConfigError, Problem

__all__ = [
    "Checker",
    "ConfigError",
    "DirectChecker",
    "GuardedChecker",
    "Loaded",
    "Manifest",
    "Problem",
    "Seam",
    "compile_settings",
    "examine",
    "from_data",
    "load",
    "manifest_hash",
    "needs_restart",
]
