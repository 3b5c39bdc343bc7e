"""Read a trial table and the responses next to it: ``data.kind = "trials"``.

``trials.csv`` has one row per trial (`reseen.datasets.lab.table`). The responses are one array ``(n_trials, n_voxels)``
in ``responses.npy`` or ``betas.npy``; one 4-D NIfTI file with all trials; or, if the table has a column ``beta``, one
3-D NIfTI file per trial. ``data.responses`` names another file or folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.lab.assemble import assemble, locate, need_root
from reseen.datasets.lab.data import LabData, Responses
from reseen.datasets.lab.matrices import read_columns_of
from reseen.datasets.lab.place import Place
from reseen.datasets.lab.table import TrialTable, read_trial_table
from reseen.datasets.lab.volumes import all_voxels, read_mask, run_files
from reseen.errors import DataError
from reseen.files import check_regular, reading
from reseen.files.reading import shown
from reseen.recipe import DataRecipe

TABLES = ("trials.csv", "trials.tsv")
RESPONSES = ("responses.npy", "betas.npy", "responses.nii.gz", "betas.nii.gz")
FILE_COLUMN = "beta"
"""Column with the file of each trial's responses."""
NIFTI = (".nii.gz", ".nii")


def read(data: DataRecipe, subject: str) -> LabData:
    """Read a subject's trial table; responses are read at first use.

    Parameters
    ----------
    data
        Section ``data`` of the recipe.
    subject
        Name of the subject. If ``data.path`` has a folder of this name, its files are read.

    Raises
    ------
    DataError
        If a file is missing or damaged, or the numbers of trials differ.
    """
    root = need_root(data)
    own = root / subject
    folder = own if own.is_dir() else root
    table = read_trial_table(_table_file(data, folder))
    return assemble(data, table, _responses(data, folder, table))


def _table_file(data: DataRecipe, folder: Path) -> Path:
    if data.trials is not None:
        return locate(data, data.trials, "data.trials")
    for name in TABLES:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"{shown(folder)} has no {TABLES[0]}: a table with one row per trial and a column image. Write it, or name "
        "another table: data.trials.",
        where="data.trials",
        expected=TABLES,
    )


def _responses(data: DataRecipe, folder: Path, table: TrialTable) -> Responses:
    files = table.columns.get(FILE_COLUMN)
    if files is not None:
        place = folder if data.responses is None else locate(data, data.responses, "data.responses")
        paths = [place / name for name in files]
        return run_files(paths, _voxels(data, paths[0]))
    path = _response_file(data, folder)
    if path.name.endswith(NIFTI):
        return run_files([path], _voxels(data, path))
    mask = None if data.mask is None else read_mask(locate(data, data.mask, "data.mask"), "native")
    return array_file(path, mask)


def _response_file(data: DataRecipe, folder: Path) -> Path:
    if data.responses is not None:
        return locate(data, data.responses, "data.responses")
    for name in RESPONSES:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"{shown(folder)} has none of {', '.join(RESPONSES)}, and the trial table has no column {FILE_COLUMN!r}. Name "
        "the file of the responses: data.responses.",
        where="data.responses",
        expected=RESPONSES,
    )


def _voxels(data: DataRecipe, path: Path) -> Place:
    """Return the voxels of the brain mask, or of the whole grid of a file without a mask."""
    if data.mask is None:
        return all_voxels(path, "native")
    return read_mask(locate(data, data.mask, "data.mask"), "native")


def array_file(path: Path, place: Place | None = None) -> Responses:
    """Return the responses in a ``.npy`` file ``(n_trials, n_voxels)``, which is mapped into memory.

    Raises
    ------
    DataError
        If the file is missing, damaged, or is no matrix of real numbers with one column per voxel of the place.
    """
    check_regular(path)
    with reading(path):
        betas = np.load(path, mmap_mode="r", allow_pickle=False)
    if betas.ndim != 2 or betas.dtype.kind not in "fiu":
        raise DataError(
            f"{shown(path)} has shape {betas.shape} and type {betas.dtype}; real numbers (n_trials, n_voxels) are "
            "expected.",
            where=path,
            expected=2,
            found=betas.ndim,
        )
    if place is not None and len(place.index) != betas.shape[1]:
        raise DataError(
            f"{shown(path)} has {betas.shape[1]} voxels; the mask has {len(place.index)}. Name the mask of these "
            "responses: data.mask.",
            where="data.mask",
            expected=betas.shape[1],
            found=len(place.index),
        )

    def read_columns(columns: NDArray[np.int64]) -> NDArray[np.float32]:
        if betas.flags.f_contiguous:  # the values of a voxel are next to each other
            return np.asarray(betas[:, columns], dtype=np.float32)
        return read_columns_of(betas, columns)

    return Responses(len(betas), betas.shape[1], read_columns, place)
