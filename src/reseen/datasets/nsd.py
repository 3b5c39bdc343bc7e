"""Read the Natural Scenes Dataset (NSD), or any tree in its layout: one subject's ROI voxels, images and split.

Ids become 0-based here and stay 0-based. In addition to the result, at most one session of its voxels is in memory.
"""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.kept import KeptSessions
from reseen.datasets.nsd_betas import Progress, close_gaps, read_betas, read_sample
from reseen.datasets.nsd_design import TrialTable, choose_sessions, read_trial_table
from reseen.datasets.nsd_facts import N_IMAGES, TERMS, NsdFiles
from reseen.datasets.nsd_images import count_images, read_images
from reseen.datasets.nsd_inventory import inventory, list_subjects, need_path
from reseen.datasets.nsd_protocol import choose_trials, describe_choice, special_images
from reseen.datasets.nsd_sessions import check_present, check_sessions
from reseen.datasets.nsd_stim_info import check_shared_images
from reseen.datasets.nsd_voxels import RoiVoxels, find_ncsnr, find_voxels
from reseen.datasets.outline import Outline
from reseen.datasets.splits import make_split
from reseen.errors import DataError
from reseen.recipe import DataRecipe
from reseen.split import Split
from reseen.stimuli import Stimuli
from reseen.subject import Subject
from reseen.trials import Trials

__all__ = ["TERMS", "inventory", "open_subject", "outline"]


def open_subject(
    data: DataRecipe,
    subject: str,
    *,
    keep: Path | None = None,
    progress: Progress | None = None,
    check_betas: bool = False,
) -> Subject:
    """Open one subject: read the design and the split now; ROIs, betas and images at first use.

    Images, captions and split do not need the files of betas.

    Parameters
    ----------
    data
        Section ``data`` of the recipe.
    subject
        Folder name, such as ``"subj01"``.
    keep
        Folder for the voxels that are read from large sessions, for a faster next start. Default: nothing is kept.
    progress
        Function of the number of sessions read and the total.
    check_betas
        Whether to find the voxels of the ROIs and to check the headers of all sessions now.

    Returns
    -------
    Subject
        All trials of the sessions read, in order of presentation. Voxels are the union of ``data.rois``, in C order. If
        ``data.space`` is ``"fsaverage"``, voxels are vertices, and ``volume_shape`` is (2, 163842, 1): hemisphere
        (left first), vertex. If it is ``"nativesurface"``, ``volume_shape`` is (n_left + n_right, 1, 1). Vertices with
        missing values in any session are left out, with a warning. Stimuli are all images of the tree. ``data.test``
        chooses the test set: the shared images that this subject saw in these sessions, or folds.

    Raises
    ------
    DataError
        If a file is missing, truncated or does not fit the others.
    RecipeError
        If the recipe asks for an ROI, a session or a number of test images that does not exist.
    ResultsError
        If ``keep`` cannot be written; raised when betas are read.
    """
    files = _find_files(data, subject)
    known = _read_design(files, data)
    kept = None if keep is None else KeptSessions(keep)
    voxels = _find_voxels(files, known, data) if check_betas else None

    def read() -> Trials:
        found = voxels if voxels is not None else _find_voxels(files, known, data)
        return _read_trials(files, known, found, data, kept, progress)

    return Subject(read, known.stimuli, known.split, name=subject)


def _read_trials(
    files: NsdFiles,
    design: _Design,
    voxels: RoiVoxels,
    data: DataRecipe,
    kept: KeptSessions | None,
    progress: Progress | None,
) -> Trials:
    table = design.table.take(design.used)
    betas, known, scaling = read_betas(
        files, design.table, voxels.index, data, used=design.used, kept=kept, progress=progress
    )
    if not known.all():
        voxels = _leave_out(files, voxels, known)
        betas = close_gaps(betas, known)
        scaling = None if scaling is None else scaling.voxels(known)
    return Trials(
        betas,
        table.stimulus_id,
        session=table.session,
        rois=voxels.rois,
        ncsnr=find_ncsnr(files, voxels),
        voxel_index=voxels.index,
        volume_shape=voxels.shape,
        subject=files.subject,
        scaling=scaling,
    )


def outline(data: DataRecipe, subject: str) -> Outline:
    """Return trials, split and stimuli of one subject before betas are read, with the same code as `open_subject`.

    Raises
    ------
    DataError, RecipeError
        As `open_subject`.
    """
    files = _find_files(data, subject)
    known = _read_design(files, data)
    voxels = _find_voxels(files, known, data)
    sample = partial(read_sample, files, known.table, voxels.index, data)
    n_voxels = {roi: int(mask.sum()) for roi, mask in voxels.rois.items()}
    n_read = len(voxels.index)
    used = known.table.take(known.used)
    note = describe_choice(data, used.session, used.stimulus_id, known.split)
    return Outline(used.stimulus_id, known.split, n_voxels, n_read, voxels.shape, known.stimuli, sample, note)


class _Design(NamedTuple):
    """Trials of the sessions read, which of them are used, stimuli and split of a subject, without betas."""

    table: TrialTable
    used: NDArray[np.bool_]
    stimuli: Stimuli
    split: Split
    own: bool


def _read_design(files: NsdFiles, data: DataRecipe) -> _Design:
    n_images = count_images(files)
    own = n_images == N_IMAGES
    sessions = choose_sessions(files, data.sessions, own=own)
    table = read_trial_table(files, max(sessions), n_images, own=own)  # the design is checked from the first trial
    table = table.take(np.isin(table.session, sessions))
    check_shared_images(files, n_images, table.shared)
    stimuli = read_images(files, n_images, data.fit)
    special = partial(special_images, files, list_subjects(files.root), own=own)
    used, test = choose_trials(data, table.session, table.stimulus_id, table.shared, special)
    chosen = table.take(used)
    labels = {"sessions": chosen.session}
    split = make_split(data, chosen.stimulus_id, stimuli.subsets, test=test, labels=labels)
    return _Design(table, used, stimuli, split, own)


def _find_voxels(files: NsdFiles, known: _Design, data: DataRecipe) -> RoiVoxels:
    """Return the voxels of the ROIs; check the header of every session first."""
    check_present(files, np.unique(known.table.session).tolist(), data.sessions)
    return find_voxels(files, data.rois, check_sessions(files, known.table.session, own=known.own))


def _find_files(data: DataRecipe, subject: str) -> NsdFiles:
    """Return the paths of one subject's files; check the folders first."""
    root = need_path(data)
    if not root.is_dir():
        raise DataError(
            f"there is no data folder {root}. A folder that holds nsddata, nsddata_betas and nsddata_stimuli is "
            "needed: `reseen check` lists the files to fetch, `reseen simulate` writes a simulated subject."
        )
    files = NsdFiles(root, subject, data.space, data.betas)
    if not files.person.is_dir():
        found = ", ".join(list_subjects(root)) or "none"
        raise DataError(
            f"{files.person} is missing: there is no subject {subject!r}, found {found}. Fix data.subjects."
        )
    return files


def _leave_out(files: NsdFiles, vertices: RoiVoxels, known: NDArray[np.bool_]) -> RoiVoxels:
    """Keep the voxels or vertices with finite, varying values: a session may not cover all of them."""
    places = "vertices" if files.on_surface else "voxels"
    kept = vertices.keep(known)
    for roi, rows in kept.rois.items():
        n_before = int(vertices.rois[roi].sum())
        if rows.sum() < n_before / 2:
            raise DataError(
                f"{files.betas_folder}: {n_before - rows.sum()} of the {n_before} {places} of {roi} have no finite "
                "numbers (NaN), or one constant number, in some session. Take it out of data.rois, or read fewer "
                "sessions with data.sessions."
            )
    warnings.warn(
        f"{files.subject}: {np.sum(~known)} of the {len(known)} ROI {places} in {files.space} hold no finite numbers "
        "(NaN), or one constant number, in some session and are left out.",
        stacklevel=3,
    )
    return kept
