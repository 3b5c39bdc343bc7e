"""Read the Natural Scenes Dataset, or any tree in its layout: one subject's ROI voxels, the pictures and the split.

Ids become 0-based here and stay so. Beside the voxels that are kept, no more than one session of them is in memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.fsaverage import N_FINE
from reseen.datasets.inventory import FileCheck, check_file
from reseen.datasets.kept import KeptSessions
from reseen.datasets.nsd_design import read_trial_table
from reseen.datasets.nsd_facts import (
    COCO_SPLITS,
    N_IMAGES,
    SUBJECTS,
    TERMS,
    TRIALS_PER_SESSION,
    NsdFiles,
    find_label,
)
from reseen.datasets.nsd_pictures import count_pictures, read_pictures, read_sources
from reseen.datasets.nsd_sessions import (
    Progress,
    check_sessions,
    close_gaps,
    count_sessions,
    list_sessions,
    read_betas,
    session_paths,
)
from reseen.datasets.splits import make_split
from reseen.datasets.vertices import label_files, read_labels, read_ncsnr
from reseen.datasets.volumes import Shape, check_gzip, peek, read_volume
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

    def keep(self, mask: NDArray[np.bool_]) -> _Voxels:
        return _Voxels(self.index[mask], self.shape, {roi: rows[mask] for roi, rows in self.rois.items()})


def load(
    data: DataRecipe, subject: str, *, keep: Path | None = None, progress: Progress | None = None
) -> tuple[Trials, Stimuli, Split]:
    """Read one subject.

    Parameters
    ----------
    data
        Where the tree lies and what of it to read.
    subject
        Folder name, such as ``"subj01"``.
    keep
        Folder for what was read of large sessions, which are then read from there; left out: nothing is kept.
    progress
        Called with how many sessions are read, and how many there are.

    Returns
    -------
    Trials
        Every trial of the sessions read, in order of presentation; voxels are the union of ``data.rois``, in C order.
        Where ``data.space`` is ``"fsaverage"`` they are its vertices, and ``volume_shape`` is (2, 163842, 1):
        hemisphere (left first), vertex. Vertices without a number in some session are left out, with a warning.
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
    ResultsError
        If nothing can be written to ``keep``.
    """
    files = _find_files(data, subject)
    n_images = count_pictures(files)
    own = n_images == N_IMAGES
    n_sessions = count_sessions(files, data.sessions, own=own)
    table = read_trial_table(files, n_sessions, n_images, own=own)
    shape = check_sessions(files, table.session, own=own)
    voxels = _find_voxels(files, data.rois, shape)
    kept = None if keep is None else KeptSessions(keep)
    betas, known = read_betas(files, table, voxels.index, shape, data, kept=kept, progress=progress)
    if not known.all():
        voxels = _leave_out(files, voxels, known)
        betas = close_gaps(betas, known)
    trials = Trials(
        subject=subject,
        betas=betas,
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
    session_size = TRIALS_PER_SESSION * N_FINE * 4 if files.on_fsaverage else session_size
    present = list_sessions(files)
    n_sessions = data.sessions or max(present, default=facts.n_sessions if facts else 1)
    checks: list[tuple[Path, int | None, Callable[[], str]]] = [
        (files.stimuli, N_IMAGES * 425 * 425 * 3, lambda: f"{count_pictures(files)} pictures"),
        (files.design, None, lambda: "the experiment's design"),
        (files.stim_info, None, lambda: f"sources of {len(read_sources(files, count_pictures(files)))} pictures"),
        *((files.captions(split), None, lambda: "COCO's captions") for split in COCO_SPLITS),
        (files.responses, None, lambda: _describe_trials(files, len(present))),
        *((path, None, _describe_atlas(path)) for atlas in _atlases(data.rois) for path in _atlas_paths(files, atlas)),
        *(
            (path, session_size, _describe_session(path))
            for session in range(1, n_sessions + 1)
            for path in session_paths(files, session)
        ),
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


def _describe_atlas(path: Path) -> Callable[[], str]:
    def describe() -> str:
        volume, _ = read_volume(path)
        return f"{np.sum(volume > 0)} labelled places in {volume.shape}"

    return describe


def _describe_session(path: Path) -> Callable[[], str]:
    def describe() -> str:
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
    atlases = {atlas: _read_atlas(files, atlas, shape) for atlas in _atlases(rois)}
    masks: dict[str, NDArray[np.bool_]] = {}
    for roi in rois:
        atlas, labels = _label(roi)
        masks[roi] = np.isin(atlases[atlas].ravel(), sorted(labels))
        if not masks[roi].any():
            where = " and ".join(map(str, _atlas_paths(files, atlas)))
            raise DataError(f"{where} has no voxel labelled {roi}; take it out of data.rois.")
    index = np.flatnonzero(np.logical_or.reduce(list(masks.values())))
    return _Voxels(index, shape, {roi: mask[index] for roi, mask in masks.items()})


def _atlas_paths(files: NsdFiles, atlas: str) -> Sequence[Path]:
    return label_files(files, atlas) if files.on_fsaverage else [files.roi(atlas)]


def _read_atlas(files: NsdFiles, atlas: str, shape: Shape) -> NDArray[Any]:
    return read_labels(files, atlas) if files.on_fsaverage else _read_fitting(files, files.roi(atlas), shape)


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
    if files.on_fsaverage:
        ncsnr = read_ncsnr(files)
    else:
        ncsnr = _read_fitting(files, files.ncsnr, voxels.shape) if files.ncsnr.exists() else None
    return None if ncsnr is None else np.nan_to_num(ncsnr.ravel()[voxels.index], nan=0.0).astype(np.float32)


def _leave_out(files: NsdFiles, vertices: _Voxels, known: NDArray[np.bool_]) -> _Voxels:
    """Keep the vertices that have numbers: some of fsaverage lie outside of what was scanned in some session."""
    kept = vertices.keep(known)
    for roi, rows in kept.rois.items():
        if not rows.any():
            raise DataError(
                f"{files.betas_folder} holds no vertex of {roi} with finite numbers in every session read; take it out "
                "of data.rois, or read fewer sessions with data.sessions."
            )
    warnings.warn(
        f"{files.subject}: {np.sum(~known)} of the {len(known)} ROI vertices on fsaverage hold no finite numbers (NaN) "
        "in some session and are left out.",
        stacklevel=3,
    )
    return kept
