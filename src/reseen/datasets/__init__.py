"""Doors to brains on disk: each gives one subject's trials, the pictures and the split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from reseen.datasets import arrays, nsd, nsd_inventory
from reseen.datasets.inventory import FileCheck
from reseen.datasets.outline import Outline
from reseen.recipe import DataRecipe
from reseen.stimuli import Stimuli, square
from reseen.trials import Split, Trials

__all__ = ["FileCheck", "Outline", "extras", "inventory", "load", "outline"]


def load(
    data: DataRecipe,
    subject: str,
    *,
    keep: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Trials, Stimuli, Split]:
    """Read one subject, as ``data.kind`` says; a digital subject is read as NSD is.

    Parameters
    ----------
    data
        Where the data lie and what of them to read.
    subject
        Its name, such as ``"subj01"``.
    keep
        Folder for what was read of large files, which are then read from there; left out: nothing is kept.
    progress
        Called with how much is read, and how much there is.

    Raises
    ------
    DataError
        If a file is missing, damaged or does not fit the others.
    RecipeError
        If the recipe asks for what the data do not hold.
    ResultsError
        If nothing can be written to ``keep``.
    """
    if data.kind == "arrays":
        trials, stimuli, split = arrays.load(data, subject)
        if progress is not None:
            progress(1, 1)
    else:
        trials, stimuli, split = nsd.load(data, subject, keep=keep, progress=progress)
    read_image = stimuli.read_image
    return trials, replace(stimuli, read_image=lambda number: square(read_image(number), data.fit)), split


def extras(data: DataRecipe, subject: str) -> Mapping[str, list[FileCheck]]:
    """List the files that a run goes well without, by what they are for.

    Raises
    ------
    DataError
        If no data folder was given.
    """
    return {} if data.kind == "arrays" else nsd_inventory.extras(data, subject)


def inventory(data: DataRecipe, subject: str) -> list[FileCheck]:
    """List the files that one subject needs, which of them are there and whole, and how to fetch the others.

    Raises
    ------
    DataError
        If no data folder was given.
    RecipeError
        If an ROI is unknown.
    """
    return arrays.inventory(data, subject) if data.kind == "arrays" else nsd_inventory.inventory(data, subject)


def outline(data: DataRecipe, subject: str) -> Outline:
    """Return what is known of one subject of a tree in NSD's layout before betas are read.

    Raises
    ------
    DataError, RecipeError
        As `load`.
    """
    return nsd.outline(data, subject)
