"""The tables' history, run at start."""
