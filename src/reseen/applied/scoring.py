"""Scoring: true features and presented images of new trials, and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reseen.datasets.opening import open_subject
from reseen.decode import Decoder
from reseen.decode.uncertainty import COVERAGES, measure_coverage
from reseen.errors import DataError, ReseenError
from reseen.evaluate import evaluate_features, layer_activations, panels_of, score_retrieval
from reseen.features import Features
from reseen.files import shown
from reseen.headline import stimuli_category, stimuli_of
from reseen.ldm.extraction import extract
from reseen.results import ResultsFolder
from reseen.ridge import RidgeMap
from reseen.scores import Scores
from reseen.scoring import score

if TYPE_CHECKING:
    import pandas as pd

    from reseen.ldm import LatentDiffusion
    from reseen.stimuli import Stimuli

FEWEST_STIMULI = 3
"""Smallest number of stimuli that scores can be computed of."""


def stimuli_of_run(results: ResultsFolder, subject: str, notes: list[str]) -> Stimuli | None:
    """Open the images of the run; where they cannot be read, say so and return None."""
    try:
        return open_subject(results.data, subject).stimuli
    except ReseenError as error:
        notes.append(f"The presented images are not shown and images are not scored: {error}")
        return None


def true_features(
    results: ResultsFolder,
    stimuli: Stimuli | None,
    model: LatentDiffusion | None,
    subject: str,
    ids: NDArray[np.int64],
    names: tuple[str, ...],
) -> dict[str, NDArray[np.float32]]:
    """Return the true features of each item, ``(n_items, ...)``: of the run, or extracted from new images."""
    if stimuli is not None and model is not None:
        found = extract(stimuli, np.unique(ids), model, names, recipe=results.recipe.extract)
        return {name: features.rows(ids) for name, features in found.items()}
    true = {}
    for name in names:
        known = results.feature_blocks(f"{subject}/{name}").load()
        unknown = np.setdiff1d(ids, known.stimulus_id)
        if len(unknown):
            raise DataError(
                f"stimulus {unknown[0]} of the new trials is not a stimulus of {subject} in {shown(results.path)}. "
                "Use the run's ids, or leave stimulus_id out, or give a recipe (.toml) that names the images.",
                where="stimulus_id",
                found=int(unknown[0]),
            )
        true[name] = known.rows(ids)
    return true


def note_training(
    results: ResultsFolder,
    subject: str,
    ids: NDArray[np.int64],
    decoders: Mapping[str, Sequence[Decoder]],
    notes: list[str],
    fitted_on: NDArray[np.int64] | None,
) -> None:
    """Note how many stimuli were training stimuli of the run, or of decoders that were fitted on other stimuli."""
    if fitted_on is None:
        tested = results.load_features(results.decode_path(subject, next(iter(decoders)))).stimulus_id
        several = any(len(fitted) > 1 for fitted in decoders.values())
        trained = np.unique(ids) if several else np.setdiff1d(ids, tested)
    else:
        trained = np.intersect1d(ids, fitted_on)
    if len(trained):
        notes.append(
            f"{len(trained):,} of {len(np.unique(ids)):,} stimuli were training stimuli of the decoders: their scores "
            "show recognition of known images, not reconstruction of new ones."
        )


def same_size(stimuli: Stimuli, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the presented image of each item; images of several sizes are resized to the smallest."""
    unique, row = np.unique(ids, return_inverse=True)
    images = [stimuli.image(int(stimulus)) for stimulus in unique]
    side = min(len(image) for image in images)
    found = [
        image
        if len(image) == side
        else np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))
        for image in images
    ]
    stack: NDArray[np.uint8] = np.stack(found)[row]
    return stack


def coverage_table(
    features: Mapping[str, Features], true: Mapping[str, NDArray[np.float32]], sd: Mapping[str, NDArray[np.float32]]
) -> pd.DataFrame:
    """Return the proportion of true values in intervals of each nominal coverage, one row each."""
    import pandas as pd

    rows = []
    for name, known in sd.items():
        measured = measure_coverage(features[name].array, true[name], known)
        rows += [(name, nominal, value, len(true[name])) for nominal, value in zip(COVERAGES, measured, strict=True)]
    return pd.DataFrame(rows, columns=["feature", "nominal", "measured", "n"])


def mean_features(fitted: Sequence[Decoder]) -> NDArray[np.float32]:
    """Return the mean of the training trials' features, ``(n_targets,)``, averaged over the decoders of all folds.

    It is the intercept of each map; a user's estimator is never stored, see `Results.decoder`.
    """
    means = [decoder.map_.intercept for decoder in fitted if isinstance(decoder.map_, RidgeMap)]
    mean: NDArray[np.float32] = np.mean(means, axis=0)
    return mean


def score_items(
    results: ResultsFolder,
    subject: str,
    decoders: Mapping[str, Sequence[Decoder]],
    features: Mapping[str, Features],
    true: Mapping[str, NDArray[np.float32]],
    images: Mapping[str, NDArray[np.uint8]],
    presented: NDArray[np.uint8] | None,
    notes: list[str],
    device: str,
    *,
    subsets: Mapping[str, frozenset[int]],
) -> Scores | None:
    """Score features and images with the settings of the run; stimuli of each subset are also scored by themselves."""
    import pandas as pd

    recipe, ids = results.recipe, next(iter(features.values())).stimulus_id
    n_stimuli = len(np.unique(ids))
    if n_stimuli < FEWEST_STIMULI:
        notes.append(f"There are no scores: {n_stimuli} stimuli are known, and scores need {FEWEST_STIMULI} or more.")
        return None
    tables = []
    for name, found in features.items():
        flat = true[name].reshape(len(ids), -1)
        tables.append(
            evaluate_features(
                subject,
                name,
                found.flat,
                flat,
                mean_features(decoders[name]),
                stimulus_id=ids,
                subsets=subsets,
                recipe=recipe.evaluate,
                seed=recipe.seed,
            )
        )
    category = stimuli_of(results.provenance, (subject,))
    if images and presented is not None:
        scored = score(
            images,
            presented,
            stimulus_id=ids,
            subject=subject,
            stimuli=category or stimuli_category(presented, drawn=False),
            subsets=subsets,
            seed=recipe.seed,
            n_bootstrap=recipe.evaluate.n_bootstrap,
            n_pairings=recipe.evaluate.n_derangements,
            device=device,
        )
        tables.append(scored.table)
    return Scores(pd.concat(tables, ignore_index=True), stimuli=category)


def retrieve_items(
    results: ResultsFolder,
    subject: str,
    decoders: Mapping[str, Sequence[Decoder]],
    features: Mapping[str, Features],
    true: Mapping[str, NDArray[np.float32]],
    images: Mapping[str, NDArray[np.uint8]],
    presented: NDArray[np.uint8] | None,
    device: str,
) -> pd.DataFrame | None:
    """Score retrieval by features and network layers, with the settings of the run; None for too few stimuli."""
    import pandas as pd

    recipe, ids = results.recipe, next(iter(features.values())).stimulus_id
    if len(np.unique(ids)) < FEWEST_STIMULI:
        return None
    score_one = partial(score_retrieval, subject=subject, n_bootstrap=recipe.evaluate.n_bootstrap, seed=recipe.seed)
    tables = []
    for name, found in features.items():
        flat, mean = true[name].reshape(len(ids), -1), mean_features(decoders[name])
        tables.append(score_one(found.flat, flat, ids, training_mean=mean, condition=name))
    if images and presented is not None:
        panels = panels_of(recipe.evaluate, device=device)
        for layer in layer_activations(presented, images, images.__getitem__, panels):
            found_images = score_one(
                layer,
                layer.presented,
                ids,
                sides=("reconstruction", "original"),
                condition=layer.key,
                network=layer.network,
                layer=layer.layer,
            )
            tables.append(found_images)
    return pd.concat(tables, ignore_index=True)
