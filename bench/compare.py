"""`bench/compare.py OLD.json NEW.json`: what changed between two runs, and whether it is more than their noise."""

import json
import statistics
import sys
from pathlib import Path
from typing import Any


def _spread(values: list[float]) -> float:
    """How far a lane's runs lie apart, as a share of their median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / abs(middle) if middle else 0.0


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """One line for each figure and lane that both runs have."""
    lines = []
    for figure, by_lane in new["samples"].items():
        for lane, after in by_lane.items():
            before = old["samples"].get(figure, {}).get(lane)
            if not before or not statistics.median(before):
                continue
            change = statistics.median(after) / statistics.median(before) - 1
            noise = max(_spread(before), _spread(after)) / 2
            mark = " " if abs(change) <= noise else "*"
            values = f"{statistics.median(before):>12,.2f} → {statistics.median(after):>12,.2f}"
            lines.append(f"{mark} {figure:40} {lane:26} {values}  {change:+7.1%} (noise ±{noise:.1%})")
    return lines


def main() -> int:
    """Returns the exit code."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    old, new = (json.loads(Path(name).read_text()) for name in sys.argv[1:])
    for key in ("cpu", "cores", "kernel"):
        if old["machine"].get(key) != new["machine"].get(key):
            print(f"! not the same machine: {key} was {old['machine'].get(key)}, is {new['machine'].get(key)}")
    print("\n".join(compare(old, new)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
