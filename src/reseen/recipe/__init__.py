"""Recipe: all settings of a run, read from a TOML file; unknown keys are refused.

::

    section.py    base class of the sections
    data.py       the section of the data
    decode.py     the section of decoding
    sections.py   the other sections: every key, its default and its description
    files.py      reading and writing TOML, single settings, differences of two recipes
"""

from reseen.conditions import CONDITIONS, Condition
from reseen.recipe.data import FSAVERAGE, NATIVE, SURFACES, DataKind, DataRecipe, Rows
from reseen.recipe.decode import DecodeRecipe, RoisRecipe
from reseen.recipe.files import (
    differences,
    growth,
    identity,
    list_differences,
    load_recipe,
    recipe_folder,
    to_toml,
    with_changes,
    with_settings,
)
from reseen.recipe.sections import (
    EncodeRecipe,
    EvaluateRecipe,
    ExtractRecipe,
    ModelRecipe,
    Recipe,
    ReconstructRecipe,
    ReportRecipe,
    SimulateRecipe,
)
from reseen.recipe.types import SPECIAL, SessionChoice

__all__ = [
    "CONDITIONS",
    "FSAVERAGE",
    "NATIVE",
    "SPECIAL",
    "SURFACES",
    "Condition",
    "DataKind",
    "DataRecipe",
    "DecodeRecipe",
    "EncodeRecipe",
    "EvaluateRecipe",
    "ExtractRecipe",
    "ModelRecipe",
    "Recipe",
    "ReconstructRecipe",
    "ReportRecipe",
    "RoisRecipe",
    "Rows",
    "SessionChoice",
    "SimulateRecipe",
    "differences",
    "growth",
    "identity",
    "list_differences",
    "load_recipe",
    "recipe_folder",
    "to_toml",
    "with_changes",
    "with_settings",
]
