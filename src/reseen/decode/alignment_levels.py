"""Levels of an alignment: its stimuli by protocol, and the decoders that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.decode.alignment import AlignmentRoute, align, shared_stimuli
from reseen.decode.decoder import Decoder
from reseen.errors import RecipeError, ShapeError
from reseen.features import Features
from reseen.trials import Trials

AlignmentProtocol = Literal["shared_split", "own_stimuli"]
AlignmentLevel = Literal["aligned", "combined", "own_shared", "own_equal", "own_full", "permuted", "identity"]
LEVELS: tuple[AlignmentLevel, ...] = ("aligned", "own_shared", "own_equal", "own_full", "permuted")
PROTOCOLS: tuple[AlignmentProtocol, ...] = get_args(AlignmentProtocol)


def alignment_stimuli(
    source: Trials,
    target: Trials,
    protocol: AlignmentProtocol,
    *,
    n_align: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
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
    n_test
        Number of test stimuli, chosen at random among those of the protocol. Left out: all of them. Own data need some
        of the target's own stimuli for training.
    seed
        Determines both choices.

    Raises
    ------
    ShapeError
        If no stimulus is shared, or no test stimulus or fewer than ``n_align`` shared stimuli or ``n_test`` test
        stimuli are there.
    RecipeError
        If the protocol is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from reseen import Trials
    >>> one, other = Trials(np.zeros((6, 2)), range(6)), Trials(np.zeros((6, 3)), range(3, 9))
    >>> alignment_stimuli(one, other, "own_stimuli")
    (array([3, 4, 5]), array([6, 7, 8]))
    """
    if protocol not in PROTOCOLS:
        raise RecipeError(
            f"there is no alignment protocol {protocol!r}; the protocols are {', '.join(PROTOCOLS)}.",
            where="protocol",
            expected=PROTOCOLS,
            found=protocol,
        )
    shared = shared_stimuli(source, target, None)
    own = np.setdiff1d(target.stimulus_id, source.stimulus_id)
    split = protocol == "shared_split"
    usual = round(0.7 * len(shared)) if split else len(shared)
    count = usual if n_align is None else n_align
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(shared)[:count])
    test = np.setdiff1d(shared, chosen) if split else own
    if n_test is not None and n_test > len(test):
        raise ShapeError(
            f"The protocol {protocol} has {len(test)} test stimuli; n_test is {n_test}. Choose a smaller n_test.",
            where="n_test",
            expected=len(test),
            found=n_test,
        )
    if n_test is not None:
        test = np.sort(rng.permutation(test)[:n_test])
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
    through: AlignmentRoute = "features",
    levels: Sequence[AlignmentLevel] = LEVELS,
    seed: int = 0,
) -> dict[str, Features]:
    """Decode averaged test stimuli of the target by an alignment, and by the levels that it is compared with.

    Parameters
    ----------
    source, source_trials, rois, through, seed
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
        ``"aligned"``; ``"combined"``: an alignment whose labels are the mean of decoded and true features;
        ``"own_shared"``: a decoder fitted on exactly the trials of the alignment; ``"own_equal"``: a decoder fitted on
        all of ``target_trials``, the same minutes; ``"own_full"``: on all trials of the target; ``"permuted"``: an
        alignment fitted on permuted stimuli; ``"identity"``: the source decoder without alignment, for subjects in
        one space, such as fsaverage. Native voxels of two subjects can have equal indices without being in one space.
        Trials of ``test`` are in no fit of the target.

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
    {'aligned': (30, 6), 'own_shared': (30, 6), 'own_equal': (30, 6), 'own_full': (30, 6), 'permuted': (30, 6)}
    """
    everything = target_trials if full_trials is None else full_trials
    test_ids = np.unique(np.asarray(test, dtype=np.int64))
    if stimuli is None:
        stimuli = np.setdiff1d(shared_stimuli(source_trials, target_trials, None), test_ids)
    ids = shared_stimuli(source_trials, target_trials, stimuli)
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
        decoder = fit_level(
            level,
            source,
            source_trials,
            target_trials,
            features,
            test=test_ids,
            full_trials=everything,
            stimuli=ids,
            rois=rois,
            through=through,
            seed=seed,
        )
        decoded[level] = decoder.predict(items)
    return decoded


def fit_level(
    level: AlignmentLevel,
    source: Decoder,
    source_trials: Trials,
    target_trials: Trials,
    features: Features,
    *,
    test: NDArray[np.int64],
    full_trials: Trials,
    stimuli: NDArray[np.int64],
    rois: Sequence[str] | None,
    through: AlignmentRoute,
    seed: int,
) -> Decoder:
    """Return the decoder of one level; the parameters are those of `compare_alignment`.

    ``test`` and ``stimuli`` are apart, and both subjects saw all of ``stimuli``.

    Raises
    ------
    ShapeError
        As in `align`; or if the level is ``"identity"`` and the voxels are not known to be the same.
    """
    if level == "identity":
        _check_same_voxels(source, target_trials)
        return source
    if level in ("own_shared", "own_equal", "own_full"):
        trials = full_trials if level == "own_full" else target_trials
        kept = stimuli if level == "own_shared" else np.setdiff1d(trials.stimulus_id, test)
        own = Decoder(**{**source.get_params(deep=False), "rois": rois})
        return own.fit(trials.select(kept), features)
    return align(
        source,
        source_trials,
        target_trials,
        through="features" if level == "combined" else through,
        features=features if level == "combined" else None,
        rois=rois,
        stimuli=stimuli,
        alphas=source.alphas,
        n_folds=source.n_folds,
        device=source.device,
        permute=level == "permuted",
        seed=seed,
    ).decoder


def _check_same_voxels(source: Decoder, target: Trials) -> None:
    """Check that the target's voxels have the indices of those of the source decoder."""
    mask = target.roi(source.rois)
    index = None if target.voxel_index is None else target.voxel_index[mask]
    if index is None or source.voxel_index_ is None or not np.array_equal(index, source.voxel_index_):
        raise ShapeError(
            "The level identity needs the same voxels in both subjects; the indices differ or are unknown. Read both "
            "subjects in fsaverage space, or leave this level out.",
            where="identity",
            expected=int(source.voxels_.sum()),
            found=None if index is None else len(index),
        )
