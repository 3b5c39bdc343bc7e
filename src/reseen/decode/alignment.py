"""Alignment: decode one subject with the decoder of another, through shared stimuli and linear maps only.

Source: Ferrante et al., "Through their eyes", arXiv 2309.00627 (ridge alignment of subjects on common images).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.decode.decoder import Decoder
from reseen.errors import DataError, RecipeError, ShapeError
from reseen.features import Features
from reseen.ridge import RidgeMap
from reseen.trials import Trials

AlignmentRoute = Literal["features", "voxels"]
"""What the target's betas predict: features that the source decoder decodes from the source's betas, or these betas."""


@dataclass(frozen=True, eq=False, repr=False)
class Alignment:
    """Alignment of a target subject with the decoder of a source subject.

    Parameters
    ----------
    source
        Fitted decoder of the source subject.
    to_source
        Decoder of the target subject. Its feature is the betas of the source, ``(n_source_voxels,)`` for one stimulus.
        None for an alignment through features.
    decoder
        A decoder from the target's voxels to the feature of ``source``, one linear map.
    stimulus_id
        Shape ``(n_stimuli,)``, sorted: the shared stimuli of the fit.

    Examples
    --------
    >>> import numpy as np
    >>> from reseen import Decoder, Features, Trials, align
    >>> rng = np.random.default_rng(0)
    >>> z = Features("z", rng.normal(size=(60, 6)), np.arange(60))
    >>> one = Trials(z.flat @ rng.normal(size=(6, 40)) + rng.normal(size=(60, 40)), np.arange(60))
    >>> other = Trials(z.flat @ rng.normal(size=(6, 30)) + rng.normal(size=(60, 30)), np.arange(60))
    >>> alignment = align(Decoder().fit(one, z), one, other, through="voxels")
    >>> decoded = alignment.predict(other)
    >>> in_two_steps = alignment.predict_in_two_steps(other)
    >>> bool(np.abs(decoded.array - in_two_steps.array).max() < 1e-4)
    True
    """

    source: Decoder
    to_source: Decoder | None
    decoder: Decoder
    stimulus_id: NDArray[np.int64]

    def __repr__(self) -> str:
        through = "" if self.to_source is None else f"{int(self.source.voxels_.sum()):,} voxels to "
        return (
            f"Alignment: {int(self.decoder.voxels_.sum()):,} voxels to {through}"
            f"{self.source.feature_} {self.source.shape_}\n"
            f"  fitted on {self.decoder.n_trials_:,} trials of {len(self.stimulus_id):,} shared stimuli"
        )

    def predict(self, trials: Trials | ArrayLike) -> Features:
        """Predict the feature of each row of the target's trials; see `Decoder.predict`."""
        return self.decoder.predict(trials)

    def predict_in_two_steps(self, trials: Trials | ArrayLike) -> Features:
        """Predict the source's betas, then decode these: equal to `predict`, except for rounding.

        Raises
        ------
        ShapeError
            If the alignment is through features, which has one step.
        """
        if self.to_source is None:
            raise ShapeError(
                'an alignment through features has one step. Fit it with through="voxels", or use predict.',
                where="through",
                expected="voxels",
                found="features",
            )
        betas = self.to_source.predict(trials)
        return Features(self.source.feature_, self.source.predict(betas.array).array, betas.stimulus_id)


def align(
    source: Decoder,
    source_trials: Trials,
    target_trials: Trials,
    *,
    through: AlignmentRoute = "features",
    features: Features | None = None,
    rois: Sequence[str] | None = None,
    stimuli: ArrayLike | None = None,
    alphas: Sequence[float] | None = None,
    n_folds: int = 5,
    permute: bool = False,
    seed: int = 0,
    device: str = "numpy",
) -> Alignment:
    """Fit a decoder of a target subject with the decoder and the betas of a source subject, on shared stimuli.

    The source's betas are averaged over the repetitions of each shared stimulus. Through features, the source decoder
    decodes them, and the target's betas predict the decoded features. Through voxels, the target's betas predict the
    averaged betas with one penalty for each source voxel, and this map and the source decoder are composed into one.
    Predicted betas are shrunk, and the composed map is not rescaled for averages.

    Parameters
    ----------
    source
        Fitted decoder of the source subject, with reseen's ridge. For an honest score, test stimuli of the target are
        not in its training trials.
    source_trials, target_trials
        Trials of both subjects with the same stimulus ids; scaled within sessions as those of the decoder.
    through
        ``"features"`` or ``"voxels"``. On simulated subjects features decode better (docs/log.md).
    features
        True features of the shared stimuli: the target's betas then predict the mean of true and decoded features.
        Only through features. Left out: decoded features alone.
    rois
        ROIs of the target whose voxels are used. Left out: all voxels.
    stimuli
        Ids of the shared stimuli of the fit. Left out: all stimuli that both subjects saw.
    alphas, n_folds, seed, device
        As in `Decoder`. Its other parameters are those of ``source``.
    permute
        Permute the stimuli of the source's betas before the fit: the chance level of an alignment.

    Raises
    ------
    ShapeError
        If no stimulus is shared, a subject did not see one of ``stimuli``, or voxels are not those of the decoder.
    DataError
        If the decoder has a user's estimator, which has no linear map, or a number is not finite.
    RecipeError
        If the route is unknown, or ``features`` are given through voxels.

    Examples
    --------
    >>> import numpy as np
    >>> import reseen
    >>> rng = np.random.default_rng(0)
    >>> z = reseen.Features("z", rng.normal(size=(90, 6)), np.arange(90))
    >>> one = reseen.Trials(z.flat @ rng.normal(size=(6, 40)) + rng.normal(size=(90, 40)), np.arange(90))
    >>> other = reseen.Trials(z.flat @ rng.normal(size=(6, 30)) + rng.normal(size=(90, 30)), np.arange(90))
    >>> decoder = reseen.Decoder().fit(one.select(range(60)), z)
    >>> alignment = reseen.align(decoder, one, other, stimuli=range(60))
    >>> alignment
    Alignment: 30 voxels to z (6,)
      fitted on 60 trials of 60 shared stimuli
    >>> alignment.decoder.score(other.select(range(60, 90)), z) > 0.5
    True
    """
    _check_route(source, through, features)
    ids = shared_stimuli(source_trials, target_trials, stimuli)
    shown = source_trials.select(ids)
    # in the units of the decoder's training trials first: averages have no session that could scale them
    rows = Trials(source.betas_of(shown), shown.stimulus_id, n_repetitions=shown.n_repetitions).average()
    order = np.random.default_rng(seed).permutation(len(ids)) if permute else np.arange(len(ids))
    chosen = {"rois": rois, "alphas": alphas, "n_folds": n_folds, "seed": seed, "device": device}
    params = {**source.get_params(deep=False), **chosen}
    if through == "features":
        counts = rows.n_repetitions if source.rescale_averages else None
        labels = source.map_.predict(rows.betas, n_repetitions=counts).reshape(len(ids), *source.shape_)
        if features is not None:
            labels = np.asarray((labels + features.rows(ids)) / 2, dtype=np.float32)
        decoder = Decoder(**params)
        decoder.fit(target_trials.select(ids), Features(source.feature_, labels[order], ids))
        assert isinstance(decoder.map_, RidgeMap)
        # residuals around decoded labels are smaller than those around the true feature, so they are no uncertainty
        decoder.map_ = replace(decoder.map_, residual_variance=None)
        return Alignment(source, None, decoder, ids)
    betas = Features("betas", rows.betas[order], rows.stimulus_id)
    to_source = Decoder(**{**params, "rescale_averages": False, "share_alpha": False})
    to_source.fit(target_trials.select(ids), betas)
    assert isinstance(to_source.map_, RidgeMap)
    assert isinstance(source.map_, RidgeMap)
    composed = copy(to_source)
    composed.map_ = compose(to_source.map_, source.map_)
    composed.feature_, composed.shape_ = source.feature_, source.shape_
    return Alignment(source, to_source, composed, ids)


def _check_route(source: Decoder, through: AlignmentRoute, features: Features | None) -> None:
    """Check that the source decoder is a linear map, and that the route is known and fits the features."""
    if not isinstance(source.map_, RidgeMap):
        raise DataError(
            f"The source decoder has the estimator {type(source.estimator).__name__}, which is not a linear map of "
            "reseen. Fit the source decoder without estimator.",
            where="source",
            expected="RidgeMap",
            found=type(source.map_).__name__,
        )
    routes = get_args(AlignmentRoute)
    if through not in routes or (through == "voxels" and features is not None):
        raise RecipeError(
            f"through is {through!r}; it is one of {', '.join(routes)}, and true features are used through features "
            'only. Choose through="features", or leave features out.',
            where="through",
            expected=routes,
            found=through,
        )


def compose(first: RidgeMap, second: RidgeMap) -> RidgeMap:
    """Compose two linear maps into one: ``second.predict(first.predict(x))``.

    ``first`` predicts the voxels of ``second``. With weights A and B, intercepts a and b, and the means m and scales s
    of the voxels of ``second``, the weights are ``A diag(1/s) B`` and the intercept is ``((a - m) / s) B + b``.
    Penalties are those of ``second``; held-out scores and residuals of the composed map are unknown.

    Raises
    ------
    ShapeError
        If ``first`` does not predict the voxels of ``second``.
    """
    n_predicted, n_voxels = first.weights.shape[1], second.weights.shape[0]
    if n_predicted != n_voxels:
        raise ShapeError(
            f"The first map predicts {n_predicted} values; the second one needs {n_voxels} voxels.",
            where="first",
            expected=n_voxels,
            found=n_predicted,
        )
    scaled = second.weights.astype(np.float64) / second.voxel_scale[:, None]
    intercept = (first.intercept - second.voxel_mean.astype(np.float64)) @ scaled + second.intercept
    return RidgeMap(
        weights=(first.weights @ scaled).astype(np.float32),
        intercept=intercept.astype(np.float32),
        voxel_mean=first.voxel_mean,
        voxel_scale=first.voxel_scale,
        alpha=second.alpha,
        alphas=second.alphas,
    )


def shared_stimuli(source: Trials, target: Trials, stimuli: ArrayLike | None) -> NDArray[np.int64]:
    """Return the shared stimuli, sorted, after a check that both subjects saw all that are asked for."""
    shared = np.intersect1d(source.stimulus_id, target.stimulus_id)
    ids = shared if stimuli is None else np.unique(np.asarray(stimuli, dtype=np.int64))
    missing = np.setdiff1d(ids, shared)
    if not len(shared):
        raise ShapeError(
            "The subjects share no stimuli: no stimulus_id is in the trials of both. An alignment needs stimuli that "
            "both subjects saw, with the same ids.",
            where="stimuli",
            expected="shared stimuli",
            found=[],
        )
    if not len(ids) or len(missing):
        raise ShapeError(
            f"The subjects share {len(shared)} stimuli; {len(missing)} of the {len(ids)} alignment stimuli are not "
            "among them. Choose stimuli that both subjects saw.",
            where="stimuli",
            expected="shared stimuli",
            found=missing.tolist()[:5],
        )
    return ids
