"""Read outputs of GLMsingle: ``data.kind = "glmsingle"``.

``data.path`` has the folder of one output, or a folder for each session: ``TYPED_FITHRF_GLMDENOISE_RR`` and
``DESIGNINFO``, as ``.npy``, ``.hdf5`` or ``.mat``. GLMsingle stores no names of conditions. A table
``conditions.tsv`` or ``conditions.csv`` gives the image of each: columns ``condition`` and ``image`` or ``stim_file``.
It lists all columns of the design matrix, counted from 0 or from 1. It is in the folder of the session, or in one above
it; ``data.trials`` names another file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.lab.assemble import assemble, locate, need_root
from reseen.datasets.lab.data import LabData, Responses
from reseen.datasets.lab.glmsingle_files import Betas, Design, open_betas, read_design
from reseen.datasets.lab.place import Place
from reseen.datasets.lab.runs import by_number
from reseen.datasets.lab.table import TrialTable, join_tables, read_trial_table
from reseen.datasets.lab.volumes import read_mask
from reseen.errors import DataError
from reseen.files.reading import shown
from reseen.recipe import DataRecipe

TYPES = ("TYPED_FITHRF_GLMDENOISE_RR", "TYPEC_FITHRF_GLMDENOISE", "TYPEB_FITHRF")
"""Outputs with a beta for each trial, from the most to the least denoised; ``data.betas`` names one."""
SUFFIXES = (".npy", ".hdf5", ".mat")
DESIGN = "DESIGNINFO"
TABLES = ("conditions.tsv", "conditions.csv")
CONDITION = "condition"


def read(data: DataRecipe, subject: str) -> LabData:
    """Read the trials of all sessions; responses are read at first use.

    Parameters
    ----------
    data
        Section ``data`` of the recipe.
    subject
        Name of the subject. If ``data.path`` has a folder of this name, its files are read.

    Raises
    ------
    DataError
        If a file is missing or damaged, or the files do not fit each other.
    """
    root = need_root(data)
    folder = root / subject if (root / subject).is_dir() else root
    folders = _output_folders(folder, subject)
    name = _type(data, folders)
    outputs = [open_betas(_only_file(place, name)) for place in folders]
    designs = [read_design(_only_file(place, DESIGN)) for place in folders]
    tables = []
    for place, betas, design in zip(folders, outputs, designs, strict=True):
        label = "" if len(folders) == 1 else place.relative_to(folder).as_posix()
        tables.append(_trials(_conditions_file(data, root, place), betas, design, label))
    sessions = f"{len(folders)} sessions" if len(folders) > 1 else "one output"
    return assemble(data, join_tables(tables), _responses(data, folder, outputs), notes=(f"{name} of {sessions}",))


def _output_folders(folder: Path, subject: str) -> list[Path]:
    """Return the folders with a design: one for each session, in the order of their numbers."""
    found = {path.parent for path in folder.rglob(f"{DESIGN}.*") if path.suffix in SUFFIXES}
    if not found:
        raise DataError(
            f"{shown(folder)} has no {DESIGN}.npy and no {DESIGN}.mat, which GLMsingle writes next to its betas. Name "
            "the folder of its outputs: data.path.",
            where="data.path",
            expected=DESIGN,
        )
    first = {path.relative_to(folder).parts[0] for path in found if path != folder}
    others = sorted(name for name in first if name.startswith("sub"))
    if others:
        raise DataError(
            f"{shown(folder)} has no folder {shown(subject)}; it has {', '.join(map(shown, others))}. Set "
            "data.subjects to some of these.",
            where="data.subjects",
            expected=tuple(others),
            found=subject,
        )
    return sorted(found, key=lambda path: by_number(path.as_posix()))


def _type(data: DataRecipe, folders: Sequence[Path]) -> str:
    """Return ``data.betas``, if it is an output of GLMsingle, or else the most denoised that all folders have."""
    if data.betas in TYPES:
        return data.betas
    if data.betas != type(data)().betas:
        raise DataError(
            f"data.betas is {shown(data.betas)}; the outputs with a beta for each trial are {', '.join(TYPES)}. Name "
            "one of these, or leave data.betas out.",
            where="data.betas",
            expected=TYPES,
            found=data.betas,
        )
    for name in TYPES:
        if all(_files(folder, name) for folder in folders):
            return name
    raise DataError(
        f"{shown(folders[0])} and the other sessions have none of {', '.join(TYPES)} in common. TYPEA_ONOFF has no "
        "betas of single trials: run GLMsingle with its other outputs.",
        where=folders[0],
        expected=TYPES,
    )


def _files(folder: Path, name: str) -> list[Path]:
    paths = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    return [path for path in paths if path.is_file()]


def _only_file(folder: Path, name: str) -> Path:
    files = _files(folder, name)
    if len(files) != 1:
        what = f"has {' and '.join(path.name for path in files)}" if files else f"has no {name}"
        raise DataError(
            f"{shown(folder)} {what}. One file {name} is expected, with one of the suffixes {', '.join(SUFFIXES)}.",
            where=folder,
            expected=1,
            found=len(files),
        )
    return files[0]


def _conditions_file(data: DataRecipe, root: Path, place: Path) -> Path:
    """Return the table of conditions: ``data.trials``, or in the folder of an output or above it, up to ``root``."""
    if data.trials is not None:
        return locate(data, data.trials, "data.trials")
    folder = place
    while True:
        for name in TABLES:
            if (folder / name).is_file():
                return folder / name
        if folder == root:
            break
        folder = folder.parent
    raise DataError(
        f"{shown(root)} has no {TABLES[0]}. GLMsingle stores no names: write a table with the columns condition (the "
        "column of the design matrix, from 0 or from 1) and image, or name it: data.trials.",
        where="data.trials",
        expected=TABLES,
    )


def _trials(path: Path, betas: Betas, design: Design, session: str) -> TrialTable:
    """Return the trials of one output: the row of the conditions' table of each, with its session and run."""
    n_trials = len(design.condition)
    if betas.n_trials != n_trials:
        raise DataError(
            f"{shown(betas.path)} has {betas.n_trials} trials; {shown(design.path)} has {n_trials}. Both have to be of "
            "one run of GLMsingle.",
            where=betas.path,
            expected=n_trials,
            found=betas.n_trials,
        )
    conditions = read_trial_table(path)
    row = _rows(path, conditions, design)
    sessions = (session,) * n_trials if design.session is None else tuple(f"{n}" for n in design.session)
    if design.session is not None and session:
        sessions = tuple(f"{session}/{number}" for number in sessions)
    return replace(conditions.take(row[design.condition]), session=sessions, run=tuple(f"{n}" for n in design.run))


def _rows(path: Path, conditions: TrialTable, design: Design) -> NDArray[np.int64]:
    """Return the row of the table of each column of the design matrix, ``(n_conditions,)``.

    The table lists all columns, so that its smallest number says whether it counts from 0 or from 1.
    """
    texts = conditions.columns.get(CONDITION)
    if texts is None:
        raise DataError(
            f"{shown(path)} has no column {CONDITION!r}: the column of the design matrix that each image has, from 0 "
            "or from 1. Add it.",
            where=path,
            expected=CONDITION,
            found=tuple(conditions.columns),
        )
    numbers = [int(text) if text.isdecimal() else -1 for text in texts]
    n_listed, least = len(numbers), min(numbers)
    n_columns = design.n_conditions or max(n_listed, int(design.condition.max()) + 1)
    if sorted(numbers) != list(range(least, least + n_listed)) or least not in (0, 1) or n_listed != n_columns:
        raise DataError(
            f"{shown(path)} lists {n_listed} conditions, from {texts[int(np.argmin(numbers))]!r}; the design has "
            f"{n_columns} columns. List each column once, counted from 0 or from 1; an image may be empty.",
            where=path,
            expected=n_columns,
            found=n_listed,
        )
    return np.argsort(numbers)


def _responses(data: DataRecipe, folder: Path, outputs: Sequence[Betas]) -> Responses:
    shape = outputs[0].shape
    for betas in outputs:
        if betas.shape != shape:
            raise DataError(
                f"{shown(betas.path)} has voxels of shape {betas.shape}; {shown(outputs[0].path)} has {shape}. All "
                "sessions have to be on one grid.",
                where=betas.path,
                expected=shape,
                found=betas.shape,
            )
    place, index = _voxels(data, folder, outputs[0])

    def read_columns(columns: NDArray[np.int64]) -> NDArray[np.float32]:
        found = np.empty((sum(betas.n_trials for betas in outputs), len(columns)), dtype=np.float32)
        first = 0
        for betas in outputs:
            found[first : first + betas.n_trials] = betas.read(index[columns])
            first += betas.n_trials
        return found

    return Responses(sum(betas.n_trials for betas in outputs), len(index), read_columns, place)


def _voxels(data: DataRecipe, folder: Path, betas: Betas) -> tuple[Place | None, NDArray[np.int64]]:
    """Return the place of the voxels, in C order of the mask, and the number of each in the file."""
    mask = _mask_file(data, folder)
    everything = np.arange(np.prod(betas.shape))
    if mask is None:
        whole = (
            Place("native", (betas.shape[0], betas.shape[1], betas.shape[2]), everything)
            if len(betas.shape) == 3
            else None
        )
        return whole, everything
    place = read_mask(mask, "native")
    fits = place.shape == betas.shape or (len(place.index),) == betas.shape
    if not fits:
        raise DataError(
            f"{shown(mask)} has shape {place.shape} and {len(place.index)} voxels; the betas have voxels of shape "
            f"{betas.shape}. Name the mask of these betas: data.mask.",
            where="data.mask",
            expected=betas.shape,
            found=place.shape,
        )
    if len(betas.shape) == 3:
        return place, place.index
    if betas.path.suffix == ".mat":  # MATLAB lists the voxels of a mask in Fortran order: x changes fastest
        x, y, z = np.unravel_index(place.index, place.shape)
        return place, np.argsort(np.lexsort((x, y, z)))
    return place, everything


def _mask_file(data: DataRecipe, folder: Path) -> Path | None:
    """Return ``data.mask``, or the only file ``*brain_mask.nii*`` in the folder of the outputs; None without."""
    if data.mask is not None:
        return locate(data, data.mask, "data.mask")
    found = [*folder.glob("*brain_mask.nii"), *folder.glob("*brain_mask.nii.gz")]
    return found[0] if len(found) == 1 else None
