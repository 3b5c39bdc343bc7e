"""Recipe: what to run, read from a TOML file in which every unknown key is refused.

::

    sections.py   what can be set, its default and what it means
    files.py      TOML in and out, single settings, and in what two recipes differ
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
