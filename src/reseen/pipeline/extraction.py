"""Extraction: z and c of every picture that a subject was shown, and what the encoding analyses take beside them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from reseen.analyses import UNDENOISED, true_features
from reseen.blocks import are_whole
from reseen.errors import ResultsError
from reseen.files import GB
from reseen.ldm import LatentDiffusion, denoised_features, extraction, recording_plan
from reseen.pipeline.job import Job, analyses_of
from reseen.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reseen.ldm.recording_plan import RecordingPlan


def extract_stage(job: Job) -> bool:
    """Extract the features of every picture that a subject was shown."""
    worked = False
    for subject in job.subjects:
        worked |= _extract(job, subject)
        worked |= _record(job, subject)
    return worked


def recording_plan_of(recipe: Recipe, ldm: LatentDiffusion) -> RecordingPlan:
    """Plan what is collected from the denoising of the true z and c for the recipe's encoding analyses."""
    names = [name for analysis in analyses_of(recipe, lambda: ldm) for name in analysis.features]
    return recording_plan.plan_recording(ldm, names, recipe=recipe.reconstruct, activations=recipe.encode.activations)


def _extract(job: Job, subject: str) -> bool:
    names = true_features(job.recipe.reconstruct.conditions, job.analyses())
    paths = {name: job.results.features_path(f"{subject}/{name}") for name in names}
    made_by = job.made_by("extract", subject)
    missing = [name for name, path in paths.items() if not job.results.has_arrays(path, made_by)]
    if not missing:
        return False
    _, stimuli, split = job.facts(subject)
    shown = split.used
    counter = job.counter(f"extract {subject}")
    with job.noting_warnings():
        found = extraction.extract(stimuli, shown, job.ldm(), missing, recipe=job.recipe.extract, progress=counter)
    for name in missing:
        job.results.save_features(paths[name], found[name], job.made_by("extract", subject))
    return True


def _record(job: Job, subject: str) -> bool:
    names = {name for analysis in job.analyses() for name in analysis.features}.difference(UNDENOISED)
    if all(are_whole(job.results.feature_files(f"{subject}/{name}")) for name in names):
        return False
    wanted = recording_plan_of(job.recipe, job.ldm())
    z, c = job.true(subject, "z"), job.true(subject, "c")
    blocks = wanted.blocks(z.stimulus_id)
    paths = [
        {name: job.results.block_path(f"{subject}/{name}", number) for name in wanted.shapes}
        for number in range(len(blocks))
    ]
    made_by = {**job.made_by("record", subject), "n_files": str(len(blocks))}

    def done(number: int) -> bool:
        return all(path.is_file() for path in paths[number].values())

    def write(number: int, ids: NDArray[np.int64], arrays: dict[str, NDArray[Any]]) -> None:
        for name, array in arrays.items():
            tensors = {"array": array, "stimulus_id": ids}
            job.results.save_arrays(paths[number][name], tensors, {"name": name, **made_by})

    _check_room(job, wanted.n_bytes(sum(len(ids) for number, ids in enumerate(blocks) if not done(number))))
    denoised_features.record_features(
        wanted,
        job.ldm(),
        z,
        c,
        recipe=job.recipe.reconstruct,
        seed=job.recipe.seed,
        subject=subject,
        write=write,
        done=done,
        progress=job.counter(f"extract {subject}: {wanted.told(len(z))}"),
    )
    return True


def _check_room(job: Job, needed: int) -> None:
    """Make sure before hours of denoising that the disk has room for what is to be written."""
    free = shutil.disk_usage(job.results.path).free
    if needed > free:
        raise ResultsError(
            f"the features for the encoding analyses take {needed / GB:.3g} GB more in {job.results.path}, where "
            f"{free / GB:.3g} GB are free. Free some, name fewer encode.layers or encode.layer_progress, or choose "
            "another --out."
        )
