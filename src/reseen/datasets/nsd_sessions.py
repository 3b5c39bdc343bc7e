"""Sessions of betas in NSD's layout: list them, and check them against each other before they are read.

A session of a volume is one file, HDF5 or NIfTI. On a surface it is two files, left and right; vertices replace voxels.
Their index is into the shape (2, 163842, 1) on fsaverage: hemisphere, vertex, 1. On the subject's own surface the
hemispheres have different numbers of vertices; the index is into (n_left + n_right, 1, 1).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.fsaverage import N_FINE, SIDES
from reseen.datasets.nsd_facts import SUBJECTS, NsdFiles
from reseen.datasets.volumes import Shape, peek
from reseen.errors import DataError
from reseen.files import unreadable
from reseen.recipe import SessionChoice

VERTEX_SHAPE: Shape = (len(SIDES), N_FINE, 1)
"""Shape of all vertices of fsaverage, left hemisphere first."""


def session_paths(files: NsdFiles, session: int) -> tuple[Path, ...]:
    """Return the files of a session: left and right on a surface; else HDF5, or NIfTI if only that exists."""
    if files.on_surface:
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
    starts = tuple(f"{side}.betas_session" for side in SIDES) if files.on_surface else ("betas_session",)
    endings: tuple[str, ...] = (".hdf5", ".nii.gz")
    if files.on_surface:
        endings = (".mgh",) if files.on_fsaverage else (".hdf5",)
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


def check_present(files: NsdFiles, sessions: Sequence[int], wanted: SessionChoice | None) -> None:
    """Check that the betas of these sessions exist, and of no further session if ``wanted`` is None.

    Raises
    ------
    DataError
        If one is missing, or is not listed in the responses.
    """
    n_present = max(list_sessions(files), default=0)
    if wanted is None and n_present > max(sessions):
        raise DataError(
            f"{files.responses} lists no trials of session {n_present}, of which there are betas in "
            f"{files.betas_folder}. Fetch it again."
        )
    for session in sessions:
        missing = [path for path in session_paths(files, session) if not path.exists()]
        if missing:
            also = "" if files.on_surface else " (and there is no .nii.gz of it)"
            present = ", ".join(map(str, list_sessions(files))) or "none"
            needed = f"1 to {max(sessions)}" if len(sessions) == max(sessions) else ", ".join(map(str, sessions))
            fix = f"set data.sessions to {session - 1 or 'a number of sessions that you have'}"
            if isinstance(wanted, tuple):
                fix = f"take session {session} out of data.sessions"
            raise DataError(
                f"{missing[0]} is missing{also}: sessions {needed} are needed, found {present}. Fetch it, or {fix}."
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
        Shape of the volume (X, Y, Z), or of all vertices.

    Raises
    ------
    DataError
        If a file has another shape or number of trials than the other files.
    """
    shapes = known_shapes(files, own=own)
    for number, n_trials in zip(*np.unique(session, return_counts=True), strict=True):
        parts = zip(session_paths(files, int(number)), shapes, strict=True)
        shapes = [check_session(files, path, n_trials=int(n_trials), shape=shape) for path, shape in parts]
    return total_shape(files, [shape for shape in shapes if shape is not None])


def total_shape(files: NsdFiles, shapes: Sequence[Shape]) -> Shape:
    """Return the shape of all voxels or vertices, from the shape in each file of a session."""
    if files.on_native:
        return (sum(shape[0] for shape in shapes), 1, 1)
    return VERTEX_SHAPE if files.on_fsaverage or not shapes else shapes[0]


def known_shapes(files: NsdFiles, *, own: bool) -> list[Shape | None]:
    """Return the shape (X, Y, Z) of each file of a session, left and right on a surface; None where it is unknown."""
    if files.on_fsaverage:
        return [(N_FINE, 1, 1)] * len(SIDES)
    facts = SUBJECTS.get(files.subject) if own else None
    if files.on_native:
        return [None] * len(SIDES) if facts is None else [(n, 1, 1) for n in facts.n_vertices]
    return [None if facts is None else facts.volume_shape.get(files.space)]


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


def _describe(files: NsdFiles, shape: Shape) -> str:
    return f"{int(np.prod(shape))} vertices" if files.on_surface else f"a volume of {shape}"
