"""Raters: a test for people as raters, from the images of a results folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reseen import raters, report
from reseen.errors import RecipeError, ResultsError
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
    """Write the page for raters, ``raters/index.html``, and the design that answers are scored with beside it.

    Parameters
    ----------
    results
        A results folder whose images are made.
    data
        Where the data lie, if no longer where the recipe says.
    conditions
        Which images; left out: all that were made.
    n_images
        How many test images of each subject are asked about at most; which ones, the seed says.
    n_raters, n_catch, seed
        See `reseen.raters.draw_design`.

    Raises
    ------
    RecipeError
        If there are no such conditions, or a number makes no sense.
    ResultsError
        If images are missing, or another test lies there.
    DataError
        If the data cannot be read.
    """
    recipe = results.recipe if data is None else with_settings(results.recipe, [f"data.path={data.resolve()}"])
    run = Run(recipe, results)
    wanted = _conditions(run, conditions)
    if n_images < 2 or n_raters < 1 or n_catch < 0:
        raise RecipeError(
            f"a test for raters needs 2 images or more, 1 rater or more and no fewer than 0 catch questions; found "
            f"{n_images}, {n_raters} and {n_catch}."
        )
    stimuli = {subject.name: _chosen(subject, n_images, seed) for subject in run.subjects}
    uris, digests = {}, []
    for which, image in _images(run, stimuli, wanted):
        uris[which] = report.image_uri(image, largest=LARGEST_SIDE)
        digests.append([*which, image_digest(np.array([which[2]]), image)])
    drawn = raters.draw_design(
        stimuli,
        wanted,
        n_raters=n_raters,
        n_catch=n_catch,
        seed=seed,
        results=results.fingerprint,
        images=digest(digests),
    )
    design = drawn.save(results.path / "raters" / "design.json")
    results.save_text("raters/index.html", raters.page(design, uris, title=recipe.name))
    return design


def _conditions(run: Run, conditions: Sequence[str]) -> tuple[str, ...]:
    made = run.recipe.reconstruct.conditions
    unknown = [condition for condition in conditions if condition not in made]
    if unknown:
        raise RecipeError(f"{run.results.path} has no images of {', '.join(unknown)}; it has {', '.join(made)}.")
    return tuple(condition for condition in made if condition in (conditions or made))


def _chosen(subject: SubjectRun, n_images: int, seed: int) -> NDArray[np.int64]:
    """Choose test stimuli of a subject at random, and return them in order."""
    ids = np.unique(next(images_of(subject)).stimulus_id)
    return np.sort(np.random.default_rng([seed, 7]).permutation(ids)[:n_images])


def _images(
    run: Run, stimuli: Mapping[str, NDArray[np.int64]], conditions: Sequence[str]
) -> Iterator[tuple[tuple[str, str, int], NDArray[np.uint8]]]:
    """Read what was shown and the first sample of each condition; of single trials, the first trial."""
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
                    raise ResultsError(f"there is no {path} yet. Run `{line}` first.")
                yield (subject.name, images.condition, which), run.results.load_image(path)
