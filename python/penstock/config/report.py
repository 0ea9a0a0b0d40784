"""Problems as a person or a program reads them."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from penstock.errors import Problem


def render_text(problems: Sequence[Problem]) -> str:
    """Each problem with its hint, and a line that counts them; `good` if there is none."""
    return "\n".join([*(problem.text() for problem in problems), summary(problems)])


def render_json(problems: Sequence[Problem]) -> str:
    """`{"good": …, "problems": [...]}` on one line."""
    document = {"good": exit_code(problems) == 0, "problems": [problem.json() for problem in problems]}
    return orjson.dumps(document).decode()


def summary(problems: Sequence[Problem]) -> str:
    """`2 errors, 1 warning`."""
    counts = [(sum(each.level == level for each in problems), level) for level in ("error", "warning")]
    told = [f"{count} {level}{'' if count == 1 else 's'}" for count, level in counts if count]
    return ", ".join(told) or "good"


def exit_code(problems: Sequence[Problem]) -> int:
    """1 if anything is an error, else 0: warnings do not fail a pipeline."""
    return int(any(problem.level == "error" for problem in problems))
