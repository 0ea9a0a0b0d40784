"""Compiles expressions in a process of its own, with bounded memory and time, before the gateway's own process does.

An expression is an operator's text, but a hostile one of a hundred bytes can make a CEL parser take gigabytes. The
guarded process takes that blow: `python -m penstock.config.guard` reads one JSON request and writes one JSON answer.
"""

from __future__ import annotations

import importlib
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import orjson
from typing_extensions import override

from penstock.config.seam_protocol import Checker, DirectChecker, Findings, Question, Scope, Seam
from penstock.errors import SeamError

MEMORY = 384 * 1024 * 1024
"""Bytes the compilation may take beyond what the loaded program already has."""
SECONDS = 10.0
"""Wall-clock and CPU seconds for one request."""
MAX_SINGLES = 32
"""Expressions tried one by one to find the culprit."""

_LIMIT_HINT = "simplify it: fewer brackets and operators, or split the rule in two"


class GuardedChecker(Checker):
    """Asks the seam in a guarded process. `module` is what that process imports as the seam."""

    def __init__(self, module: str = "penstock.seam", *, memory: int = MEMORY, seconds: float = SECONDS) -> None:
        self._module = module
        self._memory = memory
        self._seconds = seconds

    @override
    def check(self, settings: bytes | None, questions: Sequence[Question]) -> Findings:
        answer = self._ask(settings, questions, self._seconds)
        return answer if isinstance(answer, Findings) else self._blame(questions, answer)

    def _blame(self, questions: Sequence[Question], why: str) -> Findings:
        """The whole request broke the guard: find the expressions that do so alone."""
        findings = Findings()
        asked = [*questions[:MAX_SINGLES]]
        for question in asked:
            answer = self._ask(None, [question], self._seconds / 4)
            alone = answer.expressions[0] if isinstance(answer, Findings) else [_too_much(answer)]
            findings.expressions.append(alone)
        findings.expressions.extend([] for _ in questions[MAX_SINGLES:])
        if not any(findings.expressions):
            findings.rules.append(_too_much(why))
        return findings

    def _ask(self, settings: bytes | None, questions: Sequence[Question], seconds: float) -> Findings | str:
        """The answer, or in words how the guarded process ended without one."""
        request = orjson.dumps(
            {
                "module": self._module,
                "memory": self._memory,
                "seconds": int(seconds) + 1,
                "settings": None if settings is None else settings.decode(),
                "questions": [[each.expression, each.scope] for each in questions],
            }
        )
        command = [sys.executable, "-m", "penstock.config.guard"]
        try:
            done = subprocess.run(
                command, input=request, capture_output=True, timeout=seconds + 5, check=False, env=_environment()
            )
        except subprocess.TimeoutExpired:
            return f"takes longer than {seconds:g} seconds to compile"
        except OSError as error:
            raise SeamError(f"the guarded process cannot be started: {error}") from error
        return _answer(done, self._memory)


def _environment() -> dict[str, str]:
    """The guarded process sees nothing of the gateway's environment but where its modules are."""
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _answer(done: subprocess.CompletedProcess[bytes], memory: int) -> Findings | str:
    if done.returncode == 0:
        try:
            answer = orjson.loads(done.stdout)
            return Findings(answer["rules"], answer["expressions"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise SeamError("the guarded process gave an unreadable answer") from error
    if done.returncode == 3:
        raise SeamError(
            f"the native part cannot be used: {done.stderr.decode(errors='replace').strip()[:400]}",
            hint="build it with: make build",
        )
    if done.returncode in (-24, -9):
        return "takes too long to compile"
    return f"needs more than {memory // (1024 * 1024)} MiB to compile"


def _too_much(why: str) -> dict[str, Any]:
    return {"message": f"this expression {why}", "hint": _LIMIT_HINT}


def main() -> int:
    """Reads a request, bounds itself, answers. 3: the seam cannot be loaded; any other failure is the bound's doing."""
    request = orjson.loads(sys.stdin.buffer.read())
    try:
        seam = cast(Seam, importlib.import_module(request["module"]))
        _ = seam.check_rules, seam.check_expression
    except (ImportError, AttributeError) as error:
        sys.stderr.write(str(error))
        return 3
    _bound(int(request["memory"]), int(request["seconds"]))
    settings = request["settings"]
    questions = [Question(text, cast(Scope, scope)) for text, scope in request["questions"]]
    findings = DirectChecker(seam).check(None if settings is None else settings.encode(), questions)
    sys.stdout.buffer.write(orjson.dumps({"rules": findings.rules, "expressions": findings.expressions}))
    return 0


def _bound(memory: int, seconds: int) -> None:
    now = int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main())
