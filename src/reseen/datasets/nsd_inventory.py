"""Check which files of one NSD subject are needed, and which are present, complete and plausible."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.inventory import FileCheck, check_file
from reseen.datasets.nsd_design import TrialTable, check_wanted, read_design, read_responses, read_trial_table
from reseen.datasets.nsd_facts import COCO_SPLITS, N_IMAGES, SUBJECTS, TRIALS_PER_SESSION, NsdFiles
from reseen.datasets.nsd_images import check_images, count_images, read_coco
from reseen.datasets.nsd_protocol import list_sessions_of
from reseen.datasets.nsd_rois import find_rois, read_table
from reseen.datasets.nsd_sessions import check_session, known_shapes, list_sessions, session_paths, total_shape
from reseen.datasets.nsd_stim_info import check_shared_images, read_stim_info
from reseen.datasets.nsd_voxels import RoiVoxels, atlas_paths, atlases, find_voxels
from reseen.datasets.volumes import Shape, check_gzip, peek, read_volume, read_voxels
from reseen.errors import DataError
from reseen.recipe import DataRecipe

N_PROBED = 8
"""Voxels of the ROIs that are read of every session: a file of the right length can be empty."""
_SIMULATE = "missing. Write the simulated subject again: reseen simulate"


@dataclass(frozen=True)
class _Known:
    """Facts about a subject that are known before betas are read."""

    files: NsdFiles
    own: bool
    n_images: int
    sessions: Sequence[int]
    shapes: Sequence[Shape | None]
    table: TrialTable | None
    voxels: RoiVoxels | None

    def n_trials(self, session: int) -> int | None:
        if self.own:
            return TRIALS_PER_SESSION
        return int(np.sum(self.table.session == session)) or None if self.table else None


def inventory(data: DataRecipe, subject: str, *, with_trials: bool = True) -> list[FileCheck]:
    """List the files that one subject needs, and check those that exist, including a few betas of each session.

    If ``with_trials`` is False, list only the files of images, captions and split. ``fetch_commands`` of `NsdFiles`
    returns the download commands of missing files.

    Raises
    ------
    DataError
        If no data folder was given, or there is no such subject.
    RecipeError
        If an ROI is unknown, or more sessions are requested than NSD has.
    """
    files = NsdFiles(need_path(data), subject, data.space, data.betas)
    simulated = data.kind == "simulated" or files.truth.exists()
    _check_subject(files, simulated=simulated)
    known = _learn(files, data, simulated=simulated)
    wanted = [*_common(known), (files.responses, None, lambda: _describe_trials(known))]
    if with_trials:
        wanted += [*_atlases(known, data), *_sessions(known)]
    return [
        check_file(
            path,
            describe,
            missing=_how_to_get(files, path, simulated=simulated),
            expected=None if simulated else size,
        )
        for path, size, describe in wanted
    ]


def _how_to_get(files: NsdFiles, path: Path, *, simulated: bool) -> str:
    if not files.can_fetch(path):
        return "missing. Correct data.rois, which names this mask."
    return _SIMULATE if simulated else f"missing. Fetch it: {files.fetch_command(path)}"


_Wanted = tuple[Path, int | None, Callable[[], str]]


def _common(known: _Known) -> list[_Wanted]:
    """List the files that all subjects share."""
    files = known.files
    return [
        (files.stimuli, N_IMAGES * 425 * 425 * 3, lambda: _describe_images(files)),
        (files.design, None, lambda: f"{read_design(files.design)['masterordering'].size:,} trials"),
        (files.stim_info, None, lambda: _describe_sources(known)),
        *((files.captions(split), None, _describe_captions(files.captions(split))) for split in COCO_SPLITS),
    ]


def _atlases(known: _Known, data: DataRecipe) -> Iterator[_Wanted]:
    for rois in atlases(find_rois(known.files, data.rois)).values():
        for path in atlas_paths(known.files, rois):
            yield path, None, _describe_atlas(known, path, [roi.name for roi in rois])


def _sessions(known: _Known) -> list[_Wanted]:
    wanted: list[_Wanted] = []
    for session in known.sessions:
        for path, shape in zip(session_paths(known.files, session), known.shapes, strict=True):
            n_bytes = 4 if path.suffix == ".mgh" else 2
            size = None if shape is None or path.suffix == ".gz" else TRIALS_PER_SESSION * int(np.prod(shape)) * n_bytes
            wanted.append((path, size, _describe_session(known, path, session, shape)))
    return wanted


def extras(data: DataRecipe, subject: str) -> Mapping[str, list[FileCheck]]:
    """List optional files by their purpose.

    Raises
    ------
    DataError
        If no data folder was given.
    """
    files = NsdFiles(need_path(data), subject, data.space, data.betas)
    wanted = {"noise ceilings": files.ncsnr_files(), "maps on the cortex": files.transforms()}
    found = {}
    for purpose, paths in wanted.items():
        found[purpose] = [check_file(path, _describe_volume(path), missing="missing") for path in paths]
    return found


def _describe_volume(path: Path) -> Callable[[], str]:
    return lambda: f"values {read_volume(path)[0].shape}"


def need_path(data: DataRecipe) -> Path:
    """Return the path of the data.

    Raises
    ------
    DataError
        If ``data.path`` is not set.
    """
    if data.path is None:
        raise DataError("no data folder was given: set data.path in the recipe, or pass --data FOLDER.")
    return data.path


def list_subjects(root: Path) -> list[str]:
    """List the subjects of a tree."""
    return sorted(path.name for path in (root / "nsddata/ppdata").glob("subj*") if path.is_dir())


def _check_subject(files: NsdFiles, *, simulated: bool) -> None:
    """Refuse a subject that is in neither NSD nor the tree."""
    if files.person.is_dir() or (files.subject in SUBJECTS and not simulated):
        return
    here = ", ".join(list_subjects(files.root))
    known = "a simulated subject goes by what simulate wrote" if simulated else "NSD has subj01 to subj08"
    raise DataError(
        f"there is no subject {files.subject!r}: {known}, and {files.root} holds {here or 'none'}. Fix data.subjects."
    )


def _learn(files: NsdFiles, data: DataRecipe, *, simulated: bool) -> _Known:
    """Find the expected properties of the sessions, from NSD's facts or else from the files.

    A tree counts as NSD's own if its images cannot be counted.
    """
    n_images = _unless_damaged(lambda: count_images(files)) or N_IMAGES
    own = not simulated and n_images == N_IMAGES
    check_wanted(files, data.sessions, own=own)
    present = list_sessions(files)
    n_most = SUBJECTS[files.subject].n_sessions if own and files.subject in SUBJECTS else 1
    sessions = list_sessions_of(data.sessions, range(1, (max(present, default=n_most)) + 1))
    if isinstance(data.sessions, int):
        sessions = tuple(range(1, data.sessions + 1))
    shapes = known_shapes(files, own=own)
    if None in shapes and present:
        shapes = [_unless_damaged(partial(_peek_shape, path)) for path in session_paths(files, present[0])]
    n_listed = min(max(sessions), max(present, default=1))
    table = _unless_damaged(lambda: read_trial_table(files, n_listed, n_images, own=own))
    voxels = None
    whole = None if None in shapes else total_shape(files, [shape for shape in shapes if shape is not None])
    if whole is not None and not files.on_surface:
        voxels = _unless_damaged(lambda: find_voxels(files, data.rois, whole))
    return _Known(files, own, n_images, sessions, shapes, table, voxels)


def _peek_shape(path: Path) -> Shape:
    return peek(path)[1]


def _unless_damaged(read: Callable[[], Any]) -> Any:
    """Return None if a file is missing or damaged: the check of that file reports it."""
    try:
        return read()
    except DataError:
        return None


def _describe_trials(known: _Known) -> str:
    """Count the listed trials; the design is compared with them only if it can be read."""
    session, _ = read_responses(known.files.responses, max(known.sessions))
    if known.table is None and _unless_damaged(lambda: read_design(known.files.design)) is not None:
        read_trial_table(known.files, max(known.sessions), known.n_images, own=known.own)
    session = session[np.isin(session, known.sessions)]
    return f"{len(session):,} trials in {len(np.unique(session))} sessions"


def _describe_images(files: NsdFiles) -> str:
    check_images(files)
    return f"{count_images(files):,} images"


def _describe_sources(known: _Known) -> str:
    info = read_stim_info(known.files, known.n_images)
    if known.table is not None:
        check_shared_images(known.files, known.n_images, known.table.shared)
    return f"sources of {len(info.sources):,} images"


def _describe_captions(path: Path) -> Callable[[], str]:
    return lambda: f"{sum(map(len, read_coco(path).values())):,} captions of COCO"


def _describe_atlas(known: _Known, path: Path, rois: Sequence[str]) -> Callable[[], str]:
    def describe() -> str:
        if path.suffix == ".ctab":
            return f"{len(read_table(path)):,} names of labels"
        shape = known.shapes[0]
        if known.files.on_surface or shape is None:
            volume, _ = read_volume(path)
            return f"{np.sum(volume > 0):,} labelled places in {volume.shape}"
        voxels = find_voxels(known.files, rois, shape)
        return ", ".join(f"{roi} {np.sum(mask):,} voxels" for roi, mask in voxels.rois.items())

    return describe


def _describe_session(known: _Known, path: Path, session: int, shape: Shape | None) -> Callable[[], str]:
    def describe() -> str:
        check_session(known.files, path, n_trials=known.n_trials(session), shape=shape)
        if path.suffix == ".gz":
            check_gzip(path)
        elif path.suffix == ".hdf5" and known.voxels is not None:
            _probe(path, known.voxels.index)
        n_trials, found = peek(path)
        return f"{n_trials} trials of {found}"

    return describe


def _probe(path: Path, index: NDArray[np.int64]) -> None:
    """Read some voxels of the ROIs: interrupted parallel downloads leave gaps in a file of the right length."""
    chosen = index[np.linspace(0, len(index) - 1, min(N_PROBED, len(index))).astype(int)]
    found = read_voxels(path, np.unique(chosen))
    empty = int(np.sum(np.ptp(found, axis=0) == 0))
    if empty > len(found.T) // 2:
        raise DataError(
            f"{path} holds one and the same number in all trials of {empty} of {len(found.T)} ROI voxels. "
            "It seems to have been fetched in part: delete it and fetch it again."
        )
