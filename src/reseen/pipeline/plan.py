"""Plan: can this recipe run, and what will it take? Answered in seconds, before anything is computed."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reseen import datasets
from reseen.datasets import FileCheck
from reseen.datasets.nsd import TERMS
from reseen.datasets.nsd_facts import NsdFiles
from reseen.errors import ReseenError, ResultsError
from reseen.files import GB
from reseen.ldm import LatentDiffusion, load_ldm
from reseen.observers import load_observer
from reseen.pipeline.extraction import harvest_of
from reseen.pipeline.job import data_path
from reseen.pipeline.picturing import conditions_at, draws_at, levels
from reseen.pipeline.stages import TRUTH
from reseen.recipe import Condition, DataRecipe, Recipe, differences, load_recipe
from reseen.tables import Level

BYTES_PER_PIXEL = 1.6
"""Of a PNG of a natural picture, roughly."""
TIMED_ROWS = 16


@dataclass(frozen=True)
class Finding:
    """Say whether one thing that a run needs is as it must be.

    Parameters
    ----------
    what
        The thing.
    ok
        Whether the recipe can run with it.
    found
        What was found, and what to do where it will not do.
    """

    what: str
    ok: bool
    found: str


def check(recipe: Recipe, out: Path, *, device: str = "cpu") -> list[Finding]:
    """Look at everything that a run needs, without running it.

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
        One finding for each thing: ROIs, data files, model, observers, results folder, encoding features, space, time.
    """
    findings = [_rois(recipe), *_data(recipe, out)]
    ldm: list[LatentDiffusion] = []

    def model() -> str:
        section = recipe.model
        ldm.append(load_ldm(section.name, revision=section.revision, precision=section.precision, device=device))
        return f"{section.name}: pictures of {ldm[0].image_size} pixels, conditioning {ldm[0].conditioning_shape}"

    findings.append(_try("model", model))
    findings += [
        _try(f"observer {name}", lambda name=name: f"{len(load_observer(name).layers)} layers")  # type: ignore[misc]
        for name in recipe.evaluate.observers
    ]
    findings.append(_try("results folder", lambda: _folder(recipe, out)))
    if ldm:
        findings += _costs(recipe, out, ldm[0])
    return findings


def count_evaluations(recipe: Recipe, n_items: int) -> int:
    """Count the U-Net evaluations of single pictures that the recipe takes for so many test items of each subject.

    Guidance takes two for each step; condition ``z`` takes none.
    """
    section = recipe.reconstruct
    passes = 2 if section.guidance > 1 else 1
    steps = {"z": 0, "c": section.n_steps, "zc": int(section.n_steps * section.strength)}
    n_steps = sum(n * steps[condition] for _, condition, n in _counted(recipe, n_items))
    return n_steps * passes * len(recipe.data.subjects)


def count_items(recipe: Recipe) -> int:
    """Guess how many test items a subject has, without reading the data."""
    if recipe.data.n_test is not None:
        return recipe.data.n_test
    return recipe.simulate.n_test if recipe.data.kind == "digital" else 1000 if recipe.data.kind == "nsd" else 100


def count_stimuli(recipe: Recipe) -> int:
    """Guess how many pictures a subject was shown, without reading the data."""
    return 10_000 if recipe.data.kind == "nsd" else recipe.simulate.n_train + recipe.simulate.n_test


def _counted(recipe: Recipe, n_items: int) -> Iterator[tuple[Level, Condition, int]]:
    """Count each subject's pictures of each level and condition; the mean z and c make one for each fold."""
    n_folds = 1 if recipe.data.test == "shared" else recipe.data.n_folds
    for level in levels(recipe):
        for condition in conditions_at(recipe, level):
            count = n_folds if level == "floor_mean" else n_items
            yield level, condition, count * draws_at(recipe, level, condition)


def _try(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except ReseenError as error:
        return Finding(what, False, str(error))


def _rois(recipe: Recipe) -> Finding:
    read = recipe.data.rois
    unread = [roi for roi in dict.fromkeys((*recipe.decode.z_rois, *recipe.decode.c_rois)) if roi not in read]
    if unread:
        return Finding("ROIs", False, f"decode names {unread[0]!r}; data.rois reads {', '.join(read)}. Add it there.")
    return Finding("ROIs", True, f"z from {', '.join(recipe.decode.z_rois)}; c from {', '.join(recipe.decode.c_rois)}")


def _data(recipe: Recipe, out: Path) -> Iterator[Finding]:
    path = data_path(recipe, out)
    if recipe.data.kind == "digital" and path is not None and not (path / TRUTH).is_file():
        names = [f"subj{number:02d}" for number in range(1, recipe.simulate.n_subjects + 1)]
        unknown = [subject for subject in recipe.data.subjects if subject not in names]
        if unknown:
            yield Finding("data", False, f"data.subjects names {unknown[0]}; simulate makes {', '.join(names)}.")
        else:
            yield Finding("data", True, f"a digital subject will be written to {path}")
        return
    if path is not None and recipe.model.name == "builtin" and _shows_other_pictures(path):
        known = "the built-in model knows only scenes that reseen draws"
        yield Finding(
            "pictures", False, f"{path} shows pictures of your own; {known}. Name a Stable Diffusion: --model."
        )
    section = recipe.data.model_copy(update={"path": path})
    for subject in recipe.data.subjects:
        try:
            files = datasets.inventory(section, subject)
        except ReseenError as error:
            yield Finding(f"data of {subject}", False, str(error))
            continue
        yield from _files(subject, path, files)
        yield from _transforms(section, subject)


def _transforms(data: DataRecipe, subject: str) -> Iterator[Finding]:
    """Say which files maps on the cortex would need; a run goes well without them."""
    if data.kind == "arrays" or data.path is None:
        return
    files = NsdFiles(data.path, subject, data.space, data.betas)
    missing = [path for path in files.transforms() if not files.on_fsaverage and not path.is_file()]
    if missing:
        found = (
            f"{len(missing)} transform files are missing, so there will be no maps on the cortex; fetch each, such as"
        )
        yield Finding(f"maps of {subject}", True, f"{found}: {files.fetch_command(missing[0])}")


def _files(subject: str, path: Path | None, files: list[FileCheck]) -> Iterator[Finding]:
    """Sum up a subject's files, then tell of each folder with bad ones what is wrong with the first of them."""
    what = f"data of {subject}"
    bad: dict[Path, list[FileCheck]] = {}
    for file in files:
        if not file.ok:
            bad.setdefault(file.path.parent, []).append(file)
    if not bad:
        yield Finding(what, True, f"{len(files)} files, {sum(file.size or 0 for file in files) / GB:.3g} GB, in {path}")
        return
    n_bad, size = sum(map(len, bad.values())), sum(file.size or 0 for part in bad.values() for file in part)
    terms = f". {TERMS}" if any("natural-scenes-dataset" in file.note for file in files) else ""
    found = f"{n_bad} of {len(files)} files cannot be used; at least {size / GB:.3g} GB to fetch{terms}"
    yield Finding(what, False, found)
    for folder, part in bad.items():
        more = f" (and {len(part) - 1} more in {folder})" if len(part) > 1 else ""
        yield Finding(what, False, f"{part[0].path}: {part[0].note}{more}")


def _shows_other_pictures(path: Path) -> bool:
    """Tell whether a digital subject was shown pictures that reseen did not draw."""
    try:
        described = json.loads((path / "truth/pictures.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(described) and "file" in described[0]


def _folder(recipe: Recipe, out: Path) -> str:
    if not (out / "recipe.toml").is_file():
        return f"{out} is to be begun"
    differ = differences(recipe, load_recipe(out / "recipe.toml"))
    if differ:
        raise ResultsError(f"{out} holds the results of another recipe: {'; '.join(differ)}. Choose another --out.")
    return f"{out} is begun, and will be gone on with"


def _costs(recipe: Recipe, out: Path, ldm: LatentDiffusion) -> list[Finding]:
    """Count what the run takes of the disk and of time; what the encoding analyses take is told apart."""
    n_stimuli, n_subjects = count_stimuli(recipe), len(recipe.data.subjects)
    try:
        harvest = harvest_of(recipe, ldm)
    except ReseenError as error:
        return [Finding("encoding features", False, str(error))]
    told = f"{harvest.told(n_stimuli)}, for each subject"
    findings = [Finding("encoding features", True, told)] if harvest.runs else []
    total = count_evaluations(recipe, count_items(recipe)) + n_subjects * harvest.n_evaluations(n_stimuli)
    return [*findings, _space(recipe, out, ldm, n_subjects * harvest.n_bytes(n_stimuli)), _effort(total, ldm)]


def _space(recipe: Recipe, out: Path, ldm: LatentDiffusion, harvested: int) -> Finding:
    n_items, n_subjects = count_items(recipe), len(recipe.data.subjects)
    n_pictures = sum(count for _, _, count in _counted(recipe, n_items))
    pictures = n_pictures * ldm.image_size**2 * BYTES_PER_PIXEL
    n_stimuli = count_stimuli(recipe)
    z_side = (recipe.extract.z_size or ldm.image_size * 5 // 8) // ldm.factor
    targets = ldm.latent_shape[0] * z_side**2 + math.prod(ldm.conditioning_shape)
    n_voxels = 15_000 if recipe.data.kind == "nsd" else 2_500
    n_maps = 1 if recipe.data.test == "shared" else recipe.data.n_folds
    arrays = 4 * targets * (n_stimuli + n_voxels * n_maps + n_items * (1 + recipe.evaluate.n_shuffles))
    needed = n_subjects * (pictures + arrays) + harvested
    folder = next(parent for parent in (out.resolve(), *out.resolve().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    found = f"about {needed / GB:.2g} GB needed, {free / GB:.3g} GB free"
    return Finding("space", free > needed, found if free > needed else f"{found}: free some, or choose another --out.")


def _effort(total: int, ldm: LatentDiffusion) -> Finding:
    """Time the model on a few rows, and say how long all the U-Net evaluations will take."""
    seconds = total * seconds_per_evaluation(ldm)
    unit, size = ("s", 1) if seconds < 120 else ("min", 60) if seconds < 7200 else ("h", 3600)
    spoken = f"about {seconds / size:.0f} {unit} on {ldm.device}"
    return Finding("time", True, f"{total:,} U-Net evaluations, {spoken}; all else is added to that")


def seconds_per_evaluation(ldm: LatentDiffusion) -> float:
    """Measure how long the U-Net takes for one picture among others."""
    import torch

    rows = TIMED_ROWS if ldm.image_size <= 128 else 1
    latents = torch.zeros((rows, *ldm.latent_shape), device=ldm.device)
    conditioning = torch.from_numpy(np.repeat(ldm.text_to_conditioning([""]), rows, axis=0)).to(ldm.device)
    spent = []
    for _ in range(2):  # the first also warms up
        start = time.perf_counter()
        ldm.predict_noise(latents, 500, conditioning).cpu()
        spent.append(time.perf_counter() - start)
    return min(spent) / rows
