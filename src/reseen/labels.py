"""Check whether stimulus ids match the responses, if images repeat.

If there is any signal, responses to the same image are more similar than responses to different images. This does not
hold if ids do not match the betas: shifted by a trial, sessions swapped, or renumbered in each session.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_TRIALS = 1500
"""Maximum number of trials that are compared: trials of repeated images, spread over the experiment."""
N_VOXELS = 2000
"""Maximum number of voxels that are compared."""
N_PERMUTATIONS = 200
MIN_PAIRS = 50
"""Minimum number of pairs of the same image."""
THRESHOLD = 3.0
"""Minimum statistic of matching ids, in permutation standard deviations; unrelated ids reach it once in 740 times."""

Floats = NDArray[np.float64]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class LabelCheck:
    """Similarity of trials of the same image, in standard deviations of permuted ids; NaN if there are too few pairs.

    Parameters
    ----------
    value
        Statistic of all pairs of trials.
    within, across
        Statistic of pairs within a session, and of pairs across sessions.
    n_pairs
        Number of pairs of the same image.
    """

    value: float
    within: float
    across: float
    n_pairs: int

    @property
    def comparison(self) -> str:
        """Similarity of trials of the same image, as a sentence without full stop."""
        if np.isnan(self.value):
            return "images repeat too seldom to compare responses to the same image"
        how = "more" if self.value >= 0 else "less"
        return (
            f"{self.n_pairs:,} pairs of trials of the same image are {how} alike than those of permuted ids, by "
            f"{abs(self.value):.1f} standard deviations ({THRESHOLD:.0f} or more above them is expected)"
        )

    @property
    def problem(self) -> str | None:
        """Probable error in the ids, in one or two sentences, or None."""
        if np.isnan(self.value):
            return None
        if self.across < THRESHOLD <= self.within:
            return (
                f"trials of the same stimulus_id are alike within a session ({self.within:.1f} permutation standard "
                f"deviations) and not across sessions ({self.across:z.1f}; {THRESHOLD:.0f} or more is expected). The "
                "ids may be numbered anew in each session, or sessions may be in another order than the betas."
            )
        if self.value < THRESHOLD:
            how = "hardly more" if self.value >= 0 else "less"
            return (
                f"trials of the same stimulus_id are {how} alike than others ({self.value:z.1f} permutation "
                f"standard deviations; {THRESHOLD:.0f} or more is expected). The ids may be out of step with the "
                "betas: check their order, the order of sessions, and whether they count from 0."
            )
        return None


def check_labels(
    betas: NDArray[np.float32], stimulus_id: NDArray[np.int64], session: NDArray[np.int64], *, seed: int = 0
) -> LabelCheck:
    """Compare trials of the same image with trials of other images.

    The statistic is the mean correlation of voxel patterns over pairs of trials of the same image. Its null
    distribution has ids permuted within each session, so that differences between sessions affect both.

    Parameters
    ----------
    betas
        Shape ``(n_trials, n_voxels)``.
    stimulus_id, session
        Shape ``(n_trials,)``.
    seed
        Seed of the permutations, and of the choice of voxels if there are more than `N_VOXELS`.

    Returns
    -------
    LabelCheck
        All NaN if there are fewer than `MIN_PAIRS` pairs.
    """
    rng = np.random.default_rng(seed)
    rows = _repeated(stimulus_id)
    ids, sessions = stimulus_id[rows], session[rows]
    first, second = _pairs(ids)
    if len(first) < MIN_PAIRS:
        return LabelCheck(np.nan, np.nan, np.nan, len(first))
    n_voxels = betas.shape[1]
    voxels = np.sort(rng.choice(n_voxels, N_VOXELS, replace=False)) if n_voxels > N_VOXELS else slice(None)
    likeness = _pattern_correlations(betas[rows][:, voxels], sessions)
    same_session = sessions[first] == sessions[second]
    found = _means(likeness, first, second, same_session)
    null = np.empty((N_PERMUTATIONS, 3))
    for number in range(N_PERMUTATIONS):
        moved = _permuted_within(sessions, rng)
        null[number] = _means(likeness, moved[first], moved[second], same_session)
    # a permutation within sessions keeps a pair within its session, or across the same two
    with np.errstate(invalid="ignore", divide="ignore"):
        value, within, across = (found - null.mean(axis=0)) / null.std(axis=0, ddof=1)
    return LabelCheck(float(value), float(within), float(across), len(first))


def _repeated(stimulus_id: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose the trials of repeated images; if there are too many, choose images that are spread evenly."""
    ids, count = np.unique(stimulus_id, return_counts=True)
    ids, count = ids[count > 1], count[count > 1]
    if count.sum() > N_TRIALS:
        n_images = max(int(N_TRIALS / count.mean()), 1)
        ids = ids[np.linspace(0, len(ids) - 1, n_images).astype(int)]
    return np.flatnonzero(np.isin(stimulus_id, ids))


def _pairs(ids: NDArray[np.int64]) -> Pairs:
    first, second = np.nonzero(np.triu(ids[:, None] == ids[None, :], k=1))
    return first, second


def _pattern_correlations(betas: NDArray[np.float32], session: NDArray[np.int64]) -> Floats:
    """Return the correlation of the patterns of all pairs of trials, after subtracting each session's mean pattern."""
    patterns = betas.astype(np.float64)  # (n_trials, n_voxels)
    for number in np.unique(session):
        patterns[session == number] -= patterns[session == number].mean(axis=0)
    patterns -= patterns.mean(axis=1, keepdims=True)
    length = np.sqrt((patterns**2).sum(axis=1, keepdims=True))
    patterns /= np.where(length > 0, length, 1.0)
    likeness: Floats = patterns @ patterns.T
    return likeness


def _permuted_within(session: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return row numbers, permuted within each session."""
    moved = np.arange(len(session))
    for number in np.unique(session):
        rows = np.flatnonzero(session == number)
        moved[rows] = rng.permutation(rows)
    return moved


def _means(
    likeness: Floats, first: NDArray[np.int64], second: NDArray[np.int64], same_session: NDArray[np.bool_]
) -> Floats:
    """Return the mean over all pairs, within a session and across sessions; NaN for fewer than `MIN_PAIRS`."""
    values = likeness[first, second]
    parts = (values, values[same_session], values[~same_session])
    return np.array([part.mean() if len(part) >= MIN_PAIRS else np.nan for part in parts])
