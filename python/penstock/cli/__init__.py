"""The ``penstock`` command. Each subcommand's module is imported only when it runs, so that help is quick."""

from __future__ import annotations

import json
import sys
from typing import NoReturn

from cyclopts import App, CycloptsError

from penstock import __version__
from penstock.errors import PenstockError, UsageError

#: Exit codes: all is well; something was found, denied or failed; the command line is wrong.
OK, FINDING, USAGE = 0, 1, 2
_INTERRUPTED = 130

app = App(
    name="penstock",
    version=__version__,
    help="A gateway between non-human identities and what they reach: it identifies, decides, masks, asks and records.",
)
app.command("penstock.cli.run:demo", name="demo")
app.command("penstock.cli.run:serve", name="serve")
app.command("penstock.cli.observe:try_target", name="try")
app.command("penstock.cli.manifest:check", name="check")
app.command("penstock.cli.manifest:explain", name="explain")
app.command("penstock.cli.tokens:login", name="login")
app.command("penstock.cli.tokens:token", name="token")
app.command("penstock.cli.sessions:sessions", name="sessions")
app.command("penstock.cli.sessions:replay", name="replay")
app.command("penstock.cli.approvals:approvals", name="approvals")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs a command and exits with its code; errors are one sentence and a hint, never a traceback."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(given, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        sys.exit(_fail(UsageError(str(error), hint=f"penstock {_topic(given)}--help shows what it takes"), given))
    except PenstockError as error:
        sys.exit(_fail(error, given))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has seen enough; leave without a word about it.
        sys.stderr.close()
        sys.exit(OK)
    sys.exit(code if isinstance(code, int) else OK)


def _fail(error: PenstockError, given: list[str]) -> int:
    if "--json" in given:
        print(json.dumps({"error": str(error), "hint": error.hint}))
    else:
        hint = f"\n  hint: {error.hint}" if error.hint else ""
        print(f"penstock: {error}{hint}", file=sys.stderr)
    return USAGE if isinstance(error, UsageError) else FINDING


def _topic(given: list[str]) -> str:
    return f"{given[0]} " if given and given[0] in app else ""
