"""Asking the rules: what would happen, without asking a target."""
