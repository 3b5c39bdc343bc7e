"""Raters: a test with people as raters, from the images of a results folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reseen import raters, report
from reseen.errors import RecipeError, ResultsError
from reseen.files import shown
from reseen.files.shell import shell_line
from reseen.pipeline.context import Run, SubjectRun
from reseen.pipeline.reconstruct import images_of
from reseen.recipe import with_settings
from reseen.results import ResultsFolder, digest
from reseen.stimuli import image_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_SIDE = 512
"""Larger images are shown at this many pixels a side."""


def write_page(
    results: ResultsFolder,
    *,
    data: Path | None = None,
    conditions: Sequence[str] = (),
    n_images: int = 40,
    n_raters: int = 12,
    n_catch: int = 6,
    seed: int = 0,
) -> raters.Design:
    """Write the page for raters, ``raters/index.html``, and the design that scores answers, ``raters/design.json``.

    Parameters
    ----------
    results
        A results folder with images.
    data
        Folder or file of the data, if they were moved since the run.
    conditions
        Conditions of the images; left out: all of the recipe.
    n_images
        Maximum number of test images of each subject; the seed chooses them.
    n_raters, n_catch, seed
        See `reseen.raters.draw_design`.

    Raises
    ------
    RecipeError
        If a condition is unknown, or a number is too small.
    ResultsError
        If images are missing, or the folder has another test.
    DataError
        If the data cannot be read.
    """
    for name, value, least in (("n_images", n_images, 2), ("n_raters", n_raters, 1), ("n_catch", n_catch, 0)):
        if value < least:
            message = f"{name} is {value}; a test for raters needs {least} or more."
            raise RecipeError(message, where=name, expected=least, found=value)
    recipe = results.recipe if data is None else with_settings(results.recipe, [f"data.path={data.resolve()}"])
    run = Run(recipe, results)
    wanted = _conditions(run, conditions)
    stimuli = {subject.name: _chosen(subject, n_images, seed) for subject in run.subjects}
    uris, digests = {}, []
    for which, image in _images(run, stimuli, wanted):  # which: subject, condition, stimulus
        uris[which] = report.image_uri(image, largest=LARGEST_SIDE)
        digests.append([*which, image_digest(np.array([which[2]]), image)])
    sampled = raters.draw_design(
        stimuli,
        wanted,
        n_raters=n_raters,
        n_catch=n_catch,
        seed=seed,
        results=results.fingerprint,
        images=digest(digests),
    )
    design = sampled.save(results.path / "raters" / "design.json")
    results.save_text("raters/index.html", raters.page(design, uris, title=recipe.name))
    return design


def _conditions(run: Run, conditions: Sequence[str]) -> tuple[str, ...]:
    known = run.recipe.reconstruct.conditions
    for condition in conditions:
        if condition not in known:
            message = f"{shown(run.results.path)} has no images of {condition}; it has {', '.join(known)}."
            raise RecipeError(message, where="conditions", expected=known, found=condition)
    return tuple(condition for condition in known if condition in (conditions or known))


def _chosen(subject: SubjectRun, n_images: int, seed: int) -> NDArray[np.int64]:
    """Choose test stimuli of a subject at random, and return their ids in ascending order."""
    ids = np.unique(next(images_of(subject)).stimulus_id)
    return np.sort(np.random.default_rng([seed, 7]).permutation(ids)[:n_images])


def _images(
    run: Run, stimuli: Mapping[str, NDArray[np.int64]], conditions: Sequence[str]
) -> Iterator[tuple[tuple[str, str, int], NDArray[np.uint8]]]:
    """Yield the presented images and the first sample of each condition; of single trials, the first trial."""
    for subject in run.subjects:
        chosen = stimuli[subject.name].tolist()
        for which in chosen:
            yield (subject.name, raters.PRESENTED, which), subject.stimuli.image(which)
        for images in images_of(subject):
            if images.level != "result" or images.condition not in conditions:
                continue
            for which in chosen:
                path = images.paths[int(np.argmax(images.stimulus_id == which))][0]
                if not path.is_file():
                    folder = run.results.path
                    line = shell_line("reseen", "reconstruct", folder / "recipe.toml", "--out", folder)
                    raise ResultsError(f"{shown(path)} does not exist yet. Run `{line}` first.", where=path)
                yield (subject.name, images.condition, which), run.results.load_image(path)
