"""Read a subject of NSD's size: ``python benchmarks/reader.py [--json FILE] [--quick] [--sessions N] [--data DIR]``.

Sessions of 81 x 104 x 83 voxels and 750 trials are written to DIR (1.1 GB each; left out, a temporary one that is
deleted at the end), as HDF5 with NSD's chunks, one voxel each, and one session as NIfTI. The ROIs hold 15,724 voxels.
Every contender reads them in a process of its own and gives the same float32 betas, held against the rule that made
them:

- reseen: the reader, nothing kept
- reseen, first start: the same, keeping each session in the results folder
- reseen, second start: from what was kept
- whole volumes: each session read whole (h5py or nibabel), all concatenated, then the ROI taken and scaled
- NIfTI: one session

seconds are of the clock, processor those of all cores; files are put out of the system's memory before, where it allows
that. peak is the largest resident memory of the process, libraries and the betas themselves included.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from figures import figure, peak_memory, write

from reseen.datasets import open_subject
from reseen.datasets.nsd_facts import NsdFiles
from reseen.recipe import DataRecipe
from reseen.simulate.fullsize import planted, write_full_size

SUBJECT, SPACE, BETAS = "subj01", "func1pt8mm", "betas_fithrf_GLMdenoise_RR"


def read(root: Path, keep: Path | None) -> np.ndarray:
    """Read as `reseen run` does."""
    return open_subject(DataRecipe(path=root, zscore_sessions=False), SUBJECT, keep=keep).trials.betas


def read_whole(root: Path, n_sessions: int) -> np.ndarray:
    """Read as most code does: whole volumes, joined, then masked."""
    import h5py
    import nibabel

    files = NsdFiles(root, SUBJECT, SPACE, BETAS)
    mask = roi(root)
    sessions = []
    for session in range(1, n_sessions + 1):
        path = files.session(session)
        if path.exists():
            with h5py.File(path) as file:
                sessions.append(file["betas"][:].transpose(0, 3, 2, 1))
        else:
            sessions.append(np.asarray(nibabel.load(files.session(session, "nii.gz")).dataobj).transpose(3, 0, 1, 2))
    return np.concatenate(sessions)[:, mask].astype(np.float32) / np.float32(300)


def roi(root: Path) -> np.ndarray:
    """Give the mask (X, Y, Z) of the voxels that are to be read."""
    import nibabel

    return np.asarray(nibabel.load(NsdFiles(root, SUBJECT, SPACE, BETAS).roi("streams")).dataobj) > 0


def expected(root: Path, n_sessions: int) -> str:
    """Give the digest of the betas that must come out."""
    index = np.flatnonzero(roi(root))
    total = hashlib.sha256()
    for session in range(1, n_sessions + 1):
        total.update(np.ascontiguousarray(planted(index, session).T.astype(np.float32) / np.float32(300)))
    return total.hexdigest()


def put_out(root: Path) -> None:
    """Ask the system to forget what it keeps in memory of these files."""
    if hasattr(os, "posix_fadvise"):
        for path in root.rglob("*.*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run_one(name: str, root: Path, n_sessions: int) -> dict[str, Any]:
    """Read in this process, and say what it took and what came out."""
    keep = root / "kept" if "start" in name else None
    if "first" in name:  # a folder that was left from before makes a second start of it
        shutil.rmtree(root / "kept", ignore_errors=True)
    reading: Callable[[], np.ndarray] = lambda: read(root, keep)  # noqa: E731
    if "whole" in name:
        reading = lambda: read_whole(root, n_sessions)  # noqa: E731
    put_out(root)
    start, processor = time.perf_counter(), time.process_time()
    betas = reading()
    about = {"seconds": time.perf_counter() - start, "processor": time.process_time() - processor}
    about["peak"] = peak_memory() * 2**30 / 1e9
    return {**about, "betas": betas.nbytes / 1e9, "digest": hashlib.sha256(np.ascontiguousarray(betas)).hexdigest()}


def contend(name: str, root: Path, n_sessions: int) -> dict[str, Any]:
    """Run one contender in a process of its own, and print its line."""
    arguments = ["--one", name, "--data", str(root), "--sessions", str(n_sessions)]
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    exact = found["digest"] == expected(root, n_sessions)
    numbers = f"{found['seconds']:9.2f}{found['processor']:11.2f}{found['peak']:9.2f}"
    print(f"{name:28s}{n_sessions:9d}{numbers}   {'yes' if exact else 'NO'}", flush=True)
    if not exact:
        raise SystemExit(f"{name} gave other betas than were written.")
    return found


def compare(root: Path, n_sessions: int, *, quick: bool) -> list[dict[str, Any]]:
    """Run every contender and give the figures; a quick run leaves out those that read whole volumes."""
    print(f"{'':28s}{'sessions':>9s}{'seconds':>9s}{'processor':>11s}{'peak GB':>9s}   exact")
    names = ["reseen", "reseen, first start", "reseen, second start", "whole volumes"][: 3 if quick else 4]
    rows = {name: contend(name, hdf5(root, n_sessions), n_sessions) for name in names}
    if not quick:
        rows |= {name: contend(name, root / "nifti", 1) for name in ("NIfTI, reseen", "NIfTI, whole volumes")}
    ours = rows["reseen"]
    speedup = "not measured" if quick else round(rows["whole volumes"]["seconds"] / ours["seconds"], 1)
    figures = [
        figure("speedup_vs_whole_volumes", speedup, "times", "above 1"),
        figure("peak_gb", round(max(rows[name]["peak"] for name in names[:3]), 2), "GB", "under 1.5"),
        figure("peak_gb without the betas themselves", round(ours["peak"] - ours["betas"], 2), "GB"),
        figure("sessions", n_sessions),
    ]
    for name, row in rows.items():
        figures += [
            figure(f"{name}: seconds", round(row["seconds"], 2), "s"),
            figure(f"{name}: processor", round(row["processor"], 2), "s"),
            figure(f"{name}: peak", round(row["peak"], 2), "GB"),
        ]
    return figures


def hdf5(root: Path, n_sessions: int) -> Path:
    """Say where a tree of so many sessions lies."""
    return root / f"hdf5_{n_sessions}"


def write_data(root: Path, n_sessions: int, *, quick: bool) -> None:
    """Write what is to be read, unless it is there."""
    if not hdf5(root, n_sessions).exists():
        size = {"n_voxels": 300, "all_voxels": False} if quick else {}
        write_full_size(hdf5(root, n_sessions), n_sessions=n_sessions, **size)
    if not quick and not (root / "nifti").exists():
        write_full_size(root / "nifti", n_sessions=1, all_voxels=False, n_nifti=1)
        NsdFiles(root / "nifti", SUBJECT, SPACE, BETAS).session(1).unlink()


def main() -> None:
    """Write, read, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="300 voxels, reseen alone: to see that it runs")
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--data", type=Path, help="where to write, and to leave, the data")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run_one(arguments.one, arguments.data, arguments.sessions)))
        return
    n_sessions = 1 if arguments.quick else arguments.sessions
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.data or Path(folder)
        write_data(root, n_sessions, quick=arguments.quick)
        figures = compare(root, n_sessions, quick=arguments.quick)
    for row in figures[:3]:
        print(f"{row['name']}: {row['value']} {row['unit']}{' (goal: ' + row['goal'] + ')' if row['goal'] else ''}")
    write(arguments.json, figures, packages=("numpy", "h5py", "nibabel"))


if __name__ == "__main__":
    main()
