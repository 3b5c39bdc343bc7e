"""Recipes of the command line: read with the values that options replace; and the default results folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from reseen.recipe import Recipe


def read_recipe(
    name: str, data: Path | None, model: str | None, settings: list[str] | None, *, full: bool = False
) -> Recipe:
    """Load a recipe, and replace the values that the command line sets.

    Raises
    ------
    RecipeError
        If the recipe cannot be read, or a value is refused.
    """
    from reseen.recipe import load_recipe, with_changes, with_settings

    changes: dict[str, object] = {}
    if data is not None:
        changes["data.path"] = data.resolve()
    if model:
        changes |= {"model.name": model, "model.revision": None}  # the commit was the other model's
    if full:
        changes["evaluate.full"] = True
    recipe = with_changes(with_settings(load_recipe(name), settings or ()), changes)
    if recipe.data.kind == "simulated" and data is not None and not data.is_dir():
        raise typer.BadParameter(_nothing_simulated(name, data))
    return recipe


def _nothing_simulated(name: str, data: Path) -> str:
    """Return the message about a --data folder that does not exist, for a simulated subject."""
    from reseen.files.shell import shell_line

    return (
        f"--data: there is no folder {data}. Write simulated subjects there first: "
        f"{shell_line('reseen', 'simulate', data, '--recipe', name)}, or omit --data: they are then written into "
        "the results folder."
    )


def results_folder(recipe: Recipe, out: Path | None) -> Path:
    """Return the results folder of a run: the one that is named, or ``out/NAME``."""
    return out or Path("out") / recipe.name
