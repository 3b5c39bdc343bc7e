"""Fits: what all models of a subject share, and held-out predictions from one feature space or two."""

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
"""Numbers of a feature space in memory at a time, 64 MiB."""


class Columns(Protocol):
    """Be a feature space that is read a few columns at a time: `Features`, or `FeatureBlocks` on disk."""

    @property
    def name(self) -> str:
        """Give what the features are."""
        ...

    def columns(self, stimulus_id: ArrayLike, width: int) -> Iterator[Float32]:
        """Give the rows of these stimuli in blocks ``(n_stimuli, <=width)``, one after the other."""
        ...


@dataclass(frozen=True)
class Fold:
    """Hold the rows of one fold of the split, and the folds within its training rows that choose penalties."""

    train: Integers
    test: Integers
    inner: Integers


@dataclass(frozen=True)
class Design:
    """Hold what all models of a subject share.

    Parameters
    ----------
    stimulus_id
        Shape ``(n_stimuli,)``, ascending: training and test stimuli that the subject saw.
    responses
        Shape ``(n_stimuli, n_voxels)``: averaged over repetitions.
    folds
        Rows of the stimuli to train on and to test.
    alphas
        Shape ``(n_alphas,)``: penalties to choose from.
    """

    stimulus_id: Integers
    responses: Float32
    folds: tuple[Fold, ...]
    alphas: Float64

    @property
    def tested(self) -> Integers:
        """Give the rows that some fold tests, ascending."""
        return np.sort(np.concatenate([fold.test for fold in self.folds]))


@dataclass(frozen=True)
class Space:
    """Hold what is kept of a feature space: for each fold its kernel and the errors of the model fitted on it alone."""

    name: str
    kernels: tuple[Float64, ...]
    errors: tuple[Float64, ...]


@dataclass(frozen=True)
class Prediction:
    """Hold the predicted responses to the test stimuli, in ascending order of their ids.

    Parameters
    ----------
    spaces
        The feature spaces that were fitted together.
    parts
        Shape ``(n_spaces, n_test, n_voxels)``: what each says; their sum is the prediction.
    alpha
        Shape ``(n_voxels,)``: penalty, the geometric mean over folds.
    lost
        What the reduction of the features lost: of their variance (pca) or of their kernel (projection), 0...1; NaN
        where nothing was reduced.
    """

    spaces: tuple[str, ...]
    parts: Float32
    alpha: Float32
    lost: float = float("nan")

    @property
    def model(self) -> str:
        """Give the name of the model."""
        return model_of(self.spaces)


def lay_out(trials: Trials, split: Split, recipe: EncodeRecipe, seed: int) -> Design:
    """Average the responses and lay out rows and folds.

    Raises
    ------
    ShapeError
        If a fold trains or tests on nothing that the subject saw, or there are too few stimuli.
    DataError
        If a response is not finite.
    """
    wanted = np.unique(np.concatenate([ids for fold in split.folds for ids in fold]))
    seen = trials.select(wanted).average()
    if not np.isfinite(seen.betas).all():
        raise DataError(f"responses of {trials.subject} hold NaN or infinity. Leave those voxels out, or fill them.")
    folds = []
    for train_ids, test_ids in split.folds:
        train, test = (np.flatnonzero(np.isin(seen.stimulus_id, ids)) for ids in (train_ids, test_ids))
        if not len(train) or not len(test):
            raise ShapeError(f"{trials.subject} saw none of the training or none of the test stimuli of a fold.")
        folds.append(Fold(train, test, assign_folds(train, len(train), recipe.n_folds, seed)))
    alphas = default_alphas(max(len(fold.train) for fold in folds))
    return Design(seen.stimulus_id, seen.betas, tuple(folds), alphas)


def fit_alone(design: Design, feature: Columns, recipe: EncodeRecipe, seed: int) -> tuple[Space, Prediction]:
    """Fit every voxel from one feature space."""
    kernels, lost = _kernels(design, feature, recipe, seed)
    prediction, errors = _fit(design, (feature.name,), [(kernel,) for kernel in kernels], lost=lost)
    return Space(feature.name, tuple(kernels), errors), prediction


def fit_together(design: Design, first: Space, second: Space) -> Prediction:
    """Fit every voxel from two feature spaces, each with a penalty of its own."""
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
        parts[:, np.searchsorted(tested, fold.test)] = fitted.parts
        logarithms.append(np.log(fitted.alpha))
        errors.append(fitted.errors)
    alpha = np.exp(np.mean(logarithms, axis=0)).astype(np.float32)
    return Prediction(spaces, parts, alpha, lost), tuple(errors)


def _kernels(design: Design, feature: Columns, recipe: EncodeRecipe, seed: int) -> tuple[list[Float64], float]:
    """Give a feature space's kernel for each fold, in one pass over its columns, and what a reduction lost."""
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
