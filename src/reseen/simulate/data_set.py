"""Data set: write simulated subjects to a folder, and compare those in a folder with a recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reseen.datasets.nsd_facts import TRUTH
from reseen.datasets.nsd_images import read_truth
from reseen.errors import ResultsError
from reseen.files import writing_folder
from reseen.files.reading import shown
from reseen.files.shell import shell_line
from reseen.recipe import Recipe
from reseen.simulate.simulation import simulate


def check_settings(recipe: Recipe, path: Path | None) -> None:
    """Compare simulated subjects in a folder with the recipe that is to use them.

    Drawn images and the user's own are held against it alike: every setting decides both. Data of an older version
    tell their seed alone.

    Raises
    ------
    ResultsError
        If a setting of section ``simulate`` is another one than the data were made with.
    DataError
        If the file that tells these is damaged.
    """
    if recipe.data.kind != "simulated" or path is None:
        return
    told = read_truth(path / TRUTH)
    made = told.get("simulate", {"seed": told["seed"]} if "seed" in told else {})
    wanted = recipe.simulate.model_dump(mode="json")
    if differ := [name for name, value in wanted.items() if made.get(name, value) != value]:
        values = "; ".join(
            f"simulate.{name}: expected {shown(str(made[name]))}, found {wanted[name]}" for name in differ
        )
        options = [word for name in differ for word in ("--set", f"simulate.{name}={made[name]}")]
        raise ResultsError(
            f"{shown(path)} holds simulated subjects of another recipe. Expected is what they were made with, found is "
            f"what this recipe asks for: {values}. Use them with {shell_line(*options)}, or name another --data or "
            "--out."
        )


def write_data_set(
    recipe: Recipe,
    out: Path,
    *,
    images: Path | None = None,
    nifti: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Write a data set of simulated subjects; the folder is there whole or not at all.

    Parameters
    ----------
    recipe
        Its section ``simulate`` is followed.
    out
        The folder, which must not hold anything yet.
    images
        Folder of images and captions to show, instead of drawn ones.
    nifti
        Write the betas as NIfTI too.
    progress
        Called with what is being done, how much of it is done and how much there is.

    Raises
    ------
    ResultsError
        If the folder holds something already, or cannot be written.
    """
    with writing_folder(out) as part:
        simulate(part, recipe.simulate, images=images, nifti=nifti, progress=progress)
