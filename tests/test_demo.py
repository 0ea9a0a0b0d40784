"""The demo goes as told, within its time."""

import subprocess
import time

from penstock.demo.gateway import command


def test_the_demo_goes_as_told() -> None:
    began = time.monotonic()
    done = subprocess.run([*command(), "demo"], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert done.stdout.startswith("Penstock's demo:")
    for act in ("1 of 5", "2 of 5", "3 of 5", "4 of 5", "5 of 5", "Everything went as told"):
        assert act in done.stdout
    # Twenty seconds on a machine that does nothing else; tests share it.
    assert time.monotonic() - began < 60
