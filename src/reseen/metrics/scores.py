"""Correlations and scores of images and of decoded targets. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ShapeError

SsimVariant = Literal["plane", "columns"]
Floats = NDArray[np.float64]

SSIM_VARIANTS: dict[SsimVariant, str] = {
    "plane": "scikit-image, grey, gaussian_weights, sigma 1.5, use_sample_covariance=False, data_range 1",
    "columns": "the same of each column by itself, averaged: what scikit-image before 0.20 made of multichannel=True",
}
"""Which of the several numbers called SSIM ``ssim`` gives."""

_CHUNK = 1 << 14


def correlation_matrix(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """Correlate every row of ``a`` with every row of ``b``, in float64, a slab of columns at a time.

    Parameters
    ----------
    a, b
        Shapes ``(n, d)`` and ``(m, d)``, any numeric type.

    Returns
    -------
    Shape ``(n, m)``, Pearson's r. A row without variance correlates 0 with everything.

    Raises
    ------
    ShapeError
        If the rows differ in length or hold numbers that are not finite.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ShapeError(f"correlating rows needs (n, d) and (m, d); found {a.shape} and {b.shape}.")
    means = [rows.mean(axis=1, dtype=np.float64, keepdims=True) for rows in (a, b)]
    if not all(np.isfinite(mean).all() for mean in means):
        raise ShapeError("cannot correlate rows that hold NaN or infinity; look for what made them so.")
    product = np.zeros((len(a), len(b)))
    squares = [np.zeros(len(a)), np.zeros(len(b))]
    largest = [np.zeros(len(a)), np.zeros(len(b))]
    for start in range(0, a.shape[1], _CHUNK):
        centred = [rows[:, start : start + _CHUNK] - mean for rows, mean in zip((a, b), means, strict=True)]
        product += centred[0] @ centred[1].T
        for k, part in enumerate(centred):
            squares[k] += np.einsum("ij,ij->i", part, part)
            largest[k] = np.maximum(largest[k], np.abs(part + means[k]).max(axis=1))
    norms = []
    for square, size in zip(squares, largest, strict=True):
        norm = np.sqrt(square)
        constant = norm <= 1e-10 * size * np.sqrt(a.shape[1])
        norms.append(np.where(constant, np.inf, norm))
    r: Floats = np.clip(product / norms[0][:, None] / norms[1], -1.0, 1.0)
    return r


def pixcorr(true: NDArray[Any], predicted: NDArray[Any]) -> Floats:
    """Correlate each image with its reconstruction over pixels and colours; ``(n, H, W, 3)`` twice to ``(n,)``."""
    _check_images(true, predicted)
    pairs = zip(true, predicted, strict=True)
    return np.array([correlation_matrix(t.reshape(1, -1), p.reshape(1, -1))[0, 0] for t, p in pairs])


def ssim(true: NDArray[Any], predicted: NDArray[Any], *, variant: SsimVariant = "plane") -> Floats:
    """Return the structural similarity of each image with its reconstruction.

    Parameters
    ----------
    true, predicted
        Shape ``(n, H, W, 3)``, uint8 or floats in 0...1, at least 11 pixels a side.
    variant
        Which of `SSIM_VARIANTS`.

    Returns
    -------
    Shape ``(n,)``.

    Raises
    ------
    ShapeError
        If the stacks differ in shape or the images are too small.
    """
    from skimage.color import rgb2gray
    from skimage.metrics import structural_similarity

    _check_images(true, predicted)
    if min(true.shape[1:3]) < 11:
        raise ShapeError(f"SSIM needs images of at least 11 pixels a side; found {true.shape[1]}x{true.shape[2]}.")
    similarity: Callable[..., float] = structural_similarity  # scikit-image leaves it without types
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    pairs = ((rgb2gray(t), rgb2gray(p)) for t, p in zip(true, predicted, strict=True))
    if variant == "columns":
        return np.array([_ssim_of_columns(t, p) for t, p in pairs])
    return np.array([similarity(t, p, **options) for t, p in pairs])


def _ssim_of_columns(a: Floats, b: Floats) -> float:
    """Return what scikit-image gives for each column of grey images ``(H, W)``, averaged, in one go."""
    from scipy.ndimage import gaussian_filter1d

    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b, aa, bb, ab = (gaussian_filter1d(x, 1.5, axis=0, truncate=3.5) for x in (a, b, a * a, b * b, a * b))
    variances, covariance = (aa - mean_a**2) + (bb - mean_b**2), ab - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    found = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))
    return float(found[5:-5].mean())  # half a window is left out at either end


def target_products(true: NDArray[Any], predicted: NDArray[Any]) -> Floats:
    """Return the matrix whose mean diagonal is the mean correlation of each target across items.

    With both sides standardised over items, the correlation of a target is a mean over items of products; averaging
    over targets first leaves a matrix of items against items, from which wrong pairings are read as from any other.

    Parameters
    ----------
    true, predicted
        Shape ``(n, n_targets)``.

    Returns
    -------
    Shape ``(n, n)``. Targets that do not vary in truth are left out; predictions that do not vary correlate 0.

    Raises
    ------
    ShapeError
        If the shapes differ.
    """
    if true.ndim != 2 or true.shape != predicted.shape:
        raise ShapeError(f"truth and prediction must have one shape (n, n_targets): {true.shape}, {predicted.shape}.")
    products = np.zeros((len(true), len(true)))
    n_targets = 0
    for start in range(0, true.shape[1], _CHUNK):
        standard, varies = _standardise(true[:, start : start + _CHUNK])
        guess, _ = _standardise(predicted[:, start : start + _CHUNK])
        products += standard @ guess.T
        n_targets += int(varies.sum())
    return products / n_targets if n_targets else np.full_like(products, np.nan)


def bootstrap_target_r(true: NDArray[Any], predicted: NDArray[Any], weights: Floats) -> Floats:
    """Return the mean correlation of each target across items for each resampling.

    Parameters
    ----------
    true, predicted
        Shape ``(n, n_targets)``.
    weights
        Shape ``(n_bootstrap, n)``: see `bootstrap_weights`.

    Returns
    -------
    Shape ``(n_bootstrap,)``.
    """
    share = weights / weights.sum(axis=1, keepdims=True)
    total, n_targets = np.zeros(len(weights)), 0
    for start in range(0, true.shape[1], 1024):
        y, varies = _standardise(true[:, start : start + 1024])
        y = y[:, varies]
        x, _ = _standardise(predicted[:, start : start + 1024][:, varies])
        mean_y, mean_x = share @ y, share @ x
        covariance = share @ (y * x) - mean_y * mean_x
        variances = (share @ (y * y) - mean_y**2) * (share @ (x * x) - mean_x**2)
        defined = variances > 1e-20
        total += np.where(defined, covariance / np.sqrt(np.where(defined, variances, 1.0)), 0.0).sum(axis=1)
        n_targets += int(varies.sum())
    return total / n_targets if n_targets else np.full(len(weights), np.nan)


def noise_ceiling(ncsnr: ArrayLike, n_repetitions: ArrayLike) -> Floats:
    """Return the explainable proportion of variance of averaged responses.

    Parameters
    ----------
    ncsnr
        Shape ``(n_voxels,)``: noise-ceiling signal-to-noise ratio.
    n_repetitions
        Shape ``(n_stimuli,)``, or one number: how many trials each response averages; they may differ.

    Returns
    -------
    Shape ``(n_voxels,)``, in 0...1: ``ncsnr² / (ncsnr² + mean(1 / n_repetitions))``, NSD's formula for mixed
    repetitions. A correlation's ceiling is its square root.

    Raises
    ------
    ShapeError
        If a response averages no trial.
    """
    repetitions = np.atleast_1d(np.asarray(n_repetitions, dtype=np.float64))
    if not len(repetitions) or repetitions.min() < 1:
        raise ShapeError("a noise ceiling needs at least one repetition of each stimulus.")
    signal = np.asarray(ncsnr, dtype=np.float64) ** 2
    ceiling: Floats = signal / (signal + np.mean(1 / repetitions))
    return ceiling


def _standardise(columns: NDArray[Any]) -> tuple[Floats, NDArray[np.bool_]]:
    centred = columns - columns.mean(axis=0, dtype=np.float64)
    norm = np.sqrt((centred**2).sum(axis=0))
    varies = norm > 1e-7 * np.abs(columns).max(axis=0, initial=0.0) * np.sqrt(len(columns))
    scaled: Floats = centred * np.where(varies, np.sqrt(len(columns)) / np.where(varies, norm, 1.0), 0.0)
    return scaled, varies


def _check_images(true: NDArray[Any], predicted: NDArray[Any]) -> None:
    if true.ndim != 4 or true.shape[3] != 3 or true.shape != predicted.shape:
        raise ShapeError(f"images must both be (n, H, W, 3); found {true.shape} and {predicted.shape}.")
