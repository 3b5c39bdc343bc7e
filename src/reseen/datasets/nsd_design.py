"""Read the image of each NSD trial, and check the responses and the design against each other."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.mat_files import check_mat
from reseen.datasets.nsd_facts import SUBJECTS, TRIALS_PER_SESSION, NsdFiles
from reseen.datasets.volumes import reading
from reseen.errors import DataError, RecipeError
from reseen.files import read_text
from reseen.recipe import SessionChoice

N_SHARED_IDS = 1000
"""Highest number in ``masterordering`` of images that all subjects share."""


@dataclass(frozen=True)
class TrialTable:
    """Stimulus of each trial, in order of presentation.

    Parameters
    ----------
    session
        Shape ``(n_trials,)``, counted from 1.
    stimulus_id
        Shape ``(n_trials,)``, 0-based.
    shared
        Ids of the images that all subjects share, 0-based.
    """

    session: NDArray[np.int64]
    stimulus_id: NDArray[np.int64]
    shared: NDArray[np.int64]

    def take(self, rows: NDArray[np.bool_]) -> TrialTable:
        """Keep some trials, chosen by a mask."""
        return TrialTable(self.session[rows], self.stimulus_id[rows], self.shared)


def check_wanted(files: NsdFiles, wanted: SessionChoice | None, *, own: bool) -> None:
    """Refuse more sessions than NSD has of a subject.

    Raises
    ------
    RecipeError
        If more are requested, and the tree is NSD's own.
    """
    last = max(wanted) if isinstance(wanted, tuple) else wanted
    if own and last and files.subject in SUBJECTS and last > SUBJECTS[files.subject].n_sessions:
        n_most = SUBJECTS[files.subject].n_sessions
        if isinstance(wanted, tuple):
            raise RecipeError(
                f"data.sessions names session {last}; NSD has {n_most} of {files.subject}. Take it out.",
                where="data.sessions",
                expected=n_most,
                found=last,
            )
        raise RecipeError(
            f"data.sessions asks for {wanted} sessions; NSD has {n_most} of {files.subject}. Ask for no more: "
            f"--set data.sessions={n_most}"
        )


def choose_sessions(files: NsdFiles, wanted: SessionChoice | None, *, own: bool) -> tuple[int, ...]:
    """Return the sessions to read: the first ones, those of a list, or all in the responses.

    Raises
    ------
    RecipeError
        If more are requested than NSD has (``own``: the tree is NSD's own).
    DataError
        If the responses cannot be read, or list fewer sessions.
    """
    check_wanted(files, wanted, own=own)
    n_listed = int(read_responses(files.responses)[0].max(initial=1))
    if isinstance(wanted, tuple):
        if wanted[-1] > n_listed:
            raise DataError(
                f"data.sessions names session {wanted[-1]}; {files.responses} lists {n_listed}. Take it out."
            )
        return wanted
    if wanted and wanted > n_listed:
        raise DataError(
            f"data.sessions asks for {wanted} sessions; {files.responses} lists {n_listed}. Ask for no more."
        )
    return tuple(range(1, (wanted or n_listed) + 1))


def read_trial_table(files: NsdFiles, n_sessions: int, n_images: int, *, own: bool) -> TrialTable:
    """Read the trials of the first sessions.

    Parameters
    ----------
    files
        Paths of the subject's files.
    n_sessions, n_images
        Number of sessions to read, and number of images in the tree.
    own
        Whether the tree is NSD's own, with 750 trials in a session.

    Raises
    ------
    DataError
        If a file is missing or damaged, or if the responses and the design disagree.
    """
    path = files.responses
    session, stimulus_id = read_responses(path, n_sessions)
    n_trials = np.bincount(session, minlength=n_sessions + 1)[1:]
    expected = TRIALS_PER_SESSION if own else max(int(n_trials.max(initial=0)), 1)
    for number, count in enumerate(n_trials, start=1):
        if count != expected:
            raise DataError(
                f"{path} lists {count} trials of session {number}; {expected} are expected. Fetch it again."
            )
    if stimulus_id.min() < 0 or stimulus_id.max() >= n_images:
        raise DataError(
            f"{path} names images {stimulus_id.min() + 1} to {stimulus_id.max() + 1} (73KID, counted from 1); "
            f"{files.stimuli} holds {n_images}. The two files belong to different data sets."
        )
    design = read_design(files.design)
    _check_design(files, design, session, stimulus_id)
    _check_shared(files, design, stimulus_id, n_images)
    return TrialTable(session, stimulus_id, design["sharedix"].ravel() - 1)


def read_responses(path: Path, n_sessions: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read the session (from 1) and the stimulus (from 0) of each trial, ``(n_trials,)``, in order of presentation.

    Raises
    ------
    DataError
        If the file is missing, damaged or lacks a column.
    """
    names = ("SESSION", "RUN", "TRIAL", "73KID")
    text = read_text(path)
    with reading(path):
        table_rows = csv.DictReader(text.splitlines(), delimiter="\t")
        missing = [name for name in names if name not in (table_rows.fieldnames or ())]
        if missing:
            raise DataError(f"{path} lacks the column {missing[0]}; {', '.join(names)} are needed. Fetch it again.")
        rows = []
        for row in table_rows:
            rows.append([int(float(row[name])) for name in names])
    table = np.array(sorted(rows), dtype=np.int64).reshape(-1, 4)
    if n_sessions is not None:
        table = table[table[:, 0] <= n_sessions]
    return table[:, 0], table[:, 3] - 1


def read_design(path: Path) -> dict[str, NDArray[np.int64]]:
    """Read ``masterordering``, ``sharedix`` and ``subjectim``, counted from 1.

    Raises
    ------
    DataError
        If the file is missing, damaged or has other content.
    """
    from scipy.io import loadmat

    names = ("masterordering", "sharedix", "subjectim")
    check_mat(path)
    with reading(path):
        content: dict[str, Any] = loadmat(path, variable_names=names)
    missing = [name for name in names if name not in content]
    if missing:
        raise DataError(
            f"{path} holds no {', '.join(missing)}; it is not NSD's design or is truncated. Fetch it again."
        )
    return {name: _integers(path, name, content[name]) for name in names}


def _integers(path: Path, name: str, values: Any) -> NDArray[np.int64]:
    """Return a table of the design as integers that count from 1."""
    found = np.asarray(values)
    if found.dtype.kind not in "iuf" or not found.size or not np.all(np.isfinite(found) & (found == np.rint(found))):
        raise DataError(f"{path}: {name} is not all integers. Fetch it again.")
    if found.min() < 1:
        raise DataError(f"{path}: {name} holds {found.min()}; it counts from 1. Fetch it again.")
    return found.astype(np.int64)


def _check_design(
    files: NsdFiles, design: dict[str, NDArray[np.int64]], session: NDArray[np.int64], stimulus_id: NDArray[np.int64]
) -> None:
    """Check that trial t of subject s presented ``subjectim[s, masterordering[t] - 1] - 1``."""
    order, subjects = design["masterordering"].ravel(), np.atleast_2d(design["subjectim"])
    number = files.subject.removeprefix("subj")
    row = int(number) - 1 if number.isdecimal() else -1
    if not 0 <= row < len(subjects) or len(order) < len(stimulus_id):
        raise DataError(
            f"{files.design} plans {len(order)} trials of {len(subjects)} subjects; {files.responses} lists "
            f"{len(stimulus_id)} trials of {files.subject}. The two files belong to different data sets."
        )
    if order[: len(stimulus_id)].max(initial=1) > subjects.shape[1]:
        raise DataError(
            f"{files.design}: masterordering names image {order.max()} of a subject; subjectim has "
            f"{subjects.shape[1]}. Fetch it again."
        )
    planned = subjects[row, order[: len(stimulus_id)] - 1] - 1
    wrong = np.flatnonzero(planned != stimulus_id)
    if len(wrong):
        trial = int(wrong[0])
        raise DataError(
            f"{files.responses} says that trial {trial + 1} (session {session[trial]}) of {files.subject} showed 73KID "
            f"{stimulus_id[trial] + 1}; {files.design} says {planned[trial] + 1}. Fetch both again: one of them is not "
            "this subject's or has lost trials."
        )


def _check_shared(
    files: NsdFiles, design: dict[str, NDArray[np.int64]], stimulus_id: NDArray[np.int64], n_images: int
) -> None:
    """Check ``sharedix`` against the trials: trials of shared images have ``masterordering <= 1000``."""
    shared = design["sharedix"].ravel() - 1
    if shared.max() >= n_images or len(np.unique(shared)) < len(shared):
        raise DataError(
            f"{files.design}: sharedix has {len(np.unique(shared))} different numbers of {len(shared)}, up to "
            f"{shared.max() + 1}; all must differ, and {files.stimuli} holds {n_images} images. Fetch it again."
        )
    expected = design["masterordering"].ravel()[: len(stimulus_id)] <= N_SHARED_IDS
    wrong = np.flatnonzero(expected != np.isin(stimulus_id, shared))
    if len(wrong):
        raise DataError(
            f"{files.design}: sharedix does not fit masterordering, which is {N_SHARED_IDS} or less for shared images "
            f"alone: trial {wrong[0] + 1} and {len(wrong) - 1} others of {files.subject} differ. Fetch it again."
        )
