"""Read some voxels or vertices of sessions of betas in NSD's layout, scale them, and check them for gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.kept import KeptSessions, is_worth_keeping, origin
from reseen.datasets.nsd_design import TrialTable
from reseen.datasets.nsd_facts import INT16_PER_PERCENT, NsdFiles
from reseen.datasets.nsd_sessions import session_paths, total_shape
from reseen.datasets.volumes import Shape, is_stored_by_voxel, peek, read_voxels
from reseen.errors import DataError
from reseen.recipe import DataRecipe
from reseen.trials import SessionScaling, Trials, standardise

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


def read_betas(
    files: NsdFiles,
    table: TrialTable,
    index: NDArray[np.int64],
    data: DataRecipe,
    *,
    used: NDArray[np.bool_] | None = None,
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
        Shape ``(n_voxels,)``, sorted: C-order index into the shape from `check_sessions`.
    data
        Section ``data`` of the recipe, with the scaling of betas.
    used
        Shape ``(n_trials,)``: which trials are returned; all are read and standardised. Default: all.
    kept
        Folder in which large sessions are kept after they are read.
    progress
        Function of the number of sessions read and the total.

    Returns
    -------
    betas
        Shape ``(n_trials, n_voxels)``, of the trials in ``used``.
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
    used = np.ones(len(table.session), dtype=bool) if used is None else used
    betas = np.empty((int(used.sum()), len(index)), dtype=np.float32)
    known = np.ones(len(index), dtype=bool)
    sessions = [(used[rows], session) for rows, session in _session_rows(table.session) if used[rows].any()]
    first = 0
    moments = np.empty((len(sessions), 2, len(index)))  # mean and standard deviation
    settings = {"scale_int16": data.scale_int16, "zscore_sessions": data.zscore_sessions, "constant_left_out": True}
    for done, (here, session) in enumerate(sessions, start=1):
        rows = slice(first, first + int(here.sum()))
        first = rows.stop
        # a session is standardised with all its trials, those that are left out afterwards included
        part = betas[rows] if here.all() else np.empty((len(here), len(index)), dtype=np.float32)
        paths = session_paths(files, session)
        store = kept if kept is not None and is_worth_keeping(paths) else None
        computed_by = origin(paths, files.root, index, settings)
        of_session = moments[done - 1]
        finite = store.load(session, computed_by, part, of_session) if store else None
        if finite is None:
            finite = _fill_session(files, session, index, data, part, of_session)
            if store:
                store.save(session, computed_by, part, of_session, finite)
        if not here.all():
            betas[rows] = part[here]
        known &= finite
        if progress is not None:
            progress(done, len(sessions))
    if not data.zscore_sessions:
        return betas, known, None
    numbers = np.array([session for _, session in sessions], dtype=np.int64)
    return betas, known, SessionScaling(numbers, moments[:, 0], moments[:, 1])


def read_sample(files: NsdFiles, table: TrialTable, index: NDArray[np.int64], data: DataRecipe) -> Trials | None:
    """Read some voxels of all trials, spread over the ROIs, to compare the responses with their labels.

    Parameters
    ----------
    files, table, index, data
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
    betas, known, _ = read_betas(files, table, chosen, data)
    return Trials(betas[:, known], table.stimulus_id, session=table.session, rois={}, subject=files.subject)


def _fill_session(
    files: NsdFiles,
    session: int,
    index: NDArray[np.int64],
    data: DataRecipe,
    into: NDArray[np.float32],
    moments: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Read a session's betas, scale them according to the recipe, and return which voxels have finite values.

    ``moments`` ``(2, n_voxels)`` becomes the mean and the standard deviation of each voxel before it is standardised.
    Blocks of voxels are scaled in turn: they stay in the processor's cache, and the session is not copied.
    """
    paths = session_paths(files, session)
    found = _read_paths(paths, index)
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
    if not known.all() and not files.on_surface:
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


def read_events(
    files: NsdFiles, paths: Sequence[Path], index: NDArray[np.int64], data: DataRecipe, *, n_events: int
) -> tuple[NDArray[np.float32], Shape]:
    """Read some voxels of all events of another experiment of NSD, such as NSD-Imagery, not standardised.

    Parameters
    ----------
    files
        Paths of the subject's files.
    paths
        Files of the betas: one volume, or the left and the right hemisphere.
    index
        Shape ``(n_voxels,)``, sorted: C-order indices.
    data
        Section ``data`` of the recipe.
    n_events
        Expected number of betas.

    Returns
    -------
    betas
        Shape ``(n_events, n_voxels)``.
    shape
        Shape of the volume, or of all vertices.

    Raises
    ------
    DataError
        If a file is damaged, has another number of events, lacks a voxel, or has values that are not finite.
    """
    shape = total_shape(files, [check_events(path, n_events) for path in paths])
    if len(index) and index[-1] >= np.prod(shape):
        raise DataError(
            f"{paths[0]} has the grid {shape}, and the decoders need the voxel {index[-1]:,}. Use the betas of the "
            "space of the training data.",
            where=paths[0],
            expected=int(index[-1]) + 1,
            found=int(np.prod(shape)),
        )
    found = _read_paths(paths, index)
    _check_gaps(paths, found)
    betas = found.astype(np.float32)
    if data.scale_int16 and np.issubdtype(found.dtype, np.integer):
        betas /= np.float32(INT16_PER_PERCENT)
    if not np.isfinite(betas).all():
        raise DataError(
            f"{paths[0]} has betas that are no finite numbers (NaN) in voxels of the decoders. Fit decoders on voxels "
            "that this scan covers.",
            where=paths[0],
        )
    return betas, shape


def check_events(path: Path, n_events: int) -> Shape:
    """Return the shape of the volume of a file of betas, after its header is compared with the number of events.

    Raises
    ------
    DataError
        If the file is missing, truncated, or has another number of events.
    """
    found_events, shape = peek(path)
    if found_events != n_events:
        raise DataError(
            f"{path} holds {found_events} events; {n_events} are expected. Fetch it again.",
            where=path,
            expected=n_events,
            found=found_events,
        )
    return shape


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


def _read_paths(paths: Sequence[Path], index: NDArray[np.int64]) -> NDArray[Any]:
    """Read some voxels or vertices of all files of a session; vertices are counted through both hemispheres."""
    if len(paths) == 1:
        return read_voxels(paths[0], index)
    first, parts = 0, []
    for path in paths:
        n_here = int(np.prod(peek(path)[1]))
        here = index[(index >= first) & (index < first + n_here)] - first
        parts.append(read_voxels(path, here))
        first += n_here
    return np.concatenate(parts, axis=1)
