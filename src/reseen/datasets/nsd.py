"""Read the Natural Scenes Dataset, or any tree in its layout: one subject's ROI voxels, the pictures and the split.

Ids become 0-based here and stay so. Beside the voxels that are kept, no more than one session of them is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.inventory import FileCheck, check_file
from reseen.datasets.nsd_design import TrialTable, read_trial_table
from reseen.datasets.nsd_facts import (
    COCO_SPLITS,
    INT16_PER_PERCENT,
    N_IMAGES,
    SUBJECTS,
    TERMS,
    TRIALS_PER_SESSION,
    NsdFiles,
    find_label,
)
from reseen.datasets.nsd_pictures import count_pictures, read_pictures, read_sources
from reseen.datasets.splits import make_split
from reseen.datasets.volumes import Shape, check_gzip, peek, read_volume, read_voxels
from reseen.errors import DataError, RecipeError
from reseen.recipe import DataRecipe
from reseen.stimuli import Stimuli
from reseen.trials import Split, Trials

__all__ = ["TERMS", "inventory", "load"]

_SIMULATE = "Write the digital subject again: reseen simulate"


@dataclass(frozen=True)
class _Voxels:
    index: NDArray[np.int64]
    shape: Shape
    rois: Mapping[str, NDArray[np.bool_]]


def load(data: DataRecipe, subject: str) -> tuple[Trials, Stimuli, Split]:
    """Read one subject.

    Parameters
    ----------
    data
        Where the tree lies and what of it to read.
    subject
        Folder name, such as ``"subj01"``.

    Returns
    -------
    Trials
        Every trial of the sessions read, in order of presentation; voxels are the union of ``data.rois``, in C order.
    Stimuli
        Every picture of the tree, read on demand.
    Split
        The shared pictures that this subject saw in these sessions as the test set, or folds, as ``data.test`` says.

    Raises
    ------
    DataError
        If a file is missing, truncated or does not fit the others.
    RecipeError
        If the recipe asks for an ROI, a session or a number of test pictures that does not exist.
    """
    files = _find_files(data, subject)
    n_images = count_pictures(files)
    own = n_images == N_IMAGES
    n_sessions = _count_sessions(files, data.sessions, own=own)
    table = read_trial_table(files, n_sessions, n_images, own=own)
    shape = _check_sessions(files, table.session, own=own)
    voxels = _find_voxels(files, data.rois, shape)
    trials = Trials(
        subject=subject,
        betas=_read_betas(files, table, voxels.index, data),
        stimulus_id=table.stimulus_id,
        session=table.session,
        rois=voxels.rois,
        n_repetitions=np.ones(len(table.session), dtype=np.int64),
        ncsnr=_read_ncsnr(files, voxels),
        voxel_index=voxels.index,
        volume_shape=shape,
    )
    stimuli = read_pictures(files, n_images)
    seen = np.unique(table.stimulus_id)
    return trials, stimuli, make_split(data, seen, stimuli.subsets, test=np.intersect1d(seen, table.shared))


def inventory(data: DataRecipe, subject: str) -> list[FileCheck]:
    """List the files that reading one subject needs, and check those that exist, without reading any betas.

    The note of a missing file holds the command that fetches it; ``TERMS`` says what NSD asks for before.

    Raises
    ------
    DataError
        If no data folder was given.
    RecipeError
        If an ROI is unknown.
    """
    files = NsdFiles(_need_path(data), subject, data.space, data.betas)
    facts = SUBJECTS.get(subject)
    shape = facts.volume_shape.get(data.space) if facts else None
    session_size = TRIALS_PER_SESSION * int(np.prod(shape)) * 2 if shape else None
    present = _list_sessions(files)
    n_sessions = data.sessions or max(present, default=facts.n_sessions if facts else 1)
    checks: list[tuple[Path, int | None, Callable[[], str]]] = [
        (files.stimuli, N_IMAGES * 425 * 425 * 3, lambda: f"{count_pictures(files)} pictures"),
        (files.design, None, lambda: "the experiment's design"),
        (files.stim_info, None, lambda: f"sources of {len(read_sources(files, count_pictures(files)))} pictures"),
        *((files.captions(split), None, lambda: "COCO's captions") for split in COCO_SPLITS),
        (files.responses, None, lambda: _describe_trials(files, len(present))),
        *((files.roi(atlas), None, _describe_atlas(files, atlas)) for atlas in _atlases(data.rois)),
        *((_session_path(files, s), session_size, _describe_session(files, s)) for s in range(1, n_sessions + 1)),
    ]
    digital = data.kind == "digital" or files.truth.exists()
    return [
        check_file(
            path,
            describe,
            missing="missing. " + (_SIMULATE if digital else f"Fetch it: {files.fetch_command(path)}"),
            expected_size=None if digital else size,
        )
        for path, size, describe in checks
    ]


def _describe_trials(files: NsdFiles, n_sessions: int) -> str:
    n_images = count_pictures(files)
    table = read_trial_table(files, max(n_sessions, 1), n_images, own=n_images == N_IMAGES)
    return f"{len(table.session)} trials in {table.session.max()} sessions"


def _describe_atlas(files: NsdFiles, atlas: str) -> Callable[[], str]:
    def describe() -> str:
        volume, _ = read_volume(files.roi(atlas))
        return f"{np.sum(volume > 0)} labelled voxels in {volume.shape}"

    return describe


def _describe_session(files: NsdFiles, session: int) -> Callable[[], str]:
    def describe() -> str:
        path = _session_path(files, session)
        n_trials, shape = peek(path)
        if path.suffix == ".gz":
            check_gzip(path)
        return f"{n_trials} trials of {shape}"

    return describe


def _need_path(data: DataRecipe) -> Path:
    if data.path is None:
        raise DataError("no data folder was given: set data.path in the recipe, or pass --data FOLDER.")
    return data.path


def _find_files(data: DataRecipe, subject: str) -> NsdFiles:
    """Say where one subject's files lie, after a look at the folders."""
    root = _need_path(data)
    if not root.is_dir():
        raise DataError(
            f"there is no data folder {root}. A folder that holds nsddata, nsddata_betas and nsddata_stimuli is "
            "needed: `reseen check` lists the files to fetch, `reseen simulate` writes a digital subject."
        )
    people = root / "nsddata/ppdata"
    if not (people / subject).is_dir():
        found = ", ".join(sorted(path.name for path in people.glob("*") if path.is_dir())) or "none"
        raise DataError(
            f"{people / subject} is missing: there is no subject {subject!r}, found {found}. Mend data.subjects."
        )
    return NsdFiles(root, subject, data.space, data.betas)


def _count_sessions(files: NsdFiles, wanted: int | None, *, own: bool) -> int:
    """Say how many sessions to read: the first so many, or all that exist; none may be missing between them."""
    if own and wanted and files.subject in SUBJECTS and wanted > SUBJECTS[files.subject].n_sessions:
        n_most = SUBJECTS[files.subject].n_sessions
        raise RecipeError(
            f"data.sessions asks for {wanted} sessions; NSD has {n_most} of {files.subject}. Ask for fewer."
        )
    present = _list_sessions(files)
    n_sessions = wanted or max(present, default=1)
    missing = [session for session in range(1, n_sessions + 1) if session not in present]
    if missing:
        raise DataError(
            f"{files.session(missing[0])} is missing (and there is no .nii.gz of it): sessions 1 to {n_sessions} are "
            f"needed, found {', '.join(map(str, present)) or 'none'}. Fetch it, or set data.sessions to "
            f"{missing[0] - 1 or 'a number of sessions that you have'}."
        )
    return n_sessions


def _list_sessions(files: NsdFiles) -> list[int]:
    names = [
        path.name for path in files.betas_folder.glob("betas_session*") if path.name.endswith((".hdf5", ".nii.gz"))
    ]
    numbers = {name.removeprefix("betas_session").split(".")[0] for name in names}
    return sorted(int(number) for number in numbers if number.isdecimal())


def _session_path(files: NsdFiles, session: int) -> Path:
    """Give the HDF5 of a session, or its NIfTI where only that exists."""
    hdf5, nifti = files.session(session), files.session(session, "nii.gz")
    return nifti if nifti.exists() and not hdf5.exists() else hdf5


def _check_sessions(files: NsdFiles, session: NDArray[np.int64], *, own: bool) -> Shape:
    """Check every session's header before any betas are read, and give the shape of the volume."""
    facts = SUBJECTS.get(files.subject) if own else None
    path = _session_path(files, 1)
    shape = peek(path)[1]
    if facts and shape != facts.volume_shape.get(files.space, shape):
        raise DataError(
            f"{path} has a volume of {shape}; {files.subject} has {facts.volume_shape[files.space]} in {files.space}. "
            "It is another subject's or another space's file: fetch it again."
        )
    for number, expected in zip(*np.unique(session, return_counts=True), strict=True):
        path = _session_path(files, int(number))
        n_trials, found = peek(path)
        if n_trials != expected:
            raise DataError(
                f"{path} holds {n_trials} trials; {expected} are expected, as {files.responses} lists. "
                f"Fetch it again, or stop before this session with data.sessions."
            )
        if found != shape:
            raise DataError(f"{path} has a volume of {found}; session 1 has {shape}. Fetch it again.")
    return shape


def _label(roi: str) -> tuple[str, frozenset[int]]:
    known = find_label(roi)
    if known is None:
        raise RecipeError(
            f"data.rois: there is no ROI {roi!r}. Name one of NSD's (early, ventral, V1, FFA-1, nsdgeneral ...) or "
            "atlas:label, such as HCP_MMP1:1."
        )
    return known


def _atlases(rois: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(_label(roi)[0] for roi in rois))


def _find_voxels(files: NsdFiles, rois: Sequence[str], shape: Shape) -> _Voxels:
    """Read the atlases and take the union of the ROIs."""
    atlases = {atlas: _read_fitting(files, files.roi(atlas), shape) for atlas in _atlases(rois)}
    masks: dict[str, NDArray[np.bool_]] = {}
    for roi in rois:
        atlas, labels = _label(roi)
        masks[roi] = np.isin(atlases[atlas].ravel(), sorted(labels))
        if not masks[roi].any():
            raise DataError(f"{files.roi(atlas)} has no voxel labelled {roi}; take it out of data.rois.")
    index = np.flatnonzero(np.logical_or.reduce(list(masks.values())))
    return _Voxels(index, shape, {roi: mask[index] for roi, mask in masks.items()})


def _read_fitting(files: NsdFiles, path: Path, shape: Shape) -> NDArray[Any]:
    """Read a volume that must have the shape of the betas."""
    volume, _ = read_volume(path)
    if volume.shape != shape:
        raise DataError(
            f"{path} has shape {volume.shape}; the betas in {files.betas_folder} have {shape} (X, Y, Z). "
            "They are of different spaces or subjects: fetch both from one (data.space)."
        )
    return volume


def _read_ncsnr(files: NsdFiles, voxels: _Voxels) -> NDArray[np.float32] | None:
    if not files.ncsnr.exists():
        return None
    ncsnr = _read_fitting(files, files.ncsnr, voxels.shape).ravel()[voxels.index]
    known: NDArray[np.float32] = np.nan_to_num(ncsnr, nan=0.0).astype(np.float32)
    return known


def _read_betas(files: NsdFiles, table: TrialTable, index: NDArray[np.int64], data: DataRecipe) -> NDArray[np.float32]:
    """Read one session after the other into ``(n_trials, n_voxels)``."""
    betas = np.empty((len(table.session), len(index)), dtype=np.float32)
    for rows, path in _session_rows(files, table):
        found = read_voxels(path, index)
        part = found.astype(np.float32)
        if data.scale_int16 and np.issubdtype(found.dtype, np.integer):
            part /= np.float32(INT16_PER_PERCENT)
        bad = ~np.isfinite(part).all(axis=0)
        if bad.any():
            raise DataError(
                f"{path} holds betas that are no finite numbers (NaN) in {bad.sum()} of the {len(index)} ROI voxels. "
                "Take these voxels out of the ROI, or prepare the session again."
            )
        betas[rows] = _zscore(part, table, rows, files.subject) if data.zscore_sessions else part
    return betas


def _session_rows(files: NsdFiles, table: TrialTable) -> Iterator[tuple[slice, Path]]:
    """Give the rows of each session: trials are in order of presentation, so a session is a block."""
    numbers, first = np.unique(table.session, return_index=True)
    for number, start, stop in zip(numbers, first, [*first[1:], len(table.session)], strict=True):
        yield slice(int(start), int(stop)), _session_path(files, int(number))


def _zscore(part: NDArray[np.float32], table: TrialTable, rows: slice, subject: str) -> NDArray[np.float32]:
    """Standardise one session alone: doing it to all of them at once would need the memory twice."""
    ids = table.stimulus_id[rows]
    return Trials(subject, part, ids, table.session[rows], {}, np.ones_like(ids)).zscore_sessions().betas
