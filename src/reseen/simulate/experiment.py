"""Write NSD's tables of trials: design, table of images and behavioural responses.

As the NSD data manual describes, sessions, trials, 73KID and 10KID count from 1; ``nsdId`` of the image table counts
from 0.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.nsd_facts import COCO_SPLITS, RESPONSE_COLUMNS, RUNS_PER_SESSION, SUBJECTS
from reseen.errors import ShapeError
from reseen.simulate.subject import SubjectTree

N_SHARED_IDS = 1000
"""Number of 10KIDs reserved for shared images: ``masterordering <= 1000`` is true for these only."""
N_SUBJECTS = len(SUBJECTS)
MAX_TRIALS_PER_RUN = 75
TRIAL_SECONDS = 4.0
FIRST_TRIAL_DAYS = 0.505
"""Days from midnight of a session's day to its first trial: shortly after noon. Sessions are a week apart."""


def coco_split(stimulus_id: int) -> str:
    """Return the COCO caption file that lists an image: every fifth image is in ``val2017``."""
    return COCO_SPLITS[stimulus_id % 5 == 4]


def plan_order(
    shared: Sequence[int], subjects: Sequence[SubjectTree], n_images: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Compute the two tables of NSD's design from the trials of all subjects.

    Parameters
    ----------
    shared
        0-based ids of the 1 to 1,000 images that all subjects share.
    subjects
        Subjects, with the stimuli of their trials.
    n_images
        Number of images in the tree.

    Returns
    -------
    masterordering
        Shape ``(n_trials,)``: 10KID of each trial. Shared images have 1...n_shared, all others more than 1,000.
    subjectim
        Shape ``(8, 1000 + n_others)``: 73KID of each 10KID, one row per subject of NSD. Unused 10KIDs up to 1,000
        repeat the shared images; no trial refers to them. Entries of images that a subject did not see, and rows of
        subjects that are not simulated, contain images that are not shared.

    Raises
    ------
    ShapeError
        If the subjects do not share one order of repetitions.
    """
    longest = max(subjects, key=lambda subject: sum(map(len, subject.stimulus_id)))
    column = {int(stimulus): i for i, stimulus in enumerate(sorted(shared))}
    first_other = N_SHARED_IDS - len(column)
    trials = np.concatenate(longest.stimulus_id).tolist()
    order = np.array([column.setdefault(stimulus, first_other + len(column)) for stimulus in trials], dtype=np.int32)
    shared_ids = np.sort(np.asarray(shared, dtype=np.int32)) + 1
    other_ids = np.setdiff1d(np.arange(1, n_images + 1, dtype=np.int32), shared_ids)
    n_rows = max(N_SUBJECTS, *(subject.row + 1 for subject in subjects))
    subjectim = np.zeros((n_rows, first_other + len(column)), dtype=np.int32)
    subjectim[:, :N_SHARED_IDS] = np.resize(shared_ids, N_SHARED_IDS)
    for subject in subjects:
        _fill_row(subjectim[subject.row], order, subject, longest)
    for row in subjectim[:, N_SHARED_IDS:]:
        unseen = np.setdiff1d(other_ids, row)
        row[row == 0] = unseen[: np.count_nonzero(row == 0)]
    return order + 1, subjectim


def _fill_row(row: NDArray[np.int32], order: NDArray[np.int32], subject: SubjectTree, longest: SubjectTree) -> None:
    """Write the images of a subject into its row of ``subjectim``, and check them against the common order."""
    shown = np.concatenate(subject.stimulus_id) + 1
    places = order[: len(shown)]
    shared_ids = row[:N_SHARED_IDS].copy()
    row[places] = shown
    others = row[N_SHARED_IDS:][row[N_SHARED_IDS:] > 0]
    one_image_each = len(np.unique(others)) == len(others) and not np.isin(others, shared_ids).any()
    if not (np.array_equal(row[places], shown) and np.array_equal(row[:N_SHARED_IDS], shared_ids) and one_image_each):
        raise ShapeError(
            f"{subject.name} and {longest.name} do not share one order of repetitions. As in NSD, a trial that repeats "
            "an earlier trial's image must do so for every subject, and shared images must be in the same trials.",
            where="subjects",
            expected=longest.name,
            found=subject.name,
        )


def write_design(
    path: Path,
    order: NDArray[np.int32],
    subjectim: NDArray[np.int32],
    shared: Sequence[int],
    sessions: Sequence[NDArray[np.int64]],
) -> None:
    """Write the design as a MATLAB file of version 5, without a date in its header.

    As in NSD, ``scipy.io.loadmat`` returns integers that can be used as indices, and ``stimpattern`` as double.

    Parameters
    ----------
    path
        File to write.
    order, subjectim
        From `plan_order`.
    shared
        0-based ids of the shared images.
    sessions
        For each session the stimuli of its trials, ``(n_trials,)``.
    """
    per_run = [run_lengths(len(ids)) for ids in sessions]
    longest_run = max(MAX_TRIALS_PER_RUN, *(max(runs) for runs in per_run))
    pattern = np.zeros((len(sessions), RUNS_PER_SESSION, longest_run), dtype=np.float64)
    counts = np.zeros((3, len(sessions)), dtype=np.int32)
    for session, ids in enumerate(sessions):
        for run, length in enumerate(per_run[session]):
            pattern[session, run, :length] = 1
        repeats = np.unique(ids, return_counts=True)[1]
        counts[:, session] = [np.sum(repeats == k) for k in (1, 2, 3)]
    content = {
        "basiccnt": counts,
        "masterordering": order[None],
        "sharedix": np.sort(np.asarray(shared, dtype=np.int32))[None] + 1,
        "stimpattern": pattern,
        "subjectim": subjectim,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mat_content(content))


def mat_content(variables: dict[str, Any]) -> bytes:
    """Return the content of a MATLAB file of version 5, without a date in its header."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, variables)
    return b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:]


def write_stim_info(path: Path, coco_id: Sequence[int], shared: Sequence[int], subjects: Sequence[SubjectTree]) -> None:
    """Write the table of images: the COCO source of each image, and its trials (from 1) for each subject."""
    people = range(max(N_SUBJECTS, *(subject.row + 1 for subject in subjects)))
    shown: dict[tuple[int, int], list[int]] = {}
    for subject in subjects:
        for trial, stimulus in enumerate(np.concatenate(subject.stimulus_id), start=1):
            shown.setdefault((subject.row, int(stimulus)), []).append(trial)
    n_repetitions = max(3, *map(len, shown.values()))
    is_shared = frozenset(int(i) for i in shared)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        fixed = ["", "cocoId", "cocoSplit", "cropBox", "loss", "nsdId", "flagged", "BOLD5000", "shared1000"]
        repetitions = [f"subject{p + 1}_rep{k}" for p in people for k in range(n_repetitions)]
        writer.writerow([*fixed, *(f"subject{p + 1}" for p in people), *repetitions])
        for i, number in enumerate(coco_id):
            trials = [shown.get((p, i), []) for p in people]
            padded = [trial for each in trials for trial in [*each, *[0] * (n_repetitions - len(each))]]
            source = [i, int(number), coco_split(i), "(0.0, 0.0, 0.0, 0.0)", 0.0, i, False, False, i in is_shared]
            writer.writerow([*source, *(int(bool(each)) for each in trials), *padded])


def run_lengths(n_trials: int) -> list[int]:
    """Divide the trials of a session among its 12 runs: 63, 62, 63, 62 ... of 750, as in NSD."""
    ends = [math.ceil(n_trials * (run + 1) / RUNS_PER_SESSION) for run in range(RUNS_PER_SESSION)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def write_responses(path: Path, subject: SubjectTree, order: NDArray[np.int32]) -> None:
    """Write the behavioural responses, one row per trial.

    A simulated subject presses no button: MISSINGDATA is 1, and columns of button presses are NaN.

    Parameters
    ----------
    path
        File to write.
    subject
        Subject with the stimuli of its trials.
    order
        ``masterordering`` of `plan_order`.
    """
    previous: dict[int, list[int]] = {}
    trial = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(RESPONSE_COLUMNS)
        for session, ids in enumerate(subject.stimulus_id, start=1):
            first_of_session = trial
            runs: list[tuple[int, int]] = []  # run and number of each trial, from 1
            for run, n in enumerate(run_lengths(len(ids)), start=1):
                runs += [(run, k) for k in range(1, n + 1)]
            for (run, k), stimulus in zip(runs, (ids + 1).tolist(), strict=True):
                seconds = (trial - first_of_session) * TRIAL_SECONDS
                days = 7 * (session - 1) + FIRST_TRIAL_DAYS + seconds / 86_400
                earlier = previous.setdefault(stimulus, [])
                # number of trials since the latest presentation, and since the first, if that is not the latest
                recent = trial - earlier[-1] - 1 if earlier else "NaN"
                since_first = trial - earlier[0] - 1 if len(earlier) > 1 else "NaN"
                in_session = bool(earlier) and earlier[-1] >= first_of_session
                head = [subject.row + 1, session, run, k, stimulus, order[trial], f"{days:.8f}", int(bool(earlier))]
                memory = ["NaN", "NaN", "NaN", recent, since_first, int(in_session), "NaN"]
                writer.writerow([*head, *memory, "NaN", "NaN", "NaN", 1])
                earlier.append(trial)
                trial += 1
