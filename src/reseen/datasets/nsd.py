"""Read the Natural Scenes Dataset, or any tree in its layout: one subject's ROI voxels, the pictures and the split.

Ids become 0-based here and stay so. Beside the voxels that are kept, no more than one session of them is in memory.
"""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.kept import KeptSessions
from reseen.datasets.nsd_design import TrialTable, read_trial_table
from reseen.datasets.nsd_facts import N_IMAGES, TERMS, NsdFiles
from reseen.datasets.nsd_inventory import inventory, list_subjects, need_path
from reseen.datasets.nsd_pictures import count_pictures, read_pictures
from reseen.datasets.nsd_sessions import Progress, check_sessions, close_gaps, count_sessions, read_betas, read_sample
from reseen.datasets.nsd_stim_info import check_shared_images
from reseen.datasets.nsd_voxels import RoiVoxels, find_ncsnr, find_voxels
from reseen.datasets.outline import Outline
from reseen.datasets.splits import make_split
from reseen.errors import DataError
from reseen.recipe import DataRecipe
from reseen.stimuli import Stimuli
from reseen.trials import Split, Trials

__all__ = ["TERMS", "inventory", "load", "outline"]


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
    table, voxels, stimuli, split = _before_betas(files, data)
    kept = None if keep is None else KeptSessions(keep)
    betas, known = read_betas(files, table, voxels.index, voxels.shape, data, kept=kept, progress=progress)
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
        ncsnr=find_ncsnr(files, voxels),
        voxel_index=voxels.index,
        volume_shape=voxels.shape,
    )
    return trials, stimuli, split


def outline(data: DataRecipe, subject: str) -> Outline:
    """Return what is known of one subject before betas are read, by the code that `load` begins with.

    Raises
    ------
    DataError, RecipeError
        As `load`.
    """
    files = _find_files(data, subject)
    table, voxels, stimuli, split = _before_betas(files, data)
    sample = partial(read_sample, files, table, voxels.index, voxels.shape, data)
    n_voxels = {roi: int(mask.sum()) for roi, mask in voxels.rois.items()}
    return Outline(table.stimulus_id, split, n_voxels, len(voxels.index), voxels.shape, stimuli, sample)


def _before_betas(files: NsdFiles, data: DataRecipe) -> tuple[TrialTable, RoiVoxels, Stimuli, Split]:
    """Read all of a subject but the betas: which trial shows what, the ROIs, the images and the split."""
    n_images = count_pictures(files)
    own = n_images == N_IMAGES
    n_sessions = count_sessions(files, data.sessions, own=own)
    table = read_trial_table(files, n_sessions, n_images, own=own)
    check_shared_images(files, n_images, table.shared)
    voxels = find_voxels(files, data.rois, check_sessions(files, table.session, own=own))
    stimuli = read_pictures(files, n_images)
    seen = np.unique(table.stimulus_id)
    split = make_split(data, seen, stimuli.subsets, test=np.intersect1d(seen, table.shared))
    return table, voxels, stimuli, split


def _find_files(data: DataRecipe, subject: str) -> NsdFiles:
    """Say where one subject's files lie, after a look at the folders."""
    root = need_path(data)
    if not root.is_dir():
        raise DataError(
            f"there is no data folder {root}. A folder that holds nsddata, nsddata_betas and nsddata_stimuli is "
            "needed: `reseen check` lists the files to fetch, `reseen simulate` writes a digital subject."
        )
    files = NsdFiles(root, subject, data.space, data.betas)
    if not files.person.is_dir():
        found = ", ".join(list_subjects(root)) or "none"
        raise DataError(
            f"{files.person} is missing: there is no subject {subject!r}, found {found}. Mend data.subjects."
        )
    return files


def _leave_out(files: NsdFiles, vertices: RoiVoxels, known: NDArray[np.bool_]) -> RoiVoxels:
    """Keep the voxels, or vertices, that have numbers that are not constant: a session may not cover all of them."""
    places = "vertices" if files.on_fsaverage else "voxels"
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
