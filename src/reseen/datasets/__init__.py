"""Doors to brains on disk: each gives one subject's trials, the pictures and the split."""

from __future__ import annotations

from reseen.datasets import arrays, nsd
from reseen.datasets.inventory import FileCheck
from reseen.recipe import DataRecipe
from reseen.stimuli import Stimuli
from reseen.trials import Split, Trials

__all__ = ["FileCheck", "inventory", "load"]


def load(data: DataRecipe, subject: str) -> tuple[Trials, Stimuli, Split]:
    """Read one subject, as ``data.kind`` says; a digital subject is read as NSD is.

    Raises
    ------
    DataError
        If a file is missing, damaged or does not fit the others.
    RecipeError
        If the recipe asks for what the data do not hold.
    """
    return arrays.load(data, subject) if data.kind == "arrays" else nsd.load(data, subject)


def inventory(data: DataRecipe, subject: str) -> list[FileCheck]:
    """List the files that one subject needs, which of them are there and whole, and how to fetch the others.

    Raises
    ------
    DataError
        If no data folder was given.
    RecipeError
        If an ROI is unknown.
    """
    return arrays.inventory(data, subject) if data.kind == "arrays" else nsd.inventory(data, subject)
