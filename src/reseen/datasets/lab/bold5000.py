"""Read BOLD5000, release 2.0: ``data.kind = "bold5000"``.

One 4-D NIfTI (X, Y, Z, trial) per session, ``CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-01.nii.gz``. The release has
no table of images. Their order is that of

- the events files of the BIDS data set ds001499 (column ``ImgName``), without the localizer, by session and run; or
- ``CSI1_imgnames.txt``, one name for each trial of all sessions. The README of the release does not describe this file,
  so that its order is an assumption; `reseen check` says so, and its label check tests it.

Names of repeated images may begin with ``rep_``, which the files of the images do not have.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from reseen.datasets.lab.assemble import assemble, find_images, locate, need_root
from reseen.datasets.lab.data import LabData
from reseen.datasets.lab.images import ImageFolder
from reseen.datasets.lab.place import Place
from reseen.datasets.lab.subjects import of_subject
from reseen.datasets.lab.table import IMAGE_COLUMNS, Texts, TrialTable, join_tables, read_columns
from reseen.datasets.lab.volumes import all_voxels, read_mask, run_files
from reseen.datasets.volumes import read_grid
from reseen.errors import DataError
from reseen.files import read_text
from reseen.files.reading import shown
from reseen.recipe import DataRecipe

COLUMNS = ("ImgName", *IMAGE_COLUMNS)
REPEATED = "rep_"
_SESSION = re.compile(r"_ses-(\d+)")
_RUN = re.compile(r"_run-(\d+)")
_BETAS = re.compile(r"(.+)_GLMbetas-(.+)_ses-\d+\.nii(\.gz)?")


def read(data: DataRecipe, subject: str) -> LabData:
    """Read a subject's trials; responses are read at first use.

    Parameters
    ----------
    data
        Section ``data`` of the recipe. ``trials`` is the folder of the events files, or the text file of image names;
        left out, both are looked for in ``path``. ``mask`` is the brain mask; without it all voxels are read.
    subject
        Name of the subject, such as ``"CSI1"``.

    Raises
    ------
    DataError
        If a file is missing or damaged, or the number of images is not that of the responses.
    """
    files = _files(data, subject)
    counts = {_number(_SESSION, path): read_grid(path)[0][-1] for path in files}
    table, notes = _trials(data, subject, counts)
    return assemble(data, table, run_files(files, _voxels(data, files[0])), notes=notes)


def _files(data: DataRecipe, subject: str) -> list[Path]:
    root = need_root(data) if data.responses is None else locate(data, data.responses, "data.responses")
    found = sorted(path for path in root.rglob("*_ses-*.nii*") if _BETAS.fullmatch(path.name))
    if not found:
        raise DataError(
            f"{shown(root)} has no files CSI*_GLMbetas-*_ses-*.nii.gz. Correct data.path.",
            where="data.path",
            expected="CSI*_GLMbetas-*_ses-*.nii.gz",
        )
    files = sorted(of_subject(root, found, subject), key=lambda path: _number(_SESSION, path))
    versions = sorted({match[2] for path in files if (match := _BETAS.fullmatch(path.name))})
    if len(versions) > 1:
        raise DataError(
            f"{shown(root)} has several versions of the betas: {', '.join(versions)}. Name the folder of one of them: "
            "data.responses.",
            where="data.responses",
            expected=1,
            found=tuple(versions),
        )
    return files


def _number(pattern: re.Pattern[str], path: Path) -> int:
    found = pattern.search(path.name)
    return int(found[1]) if found else 0


def _voxels(data: DataRecipe, path: Path) -> Place:
    if data.mask is None:
        return all_voxels(path, "T1w")
    return read_mask(locate(data, data.mask, "data.mask"), "T1w")


def _trials(data: DataRecipe, subject: str, counts: dict[int, int]) -> tuple[TrialTable, tuple[str, ...]]:
    """Return the trials of the sessions with responses, and a note on where their order is from."""
    root = need_root(data)
    source = root if data.trials is None else locate(data, data.trials, "data.trials")
    images = find_images(data)
    if source.is_dir():
        events = sorted(path for path in source.rglob(f"sub-{subject}_*events.tsv") if "localizer" not in path.name)
        if events:
            return _of_events(events, counts, images), ()
        source = source / f"{subject}_imgnames.txt"
    if not source.is_file():
        raise DataError(
            f"{shown(root)} has neither events files of sub-{subject} nor {subject}_imgnames.txt. Name the folder "
            f"sub-{subject} of the BIDS data set ds001499: data.trials.",
            where="data.trials",
        )
    note = f"order of the images from {source.name}, which the README of BOLD5000 does not describe"
    return _of_names(source, counts, images), (note,)


def _of_events(events: Sequence[Path], counts: dict[int, int], images: ImageFolder) -> TrialTable:
    tables = []
    for session, count in counts.items():
        runs = sorted((path for path in events if _number(_SESSION, path) == session), key=_run)
        session_tables = [_run_table(path, session, images) for path in runs]
        n_events = sum(map(len, session_tables))
        if n_events != count:
            raise DataError(
                f"session {session} has {n_events} images in {len(runs)} events files and {count} responses. Name the "
                "events files of the sessions that were analysed: data.trials.",
                where="data.trials",
                expected=count,
                found=n_events,
            )
        tables += session_tables
    return join_tables(tables)


def _run(path: Path) -> int:
    return _number(_RUN, path)


def _run_table(path: Path, session: int, images: ImageFolder) -> TrialTable:
    columns = read_columns(path)
    named = next((name for name in COLUMNS if name in columns), None)
    if named is None:
        raise DataError(
            f"{shown(path)} has no column {COLUMNS[0]}; it has {', '.join(map(shown, columns))}.",
            where=path,
            expected=COLUMNS,
            found=tuple(columns),
        )
    names = columns.pop(named)
    labels = (str(session),) * len(names), (str(_run(path)),) * len(names)
    return TrialTable(_in_folder(names, images), *labels, columns=columns)


def _of_names(path: Path, counts: dict[int, int], images: ImageFolder) -> TrialTable:
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if len(names) != sum(counts.values()):
        raise DataError(
            f"{shown(path)} has {len(names)} names, and {len(counts)} sessions have {sum(counts.values())} responses. "
            "One name for each response of these sessions is needed.",
            where=path,
            expected=sum(counts.values()),
            found=len(names),
        )
    sessions = tuple(str(session) for session, count in counts.items() for _ in range(count))
    return TrialTable(_in_folder(names, images), sessions)


def _in_folder(names: Texts, images: ImageFolder) -> Texts:
    """Return the names of the image files: without ``rep_`` if the folder has them so."""
    found = []
    for name in names:
        plain = name.removeprefix(REPEATED)
        found.append(plain if images.find(name) is None and images.find(plain) is not None else name)
    return tuple(found)
