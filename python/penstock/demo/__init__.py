"""`penstock demo`: the main job from login to replay, on a PostgreSQL of its own, in five acts."""

import asyncio
import contextlib
import secrets
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
from rich.console import Console

from penstock.demo.acts import ACTS, Stage
from penstock.demo.cluster import Cluster, embedded_binaries, start_cluster, system_binaries
from penstock.demo.gateway import start_gateway
from penstock.demo.issuer import start_issuer
from penstock.demo.manifest import JOB, demo_manifest
from penstock.demo.processes import Failed
from penstock.demo.shop import Shop, load_shop

__all__ = ["run"]

_FIRST_LINE = (
    "Penstock's demo: it starts a PostgreSQL with a shop in it, puts the gateway in front, and follows one pipeline "
    "job from login to replay, in five acts (about 15 s). Nothing stays behind."
)
_RENEW_SECONDS = 300


def run(*, keep: bool = False) -> int:
    """Plays the demo.

    Args:
        keep: leave everything running at the end, and print how to connect.

    Returns:
        The exit code: 0 when everything went as told, 1 when something did not.
    """
    console = Console(highlight=False)
    console.print(_FIRST_LINE)
    began = time.monotonic()
    try:
        with _stage(console) as stage:
            for act in ACTS:
                act(stage)
            console.print()
            _conclude(stage, time.monotonic() - began)
            if keep:
                _keep(stage)
            return 1 if stage.surprises else 0
    except Failed as failure:
        console.print(f"[bold red]The demo could not go on:[/] {failure}", markup=True)
        return 1
    except KeyboardInterrupt:
        return 130


@contextlib.contextmanager
def _stage(console: Console) -> Iterator[Stage]:
    """Starts everything the acts need; it all ends with the context."""
    binaries = embedded_binaries() or system_binaries()
    if binaries is None:
        raise Failed("there is no PostgreSQL to demonstrate on; run: pip install 'penstock[demo]'")
    folder = Path(tempfile.mkdtemp(prefix="penstock-demo-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        with _step(console, "starting a PostgreSQL"):
            cluster = stack.enter_context(start_cluster(binaries))
        with _step(console, "filling the shop database"):
            passwords = (secrets.token_urlsafe(18), secrets.token_urlsafe(18))
            shop = asyncio.run(load_shop(cluster.dsn(), secrets=passwords))
            rows = asyncio.run(_count(cluster, shop))
        issuer = stack.enter_context(start_issuer())
        with _step(console, "starting the gateway"):
            environment = {
                "PENSTOCK_DEMO_SHOP_RO": shop.reader_password,
                "PENSTOCK_DEMO_MASK_KEY": secrets.token_hex(32),
            }
            manifest = demo_manifest(cluster, shop, issuer)
            gateway = stack.enter_context(start_gateway(folder, manifest, environment=environment))
        yield Stage(console=console, cluster=cluster, shop=shop, issuer=issuer, gateway=gateway, expected_rows=rows)


async def _count(cluster: Cluster, shop: Shop) -> int:
    """How many rows the large query has, asked of the database itself."""
    connection = await asyncpg.connect(cluster.dsn(shop.database))
    try:
        return int(await connection.fetchval("SELECT count(*) FROM order_items"))
    finally:
        await connection.close()


@contextlib.contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    """Shows that a step runs, and how long it took."""
    began = time.monotonic()
    if console.is_terminal:
        with console.status(f"{what} …"):
            yield
    else:
        console.print(f"  {what} …")
        yield
    console.print(f"  [green]✓[/] {what} ({time.monotonic() - began:.1f} s)")


def _conclude(stage: Stage, seconds: float) -> None:
    """The last lines: whether everything went as told."""
    if stage.surprises:
        stage.console.print(f"[bold red]{len(stage.surprises)} thing(s) did not go as told:[/]")
        for surprise in stage.surprises:
            stage.console.print(f"  - {surprise}", markup=False)
        stage.console.print(f"The gateway's log ends with:\n{stage.gateway.process.tail(15)}", markup=False)
    else:
        stage.console.print(f"[bold green]Everything went as told[/], in {seconds:.0f} seconds.")


def _keep(stage: Stage) -> None:
    """Leaves everything running until Ctrl-C, and says how to use it."""
    token_file = stage.gateway.folder / "job.token"
    token_file.touch(mode=0o600)
    token_file.write_text(stage.job_token())
    psql = shlex.quote(stage.cluster.program("psql"))
    address = f"host=127.0.0.1 port={stage.gateway.port} user={JOB} dbname={stage.shop.database} sslmode=disable"
    line = f'PGPASSWORD="$(cat {token_file})" {psql} "{address}"'
    stage.console.print(f"It keeps running (manifest: {stage.gateway.manifest}). In another terminal:", markup=False)
    stage.console.print(f"\n    {line}\n", markup=False, soft_wrap=True)
    stage.console.print("The token in that file is renewed every five minutes. Ctrl-C ends everything.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        while stage.gateway.process.alive():
            time.sleep(_RENEW_SECONDS)
            token_file.write_text(stage.job_token())
