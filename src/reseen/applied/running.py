"""Running: predict features of new trials, generate their images and score both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen.applied.contents import Applied
from reseen.applied.scoring import (
    coverage_table,
    note_training,
    retrieve_items,
    same_size,
    score_items,
    stimuli_of_run,
    true_features,
)
from reseen.conditions import decoded_features, features_of, main_condition
from reseen.datasets.new_trials import NewTrials, read_new_trials
from reseen.decode import Decoder
from reseen.decode.new_trials import ScalingRule, default_rule, predict_new, wanted_voxels
from reseen.decode.uncertainty import predictive_sd
from reseen.errors import DataError, RecipeError, ResultsError
from reseen.features import Features
from reseen.files import shown
from reseen.ldm import load_model
from reseen.reconstruction import count_samples, generate
from reseen.results import GREY_OF, ResultsFolder
from reseen.trials import Trials

if TYPE_CHECKING:
    from reseen.ldm import LatentDiffusion

Progress = Callable[[str, int, int], None]


def apply_run(
    results: ResultsFolder,
    decoders: Mapping[str, Sequence[Decoder]],
    trials: NewTrials,
    subject: str,
    *,
    conditions: Sequence[str],
    scaling: ScalingRule | None,
    average: bool,
    device: str,
    progress: Progress | None,
    trained: NDArray[np.int64] | None = None,
) -> Applied:
    """Predict features of new trials, generate their images and score both; see `reseen.Results.apply`.

    Parameters
    ----------
    results
        Results folder of the run.
    decoders
        Decoders of each fold by feature. The prediction is the mean over folds.
    trials
        The new trials.
    subject
        Name of the subject.
    conditions, scaling, average, device, progress
        As in `reseen.Results.apply`.
    trained
        Ids of stimuli that decoders of other origin were fitted on. Left out: the decoders are those of the run.
    """
    first = next(iter(decoders.values()))[0]
    rule = default_rule(first) if scaling is None else scaling
    if average and not trials.labelled:
        raise DataError("trials of unknown stimuli cannot be averaged. Add stimulus_id.", where="average")
    features = {name: _predict(fitted, trials.trials, rule, average=average) for name, fitted in decoders.items()}
    ids = next(iter(features.values())).stimulus_id
    notes: list[str] = []
    model = load_model_of(results, device) if conditions or trials.stimuli is not None else None
    images = {
        condition: _generate(results, model, condition, features, subject, progress)
        for condition in conditions
        if model is not None
    }
    single = not average and trials.trials.n_repetitions.max() == 1
    sd = uncertainty_of(decoders) if single else {}
    presented, scores, retrieval, coverage = None, None, None, None
    true: dict[str, NDArray[np.float32]] = {}
    if trials.labelled:
        stimuli = trials.stimuli if trials.stimuli is not None else stimuli_of_run(results, subject, notes)
        true = true_features(results, trials.stimuli, model, subject, ids, tuple(features))
        presented = None if stimuli is None else same_size(stimuli, ids)
        if trials.stimuli is None:
            note_training(results, subject, ids, decoders, notes, trained)
        coverage = coverage_table(features, true, sd)
        scores = score_items(
            results,
            subject,
            decoders,
            features,
            true,
            images,
            presented,
            notes,
            device,
            subsets={} if trials.stimuli is None else trials.stimuli.subsets,
        )
        retrieval = retrieve_items(results, subject, decoders, features, true, images, presented, device)
    return Applied(
        results.recipe.name,
        subject,
        rule,
        ids,
        _count_trials(trials.trials, average=average),
        trials.labelled,
        features,
        images,
        presented,
        sd,
        coverage,
        scores,
        retrieval,
        tuple(notes),
        true,
    )


def voxels_of(decoders: Mapping[str, Sequence[Decoder]]) -> NDArray[np.int64] | None:
    """Return the index of each voxel that any decoder needs, ascending; None if the run's data have no volume."""
    every = [decoder for fitted in decoders.values() for decoder in fitted]
    if any(decoder.voxel_index_ is None for decoder in every):
        return None
    return np.unique(np.concatenate([wanted_voxels(decoder) for decoder in every]))


def read_trials(
    path: Path, results: ResultsFolder, decoders: Mapping[str, Sequence[Decoder]], subject: str
) -> NewTrials:
    """Read a file of new trials, with the voxels that the decoders need; see `reseen.datasets.new_trials`."""
    return read_new_trials(path, subject, data=results.data, voxel_index=voxels_of(decoders))


def choose_conditions(results: ResultsFolder, conditions: Sequence[str] | None) -> tuple[str, ...]:
    """Return the conditions to generate images of; None means the main condition of the run.

    Raises
    ------
    RecipeError
        If a condition needs a feature that the run did not decode, or that is decoded under a prior.
    """
    known = results.recipe.reconstruct.conditions
    chosen = (main_condition(known),) if conditions is None else tuple(dict.fromkeys(conditions))
    decoded = decoded_features(known)
    for name in decoded_features(chosen) if chosen else decoded:
        if name not in decoded:
            raise RecipeError(
                f"the run did not decode {name!r}; it decoded {', '.join(decoded)}. Choose other conditions.",
                where="conditions",
                expected=decoded,
                found=name,
            )
        if name == "t" or (name == "c" and results.recipe.decode.c_prior == "captions"):
            raise RecipeError(
                f"{name!r} of this run is not the prediction of a decoder: it comes from training captions or from a "
                "captioner, which are not applied to new trials. Choose conditions without it.",
                where="conditions",
                found=name,
            )
    return chosen


def _predict(fitted: Sequence[Decoder], trials: Trials, rule: ScalingRule, *, average: bool) -> Features:
    """Predict one feature: the mean over the decoders of all folds."""
    parts = [predict_new(decoder, trials, rule, average=average) for decoder in fitted]
    if len(parts) == 1:
        return parts[0]
    mean = np.stack([part.array for part in parts]).mean(axis=0, dtype=np.float64).astype(np.float32)
    return Features(parts[0].name, mean, parts[0].stimulus_id)


def uncertainty_of(decoders: Mapping[str, Sequence[Decoder]]) -> dict[str, NDArray[np.float32]]:
    """Return the predictive standard deviation of each feature, for predictions of single trials.

    The mean over the decoders of several folds has at most the mean of their variances.
    """
    found = {}
    for name, fitted in decoders.items():
        known = [sd for sd in map(predictive_sd, fitted) if sd is not None]
        if len(known) == len(fitted):
            variance = np.stack(known).astype(np.float64) ** 2
            found[name] = np.sqrt(variance.mean(axis=0)).astype(np.float32)
    return found


def _count_trials(trials: Trials, *, average: bool) -> NDArray[np.int64]:
    """Return the number of trials that each item averages."""
    if not average:
        return trials.n_repetitions
    _, row = np.unique(trials.stimulus_id, return_inverse=True)
    return np.bincount(row, weights=trials.n_repetitions).astype(np.int64)


def load_model_of(results: ResultsFolder, device: str) -> LatentDiffusion:
    """Load the model of the run, and compare it with the one that the run used."""
    section = results.recipe.model
    model = load_model(
        section.name,
        revision=section.revision,
        precision=section.precision,
        device=device,
        image_adapter=section.image_adapter,
    )
    known = results.provenance.get("model")
    if known is not None and model.fingerprint != known:
        raise ResultsError(
            f"{section.name} is another model than that of {shown(results.path)}: its weights differ. Use the model "
            "that the run used.",
            where="model",
            expected=known,
            found=model.fingerprint,
        )
    return model


def _generate(
    results: ResultsFolder,
    model: LatentDiffusion,
    condition: str,
    features: Mapping[str, Features],
    subject: str,
    progress: Progress | None,
) -> NDArray[np.uint8]:
    """Generate the images of all items under one condition, with the settings and the seed of the run."""
    recipe = results.recipe
    given = {name: features[name] for name in features_of(condition)}
    n_items, side = len(next(iter(given.values()))), model.image_size
    images = np.empty((n_items, count_samples(condition, recipe.reconstruct), side, side, 3), dtype=np.uint8)

    def keep(item: int, sample: int, image: NDArray[np.uint8]) -> None:
        images[item, sample] = image

    def count(n_done: int, n_total: int) -> None:
        if progress is not None:
            progress(f"reconstruct {condition}", n_done, n_total)

    generate(
        model,
        condition,
        given,
        recipe=recipe.reconstruct,
        seed=recipe.seed,
        subject=subject,
        write=keep,
        progress=count,
        as_grey=generates_grey(results, subject),
    )
    return images


def generates_grey(results: ResultsFolder, subject: str) -> bool:
    """Return whether the images of a subject are generated in grey, by the setting of the run."""
    choice = results.recipe.reconstruct.grey
    return results.provenance.get(f"{GREY_OF}{subject}") == "yes" if choice == "auto" else choice
