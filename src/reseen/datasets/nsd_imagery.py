"""Read NSD-Imagery: trials in which a subject saw or imagined one of 18 targets.

A *run* is the session of its trials: each run has its own mean and standard deviation. Targets are numbered from 0: 0
to 5 are set A, 6 to 11 set B, 12 to 17 set C. The words of set C have no image. Trials of attention are left out,
because their two epochs have no label of their own.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.experiment_files import ExperimentFile, experiment_paths, need_files
from reseen.datasets.imagery_files import (
    LABEL_COLUMN,
    N_EVENTS,
    NAME,
    OPTION,
    RUNS,
    SETS,
    SETS_WITH_IMAGES,
    TARGETS_PER_SET,
    TITLE,
    TRIALS_PER_RUN,
    DecodedTask,
    Run,
    pair_list_path,
    target_image_path,
    trials_path,
)
from reseen.datasets.mat_files import check_mat
from reseen.datasets.nsd_betas import read_events
from reseen.datasets.nsd_design import read_design
from reseen.datasets.nsd_facts import NsdFiles
from reseen.datasets.nsd_images import count_images, read_images
from reseen.datasets.nsd_inventory import need_path
from reseen.datasets.volumes import reading
from reseen.errors import DataError
from reseen.files import read_image, read_text
from reseen.recipe import DataRecipe
from reseen.stimuli import Stimuli
from reseen.trials import Trials

_ORIENTATIONS = {
    "bar": {0: "horizontal", 45: "rising", 90: "vertical", 135: "falling"},
    "crs": {0: "a plus sign", 45: "an x"},
}
"""Words for the file names of set A, where 0 degrees is horizontal: the cue letter of ``bar_000`` is H, of 90 V."""
_LABELLED = tuple(run for run in RUNS if run.task != "attention")


@dataclass(frozen=True)
class Target:
    """One of the 18 targets.

    Parameters
    ----------
    target_set
        ``"A"``, ``"B"`` or ``"C"``.
    name
        File name, or the word.
    letter
        Cue letter, unique within the set.
    """

    target_set: str
    name: str
    letter: str


@dataclass(frozen=True, eq=False)
class ImageryTrials:
    """Trials of vision and imagery of one subject.

    Parameters
    ----------
    trials
        432 trials in order of presentation, not standardised. ``stimulus_id`` is the number of the target, and
        ``session`` the number of the run, from 1.
    task
        Shape ``(n_trials,)``: ``"vision"`` or ``"imagery"``.
    targets
        The 18 targets.
    stimuli
        Images and captions of targets 0 to 11.
    """

    trials: Trials
    task: NDArray[np.str_]
    targets: tuple[Target, ...]
    stimuli: Stimuli

    @property
    def target_set(self) -> NDArray[np.str_]:
        """Set of each trial's target, ``(n_trials,)``."""
        return np.array([target.target_set for target in self.targets])[self.trials.stimulus_id]

    def of_task(self, task: DecodedTask) -> Trials:
        """Return the trials of one task whose targets have images (sets A and B)."""
        return self.trials.take(np.flatnonzero((self.task == task) & np.isin(self.target_set, SETS_WITH_IMAGES)))


def read_imagery(data: DataRecipe, subject: str, voxel_index: NDArray[np.int64]) -> ImageryTrials:
    """Read the trials of vision and imagery of one subject.

    Parameters
    ----------
    data
        Section ``data`` of a recipe in NSD's layout; its folder also has the files of NSD-Imagery.
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
    need_files(files, TITLE, OPTION, [*betas_paths, *(file.path for file in list_imagery_files(files))])
    targets = tuple(target for target_set in SETS for target in _read_targets(files, target_set))
    images = [target for target in targets if target.target_set in SETS_WITH_IMAGES]
    rows, stimulus_id, number, tasks = [], [], [], []
    first = 0
    for position, run in enumerate(RUNS, start=1):
        if run.task != "attention":
            stimulus_id.append(_read_labels(files, run, targets))
            rows.append(np.arange(first, first + TRIALS_PER_RUN))
            number.append(np.full(TRIALS_PER_RUN, position))
            tasks.append(np.full(TRIALS_PER_RUN, run.task))
        first += run.n_events
    order = np.sort(voxel_index)
    betas, shape = read_events(files, betas_paths, order, data, n_events=N_EVENTS)
    trials = Trials(
        betas[np.concatenate(rows)],
        np.concatenate(stimulus_id),
        session=np.concatenate(number),
        voxel_index=order,
        volume_shape=shape,
        subject=subject,
        rois={},
    )
    return ImageryTrials(trials, np.concatenate(tasks), targets, _stimuli(files, images))


def list_imagery_files(files: NsdFiles) -> list[ExperimentFile]:
    """List the files of NSD-Imagery except betas; images are listed where the tables that name them can be read."""
    found, images = [], []
    for target_set in SETS:
        found.append(
            ExperimentFile(
                pair_list_path(files, target_set),
                partial(_describe_targets, files, target_set),
            )
        )
        if target_set in SETS_WITH_IMAGES:
            images += _target_images(files, target_set)
    for run in _LABELLED:
        found.append(ExperimentFile(trials_path(files, run), partial(_describe_trials, files, run)))
    return [*found, *(ExperimentFile(path, partial(_describe_image, path)) for path in images)]


def _target_images(files: NsdFiles, target_set: str) -> list[Path]:
    try:
        targets = _read_targets(files, target_set)
    except DataError:  # reported where the table is described or read
        return []
    return [target_image_path(files, target_set, target.name) for target in targets]


def _describe_targets(files: NsdFiles, target_set: str) -> str:
    return f"{len(_read_targets(files, target_set))} targets of set {target_set}"


def _describe_trials(files: NsdFiles, run: Run) -> str:
    targets = [target for target_set in SETS for target in _read_targets(files, target_set)]
    return f"{len(_read_labels(files, run, targets))} trials of {run.task}, set {run.target_set}"


def _describe_image(path: Path) -> str:
    return "image of {} x {} pixels".format(*read_image(path).shape[:2])


def _read_targets(files: NsdFiles, target_set: str) -> list[Target]:
    """Read the targets of a set in the order of their numbers, 1 to 6."""
    from scipy.io import loadmat

    path = pair_list_path(files, target_set)
    check_mat(path)
    with reading(path):
        cells = loadmat(path, variable_names=["pair_list"]).get("pair_list")
        shape = np.shape(cells)
        if shape == (TARGETS_PER_SET, 3):
            table = sorted((int(_cell(number)), str(_cell(name)), str(_cell(letter))) for number, name, letter in cells)
            if [number for number, _, _ in table] == list(range(1, TARGETS_PER_SET + 1)):
                found = [Target(target_set, name, letter) for _, name, letter in table]
                if len({target.letter for target in found}) == TARGETS_PER_SET:
                    return found
    raise DataError(
        f"{path} has no cell pair_list of shape (6, 3) with the numbers 1 to 6, names and six different letters. "
        "Fetch it again.",
        where=path,
        expected=(TARGETS_PER_SET, 3),
        found=shape,
    )


def _cell(content: Any) -> Any:
    """Return the single value of a MATLAB cell."""
    return np.asarray(content).ravel()[0]


def _read_labels(files: NsdFiles, run: Run, targets: Sequence[Target]) -> NDArray[np.int64]:
    """Return the number of the target of each trial of a run, ``(48,)``, in order of presentation."""
    path = trials_path(files, run)
    column = LABEL_COLUMN[run.task]
    known = {t.letter: number for number, t in enumerate(targets) if t.target_set == run.target_set}
    text = read_text(path)
    with reading(path):
        table = csv.DictReader(text.splitlines(), delimiter="\t")
        if not {"TRIAL", column} <= set(table.fieldnames or ()):
            raise DataError(f"{path} lacks the column TRIAL or {column}. Fetch it again.", where=path, expected=column)
        rows = sorted((int(float(row["TRIAL"])), (row[column] or "").strip()) for row in table)
    if [trial for trial, _ in rows] != list(range(1, TRIALS_PER_RUN + 1)):
        raise DataError(
            f"{path} lists {len(rows)} trials; the trials 1 to {TRIALS_PER_RUN} are expected. Fetch it again.",
            where=path,
            expected=TRIALS_PER_RUN,
            found=len(rows),
        )
    unknown = [letter for _, letter in rows if letter not in known]
    if unknown:
        raise DataError(
            f"{path}: {column} has {unknown[0]!r}; the letters of set {run.target_set} are {', '.join(known)}. Fetch "
            f"it and {pair_list_path(files, run.target_set).name} again.",
            where=path,
            expected=tuple(known),
            found=unknown[0],
        )
    return np.array([known[letter] for _, letter in rows], dtype=np.int64)


def _stimuli(files: NsdFiles, targets: Sequence[Target]) -> Stimuli:
    """Return images and captions of the targets with images, to be read on demand."""

    def image(number: int) -> NDArray[np.uint8]:
        return read_image(target_image_path(files, targets[number].target_set, targets[number].name))

    captions = partial(_captions, files, targets)
    names = [target.name for target in targets]
    return Stimuli(image, captions, np.arange(len(targets)), names=names)


def _captions(files: NsdFiles, targets: Sequence[Target], number: int) -> Sequence[str]:
    """Return captions of a target: COCO's for a scene of NSD, else reseen's own words for the file name.

    NSD-Imagery has no captions. Names of scenes are those of NSD's shared images, ``shared0385_nsd28752.png``: number
    in ``sharedix`` and 73KID, both from 1. The design confirms this pair of numbers before captions are used.
    """
    name = targets[number].name
    found = re.fullmatch(r"shared(\d{4})_nsd(\d{5})\.\w+", name)
    if found is not None and int(found[2]):
        position, image = int(found[1]), int(found[2])
        shared = read_design(files.design)["sharedix"].ravel()
        if not 1 <= position <= len(shared) or shared[position - 1] != image:
            raise DataError(
                f"{files.design}: shared image {position} is not image {image}, as the name of the target {name} says. "
                "Decode features without captions (conditions without c).",
                where=files.design,
                expected=image,
            )
        return read_images(files, count_images(files)).captions(image - 1)
    if found is not None:
        return ("an artwork",)
    simple = re.match(r"(bar|crs)_(\d{3})\.\d*deg", name)
    if simple is not None:
        word = _ORIENTATIONS[simple[1]].get(int(simple[2]), "tilted")
        return (f"a {word} bar on a plain background" if simple[1] == "bar" else f"a cross in the shape of {word}",)
    return (Path(name).stem.replace("_", " "),)
