"""Time what a user waits before anything happens: ``python benchmarks/startup.py [--json FILE] [--quick]``.

Median of seven.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from figures import figure, write

COMMANDS = {"import reseen": (["-c", "import reseen"], 0.3), "reseen --help": (["-m", "reseen", "--help"], 0.6)}


def seconds(arguments: list[str], n: int) -> float:
    """Give the median time of a fresh Python with these arguments."""
    spent = []
    for _ in range(n):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def main() -> None:
    """Time, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="once each: to see that it runs")
    options = parser.parse_args()
    n = 1 if options.quick else 7
    figures = [
        figure(name, round(seconds(arguments, n), 3), "s", f"under {goal}")
        for name, (arguments, goal) in COMMANDS.items()
    ]
    for row in figures:
        print(f"{row['name']:16s} {row['value']:.3f} s ({row['goal']})")
    write(options.json, figures, packages=())


if __name__ == "__main__":
    main()
