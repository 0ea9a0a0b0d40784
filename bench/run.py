"""`make bench`: prints the table of figures, peers side by side, and writes it as JSON with the machine's facts.

    ARGS="--quick"        a look, with short runs
    ARGS="--rounds 5"     more rounds; every figure is the median over rounds, lanes interleaved within each

On a machine with few cores, clients, proxies and servers share them: read the processor times before the rates.
"""

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from bench import facts, lanes  # noqa: E402
from bench.codec import bulk  # noqa: E402
from bench.mask.classes import DETECTORS, SSN_COLUMN  # noqa: E402
from bench.relay import memory, small  # noqa: E402

Figures = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Options:
    """How long to measure."""

    rounds: int
    seconds: int
    connections: int
    megabytes: int
    rows: int
    scale: int


@dataclass
class Report:
    """What was measured: figure → lane → median, and every single value beside it."""

    console: Console
    figures: Figures = field(default_factory=dict)
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, figure: str, lane: str, value: float) -> None:
        """One measurement."""
        values = self.samples.setdefault(figure, {}).setdefault(lane, [])
        values.append(value)
        self.figures.setdefault(figure, {})[lane] = statistics.median(values)

    def value(self, figure: str, lane: str) -> float | None:
        """A median, if it was measured."""
        return self.figures.get(figure, {}).get(lane)


def interleaved(
    report: Report,
    rounds: int,
    what: str,
    measured: Sequence[lanes.Lane],
    once: Callable[[lanes.Lane], dict[str, float]],
) -> None:
    """Runs every lane once a round, so that what disturbs the machine disturbs them all."""
    for number in range(rounds):
        for lane in measured:
            report.console.print(f"  {what}: round {number + 1} of {rounds}, {lane.name}", style="dim")
            for name, value in once(lane).items():
                report.add(f"{what} {name}", lane.name, value)


def measure(options: Options, report: Report) -> None:
    """All lanes of all figures."""
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        cluster = enter(lanes.database(scale=options.scale, rows=options.rows))
        real = [
            lanes.direct(cluster),
            enter(lanes.pgbouncer(cluster)),
            enter(lanes.penstock(cluster, classes=(SSN_COLUMN,))),
        ]
        for lane in real[1:]:
            figure = memory.idle(lane, connections=options.connections)
            report.add("idle KiB per connection", lane.name, figure)
        for clients in (8, 32):
            interleaved(
                report, options.rounds, f"c{clients}", real,
                lambda lane, clients=clients: small.once(lane, clients=clients, seconds=options.seconds),  # type: ignore[misc]
            )  # fmt: skip
        interleaved(report, options.rounds, "bulk from PostgreSQL", real, bulk.once)
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        cluster = enter(lanes.database(scale=1, rows=20000))
        port = enter(lanes.canned(cluster, megabytes=options.megabytes))
        plain = lanes.direct(cluster, port)
        sent = int(bulk.once(plain)["bytes"])
        measured = [
            plain,
            enter(lanes.pgbouncer(cluster, port)),
            enter(lanes.penstock(cluster, port, classes=(SSN_COLUMN,))),
            enter(lanes.penstock(cluster, port, name="penstock, nothing masked")),
            enter(lanes.penstock(cluster, port, name="penstock, detectors", classes=(DETECTORS,), unclassified="scan")),
        ]
        interleaved(report, options.rounds, "canned bulk", measured, lambda lane: bulk.once(lane, sent=sent))
        large = enter(lanes.canned(cluster, megabytes=options.megabytes, repeat=4))
        slow = enter(lanes.penstock(cluster, large, classes=(SSN_COLUMN,)))
        report.add("slow client MiB", "penstock", memory.slow(slow, seconds=max(4, options.seconds)))


@dataclass(frozen=True)
class Goal:
    """One line of the table."""

    what: str
    figure: str
    bound: float
    # True: ours over PgBouncer's; False: ours alone.
    ratio: bool
    at_least: bool = False

    def judge(self, report: Report) -> tuple[str, bool | None]:
        """Our figure as text, and whether it meets the bound."""
        ours = report.value(self.figure, "penstock")
        theirs = report.value(self.figure, "pgbouncer")
        if ours is None or (self.ratio and not theirs):
            return "not measured", None
        value = ours / theirs if self.ratio and theirs else ours
        met = value >= self.bound if self.at_least else value <= self.bound
        return f"{value:.2f}{' ×' if self.ratio else ''}", met


GOALS = (
    Goal("pgbench -S prepared, 8 clients: rate", "c8 rate", 0.8, ratio=True, at_least=True),
    Goal("pgbench -S prepared, 32 clients: rate", "c32 rate", 0.8, ratio=True, at_least=True),
    Goal("CPU per request, 8 clients", "c8 cpu_us", 1.5, ratio=True),
    Goal("CPU per request, 32 clients", "c32 cpu_us", 1.5, ratio=True),
    Goal("canned 250 MB, one masked column: CPU per GB", "canned bulk cpu_s_per_gb", 2.0, ratio=True),
    Goal("from PostgreSQL, one masked column: CPU per GB", "bulk from PostgreSQL cpu_s_per_gb", 2.0, ratio=True),
    Goal("memory per idle connection, KiB", "idle KiB per connection", 32, ratio=False),
    Goal("memory with 1 GB to a slow client, MiB over idle", "slow client MiB", 64, ratio=False),
)


def show(report: Report) -> None:
    """Prints both tables."""
    goals = Table(title="Figures", title_justify="left")
    for heading in ("what", "Penstock (× PgBouncer)", "bound", "met"):
        goals.add_column(heading)
    for goal in GOALS:
        text, met = goal.judge(report)
        bound = f"{'≥' if goal.at_least else '≤'} {goal.bound:g}{' ×' if goal.ratio else ''}"
        goals.add_row(goal.what, text, bound, {True: "yes", False: "NO", None: "–"}[met])
    names = list(dict.fromkeys(lane for values in report.figures.values() for lane in values))
    everything = Table(title="All lanes (medians)", title_justify="left")
    everything.add_column("figure")
    for name in names:
        everything.add_column(name, justify="right")
    for figure, values in report.figures.items():
        cells = [f"{values[name]:,.2f}" if name in values else "" for name in names]
        everything.add_row(figure, *cells)
    report.console.print(goals)
    report.console.print(everything)


def main() -> int:
    """Returns the exit code: 1 when a bound is not met."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, for a look")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where the JSON goes; left out: bench/results/")
    given = parser.parse_args()
    options = Options(given.rounds, given.seconds, connections=1000, megabytes=250, rows=1_000_000, scale=10)
    if given.quick:
        options = Options(rounds=1, seconds=2, connections=100, megabytes=50, rows=100_000, scale=1)
    report = Report(Console(width=None if sys.stdout.isatty() else 160))
    about: dict[str, Any] = {"machine": facts.machine(), "options": vars(options), "began": time.time()}
    measure(options, report)
    show(report)
    goals = {goal.what: goal.judge(report) for goal in GOALS}
    document = {**about, "figures": report.figures, "samples": report.samples, "goals": goals}
    out = (
        given.out or ROOT / "bench" / "results" / f"{time.strftime('%Y%m%d-%H%M%S')}-{about['machine']['commit']}.json"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=2, default=str))
    report.console.print(f"written to {out}", soft_wrap=True)
    return 1 if any(met is False for _, met in goals.values()) and not given.quick else 0


if __name__ == "__main__":
    sys.exit(main())
