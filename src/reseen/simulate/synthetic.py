"""Simulated session of NSD-synthetic: betas of 744 trials in 8 runs, in one order for all subjects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from reseen.datasets.synthetic_files import MOST_TRIALS, N_IMAGES, N_ONE_BACK, N_RUNS, TRIALS_PER_RUN
from reseen.simulate.cortex import Cortex
from reseen.simulate.filters import SIDE
from reseen.simulate.noise import Scanner, measure_session, sample_day
from reseen.simulate.synthetic_images import SyntheticImages

N_TWICE = 48
"""Images with two regular trials in each task; the others have one. It is a guess which images these are."""


@dataclass(frozen=True)
class SyntheticDesign:
    """Order of the trials.

    Parameters
    ----------
    order
        Shape ``(744,)``: image of each trial, from 0.
    pattern
        Shape ``(1, 8, 107)``: 1 where a place in a run has an image, 0 where it is blank.
    """

    order: NDArray[np.int64]
    pattern: NDArray[np.float64]


def plan_synthetic(rng: Generator) -> SyntheticDesign:
    """Plan 4 runs of each task in alternation: 83 regular trials and 10 one-back trials in each.

    Each task presents every image once, and the first `N_TWICE` images twice.
    """
    n_regular = TRIALS_PER_RUN - N_ONE_BACK
    images = np.concatenate([np.arange(N_IMAGES), np.arange(N_TWICE)])
    runs: list[NDArray[np.int64]] = []
    by_task = [_without_neighbours(images, rng).reshape(-1, n_regular) for _ in range(2)]
    for run in range(N_RUNS):
        regular = by_task[run % 2][run // 2]
        repeated = np.isin(np.arange(n_regular), rng.permutation(n_regular)[:N_ONE_BACK])
        runs.append(np.repeat(regular, 1 + repeated))
    pattern = np.zeros((1, N_RUNS, MOST_TRIALS))
    for run in range(N_RUNS):
        pattern[0, run, np.sort(rng.permutation(MOST_TRIALS)[:TRIALS_PER_RUN])] = 1
    return SyntheticDesign(np.concatenate(runs), pattern)


def _without_neighbours(images: NDArray[np.int64], rng: Generator) -> NDArray[np.int64]:
    """Return a random order in which no image follows itself."""
    while True:
        order = rng.permutation(images)
        if (np.diff(order) != 0).all():
            return order


def scan_synthetic(
    images: SyntheticImages,
    colours: NDArray[np.float64],
    design: SyntheticDesign,
    cortex: Cortex,
    scanner: Scanner,
    rng: Generator,
) -> NDArray[np.float32]:
    """Simulate the session of one subject, ``(744, n_voxels)`` float32: per cent signal change.

    Parameters
    ----------
    images, colours
        Images of all subjects and of this one. The cortex responds to the middle square.
    design
        Order of the trials.
    cortex, scanner
        The subject's voxels and noise.
    rng
        Random numbers of this session.
    """
    every = np.concatenate([images.shared, colours])
    first = (every.shape[2] - SIDE) // 2
    small = np.rint(255 * every[:, :, first : first + SIDE]).astype(np.uint8)
    signal = cortex.respond(small, images.attributes).signal
    return measure_session(sample_day(scanner, rng), 0, signal[design.order], rng)[0]
