"""The Python side's part of ``/metrics``, in the Prometheus text format: no name, address or text of anybody's."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from penstock import __version__
from penstock.admin.service import Service

_TICKS = os.sysconf("SC_CLK_TCK")


def text(service: Service) -> str:
    """What this side knows, behind what the native side counts."""
    health = service.health()
    ours = (
        ("holds_waiting", "Holds of this gateway that wait for a reviewer.", len(service.desk)),
        ("observing", "Targets and identities that are only observed, not enforced.", service.observing()),
        ("state_reachable", "Whether the state database answered lately.", int("state" not in health.wrong)),
        ("manifest_refused", "Whether the manifest on disk was refused.", int("manifest" in health.notes)),
        ("manifest_needs_restart", "Whether parts of the manifest wait for a restart.", int("restart" in health.notes)),
        ("draining", "Whether the gateway is shutting down.", int("gateway" in health.wrong)),
    )
    own = "".join(_family("gauge", f"penstock_{name}", told, value) for name, told, value in ours)
    built = "# HELP penstock_build_info The gateway's version.\n# TYPE penstock_build_info gauge\n"
    return own + built + f'penstock_build_info{{version="{__version__}"}} 1\n' + "".join(_process())


def _family(kind: str, name: str, told: str, value: float) -> str:
    return f"# HELP {name} {told}\n# TYPE {name} {kind}\n{name} {value}\n"


def _process() -> Iterator[str]:
    """The whole process, both sides, under the names every Prometheus client uses."""
    own = Path("/proc/self")
    # The name in parentheses may hold spaces; the numbers begin behind it.
    numbers = (own / "stat").read_text().rpartition(")")[2].split()
    resident = int((own / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    began = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + int(numbers[19]) / _TICKS
    spent = (int(numbers[11]) + int(numbers[12])) / _TICKS
    yield _family("gauge", "process_resident_memory_bytes", "Memory the process has in RAM.", resident)
    yield _family("gauge", "process_open_fds", "Open file descriptors.", len(list((own / "fd").iterdir())))
    yield _family("gauge", "process_start_time_seconds", "When the process began, since 1970.", round(began, 2))
    yield _family("counter", "process_cpu_seconds_total", "Processor time spent.", spent)
