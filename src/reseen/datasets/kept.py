"""Keep the voxels that are read from large sessions or estimated from series, for a faster next start.

Each session or run is one file, complete or absent: an interruption loses at most the current one.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ResultsError
from reseen.files import opening_tensors, write_tensors

WORTH_KEEPING = 200e6
"""Minimum size of a session that is kept, in bytes; smaller sessions, as of simulated subjects, are read fast."""


@dataclass(frozen=True)
class KeptSessions:
    """Folder in which a subject's sessions are kept.

    Parameters
    ----------
    folder
        Folder with nothing else; it may be deleted at any time.
    """

    folder: Path

    def load(
        self, session: int, computed_by: dict[str, str], into: NDArray[np.float32], moments: NDArray[np.float64]
    ) -> NDArray[np.bool_] | None:
        """Read a session, if it is kept and its origin is unchanged.

        Parameters
        ----------
        session
            Number of the session, from 1.
        computed_by
            Origin of its betas, from `origin`.
        into
            Shape ``(n_trials, n_voxels)``: output array of the betas.
        moments
            Shape ``(2, n_voxels)``: output array of their mean and standard deviation before standardisation.

        Returns
        -------
        known
            Shape ``(n_voxels,)``: which have finite values; None if the session has to be read from its source.
        """
        path = self._path(session)
        arrays = load_kept(path, computed_by, ("betas", "known", "moments"), f"session {session}")
        if arrays is None:
            return None
        betas, known, kept = arrays
        fits = _is(betas, into.dtype, into.shape) and _is(known, np.dtype(bool), into.shape[1:])
        if not (fits and _is(kept, moments.dtype, moments.shape)):
            warnings.warn(f"session {session} is read from the data set again: {path} has another shape.", stacklevel=2)
            return None
        into[:], moments[:] = betas, kept
        return known

    def save(
        self,
        session: int,
        computed_by: dict[str, str],
        betas: NDArray[np.float32],
        moments: NDArray[np.float64],
        known: NDArray[np.bool_],
    ) -> None:
        """Keep a session.

        Raises
        ------
        ResultsError
            If it cannot be written, for example because the disk is full.
        """
        write_tensors(self._path(session), {"betas": betas, "moments": moments, "known": known}, computed_by)

    def _path(self, session: int) -> Path:
        return self.folder / f"session{session:02d}.safetensors"


def load_kept(
    path: Path, computed_by: Mapping[str, str], names: Sequence[str], what: str
) -> tuple[NDArray[Any], ...] | None:
    """Read the arrays of a kept file.

    Parameters
    ----------
    path
        The file.
    computed_by
        Origin of the arrays.
    names
        Names of the arrays.
    what
        Name of the part of the data that the file has, for a warning.

    Returns
    -------
    The arrays; None if there is no file, its origin is another one, or it is damaged, of which a warning says more.
    """
    if not os.path.lexists(path):
        return None
    try:
        with opening_tensors(path) as (file, found):
            if found != computed_by:
                return None
            return tuple(file.get_tensor(name) for name in names)
    except ResultsError as error:
        warnings.warn(f"{what} is read from the data set again: {error}", stacklevel=3)
        return None


def _is(array: NDArray[Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    return array.dtype == dtype and array.shape == shape


def origin(
    paths: Sequence[Path], root: Path, index: NDArray[np.int64], settings: Mapping[str, bool | str]
) -> dict[str, str]:
    """Return the origin of the betas of a session or run: files, voxels and settings.

    Parameters
    ----------
    paths
        Files of the betas; a file with another size or time is read again.
    root
        Folder of the data set; moving it changes nothing.
    index
        Shape ``(n_voxels,)``: the voxels that are read.
    settings
        Settings that the betas depend on.
    """
    found = [(path, path.stat()) for path in paths]
    return {
        "sources": json.dumps([[path.relative_to(root).as_posix(), at.st_size, at.st_mtime_ns] for path, at in found]),
        "voxels": hashlib.sha256(index.astype("<i8").tobytes()).hexdigest(),
        "settings": json.dumps(settings, sort_keys=True),
    }


def is_worth_keeping(paths: Sequence[Path]) -> bool:
    """Return whether a session of these files takes long enough to read."""
    return sum(path.stat().st_size for path in paths) >= WORTH_KEEPING
