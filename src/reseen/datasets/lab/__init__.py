"""Readers of data as labs keep them; each kind of data has one reader, which returns `LabData`.

::

    data.py       LabData and its conversion into a subject
    table.py      trial tables
    sessions.py   sessions of a table, by ``data.sessions``
    images.py     folders of images, and captions
    place.py      grids and surfaces of voxels
    rois.py       ROIs in files
    volumes.py    responses in NIfTI files
    surfaces.py   values of vertices in GIFTI and CIFTI files
    runs.py       files of runs and their events, by the names of BIDS
    estimates.py  responses that are estimated run by run, and kept
    assemble.py   complete a reader's trials and responses with images, captions and ROIs
    matrices.py   voxels of matrices in HDF5 and npy files
    subjects.py   a subject's files, by name
    ceilings.py   ncsnr from noise ceilings or from repeated images
    pickled.py    pickled dicts of arrays
    bids.py       the reader of BIDS; bids_series.py reads time series, and single_trials.py estimates responses
    glmsingle.py  the reader of outputs of GLMsingle, whose files glmsingle_files.py opens
    trials.py     the reader of a trial table and the responses next to it; the other readers have a module each
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from reseen.datasets.inventory import describe_labels
from reseen.datasets.lab import algonauts, bdata, bids, bold5000, cifti, gifti, glmsingle, mindeye, things, trials
from reseen.datasets.lab.data import LabData, Responses, outline_of, read_sample, to_subject
from reseen.datasets.lab.estimates import Progress
from reseen.datasets.outline import Outline, Overview, outline_read
from reseen.recipe import DataRecipe
from reseen.subject import Subject
from reseen.trials import Trials

__all__ = ["READERS", "LabData", "Responses", "open_subject", "overview", "to_subject"]

READERS: Mapping[str, Callable[[DataRecipe, str], LabData]] = {
    "trials": trials.read,
    "gifti": gifti.read,
    "cifti": cifti.read,
    "bdata": bdata.read,
    "things": things.read,
    "algonauts": algonauts.read,
    "bold5000": bold5000.read,
    "mindeye": mindeye.read,
    "bids": bids.read,
    "glmsingle": glmsingle.read,
}
"""Reader of a subject's data by ``data.kind``."""


def open_subject(
    data: DataRecipe, subject: str, *, keep: Path | None = None, progress: Progress | None = None
) -> Subject:
    """Open one subject: read the trial table now, and responses at first use.

    Parameters
    ----------
    data
        Section ``data`` of the recipe.
    subject
        Name of the subject.
    keep
        Folder for responses that are estimated. Default: nothing is kept.
    progress
        Function of the number of runs that are estimated and the total number.

    Raises
    ------
    DataError
        If a file is missing, damaged or does not fit the others.
    RecipeError
        If the number of folds or test images exceeds the number of stimuli.
    """
    return to_subject(READERS[data.kind](data, subject), data, subject, keep=keep, progress=progress)


def overview(data: DataRecipe, subject: str, progress: Progress | None = None) -> Overview:
    """Open a subject's data and read the responses, as a run does; of responses to estimate, describe some voxels.

    Raises
    ------
    DataError, RecipeError
        As `open_subject`.
    """
    found = READERS[data.kind](data, subject)
    opened = to_subject(found, data, subject)
    is_read = not found.responses.runs
    outline = outline_read(opened) if is_read else outline_of(found, data, opened.split)

    def describe() -> str:
        trials = opened.trials if is_read else read_sample(found, data, subject, progress)
        return _describe(found, outline, trials)

    return Overview(describe, lambda: (opened, outline), is_read)


def _describe(found: LabData, outline: Outline, trials: Trials) -> str:
    stimuli = found.stimuli
    undescribed = sum(not stimuli.captions(int(stimulus)) for stimulus in stimuli.stimulus_id)
    facts = [
        f"{len(trials)} trials of {len(stimuli)} images",
        f"{outline.n_read} voxels" + (f" in {trials.space}" if trials.space else ""),
        f"{len(np.unique(trials.run))} runs",
        f"ROIs {', '.join(sorted(found.rois)) or 'none'}",
    ]
    if undescribed:
        facts.append(f"{undescribed} images without a caption")
    return ", ".join([*facts, *found.notes, describe_labels(trials)])
