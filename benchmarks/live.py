"""Latency of live decoding: ``python benchmarks/live.py --results FOLDER [--trials 60] [--gap 3] [--json FILE]``.

FOLDER is a finished run on a simulated subject, such as that of ``reseen demo``. ``reseen live`` runs in a process of
its own. Single trials are renamed into its folder, one every ``--gap`` seconds. A latency is the time from the rename
until the trial is on disk (z and its image), and until the image of the condition is. ``--quick`` decodes three trials
of the recipe ``tiny``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from figures import figure, write

import reseen

GOALS = {"start": 0.5, "image": 3.0}
"""Latency in seconds for the built-in model on two cores."""
FILES = {"start": "trial.json", "image": "image.json"}
"""Record of a trial that is written when its features, or its image, are complete."""


def feed(results: reseen.Results, folder: Path, n_trials: int, gap: float) -> list[float]:
    """Rename one file for each trial into a folder, and return the times of the renames."""
    data = results.recipe.data
    subject = reseen.load_nsd(results.data.path, data.subjects[0], rois=data.rois, zscore_sessions=False)
    trials, times = subject.trials, []
    for number in range(n_trials):
        one = trials.take(np.array([number]))
        part, path = folder / f".{number}.npz", folder / f"trial{number}.npz"
        arrays = {"betas": one.betas, "voxel_index": one.voxel_index, "stimulus_id": one.stimulus_id}
        np.savez(part, session=one.session, **arrays)
        part.rename(path)
        times.append(time.time())
        time.sleep(gap)
    return times


def latencies(recording: Path, times: list[float], record: str) -> np.ndarray:
    """Return the seconds from each rename until a record of the trial was written."""
    written = [path.stat().st_mtime for path in sorted(recording.glob(f"trials/*/{record}"))]
    if len(written) != len(times):
        raise SystemExit(f"{len(written)} of {len(times)} trials have {record}: {recording}")
    return np.array(written) - np.array(times)


def processor_seconds(process: int) -> float:
    """Return the seconds of the processor that a process on Linux has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(folder: Path, n_trials: int, gap: float, work: Path) -> list[dict[str, object]]:
    """Run ``reseen live``, feed it, and return the figures."""
    watched, recording = work / "watched", work / "recording"
    watched.mkdir()
    arguments = ["live", str(folder), "--watch", str(watched), "--out", str(recording), "--port", "0"]
    with subprocess.Popen([sys.executable, "-m", "reseen", *arguments], stderr=subprocess.DEVNULL) as process:
        try:
            while not (recording / "live.json").is_file():  # networks and decoders are loaded before
                if process.poll() is not None:
                    raise SystemExit(f"reseen live ended with {process.returncode}")
                time.sleep(0.1)
            time.sleep(1)
            before = processor_seconds(process.pid)
            times = feed(reseen.Results.read(folder), watched, n_trials, gap)
            deadline = time.monotonic() + 120
            # images of newer trials are generated first, so that the last trial's may be complete before others
            while len(list(recording.glob("trials/*/image.json"))) < n_trials and time.monotonic() < deadline:
                time.sleep(0.1)
            spent = processor_seconds(process.pid) - before
        finally:
            process.terminate()
    figures = []
    for name, record in FILES.items():
        seconds = latencies(recording, times, record)
        for what, value in {"median": np.median(seconds), "95th percentile": np.quantile(seconds, 0.95)}.items():
            figures.append(figure(f"{name}, {what}", round(float(value), 3), "s", f"under {GOALS[name]}"))
    figures.append(figure("processor time of a trial", round(spent / n_trials, 3), "s"))
    figures.append(figure("load of the machine", round(os.getloadavg()[0], 2), "processes"))
    return figures


def main() -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("out/demo"))
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--gap", type=float, default=3.0, help="seconds between two trials")
    parser.add_argument("--quick", action="store_true", help="three trials of the recipe tiny: to see that it runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work, folder, n_trials, gap = Path(name), options.results, options.trials, options.gap
        if options.quick:
            folder, n_trials, gap = work / "tiny", 3, 0.5
            reseen.run(reseen.load_recipe("tiny", {"evaluate.n_permutations": 0}), folder, until="decode")
        figures = measure(folder, n_trials, gap, work)
    for row in figures:
        print(f"{row['name']:28s} {row['value']} {row['unit']} {row['goal']}")
    write(options.json, figures)


if __name__ == "__main__":
    main()
