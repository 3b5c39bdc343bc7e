"""Read trials that come after a run: a plain npz file, a volume of betas, or data of any layout that reseen reads.

=============== ======================== ==========================================================================
array of an npz shape                    contents
=============== ======================== ==========================================================================
betas           (n_trials, n_voxels)     responses, in order of presentation
voxel_index     (n_voxels,), from 0      index of each column; see `reseen.decode.new_trials.wanted_voxels`
volume_shape    (3,)                     shape of the volume; left out: not compared
session         (n_trials,)              session or run of each trial (also called run); left out: one session
stimulus_id     (n_trials,), from 0      stimulus of each trial, by the run's ids; left out: unknown stimuli
=============== ======================== ==========================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.array_files import read_npz
from reseen.datasets.array_types import integers, labels, numbers
from reseen.datasets.experiments import READERS
from reseen.datasets.nsd_facts import INT16_PER_PERCENT
from reseen.datasets.opening import open_subject
from reseen.datasets.volumes import peek, read_grid, read_volume, read_voxels
from reseen.errors import DataError
from reseen.files.reading import shown
from reseen.recipe import DataRecipe, load_recipe
from reseen.stimuli import Stimuli
from reseen.trials import Trials

ARRAYS = ("betas", "voxel_index", "volume_shape", "session", "run", "stimulus_id")
"""Arrays of an npz file that are read."""
NIFTI = (".nii", ".gz")
VOLUMES = (*NIFTI, ".hdf5", ".mgh")
"""Endings of files with a volume of betas."""


@dataclass(frozen=True, eq=False)
class NewTrials:
    """Trials that come after a run.

    Parameters
    ----------
    trials
        Responses in order of presentation, with the index of each voxel.
    labelled
        Whether the stimuli are known. Otherwise ``stimulus_id`` only numbers the trials.
    stimuli
        Images of the stimuli, if the file has them; their ids are then those of the file, not of the run.
    """

    trials: Trials
    labelled: bool
    stimuli: Stimuli | None = None


def read_new_trials(path: Path, subject: str, *, data: DataRecipe, voxel_index: NDArray[np.int64] | None) -> NewTrials:
    """Read new trials.

    Parameters
    ----------
    path
        A ``.npz`` file with the arrays of this module's table; a volume of betas (``.nii``, ``.nii.gz``, ``.hdf5``,
        ``.mgh``), whose trials are unlabelled; a recipe (``.toml``) whose section ``data`` names data of any layout; or
        one of `reseen.datasets.experiments.READERS`, such as ``nsdsynthetic``, from the data folder of the run.
    subject
        Name of the subject. A recipe with one subject of another name is read for this subject.
    data
        Section ``data`` of the run: integers of a volume in NSD's layout are divided by 300 as there.
    voxel_index
        Shape ``(n_voxels,)``: voxels to read from a volume; None if the run's data have no volume.

    Raises
    ------
    DataError
        If the file is missing, damaged, of another type, or its arrays do not fit each other.
    RecipeError
        If the recipe is not valid.
    """
    if str(path) in READERS and not path.exists():
        read = READERS[str(path)]
        trials, stimuli = read(data, subject, refuse_other_layouts(data, voxel_index))
        return NewTrials(trials, True, stimuli)
    if not path.exists():
        raise DataError(
            f"there is no {shown(path)}. Name the file of the new trials, or one of {', '.join(READERS)}.", where=path
        )
    if path.suffix == ".toml":
        return _read_recipe(path, subject)
    if path.suffix == ".npz":
        return _read_npz(path, subject)
    if path.suffix not in VOLUMES:
        raise DataError(
            f"{shown(path)} is no file of new trials. Give an npz file, a volume ({', '.join(VOLUMES)}), or a recipe "
            "(.toml) whose section data names the data.",
            where=path,
            expected=(".npz", *VOLUMES, ".toml"),
            found=path.suffix,
        )
    if voxel_index is None:
        raise DataError(
            f"{shown(path)} is a volume, and the run's data have no volume, so that voxels cannot be matched. Save "
            "betas and voxel_index in an npz file.",
            where=path,
        )
    return _read_volume(path, subject, data, voxel_index)


def refuse_other_layouts(data: DataRecipe, voxel_index: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the indices of the voxels of decoders, if these were fitted on data in NSD's layout.

    Raises
    ------
    DataError
        If they were not.
    """
    refuse_other_kinds(data)
    assert voxel_index is not None  # data in NSD's layout have volumes
    return voxel_index


def refuse_other_kinds(data: DataRecipe) -> None:
    """Raise a DataError unless data are in NSD's layout."""
    if not data.is_nsd:
        raise DataError(
            f"the run was fitted on data of data.kind = {data.kind!r}; these trials have the voxels of NSD. Use a run "
            'of data.kind = "nsd" or "simulated".',
            where="data.kind",
            expected=("nsd", "simulated"),
            found=data.kind,
        )


def _read_recipe(path: Path, subject: str) -> NewTrials:
    """Read the data that a recipe names."""
    data = load_recipe(path).data
    names = data.subjects
    opened = open_subject(data, names[0] if len(names) == 1 else subject)
    return NewTrials(opened.trials, True, opened.stimuli)


def _read_npz(path: Path, subject: str) -> NewTrials:
    """Read plain arrays; none is pickled."""
    arrays, _ = read_npz(path, ARRAYS.__contains__)
    for name in ("betas", "voxel_index"):
        if name not in arrays:
            why = "" if name == "betas" else ", and voxels are never matched by their order alone"
            raise DataError(f"{shown(path)} has no {name}{why}. Save {name} there too.", where=name)
    betas = arrays["betas"]
    if betas.ndim != 2 or not betas.size:
        raise DataError(
            f"{shown(path)}: betas has shape {betas.shape}; (n_trials, n_voxels) is needed.",
            where="betas",
            found=betas.shape,
        )
    n_trials, n_voxels = betas.shape
    index = integers(path, "voxel_index", arrays["voxel_index"], (n_voxels,))
    shape, session, stimulus = (arrays.get(name) for name in ("volume_shape", "session", "stimulus_id"))
    session = arrays.get("run") if session is None else session
    optional: dict[str, Any] = {}
    if shape is not None:
        optional["volume_shape"] = tuple(integers(path, "volume_shape", shape, (3,)).tolist())
    if session is not None:
        optional["session"] = labels(path, "session", session, n_trials)
    ids = np.arange(n_trials) if stimulus is None else integers(path, "stimulus_id", stimulus, (n_trials,))
    trials = Trials(
        numbers(path, "betas", betas, betas.shape), ids, voxel_index=index, subject=subject, rois={}, **optional
    )
    return NewTrials(trials, stimulus is not None)


def _read_volume(path: Path, subject: str, data: DataRecipe, voxel_index: NDArray[np.int64]) -> NewTrials:
    """Read the voxels of a decoder from one volume per trial; the trials are one session."""
    is_one = path.suffix in NIFTI and len(read_grid(path)[0]) == 3  # a single trial without the axis of trials
    if is_one:
        volume, _ = read_volume(path)
        n_trials, shape = 1, volume.shape
    else:
        n_trials, shape = peek(path)
    check_grid(path, shape, voxel_index)
    order = np.sort(voxel_index)
    found = volume.reshape(1, -1)[:, order] if is_one else read_voxels(path, order)
    betas = found.astype(np.float32)
    if data.is_nsd and data.scale_int16 and np.issubdtype(found.dtype, np.integer):
        betas /= np.float32(INT16_PER_PERCENT)
    trials = Trials(betas, np.arange(n_trials), voxel_index=order, volume_shape=shape, subject=subject, rois={})
    return NewTrials(trials, False)


def check_grid(path: Path, shape: Sequence[int], voxel_index: NDArray[np.int64]) -> None:
    """Raise a DataError unless every voxel is in the grid of a volume."""
    size = int(np.prod(shape))
    if voxel_index.max() >= size:
        raise DataError(
            f"{shown(path)} has the grid {shape} with {size:,} voxels, and the decoders need the voxel "
            f"{voxel_index.max():,}. Resample it to the space of the training data first.",
            where=path,
            expected=int(voxel_index.max()) + 1,
            found=size,
        )
