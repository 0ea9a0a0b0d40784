"""pgbench -S prepared: rate, and the proxy's processor time per request."""

import os
import re
import subprocess

from bench.facts import cpu_seconds
from bench.lanes import Lane


def once(lane: Lane, *, clients: int, seconds: int) -> dict[str, float]:
    """One run: transactions per second, and processor time per transaction in microseconds."""
    before = cpu_seconds(lane.pid) if lane.pid else 0.0
    command = ["pgbench", "-n", "-S", "-M", "prepared", "-c", str(clients), "-j", "1", "-T", str(seconds), lane.dsn()]
    environment = {**os.environ, "PGPASSWORD": lane.password}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pgbench on {lane.name} failed:\n{done.stderr}")
    rate = _number(r"tps = ([\d.]+)", done.stdout)
    transactions = _number(r"transactions actually processed: (\d+)", done.stdout)
    used = cpu_seconds(lane.pid) - before if lane.pid else 0.0
    return {"rate": rate, "cpu_us": used * 1e6 / transactions}


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"pgbench said something else:\n{text}")
    return float(found[1])
