"""Write images, captions and betas as a tree in NSD's layout; equal arrays write equal bytes.

No file contains a time, a machine or a path. The NSD data manual describes the content of each file.
"""

from __future__ import annotations

import errno
import gzip
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.nsd_facts import COCO_SPLITS, INT16_PER_PERCENT, ROI_LABELS, NsdFiles
from reseen.errors import ResultsError, ShapeError
from reseen.simulate.experiment import (
    N_SHARED_IDS,
    coco_split,
    plan_order,
    write_design,
    write_responses,
    write_stim_info,
)
from reseen.simulate.subject import SubjectTree

SPACE = "func1pt8mm"
BETAS = "betas_fithrf_GLMdenoise_RR"


def write_tree(
    root: Path,
    *,
    images: NDArray[np.uint8],
    captions: Sequence[Sequence[str]],
    coco_id: Sequence[int],
    shared: Sequence[int],
    subjects: Sequence[SubjectTree],
    nifti: bool = False,
) -> None:
    """Write a complete tree.

    Parameters
    ----------
    root
        Folder to write.
    images
        Shape ``(n, H, W, 3)``.
    captions
        Captions of each image.
    coco_id
        COCO id of each image, the key of its captions. Every fifth image is in ``val2017``.
    shared
        0-based ids of the 1 to 1,000 images that all subjects share: the test set.
    subjects
        Trials and responses of each subject. As in NSD, all share one order of repetitions: the k-th trial presents the
        same image to two subjects or, for images that are not shared, a different image to each.
    nifti
        Also write the betas as ``.nii.gz``.

    Raises
    ------
    ShapeError
        If the arrays do not match.
    ResultsError
        If the disk is full or the folder cannot be written.
    """
    _check(images, captions, coco_id, shared, subjects)
    order, subjectim = plan_order(shared, subjects, len(images))
    longest = max(subjects, key=lambda subject: sum(map(len, subject.stimulus_id)))
    with _writing(root):
        files = NsdFiles(root, subjects[0].name, SPACE, BETAS)
        write_images(files.stimuli, images)
        _write_captions(files, images, captions, coco_id)
        write_design(files.design, order, subjectim, shared, longest.stimulus_id)
        write_stim_info(files.stim_info, coco_id, shared, subjects)
        for subject in subjects:
            of_subject = NsdFiles(root, subject.name, SPACE, BETAS)
            write_responses(of_subject.responses, subject, order)
            _write_subject(of_subject, subject, nifti=nifti)


def _check(
    images: NDArray[np.uint8],
    captions: Sequence[Sequence[str]],
    coco_id: Sequence[int],
    shared: Sequence[int],
    subjects: Sequence[SubjectTree],
) -> None:
    n, n_shared = len(images), len(set(shared))
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ShapeError(
            f"images have shape {images.shape} and type {images.dtype}; (n, H, W, 3) uint8 is needed.",
            where="images",
            expected=("n", "height", "width", 3),
            found=images.shape,
        )
    if len(captions) != n:
        raise ShapeError(
            f"{n} images need captions for each; found {len(captions)}.",
            where="captions",
            expected=n,
            found=len(captions),
        )
    if len(set(coco_id)) != n or len(coco_id) != n:
        raise ShapeError(
            f"{n} images need as many different COCO ids; found {len(set(coco_id))} in {len(coco_id)}.",
            where="coco_id",
            expected=n,
            found=len(set(coco_id)),
        )
    if not subjects:
        raise ShapeError("at least one subject is needed.", where="subjects", expected=1, found=0)
    if not 1 <= n_shared <= N_SHARED_IDS:
        raise ShapeError(
            f"{n_shared} images are shared; 1 to {N_SHARED_IDS:,} are needed, as in NSD.",
            where="shared",
            expected=(1, N_SHARED_IDS),
            found=n_shared,
        )
    ids = [np.asarray(shared)]
    for subject in subjects:
        _check_subject(subject)
        ids += subject.stimulus_id
    every = np.concatenate(ids)
    if every.min() < 0 or every.max() >= n:
        raise ShapeError(
            f"stimulus ids are between {every.min()} and {every.max()}; {n} images allow 0 to {n - 1}.",
            where="stimulus_id",
            expected=(0, n - 1),
            found=(int(every.min()), int(every.max())),
        )


def _check_subject(subject: SubjectTree) -> None:
    if not (subject.name.startswith("subj") and subject.name[4:].isdecimal() and subject.row >= 0):
        raise ShapeError(
            f"a subject has the name {subject.name!r}; subj01, subj02 ... are needed.", where="name", found=subject.name
        )
    n_voxels = len(subject.voxel_index)
    if len(subject.ncsnr) != n_voxels:
        raise ShapeError(
            f"{subject.name} has {n_voxels} voxels and {len(subject.ncsnr)} ncsnr values.",
            where="ncsnr",
            expected=n_voxels,
            found=len(subject.ncsnr),
        )
    for atlas, labels in subject.rois.items():
        if labels.shape != subject.volume_shape:
            raise ShapeError(
                f"atlas {atlas} has shape {labels.shape}; the volume has {subject.volume_shape}.",
                where=atlas,
                expected=subject.volume_shape,
                found=labels.shape,
            )


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"{error}. Choose a writable folder"
        if error.errno == errno.ENOSPC:
            what = f"the disk is full ({error.strerror}). Free disk space"
        raise ResultsError(f"cannot write the data set in {root}: {what} and start again.", where=root) from error


def in_folder(path: Path) -> Path:
    """Return a path after its folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_images(path: Path, images: NDArray[np.uint8]) -> None:
    """Write images ``(n, H, W, 3)`` as the dataset ``imgBrick``."""
    import h5py

    free = shutil.disk_usage(in_folder(path).parent).free
    if free < 1.1 * images.nbytes:
        raise OSError(errno.ENOSPC, f"{images.nbytes:,} bytes of images, {free:,} free")
    with h5py.File(path, "w") as file:
        file.create_dataset("imgBrick", data=images, chunks=(1, *images.shape[1:]), track_times=False)


def _write_captions(
    files: NsdFiles, images: NDArray[np.uint8], captions: Sequence[Sequence[str]], coco_id: Sequence[int]
) -> None:
    height, width = images.shape[1:3]
    first = np.cumsum([0, *map(len, captions)])
    for split in COCO_SPLITS:
        here = [i for i in range(len(images)) if coco_split(i) == split]
        content = {
            "info": {"description": "captions of a simulated subject's images"},
            "licenses": [],
            "images": [
                {"id": int(coco_id[i]), "file_name": f"{coco_id[i]:012d}.jpg", "height": height, "width": width}
                for i in here
            ],
            "annotations": [
                {"image_id": int(coco_id[i]), "id": int(first[i]) + k, "caption": text}
                for i in here
                for k, text in enumerate(captions[i])
            ],
        }
        in_folder(files.captions(split)).write_text(json.dumps(content), encoding="utf-8")


def _write_subject(files: NsdFiles, subject: SubjectTree, *, nifti: bool) -> None:
    x, y, z = subject.volume_shape
    affine = _affine_of(subject)
    mask = subject.brainmask
    if mask is None:
        mask = np.zeros((x, y, z), dtype=bool)
        mask.ravel()[subject.voxel_index] = True
    _write_nifti(files.brainmask, mask.astype(np.int16), affine)
    for atlas, labels in subject.rois.items():
        _write_nifti(files.roi(atlas), labels.astype(np.int16), affine)
        _write_color_tables(files, atlas)
    ncsnr = np.zeros((x, y, z), dtype=np.float32)
    ncsnr.ravel()[subject.voxel_index] = subject.ncsnr
    _write_nifti(files.ncsnr, ncsnr, affine)
    for name, columns in subject.vertex_files.items():
        _write_mgz(files.root / name, columns)
    for session, (ids, betas) in enumerate(zip(subject.stimulus_id, subject.betas, strict=True), start=1):
        expected = (len(ids), len(subject.voxel_index))
        if betas.shape != expected or not np.isfinite(betas).all():
            raise ShapeError(
                f"session {session} of {subject.name} has betas of shape {betas.shape}; finite betas of {expected} "
                "are needed.",
                where=f"session {session}",
                expected=expected,
                found=betas.shape,
            )
        write_betas(files.session(session), betas, subject, nifti=nifti)


def write_betas(path: Path, betas: NDArray[np.float32], subject: SubjectTree, *, nifti: bool) -> None:
    """Write betas ``(n_trials, n_voxels)``, per cent signal change, as HDF5 of int16; with ``nifti`` as NIfTI too."""
    stored = np.clip(np.rint(betas * INT16_PER_PERCENT), -32768, 32767).astype(np.int16)
    _write_hdf5(path, stored, subject)
    if nifti:
        volume = np.zeros((int(np.prod(subject.volume_shape)), len(betas)), dtype=np.int16)
        volume[subject.voxel_index] = stored.T
        _write_nifti(path.with_suffix(".nii.gz"), volume.reshape(*subject.volume_shape, -1), _affine_of(subject))


def _affine_of(subject: SubjectTree) -> NDArray[np.float64]:
    return subject.affine if subject.affine is not None else np.diag([1.8, 1.8, 1.8, 1.0])


def _write_hdf5(path: Path, stored: NDArray[np.int16], subject: SubjectTree) -> None:
    """Write ``betas`` (trials, Z, Y, X), a chunk for each voxel as in NSD; others are not stored and read as 0."""
    import h5py

    shape = (len(stored), *reversed(subject.volume_shape))
    # in memory first: HDF5 crashes if the disk fills up while it writes
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        betas = file.create_dataset("betas", shape, dtype="<i2", chunks=(len(stored), 1, 1, 1), track_times=False)
        columns = np.ascontiguousarray(stored.T.astype("<i2"))
        at = np.stack(np.unravel_index(subject.voxel_index, subject.volume_shape)[::-1], axis=1)
        for place, column in zip(at.tolist(), columns, strict=True):
            betas.id.write_direct_chunk((0, *place), column.tobytes())
        file.flush()
        content = file.id.get_file_image()
    in_folder(path).write_bytes(content)


def _write_nifti(path: Path, volume: NDArray[Any], affine: NDArray[np.float64]) -> None:
    import nibabel

    make: Any = nibabel.Nifti1Image  # typed in part only
    image = make(volume, affine)
    image.header.set_xyzt_units("mm", "sec")
    _write_gzip(path, image)


def _write_color_tables(files: NsdFiles, atlas: str) -> None:
    """Write the names of the labels of an atlas, ``value name`` per line.

    The table of an atlas drawn on each subject's surface is next to its labels. The folder of fsaverage has a table of
    every atlas too, because clients read all tables there.
    """
    names = {"Unknown": 0, **ROI_LABELS.get(atlas, {})}
    content = "".join(f"{value} {name}\n" for name, value in names.items())
    on_fsaverage = files.color_table("streams").with_name(f"{atlas}.mgz.ctab")
    for path in (files.color_table(atlas), on_fsaverage):
        in_folder(path).write_text(content, encoding="utf-8")


def _write_mgz(path: Path, columns: NDArray[Any]) -> None:
    """Write some numbers for each vertex, as FreeSurfer does: ``(n_vertices, 1, 1, n_columns)``, or no fourth axis."""
    import nibabel

    make: Any = nibabel.MGHImage  # typed in part only
    shape = (len(columns), 1, 1, columns.shape[1])[: 4 if columns.shape[1] > 1 else 3]
    _write_gzip(path, make(columns.reshape(shape), np.eye(4)))


def _write_gzip(path: Path, image: Any) -> None:
    with in_folder(path).open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        file.write(image.to_bytes())
