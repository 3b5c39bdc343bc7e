"""Costs: disk space, decoders and time of a run."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from reseen.check.finding import Finding, finding_of, refused
from reseen.check.inputs import Inputs
from reseen.check.ridge_operations import USUAL_N_ALPHAS, Operations, count_factoring, count_targets
from reseen.check.sizes import Sizes
from reseen.conditions import STATES, in_role, is_denoised
from reseen.datasets import Outline
from reseen.datasets.nsd_facts import SUBJECTS, TRIALS_PER_SESSION
from reseen.datasets.nsd_protocol import list_sessions_of
from reseen.decode.estimators import RIDGE
from reseen.decode.prior import N_COMPONENTS
from reseen.errors import ReseenError, ResultsError
from reseen.files import GB, shown
from reseen.ldm import LatentDiffusion
from reseen.ldm.extraction import feature_shape
from reseen.ldm.recording_plan import plan_for
from reseen.ldm.sampling import evaluations_per_step
from reseen.recipe import Condition, Recipe, ReconstructRecipe
from reseen.reconstruction.levels import conditions_at, levels_of, samples_at
from reseen.tables import Level

BYTES_PER_PIXEL = 1.6
"""Approximate size of a PNG of a natural image."""


def count_evaluations(recipe: Recipe, sizes: Sizes, ldm: LatentDiffusion) -> int:
    """Count the U-Net evaluations of single images of a recipe and model, for subjects of these sizes.

    Classifier-free guidance takes two for each step, guidance as an input of the model one; a start alone takes none.
    """
    section = recipe.reconstruct
    n_steps = sum(n * _steps(condition, section) for _, condition, n in _counted(recipe, sizes))
    return n_steps * evaluations_per_step(ldm, section.guidance) * len(recipe.data.subjects)


def _steps(condition: Condition, section: ReconstructRecipe) -> int:
    """Return the steps of denoising of one image: with a start only the last ones, by ``strength``."""
    if not is_denoised(condition):
        return 0
    # with "lcm" strength chooses the timesteps, not their number
    every = in_role(condition, "start") is None or section.sampler == "lcm"
    return section.n_steps if every else int(section.n_steps * section.strength)


def _counted(recipe: Recipe, sizes: Sizes) -> Iterator[tuple[Level, Condition, int]]:
    """Count each subject's images of each level and condition, for the items of `images_of`."""
    items = {"result": sizes.n_items, "permuted": sizes.n_items, "chance_mean": sizes.n_folds}
    for level in levels_of(recipe):
        for condition in conditions_at(recipe, level):
            yield level, condition, items.get(level, sizes.n_tested) * samples_at(recipe, level, condition)


def encoding_features(inputs: Inputs) -> Iterator[Finding]:
    """Check that the model can compute the features of the encoding analyses, and count them."""
    if not inputs.has_model:
        return
    finding = finding_of("encoding features", lambda: _recorded(inputs))
    if finding.found:
        yield finding


def _recorded(inputs: Inputs) -> str:
    recording = plan_for(inputs.recipe, inputs.model)
    return f"{recording.describe(inputs.sizes.n_stimuli)}, for each subject" if recording.runs else ""


def space(inputs: Inputs) -> Iterator[Finding]:
    """Check that the disk has space for the run's files."""
    try:
        needed = _n_bytes(inputs)
    except ReseenError:
        return  # another finding refuses the model
    out = inputs.out.resolve()
    folder = next(parent for parent in (out, *out.parents) if parent.exists())
    free = shutil.disk_usage(folder).free + _written(out)
    found = f"about {needed / GB:.2g} GB needed, {free / GB:.3g} GB free"
    if free > needed:
        yield Finding("space", found)
    else:
        message = f"{found} for {shown(out)}: free some, or choose another --out."
        yield refused("space", ResultsError(message, where=out, expected=needed, found=free))


def _n_bytes(inputs: Inputs) -> float:
    recipe, ldm, sizes = inputs.recipe, inputs.model, inputs.sizes
    n_subjects = len(recipe.data.subjects)
    images = sum(count for _, _, count in _counted(recipe, sizes)) * ldm.image_size**2 * BYTES_PER_PIXEL
    extracted = {*inputs.needed_features, *([] if recipe.states is None else [recipe.states])}
    features = sum(_n_targets(inputs, name) for name in extracted)
    targets = sum(_n_targets(inputs, name) for name in recipe.decoded)
    n_decoded = 1 + recipe.n_permuted + (3 if recipe.evaluate.full else 0)
    # float32: features of all stimuli, decoders of all folds, decoded features
    arrays = 4 * features * sizes.n_stimuli
    arrays += 4 * targets * (sizes.n_voxels * sizes.n_folds + sizes.n_items * n_decoded)
    recorded = plan_for(recipe, ldm).n_bytes(sizes.n_stimuli)
    kept = _kept(recipe, sizes.n_voxels) + _estimated(inputs)
    return n_subjects * (images + arrays + recorded) + kept


def _written(out: Path) -> int:
    """Count the bytes that are in this folder already."""
    total = 0
    for where, _, names in os.walk(out):
        for name in names:
            with suppress(OSError):  # the file was deleted meanwhile
                total += Path(where, name).stat().st_size
    return total


def _kept(recipe: Recipe, n_voxels: int) -> int:
    """Count the bytes of NSD's betas that are cached with the results."""
    if recipe.data.kind != "nsd":
        return 0
    known = [SUBJECTS[subject].n_sessions for subject in recipe.data.subjects if subject in SUBJECTS]
    return 4 * n_voxels * TRIALS_PER_SESSION * sum(len(list_sessions_of(recipe.data.sessions, range(n))) for n in known)


def _estimated(inputs: Inputs) -> int:
    """Count the bytes of betas that are estimated from series, at most: betas in files are not kept."""
    if inputs.data.kind != "bids":
        return 0
    return sum(4 * outline.n_read * len(outline.stimulus_id) for outline in inputs.known.values())


def decoders(inputs: Inputs) -> Iterator[Finding]:
    """Count the targets, operations and weights of the decoders that a run fits by reseen's ridge."""
    recipe = inputs.recipe
    fitted = [name for name in recipe.decoded if recipe.decode.elsewhere(name) is None]
    if recipe.states is not None:
        fitted = [name for name in fitted if name != "t"]  # captions are written from decoded states
    if recipe.decode.decoder != RIDGE or not fitted or not inputs.known or not inputs.has_model:
        return
    try:
        targets = {name: _n_targets(inputs, name) for name in fitted}
    except ReseenError:
        return  # another finding refuses the model
    operations, n_weights = Operations(0.0, 0.0), 0
    for outline in inputs.known.values():
        n_folds = len(outline.split.folds)
        for name, previous in zip(targets, (None, *targets), strict=False):
            n_targets, n_factorings = targets[name], 0 if shares_factoring(recipe, name, previous) else 1
            for fold in range(n_folds):
                operations += _operations(recipe, outline, fold, name, n_targets, n_factorings)
            n_weights = max(n_weights, _n_voxels(recipe, outline, name) * n_targets * n_folds)
    counted = ", ".join(f"{name} {n_targets:,}" for name, n_targets in targets.items())
    time = "" if inputs.device.startswith("cuda") else f", about {duration(operations.seconds)} of one core"
    weights = f"at most {4 * n_weights / GB:.2g} GB of weights in memory"  # float32, of the largest feature
    yield Finding("decoders", f"{counted} targets: {operations.total / 1e12:.2g} TFLOP{time}; {weights}")


def shares_factoring(recipe: Recipe, name: str, previous: str | None) -> bool:
    """Return whether a feature is decoded from the voxels and with the penalties of the previous one."""
    section = recipe.decode
    if previous is None or section.rois_of(name) != section.rois_of(previous):
        return False
    return section.alphas_of(name) == section.alphas_of(previous)


def _operations(
    recipe: Recipe, outline: Outline, fold: int, name: str, n_targets: int, n_factorings: int
) -> Operations:
    """Count the operations of one feature's decoders in one fold, on true and on permuted labels."""
    section, n_fits = recipe.decode, 1 + recipe.n_permuted
    trained = outline.stimulus_id[outline.split.train_rows(fold, outline.stimulus_id)]
    n_stimuli = len(np.unique(trained))
    n_trials = n_stimuli if recipe.data.train_trials == "averaged" else len(trained)
    shape = (n_trials, n_stimuli, _n_voxels(recipe, outline, name))
    alphas = section.alphas_of(name)
    n_alphas = USUAL_N_ALPHAS if alphas is None else len(set(alphas))
    count = partial(count_targets, *shape, n_alphas=n_alphas, n_folds=section.n_folds)
    factoring = count_factoring(*shape, n_folds=section.n_folds)
    under_prior = name == "t" or (name == "c" and section.c_prior == "captions")
    if under_prior:  # principal components are decoded too, and for permuted labels they alone
        n_components = min(N_COMPONENTS, n_stimuli // 5)
        return factoring * (n_factorings + 1) + count(n_targets) + count(n_components) * n_fits
    return factoring * n_factorings + count(n_targets) * n_fits


def _n_targets(inputs: Inputs, name: str) -> int:
    """Count the numbers in a feature of one stimulus."""
    if name in STATES:
        return math.prod(inputs.captioner.shape)
    return math.prod(feature_shape(inputs.model, name, inputs.recipe.extract))


def _n_voxels(recipe: Recipe, outline: Outline, name: str) -> int:
    """Count the voxels that predict a feature, at most: ROIs may overlap."""
    counts = [outline.n_voxels.get(roi, outline.n_read) for roi in recipe.decode.rois_of(name)]
    return min(sum(counts), outline.n_read)


def effort(inputs: Inputs) -> Iterator[Finding]:
    """Time the model on a few images, and estimate the time of all U-Net evaluations."""

    def measure() -> str:
        ldm, sizes, n_subjects = inputs.model, inputs.sizes, len(inputs.recipe.data.subjects)
        recording = plan_for(inputs.recipe, ldm)
        total = count_evaluations(inputs.recipe, sizes, ldm) + n_subjects * recording.n_evaluations(sizes.n_stimuli)
        section = inputs.recipe.reconstruct
        together = section.batch_size * evaluations_per_step(ldm, section.guidance)
        seconds = total * seconds_per_evaluation(ldm, together=together)
        return f"{total:,} U-Net evaluations, about {duration(seconds)} on {ldm.device}; all else is added to that"

    if inputs.has_model and finding_of("encoding features", lambda: _recorded(inputs)).ok:
        yield finding_of("time", measure)


def duration(seconds: float) -> str:
    """Return a time span in seconds, minutes or hours, such as ``"3 min"``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def seconds_per_evaluation(ldm: LatentDiffusion, *, together: int) -> float:
    """Measure the seconds that the U-Net takes for one image in a batch of the size that a run computes together.

    Parameters
    ----------
    ldm
        The frozen model, not compiled.
    together
        How many rows a run passes at once. The device may take fewer, and then so many are timed.
    """
    import torch

    rows = min(together, ldm.most_rows)
    latents = torch.zeros((rows, *ldm.latent_shape), device=ldm.device)
    conditioning = torch.from_numpy(np.repeat(ldm.text_to_conditioning([""]), rows, axis=0)).to(ldm.device)
    spent = []
    for _ in range(2):  # the first also warms up, and on a GPU finds how many rows fit
        start = time.perf_counter()
        ldm.predict_noise(latents, 500, conditioning).cpu()
        spent.append(time.perf_counter() - start)
    return min(spent) / rows
