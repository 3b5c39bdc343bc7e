"""Fits: rows, folds and targets of a subject, and held-out predictions from one feature space or two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.analyses import model_of
from reseen.errors import DataError, ShapeError
from reseen.kernels import default_alphas, fit_kernels, linear_kernels, principal_kernel, projected_kernels
from reseen.recipe import EncodeRecipe
from reseen.ridge import assign_folds
from reseen.trials import Split, Trials

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]

BLOCK_VALUES = 1 << 24
"""Values of a feature space in memory at a time, 64 MiB."""
N_NULL = 1000
"""Number of Gaussian null targets that are fitted together with the voxels if there are folds."""


class Columns(Protocol):
    """Protocol of a feature space that is read a few columns at a time: `Features`, or `FeatureBlocks` on disk."""

    @property
    def name(self) -> str:
        """Name of the feature."""
        ...

    def columns(self, stimulus_id: ArrayLike, width: int) -> Iterator[Float32]:
        """Yield the rows of these stimuli in blocks of columns ``(n_stimuli, <=width)``."""
        ...


@dataclass(frozen=True)
class Fold:
    """Rows of one fold of the split, and the folds within its training rows that choose penalties."""

    train: Integers
    test: Integers
    inner: Integers


@dataclass(frozen=True)
class Design:
    """Rows, folds and targets that all models of a subject share.

    Parameters
    ----------
    stimulus_id
        Shape ``(n_stimuli,)``, ascending: training and test stimuli with trials of the subject.
    responses
        Shape ``(n_stimuli, n_voxels + n_null)``: averaged over repetitions; the null targets come last.
    folds
        Rows of training and test stimuli.
    alphas
        Shape ``(n_alphas,)``: penalties to choose from.
    n_voxels
        Number of responses that are voxels. The others are null targets (`null_targets`); one test set has none.
    """

    stimulus_id: Integers
    responses: Float32
    folds: tuple[Fold, ...]
    alphas: Float64
    n_voxels: int

    @property
    def tested(self) -> Integers:
        """Test rows of all folds, ascending."""
        return np.sort(np.concatenate([fold.test for fold in self.folds]))

    def deviations(self) -> Float32:
        """Return the responses to the tested stimuli less the training mean of their fold, ``(n_test, n_targets)``."""
        tested = self.tested
        found = np.empty((len(tested), self.responses.shape[1]), dtype=np.float32)
        for fold in self.folds:
            mean = self.responses[fold.train].mean(axis=0, dtype=np.float64).astype(np.float32)
            found[np.searchsorted(tested, fold.test)] = self.responses[fold.test] - mean
        return found


@dataclass(frozen=True)
class Space:
    """Kernel of a feature space in each fold, and the errors of the model fitted on it alone."""

    name: str
    kernels: tuple[Float64, ...]
    errors: tuple[Float64, ...]


@dataclass(frozen=True)
class Prediction:
    """Predicted responses to the test stimuli, in ascending order of their ids, less the training mean of their fold.

    Parameters
    ----------
    spaces
        The feature spaces that were fitted together.
    parts
        Shape ``(n_spaces, n_test, n_targets)``: contribution of each space; their sum is the prediction.
    scaled
        Shape ``(n_spaces, n_test, n_targets)``: the parts on the scale on which r is computed (`reseen.responses`).
        With folds divided by the root mean square of the fold's predictions; with one test set the parts themselves.
    gain
        Shape ``(n_targets,)``: variance of scaled predictions due to noise of variance 1 in training responses.
    alpha
        Shape ``(n_targets,)``: penalty, the geometric mean over folds.
    lost
        Proportion lost by reducing the features: of their variance (pca) or of their kernel (projection), 0...1; NaN
        without reduction.
    """

    spaces: tuple[str, ...]
    parts: Float32
    scaled: Float32
    gain: Float64
    alpha: Float32
    lost: float = float("nan")

    @property
    def model(self) -> str:
        """Name of the model."""
        return model_of(self.spaces)


def lay_out(trials: Trials, split: Split, recipe: EncodeRecipe, seed: int) -> Design:
    """Average the responses and lay out rows and folds.

    Raises
    ------
    ShapeError
        If a fold has no training or test stimuli with trials of the subject, or there are too few stimuli.
    DataError
        If a response is not finite.
    """
    wanted = split.used
    seen = trials.select(wanted).average()
    if not np.isfinite(seen.betas).all():
        raise DataError(f"responses of {trials.subject} contain NaN or infinity. Remove these voxels, or fill them.")
    folds = []
    for train_ids, test_ids in split.folds:
        train, test = (np.flatnonzero(np.isin(seen.stimulus_id, ids)) for ids in (train_ids, test_ids))
        if not len(train) or not len(test):
            raise ShapeError(f"{trials.subject} saw none of the training or none of the test stimuli of a fold.")
        folds.append(Fold(train, test, assign_folds(train, len(train), recipe.n_folds, seed)))
    alphas = default_alphas(max(len(fold.train) for fold in folds))
    n_voxels = seen.betas.shape[1]
    responses = seen.betas
    if len(folds) > 1:
        responses = np.hstack([responses, null_targets(responses, recipe, seed)])
    return Design(seen.stimulus_id, responses, tuple(folds), alphas, n_voxels)


def null_targets(responses: Float32, recipe: EncodeRecipe, seed: int) -> Float32:
    """Draw targets that no feature predicts, which are fitted in the same folds as the voxels.

    The distribution of r under the null has no closed form with folds: each stimulus is a training stimulus of the
    other folds, so the scores of two folds depend on each other. The variance of r is up to twice ``1 / n``.

    Returns
    -------
    Shape ``(n_stimuli, n_null)``: independent Gaussian numbers, or, where permutations are the null, the responses of
    voxels drawn at random, each with its stimuli permuted.
    """
    rng = np.random.default_rng([seed, 6])
    if recipe.null == "parametric":
        return rng.standard_normal((len(responses), N_NULL), dtype=np.float32)
    varying = np.flatnonzero(np.ptp(responses, axis=0) > 0)
    if not len(varying):
        return np.empty((len(responses), 0), dtype=np.float32)
    drawn: Float32 = rng.permuted(responses[:, rng.choice(varying, recipe.n_permutations)], axis=0)
    return drawn


def fit_alone(design: Design, feature: Columns, recipe: EncodeRecipe, seed: int) -> tuple[Space, Prediction]:
    """Fit every voxel from one feature space."""
    kernels, lost = _kernels(design, feature, recipe, seed)
    prediction, errors = _fit(design, (feature.name,), [(kernel,) for kernel in kernels], lost=lost)
    return Space(feature.name, tuple(kernels), errors), prediction


def fit_together(design: Design, first: Space, second: Space) -> Prediction:
    """Fit every voxel from two feature spaces, each with its own penalty."""
    pairs = list(zip(first.kernels, second.kernels, strict=True))
    alone = list(zip(first.errors, second.errors, strict=True))
    return _fit(design, (first.name, second.name), pairs, alone)[0]


def _fit(
    design: Design,
    spaces: tuple[str, ...],
    kernels: Sequence[tuple[Float64, ...]],
    alone: Sequence[tuple[Float64, Float64]] | None = None,
    lost: float = float("nan"),
) -> tuple[Prediction, tuple[Float64, ...]]:
    tested = design.tested
    parts = np.empty((len(spaces), len(tested), design.responses.shape[1]), dtype=np.float32)
    scaled = parts if len(design.folds) == 1 else np.empty_like(parts)
    gain = np.zeros(parts.shape[2])
    logarithms, errors = [], []
    for k, fold in enumerate(design.folds):
        fitted = fit_kernels(
            kernels[k],
            design.responses[fold.train],
            train=fold.train,
            test=fold.test,
            fold=fold.inner,
            alphas=design.alphas,
            alone=None if alone is None else alone[k],
        )
        rows = np.searchsorted(tested, fold.test)
        scale = np.where(fitted.scale > 0, fitted.scale, 1.0)
        parts[:, rows] = fitted.parts
        if scaled is not parts:
            scaled[:, rows] = fitted.parts / scale.astype(np.float32)
        gain += len(rows) / len(tested) * fitted.gain / scale**2
        logarithms.append(np.log(fitted.alpha))
        errors.append(fitted.errors)
    alpha = np.exp(np.mean(logarithms, axis=0)).astype(np.float32)
    return Prediction(spaces, parts, scaled, gain, alpha, lost), tuple(errors)


def _kernels(design: Design, feature: Columns, recipe: EncodeRecipe, seed: int) -> tuple[list[Float64], float]:
    """Return a space's kernel for each fold, from one pass over its columns, and the proportion lost by reduction."""
    ids, trains = design.stimulus_id, [fold.train for fold in design.folds]
    columns = feature.columns(ids, max(1, BLOCK_VALUES // len(ids)))
    if recipe.reduce == "projection":
        return projected_kernels(columns, trains, recipe.n_components, seed=seed)
    kernels = linear_kernels(columns, trains)
    if recipe.reduce == "none":
        return kernels, float("nan")
    reduced = [
        principal_kernel(kernel, train, recipe.n_components) for kernel, train in zip(kernels, trains, strict=True)
    ]
    return [kernel for kernel, _ in reduced], max(lost for _, lost in reduced)
