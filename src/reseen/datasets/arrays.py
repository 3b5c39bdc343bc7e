"""Read any experiment from plain arrays: betas, images and stimulus ids, in an npz file or a folder of npy files.

=================== ================================== =====================================================
array               shape                              also called
=================== ================================== =====================================================
betas               (n_trials, n_voxels)               responses, fmri
images              (n_trials, H, W[, 3])              pictures; or (n_stimuli, H, W[, 3]) by stimulus id
stimulus_id         (n_trials,), 0-based               stimulus, figure; default: equal images are one stimulus
stimulus_images     (n_stimuli, H, W[, 3])             stimulus_pictures; if ``images`` would be ambiguous
captions            (n_stimuli,) or (n_stimuli, k) str an empty or missing text is no caption
figure_name         (n_stimuli,) str                   plain figures; caption "a white {name} on black"
category            (n_stimuli,) str or integers       for scores by category; "" is no category
run                 (n_trials,) integers or str        session; default: one run
roi_<name>          (n_voxels,) bool, or 0 and 1       ROI ``all`` is every voxel and needs no array
test_stimulus_id    (n_test,)                          a fixed test set; default: folds that leave stimuli out
ncsnr               (n_voxels,), 0 or more             noise ceiling signal-to-noise ratio
=================== ================================== =====================================================

A folder contains one file per array (``betas.npy`` ...) for one subject, or ``<subject>.npz`` or ``<subject>/`` for
each subject. Names that begin with a dot are ignored. Two names of the same array are refused, and so are ambiguous
types: see `reseen.datasets.array_types`. Without ``stimulus_id``, stimuli are numbered from 0 in the order of their
first trial. ``n_stimuli`` is the number of images by stimulus id, or ``max(stimulus_id) + 1``; arrays of another length
are refused. Images are integers from 0 to 255, bool, or floats from 0 to 1; integers that are all 0 or 1 are refused.
Grey images become RGB. Images smaller than 64 pixels are magnified by an integer factor to 64 pixels or more, so that
edges stay sharp. ``data.fit`` makes images square (`reseen.stimuli.square`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.array_files import ROI, Arrays, find_arrays, join_names, read_arrays
from reseen.datasets.array_stimuli import Images, count_copies, read_captions, read_categories, read_images
from reseen.datasets.array_types import integers, labels, mask, numbers
from reseen.datasets.inventory import describe_labels
from reseen.datasets.lab.data import zscore
from reseen.datasets.outline import Outline, Overview, outline_read
from reseen.datasets.splits import make_split
from reseen.datasets.volumes import blocks
from reseen.errors import DataError
from reseen.files.reading import shown
from reseen.recipe import DataRecipe
from reseen.stimuli import Stimuli
from reseen.subject import Subject
from reseen.trials import Trials


def open_subject(data: DataRecipe, subject: str) -> Subject:
    """Read one subject.

    Parameters
    ----------
    data
        Section ``data`` of the recipe: ``rois`` selects voxels, ``zscore_sessions`` standardises each voxel within each
        run.
    subject
        Name of the subject. If ``data.path`` is a file, its arrays are read for any name.

    Returns
    -------
    Subject
        All trials, in the order of the file; runs become sessions. The longer side of an image has at least 64 pixels.
        The test set is the fixed one if it exists and ``data.test`` is "shared"; otherwise stimuli are left out in
        folds.

    Raises
    ------
    DataError
        If an array is missing, damaged, of another type, or does not fit the others.
    RecipeError
        If the number of folds or test images exceeds the number of stimuli.
    """
    found = _read(data, subject)
    trials, stimuli, _ = _convert(found, data, subject)
    return _split(found, data, trials, stimuli)


def overview(data: DataRecipe, subject: str) -> Overview:
    """Read one subject, and describe the arrays.

    Raises
    ------
    DataError
        As `open_subject`.
    """
    found = _read(data, subject)
    trials, stimuli, images = _convert(found, data, subject)

    def describe() -> str:
        return ", ".join(_describe(found, data, trials, stimuli, images))

    def open_read() -> tuple[Subject, Outline]:
        opened = _split(found, data, trials, stimuli)
        return opened, outline_read(opened)

    return Overview(describe, open_read)


def _split(found: Arrays, data: DataRecipe, trials: Trials, stimuli: Stimuli) -> Subject:
    labels = dict.fromkeys(("runs", "sessions"), trials.session) | _column(found, data, len(trials))
    split = make_split(data, trials.stimulus_id, {}, test=_fixed_test(found, stimuli.stimulus_id), labels=labels)
    return Subject(trials, stimuli, split)


def _read(data: DataRecipe, subject: str) -> Arrays:
    """Read the arrays of known names, and the array that ``data.test`` names."""
    return read_arrays(find_arrays(data, subject), also=data.test_column)


def _column(found: Arrays, data: DataRecipe, n_trials: int) -> dict[str, NDArray[np.int64]]:
    """Return the label of each trial that ``data.test`` names, by the value of ``data.test``."""
    values = found.get(data.test_column) if data.test_column else None
    return {} if values is None else {data.test: labels(found.path, data.test_column, values, n_trials)}


def _convert(found: Arrays, data: DataRecipe, subject: str) -> tuple[Trials, Stimuli, Images]:
    betas = _betas(found)
    n_trials, n_voxels = betas.shape
    images, stimulus_id = read_images(found, n_trials, n_voxels)
    rois = _rois(found, n_voxels, data.rois)
    inside = np.logical_or.reduce(list(rois.values()))
    ncsnr, run = found.get("ncsnr"), found.get("run")
    if ncsnr is not None:
        ncsnr = numbers(found.path, "ncsnr", ncsnr, (n_voxels,), at_least=0)[inside]
    trials = Trials(
        subject=subject,
        betas=np.asarray(betas if inside.all() else betas[:, inside], dtype=np.float32),
        stimulus_id=stimulus_id,
        session=np.zeros(n_trials, dtype=np.int64) if run is None else labels(found.path, "run", run, n_trials),
        rois={name: mask[inside] for name, mask in rois.items()},
        ncsnr=ncsnr,
    )
    if data.zscore_sessions:
        trials = zscore(found.path, trials, "run")
    seen = np.unique(stimulus_id)
    captions = read_captions(found, images.n_stimuli)
    categories = read_categories(found, images.n_stimuli)
    stimuli = Stimuli(images.image, captions.__getitem__, seen, categories=categories, fit=data.fit)
    return trials, stimuli, images


def _describe(found: Arrays, data: DataRecipe, trials: Trials, stimuli: Stimuli, images: Images) -> list[str]:
    seen = stimuli.stimulus_id
    tested = _fixed_test(found, seen)
    said = [
        f"{len(trials)} trials of {len(seen)} stimuli",
        f"{found.need('betas').shape[1]} voxels",
        f"{len(np.unique(trials.session))} runs",
        "no test_stimulus_id" if tested is None else f"{len(tested)} test images",
    ]
    height, width = images.images.shape[1:3]
    if height != width:
        said.append(f"images of {width} x {height} pixels made square (data.fit = {data.fit!r})")
    undescribed = sum(not stimuli.captions(int(stimulus)) for stimulus in seen)
    if 0 < undescribed < len(seen):
        said.append(f"{undescribed} stimuli without a caption")
    n_copies, n_leaked = count_copies(images, tested, seen)
    if n_leaked:
        said.append(f"{n_leaked} test images are also training images, under other ids")
    elif n_copies:
        said.append(f"{n_copies} stimuli show the same image as another one")
    return [*said, describe_labels(trials), *([f"not read: {found.unread_with_advice}"] if found.unread else [])]


def _betas(found: Arrays) -> NDArray[Any]:
    """Return the betas as they were saved, after a check that float32 can store them."""
    betas, path = found.need("betas"), shown(found.path)
    if betas.ndim != 2 or betas.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: betas has shape {betas.shape} and type {betas.dtype}; real numbers (n_trials, n_voxels) are "
            "needed."
        )
    if not betas.size:
        raise DataError(f"{path}: betas has shape {betas.shape}; at least one trial and one voxel are needed.")
    bad = np.zeros(betas.shape[1], dtype=bool)
    for block in blocks(len(betas), betas[0].nbytes):  # a float32 copy of all voxels may not fit in memory
        with np.errstate(over="ignore"):
            bad |= ~np.isfinite(betas[block].astype(np.float32)).all(axis=0)
    if bad.any():
        raise DataError(
            f"{path}: betas contains NaN, infinite or too large values in {bad.sum()} of {betas.shape[1]} voxels. "
            "Take these voxels out."
        )
    return betas


def _rois(found: Arrays, n_voxels: int, wanted: tuple[str, ...]) -> dict[str, NDArray[np.bool_]]:
    known = {
        name.removeprefix(ROI): mask(found.path, name, values, n_voxels)
        for name, values in found.arrays.items()
        if name.startswith(ROI)
    }
    known["all"] = np.ones(n_voxels, dtype=bool)
    for name in wanted:
        if name not in known:
            raise DataError(
                f"{shown(found.path)} has no ROI {name!r}; it has {join_names(known)}. Set data.rois to some of these."
            )
        if not known[name].any():
            raise DataError(f"{shown(found.path)}: roi_{name} contains no voxel; take it out of data.rois.")
    return {name: known[name] for name in wanted}


def _fixed_test(found: Arrays, seen: NDArray[np.int64]) -> NDArray[np.int64] | None:
    test = found.get("test_stimulus_id")
    if test is None:
        return None
    ids = np.unique(integers(found.path, "test_stimulus_id", test, (test.size,)))
    if not np.isin(ids, seen).all():
        raise DataError(
            f"{shown(found.path)}: test_stimulus_id names stimulus {np.setdiff1d(ids, seen)[0]}, which no trial shows."
        )
    return ids
