"""Read a data set in BIDS and its derivatives: ``data.kind = "bids"``.

The events files name the image of each trial in the column ``stim_file``. Responses are either

- files that the lab has: one 4-D NIfTI file for each run, or one NIfTI file for each trial, in ``data.responses``; or
- estimated here from ``*_desc-preproc_bold.nii.gz``, as fMRIPrep writes them, by `reseen.datasets.lab.single_trials`.

``data.space`` names the space if there are several. The brain mask is ``data.mask``, or the intersection of the runs'
``*_desc-brain_mask.nii.gz`` in that space.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from reseen.datasets.lab.assemble import assemble, locate, need_root
from reseen.datasets.lab.bids_series import computed_responses, read_series
from reseen.datasets.lab.data import LabData
from reseen.datasets.lab.place import Place
from reseen.datasets.lab.runs import Run, by_number, events_of, find_runs, may_be, read_run_tables, run_of
from reseen.datasets.lab.table import IMAGE_COLUMNS, read_columns
from reseen.datasets.lab.volumes import all_voxels, count_volumes, read_mask, run_files
from reseen.errors import DataError
from reseen.files.reading import shown
from reseen.recipe import DataRecipe

SERIES = ("_desc-preproc_bold.nii.gz", "_desc-preproc_bold.nii")
MASKS = ("_desc-brain_mask.nii.gz", "_desc-brain_mask.nii")
NIFTI = (".nii.gz", ".nii")
NOT_BETAS = tuple(
    f"{name}.nii{gz}"
    for name in ("_bold", "_boldref", "_mask", "_dseg", "_probseg", ".dtseries", ".dscalar", ".dlabel")
    for gz in ("", ".gz")
)
Runs = Mapping[Run, Sequence[Path]]


def read(data: DataRecipe, subject: str) -> LabData:
    """Read the trials of a subject's runs; responses are read or estimated at first use.

    Parameters
    ----------
    data
        Section ``data`` of the recipe.
    subject
        Name of the subject, such as ``"sub-01"``.

    Raises
    ------
    DataError
        If a file is missing or damaged, several spaces or tasks are there and none is named, or the numbers of trials
        differ.
    """
    root = need_root(data)
    folder = root if data.responses is None else locate(data, data.responses, "data.responses")
    ending = _ending(folder, SERIES)
    if ending is None and data.responses is None:
        raise DataError(
            f"{shown(root)} has no *{SERIES[0]}, which fMRIPrep writes. Name its folder, or the folder of your betas: "
            "data.responses.",
            where="data.responses",
            expected=SERIES[0],
        )
    events = _events_files(data)
    if ending is not None:
        runs, left_out = _with_images(data, find_runs(data, subject, ending), events)
    else:
        betas = _ending(folder, NIFTI) or NIFTI[0]
        runs, left_out = _with_images(data, find_runs(data, subject, betas, NOT_BETAS), events)
    space, runs = _in_space(data, folder, runs)
    place = _voxels(data, folder, runs, space, needs_mask=ending is not None)
    notes = (f"space {space or 'of the scan'}", *left_out)
    if ending is None:
        _refuse_model(data, folder)
        files = {run: sorted(paths, key=lambda path: by_number(path.name)) for run, paths in runs.items()}
        responses = run_files(list(itertools.chain(*files.values())), place)
        counts = {}
        for run, paths in files.items():
            counts[run] = sum(count_volumes(path, place) for path in paths)
        return assemble(data, read_run_tables(data, counts), responses, notes=notes)
    return _estimated(data, {run: _only(paths) for run, paths in runs.items()}, place, events, notes)


def _refuse_model(data: DataRecipe, folder: Path) -> None:
    """Refuse settings of the model that estimates betas, where betas are in files."""
    default = type(data)()
    for name in ("single_trials", "confounds", "hrf"):
        if getattr(data, name) != getattr(default, name):
            raise DataError(
                f"data.{name} is for betas that are estimated, and {shown(folder)} has betas and no *{SERIES[0]}. "
                "Leave it out, or name the folder of the series: data.responses.",
                where=f"data.{name}",
                expected=SERIES[0],
            )


def _estimated(
    data: DataRecipe, runs: Mapping[Run, Path], place: Place, events: Sequence[Path], notes: tuple[str, ...]
) -> LabData:
    """Return data whose responses are estimated from the series of each run."""
    texts = [path for path in need_root(data).rglob("[!.]*_bold.json") if "_desc-" not in path.name]
    series = []
    for run, path in runs.items():
        sidecars = [text for text in texts if may_be(run_of(text), run)]
        series.append(read_series(data, run, path, place, events_of(need_root(data), events, run), sidecars))
    counts = {run: found.events.n_trials for run, found in zip(runs, series, strict=True)}
    responses = computed_responses(series, place, data)
    names = sorted({name for found in series for name in found.scan.confounds})
    made = f"betas estimated by {data.single_trials.upper()} with the confounds {', '.join(names) or 'none'}"
    return assemble(data, read_run_tables(data, counts), responses, notes=(*notes, made))


def _ending(folder: Path, endings: tuple[str, ...]) -> str | None:
    """Return the first ending that a file in a folder has."""
    return next((ending for ending in endings if any(folder.rglob(f"[!.]*{ending}"))), None)


def _is_any(run: Run, known: Iterable[Run]) -> bool:
    """Return whether a file's run may be one of several; entities that a name lacks fit any."""
    return any(may_be(other, run) for other in known)


def _with_images(data: DataRecipe, runs: Runs, events: Sequence[Path]) -> tuple[Runs, tuple[str, ...]]:
    """Return the runs of the tasks with images, and a note of those that are left out."""
    if data.trials is not None and locate(data, data.trials, "data.trials").is_file():
        return runs, ()
    named = [run_of(path) for path in events if _has_images(path)]
    with_images = {run[2] for run in runs if _is_any(run, named)}
    if not with_images:
        raise DataError(
            f"{shown(need_root(data))} has no events file with a column stim_file that names images. A block design, "
            "whose events name categories alone, cannot be used. Name the folder of the events files: data.trials.",
            where="data.trials",
            expected=IMAGE_COLUMNS,
        )
    wanted = with_images if not data.tasks else with_images.intersection(data.tasks)
    unnamed = len(with_images) > 1 and not data.tasks
    if unnamed or not wanted >= set(data.tasks):
        tasks = ", ".join(sorted(with_images))
        raise DataError(
            f"{shown(need_root(data))} has images in the tasks {tasks}. Name those to read: data.tasks.",
            where="data.tasks",
            expected=tuple(sorted(with_images)),
            found=data.tasks,
        )
    others = sorted({run[2] for run in runs} - wanted)
    notes = (f"tasks left out: {', '.join(others)}",) if others else ()
    return {run: paths for run, paths in runs.items() if run[2] in wanted}, notes


def _events_files(data: DataRecipe) -> list[Path]:
    """Return all events files; none if ``data.trials`` is a table of all trials."""
    folder = need_root(data) if data.trials is None else locate(data, data.trials, "data.trials")
    return sorted(folder.rglob("[!.]*events.tsv")) if folder.is_dir() else []


def _has_images(path: Path) -> bool:
    columns = read_columns(path)
    return any(any(columns.get(name, ())) for name in IMAGE_COLUMNS)


def space_of(path: Path) -> str:
    """Return the space of a file by its name, with its resolution if there is one; empty for the space of the scan."""
    found = dict(re.findall(r"_(space|res)-([A-Za-z0-9]+)", path.name))
    return "_res-".join(filter(None, [found.get("space"), found.get("res")]))


def _in_space(data: DataRecipe, folder: Path, runs: Runs) -> tuple[str, Runs]:
    """Return the space to read, and each run's files in it."""
    spaces = sorted({space_of(path) for paths in runs.values() for path in paths})
    wanted = data.named_space
    chosen = spaces if wanted is None else [space for space in spaces if wanted in (space, space.partition("_res-")[0])]
    if len(chosen) != 1:
        names = ", ".join(space or "(no space: that of the scan)" for space in spaces)
        raise DataError(
            f"{shown(folder)} has files in the spaces {names}"
            + (". Name one: data.space." if wanted is None else f", not in one space {wanted!r}. Correct data.space."),
            where="data.space",
            expected=tuple(spaces),
            found=wanted,
        )
    (space,) = chosen
    found: dict[Run, list[Path]] = {}
    for run, paths in runs.items():
        found[run] = [path for path in paths if space_of(path) == space]
    missing = [run for run, paths in found.items() if not paths]
    if missing:
        raise DataError(
            f"{shown(folder)} lacks {len(missing)} of {len(runs)} runs in {space}; the first is "
            f"{'_'.join(filter(None, missing[0]))}. Complete it, or read another space: data.space.",
            where=folder,
            expected=len(runs),
            found=len(runs) - len(missing),
        )
    return space, found


def _voxels(data: DataRecipe, folder: Path, runs: Runs, space: str, *, needs_mask: bool) -> Place:
    """Return the voxels of ``data.mask``, or of the intersection of the runs' brain masks, or of the whole grid."""
    name = space.partition("_res-")[0] or "native"
    if data.mask is not None:
        return read_mask(locate(data, data.mask, "data.mask"), name)
    files = [path for place in {need_root(data), folder} for ending in MASKS for path in place.rglob(f"[!.]*{ending}")]
    in_space = [path for path in files if space_of(path) == space]
    masks = sorted({path for path in in_space if _is_any(run_of(path), runs)})
    first = next(iter(runs.values()))[0]
    if not masks and needs_mask:
        raise DataError(
            f"{shown(folder)} has no *{MASKS[0]} in the space {space or 'of the scan'}. Name a brain mask: data.mask.",
            where="data.mask",
            expected=MASKS[0],
        )
    if not masks:
        return all_voxels(first, name)
    place = read_mask(masks[0], name)
    for path in masks[1:]:
        count_volumes(path, place)  # the same grid
        place = place.take(np.isin(place.index, read_mask(path, name).index))
    return place


def _only(paths: Sequence[Path]) -> Path:
    if len(paths) != 1:
        raise DataError(
            f"{shown(paths[0])} and {shown(paths[1])} are of one run and space. Name one folder: data.responses.",
            where="data.responses",
            expected=1,
            found=len(paths),
        )
    return paths[0]
