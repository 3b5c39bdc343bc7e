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

    Settings are compared for drawn images and for the user's own images. Data of an older version contain only their
    seed.

    Raises
    ------
    ResultsError
        If a setting of section ``simulate`` differs from the setting of the data.
    DataError
        If the file with the settings is damaged.
    """
    if recipe.data.kind != "simulated" or path is None:
        return
    truth = read_truth(path / TRUTH)
    of_data = truth.get("simulate", {"seed": truth["seed"]} if "seed" in truth else {})
    of_recipe = recipe.simulate.model_dump(mode="json")
    differ = [name for name, value in of_recipe.items() if of_data.get(name, value) != value]
    if not differ:
        return
    values, options = [], []
    for name in differ:
        values.append(f"simulate.{name}: expected {shown(str(of_data[name]))}, found {of_recipe[name]}")
        options += ["--set", f"simulate.{name}={of_data[name]}"]
    raise ResultsError(
        f"{shown(path)} has simulated subjects of another recipe (expected: their settings; found: those of this "
        f"recipe): {'; '.join(values)}. Use them with {shell_line(*options)}, or choose another --data or --out.",
        where=f"simulate.{differ[0]}",
        expected={name: of_data[name] for name in differ},
        found={name: of_recipe[name] for name in differ},
    )


def write_data_set(
    recipe: Recipe,
    out: Path,
    *,
    images: Path | None = None,
    nifti: bool = False,
    imagery: bool = False,
    synthetic: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Write the data set of a recipe as `simulate` does; the folder, empty or absent before, is complete or absent.

    Raises
    ------
    ResultsError
        If the folder is not empty, or cannot be written.
    """
    with writing_folder(out) as part:
        simulate(
            part, recipe.simulate, images=images, nifti=nifti, imagery=imagery, synthetic=synthetic, progress=progress
        )
