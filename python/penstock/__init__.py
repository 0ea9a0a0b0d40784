"""Penstock: a Layer-7 identity-aware gateway for non-human identities."""

__version__ = "0.1.0"
__all__ = ["__version__"]
