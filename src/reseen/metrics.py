"""Scores of decoded arrays and of pictures. Arrays in, arrays out; `reseen.statistics` says how sure they are.

Every two-way score comes from one matrix: ``r[i, j]``, the correlation of original ``i`` with reconstruction ``j``.
Wrong pairings, intervals and nulls are read off the same matrix, so no network looks at a picture twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ShapeError
from reseen.statistics import ratio

Direction = Literal["original", "reconstruction"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
Ties = Literal["half", "lose"]
SsimVariant = Literal["plane", "columns"]
Floats = NDArray[np.float64]

TIE = 1e-7
"""Correlations closer than this are a tie: float32 features differ by about as much by rounding."""

SSIM_VARIANTS: dict[SsimVariant, str] = {
    "plane": "scikit-image, grey, gaussian_weights, sigma 1.5, use_sample_covariance=False, data_range 1",
    "columns": "the same of each column by itself, averaged: what scikit-image before 0.20 made of multichannel=True",
}
"""Which of the several numbers called SSIM ``ssim`` gives."""

_WORTH: dict[Ties, float] = {"half": 0.5, "lose": 0.0}
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
    """Correlate each picture with its reconstruction over pixels and colours; ``(n, H, W, 3)`` twice to ``(n,)``."""
    _check_pictures(true, predicted)
    pairs = zip(true, predicted, strict=True)
    return np.array([correlation_matrix(t.reshape(1, -1), p.reshape(1, -1))[0, 0] for t, p in pairs])


def ssim(true: NDArray[Any], predicted: NDArray[Any], *, variant: SsimVariant = "plane") -> Floats:
    """Give the structural similarity of each picture with its reconstruction.

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
        If the stacks differ in shape or the pictures are too small.
    """
    from skimage.color import rgb2gray
    from skimage.metrics import structural_similarity

    _check_pictures(true, predicted)
    if min(true.shape[1:3]) < 11:
        raise ShapeError(f"SSIM needs pictures of at least 11 pixels a side; found {true.shape[1]}x{true.shape[2]}.")
    similarity: Callable[..., float] = structural_similarity  # scikit-image leaves it without types
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    pairs = ((rgb2gray(t), rgb2gray(p)) for t, p in zip(true, predicted, strict=True))
    if variant == "columns":
        return np.array([_ssim_of_columns(t, p) for t, p in pairs])
    return np.array([similarity(t, p, **options) for t, p in pairs])


def _ssim_of_columns(a: Floats, b: Floats) -> float:
    """Give what scikit-image gives for each column of grey pictures ``(H, W)``, averaged, in one go."""
    from scipy.ndimage import gaussian_filter1d

    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b, aa, bb, ab = (gaussian_filter1d(x, 1.5, axis=0, truncate=3.5) for x in (a, b, a * a, b * b, a * b))
    variances, covariance = (aa - mean_a**2) + (bb - mean_b**2), ab - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    found = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))
    return float(found[5:-5].mean())  # half a window is left out at either end


def identification(
    true: NDArray[Any],
    predicted: NDArray[Any],
    *,
    direction: Direction = "original",
    labels: ArrayLike | None = None,
    ties: Ties = "half",
) -> Floats:
    """Score two-way identification of each item from features.

    Parameters
    ----------
    true, predicted
        Shape ``(n, d)``: features of originals and of reconstructions, row by row of the same items.
    direction, labels, ties
        See `identification_from_correlations`.

    Returns
    -------
    Shape ``(n,)``; the score is its mean, chance is one half.
    """
    r = correlation_matrix(true, predicted)
    return identification_from_correlations(r, direction=direction, labels=labels, ties=ties)


def identification_from_correlations(
    r: Floats, *, direction: Direction = "original", labels: ArrayLike | None = None, ties: Ties = "half"
) -> Floats:
    """Score two-way identification of each item from correlations.

    Parameters
    ----------
    r
        Shape ``(n, n)``: original ``i`` (row) with reconstruction ``j`` (column).
    direction
        Which side is held fixed. ``"original"``: the right reconstruction against each other reconstruction (Takagi
        & Nishimoto's ``identification.py``). ``"reconstruction"``: the right original against each other original
        (Brain-Diffuser, MindEye). They differ where some reconstructions resemble everything.
    labels
        Shape ``(n,)``: which stimulus each item is of. Pairs of one stimulus are dropped. Left out: all differ.
    ties
        What a distractor within `TIE` of the right one counts: ``"half"``, so that one answer for everything scores
        one half, or nothing: ``"lose"``, as in the released code of the field.

    Returns
    -------
    Shape ``(n,)``: the share of distractors that lose to the right one; NaN where an item has no distractor.
    """
    wins, valid = pairwise_wins(r, direction=direction, labels=labels, ties=ties)
    n_distractors = valid.sum(axis=1)
    return np.where(n_distractors > 0, (wins * valid).sum(axis=1) / np.maximum(n_distractors, 1), np.nan)


def pairwise_wins(
    r: Floats, *, direction: Direction = "original", labels: ArrayLike | None = None, ties: Ties = "half"
) -> tuple[Floats, NDArray[np.bool_]]:
    """Compare the right match of each fixed item with each distractor; see `identification_from_correlations`.

    Returns
    -------
    ``wins (n, n)``: fixed item, distractor; 1, 0, or what a tie counts. ``valid (n, n)``: whether the pair counts.
    """
    fixed, known = _oriented(r, direction, labels)
    right = np.diagonal(fixed)[:, None]
    return _beats(right, fixed, ties), known[:, None] != known[None, :]


def pairing_accuracy(
    r: Floats,
    *,
    direction: Direction = "original",
    labels: ArrayLike | None = None,
    ties: Ties = "half",
    exchanged: bool = False,
) -> Floats:
    """Score identification for every pairing of an original with a reconstruction, right or wrong.

    The distractors of a pairing are the items of other stimuli than the two paired, so that the right answer is never
    among the wrong ones. The diagonal is `identification_from_correlations`.

    Parameters
    ----------
    r, direction, labels, ties
        See `identification_from_correlations`.
    exchanged
        Leave the right answer among the wrong ones, as it is in data whose truths were exchanged: what a permutation
        test has to score.

    Returns
    -------
    Shape ``(n, n)``: original, reconstruction; NaN where a pairing has no distractor.
    """
    fixed, known = _oriented(r, direction, labels)
    n_items = len(fixed)
    beaten = np.empty_like(fixed)
    for row, values in enumerate(fixed):
        ranked = np.sort(values)
        below = np.searchsorted(ranked, values - TIE, side="left")
        tied = np.searchsorted(ranked, values + TIE, side="right") - below
        beaten[row] = below + _WORTH[ties] * tied
    same = known[:, None] == known[None, :]
    size = same.sum(axis=1)
    kin = np.argsort(~same, axis=1, kind="stable")  # first the items of the same stimulus
    for place in range(size.max(initial=0)):
        there, k = size > place, kin[:, place]
        beaten -= _beats(fixed, fixed[:, k], ties) * there  # of the stimulus that is paired
        if not exchanged:
            right = fixed[np.arange(n_items), k][:, None]
            beaten -= _beats(fixed, right, ties) * (there[:, None] & ~same)
    count = n_items - size - (0 if exchanged else size[:, None] * ~same)
    accuracy = np.where(count > 0, beaten / np.maximum(count, 1), np.nan)
    return accuracy if direction == "original" else accuracy.T


def bootstrap_identification(
    r: Floats,
    weights: Floats,
    *,
    direction: Direction = "original",
    labels: ArrayLike | None = None,
    ties: Ties = "half",
) -> Floats:
    """Score identification for each resampling of the pictures, as rows and as columns together.

    A picture drawn twice is no distractor of itself: pairs of one stimulus are dropped.

    Parameters
    ----------
    r, direction, labels, ties
        See `identification_from_correlations`.
    weights
        Shape ``(n_bootstrap, n)``: see `bootstrap_weights`.

    Returns
    -------
    Shape ``(n_bootstrap,)``.
    """
    wins, valid = pairwise_wins(r, direction=direction, labels=labels, ties=ties)
    accuracy = ratio(weights @ (wins * valid).T, weights @ valid.T.astype(np.float64))
    counted = weights * np.isfinite(accuracy)
    return ratio((counted * np.nan_to_num(accuracy)).sum(axis=1), counted.sum(axis=1))


def target_products(true: NDArray[Any], predicted: NDArray[Any]) -> Floats:
    """Give the matrix whose mean diagonal is the mean correlation of each target across items.

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
    """Give the mean correlation of each target across items for each resampling.

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
    """Give the explainable share of variance of averaged responses.

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


def _beats(candidate: Floats, distractor: Floats, ties: Ties) -> Floats:
    above = (distractor < candidate - TIE).astype(np.float64)
    if _WORTH[ties]:
        above += _WORTH[ties] * ((distractor <= candidate + TIE) - above)
    return above


def _oriented(r: Floats, direction: Direction, labels: ArrayLike | None) -> tuple[Floats, NDArray[Any]]:
    if r.ndim != 2 or r.shape[0] != r.shape[1]:
        raise ShapeError(f"identification needs one reconstruction for each original; found {r.shape}.")
    if direction not in ("original", "reconstruction"):
        raise ShapeError(f"direction is 'original' or 'reconstruction', not {direction!r}.")
    known = np.arange(len(r)) if labels is None else np.asarray(labels)
    if known.shape != (len(r),):
        raise ShapeError(f"{len(r)} items need {len(r)} labels; found shape {known.shape}.")
    return (r if direction == "original" else r.T), known


def _standardise(columns: NDArray[Any]) -> tuple[Floats, NDArray[np.bool_]]:
    centred = columns - columns.mean(axis=0, dtype=np.float64)
    norm = np.sqrt((centred**2).sum(axis=0))
    varies = norm > 1e-7 * np.abs(columns).max(axis=0, initial=0.0) * np.sqrt(len(columns))
    scaled: Floats = centred * np.where(varies, np.sqrt(len(columns)) / np.where(varies, norm, 1.0), 0.0)
    return scaled, varies


def _check_pictures(true: NDArray[Any], predicted: NDArray[Any]) -> None:
    if true.ndim != 4 or true.shape[3] != 3 or true.shape != predicted.shape:
        raise ShapeError(f"pictures must both be (n, H, W, 3); found {true.shape} and {predicted.shape}.")
