"""Measure the peak memory of readers of a lab's own data: ``python benchmarks/readers_memory.py [--quick]``.

Responses of 10,000 trials in 40,000 voxels are made up and written block by block, 1.6 GB in each format; 3,000 voxels
are wanted. Each file is read in a process of its own, and compared with the rule that made it:

- NIfTI runs: 100 files ``.nii`` of 100 trials (``data.kind = "bids"``, with a trial table)
- compressed NIfTI runs: the same as ``.nii.gz``, lightly compressed
- npy: one matrix (n_trials, n_voxels)
- HDF5 of GLMsingle: betasmd (voxel, 1, 1, trial)
- MATLAB of GLMsingle: modelmd (trial, Z, Y, X)
- pickled npy of GLMsingle: a dict with betasmd (X, Y, Z, trial)
- npz of arrays: read completely, so that its peak is above that of the other formats

peak is the largest resident memory of the process, libraries and betas included.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from figures import figure, peak_memory, write
from PIL import Image

from reseen import load_data

SIZES = {False: ((50, 40, 20), 100, 100, 3000), True: ((5, 4, 3), 4, 6, 20)}
"""Grid, number of runs, trials of a run, and voxels that are wanted, at full and at toy size."""
FORMATS = (
    "NIfTI runs",
    "compressed NIfTI runs",
    "npy",
    "HDF5 of GLMsingle",
    "MATLAB of GLMsingle",
    "pickled npy",
    "npz of arrays",
)
LIMIT = {"npz of arrays": 2.0}
"""Limit of the peak in GB, 1.5 for all other formats."""
N_IMAGES = 10


def made_up(trials: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Return the responses to some trials in some voxels, ``(n_trials, n_voxels)`` float32, different everywhere."""
    mixed = (trials[:, None] * 7919 + voxels[None] * 104729) % 65521
    return mixed.astype(np.float32)


def write_data(folder: Path, name: str, *, quick: bool) -> None:
    """Write the responses in one format, with a mask, images, and the table of trials or conditions."""
    import nibabel

    shape, n_runs, n_in_run, _ = SIZES[quick]
    n_trials, voxels = n_runs * n_in_run, np.arange(np.prod(shape))
    (folder / "stimuli").mkdir(parents=True)
    for number in range(N_IMAGES):
        Image.fromarray(np.full((64, 64, 3), 20 * number, dtype=np.uint8)).save(folder / f"stimuli/image_{number}.png")
    mask = np.zeros(shape, dtype=np.uint8)
    mask.flat[wanted(quick=quick)] = 1
    (folder / "rois").mkdir()
    nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), folder / "rois/wanted.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.ones_like(mask), np.eye(4)), folder / "brain_mask.nii.gz")
    if "NIfTI" in name or name == "npy":
        lines = ["image,run", *(f"image_{trial % N_IMAGES}.png,{trial // n_in_run}" for trial in range(n_trials))]
        (folder / "trials.csv").write_text("\n".join(lines))
    else:
        rows = [f"{number}\timage_{number}.png" for number in range(N_IMAGES)]
        (folder / "conditions.tsv").write_text("\n".join(["condition\timage", *rows]))
        write_design(folder, np.arange(n_trials) % N_IMAGES, [n_in_run] * n_runs, matlab=name.startswith("MATLAB"))
    WRITERS[name](folder, shape, n_trials, n_in_run, voxels)


def wanted(*, quick: bool) -> np.ndarray:
    """Return the voxels that are read, spread over the grid."""
    shape, _, _, n_wanted = SIZES[quick]
    return np.sort(np.random.default_rng(0).choice(np.prod(shape), n_wanted, replace=False))


def write_design(folder: Path, order: np.ndarray, counts: list[int], *, matlab: bool) -> None:
    """Write the order of conditions as GLMsingle does: from 0 in Python, from 1 in MATLAB."""
    import h5py

    if not matlab:
        design = {"stimorder": list(order), "numtrialrun": counts}
        np.save(folder / "DESIGNINFO.npy", design, allow_pickle=True)
        return
    with h5py.File(folder / "DESIGNINFO.mat", "w") as file:
        file["stimorder"] = order[:, None] + 1.0
        file["numtrialrun"] = np.array(counts, dtype=float)[:, None]


def write_nifti(folder: Path, shape: Any, n_trials: int, n_in_run: int, voxels: np.ndarray, suffix: str = "") -> None:
    """Write one 4-D file for each run."""
    import nibabel

    for run in range(n_trials // n_in_run):
        values = made_up(np.arange(run * n_in_run, (run + 1) * n_in_run), voxels).T.reshape(*shape, n_in_run)
        content = nibabel.Nifti1Image(values, np.eye(4)).to_bytes()
        (folder / "responses").mkdir(exist_ok=True)
        path = folder / f"responses/run-{run:03d}_betas.nii{suffix}"
        path.write_bytes(gzip.compress(content, 1) if suffix else content)


def write_gzipped(folder: Path, shape: Any, n_trials: int, n_in_run: int, voxels: np.ndarray) -> None:
    """Write one compressed file for each run."""
    write_nifti(folder, shape, n_trials, n_in_run, voxels, ".gz")


def write_npy(folder: Path, _shape: Any, n_trials: int, n_in_run: int, voxels: np.ndarray) -> None:
    """Write one matrix."""
    array = np.lib.format.open_memmap(folder / "responses.npy", "w+", np.float32, (n_trials, len(voxels)))
    for first in range(0, n_trials, n_in_run):
        array[first : first + n_in_run] = made_up(np.arange(first, first + n_in_run), voxels)


def write_hdf5(folder: Path, _shape: Any, n_trials: int, _n_in_run: int, voxels: np.ndarray) -> None:
    """Write betasmd of a matrix of voxels, a block of voxels at a time."""
    import h5py

    with h5py.File(folder / "TYPED_FITHRF_GLMDENOISE_RR.hdf5", "w") as file:
        betas = file.create_dataset("betasmd", (len(voxels), 1, 1, n_trials), np.float32)
        for block in np.array_split(voxels, 20):
            betas[block[0] : block[-1] + 1, 0, 0] = made_up(np.arange(n_trials), block).T


def write_matlab(folder: Path, shape: Any, n_trials: int, n_in_run: int, voxels: np.ndarray) -> None:
    """Write modelmd, whose axes are reversed in HDF5."""
    import h5py

    with h5py.File(folder / "TYPED_FITHRF_GLMDENOISE_RR.mat", "w") as file:
        betas = file.create_dataset("modelmd", (n_trials, *shape[::-1]), np.float32)
        for first in range(0, n_trials, n_in_run):
            trials = made_up(np.arange(first, first + n_in_run), voxels)
            betas[first : first + n_in_run] = trials.reshape(n_in_run, *shape).transpose(0, 3, 2, 1)


def write_pickled(folder: Path, shape: Any, n_trials: int, _n_in_run: int, voxels: np.ndarray) -> None:
    """Write a pickled dict; numpy has to have it in memory."""
    betas = np.empty((len(voxels), n_trials), dtype=np.float32)
    for block in np.array_split(voxels, 20):
        betas[block] = made_up(np.arange(n_trials), block).T
    content = {"betasmd": betas.reshape(*shape, n_trials)}
    np.save(folder / "TYPED_FITHRF_GLMDENOISE_RR.npy", content, allow_pickle=True)


def write_npz(folder: Path, _shape: Any, n_trials: int, n_in_run: int, voxels: np.ndarray) -> None:
    """Write all arrays of a subject; numpy has to have the betas in memory."""
    betas = np.empty((n_trials, len(voxels)), dtype=np.float32)
    for first in range(0, n_trials, n_in_run):
        betas[first : first + n_in_run] = made_up(np.arange(first, first + n_in_run), voxels)
    in_roi = np.isin(voxels, wanted(quick=n_trials < 1000))
    images = np.zeros((N_IMAGES, 64, 64, 3), dtype=np.uint8)
    images[:] = 20 * np.arange(N_IMAGES)[:, None, None, None]
    names = {"stimulus_images": images, "stimulus_id": np.arange(n_trials) % N_IMAGES, "roi_wanted": in_roi}
    np.savez(folder / "subj01.npz", betas=betas, **names)


WRITERS = dict(
    zip(
        FORMATS,
        (write_nifti, write_gzipped, write_npy, write_hdf5, write_matlab, write_pickled, write_npz),
        strict=True,
    )
)


def read(folder: Path, name: str, *, quick: bool) -> dict[str, Any]:
    """Read the wanted voxels in this process; return seconds, peak in GB and whether the betas are right."""
    nifti = {"kind": "bids", "responses": "responses", "trials": "trials.csv"}
    kinds = {"npy": "trials", "npz of arrays": "arrays"}
    settings = nifti if "NIfTI" in name else {"kind": kinds.get(name, "glmsingle")}
    if settings["kind"] != "arrays":
        settings["mask"] = "brain_mask.nii.gz"
    start = time.perf_counter()
    subject = load_data(
        folder,
        **settings,
        rois=["wanted"],
        n_folds=2,
        zscore_sessions=False,
    )
    betas = subject.trials.betas
    seconds, peak = time.perf_counter() - start, peak_memory() * 2**30 / 1e9
    columns = wanted(quick=quick)
    exact = all(
        np.array_equal(betas[rows], made_up(rows, columns)) for rows in np.array_split(np.arange(len(betas)), 10)
    )
    return {"seconds": seconds, "peak": peak, "exact": exact, "betas": betas.nbytes / 1e9}


def main() -> None:
    """Write each format, read it in a new process, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="60 voxels and 24 trials: to see that it runs")
    parser.add_argument("--formats", nargs="*", choices=FORMATS, default=FORMATS)
    parser.add_argument("--folder", type=Path, help="folder for the files; left out: a temporary one")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(read(arguments.folder, arguments.one, quick=arguments.quick)))
        return
    figures = []
    print(f"{'':24s}{'seconds':>9s}{'peak GB':>9s}   exact")
    for name in arguments.formats:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            write_data(Path(folder), name, quick=arguments.quick)
            command = [sys.executable, __file__, "--one", name, "--folder", folder]
            done = subprocess.run(
                [*command, *(["--quick"] if arguments.quick else [])], check=True, stdout=subprocess.PIPE, text=True
            )
        found = json.loads(done.stdout)
        print(
            f"{name:24s}{found['seconds']:9.2f}{found['peak']:9.2f}   {'yes' if found['exact'] else 'NO'}", flush=True
        )
        if not found["exact"]:
            raise SystemExit(f"{name}: the betas are not those that were written.")
        figures.append(figure(f"{name}: peak", round(found["peak"], 3), "GB", f"under {LIMIT.get(name, 1.5)}"))
        figures.append(figure(f"{name}: seconds", round(found["seconds"], 2), "s"))
    write(arguments.json, figures, packages=("numpy", "h5py", "nibabel"))


if __name__ == "__main__":
    main()
