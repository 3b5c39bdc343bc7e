"""Sessions of betas in NSD's layout: list them, check them against each other, and read some voxels.

A session of a volume is one file, HDF5 or NIfTI. On fsaverage it is two files, left and right; vertices replace voxels,
with an index into the shape (2, 163842, 1): hemisphere, vertex, 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.fsaverage import N_FINE, SIDES
from reseen.datasets.kept import KeptSessions, is_worth_keeping, origin
from reseen.datasets.nsd_design import TrialTable
from reseen.datasets.nsd_facts import INT16_PER_PERCENT, SUBJECTS, NsdFiles
from reseen.datasets.volumes import Shape, is_stored_by_voxel, peek, read_voxels
from reseen.errors import DataError
from reseen.files import unreadable
from reseen.recipe import DataRecipe
from reseen.trials import SessionScaling, Trials, standardise

VERTEX_SHAPE: Shape = (len(SIDES), N_FINE, 1)
"""Shape of all vertices of fsaverage, left hemisphere first."""
VOXELS_AT_ONCE = 256
N_SAMPLED = 100
"""Voxels that `read_sample` reads."""
MAX_CONSTANT = 0.1
"""Proportion of a session's ROI voxels that may be constant: more is a partial download."""
MAX_ZEROS = 0.2
"""Proportion of a session's numbers that may be zero."""
MIN_FOR_CONSTANT = 3
"""Minimum number of trials for which constant values are an error."""
MIN_FOR_ZERO_TRIAL = 5
"""Minimum number of voxels for which a trial of zeros is an error."""

Progress = Callable[[int, int], None]
"""Function of the amount done and the total."""


def session_paths(files: NsdFiles, session: int) -> tuple[Path, ...]:
    """Return the files of a session: left and right on fsaverage; else HDF5, or NIfTI if only that exists."""
    if files.on_fsaverage:
        return tuple(files.vertex_session(side, session) for side in SIDES)
    hdf5, nifti = files.session(session), files.session(session, "nii.gz")
    return (nifti if nifti.exists() and not os.path.lexists(hdf5) else hdf5,)


def list_sessions(files: NsdFiles) -> list[int]:
    """List the sessions with a file.

    Raises
    ------
    DataError
        If the folder cannot be listed.
    """
    starts = tuple(f"{side}.betas_session" for side in SIDES) if files.on_fsaverage else ("betas_session",)
    endings = (".mgh",) if files.on_fsaverage else (".hdf5", ".nii.gz")
    try:
        names = [path.name for path in files.betas_folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(files.betas_folder, error) from error
    numbers = {
        name.partition("betas_session")[2].split(".")[0]
        for name in names
        if name.startswith(starts) and name.endswith(endings)
    }
    return sorted(int(number) for number in numbers if number.isdecimal())


def check_present(files: NsdFiles, n_sessions: int, wanted: int | None) -> None:
    """Check that the betas of sessions 1 to ``n_sessions`` exist, and of no further session if ``wanted`` is None.

    Raises
    ------
    DataError
        If one is missing, or is not listed in the responses.
    """
    n_present = max(list_sessions(files), default=0)
    if wanted is None and n_present > n_sessions:
        raise DataError(
            f"{files.responses} lists no trials of session {n_present}, of which there are betas in "
            f"{files.betas_folder}. Fetch it again."
        )
    for session in range(1, n_sessions + 1):
        missing = [path for path in session_paths(files, session) if not path.exists()]
        if missing:
            also = "" if files.on_fsaverage else " (and there is no .nii.gz of it)"
            present = ", ".join(map(str, list_sessions(files))) or "none"
            raise DataError(
                f"{missing[0]} is missing{also}: sessions 1 to {n_sessions} are needed, found {present}. Fetch it, or "
                f"set data.sessions to {session - 1 or 'a number of sessions that you have'}."
            )


def check_sessions(files: NsdFiles, session: NDArray[np.int64], *, own: bool) -> Shape:
    """Check the header of every session before betas are read.

    Parameters
    ----------
    files
        Paths of the subject's files.
    session
        Shape ``(n_trials,)``: the session of each trial.
    own
        Whether the tree is NSD's own, whose volumes have known shapes.

    Returns
    -------
    tuple
        Shape of the volume (X, Y, Z), or `VERTEX_SHAPE`.

    Raises
    ------
    DataError
        If a file has another shape or number of trials than the other files.
    """
    shape = known_shape(files, own=own)
    for number, n_trials in zip(*np.unique(session, return_counts=True), strict=True):
        for path in session_paths(files, int(number)):
            shape = check_session(files, path, n_trials=int(n_trials), shape=shape)
    return VERTEX_SHAPE if files.on_fsaverage or shape is None else shape


def known_shape(files: NsdFiles, *, own: bool) -> Shape | None:
    """Return the shape (X, Y, Z) that every file of betas has on fsaverage and in NSD's own tree; None elsewhere."""
    if files.on_fsaverage:
        return (N_FINE, 1, 1)
    return SUBJECTS[files.subject].volume_shape.get(files.space) if own and files.subject in SUBJECTS else None


def check_session(files: NsdFiles, path: Path, *, n_trials: int | None, shape: Shape | None) -> Shape:
    """Compare the header of one file of betas with the known sizes.

    Parameters
    ----------
    files
        Paths of the subject's files.
    path
        The file.
    n_trials
        Expected number of trials; None: any number.
    shape
        Expected shape of the volume; None: any shape.

    Returns
    -------
    tuple
        Its shape (X, Y, Z).

    Raises
    ------
    DataError
        If it is missing, truncated, or has other content.
    """
    found_trials, found = peek(path)
    if shape is not None and found != shape:
        raise DataError(
            f"{path} has {_describe(files, found)}; {files.subject} has {_describe(files, shape)} in {files.space}. "
            "It is another subject's or another space's file: fetch it again."
        )
    if n_trials is not None and found_trials != n_trials:
        raise DataError(
            f"{path} holds {found_trials} trials; {n_trials} are expected, as {files.responses} lists. "
            "Fetch it again, or stop before this session with data.sessions."
        )
    return found


def read_betas(
    files: NsdFiles,
    table: TrialTable,
    index: NDArray[np.int64],
    shape: Shape,
    data: DataRecipe,
    *,
    kept: KeptSessions | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], SessionScaling | None]:
    """Read some voxels or vertices of all sessions into one array, session by session.

    Parameters
    ----------
    files
        Paths of the subject's files.
    table
        The trials, in order of presentation.
    index
        Shape ``(n_voxels,)``, sorted: C-order index into ``shape``.
    shape
        As `check_sessions` returns it.
    data
        Section ``data`` of the recipe, with the scaling of betas.
    kept
        Folder in which large sessions are kept after they are read.
    progress
        Function of the number of sessions read and the total.

    Returns
    -------
    betas
        Shape ``(n_trials, n_voxels)``.
    known
        Shape ``(n_voxels,)``: which have finite, varying values in every session.
    scaling
        Mean and standard deviation of each session; None if ``data.zscore_sessions`` is false.

    Raises
    ------
    DataError
        If a file is missing, truncated or a partial download, or a voxel of a volume has no finite value.
    ResultsError
        If a session cannot be kept.
    """
    betas = np.empty((len(table.session), len(index)), dtype=np.float32)
    known = np.ones(len(index), dtype=bool)
    sessions = list(_session_rows(table.session))
    moments = np.empty((len(sessions), 2, len(index)))  # mean and standard deviation
    settings = {"scale_int16": data.scale_int16, "zscore_sessions": data.zscore_sessions, "constant_left_out": True}
    for done, (rows, session) in enumerate(sessions, start=1):
        paths = session_paths(files, session)
        store = kept if kept is not None and is_worth_keeping(paths) else None
        computed_by = origin(paths, files.root, index, settings)
        of_session = moments[done - 1]
        finite = store.load(session, computed_by, betas[rows], of_session) if store else None
        if finite is None:
            finite = _fill_session(files, session, index, int(np.prod(shape)), data, betas[rows], of_session)
            if store:
                store.save(session, computed_by, betas[rows], of_session, finite)
        known &= finite
        if progress is not None:
            progress(done, len(sessions))
    if not data.zscore_sessions:
        return betas, known, None
    numbers = np.array([session for _, session in sessions], dtype=np.int64)
    return betas, known, SessionScaling(numbers, moments[:, 0], moments[:, 1])


def read_sample(
    files: NsdFiles, table: TrialTable, index: NDArray[np.int64], shape: Shape, data: DataRecipe
) -> Trials | None:
    """Read some voxels of all trials, spread over the ROIs, to compare the responses with their labels.

    Parameters
    ----------
    files, table, index, shape, data
        As for `read_betas`.

    Returns
    -------
    Trials
        With at most `N_SAMPLED` voxels and without ROIs; None if a large session is not stored by voxel and
        would have to be read completely.

    Raises
    ------
    DataError
        As `read_betas`.
    """
    for session in np.unique(table.session):
        paths = session_paths(files, int(session))
        if is_worth_keeping(paths) and not all(map(is_stored_by_voxel, paths)):
            return None
    chosen = np.unique(index[np.linspace(0, len(index) - 1, N_SAMPLED).astype(int)])
    betas, known, _ = read_betas(files, table, chosen, shape, data)
    return Trials(betas[:, known], table.stimulus_id, session=table.session, rois={}, subject=files.subject)


def _fill_session(
    files: NsdFiles,
    session: int,
    index: NDArray[np.int64],
    n_places: int,
    data: DataRecipe,
    into: NDArray[np.float32],
    moments: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Read a session's betas, scale them according to the recipe, and return which voxels have finite values.

    ``moments`` ``(2, n_voxels)`` becomes the mean and the standard deviation of each voxel before it is standardised.
    Blocks of voxels are scaled in turn: they stay in the processor's cache, and the session is not copied.
    """
    paths = session_paths(files, session)
    found = _read_session(paths, index, n_places)
    varies = _check_gaps(paths, found)
    known = np.ones(len(index), dtype=bool)
    for first in range(0, len(index), VOXELS_AT_ONCE):
        columns = slice(first, first + VOXELS_AT_ONCE)
        part = found[:, columns].astype(np.float32, order="C")
        if data.scale_int16 and np.issubdtype(found.dtype, np.integer):
            part /= np.float32(INT16_PER_PERCENT)
        bad = ~np.isfinite(part).all(axis=0)
        known[columns] = ~bad
        part[:, bad] = 0
        into[:, columns], moments[0, columns], moments[1, columns] = (
            standardise(part) if data.zscore_sessions else (part, 0.0, 1.0)
        )
    if not known.all() and not files.on_fsaverage:
        raise DataError(
            f"{paths[0]} holds betas that are no finite numbers (NaN) in {np.sum(~known)} of the {len(index)} ROI "
            "voxels. Take these voxels out of the ROI, or prepare the session again."
        )
    return known & varies


def _check_gaps(paths: Sequence[Path], found: NDArray[Any]) -> NDArray[np.bool_]:
    """Check a session for gaps, which partial downloads leave in files of the right length.

    Parameters
    ----------
    paths
        Files of the session.
    found
        Shape ``(n_trials, n_voxels)``: its betas, as stored.

    Returns
    -------
    numpy.ndarray
        Shape ``(n_voxels,)``: which voxels are not constant.
    """
    n_trials, n_voxels = found.shape
    varies = np.ones(n_voxels, dtype=bool)
    filled = np.zeros(n_trials, dtype=bool)
    n_numbers = 0
    for first in range(0, n_voxels, VOXELS_AT_ONCE):
        part = found[:, first : first + VOXELS_AT_ONCE]
        varies[first : first + VOXELS_AT_ONCE] = (part != part[:1]).any(axis=0)
        is_filled = part != 0
        filled |= is_filled.any(axis=1)
        n_numbers += int(np.count_nonzero(is_filled))
    holes = []
    if n_trials >= MIN_FOR_CONSTANT and np.sum(~varies) > MAX_CONSTANT * n_voxels:
        holes.append(f"one and the same number in all trials of {np.sum(~varies)} of {n_voxels} ROI voxels")
    if n_voxels >= MIN_FOR_ZERO_TRIAL and not filled.all():
        holes.append(f"only zeros in {np.sum(~filled)} of {n_trials} trials")
    if n_trials >= MIN_FOR_CONSTANT and n_numbers < (1 - MAX_ZEROS) * found.size:
        holes.append(f"zeros in {1 - n_numbers / found.size:.0%} of its numbers")
    if holes:
        raise DataError(
            f"{' and '.join(map(str, paths))}: a session with {' and '.join(holes)}. It seems to be a partial "
            "download: fetch it again, or take voxels that the scan did not cover out of the ROI."
        )
    return varies if n_trials >= MIN_FOR_CONSTANT else np.ones(n_voxels, dtype=bool)


def close_gaps(betas: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Keep the known columns of ``(n_trials, n_voxels)``, in place: a copy might not fit into memory."""
    n_trials, n_kept = len(betas), int(known.sum())
    flat = betas.reshape(-1)
    for number in range(n_trials):
        flat[number * n_kept : (number + 1) * n_kept] = betas[number, known]
    return flat[: n_trials * n_kept].reshape(n_trials, n_kept)


def _session_rows(session: NDArray[np.int64]) -> Iterator[tuple[slice, int]]:
    """Yield the rows of each session; trials are in order of presentation, so a session is a block."""
    numbers, first = np.unique(session, return_index=True)
    for number, start, stop in zip(numbers, first, [*first[1:], len(session)], strict=True):
        yield slice(int(start), int(stop)), int(number)


def _read_session(paths: Sequence[Path], index: NDArray[np.int64], n_places: int) -> NDArray[Any]:
    """Read some voxels of all files of a session; each file has the same number of voxels or vertices."""
    if len(paths) == 1:
        return read_voxels(paths[0], index)
    part, place = np.divmod(index, n_places // len(paths))
    return np.concatenate([read_voxels(path, place[part == row]) for row, path in enumerate(paths)], axis=1)


def _describe(files: NsdFiles, shape: Shape) -> str:
    return f"{int(np.prod(shape))} vertices" if files.on_fsaverage else f"a volume of {shape}"
