"""Noise ceiling signal-to-noise ratio (ncsnr) of a lab's voxels: from noise ceilings, or from repeated images.

NSD's definition (Allen et al. 2022, Nature Neuroscience 25, Methods, "Noise ceiling estimation"), on responses that are
standardised within sessions, so that signal and noise variance add up to 1::

    noise variance  = mean over images of the variance (ddof 1) over the trials of an image
    signal variance = max(1 - noise variance, 0)
    ncsnr           = sqrt(signal variance / noise variance)
    noise ceiling   = ncsnr**2 / (ncsnr**2 + 1 / k)        for averages of k trials
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float32 = NDArray[np.float32]
MIN_DEGREES = 30
"""Minimum number of repetitions (trials minus images, of repeated images): a quarter of error in the noise variance."""
MAX_CEILING = 0.9999
"""Largest noise ceiling that is distinguished; at 1 ncsnr is infinite."""
_VOXELS_AT_ONCE = 1024


def ncsnr_from_ceiling(per_cent: ArrayLike, n_trials: int = 1) -> Float32:
    """Return the ncsnr of noise ceilings.

    Parameters
    ----------
    per_cent
        Shape ``(n_voxels,)``: explainable variance of averages of ``n_trials`` trials, in per cent. NaN counts as 0.
    n_trials
        Number of trials that the noise ceiling is about.

    Returns
    -------
    Shape ``(n_voxels,)``.
    """
    ceiling = np.clip(np.nan_to_num(np.asarray(per_cent, dtype=np.float64)) / 100, 0, MAX_CEILING)
    # ceiling = s / (s + 1 / k), solved for s = ncsnr**2: s = ceiling / (k (1 - ceiling))
    return np.sqrt(ceiling / (n_trials * (1 - ceiling))).astype(np.float32)


def ncsnr_from_repeats(betas: Float32, stimulus_id: NDArray[np.int64], session: NDArray[np.int64]) -> Float32 | None:
    """Compute the ncsnr of each voxel from all trials of repeated images.

    Unlike NSD's own values, which use three trials of each image, every image with two trials or more counts, weighted
    by its number of repetitions.

    Parameters
    ----------
    betas
        Shape ``(n_trials, n_voxels)``. They are standardised within sessions here.
    stimulus_id, session
        Shape ``(n_trials,)``.

    Returns
    -------
    Shape ``(n_voxels,)``; None if there are fewer than `MIN_DEGREES` repetitions.
    """
    _, image, count = np.unique(stimulus_id, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(count[image] > 1)
    degrees = int((count[count > 1] - 1).sum())
    if degrees < MIN_DEGREES:
        return None
    rows = repeated[np.argsort(image[repeated], kind="stable")]  # the trials of an image follow each other
    _, starts, row_image = np.unique(image[rows], return_index=True, return_inverse=True)
    found = np.empty(betas.shape[1], dtype=np.float32)
    for first in range(0, betas.shape[1], _VOXELS_AT_ONCE):
        block = slice(first, first + _VOXELS_AT_ONCE)
        scaled = _standardised(betas[:, block].astype(np.float64), session)[rows]
        means = np.add.reduceat(scaled, starts) / count[count > 1][:, None]
        noise = ((scaled - means[row_image]) ** 2).sum(axis=0) / degrees
        signal = np.maximum(1 - noise, 0)
        found[block] = np.sqrt(signal / np.where(noise > 0, noise, 1))
    return found


def _standardised(betas: NDArray[np.float64], session: NDArray[np.int64]) -> NDArray[np.float64]:
    for one in np.unique(session):
        rows = session == one
        centred = betas[rows] - betas[rows].mean(axis=0)
        spread = centred.std(axis=0)
        betas[rows] = centred / np.where(spread > 0, spread, 1)
    return betas
