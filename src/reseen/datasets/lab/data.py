"""A lab's data of one subject, as every reader returns them, and their conversion into a subject."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.lab.ceilings import ncsnr_from_repeats
from reseen.datasets.lab.estimates import EstimatedRun, Progress, read_runs
from reseen.datasets.lab.place import Place
from reseen.datasets.lab.sessions import choose_sessions
from reseen.datasets.lab.table import TrialTable
from reseen.datasets.outline import Outline
from reseen.datasets.splits import make_split
from reseen.errors import DataError
from reseen.files.reading import shown
from reseen.recipe import DataRecipe
from reseen.recipe.types import COLUMN
from reseen.split import Split
from reseen.stimuli import Stimuli
from reseen.subject import Subject
from reseen.trials import ALL, Trials

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
N_SAMPLED = 500
"""Maximum number of voxels whose responses are estimated before a run, to check the labels."""


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses to all trials, of which chosen voxels are read.

    Parameters
    ----------
    n_trials, n_voxels
        Number of trials, and of voxels before ROIs are chosen.
    read
        Function of voxel numbers ``(n,)``, ascending, that returns ``(n_trials, n)`` float32. NaN marks a voxel without
        data. Its peak memory follows the voxels asked for.
    place
        Place of the voxels; None if it is unknown.
    ncsnr
        Shape ``(n_voxels,)``: noise ceiling signal-to-noise ratio; None if it is unknown. It is then computed from
        repeated images (`reseen.datasets.lab.ceilings`).
    standardised
        Whether the responses are already standardised, so that they are not standardised within sessions again.
    runs
        Runs whose responses are estimated, if they are: that takes long, so that the estimates can be kept.
    """

    n_trials: int
    n_voxels: int
    read: Callable[[NDArray[np.int64]], Float32]
    place: Place | None = None
    ncsnr: Float32 | None = None
    standardised: bool = False
    runs: tuple[EstimatedRun, ...] = ()


@dataclass(frozen=True, eq=False)
class LabData:
    """A lab's data of one subject.

    Parameters
    ----------
    source
        File or folder of the data, for messages.
    table
        Trials, in order of presentation.
    stimulus_id
        Shape ``(n_trials,)``: stimulus of each trial, 0-based; -1 for a trial without an image.
    stimuli
        Images and captions.
    responses
        Responses to the trials of the table.
    rois
        Name -> mask of all voxels, ``(n_voxels,)``. The ROI ``"all"`` is added.
    notes
        Facts about the data that `reseen check` prints.
    """

    source: Path
    table: TrialTable
    stimulus_id: NDArray[np.int64]
    stimuli: Stimuli
    responses: Responses
    rois: Mapping[str, Mask]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.table) != self.responses.n_trials:
            raise DataError(
                f"{shown(self.source)}: the trial table has {len(self.table)} trials and the responses have "
                f"{self.responses.n_trials}. Give every response one row of the table, in the same order.",
                where=self.source,
                expected=self.responses.n_trials,
                found=len(self.table),
            )


def to_subject(
    found: LabData, data: DataRecipe, subject: str, *, keep: Path | None = None, progress: Progress | None = None
) -> Subject:
    """Return a subject whose responses are read at first use.

    Trials without an image, and those outside of ``data.sessions``, are left out.

    Parameters
    ----------
    found
        The subject's data.
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
        If an ROI is unknown or empty.
    RecipeError
        If the number of folds or test images exceeds the number of stimuli, or a session is unknown.
    """
    rows = _used(found, data)
    stimulus_id, table = found.stimulus_id[rows], found.table.take(rows)
    rois = choose_rois(found, data.rois)
    test = _fixed_test(found.source, table, stimulus_id) if data.test == "shared" else None
    labels = {"sessions": table.session, "runs": table.run_labels if any(table.run) else ()}
    labels |= {COLUMN + name: values for name, values in table.columns.items()}
    split = make_split(data, stimulus_id, {}, test=test, labels=labels)

    def read() -> Trials:
        return _read(found, rois, data, subject, keep, progress)

    columns = {"image": table.image, "session": table.session, "run": table.run, **table.columns}
    return Subject(read, found.stimuli, split, name=subject, columns=columns)


def outline_of(found: LabData, data: DataRecipe, split: Split) -> Outline:
    """Return the outline of data whose responses are not read: the voxels of the mask, with those without data."""
    rois, place = choose_rois(found, data.rois), found.responses.place
    return Outline(
        found.stimulus_id[_used(found, data)],
        split,
        {name: int(mask.sum()) for name, mask in rois.items()},
        int(np.logical_or.reduce(list(rois.values())).sum()),
        None if place is None else place.shape,
        found.stimuli,
        space="" if place is None else place.space,
        affine=None if place is None else place.affine,
    )


def read_sample(found: LabData, data: DataRecipe, subject: str, progress: Progress | None = None) -> Trials:
    """Read the responses of at most `N_SAMPLED` voxels of the ROIs to all trials.

    Raises
    ------
    DataError
        If a file is damaged.
    """
    voxels = np.flatnonzero(np.logical_or.reduce(list(choose_rois(found, data.rois).values())))
    sample = np.zeros(found.responses.n_voxels, dtype=bool)
    sample[voxels[:: -(-len(voxels) // N_SAMPLED)]] = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a run warns of voxels without data, and counts all of them
        return _read(found, {ALL: sample}, data, subject, None, progress)


def _used(found: LabData, data: DataRecipe) -> NDArray[np.int64]:
    """Return the rows of the trials that are used: those with an image, in ``data.sessions``."""
    used = found.stimulus_id >= 0
    if data.sessions is not None:
        chosen = choose_sessions(found.source, found.table.session, data.sessions)
        used &= np.isin(found.table.session, chosen)
    return np.flatnonzero(used)


def choose_rois(found: LabData, wanted: tuple[str, ...]) -> dict[str, Mask]:
    """Return the masks of some ROIs over all voxels, ``(n_voxels,)``.

    Raises
    ------
    DataError
        If an ROI is unknown or has no voxel.
    """
    known = {**found.rois, ALL: np.ones(found.responses.n_voxels, dtype=bool)}
    for name in wanted:
        if name not in known:
            raise DataError(
                f"{shown(found.source)} has no ROI {name!r}; it has {', '.join(map(shown, sorted(known)))}. "
                "Set data.rois to some of these, or name files of ROIs: data.roi_files.",
                where="data.rois",
                expected=tuple(sorted(known)),
                found=name,
            )
        if not known[name].any():
            raise DataError(
                f"{shown(found.source)}: the ROI {name!r} has no voxel among the responses. Take it out of data.rois.",
                where="data.rois",
                found=name,
            )
    return {name: known[name] for name in wanted}


def _read(
    found: LabData,
    rois: Mapping[str, Mask],
    data: DataRecipe,
    subject: str,
    keep: Path | None,
    progress: Progress | None,
) -> Trials:
    """Read the voxels of the ROIs in the trials that are used."""
    rows = _used(found, data)
    table = found.table.take(rows)
    columns = np.flatnonzero(np.logical_or.reduce(list(rois.values())))
    runs = found.responses.runs
    betas = read_runs(runs, columns, rows, keep, progress) if runs else found.responses.read(columns)[rows]
    varies = _varying(betas)
    if not varies.all():
        _leave_out(found, rois, columns[~varies])
        betas, columns = betas[:, varies], columns[varies]
    place, ncsnr = found.responses.place, found.responses.ncsnr
    trials = Trials(
        betas,
        found.stimulus_id[rows],
        session=_numbers(table.session if any(table.session) else table.run),
        run=_numbers(table.run_labels),
        rois={name: mask[columns] for name, mask in rois.items()},
        ncsnr=None if ncsnr is None else ncsnr[columns],
        voxel_index=None if place is None else place.index[columns],
        volume_shape=None if place is None else place.shape,
        space="" if place is None else place.space,
        affine=None if place is None else place.affine,
        subject=subject,
    )
    if ncsnr is None:
        trials = replace(trials, ncsnr=ncsnr_from_repeats(trials.betas, trials.stimulus_id, trials.session))
    standardise = data.zscore_sessions and not found.responses.standardised
    return zscore(found.source, trials) if standardise else trials


def _varying(betas: Float32) -> Mask:
    """Return which voxels have finite numbers in all trials that are not all equal, ``(n_voxels,)``."""
    varies: Mask = np.zeros(betas.shape[1], dtype=bool)
    for voxel, values in enumerate(betas.T):
        varies[voxel] = np.isfinite(values).all() and np.ptp(values) > 0
    return varies


def _leave_out(found: LabData, rois: Mapping[str, Mask], columns: NDArray[np.int64]) -> None:
    """Warn of voxels without data; refuse an ROI that loses more than half of its voxels."""
    for name, mask in rois.items():
        n_lost, n_voxels = int(mask[columns].sum()), int(mask.sum())
        if (name != ALL and n_lost > n_voxels / 2) or n_lost == n_voxels:
            raise DataError(
                f"{shown(found.source)}: {n_lost} of the {n_voxels} voxels of {name} have missing (NaN), infinite or "
                "constant values. Take the ROI out of data.rois, or remove trials or runs that lack these voxels.",
                where=found.source,
                expected=n_voxels,
                found=n_voxels - n_lost,
            )
    n_read = int(np.logical_or.reduce(list(rois.values())).sum())
    warnings.warn(
        f"{shown(found.source)}: {len(columns)} of {n_read} voxels have missing (NaN), infinite or constant values in "
        "some trial and are left out.",
        stacklevel=3,
    )


def _numbers(labels: tuple[str, ...]) -> NDArray[np.int64]:
    """Return text labels as numbers from 0, in alphabetical order."""
    return np.unique(np.array(labels, dtype=object), return_inverse=True)[1].astype(np.int64)


def _fixed_test(source: Path, table: TrialTable, stimulus_id: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return the stimuli of the trials whose split is ``"test"``; None if the table has no split."""
    if not table.split:
        return None
    tested = np.array([side == "test" for side in table.split])
    test, train = np.unique(stimulus_id[tested]), np.unique(stimulus_id[~tested])
    both = np.intersect1d(test, train)
    if len(both):
        raise DataError(
            f"{shown(source)}: {len(both)} images are shown in training and in test trials. Correct the column split, "
            'or leave runs out: data.test = "runs".',
            where="split",
            found=len(both),
        )
    return test


def zscore(source: Path, trials: Trials, session: str = "session") -> Trials:
    """Standardise within sessions; a session needs three trials or more for a mean and a standard deviation.

    Parameters
    ----------
    source
        File or folder of the data, for messages.
    trials
        Trials to standardise.
    session
        The data's own word for a session, such as ``"run"``, for messages.

    Raises
    ------
    DataError
        If a session has fewer.
    """
    sessions, counts = np.unique(trials.session, return_counts=True)
    if counts.min() < 3:
        raise DataError(
            f"{shown(source)}: {session} {sessions[counts.argmin()]} contains {counts.min()} trials, too few to "
            f"standardise within {session}s. Set data.zscore_sessions to false, or join the {session} to another.",
            where="data.zscore_sessions",
            expected=3,
            found=int(counts.min()),
        )
    return trials.zscore_sessions()
