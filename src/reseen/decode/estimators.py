"""User's estimators instead of the ridge: any object with ``fit(X, Y)`` and ``predict(X)``."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import DataError, RecipeError, ShapeError
from reseen.plugins import load_object

RIDGE = "ridge"
"""Name of reseen's own decoder in a recipe."""


class FittedMap(Protocol):
    """Protocol of a fitted map from voxels to targets: `reseen.RidgeMap`, or a `FittedEstimator`."""

    def predict(self, betas: ArrayLike, *, n_repetitions: ArrayLike | None = None) -> NDArray[np.float32]:
        """Predict ``(n_rows, n_targets)`` from ``(n_rows, n_voxels)``."""
        ...


class FittedEstimator:
    """Fitted estimator of the user, with checked predictions.

    Parameters
    ----------
    estimator
        Any object with ``predict(X)``.
    n_targets
        Number of predicted values for each row.
    """

    def __init__(self, estimator: Any, n_targets: int) -> None:
        self.estimator = estimator
        self.n_targets = n_targets

    def predict(self, betas: ArrayLike, *, n_repetitions: ArrayLike | None = None) -> NDArray[np.float32]:  # noqa: ARG002
        """Predict ``(n_rows, n_targets)``; averages are not rescaled.

        Raises
        ------
        ShapeError
            If the estimator predicts another number of targets.
        DataError
            If a prediction is not finite.
        """
        rows = np.asarray(betas, dtype=np.float32)
        predicted = np.asarray(self.estimator.predict(rows))
        name = type(self.estimator).__name__
        if predicted.shape != (len(rows), self.n_targets):
            raise ShapeError(
                f"{name}.predict returned shape {predicted.shape}; {(len(rows), self.n_targets)} is expected."
            )
        found: NDArray[np.float32] = predicted.astype(np.float32)
        if not np.isfinite(found).all():
            raise DataError(f"{name}.predict returned numbers that are not finite. Check the betas and the estimator.")
        return found


def fit_estimator(estimator: Any, betas: NDArray[np.float32], targets: NDArray[np.float32]) -> FittedEstimator:
    """Clone a user's estimator and fit it on ``(n_trials, n_voxels)`` and ``(n_trials, n_targets)``."""
    from sklearn.base import clone

    own = clone(estimator, safe=False)
    return FittedEstimator(own.fit(betas, targets) or own, targets.shape[1])


def make_estimator(name: str) -> Any:
    """Return the estimator that a recipe names, or ``None`` for the ridge.

    Parameters
    ----------
    name
        ``"ridge"``, or ``"module:name"`` of a class or function that returns an estimator when it is called without
        arguments.

    Raises
    ------
    RecipeError
        If there is no such object, or it does not return an estimator.
    """
    if name == RIDGE:
        return None
    found = load_object(name, "decode.decoder")
    try:
        estimator = found()
    except Exception as error:
        raise RecipeError(f"decode.decoder: {name}() failed: {error}. It is called without arguments.") from error
    if not (hasattr(estimator, "fit") and hasattr(estimator, "predict")):
        raise RecipeError(
            f"decode.decoder: {name}() returned {type(estimator).__name__}, without fit(X, Y) and predict(X)."
        )
    return estimator
