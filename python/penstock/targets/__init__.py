"""Targets as people name them on a command line."""
