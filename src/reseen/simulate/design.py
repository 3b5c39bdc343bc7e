"""Design: which image each trial of a simulated subject shows, sessions full, repetitions spread over them."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from reseen.errors import RecipeError

N_REPETITIONS = 3


def plan_trials(
    n_test: int, n_train: int, n_sessions: int, trials_per_session: int, rng: Generator
) -> list[NDArray[np.int64]]:
    """Plan every session: which of a subject's own images each trial shows.

    Returns
    -------
    list
        For each session ``(trials_per_session,)``: 0...n_test-1 are the shared test images, the rest training ones.

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
            f"{trials_per_session}); each is shown at least once. Ask for fewer images or more sessions."
        )
    count = count_repetitions(n_images, n_trials, rng)
    room = np.full(n_sessions, trials_per_session)
    sessions: list[list[int]] = [[] for _ in range(n_sessions)]
    order = rng.permutation(n_images)
    for image in order[np.argsort(-count[order], kind="stable")]:
        for session in _choose_sessions(room, int(count[image]), rng):
            sessions[session].append(int(image))
            room[session] -= 1
    return [_shuffled(shown, rng) for shown in sessions]


def count_repetitions(n_images: int, n_trials: int, rng: Generator) -> NDArray[np.int64]:
    """Return how often each image is shown, ``(n_images,)``: three times if the trials allow, so that all are used.

    Too few trials make some images be shown twice and, as often, once; too many make some be shown a fourth time.
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
    """Choose different sessions, those with more room rather; the same one twice only if no other has room."""
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


def _shuffled(shown: list[int], rng: Generator) -> NDArray[np.int64]:
    """Order a session at random, an image that is shown twice in it not twice in a row where that can be avoided."""
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
    """Deal image ids: the shared test images, ascending, and each subject's own training images.

    Where ``n_images`` allows it no training image belongs to two subjects.
    """
    dealt = rng.permutation(n_images)
    shared, rest = np.sort(dealt[:n_test]), dealt[n_test:]
    if len(rest) >= n_subjects * n_train:
        own = [rest[s * n_train : (s + 1) * n_train] for s in range(n_subjects)]
    else:
        own = [rng.permutation(rest)[:n_train] for _ in range(n_subjects)]
    return shared, own
