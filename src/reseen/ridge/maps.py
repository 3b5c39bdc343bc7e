"""Fitted map of a ridge regression, including means and scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.cores import map_parallel
from reseen.errors import ShapeError
from reseen.files import opening_tensors, write_tensors
from reseen.ridge.device import Float32, Float64
from reseen.ridge.gram import check_finite, check_rows_shape

TARGETS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False, repr=False)
class RidgeMap:
    """Fitted ridge map from voxels to targets, with means and scales; it predicts from a single trial, too.

    ``prediction = ((betas - voxel_mean) / voxel_scale) @ weights + intercept``

    Parameters
    ----------
    weights
        Shape ``(n_voxels, n_targets)``, float32, in units of the target per standard deviation of the voxel.
    intercept
        Shape ``(n_targets,)``: training mean of each target over trials; zeros if fitted without intercept.
    voxel_mean, voxel_scale
        Shape ``(n_voxels,)``: training mean and standard deviation (ddof 0; 1 for a constant voxel, whose weight is 0).
    alpha
        Shape ``(n_targets,)``: penalty of each target, on the scale of sklearn's ``Ridge``.
    alphas
        Shape ``(n_alphas,)``, ascending: the grid of penalties.
    cv_score
        Shape ``(n_alphas, n_targets)``: 1 - squared error / squared distance from the fold's training mean, over all
        held-out trials (0 for a constant target). ``None`` if nothing was held out.
    noise_share
        Shape ``(n_targets,)``, in [0, 1]: proportion of trial noise in the variance of held-out single-trial
        predictions, from the variance over repetitions of a stimulus. ``None`` without repetitions.
    residual_variance
        Shape ``(n_targets,)``: mean squared error of held-out training rows, at the penalty of each target. ``None`` if
        nothing was held out, or if averages were scored.

    Examples
    --------
    >>> import numpy as np
    >>> from reseen import fit_ridge
    >>> rng = np.random.default_rng(0)
    >>> fit_ridge(rng.normal(size=(30, 12)), rng.normal(size=(30, 4)), alphas=[100.0])
    RidgeMap: 12 voxels to 4 targets, penalties 100 to 100
    """

    weights: Float32
    intercept: Float32
    voxel_mean: Float32
    voxel_scale: Float32
    alpha: Float64
    alphas: Float64
    cv_score: Float64 | None = None
    noise_share: Float64 | None = None
    residual_variance: Float64 | None = None

    def __repr__(self) -> str:
        sizes = "RidgeMap: {:,} voxels to {:,} targets".format(*self.weights.shape)
        return f"{sizes}, penalties {self.alpha.min():.3g} to {self.alpha.max():.3g}"

    def predict(self, betas: ArrayLike, *, n_repetitions: ArrayLike | None = None) -> Float32:
        """Predict targets, ``(n_rows, n_targets)`` float32; the same bytes on any number of cores.

        Parameters
        ----------
        betas
            Shape ``(n_rows, n_voxels)``, in the units of the training betas.
        n_repetitions
            Shape ``(n_rows,)``: number of trials that each row averages. If given, the deviation of each prediction
            from the intercept is multiplied by `average_gain`, which is 1 for single trials.

        Raises
        ------
        ShapeError
            If the number of voxels is not that of the fit, or the number of counts is not the number of rows.
        DataError
            If betas are not finite.
        """
        rows = np.asarray(betas, dtype=np.float32)
        n_voxels = len(self.voxel_mean)
        if rows.ndim != 2 or rows.shape[1] != n_voxels:
            raise ShapeError(
                f"betas have shape {rows.shape}; this map needs (n_rows, {n_voxels}).",
                where="betas",
                expected=("n_rows", n_voxels),
                found=rows.shape,
            )
        check_finite("betas", rows)
        rows = (rows - self.voxel_mean) / self.voxel_scale
        starts = range(0, self.weights.shape[1], TARGETS_AT_ONCE)
        parts = map_parallel(lambda start: rows @ self.weights[:, start : start + TARGETS_AT_ONCE], starts)
        predicted = np.concatenate(list(parts), axis=1)
        if n_repetitions is not None:
            self.rescale(predicted, n_repetitions)
        predicted += self.intercept
        return predicted

    def rescale(self, deviation: Float32, n_repetitions: ArrayLike) -> None:
        """Multiply deviations from the intercept, ``(n_rows, n_targets)``, by `average_gain`, in place."""
        if self.noise_share is None:
            return
        count = np.asarray(n_repetitions)
        check_rows_shape("n_repetitions", count, len(deviation))
        for k in np.unique(count):
            deviation[count == k] *= average_gain(self.noise_share, int(k)).astype(np.float32)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays of the map by name, without those that are ``None``."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def save(self, path: Path | str, computed_by: Mapping[str, str] | None = None) -> None:
        """Write the map as one safetensors file, completely or not at all; raise a ResultsError on failure."""
        write_tensors(Path(path), self.arrays, computed_by or {})

    @classmethod
    def load(cls, path: Path | str) -> RidgeMap:
        """Load a map that `save` wrote; raise a ResultsError if the file is missing, changed, or contains no map."""
        with opening_tensors(Path(path)) as (file, _):
            return cls(**{name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (no mapping)


def average_gain(noise_share: Float64, n_repetitions: int) -> Float64:
    """Return the factor that corrects the shrinkage of predictions from averages of ``n_repetitions`` trials.

    A map fitted on single trials shrinks its predictions by the noise of single trials. The best slope is
    ``cov(target, prediction) / var(prediction)``. An average of k trials has the same covariance, and the noise part
    of its variance is divided by k. The best slope therefore grows by ``1 / (1 - noise_share * (1 - 1/k))``, a factor
    between 1 and k.
    """
    return np.asarray(1.0 / (1.0 - noise_share * (1.0 - 1.0 / n_repetitions)))
