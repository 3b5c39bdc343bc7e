"""History of the benchmarks: record the figures of a run, and plot all of them.

``python benchmarks/history.py record startup.json frames.json`` appends what ``--json`` wrote to ``history.jsonl``, one
line for each file: date, commit, benchmark, size, machine, versions and figures. ``python benchmarks/history.py plot``
draws them into ``out/benchmarks.svg``: one panel for each figure, one line for each machine. Only figures of one
machine and one size are comparable.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("history.jsonl")
COLUMNS = 4


def commit() -> str:
    """Return the short name of the current commit, or an empty text outside a repository."""
    line = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(line, cwd=FILE.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def record(paths: Iterable[Path], history: Path = FILE, *, size: str = "true") -> list[dict[str, Any]]:
    """Append the figures of benchmarks to the history, and return the new entries.

    Parameters
    ----------
    paths
        Files that benchmarks wrote with ``--json``; the name of each is the name of its benchmark.
    history
        File with a JSON object on each line.
    size
        ``"true"``, or ``"quick"`` for the sizes of ``--quick``.

    Raises
    ------
    ValueError
        If a file has no figures.
    """
    entries = []
    for path in paths:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not found.get("figures"):
            raise ValueError(f"{path} has no figures: it is no file that --json of a benchmark wrote")
        about = {"date": date.today().isoformat(), "commit": commit(), "benchmark": path.stem, "size": size}
        entries.append({**about, **found})
    with history.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)
    return entries


def series(history: Path = FILE) -> dict[tuple[str, str, str], dict[str, list[tuple[str, float]]]]:
    """Return dated values: (benchmark, figure, unit) -> machine and size -> (date, value) in the order of the file."""
    found: dict[tuple[str, str, str], dict[str, list[tuple[str, float]]]] = {}
    for line in history.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        for row in entry["figures"]:
            if isinstance(row["value"], (int, float)) and math.isfinite(row["value"]):
                lines = found.setdefault((entry["benchmark"], row["name"], row["unit"]), {})
                lines.setdefault(f"{entry['machine']} ({entry['size']})", []).append((entry["date"], row["value"]))
    return found


def plot(path: Path, history: Path = FILE) -> None:
    """Draw one panel for each figure; the format is that of the name of the file, such as SVG or PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = series(history)
    n_rows = math.ceil(len(found) / COLUMNS)
    figure, axes = pyplot.subplots(n_rows, COLUMNS, figsize=(16, 2.4 * n_rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(found) :]:
        axis.remove()
    for axis, ((benchmark, name, unit), lines) in zip(axes.flat, found.items(), strict=False):
        for machine, values in lines.items():
            axis.plot([day for day, _ in values], [value for _, value in values], marker="o", label=machine)
        axis.set_title(f"{benchmark}: {name}", fontsize=8, wrap=True)
        axis.set_ylabel(unit, fontsize=8)
        axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
        axis.tick_params(labelsize=7)
    if found:
        axes.flat[0].legend(fontsize=6)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--history", type=Path, default=FILE, help="the history; default: benchmarks/history.jsonl")
    commands = options.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="append files that --json wrote")
    recording.add_argument("files", type=Path, nargs="+")
    recording.add_argument("--quick", action="store_true", help="they were written with --quick")
    plotting = commands.add_parser("plot", help="draw all figures")
    plotting.add_argument("--out", type=Path, default=Path("out/benchmarks.svg"))
    return options


def run(options: argparse.Namespace) -> None:
    """Record or plot."""
    if options.command == "record":
        entries = record(options.files, options.history, size="quick" if options.quick else "true")
        print(f"{len(entries)} entries appended to {options.history}")
    else:
        plot(options.out, options.history)
        print(f"plot: {options.out}")


if __name__ == "__main__":
    run(parser().parse_args())
