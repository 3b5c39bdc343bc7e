"""Keep the voxels that are read from large sessions, for a faster next start.

Each session is one file, complete or absent: an interruption loses at most the current session.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
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
        if not os.path.lexists(path):
            return None
        try:
            with opening_tensors(path) as (file, found):
                if found != computed_by:
                    return None
                betas, known, kept = (file.get_tensor(name) for name in ("betas", "known", "moments"))
        except ResultsError as error:
            warnings.warn(f"session {session} is read from the data set again: {error}", stacklevel=2)
            return None
        fits = _is(betas, into.dtype, into.shape) and _is(known, np.dtype(bool), into.shape[1:])
        if not (fits and _is(kept, moments.dtype, moments.shape)):
            warnings.warn(f"session {session} is read from the data set again: {path} has another shape.", stacklevel=2)
            return None
        into[:], moments[:] = betas, kept
        return known  # type: ignore[no-any-return]

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


def _is(array: NDArray[Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    return array.dtype == dtype and array.shape == shape


def origin(paths: Sequence[Path], root: Path, index: NDArray[np.int64], settings: dict[str, bool]) -> dict[str, str]:
    """Return the origin of a session's betas: files, voxels and settings.

    Parameters
    ----------
    paths
        Files of the session; a file with another time is read again.
    root
        Folder of the data set; moving it changes nothing.
    index
        Shape ``(n_voxels,)``: the voxels that are read.
    settings
        Settings of the scaling of betas.
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
