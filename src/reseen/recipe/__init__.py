"""Recipe: all settings of a run, read from a TOML file; unknown keys are refused.

::

    sections.py   every key, its default and its description
    files.py      reading and writing TOML, single settings, differences of two recipes
"""

from reseen.recipe.files import (
    differences,
    growth,
    identity,
    load_recipe,
    recipe_folder,
    to_toml,
    with_changes,
    with_settings,
)
from reseen.recipe.sections import (
    CONDITIONS,
    FSAVERAGE,
    Condition,
    DataRecipe,
    DecodeRecipe,
    EncodeRecipe,
    EvaluateRecipe,
    ExtractRecipe,
    ModelRecipe,
    Recipe,
    ReconstructRecipe,
    ReportRecipe,
    Rows,
    SimulateRecipe,
)

__all__ = [
    "CONDITIONS",
    "FSAVERAGE",
    "Condition",
    "DataRecipe",
    "DecodeRecipe",
    "EncodeRecipe",
    "EvaluateRecipe",
    "ExtractRecipe",
    "ModelRecipe",
    "Recipe",
    "ReconstructRecipe",
    "ReportRecipe",
    "Rows",
    "SimulateRecipe",
    "differences",
    "growth",
    "identity",
    "load_recipe",
    "recipe_folder",
    "to_toml",
    "with_changes",
    "with_settings",
]
