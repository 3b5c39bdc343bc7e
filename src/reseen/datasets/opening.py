"""Open one subject with the reader for ``data.kind``, and list its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from reseen.datasets import arrays, lab, nsd, nsd_inventory
from reseen.datasets.array_files import find_arrays
from reseen.datasets.inventory import FileCheck, check_file
from reseen.datasets.lab.assemble import need_root
from reseen.datasets.outline import Outline, Overview
from reseen.datasets.recognise import naming_layout, refuse_other_layout
from reseen.recipe import DataRecipe
from reseen.subject import Subject

Progress = Callable[[int, int], None]


def open_subject(
    data: DataRecipe, subject: str, *, keep: Path | None = None, progress: Progress | None = None
) -> Subject:
    """Open one subject with the reader for ``data.kind``; a simulated subject is read like NSD.

    Parameters
    ----------
    data
        Section ``data`` of the recipe.
    subject
        Name of the subject, such as ``"subj01"``.
    keep
        Folder for voxels that are read from large files or estimated, for a faster next start. Default: nothing is
        kept.
    progress
        Function of the number of sessions or runs that are read and the total number.

    Raises
    ------
    DataError
        If a file is missing, damaged or does not fit the others.
    RecipeError
        If the recipe names an ROI, a session or a number of images that the data do not have.
    ResultsError
        If ``keep`` cannot be written.
    """
    with naming_layout(data):
        if data.kind == "arrays":
            found = arrays.open_subject(data, subject)
            if progress is not None:
                progress(1, 1)
            return found
        if not data.is_nsd:
            return lab.open_subject(data, subject, keep=keep, progress=progress)
        return nsd.open_subject(data, subject, keep=keep, progress=progress)


def overview(data: DataRecipe, subject: str, progress: Progress | None = None) -> Overview:
    """Open one subject of own data, not in NSD's layout, and read the responses unless they have to be estimated.

    Raises
    ------
    DataError, RecipeError
        As `open_subject`.
    """
    with naming_layout(data):
        return arrays.overview(data, subject) if data.kind == "arrays" else lab.overview(data, subject, progress)


def extras(data: DataRecipe, subject: str) -> Mapping[str, list[FileCheck]]:
    """List optional files by their purpose.

    Raises
    ------
    DataError
        If no data folder was given.
    """
    return nsd_inventory.extras(data, subject) if data.is_nsd else {}


def inventory(
    data: DataRecipe, subject: str, *, with_trials: bool = True, describe: Callable[[], str] | None = None
) -> list[FileCheck]:
    """List the files that one subject needs, which are complete, and how to download the others.

    Parameters
    ----------
    data
        Section ``data`` of the recipe.
    subject
        Name of the subject.
    with_trials
        Whether to list the files of responses too, of data in NSD's layout.
    describe
        Function that returns the contents of own data in words. Default: that of `overview`, which reads them.

    Raises
    ------
    DataError
        If no data folder was given.
    RecipeError
        If an ROI is unknown.
    """
    with naming_layout(data):
        if data.is_nsd:
            files = nsd_inventory.inventory(data, subject, with_trials=with_trials)
        else:
            path = find_arrays(data, subject) if data.kind == "arrays" else need_root(data)
            find = describe or (lambda: overview(data, subject).describe())
            files = [check_file(path, find, missing="missing")]
    if not all(file.ok for file in files):
        refuse_other_layout(data)
    return files


def outline(data: DataRecipe, subject: str) -> Outline:
    """Return trials, split and stimuli of one subject in NSD's layout, without reading betas.

    Raises
    ------
    DataError, RecipeError
        As `open_subject`.
    """
    return nsd.outline(data, subject)
