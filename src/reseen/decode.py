"""Decode: from the responses of some ROIs to features, fitted on training trials and applied to held-out ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ShapeError
from reseen.features import Features
from reseen.recipe import DecodeRecipe, Rows
from reseen.ridge import EdgeWarning, RidgeMap, fit_ridge
from reseen.trials import Split, Trials


def fit(train: Trials, feature: Features, *, rois: Sequence[str], recipe: DecodeRecipe, seed: int) -> RidgeMap:
    """Fit the map from the voxels of some ROIs to a feature.

    Parameters
    ----------
    train
        Training trials, single or averaged; every one is a row of the fit. Its stimuli need a row each in ``feature``.
    feature
        The features of the stimuli, shape ``(n_stimuli, ...)``.
    rois
        Names; the voxels of their union are used.
    recipe
        Penalties, folds and intercept.
    seed
        Decides which stimuli share a fold.

    Raises
    ------
    ShapeError
        If an ROI or a stimulus is unknown, or there are fewer stimuli than folds.
    DataError
        If a number is not finite.
    """
    ids, row = np.unique(train.stimulus_id, return_inverse=True)
    return _fit(train, feature.rows(ids).reshape(len(ids), -1), row, rois=rois, recipe=recipe, seed=seed)


def predict(
    ridge_map: RidgeMap,
    trials: Trials,
    *,
    rois: Sequence[str],
    name: str,
    shape: Sequence[int] = (-1,),
    rescale_averages: bool = True,
) -> Features:
    """Predict the feature of each row of trials; one row is enough.

    Parameters
    ----------
    ridge_map
        From `fit`, with the same ROIs.
    trials
        Single trials, averages, or both.
    rois
        The ROIs of the fit.
    name
        What the predictions are called, such as ``"z"``.
    shape
        Shape of one item of the feature, such as ``(4, 10, 10)``; left out: flat.
    rescale_averages
        Undo the shrinkage that rows averaging several trials suffer under a map fitted on single ones
        (`reseen.ridge.average_gain`). It rests on training trials alone and changes no single trial.

    Raises
    ------
    ShapeError
        If the ROIs or the shape are not those of the fit.
    """
    counts = trials.n_repetitions if rescale_averages else None
    flat = ridge_map.predict(trials.betas[:, trials.roi(rois)], n_repetitions=counts)
    if -1 not in shape and int(np.prod(shape)) != flat.shape[1]:
        raise ShapeError(f"this map predicts {flat.shape[1]} numbers; they do not fill items of shape {tuple(shape)}.")
    return Features(name, flat.reshape(len(flat), *shape), trials.stimulus_id)


def decode(
    trials: Trials,
    split: Split,
    feature: Features,
    *,
    rois: Sequence[str],
    recipe: DecodeRecipe,
    seed: int,
    train_trials: Rows = "single",
    test_trials: Rows = "averaged",
    shuffle: int | None = None,
) -> tuple[list[RidgeMap], Features]:
    """Fit on the training stimuli of each fold and predict the held-out ones.

    Parameters
    ----------
    trials
        Single trials of one subject.
    split
        Which stimuli are held out, fold by fold.
    feature
        The features of at least the training stimuli; those of test stimuli are not looked at.
    rois, recipe
        As in `fit`; ``recipe.rescale_averages`` as in `predict`.
    seed
        Decides folds and shuffling.
    train_trials, test_trials
        Whether repetitions are averaged before the fit, and before the prediction.
    shuffle
        Give every training stimulus's trials the feature of another training stimulus: the shuffled-training floor. The
        number says which of many shuffles. Left out: no shuffle.

    Returns
    -------
    maps
        One for each fold.
    decoded
        Predictions of all held-out items, sorted by stimulus id; single trials of one stimulus in order of
        presentation. The same split gives the same items, whatever the feature and the ROIs: the rows of `held_out`.

    Raises
    ------
    ShapeError
        If a fold has no training or test trials, or as in `fit`.
    """
    maps, decoded = [], []
    for train_ids, test_ids in split.folds:
        train = _rows(trials.select(train_ids), train_trials, "training")
        test = _rows(trials.select(test_ids), test_trials, "test")
        if shuffle is None:
            fitted = fit(train, feature, rois=rois, recipe=recipe, seed=seed)
        else:
            fitted = _fit_shuffled(train, feature, rois=rois, recipe=recipe, seed=seed, shuffle=shuffle)
        maps.append(fitted)
        decoded.append(
            predict(
                fitted,
                test,
                rois=rois,
                name=feature.name,
                shape=feature.array.shape[1:],
                rescale_averages=recipe.rescale_averages,
            )
        )
    array = np.concatenate([part.array for part in decoded])
    ids = np.concatenate([part.stimulus_id for part in decoded])
    order = np.argsort(ids, kind="stable")
    return maps, Features(feature.name, array[order], ids[order])


def held_out(trials: Trials, split: Split, *, test_trials: Rows = "averaged") -> Trials:
    """Give the held-out rows in the order in which `decode` predicts them: what was shown, and how often."""
    test = _rows(trials.select(split.test_ids), test_trials, "test")
    order = np.argsort(test.stimulus_id, kind="stable")
    return test.take(order)


def _fit(
    train: Trials,
    targets: NDArray[np.float32],
    row: NDArray[np.int64],
    *,
    rois: Sequence[str],
    recipe: DecodeRecipe,
    seed: int,
) -> RidgeMap:
    return fit_ridge(
        train.betas[:, train.roi(rois)],
        targets,
        target_row=row,
        groups=row if recipe.group_folds else None,
        alphas=recipe.alphas,
        n_folds=recipe.n_folds,
        share_alpha=recipe.share_alpha,
        intercept=recipe.intercept,
        seed=seed,
    )


def _fit_shuffled(
    train: Trials, feature: Features, *, rois: Sequence[str], recipe: DecodeRecipe, seed: int, shuffle: int
) -> RidgeMap:
    ids, row = np.unique(train.stimulus_id, return_inverse=True)
    targets = feature.rows(ids).reshape(len(ids), -1)
    # any permutation, fixed points included: to give nobody their own would teach a few stimuli what they are not
    other = np.random.default_rng((seed, shuffle)).permutation(len(ids))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EdgeWarning)  # the best penalty of a null is boundless
        return _fit(train, targets[other], row, rois=rois, recipe=recipe, seed=seed)


def _rows(trials: Trials, how: Rows, what: str) -> Trials:
    if not len(trials):
        raise ShapeError(f"{trials.subject} has no {what} trials; none of this fold's {what} stimuli was shown.")
    return trials.average() if how == "averaged" else trials
