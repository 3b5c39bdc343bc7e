"""Fits: rows, folds and targets of a subject, and held-out predictions from one feature space or two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.analyses import model_of
from reseen.errors import DataError, ShapeError
from reseen.kernels import default_alphas, fit_kernels, linear_kernels, principal_kernel, projected_kernels
from reseen.recipe import EncodeRecipe
from reseen.ridge import assign_folds
from reseen.split import Split, test_rows, train_rows
from reseen.trials import Trials

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
    """One fold of the split.

    Parameters
    ----------
    train, test
        Training and test stimuli, as rows of the design's ``stimulus_id``. They overlap where groups of trials are left
        out.
    inner
        Shape ``(n_train,)``: folds of the training stimuli that choose penalties.
    train_rows, test_rows
        Rows of the design's ``responses`` that are trained on and tested.
    """

    train: Integers
    test: Integers
    inner: Integers
    train_rows: Integers
    test_rows: Integers


@dataclass(frozen=True)
class Design:
    """Rows, folds and targets that all models of a subject share.

    Parameters
    ----------
    stimulus_id
        Shape ``(n_stimuli,)``, ascending: training and test stimuli with trials of the subject.
    responses
        Shape ``(n_rows, n_voxels + n_null)``: averaged over the trials of a stimulus, in ascending order of stimuli;
        null targets come last. Where groups of trials are left out, a stimulus has one row for each group.
    folds
        Training and test stimuli, and their rows.
    alphas
        Shape ``(n_alphas,)``: penalties to choose from.
    n_voxels
        Number of responses that are voxels. The others are null targets (`null_targets`); one test set has none.
    row_id, n_repetitions
        Shape ``(n_rows,)``: stimulus of each row of ``responses``, and the number of trials that it averages.
    """

    stimulus_id: Integers
    responses: Float32
    folds: tuple[Fold, ...]
    alphas: Float64
    n_voxels: int
    row_id: Integers
    n_repetitions: Integers

    @property
    def tested(self) -> Integers:
        """Test rows of all folds, ascending."""
        return np.sort(np.concatenate([fold.test_rows for fold in self.folds]))

    def trained(self, fold: Fold) -> Float32:
        """Return responses to a fold's training stimuli, averaged over training trials, ``(n_train, n_targets)``."""
        rows = fold.train_rows
        if len(rows) == len(fold.train):
            return self.responses[rows]
        _, stimulus = np.unique(self.row_id[rows], return_inverse=True)
        weights = self.n_repetitions[rows] / np.bincount(stimulus, self.n_repetitions[rows])[stimulus]
        averaged = np.zeros((len(fold.train), self.responses.shape[1]), dtype=np.float32)
        np.add.at(averaged, stimulus, self.responses[rows] * weights[:, None].astype(np.float32))
        return averaged

    def deviations(self) -> Float32:
        """Return the responses to the tested stimuli less the training mean of their fold, ``(n_test, n_targets)``."""
        tested = self.tested
        found = np.empty((len(tested), self.responses.shape[1]), dtype=np.float32)
        for fold in self.folds:
            mean = self.trained(fold).mean(axis=0, dtype=np.float64).astype(np.float32)
            found[np.searchsorted(tested, fold.test_rows)] = self.responses[fold.test_rows] - mean
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


def make_design(trials: Trials, split: Split, recipe: EncodeRecipe, seed: int) -> Design:
    """Average the responses and arrange the rows, folds and targets of all fits.

    Raises
    ------
    ShapeError
        If a fold has no training or test stimuli with trials of the subject, or there are too few stimuli.
    DataError
        If a response is not finite.
    """
    rows, group = _average(trials, split)
    if not np.isfinite(rows.betas).all():
        raise DataError(f"responses of {trials.subject} contain NaN or infinity. Remove these voxels, or fill them.")
    responses, n_voxels = rows.betas, rows.betas.shape[1]
    if len(split.folds) > 1:
        responses = np.hstack([responses, null_targets(responses, recipe, seed)])
    ids = np.unique(rows.stimulus_id)
    folds = []
    for number in range(len(split.folds)):
        train, test = (chosen(split.folds, group, number, rows.stimulus_id) for chosen in (train_rows, test_rows))
        if not len(train) or not len(test):
            raise ShapeError(f"{trials.subject} saw none of the training or none of the test stimuli of a fold.")
        stimuli = np.unique(np.searchsorted(ids, rows.stimulus_id[train]))
        inner = assign_folds(stimuli, len(stimuli), recipe.n_folds, seed)
        folds.append(Fold(stimuli, np.searchsorted(ids, rows.stimulus_id[test]), inner, train, test))
    alphas = default_alphas(max(len(fold.train) for fold in folds))
    return Design(ids, responses, tuple(folds), alphas, n_voxels, rows.stimulus_id, rows.n_repetitions)


def _average(trials: Trials, split: Split) -> tuple[Trials, Integers | None]:
    """Average the trials of each stimulus, within each group where groups are left out.

    Returns
    -------
    The averages, sorted by stimulus, and the group of each if groups are left out.
    """
    if split.group is None:
        return trials.select(split.used).average(), None
    n_groups = len(split.folds) + 1  # trials without a group of their own have number -1
    each = replace(trials, stimulus_id=trials.stimulus_id * n_groups + split.group + 1).average()
    averaged = replace(each, stimulus_id=each.stimulus_id // n_groups)
    return averaged, each.stimulus_id % n_groups - 1


def null_targets(responses: Float32, recipe: EncodeRecipe, seed: int) -> Float32:
    """Draw targets that no feature predicts, which are fitted in the same folds as the voxels.

    The distribution of r under the null has no closed form with folds: each stimulus is a training stimulus of the
    other folds, so the scores of two folds depend on each other. The variance of r is up to twice ``1 / n``. Null
    targets respond to each row anew: a voxel that responds to an image in the same way in several groups of trials is
    not null, whatever the features are.

    Returns
    -------
    Shape ``(n_rows, n_null)``: independent Gaussian numbers, or, where permutations are the null, the responses of
    voxels drawn at random, each with its rows permuted.
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
            design.trained(fold),
            train=fold.train,
            test=fold.test,
            fold=fold.inner,
            alphas=design.alphas,
            alone=None if alone is None else alone[k],
        )
        rows = np.searchsorted(tested, fold.test_rows)
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
