"""Scores: each voxel's numbers, model by model, and what they come to over ROIs.

=====================  =================================================================================
``mean_r, median_r``   Pearson correlation of predicted and measured responses over test pictures
``mean_r2``            share of the variance of measured responses that is predicted, below 0 if worse than their mean
``median_ceiling_r``   square root of the noise ceiling for these repetitions
``median_normalised_r``  r divided by its ceiling, over voxels with a ceiling above 0
``share_significant``  share of voxels whose q is at most ``encode.fdr``
``split_r``            part of a joint model's r that a feature space brings (product measure); parts add up
``unique_r2``          what R² loses without the space: R² of the joint model less that of the other space alone
``win_share``          share of the voxels with a significant layer in which this layer's r is the highest; its
                       interval keeps to these voxels, and lets the layers compete anew in each resampling (which adds
                       noise and so evens out the shares: the interval of a rare winner may lie above its share)
``win_margin``         mean distance to the second layer's r, over the voxels that the layer wins
``reduction_error``    share of variance (pca) or of the kernel (projection) lost where features are reduced
=====================  =================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.analyses import layers_of, stage_of
from reseen.encode.fits import Design, Prediction
from reseen.errors import ShapeError
from reseen.recipe import EncodeRecipe
from reseen.responses import Replicates, bootstrap_responses, r_squared, split_correlation
from reseen.tables import ENCODING_COLUMNS as COLUMNS
from reseen.trials import Trials

if TYPE_CHECKING:
    import pandas as pd

Float32 = NDArray[np.float32]


class Sheet:
    """Gather the scores of a subject's models.

    Parameters
    ----------
    trials
        Whose ROIs and noise ceilings are used.
    design
        What the models were fitted on.
    recipe
        Null, false discovery rate, resamplings.
    seed
        Of resamplings and permutations.

    Raises
    ------
    ShapeError
        If there are fewer than three test pictures.
    """

    def __init__(self, trials: Trials, design: Design, recipe: EncodeRecipe, seed: int) -> None:
        ids = design.stimulus_id[design.tested]
        if len(ids) < 3:
            raise ShapeError(f"a correlation needs at least three test pictures; {trials.subject} saw {len(ids)}.")
        self.voxels: dict[str, NDArray[Any]] = {"ceiling_r": _ceiling_r(trials.select(ids).average())}
        self.models: dict[str, Replicates] = {}
        self._layers: list[str] = []
        self._races: dict[str, Race] = {}
        self._subject, self._recipe, self._seed = trials.subject, recipe, seed
        self._truth = design.responses[design.tested]
        self._groups = {"all": np.ones(self._truth.shape[1], dtype=bool), **trials.rois}
        self._weights = statistics.bootstrap_weights(ids, recipe.n_bootstrap, seed=seed)
        self._rows: list[tuple[Any, ...]] = []

    def add(self, analysis: str, prediction: Prediction) -> None:
        """Score a model; a joint one after each of its spaces alone."""
        model, truth = prediction.model, self._truth
        whole = prediction.parts.sum(axis=0)
        split = split_correlation(truth, prediction.parts)
        r = split.sum(axis=0)
        p = self._p(r, whole)
        numbers = {"r": r, "r2": r_squared(truth, whole), "p": p, "q": statistics.benjamini_hochberg(p)}
        for name, values in {**numbers, "alpha": prediction.alpha}.items():
            self.voxels[f"{name}/{model}"] = values.astype(np.float32)
        groups = np.stack(list(self._groups.values()))
        drawn = bootstrap_responses(truth, prediction.parts, self._weights, groups, each=analysis == "layers")
        self.models[model] = replace(drawn, each_r=None)
        if drawn.each_r is not None:
            self._layers.append(model)
            self._races.setdefault(stage_of(model), Race(drawn.each_r.shape)).run(drawn.each_r)
        self._summarise(analysis, model, drawn)
        if np.isfinite(prediction.lost):
            self._row(analysis, model, model, "all", "reduction_error", prediction.lost)
        if len(prediction.spaces) > 1:
            self._divide(analysis, prediction, split, drawn)

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
        """Give all numbers as a tidy table of `COLUMNS`."""
        import pandas as pd

        return pd.DataFrame(self._rows, columns=list(COLUMNS))

    def _p(self, r: NDArray[np.float64], predicted: Float32) -> NDArray[np.float64]:
        if self._recipe.null == "parametric":
            return statistics.p_of_correlation(r, len(self._truth))
        return statistics.permutation_p(self._truth, predicted, self._recipe.n_permutations, seed=self._seed)

    def _summarise(self, analysis: str, model: str, drawn: Replicates) -> None:
        r, r2, q, ceiling = (self.voxels[name] for name in (f"r/{model}", f"r2/{model}", f"q/{model}", "ceiling_r"))
        for k, (roi, mask) in enumerate(self._groups.items()):
            reached = r[mask & (ceiling > 0)] / ceiling[mask & (ceiling > 0)]
            known = np.isfinite(q[mask])
            significant = float(np.mean(q[mask][known] <= self._recipe.fdr)) if known.any() else np.nan
            self._row(analysis, model, model, roi, "mean_r", _over(np.mean, r[mask]), drawn.r[:, k])
            self._row(analysis, model, model, roi, "median_r", _over(np.median, r[mask]))
            self._row(analysis, model, model, roi, "mean_r2", _over(np.mean, r2[mask]), drawn.r2[:, k])
            self._row(analysis, model, model, roi, "median_ceiling_r", _over(np.median, ceiling[mask]))
            self._row(analysis, model, model, roi, "median_normalised_r", _over(np.median, reached))
            self._row(analysis, model, model, roi, "share_significant", significant)

    def _divide(self, analysis: str, prediction: Prediction, split: NDArray[np.float64], drawn: Replicates) -> None:
        """Say what each of two spaces brings to their joint model."""
        model = prediction.model
        for part, (space, other) in enumerate(zip(prediction.spaces, prediction.spaces[::-1], strict=True)):
            brought = split[part].astype(np.float32)
            unique = self.voxels[f"r2/{model}"] - self.voxels[f"r2/{other}"]
            self.voxels[f"split/{model}/{space}"] = brought
            self.voxels[f"unique/{model}/{space}"] = unique
            lost = drawn.r2 - self.models[other].r2
            for k, (roi, mask) in enumerate(self._groups.items()):
                self._row(
                    analysis, model, space, roi, "split_r", _over(np.mean, brought[mask]), drawn.split[part][:, k]
                )
                self._row(analysis, model, space, roi, "unique_r2", _over(np.mean, unique[mask]), lost[:, k])

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
            share = float(won[decided].mean()) if decided.any() else np.nan
            shares = drawn[:, decided].mean(axis=1) if decided.any() else None
            self._row("layers", name, name, roi, "win_share", share, shares)
            self._row("layers", name, name, roi, "win_margin", _over(np.mean, margin[won & mask]))

    def _row(
        self,
        analysis: str,
        model: str,
        feature: str,
        roi: str,
        statistic: str,
        value: float,
        drawn: NDArray[np.float64] | None = None,
    ) -> None:
        low, high = (np.nan, np.nan) if drawn is None else statistics.interval(drawn)
        n_voxels, n = int(self._groups[roi].sum()), len(self._truth)
        self._rows.append((self._subject, analysis, model, feature, roi, n_voxels, statistic, value, low, high, n))


class Race:
    """Know which layer leads in each resampling of the test pictures, at each voxel, as layers come in.

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
        """Let the next layer run; the earlier one wins a tie."""
        better = r > self._best
        self.winner[better], self._best[better] = self._n_layers, r[better]
        self._n_layers += 1


def _ceiling_r(test: Trials) -> Float32:
    if test.ncsnr is None:
        return np.full(test.betas.shape[1], np.nan, dtype=np.float32)
    return np.sqrt(metrics.noise_ceiling(test.ncsnr, test.n_repetitions)).astype(np.float32)


def _over(statistic: Callable[[Float32], Any], values: Float32) -> float:
    """Summarise the voxels that have a value; NaN where none has."""
    known = values[~np.isnan(values)]
    return float(statistic(known)) if len(known) else float("nan")
