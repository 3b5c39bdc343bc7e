"""Read NSD-synthetic: trials in which a subject saw one of 284 images of noise, scenes, words and gratings.

Stimuli are numbered from 0, as the images in NSD's files are from 1: 0 to 219 are the same for all subjects, 220 to 283
are the subject's own. All 744 trials are used, those of both tasks and those that repeat the image of the trial before.
The session of all trials is 1: they are of one scan session.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.experiment_files import ExperimentFile, experiment_paths, need_files
from reseen.datasets.hdf5 import open_dataset
from reseen.datasets.mat_files import check_mat
from reseen.datasets.nsd_betas import read_events
from reseen.datasets.nsd_facts import NsdFiles
from reseen.datasets.nsd_images import count_images_of
from reseen.datasets.nsd_inventory import need_path
from reseen.datasets.synthetic_files import (
    CAPTIONS,
    IMAGE_SIZE,
    MOST_TRIALS,
    N_EVENTS,
    N_IMAGES,
    N_RUNS,
    N_SHARED,
    NAME,
    OPTION,
    TITLE,
    TRIALS_PER_RUN,
    classes_path,
    colour_images_path,
    design_path,
    shared_images_path,
    task_of,
)
from reseen.datasets.volumes import reading
from reseen.errors import DataError
from reseen.files import read_text
from reseen.recipe import DataRecipe
from reseen.stimuli import Stimuli
from reseen.trials import Trials

_NUMBER, _IMAGE, _CLASS = "Image number", "Image", "Image class"


@dataclass(frozen=True, eq=False)
class SyntheticTrials:
    """Trials of NSD-synthetic of one subject.

    Parameters
    ----------
    trials
        744 trials in order of presentation, not standardised. ``stimulus_id`` is the number of the image, from 0.
    run
        Shape ``(n_trials,)``: number of the run, from 1.
    stimuli
        The 284 images, as a screen shows them. Subsets are the classes of images.
    """

    trials: Trials
    run: NDArray[np.int64]
    stimuli: Stimuli

    @property
    def task(self) -> NDArray[np.str_]:
        """Task of each trial, ``(n_trials,)``: ``"fixation"`` or ``"one-back"``."""
        return np.array([task_of(run) for run in self.run.tolist()])

    @property
    def one_back(self) -> NDArray[np.bool_]:
        """Whether a trial presents the image of the trial before it in its run again, ``(n_trials,)``."""
        same = np.diff(self.trials.stimulus_id) == 0
        return np.concatenate([[False], same & (np.diff(self.run) == 0)])


def read_synthetic(data: DataRecipe, subject: str, voxel_index: NDArray[np.int64]) -> SyntheticTrials:
    """Read all trials of NSD-synthetic of one subject.

    Parameters
    ----------
    data
        Section ``data`` of a recipe in NSD's layout; its folder also has the files of NSD-synthetic.
    subject
        Folder name, such as ``"subj01"``.
    voxel_index
        Shape ``(n_voxels,)``: C-order indices of the voxels to read.

    Raises
    ------
    DataError
        If a file is missing, damaged or does not fit the others. The message has the commands that download what is
        missing.
    """
    files = NsdFiles(need_path(data), subject, data.space, data.betas)
    betas_paths = experiment_paths(files, NAME)
    need_files(files, TITLE, OPTION, [*betas_paths, *(file.path for file in list_synthetic_files(files))])
    stimulus_id, run = read_order(files)
    stimuli = read_stimuli(files)
    order = np.sort(voxel_index)
    betas, shape = read_events(files, betas_paths, order, data, n_events=N_EVENTS)
    trials = Trials(
        betas,
        stimulus_id,
        session=np.ones(N_EVENTS, dtype=np.int64),
        voxel_index=order,
        volume_shape=shape,
        subject=subject,
        rois={},
    )
    return SyntheticTrials(trials, run, stimuli)


def list_synthetic_files(files: NsdFiles) -> list[ExperimentFile]:
    """List the files of NSD-synthetic except betas."""
    pixels = int(np.prod(IMAGE_SIZE)) * 3

    def describe_images() -> str:
        return f"{_count(files, shared=True)} images of all subjects"

    def describe_colours() -> str:
        return f"{_count(files, shared=False)} images of {files.subject}"

    return [
        ExperimentFile(design_path(files), lambda: f"{len(read_order(files)[0])} trials"),
        ExperimentFile(classes_path(files), lambda: f"{len(set(_read_table(files)[1]))} classes of images"),
        ExperimentFile(shared_images_path(files), describe_images, N_SHARED * pixels),
        ExperimentFile(colour_images_path(files), describe_colours, (N_IMAGES - N_SHARED) * pixels),
    ]


def read_order(files: NsdFiles) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the image (from 0) and the run (from 1) of each trial, ``(744,)`` each.

    Raises
    ------
    DataError
        If the design is damaged, or names other than 744 trials of 284 images.
    """
    from scipy.io import loadmat

    path = design_path(files)
    check_mat(path)
    with reading(path):
        content = loadmat(path, variable_names=["masterordering", "stimpattern"])
    order, pattern = (np.asarray(content.get(name, ())) for name in ("masterordering", "stimpattern"))
    if order.size != N_EVENTS or pattern.shape != (1, N_RUNS, MOST_TRIALS):
        raise DataError(
            f"{path} lists {order.size} trials in masterordering and has a stimpattern of shape {pattern.shape}; "
            f"{N_EVENTS} trials and (1, {N_RUNS}, {MOST_TRIALS}) are expected. Fetch it again.",
            where=path,
            expected=N_EVENTS,
            found=order.size,
        )
    numbers = np.asarray(order.ravel(), dtype=np.float64)
    wrong = numbers[~np.isin(numbers, np.arange(1, N_IMAGES + 1))]
    if wrong.size:
        raise DataError(
            f"{path}: masterordering names the image {wrong[0]:g}; images 1 to {N_IMAGES} are expected. Fetch it "
            "again.",
            where=path,
            expected=(1, N_IMAGES),
            found=float(wrong[0]),
        )
    per_run = np.count_nonzero(pattern[0], axis=1)
    if (per_run != TRIALS_PER_RUN).any():
        raise DataError(
            f"{path}: stimpattern has {per_run.tolist()} trials in its runs; {TRIALS_PER_RUN} in each are expected. "
            "Fetch it again.",
            where=path,
            expected=TRIALS_PER_RUN,
            found=tuple(per_run.tolist()),
        )
    return numbers.astype(np.int64) - 1, np.repeat(np.arange(1, N_RUNS + 1), TRIALS_PER_RUN)


def read_stimuli(files: NsdFiles) -> Stimuli:
    """Return the 284 images of a subject, to be read on demand, with classes as subsets and captions.

    Values in the files are proportional to luminance. The square root makes them like those of other images, as in the
    code of the authors of NSD-synthetic; `Stimuli` crops to the middle square.

    Raises
    ------
    DataError
        If a file has another number of images, or the table of classes is damaged.
    """
    names, classes = _read_table(files)
    for shared in (True, False):
        _count(files, shared=shared)
    display = np.rint(np.sqrt(np.arange(256) / 255) * 255).astype(np.uint8)

    def image(number: int) -> NDArray[np.uint8]:
        path, row = shared_images_path(files), number
        if number >= N_SHARED:
            path, row = colour_images_path(files), number - N_SHARED
        with reading(path), open_dataset(path, "imgBrick") as bricks:
            stored: NDArray[np.uint8] = bricks[row]
        shown: NDArray[np.uint8] = display[stored]
        return shown

    return Stimuli(
        image,
        lambda number: (CAPTIONS.get(classes[number], classes[number].lower()),),
        np.arange(N_IMAGES),
        subsets=_members(classes),
        names=names,
    )


def _members(classes: Sequence[str]) -> dict[str, frozenset[int]]:
    """Return the images of each class."""
    found: dict[str, set[int]] = {}
    for number, name in enumerate(classes):
        found.setdefault(name, set()).add(number)
    return {name.lower(): frozenset(numbers) for name, numbers in found.items()}


def _count(files: NsdFiles, *, shared: bool) -> int:
    """Return the number of images in one of the two files, which is known."""
    path = shared_images_path(files) if shared else colour_images_path(files)
    expected = N_SHARED if shared else N_IMAGES - N_SHARED
    found = count_images_of(path)
    if found != expected:
        raise DataError(
            f"{path} holds {found} images; {expected} are expected. Fetch it again.",
            where=path,
            expected=expected,
            found=found,
        )
    return found


def _read_table(files: NsdFiles) -> tuple[list[str], list[str]]:
    """Return the name and the class of each image, in the order of the image numbers."""
    path = classes_path(files)
    text = read_text(path)
    with reading(path):
        table = csv.DictReader(text.splitlines())
        missing = [name for name in (_IMAGE, _CLASS) if name not in (table.fieldnames or ())]
        if missing:
            raise DataError(f"{path} lacks the column {missing[0]}. Fetch it again.", where=path, expected=missing[0])
        rows: list[dict[str, Any]] = list(table)
        names = [(row[_IMAGE] or "").strip() for row in rows]
        classes = [(row[_CLASS] or "").strip() for row in rows]
        numbers = [int(float(row[_NUMBER])) for row in rows] if _NUMBER in (table.fieldnames or ()) else []
    if len(rows) != N_IMAGES or not all(classes) or (numbers and set(np.diff(numbers).tolist()) != {1}):
        raise DataError(
            f"{path} lists {len(rows)} images; {N_IMAGES} are expected, in the order of their numbers and each with a "
            "class. Fetch it again.",
            where=path,
            expected=N_IMAGES,
            found=len(rows),
        )
    return names, classes
