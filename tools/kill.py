"""Kill `reseen run` at random instants, resume it, and compare every file with those of a run that nobody killed.

    python tools/kill.py --kills 100 --seed 0

Half of the kills hit a serial run, half one on two workers. Each run is killed by SIGKILL, with its workers
every second time, and then started again until it ends; some are killed again on the way. Files are compared byte by
byte, ``report.html`` too. Left out are ``times.json`` and ``log.txt``, which say when and how long, and the lock.
The exit status is 1 if a file differs, is missing or was left over.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VARIES = {"times.json", "log.txt", ".lock"}
MODES = {"serial": [], "workers": ["--executor", "dask", "--workers", "2"]}


def command(recipe: str, out: Path, mode: str) -> list[str]:
    """Return the command that runs a recipe."""
    return [sys.executable, "-m", "reseen", "run", recipe, "--out", str(out), *MODES[mode]]


def start(words: list[str]) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, so that its workers can be killed with it."""
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file that two equal runs share."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in VARIES)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def kill_once(words: list[str], after: float, *, workers_too: bool) -> bool:
    """Start a command and kill it after some seconds; return whether it was still running."""
    job = start(words)
    try:
        job.wait(after)
    except subprocess.TimeoutExpired:
        if workers_too:
            os.killpg(job.pid, signal.SIGKILL)
        else:
            job.kill()
        job.wait()
        return True
    return False


def resume(words: list[str], limit: float) -> tuple[int, str]:
    """Run a command to its end; return the exit status and the end of what it said."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=limit, check=False)
    return done.returncode, (done.stdout + done.stderr)[-600:]


def differences(whole: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
    """Name the files that differ, are missing or were left over."""
    differ = [f"differs: {name}" for name in whole if name in found and whole[name] != found[name]]
    missing = [f"is missing: {name}" for name in whole if name not in found]
    return [*differ, *missing, *(f"was left over: {name}" for name in found if name not in whole)]


def main() -> None:
    """Kill, resume, compare, and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--limit", type=float, default=600, help="seconds that one run may take")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    trouble: list[str] = []
    hit = dict.fromkeys(MODES, 0)
    with tempfile.TemporaryDirectory(prefix="kill-") as place:
        folder = Path(place)
        took = {}
        for mode in MODES:
            began = time.monotonic()
            code, said = resume(command(given.recipe, folder / mode, mode), given.limit)
            took[mode] = time.monotonic() - began
            if code:
                sys.exit(f"the run that nobody kills failed: {said}")
        whole = contents(folder / "serial")
        trouble += [f"workers against serial: {what}" for what in differences(whole, contents(folder / "workers"))]
        number = 0
        while number < given.kills:
            mode = list(MODES)[number % 2]
            out = folder / "killed"
            words = command(given.recipe, out, mode)
            for _ in range(rng.choice([1, 1, 2, 3])):
                after = rng.uniform(0.2, took[mode])
                hit[mode] += kill_once(words, after, workers_too=rng.random() < 0.5)
                number += 1
            code, said = resume(words, given.limit)
            found = [f"exit {code}: {said}"] if code else differences(whole, contents(out))
            trouble += [f"kill {number}, {mode}: {what}" for what in found]
            print(f"{number} kills, {mode}: {len(found)} differences", file=sys.stderr, flush=True)
            shutil.rmtree(out)
    report = {"kills": hit, "seconds_unbroken": took, "files": len(whole), "trouble": trouble}
    print(json.dumps(report, indent=2))
    sys.exit(bool(trouble))


if __name__ == "__main__":
    main()
