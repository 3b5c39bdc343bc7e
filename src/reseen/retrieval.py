"""Retrieval: top-1 accuracy in random galleries, of every decoded feature and every network layer of a finished run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from reseen.conditions import decoded_features
from reseen.datasets.opening import open_subject
from reseen.evaluate import layer_activations, score_retrieval, training_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from reseen.results import ResultsFolder
    from reseen.subject import Subject

    Score = Callable[..., pd.DataFrame]
    """`score_retrieval` with the settings that all tables share."""


def retrieve(
    results: ResultsFolder,
    subject: str,
    images: Callable[[str], NDArray[np.uint8]],
    *,
    size: int,
    device: str,
) -> pd.DataFrame:
    """Score retrieval of one subject of a finished run; see `reseen.Results.retrieval`.

    Parameters
    ----------
    results
        Results folder of the run.
    subject
        Name of the subject.
    images
        Function of a condition that returns its reconstructions, ``(n_items, n_samples, side, side, 3)`` uint8.
    size, device
        As in `reseen.Results.retrieval`.
    """
    import pandas as pd

    opened, recipe = open_subject(results.data, subject), results.recipe
    n_bootstrap = recipe.evaluate.n_bootstrap
    score = partial(score_retrieval, size=size, subject=subject, n_bootstrap=n_bootstrap, seed=recipe.seed)
    of_features = _of_features(results, opened, subject, score)
    of_images = _of_images(results, opened, subject, images, device, score)
    return pd.concat([*of_features, *of_images], ignore_index=True)


def _of_features(results: ResultsFolder, opened: Subject, subject: str, score: Score) -> Iterator[pd.DataFrame]:
    """Yield the table of each decoded feature."""
    for name in decoded_features(results.recipe.reconstruct.conditions):
        decoded = results.load_features(results.decode_path(subject, name))
        true = results.feature_blocks(f"{subject}/{name}").load()
        yield score(
            decoded.flat,
            true.rows(decoded.stimulus_id).reshape(len(decoded), -1),
            decoded.stimulus_id,
            training_mean=training_mean(decoded, true, opened.split.folds),
            condition=name,
        )


def _of_images(
    results: ResultsFolder,
    opened: Subject,
    subject: str,
    images: Callable[[str], NDArray[np.uint8]],
    device: str,
    score: Score,
) -> Iterator[pd.DataFrame]:
    """Yield the table of each layer of each evaluation network and condition."""
    recipe = results.recipe
    conditions = recipe.reconstruct.conditions
    ids = results.load_features(results.decode_path(subject, decoded_features(conditions)[0])).stimulus_id
    originals = opened.stimuli.images(ids)
    for found in layer_activations(originals, conditions, images, recipe.evaluate, device=device):
        yield score(
            found.reconstructed,
            found.presented,
            ids,
            sides=("reconstruction", "original"),
            condition=found.key,
            network=found.network,
            layer=found.layer,
        )
