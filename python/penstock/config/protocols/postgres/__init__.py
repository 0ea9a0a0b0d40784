"""PostgreSQL in the manifest."""

from __future__ import annotations

import re

from penstock.config.protocols.base import LiveCheck, Protocol

_PART = r'(?:"(?:[^"]|"")+"|[^\s".:]+)'
_COLUMN = re.compile(rf"{_PART}\.{_PART}\.{_PART}\Z")


def _data_problem(name: str) -> str | None:
    """A part is a name, in which `*` is any run of characters and case does not matter, or exact between quotes."""
    if _COLUMN.match(name):
        return None
    return f"'{name[:80]}' is not schema.table.column"


def _load_live_check() -> LiveCheck:
    from penstock.config.protocols.postgres.live import check  # noqa: PLC0415  (drivers load only when asked for)

    return check


POSTGRES = Protocol(
    name="postgres",
    port=5432,
    data="schema.table.column",
    data_problem=_data_problem,
    load_live_check=_load_live_check,
)
