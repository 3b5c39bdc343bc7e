"""Which trials of NSD's sessions are used: sessions, training sessions, repetitions and test images of a recipe.

``data.sessions`` is read before. Of these trials, some are left out: of images with fewer than ``data.min_repeats``
trials; of training images outside of ``data.train_sessions``; and, with the test set ``special515``, of the shared
images that are not in it. Test images keep all their trials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.nsd_design import N_SHARED_IDS, read_design, read_responses
from reseen.datasets.nsd_facts import SUBJECTS, TRIALS_PER_SESSION, NsdFiles
from reseen.errors import DataError, RecipeError
from reseen.recipe import SPECIAL, DataRecipe, SessionChoice
from reseen.split import Split

N_REPEATS = 3
"""Number of times that NSD shows each image, if a subject completes all sessions."""
N_SPECIAL = 515
"""Number of images that all eight subjects saw three times."""


class Chosen(NamedTuple):
    """Trials that a run uses.

    Parameters
    ----------
    used
        Shape ``(n_trials,)``: mask of the trials.
    test
        Ids of the fixed test set, 0-based, ascending.
    """

    used: NDArray[np.bool_]
    test: NDArray[np.int64]


def list_sessions_of(wanted: SessionChoice | None, known: Sequence[int]) -> tuple[int, ...]:
    """Return the sessions that a recipe wants: a list as it is, a number for the first ones, None for all known."""
    if isinstance(wanted, tuple):
        return wanted
    return tuple(known) if wanted is None else tuple(known[:wanted])


def choose_trials(
    data: DataRecipe,
    session: NDArray[np.int64],
    stimulus_id: NDArray[np.int64],
    shared: NDArray[np.int64],
    special: Callable[[], NDArray[np.int64]],
) -> Chosen:
    """Choose the trials of the sessions read that a run uses.

    Parameters
    ----------
    data
        Section ``data`` of the recipe.
    session, stimulus_id
        Shape ``(n_trials,)``: of each trial.
    shared
        Ids of the images that all subjects share.
    special
        Function that returns the ids of the shared images that all subjects saw three times.

    Raises
    ------
    RecipeError
        If a training session is not read, or no image has enough repetitions.
    """
    test = np.intersect1d(shared, special()) if data.test == SPECIAL else shared
    used = ~np.isin(stimulus_id, np.setdiff1d(shared, test))
    if data.min_repeats is not None:
        used &= _has_repeats(stimulus_id, data.min_repeats)
    if data.train_sessions is not None:
        trained = _training_sessions(data.train_sessions, np.unique(session).tolist())
        used &= np.isin(session, trained) | np.isin(stimulus_id, test)
    return Chosen(used, np.intersect1d(test, stimulus_id[used]))


def _has_repeats(stimulus_id: NDArray[np.int64], least: int) -> NDArray[np.bool_]:
    """Return which trials show an image that has at least so many trials in the sessions read."""
    n_repeats = np.bincount(stimulus_id)[stimulus_id]
    if n_repeats.max(initial=0) < least:
        raise RecipeError(
            f"data.min_repeats is {least}, and no image was shown more than {n_repeats.max(initial=0)} times in the "
            "sessions read. Lower it, or read more sessions.",
            where="data.min_repeats",
            expected=least,
            found=int(n_repeats.max(initial=0)),
        )
    enough: NDArray[np.bool_] = n_repeats >= least
    return enough


def _training_sessions(wanted: SessionChoice, read: Sequence[int]) -> tuple[int, ...]:
    trained = list_sessions_of(wanted, read)
    missing = sorted(set(trained) - set(read))
    if missing or (isinstance(wanted, int) and wanted > len(read)):
        raise RecipeError(
            f"data.train_sessions is {wanted}, and the sessions read are {', '.join(map(str, read))}. Train on some of "
            "these, or read more with data.sessions.",
            where="data.train_sessions",
            expected=tuple(read),
            found=wanted,
        )
    return trained


def special_images(files: NsdFiles, subjects: Sequence[str], *, own: bool) -> NDArray[np.int64]:
    """Return the shared images that every subject saw three times, ids from 0, from the design.

    All subjects have one order of repetitions (``masterordering``), and its values up to 1,000 are the shared images.
    So every subject saw three times what the subject with the fewest trials saw three times.

    Parameters
    ----------
    files
        Paths of one subject's files.
    subjects
        Subjects of the tree.
    own
        Whether the tree is NSD's own, of whose eight subjects the numbers of sessions are known.

    Raises
    ------
    DataError
        If a table is missing or damaged, or NSD's own design does not give 515 images.
    """
    if own:
        n_trials = TRIALS_PER_SESSION * min(facts.n_sessions for facts in SUBJECTS.values())
    else:
        everyone = [NsdFiles(files.root, subject, files.space, files.betas) for subject in subjects]
        n_trials = min(len(read_responses(each.responses)[0]) for each in everyone)
    design = read_design(files.design)
    order = design["masterordering"].ravel()[:n_trials]
    number, count = np.unique(order[order <= N_SHARED_IDS], return_counts=True)
    # the first 1,000 columns of subjectim are equal for all subjects
    ids = np.sort(np.atleast_2d(design["subjectim"])[0, number[count == N_REPEATS] - 1] - 1)
    if own and len(ids) != N_SPECIAL:
        raise DataError(
            f"{files.design} has {len(ids)} shared images with three trials in the first {n_trials:,}; NSD has "
            f"{N_SPECIAL}. Fetch it again.",
            where=files.design,
            expected=N_SPECIAL,
            found=len(ids),
        )
    return ids


def describe_choice(data: DataRecipe, session: NDArray[np.int64], stimulus_id: NDArray[np.int64], split: Split) -> str:
    """Count the trials of training and test images for `reseen check`; empty if the recipe chooses no trials.

    Parameters
    ----------
    data
        Section ``data`` of the recipe.
    session, stimulus_id
        Shape ``(n_trials,)``: of each trial that is used.
    split
        Training and test stimuli.
    """
    is_chosen = isinstance(data.sessions, tuple) or data.test == SPECIAL
    if not (is_chosen or data.train_sessions is not None or data.min_repeats is not None):
        return ""
    tested = np.isin(stimulus_id, split.test_ids)
    train, test = session[~tested], session[tested]
    repeats, n_images = np.unique(np.unique(stimulus_id[tested], return_counts=True)[1], return_counts=True)
    counts = ", ".join(f"{n:,} with {k}" for k, n in zip(repeats, n_images, strict=True))
    trained = f"{len(train):,} training trials in {_sessions(train)}, " if len(train) else ""  # folds test all
    return f"{trained}{len(test):,} test trials in {_sessions(test)} (images by repetitions: {counts})"


def _sessions(session: NDArray[np.int64]) -> str:
    numbers = np.unique(session)
    return f"{len(numbers)} sessions" if len(numbers) > 1 else f"session {numbers[0]}"
