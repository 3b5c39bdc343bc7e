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
    "columns": "the same for each column separately, averaged: scikit-image before 0.20 with multichannel=True",
}
"""Variants of SSIM that `ssim` computes."""

_CHUNK = 1 << 14


def correlation_matrix(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """Correlate every row of ``a`` with every row of ``b``, in float64, a block of columns at a time.

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
        If the rows differ in length or have numbers that are not finite.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        message = f"correlating rows needs (n, d) and (m, d); found {a.shape} and {b.shape}."
        raise ShapeError(message, where="b", expected=("m", *a.shape[1:]), found=b.shape)
    means = [rows.mean(axis=1, dtype=np.float64, keepdims=True) for rows in (a, b)]
    if not all(np.isfinite(mean).all() for mean in means):
        raise ShapeError("cannot correlate rows that contain NaN or infinity. Check the features or activations.")
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
    # a row whose deviations are rounding errors is constant: its norm is set to infinity, and its r to 0
    for square, size in zip(squares, largest, strict=True):
        norm = np.sqrt(square)
        constant = norm <= 1e-10 * size * np.sqrt(a.shape[1])
        norms.append(np.where(constant, np.inf, norm))
    r: Floats = np.clip(product / norms[0][:, None] / norms[1], -1.0, 1.0)
    return r


def pixcorr(true: NDArray[Any], predicted: NDArray[Any]) -> Floats:
    """Correlate each image with its reconstruction over pixels and colours; ``(n, H, W, 3)`` both, returns ``(n,)``."""
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
        A key of `SSIM_VARIANTS`.

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
        message = f"SSIM needs images of at least 11 pixels a side; found {true.shape[1]}x{true.shape[2]}."
        raise ShapeError(message, where="true", expected=11, found=true.shape[1:3])
    similarity: Callable[..., float] = structural_similarity  # scikit-image has no types for it
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    pairs = ((rgb2gray(t), rgb2gray(p)) for t, p in zip(true, predicted, strict=True))
    if variant == "columns":
        return np.array([_ssim_of_columns(t, p) for t, p in pairs])
    return np.array([similarity(t, p, **options) for t, p in pairs])


def _ssim_of_columns(a: Floats, b: Floats) -> float:
    """Return the SSIM of scikit-image for each column of grey images ``(H, W)``, averaged, computed together."""
    from scipy.ndimage import gaussian_filter1d

    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b, aa, bb, ab = (gaussian_filter1d(x, 1.5, axis=0, truncate=3.5) for x in (a, b, a * a, b * b, a * b))
    # Wang et al. 2004, equation 13, with K1 = 0.01, K2 = 0.03 and a dynamic range of 1
    variances, covariance = (aa - mean_a**2) + (bb - mean_b**2), ab - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    found = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))
    return float(found[5:-5].mean())  # without half a window at each end


def target_products(true: NDArray[Any], predicted: NDArray[Any]) -> Floats:
    """Return the matrix whose mean diagonal is the mean correlation of each target across items.

    With both sides standardised over items, the correlation of a target is the mean of products over items. The mean
    over targets is therefore a matrix of items by items, and mismatched pairings are its other elements.

    Parameters
    ----------
    true, predicted
        Shape ``(n, n_targets)``.

    Returns
    -------
    Shape ``(n, n)``. Targets whose true values do not vary are left out; predictions that do not vary correlate 0.

    Raises
    ------
    ShapeError
        If the shapes differ.
    """
    if true.ndim != 2 or true.shape != predicted.shape:
        message = f"ground truth and prediction must have one shape (n, n_targets): {true.shape}, {predicted.shape}."
        raise ShapeError(message, where="predicted", expected=true.shape, found=predicted.shape)
    products = np.zeros((len(true), len(true)))
    n_targets = 0
    for start in range(0, true.shape[1], _CHUNK):
        standard, varies = _standardise(true[:, start : start + _CHUNK])
        standard_predicted, _ = _standardise(predicted[:, start : start + _CHUNK])
        products += standard @ standard_predicted.T
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
    Shape ``(n_bootstrap,)``. A resampling repeats stimuli, so its correlations are lower than those of all stimuli: see
    `reseen.statistics.interval_around`.
    """
    weight = weights / weights.sum(axis=1, keepdims=True)  # (n_bootstrap, n)
    total, n_targets = np.zeros(len(weights)), 0
    for start in range(0, true.shape[1], 1024):
        y, varies = _standardise(true[:, start : start + 1024])
        y = y[:, varies]
        x, _ = _standardise(predicted[:, start : start + 1024][:, varies])
        mean_y, mean_x = weight @ y, weight @ x  # (n_bootstrap, n_targets)
        covariance = weight @ (y * x) - mean_y * mean_x
        variances = (weight @ (y * y) - mean_y**2) * (weight @ (x * x) - mean_x**2)
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
        Shape ``(n_stimuli,)``, or one number: number of trials that each response averages.

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
        raise ShapeError(
            "a noise ceiling needs at least one repetition of each stimulus.", where="n_repetitions", expected=1
        )
    signal = np.asarray(ncsnr, dtype=np.float64) ** 2
    ceiling: Floats = signal / (signal + np.mean(1 / repetitions))
    return ceiling


def _standardise(columns: NDArray[Any]) -> tuple[Floats, NDArray[np.bool_]]:
    """Return columns with mean 0 and variance 1, or 0 where they do not vary, and whether each column varies."""
    centred = columns - columns.mean(axis=0, dtype=np.float64)
    norm = np.sqrt((centred**2).sum(axis=0))
    varies = norm > 1e-7 * np.abs(columns).max(axis=0, initial=0.0) * np.sqrt(len(columns))
    scaled: Floats = centred * np.where(varies, np.sqrt(len(columns)) / np.where(varies, norm, 1.0), 0.0)
    return scaled, varies


def _check_images(true: NDArray[Any], predicted: NDArray[Any]) -> None:
    if true.ndim != 4 or true.shape[3] != 3 or true.shape != predicted.shape:
        message = f"images must both be (n, H, W, 3); found {true.shape} and {predicted.shape}."
        raise ShapeError(message, where="predicted", expected=true.shape, found=predicted.shape)
