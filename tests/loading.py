"""Read all data of one subject, or check them, in one call."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from reseen import datasets
from reseen.check import Finding, Inputs, files
from reseen.recipe import DataRecipe, Recipe
from reseen.split import Split
from reseen.stimuli import Stimuli
from reseen.trials import Trials


def load(data: DataRecipe, subject: str, *, keep: Path | None = None) -> tuple[Trials, Stimuli, Split]:
    """Return trials, stimuli and split."""
    found = datasets.open_subject(data, subject, keep=keep)
    return found.trials, found.stimuli, found.split


def find_data(recipe: Recipe, out: Path) -> Iterator[Finding]:
    """Yield the findings about the data of each subject."""
    inputs = Inputs(recipe, out, thorough=True)
    return chain(files.settings(inputs), files.files(inputs))
