"""Read THINGS-fMRI: ``data.kind = "things"``.

- ``betas_csv``: ``sub-01_ResponseData.h5``, a frame of pandas whose *rows are voxels* and whose columns are
  ``voxel_id`` and the trials from 0; ``sub-01_StimulusMetadata.csv``, one row per trial; ``sub-01_VoxelMetadata.csv``,
  one row per voxel, with ROIs as columns of 0 and 1, and noise ceilings in per cent. The place of a voxel is its index
  in the brain mask's grid (``voxel_x``, ``voxel_y``, ``voxel_z``).
- ``betas_vol``: one 4-D NIfTI per run, and next to it ``conditions.tsv`` with the image of each volume. Catch trials
  (``catch008.jpg``) have no image.

Read from the public notebook of the data set; the true HDF5 files were not opened.
"""

from __future__ import annotations

import pickletools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.hdf5 import find_dataset, find_group, read_all
from reseen.datasets.lab.assemble import assemble, locate, need_root
from reseen.datasets.lab.ceilings import ncsnr_from_ceiling
from reseen.datasets.lab.data import LabData, Responses
from reseen.datasets.lab.matrices import read_rows_of
from reseen.datasets.lab.place import Place
from reseen.datasets.lab.subjects import of_subject
from reseen.datasets.lab.table import Texts, TrialTable, join_tables, read_columns, read_trial_table
from reseen.datasets.lab.volumes import read_mask, run_files
from reseen.datasets.volumes import read_grid
from reseen.errors import DataError
from reseen.files import check_regular, reading
from reseen.files.reading import shown
from reseen.recipe import DataRecipe

SPACE = "T1w"
FRAME = "ResponseData"
CEILING = "nc_singletrial"
"""Noise ceiling of single trials, in per cent: 100 ncsnr**2 / (ncsnr**2 + 1), computed as in NSD."""
NO_ROI = ("voxel_", "subject_id", "nc_", "splithalf_", "prf-")
"""Beginnings of the voxel table's columns that are no ROIs."""
CATCH = "catch"
"""Beginning of the names of images in catch trials."""
_PICKLED_NUMBERS = ("BININT", "BININT1", "BININT2")


def read(data: DataRecipe, subject: str) -> LabData:
    """Read a subject's trials and voxels; responses are read at first use.

    Parameters
    ----------
    data
        Section ``data`` of the recipe. ``responses`` names ``betas_vol`` if the folder has both layouts.
    subject
        Name of the subject: ``"sub-01"`` or ``"subj01"``.

    Raises
    ------
    DataError
        If a file is missing or damaged, or does not fit the others.
    """
    root = need_root(data)
    place = root if data.responses is None else locate(data, data.responses, "data.responses")
    folder = place if place.is_dir() else place.parent
    frames = [place] if place.is_file() else sorted(folder.rglob(f"*_{FRAME}.h5"))
    if frames:
        return _read_frame(data, of_subject(folder, frames, subject)[0])
    volumes = sorted(folder.rglob("*_betas.nii.gz"), key=_run_of)
    if not volumes:
        raise DataError(
            f"{shown(folder)} has neither *_{FRAME}.h5 nor *_betas.nii.gz. Give the folder that contains betas_csv or "
            "betas_vol.",
            where="data.path",
            expected=(f"*_{FRAME}.h5", "*_betas.nii.gz"),
        )
    return _read_volumes(data, of_subject(folder, volumes, subject))


# ---------------------------------------------------------------------------------------------------- betas_csv


def _read_frame(data: DataRecipe, path: Path) -> LabData:
    start = path.name.removesuffix(f"{FRAME}.h5")
    voxel_path = path.with_name(f"{start}VoxelMetadata.csv")
    voxels = read_columns(voxel_path)
    table_path = path.with_name(f"{start}StimulusMetadata.csv")
    table = _frame_table(table_path, read_columns(table_path))
    name, n_voxels, n_trials = _frame_shape(path)
    n_listed = len(_numbers(voxel_path, voxels, "voxel_id"))
    if n_voxels != n_listed:
        raise DataError(
            f"{shown(voxel_path)} has {n_listed} voxels; {shown(path)} has {n_voxels}. Fetch both files "
            "of one subject.",
            where=voxel_path,
            expected=n_voxels,
            found=n_listed,
        )

    def read_voxels(chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        import h5py

        with reading(path), h5py.File(path, "r") as file:
            return read_rows_of(find_dataset(path, file, name), chosen)  # rows are voxels

    ncsnr = ncsnr_from_ceiling(_numbers(voxel_path, voxels, CEILING)) if CEILING in voxels else None
    responses = Responses(n_trials, n_voxels, read_voxels, _frame_place(data, voxel_path, voxels), ncsnr)
    return assemble(data, table, responses, rois=_frame_rois(voxels))


def _frame_table(path: Path, columns: dict[str, Texts]) -> TrialTable:
    """Return the trials in the order of ``trial_id``, which is the frame's column."""
    needed = ("trial_type", "session", "run", "trial_id", "stimulus")
    lacking = [name for name in needed if name not in columns]
    if lacking:
        raise DataError(
            f"{shown(path)} has no column {lacking[0]}; it has {', '.join(map(shown, columns))}.",
            where=path,
            expected=needed,
            found=tuple(columns),
        )
    other = {name: values for name, values in columns.items() if name not in ("session", "run", "stimulus")}
    split = tuple({"train": "train", "test": "test"}.get(kind, "") for kind in columns["trial_type"])
    table = TrialTable(columns["stimulus"], columns["session"], columns["run"], split, other)
    trial = _numbers(path, columns, "trial_id")
    if not np.array_equal(np.sort(trial), np.arange(len(trial))):
        raise DataError(
            f"the trial_id of {shown(path)} are not 0 to {len(trial) - 1}, once each. Fetch the file again.",
            where=path,
            expected=len(trial),
        )
    return table.take(np.argsort(trial))


def _frame_shape(path: Path) -> tuple[str, int, int]:
    """Return name and shape of the frame's block of responses; check that its columns are the trials from 0."""
    import h5py

    check_regular(path)
    with reading(path), h5py.File(path, "r") as file:
        group = find_group(path, file, FRAME if FRAME in tuple(file) else next(iter(file)))
        frame = group.name.strip("/")
        blocks = [name for name in group if re.fullmatch(r"block\d+_values", name)]
        floats = [name for name in blocks if find_dataset(path, file, f"{frame}/{name}").dtype.kind == "f"]
        if len(floats) != 1:
            raise DataError(
                f"{shown(path)} has {len(floats)} blocks of real numbers; a frame of pandas with one is expected. "
                "Fetch it again.",
                where=path,
                expected=1,
                found=len(floats),
            )
        n_voxels, n_trials = find_dataset(path, file, f"{frame}/{floats[0]}").shape
        items = find_dataset(path, file, f"{frame}/{floats[0].replace('values', 'items')}")
        labels = _labels(read_all(path, items))
    if len(labels) != n_trials or labels != list(range(n_trials)):  # a damaged file may declare any number
        raise DataError(
            f"{shown(path)} has columns {labels[:3]} ..., and trials 0 to {n_trials - 1} in this order are expected. "
            "Save the frame with its columns in order.",
            where=path,
            expected=n_trials,
            found=len(labels),
        )
    return f"{frame}/{floats[0]}", n_voxels, n_trials


def _labels(items: NDArray[Any]) -> list[int]:
    """Return the numbers of a frame's columns.

    Pandas pickles mixed labels. The pickle is not run: only the numbers in its lists are read.
    """
    if items.dtype != object:
        texts = [item.decode() if isinstance(item, bytes) else str(item) for item in items]
        return [int(text) if text.isdecimal() else -1 for text in texts]
    found: list[int] = []
    batch: list[int] = []
    for opcode, argument, _ in pickletools.genops(bytes(items[0])):
        if opcode.name == "MARK":
            batch = []
        elif opcode.name == "APPENDS":  # pickle appends in batches of 1000
            found += batch
        elif opcode.name in _PICKLED_NUMBERS:
            batch.append(int(str(argument)))
        elif opcode.name.endswith("UNICODE"):
            batch.append(int(str(argument)) if str(argument).isdecimal() else -1)
    return found


def _numbers(path: Path, columns: dict[str, Texts], name: str) -> NDArray[np.float64]:
    """Return a column of numbers; NaN for an empty cell."""
    try:
        return np.array([float(cell) if cell else np.nan for cell in columns[name]])
    except (KeyError, ValueError) as error:
        raise DataError(f"{shown(path)} has no column of numbers {name!r}. Fetch it again.", where=path) from error


def _frame_rois(voxels: dict[str, Texts]) -> dict[str, NDArray[np.bool_]]:
    rois = {}
    for name, cells in voxels.items():
        if not name.startswith(NO_ROI) and set(cells) <= {"0", "1", "0.0", "1.0", ""}:
            rois[name] = np.array([cell.startswith("1") for cell in cells])
    return rois


def _frame_place(data: DataRecipe, path: Path, voxels: dict[str, Texts]) -> Place | None:
    mask = _mask_file(data, path)
    if mask is None:
        return None
    brain = read_mask(mask, SPACE)
    ijk = np.stack([_numbers(path, voxels, f"voxel_{axis}") for axis in "xyz"]).astype(np.int64)
    inside = (ijk >= 0).all() and (ijk < np.array(brain.shape)[:, None]).all()
    index = np.ravel_multi_index(tuple(ijk), brain.shape, mode="clip").astype(np.int64)
    if not inside or not np.isin(index, brain.index).all():
        raise DataError(
            f"{shown(path)} has voxels outside of the brain mask {shown(mask)}. Name the mask of this subject: "
            "data.mask.",
            where="data.mask",
        )
    return replace(brain, index=index)


def _mask_file(data: DataRecipe, path: Path) -> Path | None:
    """Return ``data.mask``, or the subject's file in the folder ``brainmasks``; None without both."""
    if data.mask is not None:
        return locate(data, data.mask, "data.mask")
    subject = path.name.partition("_")[0]
    return next((mask for mask in sorted(need_root(data).rglob(f"{subject}_*brainmask.nii.gz"))), None)


# ---------------------------------------------------------------------------------------------------- betas_vol


def _run_of(path: Path) -> tuple[str, int, int]:
    """Return subject, session and run of a file, by the numbers in its name."""
    numbers = [re.search(rf"_{entity}-[a-z]*(\d+)", path.name) for entity in ("ses", "run")]
    session, run = (int(found[1]) if found else 0 for found in numbers)
    return path.name.partition("_")[0], session, run


def _read_volumes(data: DataRecipe, files: list[Path]) -> LabData:
    mask = _mask_file(data, files[0])
    if mask is None:
        raise DataError(
            f"{shown(files[0])} needs a brain mask, in the folder brainmasks. Name it: data.mask.", where="data.mask"
        )
    tables = [_conditions(path) for path in files]
    n_catch = sum(not name for table in tables for name in table.image)
    notes = (f"{n_catch} catch trials have no image",) if n_catch else ()
    return assemble(data, join_tables(tables), run_files(files, read_mask(mask, SPACE)), notes=notes)


def _conditions(path: Path) -> TrialTable:
    """Return the trials of one run, whose number must be that of its volumes."""
    table_path = path.with_name(path.name.replace("_betas.nii.gz", "_conditions.tsv"))
    columns = read_columns(table_path)
    if "image_filename" not in columns:
        return read_trial_table(table_path)
    names = columns["image_filename"]
    n_volumes = read_grid(path)[0][-1]
    if len(names) != n_volumes:
        raise DataError(
            f"{shown(table_path)} has {len(names)} rows; {shown(path.name)} has {n_volumes} volumes. One row for each "
            "volume is needed.",
            where=table_path,
            expected=n_volumes,
            found=len(names),
        )
    image = tuple("" if name.rpartition("/")[2].startswith(CATCH) else name for name in names)
    _, session, run = _run_of(path)
    return TrialTable(image, (str(session),) * len(image), (str(run),) * len(image))
