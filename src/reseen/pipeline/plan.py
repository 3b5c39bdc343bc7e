"""Plan: can this recipe run, and what will it take? Answered from what is here, before anything is computed."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from reseen.analyses import decoded_features
from reseen.datasets.nsd_facts import SUBJECTS, TRIALS_PER_SESSION
from reseen.errors import ModelError, ReseenError, ResultsError
from reseen.extract import z_size
from reseen.files import GB
from reseen.ldm import LatentDiffusion, load_ldm
from reseen.ldm.devices import check_device
from reseen.observers import load_network, load_observer
from reseen.pipeline.extraction import harvest_of
from reseen.pipeline.job import with_precision
from reseen.pipeline.needs import Finding, find_data
from reseen.pipeline.picturing import conditions_at, draws_at, levels
from reseen.pipeline.sizes import Sizes, count_sizes, guess_sizes
from reseen.protocols import PROTOCOLS
from reseen.recipe import Condition, Recipe, ReconstructRecipe, differences, load_recipe
from reseen.results import lost_recipe, other_recipe
from reseen.tables import Level

BYTES_PER_PIXEL = 1.6
"""Of a PNG of a natural picture, roughly."""

__all__ = ["Finding", "check", "count_evaluations", "seconds_per_evaluation"]


def check(recipe: Recipe, out: Path, *, device: str = "cpu") -> list[Finding]:
    """Look at everything that a run needs, without running it and without fetching anything.

    Parameters
    ----------
    recipe
        What is to be run.
    out
        The results folder it is to be run into; nothing is written there.
    device
        Where the model's networks are to lie.

    Returns
    -------
    list
        One finding for each thing: ROIs, data files, what is held out, model, z, denoising, observers, results folder,
        encoding features, space, time.
    """
    with suppress(ModelError):  # the finding about the model says what is wrong with the device
        check_device(device)
        recipe = with_precision(recipe, device)
    data = list(find_data(recipe, out))
    held_out, sizes = _sizes(recipe, readable=all(finding.ok for finding in data))
    findings = [_rois(recipe), *data, held_out]
    ldm: list[LatentDiffusion] = []

    def model() -> str:
        known = recipe.model.model_dump(include={"name", "revision", "precision"})
        ldm.append(load_ldm(**known, device=device, fetch=False))
        return (
            f"{ldm[0].name}: pictures of {ldm[0].image_size} pixels, conditioning {ldm[0].conditioning_shape}, "
            f"{recipe.model.precision} on {device}"
        )

    findings.append(_try("model", model))
    asked = list(_asked_of(ldm[0], recipe)) if ldm else []
    findings += asked
    findings += [
        _try(f"observer {name}", lambda name=name: f"{len(load_observer(name).layers)} layers")  # type: ignore[misc]
        for name in recipe.evaluate.observers
    ]
    findings += [_network(name) for name in networks_of(recipe)]
    findings.append(_try("results folder", lambda: _folder(recipe, out)))
    if ldm and all(finding.ok for finding in asked):
        findings += _costs(recipe, out, ldm[0], sizes)
    return findings


def count_evaluations(recipe: Recipe, sizes: Sizes) -> int:
    """Count the U-Net evaluations of single pictures that the recipe takes for subjects of such sizes.

    Guidance takes two for each step; condition ``z`` takes none.
    """
    section = recipe.reconstruct
    steps = {"z": 0, "c": section.n_steps, "zc": int(section.n_steps * section.strength)}
    n_steps = sum(n * steps[condition] for _, condition, n in _counted(recipe, sizes))
    return n_steps * _passes(section) * len(recipe.data.subjects)


def _passes(section: ReconstructRecipe) -> int:
    """Return the U-Net evaluations of one step: guidance takes the caption and the empty one."""
    return 2 if section.guidance > 1 else 1


def _counted(recipe: Recipe, sizes: Sizes) -> Iterator[tuple[Level, Condition, int]]:
    """Count each subject's pictures of each level and condition, of the items that `pictures_of` tells of."""
    items = {"result": sizes.n_items, "floor_shuffled": sizes.n_items, "floor_mean": sizes.n_folds}
    for level in levels(recipe):
        for condition in conditions_at(recipe, level):
            yield level, condition, items.get(level, sizes.n_tested) * draws_at(recipe, level, condition)


def _try(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except ReseenError as error:
        return Finding(what, False, str(error))


def networks_of(recipe: Recipe) -> list[str]:
    """List the networks of others that the recipe's protocols look through."""
    looks = [look for name in recipe.evaluate.protocols for look in PROTOCOLS[name].looks]
    return list(dict.fromkeys(look.network for look in looks))


def _network(name: str) -> Finding:
    """Say whether a network is there; one that is missing stops no run, but leaves its scores out."""
    try:
        return Finding(f"network {name}", True, f"weights {load_network(name)[1]}")
    except ModelError as error:
        return Finding(f"network {name}", True, f"not there, and its scores will be left out: {error}")


def _rois(recipe: Recipe) -> Finding:
    names = decoded_features(recipe.reconstruct.conditions)
    return Finding("ROIs", True, "; ".join(f"{name} from {', '.join(recipe.decode.rois_of(name))}" for name in names))


def _sizes(recipe: Recipe, *, readable: bool) -> tuple[Finding, Sizes]:
    """Count what arrays hold, which are read to be checked anyway; of other data, or of none yet, guess."""
    sizes = guess_sizes(recipe)
    if recipe.data.kind != "arrays" or not readable:
        return Finding("held out", True, f"about {sizes}, by the recipe; the data were not counted"), sizes
    try:
        sizes = count_sizes(recipe.data)
    except ReseenError as error:
        return Finding("held out", False, str(error)), sizes
    return Finding("held out", True, str(sizes)), sizes


def _asked_of(ldm: LatentDiffusion, recipe: Recipe) -> Iterator[Finding]:
    """Ask the model for what is wanted of it: a z of the picture's size, and the steps of denoising."""
    section = recipe.reconstruct

    def encoded() -> str:
        size = z_size(ldm, recipe.extract)
        return f"of pictures of {size} pixels, {ldm.latent_shape[0]} x {size // ldm.factor} x {size // ldm.factor}"

    def denoised() -> str:
        n_steps = len(ldm.schedule.timesteps(section.n_steps))
        told = [f"c in {n_steps} steps"] if "c" in section.conditions else []
        if "zc" in section.conditions:
            _, undone = ldm.schedule.partial_timesteps(n_steps, section.strength, section.noise_index)
            told.append(f"zc in {len(undone)} of {n_steps} steps")
        return "; ".join(told)

    yield _try("z", encoded)
    if "c" in "".join(section.conditions):
        yield _try("denoising", denoised)


def _folder(recipe: Recipe, out: Path) -> str:
    if out.exists() and not out.is_dir():
        raise ResultsError(f"{out} is a file. Choose a folder for --out.")
    if not (out / "recipe.toml").is_file():
        if (out / "provenance.json").is_file():
            raise lost_recipe(out)
        return f"{out} is to be begun"
    differ = differences(recipe, load_recipe(out / "recipe.toml"))
    if differ:
        raise other_recipe(out, differ)
    return f"{out} is begun, and will be gone on with"


def _costs(recipe: Recipe, out: Path, ldm: LatentDiffusion, sizes: Sizes) -> list[Finding]:
    """Count what the run takes of the disk and of time; what the encoding analyses take is told apart."""
    n_stimuli, n_subjects = sizes.n_stimuli, len(recipe.data.subjects)
    try:
        harvest = harvest_of(recipe, ldm)
    except ReseenError as error:
        return [Finding("encoding features", False, str(error))]
    told = f"{harvest.told(n_stimuli)}, for each subject"
    findings = [Finding("encoding features", True, told)] if harvest.runs else []
    total = count_evaluations(recipe, sizes) + n_subjects * harvest.n_evaluations(n_stimuli)
    harvested = n_subjects * harvest.n_bytes(n_stimuli)
    return [*findings, _space(recipe, out, ldm, sizes, harvested), _effort(total, ldm, recipe.reconstruct)]


def _space(recipe: Recipe, out: Path, ldm: LatentDiffusion, sizes: Sizes, harvested: int) -> Finding:
    pictures = sum(count for _, _, count in _counted(recipe, sizes)) * ldm.image_size**2 * BYTES_PER_PIXEL
    z_side = z_size(ldm, recipe.extract) // ldm.factor
    targets = ldm.latent_shape[0] * z_side**2 + math.prod(ldm.conditioning_shape)
    n_decoded = 1 + recipe.evaluate.n_shuffles + (3 if recipe.evaluate.full else 0)
    arrays = 4 * targets * (sizes.n_stimuli + sizes.n_voxels * sizes.n_folds + sizes.n_items * n_decoded)
    needed = len(recipe.data.subjects) * (pictures + arrays) + harvested + _kept(recipe, sizes.n_voxels)
    folder = next(parent for parent in (out.resolve(), *out.resolve().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    found = f"about {needed / GB:.2g} GB needed, {free / GB:.3g} GB free"
    return Finding("space", free > needed, found if free > needed else f"{found}: free some, or choose another --out.")


def _kept(recipe: Recipe, n_voxels: int) -> int:
    """Count the bytes of NSD's betas that are kept beside the results."""
    if recipe.data.kind != "nsd":
        return 0
    known = [SUBJECTS[subject].n_sessions for subject in recipe.data.subjects if subject in SUBJECTS]
    return 4 * n_voxels * TRIALS_PER_SESSION * sum(min(n, recipe.data.sessions or n) for n in known)


def _effort(total: int, ldm: LatentDiffusion, section: ReconstructRecipe) -> Finding:
    """Time the model on a few rows, and say how long all the U-Net evaluations will take."""
    seconds = total * seconds_per_evaluation(ldm, together=section.batch_size * _passes(section))
    unit, size = ("s", 1) if seconds < 120 else ("min", 60) if seconds < 7200 else ("h", 3600)
    spoken = f"about {seconds / size:.0f} {unit} on {ldm.device}"
    return Finding("time", True, f"{total:,} U-Net evaluations, {spoken}; all else is added to that")


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
