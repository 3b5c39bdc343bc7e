"""Files of each subject that a recipe needs: which of them can be used, and how to get the others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from reseen import datasets
from reseen.check.finding import Finding, refused
from reseen.check.inputs import Inputs
from reseen.datasets import FileCheck
from reseen.datasets.nsd_facts import SUBJECTS, TERMS, NsdFiles
from reseen.datasets.nsd_inventory import list_subjects
from reseen.errors import DataError, ReseenError
from reseen.files import GB, read_json
from reseen.files.reading import shown
from reseen.recipe import DataRecipe
from reseen.simulate import check_settings


def settings(inputs: Inputs) -> Iterator[Finding]:
    """Check that existing simulated subjects have the settings of the recipe."""
    try:
        check_settings(inputs.recipe, inputs.path)
    except ReseenError as error:
        yield refused("data", error)


def files(inputs: Inputs) -> Iterator[Finding]:
    """Check the files of each subject; one that subjects share is listed once."""
    for finding in _files(inputs):
        inputs.readable = inputs.readable and finding.ok
        yield finding


def _files(inputs: Inputs) -> Iterator[Finding]:
    section, path = inputs.data, inputs.path
    if inputs.to_simulate:
        yield _to_simulate(inputs)
        return
    if path is not None and inputs.recipe.model.name == "builtin":
        yield from _other_images(path)
    if not section.is_nsd and not inputs.thorough:
        return  # `held_out` reads these files completely
    known: dict[Path, FileCheck] = {}
    optional: list[FileCheck] = []
    for subject in section.subjects:
        try:
            describe = partial(inputs.describe, subject)
            every = datasets.inventory(section, subject, with_trials=inputs.needs_trials, describe=describe)
            listed = [file for file in every if file.path not in known]
            extras = datasets.extras(section, subject)
        except ReseenError as error:
            yield refused(f"data of {subject}", error)
            continue
        yield _needed(section, subject, listed)
        for purpose, more in extras.items():
            missing = [file for file in more if not file.ok]
            if missing:
                found = f"no {purpose}: {missing[0].path.name}{_others(missing)} missing"
                yield Finding(f"extras of {subject}", found, absent=True)
            optional += [file for file in missing if not file.blocked]
        known.update({file.path: file for file in listed})
    if not is_from_nsd(section):
        return
    # a blocked file may be intact, and masks of the user cannot be fetched
    bad = [file for file in known.values() if not file.ok and not file.blocked]
    needed = [file for file in bad if _names(section).can_fetch(file.path)]
    if needed or optional:
        yield fetch(section, needed, optional)


def _others(files: Sequence[FileCheck]) -> str:
    return f" and {len(files) - 1} more are" if len(files) > 1 else " is"


def _to_simulate(inputs: Inputs) -> Finding:
    """Return the subjects that will be simulated; refuse a folder with other content, which is never written to."""
    path = inputs.path
    assert path is not None
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        message = (
            f"{shown(path)} exists and contains no simulated subjects. Name another folder with --data, or leave it "
            "out: they are then written into the results folder."
        )
        return refused("data", DataError(message, where=path))
    try:
        n_subjects = len(inputs.outlines)
    except ReseenError as error:
        return refused("data", error)
    what = "a simulated subject" if n_subjects == 1 else f"{n_subjects} simulated subjects"
    return Finding("data", f"{what} will be written to {path}")


def _needed(data: DataRecipe, subject: str, files: Sequence[FileCheck]) -> Finding:
    """Return the number and size of a subject's files, and the problem of each that cannot be used."""
    what, root = f"data of {subject}", data.path or Path()
    bad = [file for file in files if not file.ok]
    if not bad:
        return Finding(what, f"{count_files(files)}, in {root}: {_contents(data, subject, files)}")
    found, more = describe_state(root, files)
    here = list_subjects(root)
    if subject not in here and here:
        found += f"; the folder contains {', '.join(here)}"
    if not all(file.blocked for file in bad) and (data.kind == "simulated" or _names(data).truth.exists()):
        more.append("write the simulated subject again, into an empty folder: reseen simulate")
    return Finding(what, found, tuple(more), _as_read(data, subject, bad[0]))


def count_files(files: Sequence[FileCheck]) -> str:
    """Return number and size of some files."""
    return f"{len(files)} files, {sum(file.needs for file in files) / GB:.3g} GB"


def describe_state(root: Path, files: Sequence[FileCheck]) -> tuple[str, list[str]]:
    """Return how many of some files can be used, and lines with the problem of each other file."""
    bad = [file for file in files if not file.ok]
    blocked = [file for file in bad if file.blocked]
    damaged = [file for file in bad if file.size is not None and not file.blocked]
    missing = [file for file in bad if file.size is None]
    groups = ((missing, "missing"), (damaged, "damaged"), (blocked, "not readable now"))
    counts = [f"{len(part)} {word}" for part, word in groups if part]
    where = f"{root}{'' if root.exists() else ', which does not exist'}"
    complete = len(files) - len(bad) or "none"
    found = f"{count_files(files)}, are needed in {where}: {complete} complete, {', '.join(counts)}"
    more = [*_listed(root, missing), *(f"damaged  {file.note}" for file in damaged)]
    return found, more + [f"not readable  {file.note}" for file in blocked]


def _as_read(data: DataRecipe, subject: str, first: FileCheck) -> ReseenError:
    """Return the reader's error for files that cannot be used, or an error about the first of them."""
    try:
        if data.is_nsd:
            datasets.outline(data, subject)
    except ReseenError as error:
        return error
    message = first.note if first.size is not None else f"{shown(first.path)} is {first.note}"
    return DataError(message, where=first.path)


def _contents(data: DataRecipe, subject: str, files: Sequence[FileCheck]) -> str:
    """Return the contents of complete files: of arrays the reader's notes, of NSD sessions and ROIs."""
    if not data.is_nsd:
        return "; ".join(file.note for file in files)
    sessions = len({file.path.name.partition("betas_")[2] for file in files if "betas_session" in file.path.name})
    rois = [file.note for file in files if "voxels" in file.note]
    of = f" of the {SUBJECTS[subject].n_sessions} that NSD has" if is_from_nsd(data) and subject in SUBJECTS else ""
    return "; ".join([f"{sessions} sessions{of}", *rois])


def _listed(root: Path, missing: Sequence[FileCheck]) -> Iterator[str]:
    """Name the missing files and their size, folder by folder."""
    for folder in dict.fromkeys(file.path.parent for file in missing):
        part = [file for file in missing if file.path.parent == folder]
        size = sum(file.needs for file in part)
        if len(part) > 2:
            names = f"{part[0].path.name} to {part[-1].path.name}, {len(part)} files"
        else:
            names = " and ".join(file.path.name for file in part)
        where = folder.relative_to(root) if folder.is_relative_to(root) else folder
        yield f"missing  {where}/{names}" + (f", {size / GB:.3g} GB" if size > GB / 10 else "")


def fetch(data: DataRecipe, needed: Sequence[FileCheck], optional: Sequence[FileCheck]) -> Finding:
    """Return lines for a shell that fetch unusable files, after NSD's terms; refuse a disk that is too small."""
    names = _names(data)
    size, small = sum(file.needs for file in needed), any(not file.needs for file in (*needed, *optional))
    gain = size - sum(file.size or 0 for file in needed)  # damaged files are replaced
    folder = next(parent for parent in (names.root.resolve(), *names.root.resolve().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    much = " and ".join([f"{size / GB:.3g} GB"] * bool(size) + ["some small files"] * small)
    room = f"; only {free / GB:.3g} GB are free in {folder}. Make room, or name another folder with --data"
    lines = [f"# {TERMS}", *names.fetch_commands([file.path for file in needed if file.size is None])]
    lines += names.fetch_commands([file.path for file in needed if file.size is not None], anew=True)
    if optional:
        lines.append("# for noise ceilings and maps on the cortex, without which the recipe runs too:")
        lines += names.fetch_commands([file.path for file in optional])
    full = None
    if free < gain:
        full = DataError(f"the missing files need {much}{room}.", where=folder, expected=gain, found=free)
    return Finding("fetch", much + (room if full else "; paste into a shell:"), tuple(lines), full)


def _names(data: DataRecipe, subject: str = "") -> NsdFiles:
    return NsdFiles(data.path or Path(), subject, data.space, data.betas)


def is_from_nsd(data: DataRecipe) -> bool:
    """Return whether missing files can be fetched from NSD."""
    return data.kind == "nsd" and data.path is not None and not _names(data).truth.exists()


def _other_images(path: Path) -> Iterator[Finding]:
    """Refuse images that reseen did not draw, since the built-in model was not trained on them."""
    file = path / "truth" / "images.json"
    try:
        described = read_json(file, list[dict[str, Any]]) if os.path.lexists(file) else []
    except DataError as error:
        yield refused("images", error)
        return
    if described and "file" in described[0]:
        message = (
            f"{shown(path)} has images of your own; the built-in model knows only scenes that reseen draws. Name a "
            "Stable Diffusion: --model."
        )
        yield refused("images", DataError(message, where=path))
