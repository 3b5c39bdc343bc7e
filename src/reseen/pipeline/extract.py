"""Extract: z and c of the presented stimuli of a subject, and the features of the encoding analyses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reseen.analyses import UNDENOISED, true_features
from reseen.blocks import are_complete
from reseen.errors import ResultsError
from reseen.features import Features
from reseen.files import GB, shown
from reseen.ldm import denoised_features, extraction
from reseen.ldm.recording_plan import plan_for
from reseen.pipeline.context import SubjectRun

if TYPE_CHECKING:
    from numpy.typing import NDArray

AT_ONCE = 16
"""Number of images in memory while hidden states are extracted."""


def extract(subject: SubjectRun) -> bool:
    """Extract the features of every presented stimulus of the subject; return whether any were missing."""
    extracted = _extract(subject)
    extracted = _extract_states(subject) or extracted
    return _record(subject) or extracted


def _extract(subject: SubjectRun) -> bool:
    run, results = subject.run, subject.results
    names = true_features(run.recipe.reconstruct.conditions, run.analyses())
    paths = {name: results.features_path(f"{subject.name}/{name}") for name in names}
    computed_by = subject.computed_by("extract")
    missing = [name for name, path in paths.items() if not results.has_arrays(path, computed_by)]
    if not missing:
        return False
    stimuli, used = subject.stimuli, subject.split.used
    counter = run.counter(f"extract {subject.name}")
    with run.recording_warnings():
        found = extraction.extract(stimuli, used, run.model, missing, recipe=run.recipe.extract, progress=counter)
    for name in missing:
        # read again: loading the model recorded its fingerprint, which is one of the settings
        results.save_features(paths[name], found[name], subject.computed_by("extract"))
    return True


def _extract_states(subject: SubjectRun) -> bool:
    """Extract the hidden states from which captions are written, if the recipe needs them."""
    run, results, name = subject.run, subject.results, subject.recipe.states
    if name is None:
        return False
    path = results.features_path(f"{subject.name}/{name}")
    if results.has_arrays(path, subject.computed_by("extract")):
        return False
    captioner, used = run.captioner, subject.split.used
    progress = run.counter(f"extract {name} of {subject.name}")
    states = np.empty((len(used), *captioner.shape), dtype=np.float32)
    for start in range(0, len(used), AT_ONCE):
        progress(start, len(used))
        images = [subject.stimuli.image(stimulus) for stimulus in used[start : start + AT_ONCE].tolist()]
        states[start : start + AT_ONCE] = captioner.image_to_states(images)
    extraction.check_varies(name, states, 0)
    _ = run.model  # its fingerprint is one of the settings
    results.save_features(path, Features(name, states, used), subject.computed_by("extract"))
    progress(len(used), len(used))
    return True


def _record(subject: SubjectRun) -> bool:
    """Record the features of the encoding analyses while the true z and c are denoised, block by block."""
    run, results = subject.run, subject.results
    names = set[str]()
    for analysis in run.analyses():
        names.update(analysis.features)
    names.difference_update(UNDENOISED)
    if all(are_complete(results.feature_files(f"{subject.name}/{name}")) for name in names):
        return False
    plan = plan_for(run.recipe, run.model)
    z, c = subject.blocks("z").load(), subject.blocks("c").load()
    blocks = plan.blocks(z.stimulus_id)
    computed_by = {**subject.computed_by("record"), "n_files": str(len(blocks))}

    def path_of(number: int, name: str) -> Path:
        return results.block_path(f"{subject.name}/{name}", number)

    def done(number: int) -> bool:
        return all(path_of(number, name).is_file() for name in plan.shapes)

    def write(number: int, ids: NDArray[np.int64], arrays: dict[str, NDArray[Any]]) -> None:
        for name, array in arrays.items():
            tensors = {"array": array, "stimulus_id": ids}
            results.save_arrays(path_of(number, name), tensors, {"name": name, **computed_by})

    n_missing = sum(len(ids) for number, ids in enumerate(blocks) if not done(number))
    _check_space(subject, plan.n_bytes(n_missing))
    denoised_features.record_features(
        plan,
        run.model,
        z,
        c,
        recipe=run.recipe.reconstruct,
        seed=run.recipe.seed,
        subject=subject.name,
        write=write,
        done=done,
        progress=run.counter(f"extract {subject.name}: {plan.describe(len(z))}"),
    )
    return True


def _check_space(subject: SubjectRun, needed: int) -> None:
    """Check before hours of denoising that the disk has ``needed`` bytes free."""
    folder = subject.results.path
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ResultsError(
            f"the features for the encoding analyses need {needed / GB:.3g} GB more in {shown(folder)}, where "
            f"{free / GB:.3g} GB are free. Free some, name fewer encode.layers or encode.layer_progress, or choose "
            "another --out.",
            where=folder,
            expected=needed,
            found=free,
        )
