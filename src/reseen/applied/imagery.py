"""Imagery: decode NSD-Imagery with the decoders of a finished run, and score it by the protocol nsdimagery2025."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reseen.applied.contents import Applied
from reseen.applied.running import apply_run, voxels_of
from reseen.applied.scoring import mean_features
from reseen.datasets.imagery_files import DECODED_TASKS
from reseen.datasets.new_trials import NewTrials, refuse_other_layouts
from reseen.datasets.nsd_imagery import read_imagery
from reseen.decode import Decoder
from reseen.decode.new_trials import ScalingRule
from reseen.evaluate import layer_activations, panels_of, score_imagery
from reseen.files import write_text, writing_folder
from reseen.metrics import Floats, correlation_matrix
from reseen.recipe import DataRecipe
from reseen.results import ResultsFolder
from reseen.tables import FEATURES, to_csv

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, int, int], None]
Compared = tuple[str, str, str]
"""Feature or condition, evaluation network, layer."""


@dataclass(frozen=True, eq=False, repr=False)
class Imagery:
    """Decoded vision and imagery of one subject or several.

    Parameters
    ----------
    table
        Scores, with the columns `reseen.tables.IMAGERY_COLUMNS`.
    applied
        Decoded features and images of each subject and task: ``applied["subj01", "imagery"]``. Its ``stimulus_id`` is
        the number of the target.
    targets
        Name of each target, in order of its number; 0 to 11 have images.
    """

    table: pd.DataFrame
    applied: Mapping[tuple[str, str], Applied]
    targets: tuple[str, ...]

    def __repr__(self) -> str:
        subjects = dict.fromkeys(subject for subject, _ in self.applied)
        return f"Imagery: {', '.join(subjects)}, {len(self.table)} scores"

    def save(self, folder: Path | str) -> None:
        """Write ``imagery.csv``, and features, images and report of each subject and task, into a new folder.

        Raises
        ------
        ResultsError
            If the folder is not empty or cannot be written.
        """
        with writing_folder(Path(folder)) as part:
            for (subject, task), found in self.applied.items():
                found.save(part / f"{subject}-{task}")
            write_text(part / "imagery.csv", to_csv(self.table))


def apply_imagery(
    results: ResultsFolder,
    decoders: Mapping[str, Mapping[str, Sequence[Decoder]]],
    data: DataRecipe,
    *,
    conditions: Sequence[str],
    scaling: ScalingRule | None,
    device: str,
    progress: Progress | None,
) -> Imagery:
    """Decode and score NSD-Imagery; see `reseen.Results.imagery`.

    Parameters
    ----------
    results
        Results folder of the run.
    decoders
        Subject -> feature -> decoders of each fold.
    data
        Section ``data`` of the run, with the folder of NSD-Imagery.
    conditions, scaling, device, progress
        As in `reseen.Results.apply`.
    """
    import pandas as pd

    applied: dict[tuple[str, str], Applied] = {}
    names: tuple[str, ...] = ()
    sets: list[str] = []
    for subject, fitted in decoders.items():
        found = read_imagery(data, subject, refuse_other_layouts(data, voxels_of(fitted)))
        for task in DECODED_TASKS:
            trials = NewTrials(found.of_task(task), True, found.stimuli)
            applied[subject, task] = apply_run(
                results,
                fitted,
                trials,
                subject,
                conditions=conditions,
                scaling=scaling,
                average=True,
                device=device,
                progress=progress,
            )
        names = tuple(target.name for target in found.targets)
        sets = [found.targets[number].target_set for number in applied[subject, DECODED_TASKS[0]].stimulus_id]
    correlations: dict[Compared, dict[str, dict[str, Floats]]] = {}
    compared_features = _feature_matrices(decoders, applied)
    for subject, done, compared, matrix in (*compared_features, *_image_matrices(results, applied, device)):
        correlations.setdefault(compared, {}).setdefault(subject, {})[done] = matrix
    recipe = results.recipe
    tables = [
        score_imagery(
            of_subjects,
            sets,
            condition=condition,
            network=network,
            layer=layer,
            n_bootstrap=recipe.evaluate.n_bootstrap,
            seed=recipe.seed,
        )
        for (condition, network, layer), of_subjects in correlations.items()
    ]
    return Imagery(pd.concat(tables, ignore_index=True), applied, names)


def _feature_matrices(
    decoders: Mapping[str, Mapping[str, Sequence[Decoder]]], applied: Mapping[tuple[str, str], Applied]
) -> Iterator[tuple[str, str, Compared, Floats]]:
    """Yield subject, task, feature, and the correlation of every target with every decoded item, ``(n, n)``."""
    for (subject, task), one in applied.items():
        for name, decoded in one.features.items():
            mean = mean_features(decoders[subject][name])
            true = one.true[name].reshape(len(decoded), -1)
            yield subject, task, (name, FEATURES, ""), correlation_matrix(true - mean, decoded.flat - mean)


def _image_matrices(
    results: ResultsFolder, applied: Mapping[tuple[str, str], Applied], device: str
) -> Iterator[tuple[str, str, Compared, Floats]]:
    """Yield subject, task, condition with layer, and the correlation of every target with every reconstruction.

    All subjects and tasks have the same targets, whose activations are computed once.
    """
    presented = next(iter(applied.values())).presented
    if presented is None:
        return
    keys = [(subject, task, condition) for (subject, task), one in applied.items() for condition in one.images]
    found = layer_activations(
        presented,
        keys,
        lambda key: applied[key[0], key[1]].images[key[2]],
        panels_of(results.recipe.evaluate, device=device),
    )
    for one in found:
        # as in the protocol builtin: correlations are averaged over the samples of an item
        presented_rows = one.presented
        matrix = np.mean([correlation_matrix(presented_rows, sample) for sample in one], axis=0)
        subject, task, condition = one.key
        yield subject, task, (condition, one.network, one.layer), matrix
