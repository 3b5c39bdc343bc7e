"""Needs: the files of each subject that a recipe takes, which of them can be used, and how to get the others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reseen import datasets
from reseen.datasets import FileCheck
from reseen.datasets.nsd_facts import SUBJECTS, TERMS, TRUTH, NsdFiles
from reseen.datasets.nsd_inventory import list_subjects
from reseen.errors import ReseenError
from reseen.files import GB
from reseen.pipeline.job import data_path
from reseen.pipeline.stages import check_settings
from reseen.recipe import DataRecipe, Recipe


@dataclass(frozen=True)
class Finding:
    """Say whether one thing that a run needs is as it must be.

    Parameters
    ----------
    what
        The thing.
    ok
        Whether the recipe can run with it.
    found
        What was found, and what to do where it will not do.
    more
        Lines that belong to it: files, and commands to copy.
    """

    what: str
    ok: bool
    found: str
    more: tuple[str, ...] = ()


def find_data(recipe: Recipe, out: Path) -> Iterator[Finding]:
    """Look at the data of each subject; a file that subjects share is told of once."""
    path = data_path(recipe, out)
    if recipe.data.kind == "digital" and path is not None and not (path / TRUTH).is_file():
        yield _to_simulate(recipe, path)
        return
    try:
        check_settings(recipe, path)
    except ReseenError as error:
        yield Finding("data", False, str(error))
    if path is not None and recipe.model.name == "builtin" and _shows_other_pictures(path):
        known = "the built-in model knows only scenes that reseen draws"
        yield Finding(
            "pictures", False, f"{path} shows pictures of your own; {known}. Name a Stable Diffusion: --model."
        )
    section = recipe.data.model_copy(update={"path": path})
    told: dict[Path, FileCheck] = {}
    wished: list[FileCheck] = []
    for subject in recipe.data.subjects:
        try:
            files = [file for file in datasets.inventory(section, subject) if file.path not in told]
            extras = datasets.extras(section, subject)
        except ReseenError as error:
            yield Finding(f"data of {subject}", False, str(error))
            continue
        yield _needed(section, subject, files)
        for purpose, more in extras.items():
            missing = [file for file in more if not file.ok]
            if missing:
                found = f"no {purpose}: {missing[0].path.name}{_others(missing)} missing"
                yield Finding(f"extras of {subject}", True, found)
            wished += missing
        told.update({file.path: file for file in files})
    needed = [file for file in told.values() if not file.ok]
    if _is_nsds(section) and (needed or wished):
        yield _fetch(section, needed, wished)


def _others(files: Sequence[FileCheck]) -> str:
    return f" and {len(files) - 1} more are" if len(files) > 1 else " is"


def _to_simulate(recipe: Recipe, path: Path) -> Finding:
    names = [f"subj{number:02d}" for number in range(1, recipe.simulate.n_subjects + 1)]
    unknown = [subject for subject in recipe.data.subjects if subject not in names]
    if unknown:
        return Finding("data", False, f"data.subjects names {unknown[0]}; simulate makes {', '.join(names)}.")
    return Finding("data", True, f"a digital subject will be written to {path}")


def _needed(data: DataRecipe, subject: str, files: Sequence[FileCheck]) -> Finding:
    """Sum up a subject's files, and say of those that cannot be used what is wrong."""
    what, root = f"data of {subject}", data.path or Path()
    bad = [file for file in files if not file.ok]
    needed = f"{len(files)} files, {sum(file.needs for file in files) / GB:.3g} GB"
    if not bad:
        return Finding(what, True, f"{needed}, in {root}: {_holds(data, subject, files)}")
    damaged = [file for file in bad if file.size is not None]
    missing = [file for file in bad if file.size is None]
    counts = [f"{len(part)} {word}" for part, word in ((missing, "missing"), (damaged, "damaged")) if part]
    where = f"{root}{'' if root.exists() else ', which does not exist'}"
    found = f"{needed}, are needed in {where}: {len(files) - len(bad) or 'none'} whole, {', '.join(counts)}"
    here = list_subjects(root)
    if subject not in here and here:
        found += f"; the folder holds {', '.join(here)}"
    more = [*_listed(root, missing), *(f"damaged  {file.note}" for file in damaged)]
    if data.kind == "digital" or _names(data).truth.exists():
        more.append("write the digital subject again, into an empty folder: reseen simulate")
    return Finding(what, False, found, tuple(more))


def _holds(data: DataRecipe, subject: str, files: Sequence[FileCheck]) -> str:
    """Say what whole files hold: of arrays what the reader says, of NSD sessions and ROIs."""
    if data.kind == "arrays":
        return "; ".join(file.note for file in files)
    sessions = len({file.path.name.partition("betas_")[2] for file in files if "betas_session" in file.path.name})
    rois = [file.note for file in files if "voxels" in file.note]
    of = f" of the {SUBJECTS[subject].n_sessions} that NSD has" if _is_nsds(data) and subject in SUBJECTS else ""
    return "; ".join([f"{sessions} sessions{of}", *rois])


def _listed(root: Path, missing: Sequence[FileCheck]) -> Iterator[str]:
    """Name the missing files, folder by folder, and what each folder's take."""
    for folder in dict.fromkeys(file.path.parent for file in missing):
        part = [file for file in missing if file.path.parent == folder]
        size = sum(file.needs for file in part)
        names = part[0].path.name + (f" to {part[-1].path.name}, {len(part)} files" if len(part) > 2 else "")
        names = " and ".join(file.path.name for file in part) if len(part) == 2 else names
        where = folder.relative_to(root) if folder.is_relative_to(root) else folder
        yield f"missing  {where}/{names}" + (f", {size / GB:.3g} GB" if size > GB / 10 else "")


def _fetch(data: DataRecipe, needed: Sequence[FileCheck], wished: Sequence[FileCheck]) -> Finding:
    """Give lines for a shell that fetch what cannot be used, after what NSD asks for; a disk too small is told."""
    names = _names(data)
    size, small = sum(file.needs for file in needed), any(not file.needs for file in (*needed, *wished))
    gain = size - sum(file.size or 0 for file in needed)
    folder = next(parent for parent in (names.root.resolve(), *names.root.resolve().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    much = " and ".join([f"{size / GB:.3g} GB"] * bool(size) + ["some small files"] * small)
    room = f"; only {free / GB:.3g} GB are free in {folder}. Make room, or name another folder with --data"
    lines = [f"# {TERMS}", *names.fetch_commands([file.path for file in needed if file.size is None])]
    lines += names.fetch_commands([file.path for file in needed if file.size is not None], anew=True)
    if wished:
        lines.append("# for noise ceilings and maps on the cortex, without which the recipe runs too:")
        lines += names.fetch_commands([file.path for file in wished])
    return Finding("fetch", free >= gain, much + (room if free < gain else "; paste into a shell:"), tuple(lines))


def _names(data: DataRecipe, subject: str = "") -> NsdFiles:
    return NsdFiles(data.path or Path(), subject, data.space, data.betas)


def _is_nsds(data: DataRecipe) -> bool:
    """Say whether what is missing could be fetched from NSD."""
    return data.kind == "nsd" and data.path is not None and not _names(data).truth.exists()


def _shows_other_pictures(path: Path) -> bool:
    """Tell whether a digital subject was shown pictures that reseen did not draw."""
    try:
        described = json.loads((path / "truth/pictures.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(described) and "file" in described[0]
