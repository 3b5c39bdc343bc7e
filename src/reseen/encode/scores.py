"""Scores: each voxel's numbers, model by model, and their summaries over ROIs.

=====================  =================================================================================
``mean_r, median_r``   correlation of predicted and measured responses over test images: with one test set Pearson's
                       r, with folds that of deviations from each fold's training mean (`reseen.responses`)
``mean_r2``            1 - squared error / squared distance from the training mean; below 0 if worse than that mean
``median_ceiling_r``   square root of the noise ceiling for these repetitions
``median_normalised_r``  r divided by its ceiling, over voxels with a ceiling above 0
``share_significant``  proportion of voxels whose q is at most ``encode.fdr``
``split_r``            contribution of a feature space to a joint model's r (product measure); parts add up
``unique_r2``          loss of R² without the space: R² of the joint model less that of the other space alone
``win_share``          proportion, among voxels with a significant layer, in which this layer's r is the highest;
                       its interval keeps these voxels, and compares the layers again in each resampling
``win_margin``         mean distance to the second layer's r, over the voxels in which the layer is best
``reduction_error``    proportion of variance (pca) or of the kernel (projection) lost by reducing features
=====================  =================================================================================

An interval is of the score that the fitted models would reach on infinitely many images: the mean over folds of the
correlation (or R²) of each fold's model. The bootstrap resamples test images and computes the same score with the
same predictions. See `reseen.statistics.interval_around`, and `Sheet._widen` for folds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.analyses import layers_of, stage_of
from reseen.encode.fits import Design, Prediction
from reseen.errors import ShapeError
from reseen.recipe import EncodeRecipe
from reseen.responses import Replicates, bootstrap_responses, r_squared, split_correlation, varying
from reseen.tables import ENCODING_COLUMNS as COLUMNS
from reseen.trials import Trials

if TYPE_CHECKING:
    import pandas as pd

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

BOUNDS = {"mean_r": (-1.0, 1.0), "median_r": (-1.0, 1.0), "mean_r2": (-np.inf, 1.0), "win_share": (0.0, 1.0)}
"""Bounds of the interval of a statistic."""


class Sheet:
    """Scores of a subject's models.

    Parameters
    ----------
    trials
        Trials with ROIs and noise ceilings.
    design
        Rows, folds and targets of the models.
    recipe
        Null, false discovery rate, resamplings.
    seed
        Of resamplings and permutations.

    Raises
    ------
    ShapeError
        If there are fewer than three test images.
    """

    def __init__(self, trials: Trials, design: Design, recipe: EncodeRecipe, seed: int) -> None:
        ids = design.row_id[design.tested]
        if len(np.unique(ids)) < 3:
            n_tested = len(np.unique(ids))
            raise ShapeError(f"a correlation needs at least three test images; {trials.subject} has {n_tested}.")
        self.voxels: dict[str, NDArray[Any]] = {"ceiling_r": _ceiling_r(trials, design.n_repetitions[design.tested])}
        self.models: dict[str, Float64] = {}
        """Resampled R² of each model, ``(n_bootstrap, n_groups)``."""
        self._layers: list[str] = []
        self._races: dict[str, Race] = {}
        self._subject, self._recipe, self._seed = trials.subject, recipe, seed
        self._one_test_set = len(design.folds) == 1
        deviations = design.deviations()
        self._true, self._null_true = np.split(deviations, [design.n_voxels], axis=1)
        self._varies = varying(self._true)
        self._groups = {"all": np.ones(design.n_voxels, dtype=bool), **trials.rois}
        self._weights = statistics.bootstrap_weights(ids, recipe.n_bootstrap, seed=seed)
        self._rows: list[tuple[Any, ...]] = []

    def add(self, analysis: str, prediction: Prediction) -> None:
        """Score a model; call it for a joint model after each of its spaces alone."""
        model, true, n = prediction.model, self._true, self._true.shape[1]
        parts, scaled = prediction.parts[:, :, :n], prediction.scaled[:, :, :n]
        split = split_correlation(true, scaled, centre=self._one_test_set)
        null_r = split_correlation(self._null_true, prediction.scaled[:, :, n:], centre=self._one_test_set).sum(axis=0)
        r, r2 = split.sum(axis=0), r_squared(true, parts.sum(axis=0))
        p = self._p(r, parts, null_r)
        numbers = {"r": r, "r2": r2, "p": p, "q": statistics.benjamini_hochberg(p), "alpha": prediction.alpha[:n]}
        for name, values in numbers.items():
            self.voxels[f"{name}/{model}"] = values.astype(np.float32)
        groups = np.stack(list(self._groups.values()))
        drawn = bootstrap_responses(true, parts, scaled, self._weights, groups, centre=self._one_test_set)
        self.models[model] = drawn.r2
        if analysis == "layers":
            self._layers.append(model)
            self._races.setdefault(stage_of(model), Race(drawn.each_r.shape)).run(drawn.each_r)
        widen = self._widen(null_r, scaled, prediction.gain[:n], r2)
        self._summarise(analysis, model, drawn, widen)
        if np.isfinite(prediction.lost):
            self._row(analysis, model, model, "all", "reduction_error", prediction.lost)
        if len(prediction.spaces) > 1:
            self._divide(analysis, prediction, split, drawn, widen)

    def compare_layers(self) -> None:
        """Find the best U-Net layer of each voxel at each stage, with its distance to the second."""
        layers = layers_of(self._layers)
        for stage in dict.fromkeys(stage_of(name) for name in self._layers):
            here = [name for name in self._layers if stage_of(name) == stage]
            r = np.stack([np.nan_to_num(self.voxels[f"r/{name}"], nan=-1.0) for name in here])
            q = np.stack([np.nan_to_num(self.voxels[f"q/{name}"], nan=1.0) for name in here])
            significant: NDArray[np.bool_] = np.any(q <= self._recipe.fdr, axis=0)
            best = r.argmax(axis=0)
            margin = np.full(r.shape[1], np.nan, dtype=np.float32)
            if len(here) > 1:
                ranked = np.sort(r, axis=0)
                margin[significant] = (ranked[-1] - ranked[-2])[significant]
            index = np.array([layers.index(layers_of([name])[0]) for name in here])
            self.voxels[f"winner/{stage}"] = np.where(significant, index[best], -1).astype(np.int64)
            self.voxels[f"margin/{stage}"] = margin
            for k, name in enumerate(here):
                self._count_wins(name, significant & (best == k), significant, margin, self._races[stage].winner == k)

    def table(self) -> pd.DataFrame:
        """Return all numbers as a tidy table of `COLUMNS`."""
        import pandas as pd

        return pd.DataFrame(self._rows, columns=list(COLUMNS))

    def _p(self, r: Float64, parts: Float32, null_r: Float64) -> Float64:
        if not self._one_test_set:
            return statistics.p_of_null(r, null_r)
        if self._recipe.null == "parametric":
            return statistics.p_of_correlation(r, len(self._true))
        return statistics.permutation_p(self._true, parts.sum(axis=0), self._recipe.n_permutations, seed=self._seed)

    def _widen(self, null_r: Float64, scaled: Float32, gain: Float64, r2: Float64) -> Float64:
        """Return for each group the factor by which folds widen its intervals; 1 with one test set.

        The bootstrap treats the held-out responses of different folds as independent given the predictions. They are
        not. With ``f_i = sum_j b_ij e_j`` for the part of a prediction that is noise ``e`` of the training responses,
        the variance of ``sum_i e_i f_i`` is proportional to ``sum_ij b_ij ** 2 + sum_ij b_ij b_ji``, and the bootstrap
        includes only the first sum. For null targets, whose predictions are only noise, ``n * mean(r ** 2)`` is the
        ratio of both sums to the first. For voxels, the excess is proportional to the noise in the variance of
        their predictions, ``gain * (1 - R²) * mean(true ** 2)``.
        """
        if self._one_test_set:
            return np.ones(len(self._groups))
        known = null_r[np.isfinite(null_r)]
        excess = max(0.0, len(scaled[0]) * float(np.mean(known**2)) - 1.0) if len(known) else 0.0
        noise = gain * np.clip(1.0 - r2, 0.0, 1.0) * np.mean(self._true.astype(np.float64) ** 2, axis=0)
        fraction = np.clip(
            statistics.ratio(noise, np.mean(scaled.sum(axis=0, dtype=np.float64) ** 2, axis=0)), 0.0, 1.0
        )
        return np.array([np.sqrt(1.0 + excess * _over(np.mean, fraction[mask])) for mask in self._groups.values()])

    def _summarise(self, analysis: str, model: str, drawn: Replicates, widen: Float64) -> None:
        r, r2, q, ceiling = (self.voxels[name] for name in (f"r/{model}", f"r2/{model}", f"q/{model}", "ceiling_r"))
        for k, (roi, mask) in enumerate(self._groups.items()):
            known = mask & self._varies
            reached = known & (ceiling > 0)
            significant = float(np.mean(q[known] <= self._recipe.fdr)) if known.any() else np.nan
            each = drawn.each_r
            rows: dict[str, tuple[float, NDArray[Any] | None]] = {
                "mean_r": (_over(np.mean, r[mask]), drawn.r[:, k]),
                "median_r": (_over(np.median, r[mask]), _median(each[:, known])),
                "mean_r2": (_over(np.mean, r2[mask]), drawn.r2[:, k]),
                "median_ceiling_r": (_over(np.median, ceiling[mask]), None),
                "median_normalised_r": (
                    _over(np.median, r[reached] / ceiling[reached]),
                    _median(each[:, reached] / ceiling[reached]),
                ),
                "share_significant": (significant, None),
            }
            for statistic, (value, resampled) in rows.items():
                self._row(analysis, model, model, roi, statistic, value, resampled, widen[k])

    def _divide(self, analysis: str, prediction: Prediction, split: Float64, drawn: Replicates, widen: Float64) -> None:
        """Add the contribution of each of two spaces to their joint model."""
        model = prediction.model
        for part, (space, other) in enumerate(zip(prediction.spaces, prediction.spaces[::-1], strict=True)):
            brought = split[part].astype(np.float32)
            unique = self.voxels[f"r2/{model}"] - self.voxels[f"r2/{other}"]
            self.voxels[f"split/{model}/{space}"] = brought
            self.voxels[f"unique/{model}/{space}"] = unique
            lost = drawn.r2 - self.models[other]
            for k, (roi, mask) in enumerate(self._groups.items()):
                value, left = _over(np.mean, brought[mask]), _over(np.mean, unique[mask])
                self._row(analysis, model, space, roi, "split_r", value, drawn.split[part][:, k], widen[k])
                self._row(analysis, model, space, roi, "unique_r2", left, lost[:, k], widen[k])

    def _count_wins(
        self,
        name: str,
        won: NDArray[np.bool_],
        significant: NDArray[np.bool_],
        margin: Float32,
        drawn: NDArray[np.bool_],
    ) -> None:
        for roi, mask in self._groups.items():
            decided = significant & mask
            proportion = float(won[decided].mean()) if decided.any() else np.nan
            resampled = drawn[:, decided].mean(axis=1) if decided.any() else None
            self._row("layers", name, name, roi, "win_share", proportion, resampled)
            self._row("layers", name, name, roi, "win_margin", _over(np.mean, margin[won & mask]))

    def _row(
        self,
        analysis: str,
        model: str,
        feature: str,
        roi: str,
        statistic: str,
        value: float,
        drawn: NDArray[Any] | None = None,
        widen: float = 1.0,
    ) -> None:
        n_voxels, n = int(self._groups[roi].sum()), len(self._true)
        low, high = (np.nan, np.nan) if drawn is None else statistics.interval_around(value, drawn, n, widen=widen)
        if statistic in BOUNDS and np.isfinite(value):
            low, high = max(low, BOUNDS[statistic][0]), min(high, BOUNDS[statistic][1])
        self._rows.append((self._subject, analysis, model, feature, roi, n_voxels, statistic, value, low, high, n))


class Race:
    """Best layer of each voxel in each resampling of the test images, updated layer by layer.

    Parameters
    ----------
    shape
        ``(n_bootstrap, n_voxels)``.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._best = np.full(shape, -np.inf, dtype=np.float32)
        self._n_layers = 0
        self.winner = np.zeros(shape, dtype=np.int16)

    def run(self, r: Float32) -> None:
        """Compare the next layer; the earlier one wins a tie."""
        better = r > self._best
        self.winner[better], self._best[better] = self._n_layers, r[better]
        self._n_layers += 1


def _ceiling_r(trials: Trials, n_repetitions: NDArray[np.int64]) -> Float32:
    if trials.ncsnr is None:
        return np.full(trials.betas.shape[1], np.nan, dtype=np.float32)
    return np.sqrt(metrics.noise_ceiling(trials.ncsnr, n_repetitions)).astype(np.float32)


def _over(statistic: Callable[[Float32], Any], values: Float32) -> float:
    """Summarise the voxels that have a value; NaN where none has."""
    known = values[~np.isnan(values)]
    return float(statistic(known)) if len(known) else float("nan")


def _median(values: Float32) -> Float32 | None:
    """Compute the median of each row; None where there is no column."""
    return np.median(values, axis=1) if values.shape[1] else None
