"""Write simulated subjects to a folder, and compare simulated subjects in a folder with a recipe."""

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
    """Compare simulated subjects in a folder with a recipe.

    Settings are compared for drawn images and for the user's own images. Data of an older version record only
    their seed.

    Raises
    ------
    ResultsError
        If a setting of section ``simulate`` differs from the setting of the data.
    DataError
        If the file with the settings is damaged.
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
    """Write the data set of a recipe as `simulate` does; the folder, empty or absent before, is complete or absent.

    Raises
    ------
    ResultsError
        If the folder is not empty, or cannot be written.
    """
    with writing_folder(out) as part:
        simulate(part, recipe.simulate, images=images, nifti=nifti, progress=progress)
