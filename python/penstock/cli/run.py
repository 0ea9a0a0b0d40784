"""``penstock serve`` and ``penstock demo``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from penstock.errors import UsageError


def serve(manifest: Path = Path("penstock.yaml")) -> int:
    """Run the gateway until SIGTERM; SIGHUP or a changed file loads the manifest anew.

    Args:
        manifest: The manifest: a file, or a folder of *.yaml.
    """
    import uvloop  # noqa: PLC0415  (help must not wait for it)

    from penstock import app, logs  # noqa: PLC0415

    logs.configure()
    uvloop.run(app.serve(manifest))
    return 0


def demo(*, keep: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Show the main job, from login to replay, on a PostgreSQL of its own.

    Args:
        keep: Leave everything running at the end, and print how to connect.
    """
    try:
        from penstock.demo import run  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            f"the demo needs more than is installed: {error}", hint="pip install 'penstock[demo]'"
        ) from error
    sys.stdout.flush()
    return run(keep=keep)
