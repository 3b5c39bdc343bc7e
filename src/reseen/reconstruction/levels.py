"""Levels: the chance levels and upper bounds of a recipe, with their conditions and numbers of images."""

from __future__ import annotations

from reseen.conditions import is_denoised
from reseen.recipe import Condition, Recipe
from reseen.reconstruction.generation import count_samples
from reseen.tables import WITHOUT_RESPONSES, Level


def levels_of(recipe: Recipe) -> tuple[Level, ...]:
    """Return the levels at which images are generated."""
    levels: list[Level] = ["result"]
    if recipe.n_permuted:
        levels.append("permuted")
    if recipe.evaluate.full:
        levels.extend(WITHOUT_RESPONSES)
    if recipe.evaluate.oracle:
        levels.append("oracle")
    return tuple(levels)


def conditions_at(recipe: Recipe, level: Level) -> tuple[Condition, ...]:
    """Return the conditions of a level; noise without a caption is the same for all that are denoised."""
    conditions = recipe.reconstruct.conditions
    if level == "chance_noise":
        return ("c",) if any(map(is_denoised, conditions)) else ()
    return conditions


def samples_at(recipe: Recipe, level: Level, condition: Condition) -> int:
    """Return the number of images of each item at a level; with permuted labels, one from each permutation."""
    return recipe.n_permuted if level == "permuted" else count_samples(condition, recipe.reconstruct)
