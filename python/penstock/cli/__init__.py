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
# Said here once more, so that the overview needs none of the commands' modules.
_COMMANDS = (
    ("demo", "run:demo", "Show the main job, from login to replay, on a PostgreSQL of its own."),
    ("serve", "run:serve", "Run the gateway."),
    ("try", "observe:try_target", "Put an observing gateway before a database and watch live."),
    ("check", "manifest:check", "Validate a manifest: every problem at once, each with its line."),
    ("explain", "manifest:explain", "Say what the gateway would decide about a statement, and why."),
    ("login", "tokens:login", "Exchange an issuer's token for a Penstock token."),
    ("token", "tokens:token", "Static and exchanged tokens."),
    ("sessions", "sessions:sessions", "Sessions: open ones, and those the trail remembers."),
    ("replay", "sessions:replay", "Show what a session asked and what it was answered."),
    ("approvals", "approvals:approvals", "Requests that wait for a person."),
)
for _name, _place, _help in _COMMANDS:
    app.command(f"penstock.cli.{_place}", name=_name, help=_help)


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
