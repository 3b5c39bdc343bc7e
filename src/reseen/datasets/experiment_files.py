"""Files of NSD's other experiments, in which the same subjects were scanned with the same voxels for one more session.

The betas of an experiment are one file for each subject, or one for each hemisphere on a surface. Their folder has the
name of that of the main experiment after the name of the experiment, such as ``nsdimagerybetas_fithrf``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reseen.datasets.fsaverage import SIDES
from reseen.datasets.nsd_facts import NsdFiles
from reseen.datasets.nsd_sessions import known_shapes
from reseen.errors import DataError


@dataclass(frozen=True)
class ExperimentFile:
    """One file that an experiment needs.

    Parameters
    ----------
    path
        Path of the file.
    describe
        Function that returns its content in words; it raises a DataError if the file is damaged.
    size
        Bytes of NSD's own file, counted from its shape and type; None for small files, and where the shape is unknown.
    """

    path: Path
    describe: Callable[[], str]
    size: int | None = None


def experiment_paths(files: NsdFiles, name: str) -> tuple[Path, ...]:
    """Return the betas of ``"nsdimagery"`` or ``"nsdsynthetic"``: left and right on a surface; else HDF5 or NIfTI."""
    folder = files.betas_folder.with_name(f"{name}{files.betas}")
    if files.on_surface:
        suffix = "hdf5" if files.on_native else "mgh"
        return tuple(folder / f"{side}.betas_{name}.{suffix}" for side in SIDES)
    hdf5, nifti = folder / f"betas_{name}.hdf5", folder / f"betas_{name}.nii.gz"
    return (nifti if nifti.exists() and not hdf5.exists() else hdf5,)


def betas_sizes(files: NsdFiles, n_events: int) -> list[int | None]:
    """Return the bytes of each file of betas of an NSD subject; None where its number of voxels is unknown."""
    n_bytes = 4 if files.on_fsaverage else 2
    shapes = known_shapes(files, own=True)
    return [None if shape is None else n_events * int(np.prod(shape)) * n_bytes for shape in shapes]


def need_files(files: NsdFiles, title: str, option: str, paths: Sequence[Path]) -> None:
    """Check that files exist.

    Parameters
    ----------
    files
        Paths of the subject's files.
    title
        Name of the experiment, such as ``"NSD-Imagery"``.
    option
        Option of ``reseen simulate`` that writes a simulated session.
    paths
        The files.

    Raises
    ------
    DataError
        If some do not exist. The message has the commands that download them.
    """
    missing = [path for path in paths if not path.exists()]
    if missing:
        commands = "\n".join(files.fetch_commands(missing))
        raise DataError(
            f"{missing[0]} is missing, and {len(missing) - 1} other files of {title}. Name data in NSD's layout "
            f"that have them (reseen simulate {option} writes simulated ones), or fetch them:\n{commands}",
            where=missing[0],
            expected=len(paths),
            found=len(paths) - len(missing),
        )
