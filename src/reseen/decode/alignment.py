"""Alignment: decode one subject with the decoder of another, through shared stimuli and linear maps only.

Source: Ferrante et al., "Through their eyes", arXiv 2309.00627 (ridge alignment of subjects on common images).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.decode.decoder import Decoder
from reseen.errors import DataError, ShapeError
from reseen.features import Features
from reseen.ridge import RidgeMap
from reseen.trials import Trials

AlignmentProtocol = Literal["shared_split", "own_stimuli"]
AlignmentLevel = Literal["aligned", "own_equal", "own_full", "permuted", "identity"]


@dataclass(frozen=True, eq=False, repr=False)
class Alignment:
    """Alignment of a target subject with the decoder of a source subject.

    Parameters
    ----------
    source
        Fitted decoder of the source subject.
    to_source
        Decoder of the target subject. Its feature is the betas of the source, ``(n_source_voxels,)`` for one stimulus.
    decoder
        Both maps as one linear map: a decoder from the target's voxels to the feature of ``source``.
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
    >>> alignment = align(Decoder().fit(one, z), one, other)
    >>> decoded = alignment.predict(other)
    >>> in_two_steps = alignment.predict_in_two_steps(other)
    >>> bool(np.abs(decoded.array - in_two_steps.array).max() < 1e-4)
    True
    """

    source: Decoder
    to_source: Decoder
    decoder: Decoder
    stimulus_id: NDArray[np.int64]

    def __repr__(self) -> str:
        n_target, n_source = int(self.to_source.voxels_.sum()), int(self.source.voxels_.sum())
        return (
            f"Alignment: {n_target:,} voxels to {n_source:,} voxels to {self.source.feature_} {self.source.shape_}\n"
            f"  fitted on {self.to_source.n_trials_:,} trials of {len(self.stimulus_id):,} shared stimuli"
        )

    def predict(self, trials: Trials | ArrayLike) -> Features:
        """Predict the feature of each row of the target's trials; see `Decoder.predict`."""
        return self.decoder.predict(trials)

    def predict_in_two_steps(self, trials: Trials | ArrayLike) -> Features:
        """Predict the source's betas, then decode these: equal to `predict`, except for rounding."""
        betas = self.to_source.predict(trials)
        return Features(self.source.feature_, self.source.predict(betas.array).array, betas.stimulus_id)


def align(
    source: Decoder,
    source_trials: Trials,
    target_trials: Trials,
    *,
    rois: Sequence[str] | None = None,
    stimuli: ArrayLike | None = None,
    alphas: Sequence[float] | None = None,
    n_folds: int = 5,
    permute: bool = False,
    seed: int = 0,
    device: str = "numpy",
) -> Alignment:
    """Fit a ridge map from a target subject's betas to a source subject's averaged betas, and compose two maps.

    The source's betas, averaged over the repetitions of each shared stimulus, are a feature with one value for each
    voxel of the source decoder. The map has one penalty for each source voxel. Predicted betas are shrunk, and the
    composed map is not rescaled for averages; decoded features therefore have a smaller variance than true ones.

    Parameters
    ----------
    source
        Fitted decoder of the source subject, with reseen's ridge. For an honest score, test stimuli of the target are
        not in its training trials.
    source_trials, target_trials
        Trials of both subjects with the same stimulus ids; scaled within sessions as those of the decoder.
    rois
        ROIs of the target whose voxels are used. Left out: all voxels.
    stimuli
        Ids of the shared stimuli of the fit. Left out: all stimuli that both subjects saw.
    alphas, n_folds, seed, device
        As in `Decoder`.
    permute
        Permute the stimuli of the source's betas before the fit: the chance level of an alignment.

    Raises
    ------
    ShapeError
        If no stimulus is shared, a subject did not see one of ``stimuli``, or voxels are not those of the decoder.
    DataError
        If the decoder has a user's estimator, which has no linear map, or a number is not finite.

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
    Alignment: 30 voxels to 40 voxels to z (6,)
      fitted on 60 trials of 60 shared stimuli
    >>> alignment.decoder.score(other.select(range(60, 90)), z) > 0.5
    True
    """
    if not isinstance(source.map_, RidgeMap):
        raise DataError(
            f"The source decoder has the estimator {type(source.estimator).__name__}, which is not a linear map of "
            "reseen. Fit the source decoder without estimator.",
            where="source",
            expected="RidgeMap",
            found=type(source.map_).__name__,
        )
    ids = _shared(source_trials, target_trials, stimuli)
    shown = source_trials.select(ids)
    # in the units of the decoder's training trials first: averages have no session that could scale them
    rows = Trials(source.betas_of(shown), shown.stimulus_id, n_repetitions=shown.n_repetitions).average()
    order = np.random.default_rng(seed).permutation(len(ids)) if permute else np.arange(len(ids))
    betas = Features("betas", rows.betas[order], rows.stimulus_id)
    to_source = Decoder(rois, alphas=alphas, n_folds=n_folds, rescale_averages=False, seed=seed, device=device)
    to_source.fit(target_trials.select(ids), betas)
    assert isinstance(to_source.map_, RidgeMap)
    composed = copy(to_source)
    composed.map_ = compose(to_source.map_, source.map_)
    composed.feature_, composed.shape_ = source.feature_, source.shape_
    return Alignment(source, to_source, composed, ids)


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


def alignment_stimuli(
    source: Trials, target: Trials, protocol: AlignmentProtocol, *, n_align: int | None = None, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids of alignment stimuli and of test stimuli, both sorted, for a protocol.

    Parameters
    ----------
    source, target
        Trials of both subjects.
    protocol
        ``"shared_split"``: align on ``n_align`` shared stimuli and test on the other shared stimuli. The source
        decoder must not be fitted on these. ``"own_stimuli"``: align on all shared stimuli, or on ``n_align`` of them,
        and test on stimuli that only the target saw; scores are not comparable with published tables.
    n_align
        Number of alignment stimuli, chosen at random. Left out: 70 % of the shared stimuli, or all of them.
    seed
        Determines this choice.

    Raises
    ------
    ShapeError
        If no stimulus is shared, or no test stimulus or fewer than ``n_align`` shared stimuli are there.

    Examples
    --------
    >>> import numpy as np
    >>> from reseen import Trials
    >>> one, other = Trials(np.zeros((6, 2)), range(6)), Trials(np.zeros((6, 3)), range(3, 9))
    >>> alignment_stimuli(one, other, "own_stimuli")
    (array([3, 4, 5]), array([6, 7, 8]))
    """
    shared = _shared(source, target, None)
    own = np.setdiff1d(target.stimulus_id, source.stimulus_id)
    split = protocol == "shared_split"
    usual = round(0.7 * len(shared)) if split else len(shared)
    count = usual if n_align is None else n_align
    chosen = np.sort(np.random.default_rng(seed).permutation(shared)[:count])
    test = np.setdiff1d(shared, chosen) if split else own
    if count > len(shared) or not len(test):
        raise ShapeError(
            f"The protocol {protocol} has {len(shared)} shared stimuli, {count} alignment stimuli and {len(test)} test "
            "stimuli. Choose a smaller n_align or another protocol.",
            where="n_align",
            expected=len(shared),
            found=count,
        )
    return chosen, test


def compare_alignment(
    source: Decoder,
    source_trials: Trials,
    target_trials: Trials,
    features: Features,
    *,
    test: ArrayLike,
    full_trials: Trials | None = None,
    stimuli: ArrayLike | None = None,
    rois: Sequence[str] | None = None,
    levels: Sequence[AlignmentLevel] = ("aligned", "own_equal", "own_full", "permuted"),
    seed: int = 0,
) -> dict[str, Features]:
    """Decode averaged test stimuli of the target by an alignment, and by the levels that it is compared with.

    Parameters
    ----------
    source, source_trials, rois, seed
        As in `align`; decoders of the target have the parameters of ``source``.
    target_trials
        Trials of the target for the alignment, such as those of its first session.
    features
        The feature of the target's training stimuli.
    test
        Ids of test stimuli, which are in no fit.
    full_trials
        All trials of the target. Left out: ``target_trials``.
    stimuli
        Ids of alignment stimuli. Left out: all shared stimuli of these trials, except ``test``.
    levels
        ``"aligned"``; ``"own_equal"``: a decoder fitted on exactly the target's trials of the alignment;
        ``"own_full"``: a decoder fitted on all trials of the target, except those of ``test``; ``"permuted"``: an
        alignment fitted on permuted stimuli; ``"identity"``: the source decoder without alignment, for subjects in
        one space, such as fsaverage. Native voxels of two subjects can have equal indices without being in one space.

    Returns
    -------
    dict
        For each level, one row for each test stimulus that the target saw, sorted by id.

    Raises
    ------
    ShapeError
        As in `align`; if a test stimulus is in the alignment, no test stimulus was seen, or ``"identity"`` is asked for
        and the voxels are not known to be the same.

    Examples
    --------
    >>> import numpy as np
    >>> from reseen import Decoder, Features, Trials, compare_alignment
    >>> rng = np.random.default_rng(0)
    >>> z = Features("z", rng.normal(size=(90, 6)), np.arange(90))
    >>> one = Trials(z.flat @ rng.normal(size=(6, 40)) + rng.normal(size=(90, 40)), np.arange(90))
    >>> other = Trials(z.flat @ rng.normal(size=(6, 30)) + rng.normal(size=(90, 30)), np.arange(90))
    >>> decoder = Decoder().fit(one.select(range(60)), z)
    >>> decoded = compare_alignment(decoder, one, other, z, test=range(60, 90))
    >>> {level: features.array.shape for level, features in decoded.items()}
    {'aligned': (30, 6), 'own_equal': (30, 6), 'own_full': (30, 6), 'permuted': (30, 6)}
    """
    everything = target_trials if full_trials is None else full_trials
    test_ids = np.unique(np.asarray(test, dtype=np.int64))
    if stimuli is None:
        stimuli = np.setdiff1d(_shared(source_trials, target_trials, None), test_ids)
    ids = _shared(source_trials, target_trials, stimuli)
    both = np.intersect1d(ids, test_ids)
    if len(both):
        raise ShapeError(
            f"{len(both)} test stimuli are also alignment stimuli, such as {both[0]}. Choose other test stimuli.",
            where="test",
            expected=0,
            found=len(both),
        )
    items = everything.select(test_ids).average()
    if not len(items):
        raise ShapeError("The target saw none of the test stimuli. Choose other test stimuli.", where="test", found=0)
    decoded: dict[str, Features] = {}
    for level in levels:
        if level == "identity":
            decoded[level] = _identity(source, items)
        elif level in ("aligned", "permuted"):
            fitted = align(
                source, source_trials, target_trials, rois=rois, stimuli=ids, permute=level == "permuted", seed=seed
            )
            decoded[level] = fitted.predict(items)
        else:
            kept = ids if level == "own_equal" else np.setdiff1d(everything.stimulus_id, test_ids)
            trials = (target_trials if level == "own_equal" else everything).select(kept)
            own = Decoder(**{**source.get_params(deep=False), "rois": rois})
            decoded[level] = own.fit(trials, features).predict(items)
    return decoded


def _identity(source: Decoder, items: Trials) -> Features:
    """Predict from the target's voxels as if they were those of the source."""
    mask = items.roi(source.rois)
    index = None if items.voxel_index is None else items.voxel_index[mask]
    if index is None or source.voxel_index_ is None or not np.array_equal(index, source.voxel_index_):
        raise ShapeError(
            "The level identity needs the same voxels in both subjects; the indices differ or are unknown. Read both "
            "subjects in fsaverage space, or leave this level out.",
            where="identity",
            expected=int(source.voxels_.sum()),
            found=None if index is None else len(index),
        )
    return source.predict(items)


def _shared(source: Trials, target: Trials, stimuli: ArrayLike | None) -> NDArray[np.int64]:
    """Return the shared stimuli, sorted, after a check that both subjects saw all that are asked for."""
    shared = np.intersect1d(source.stimulus_id, target.stimulus_id)
    ids = shared if stimuli is None else np.unique(np.asarray(stimuli, dtype=np.int64))
    missing = np.setdiff1d(ids, shared)
    if not len(ids) or len(missing):
        raise ShapeError(
            f"The subjects share {len(shared)} stimuli; {len(missing)} of the {len(ids)} alignment stimuli are not "
            "among them. Choose stimuli that both subjects saw.",
            where="stimuli",
            expected="shared stimuli",
            found=missing.tolist()[:5],
        )
    return ids
