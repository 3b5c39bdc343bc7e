"""Merge: join results folders in which one recipe was run for different subjects."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from reseen.errors import ResultsError
from reseen.executor import Progress
from reseen.files import check_vacant, shown
from reseen.pipeline.stages import STAGES, needed, run
from reseen.pipeline.tables import COLUMNS
from reseen.recipe import Recipe, differences, list_differences, with_changes
from reseen.results import ResultsFolder, has_captions, load_captions, save_captions


def merge(
    folders: Sequence[Path | str], out: Path | str, *, device: str = "cpu", progress: Progress | None = None
) -> ResultsFolder:
    """Join the results of several folders in a new one, as if one run had computed all subjects.

    The results of each subject are copied. Then the joint recipe is run up to the last stage that all folders reached,
    which joins the tables and writes the report.

    Parameters
    ----------
    folders
        Results folders of one recipe, each with other subjects.
    out
        The new folder.
    device, progress
        As in `run`.

    Raises
    ------
    ResultsError
        If recipes, models or versions differ, a subject is in two folders, a file was changed after it was written, or
        the new folder is not empty.
    """
    parts = [ResultsFolder.read(folder) for folder in folders]
    recipe = _joint_recipe(parts)
    out = Path(out)
    check_vacant(out)
    with ResultsFolder.open(out, recipe) as joint:
        for part in parts:
            for name, value in part.provenance.items():
                joint.claim(name, value)
            for text in part.warnings:
                joint.add_warning(text)
            for subject in part.recipe.data.subjects:
                _copy_subject(part, joint, subject)
    in_all = set(STAGES).intersection(*(part.times for part in parts))
    reached = [stage for stage in STAGES if stage in in_all]
    last = reached[-1] if reached else "simulate"
    if "encode" in reached and "encode" not in needed(last):
        run(recipe, out, until="encode", device=device, progress=progress)
    return run(recipe, out, until=last, device=device, progress=progress)


def _joint_recipe(parts: Sequence[ResultsFolder]) -> Recipe:
    """Return the recipe of the first folder with the subjects of all.

    Raises
    ------
    ResultsError
        If another value differs between recipes, or a subject is in two folders.
    """
    first = parts[0]
    subjects: list[str] = []
    for part in parts:
        own = part.recipe.data.subjects
        twice = [subject for subject in own if subject in subjects]
        if twice:
            message = f"{shown(part.path)} has results of {twice[0]}, and so has another folder. Leave one out."
            raise ResultsError(message, where=part.path, found=twice[0])
        same_subjects = with_changes(part.recipe, {"data.subjects": list(first.recipe.data.subjects)})
        differ = differences(same_subjects, first.recipe)
        if differ:
            raise ResultsError(
                f"{shown(part.path)} has results of another recipe than {shown(first.path)}:\n"
                f"{list_differences(differ)}\nOnly folders of one recipe can be merged.",
                where=part.path,
                expected={where: values[0] for where, values in differ.items()},
                found={where: values[1] for where, values in differ.items()},
            )
        subjects += own
    data = first.recipe.data.path or (first.path / "data").resolve()
    return with_changes(first.recipe, {"data.subjects": subjects, "data.path": data})


def _copy_subject(part: ResultsFolder, joint: ResultsFolder, subject: str) -> None:
    """Copy all results of one subject; the checksums of tables are verified."""
    for place in (f"features/{subject}", f"{subject}/decode", f"{subject}/images", f"{subject}/encode"):
        if (part.path / place).is_dir():
            shutil.copytree(part.path / place, joint.path / place)
    if has_captions(part, subject):
        save_captions(joint, subject, load_captions(part, subject))
    for name in COLUMNS:
        if (part.path / subject / f"{name}.csv").is_file():
            joint.save_table(f"{subject}/{name}", part.load_table(f"{subject}/{name}"))
