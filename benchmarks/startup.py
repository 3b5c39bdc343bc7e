"""Time what a user waits before anything happens: ``python benchmarks/startup.py [--json FILE]``; median of seven."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from figures import figure, write

COMMANDS = {"import reseen": (["-c", "import reseen"], 0.3), "reseen --help": (["-m", "reseen", "--help"], 0.6)}


def seconds(arguments: list[str], n: int = 7) -> float:
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
    json_file = parser.parse_args().json
    figures = [
        figure(name, round(seconds(arguments), 3), "s", f"under {goal}") for name, (arguments, goal) in COMMANDS.items()
    ]
    for row in figures:
        print(f"{row['name']:16s} {row['value']:.3f} s ({row['goal']})")
    write(json_file, figures, packages=())


if __name__ == "__main__":
    main()
