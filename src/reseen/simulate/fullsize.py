"""Write a subject at NSD's full size, to test readers; betas follow a formula, and images have one grey pixel.

The tree has NSD's names, shapes, chunks and number of images. Session 1 of subj01 has 1.05 GB, or some megabytes if
only the ROIs are stored (``all_voxels=False``).
"""

from __future__ import annotations

import gzip
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.nsd_facts import INT16_PER_PERCENT, N_IMAGES, ROI_LABELS, SUBJECTS, TRIALS_PER_SESSION, NsdFiles
from reseen.errors import ResultsError, ShapeError
from reseen.simulate.layout import BETAS, SPACE, write_tree
from reseen.simulate.subject import SubjectTree

N_ROI_VOXELS = 15_724
"""Number of voxels of ``nsdgeneral`` of subj01."""
N_SHARED, N_OWN, N_REPETITIONS = 1000, 10_000, 3
PRIME = 6007
_BACK = 0.5  # proportion of the volume, from posterior, with visual cortex


def planted(index: NDArray[np.int64], session: int, trials: range = range(TRIALS_PER_SESSION)) -> NDArray[np.int16]:
    """Return the stored values of some voxels in a session, ``(n_voxels, n_trials)``.

    Values are pseudo-random and depend only on voxel, session and trial.

    Parameters
    ----------
    index
        Shape ``(n_voxels,)``: C-order index into the volume (X, Y, Z).
    session
        Number of the session, from 1.
    trials
        Trials of the session's 750.
    """
    step = 1 + (index * 48_271 + session * 40_503) % (PRIME - 1)
    trial = np.asarray(trials, dtype=np.int32)
    return ((step.astype(np.int32)[:, None] * (trial + 1)) % PRIME - PRIME // 2).astype(np.int16)


def write_full_size(
    root: Path,
    *,
    subject: str = "subj01",
    n_sessions: int = 1,
    n_voxels: int = N_ROI_VOXELS,
    all_voxels: bool = True,
    n_nifti: int = 0,
) -> None:
    """Write the tree of one subject of NSD.

    Parameters
    ----------
    root
        The folder to write into.
    subject
        Subject of NSD; its volume shape is used.
    n_sessions
        Number of sessions of 750 trials.
    n_voxels
        Number of voxels in the seven ROIs of atlas ``streams``: a folded sheet in the posterior part of the volume.
    all_voxels
        Store all voxels, as NSD does. If false, store only voxels of the ROIs.
    n_nifti
        Number of first sessions that are also written as NIfTI, with all voxels.

    Raises
    ------
    ShapeError
        If the subject has fewer sessions or voxels.
    ResultsError
        If the disk is full or the folder cannot be written.
    """
    shape = SUBJECTS[subject].volume_shape[SPACE]
    most = SUBJECTS[subject].n_sessions
    if not 1 <= n_sessions <= most:
        raise ShapeError(
            f"{subject} has {most} sessions; {n_sessions} were requested.",
            where="n_sessions",
            expected=(1, most),
            found=n_sessions,
        )
    labels = _sheet(shape, n_voxels)
    index = np.flatnonzero(labels > 0)
    rng = np.random.default_rng(0)
    shared = np.sort(rng.choice(N_IMAGES, N_SHARED, replace=False))
    others = rng.permutation(np.setdiff1d(np.arange(N_IMAGES), shared))[: N_OWN - N_SHARED]
    shown = rng.permutation(np.tile(np.concatenate([shared, others]), N_REPETITIONS))
    tree = SubjectTree(
        name=subject,
        stimulus_id=np.split(shown[: n_sessions * TRIALS_PER_SESSION], n_sessions),
        betas=(_per_cent(index, session) for session in range(1, n_sessions + 1)),
        volume_shape=shape,
        voxel_index=index,
        rois={"streams": labels},
        ncsnr=rng.uniform(0, 1, len(index)).astype(np.float32),
    )
    write_tree(
        root,
        images=np.repeat(1 + np.arange(N_IMAGES) % 255, 3).reshape(-1, 1, 1, 3).astype(np.uint8),  # none is black
        captions=[[f"image {number}"] for number in range(N_IMAGES)],
        coco_id=range(N_IMAGES),
        shared=shared.tolist(),
        subjects=[tree],
    )
    files = NsdFiles(root, subject, SPACE, BETAS)
    for session in range(1, n_sessions + 1) if all_voxels else ():
        _write_hdf5(files.session(session), shape, session)
    for session in range(1, n_nifti + 1):
        _write_nifti(files.session(session, "nii.gz"), shape, session)


def _sheet(shape: tuple[int, int, int], n_voxels: int) -> NDArray[np.int16]:
    """Return a volume with a folded posterior sheet of ``n_voxels`` voxels, labelled 1 to 7 from back to front."""
    x, y, z = np.indices(shape)
    back = y < _BACK * shape[1]
    least, most = len(ROI_LABELS["streams"]), int(back.sum())
    if not least <= n_voxels <= most:
        raise ShapeError(
            f"{n_voxels} voxels were requested; {least} to {most} fit into the back of {shape}.",
            where="n_voxels",
            expected=(least, most),
            found=n_voxels,
        )
    depth = np.where(back, np.abs(np.sin(x / 3.0) + np.sin(y / 4.0) + np.sin(z / 3.5)), np.inf)
    chosen = np.argsort(depth, axis=None, kind="stable")[:n_voxels]
    from_behind = chosen[np.argsort(y.ravel()[chosen], kind="stable")]
    labels = np.full(shape, -1, dtype=np.int16)
    labels.ravel()[from_behind] = 1 + np.arange(n_voxels) * len(ROI_LABELS["streams"]) // n_voxels
    return labels


def _per_cent(index: NDArray[np.int64], session: int) -> NDArray[np.float32]:
    return planted(index, session).T.astype(np.float32) / np.float32(INT16_PER_PERCENT)


def _check_space(path: Path, n_bytes: int) -> None:
    """Check the free space first: HDF5 crashes if the disk fills up while it writes."""
    free = shutil.disk_usage(path.parent).free
    if free < 1.1 * n_bytes:
        raise ResultsError(
            f"cannot write {path}: {n_bytes:,} bytes are needed, {free:,} are free. Free disk space.",
            where=path,
            expected=n_bytes,
            found=free,
        )


def _write_hdf5(path: Path, shape: tuple[int, int, int], session: int) -> None:
    """Write every voxel of a session, plane by plane: ``betas`` (trials, Z, Y, X), one chunk per voxel."""
    import h5py

    _check_space(path, 2 * TRIALS_PER_SESSION * math.prod(shape))
    index = np.arange(np.prod(shape)).reshape(shape).transpose(2, 1, 0)
    with h5py.File(path, "w") as file:
        size = (TRIALS_PER_SESSION, *index.shape)
        chunk = (TRIALS_PER_SESSION, 1, 1, 1)
        betas = file.create_dataset("betas", size, dtype="<i2", chunks=chunk, track_times=False)
        for z, plane in enumerate(index):
            rows = planted(plane.ravel(), session).astype("<i2")
            for place, row in zip(np.ndindex(plane.shape), rows, strict=True):
                betas.id.write_direct_chunk((0, z, *place), row.tobytes())


def _write_nifti(path: Path, shape: tuple[int, int, int], session: int) -> None:
    """Write every voxel of a session, some trials at a time: (X, Y, Z, trials), X fastest."""
    import nibabel

    _check_space(path, 2 * TRIALS_PER_SESSION * math.prod(shape))
    make: Any = nibabel.Nifti1Header  # typed in part only
    header = make()
    header.set_data_dtype("<i2")
    header.set_data_shape((*shape, TRIALS_PER_SESSION))
    header["vox_offset"] = 352
    header.set_sform(np.diag([1.8, 1.8, 1.8, 1.0]), code=1)
    index = np.arange(math.prod(shape)).reshape(shape).ravel(order="F")
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as file:
        file.write(header.binaryblock + bytes(4))
        for first in range(0, TRIALS_PER_SESSION, 50):
            file.write(np.ascontiguousarray(planted(index, session, range(first, first + 50)).T).tobytes())
