"""Time what a user waits before anything happens: ``python benchmarks/startup.py [--json FILE]``; median of seven."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

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
        {"name": name, "value": round(seconds(arguments), 3), "unit": "s", "goal": f"under {goal}"}
        for name, (arguments, goal) in COMMANDS.items()
    ]
    for figure in figures:
        print(f"{figure['name']:16s} {figure['value']:.3f} s ({figure['goal']})")
    if json_file:
        about = {
            "machine": platform.processor() or platform.machine(),
            "versions": {"python": platform.python_version()},
        }
        json_file.write_text(json.dumps({**about, "figures": figures}, indent=2))


if __name__ == "__main__":
    main()
