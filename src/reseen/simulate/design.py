"""Design: the image of each trial of a simulated subject; sessions are full, and repetitions are spread over them."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from reseen.errors import RecipeError

N_REPETITIONS = 3


def plan_trials(
    n_test: int, n_train: int, n_sessions: int, trials_per_session: int, rng: Generator
) -> list[NDArray[np.int64]]:
    """Plan all sessions: which of a subject's images each trial presents.

    Returns
    -------
    list
        For each session ``(trials_per_session,)``: 0...n_test-1 are the shared test images, others training images.

    Raises
    ------
    RecipeError
        If there are more images than trials.
    """
    n_images = n_test + n_train
    n_trials = n_sessions * trials_per_session
    if n_images > n_trials:
        raise RecipeError(
            f"simulate: {n_images} images do not fit into {n_trials} trials ({n_sessions} sessions of "
            f"{trials_per_session}); each is presented at least once. Use fewer images or more sessions.",
            where="simulate.n_sessions",
            expected=n_images,
            found=n_trials,
        )
    count = count_repetitions(n_images, n_trials, rng)
    room = np.full(n_sessions, trials_per_session)
    sessions: list[list[int]] = [[] for _ in range(n_sessions)]
    order = rng.permutation(n_images)
    for image in order[np.argsort(-count[order], kind="stable")]:
        for session in _choose_sessions(room, int(count[image]), rng):
            sessions[session].append(int(image))
            room[session] -= 1
    return [_permuted(shown, rng) for shown in sessions]


def count_repetitions(n_images: int, n_trials: int, rng: Generator) -> NDArray[np.int64]:
    """Return the number of presentations of each image, ``(n_images,)``: three if possible; all trials are used.

    With too few trials some images are presented twice and as many once; with too many some have a fourth presentation.
    """
    order = rng.permutation(n_images)
    if n_trials >= N_REPETITIONS * n_images:
        count = np.full(n_images, n_trials // n_images)
        count[order[: n_trials % n_images]] += 1
        return count
    count = np.full(n_images, N_REPETITIONS)
    missing = N_REPETITIONS * n_images - n_trials
    once = min(missing // 3, n_images)
    twice = missing - 2 * once
    if once + twice > n_images:
        once, twice = missing - n_images, 2 * n_images - missing
    count[order[:once]] = 1
    count[order[once : once + twice]] = 2
    return count


def _choose_sessions(room: NDArray[np.int64], count: int, rng: Generator) -> NDArray[np.intp]:
    """Choose different sessions, with probability by free trials; repeat a session only if no other has free trials."""
    chosen: list[int] = []
    left = room.astype(np.float64)
    while len(chosen) < count:
        weight = left.copy()
        weight[np.unique(chosen).astype(np.intp)] = 0
        if weight.sum() == 0:
            weight = left
        session = int(rng.choice(len(room), p=weight / weight.sum()))
        chosen.append(session)
        left[session] -= 1
    return np.array(chosen, dtype=np.intp)


def _permuted(shown: list[int], rng: Generator) -> NDArray[np.int64]:
    """Permute the trials of a session; avoid two presentations of an image in a row if possible."""
    order = rng.permutation(np.array(shown, dtype=np.int64))
    for _ in range(20):
        again = np.flatnonzero(order[1:] == order[:-1]) + 1
        if len(again) == 0:
            break
        for place in again:
            other = int(rng.integers(len(order)))
            order[place], order[other] = order[other], order[place]
    return order


def deal_ids(
    n_test: int, n_train: int, n_subjects: int, n_images: int, rng: Generator
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Assign image ids: the shared test images, ascending, and each subject's own training images.

    If ``n_images`` is large enough, no training image belongs to two subjects.
    """
    dealt = rng.permutation(n_images)
    shared, rest = np.sort(dealt[:n_test]), dealt[n_test:]
    if len(rest) >= n_subjects * n_train:
        own = [rest[s * n_train : (s + 1) * n_train] for s in range(n_subjects)]
    else:
        own = [rng.permutation(rest)[:n_train] for _ in range(n_subjects)]
    return shared, own
