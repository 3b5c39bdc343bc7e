"""Retrieval: top-1 accuracy in random galleries, of every decoded feature and every network layer of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from reseen.conditions import decoded_features
from reseen.decode import permuted_folds
from reseen.evaluate import layer_activations, permuted_rows, score_retrieval, training_mean
from reseen.tables import Level

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from reseen.evaluate import LayerActivations
    from reseen.features import Features
    from reseen.networks import Panel
    from reseen.results import ResultsFolder
    from reseen.subject import Subject

    Score = Callable[..., pd.DataFrame]
    """`score_retrieval` with the settings that all tables share."""
    Images = Callable[[Level, str], NDArray[np.uint8]]
    """Images of a level and a condition, ``(n_items, n_samples, side, side, 3)``."""


def retrieve(
    results: ResultsFolder,
    subject: Subject,
    true: Callable[[str], Features],
    images: Images,
    panels: Sequence[Panel],
    *,
    size: int,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Score retrieval of one subject of a run; see `reseen.Results.retrieval`.

    Parameters
    ----------
    results
        Results folder of the run.
    subject
        Data of the subject, with its name in the run.
    true
        Function of a name that returns the true features of all stimuli.
    images
        Function of a level and a condition that returns its images.
    panels
        Protocols with the networks whose layers compare images.
    size
        As in `reseen.Results.retrieval`.
    progress
        Callback ``(n_done, n_total)``, in stacks of images and networks.
    """
    import pandas as pd

    recipe = results.recipe
    n_bootstrap = recipe.evaluate.n_bootstrap
    score = partial(score_retrieval, size=size, subject=subject.name, n_bootstrap=n_bootstrap, seed=recipe.seed)
    tables = list(_of_features(results, subject, true, score))
    tables += _of_images(results, subject, images, panels, score, progress)
    return pd.concat(tables, ignore_index=True)


def _of_features(
    results: ResultsFolder, subject: Subject, true: Callable[[str], Features], score: Score
) -> Iterator[pd.DataFrame]:
    """Yield the table of each decoded feature."""
    recipe, split = results.recipe, subject.split
    for name in decoded_features(recipe.reconstruct.conditions):
        decoded = results.load_features(results.decode_path(subject.name, name))
        every = true(name)
        mean, permuted = training_mean(decoded, every, split.folds), []
        for permutation in range(recipe.n_permuted):
            predicted = results.load_features(results.decode_path(subject.name, f"permuted{permutation}_{name}"))
            folds = None
            if len(split.folds) > 1:  # trials may be read for this, with all betas
                folds = permuted_folds(split, subject.trials.stimulus_id, recipe.seed, permutation)
            permuted.append(permuted_rows(predicted, every, folds, mean))
        yield score(
            decoded.flat,
            every.rows(decoded.stimulus_id).reshape(len(decoded), -1),
            decoded.stimulus_id,
            training_mean=mean,
            condition=name,
            permuted=permuted,
        )


def _of_images(
    results: ResultsFolder,
    subject: Subject,
    images: Images,
    panels: Sequence[Panel],
    score: Score,
    progress: Callable[[int, int], None] | None,
) -> Iterator[pd.DataFrame]:
    """Yield the table of each layer of each evaluation network and condition."""
    recipe = results.recipe
    conditions = recipe.reconstruct.conditions
    ids = results.load_features(results.decode_path(subject.name, decoded_features(conditions)[0])).stimulus_id
    levels: tuple[Level, ...] = ("permuted", "result") if recipe.n_permuted else ("result",)
    keys = [(level, condition) for condition in conditions for level in levels]
    permuted: dict[tuple[str, str, str], LayerActivations[tuple[Level, str]]] = {}
    for found in layer_activations(
        subject.stimuli.images(ids), keys, lambda key: images(*key), panels, progress=progress
    ):
        level, condition = found.key
        which = (condition, found.network, found.layer)
        if level == "permuted":  # the result of the same layer follows
            permuted[which] = found
            continue
        yield score(
            found,
            found.presented,
            ids,
            sides=("reconstruction", "original"),
            condition=condition,
            network=found.network,
            layer=found.layer,
            permuted=permuted.pop(which, ()),
        )
