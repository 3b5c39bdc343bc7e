"""Write pictures, captions and betas as a tree in NSD's own layout: the same arrays, the same bytes.

No file holds a time, a machine or a path. What each file holds in NSD is said in the NSD data manual.
"""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.nsd_facts import COCO_SPLITS, INT16_PER_PERCENT, RESPONSE_COLUMNS, RUNS_PER_SESSION, NsdFiles
from reseen.errors import ResultsError, ShapeError

SPACE = "func1pt8mm"
BETAS = "betas_fithrf_GLMdenoise_RR"
N_SUBJECT_COLUMNS = 8
TRIAL_SECONDS = 4.0
FIRST_DAY = 737_000
"""MATLAB's day number of the first session; sessions are a week apart."""


@dataclass(frozen=True)
class SubjectTree:
    """Hold what is written about one subject.

    Parameters
    ----------
    name
        ``"subj01"``, ``"subj02"`` ...: the number is the subject's row in the design.
    stimulus_id
        For each session the stimuli shown, ``(n_trials,)``, 0-based, in order of presentation.
    betas
        For each session ``(n_trials, n_voxels)`` float32, per cent signal change; iterated once.
    volume_shape
        (X, Y, Z).
    voxel_index
        Shape ``(n_voxels,)``: C-order index into the volume.
    rois
        Atlas -> labels (X, Y, Z): -1 no cortex, 0 unlabelled cortex, 1... as in ``nsd_facts.ROI_LABELS``.
    ncsnr
        Shape ``(n_voxels,)``: noise-ceiling signal-to-noise ratio.
    affine
        (4, 4): voxel to scanner millimetres; left out: 1.8 mm cubes.
    brainmask
        (X, Y, Z) bool; left out: the voxels.
    transforms
        Path of a transform file within the tree -> what it holds for each vertex, ``(n_vertices, n_columns)``.
    """

    name: str
    stimulus_id: Sequence[NDArray[np.int64]]
    betas: Iterable[NDArray[np.float32]]
    volume_shape: tuple[int, int, int]
    voxel_index: NDArray[np.int64]
    rois: Mapping[str, NDArray[np.integer[Any]]]
    ncsnr: NDArray[np.float32]
    affine: NDArray[np.float64] | None = None
    brainmask: NDArray[np.bool_] | None = None
    transforms: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def row(self) -> int:
        """The subject's row in the design."""
        return int(self.name.removeprefix("subj")) - 1


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
    """Write a whole tree.

    Parameters
    ----------
    root
        The folder to write into.
    images
        Shape ``(n, H, W, 3)``.
    captions
        For each picture what people say of it.
    coco_id
        For each picture a number; the captions are filed under it. Every fifth picture lies in ``val2017``.
    shared
        0-based ids of the pictures meant for every subject: the test set.
    subjects
        Who saw what and how they answered. As in NSD, all share one order of repetitions, so that the k-th trial of
        two subjects shows the same picture or, for pictures that are not shared, each one's own.
    nifti
        Also write the betas as ``.nii.gz``.

    Raises
    ------
    ShapeError
        If the parts do not fit each other.
    ResultsError
        If the disk is full or the folder cannot be written.
    """
    _check(images, captions, coco_id, shared, subjects)
    order, own = plan_order(shared, subjects)
    with _writing(root):
        files = NsdFiles(root, subjects[0].name, SPACE, BETAS)
        _write_images(files.stimuli, images)
        _write_captions(files, images, captions, coco_id)
        _write_design(files.design, order, own, shared, max(subjects, key=lambda s: len(s.stimulus_id)))
        _write_stim_info(files.stim_info, coco_id, shared, subjects)
        for subject in subjects:
            _write_subject(NsdFiles(root, subject.name, SPACE, BETAS), subject, own[subject.row], nifti=nifti)


def coco_split(stimulus_id: int) -> str:
    """Say in which of COCO's two caption files a picture lies."""
    return COCO_SPLITS[stimulus_id % 5 == 4]


def plan_order(shared: Sequence[int], subjects: Sequence[SubjectTree]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Factor the trials into NSD's two tables.

    Returns
    -------
    masterordering
        Shape ``(n_trials,)``, from 1: which of a subject's own pictures each trial shows; 1...n_shared are shared.
    subjectim
        Shape ``(n_subjects, n_own)``, from 1: which picture that is; 0 for subjects who are not there.

    Raises
    ------
    ShapeError
        If the subjects' trials cannot be written so.
    """
    longest = max(subjects, key=lambda subject: sum(map(len, subject.stimulus_id)))
    column = {int(stimulus): i for i, stimulus in enumerate(sorted(shared))}
    trials = np.concatenate(longest.stimulus_id)
    order = np.array([column.setdefault(int(stimulus), len(column)) for stimulus in trials], dtype=np.int64)
    own = np.zeros((max(subject.row for subject in subjects) + 1, len(column)), dtype=np.int64)
    for subject in subjects:
        own[subject.row, : len(shared)] = np.sort(np.asarray(shared, dtype=np.int64)) + 1
        shown = np.concatenate(subject.stimulus_id) + 1
        own[subject.row, order[: len(shown)]] = shown
        if not np.array_equal(own[subject.row, order[: len(shown)]], shown) or (
            len(set(own[subject.row][own[subject.row] > 0])) < np.count_nonzero(own[subject.row])
        ):
            raise ShapeError(
                f"{subject.name} and {longest.name} do not share one order of repetitions. As in NSD, a trial that "
                "repeats an earlier trial's picture must do so for every subject, and shared pictures come at the same "
                "trials."
            )
    return order + 1, own


def _check(
    images: NDArray[np.uint8],
    captions: Sequence[Sequence[str]],
    coco_id: Sequence[int],
    shared: Sequence[int],
    subjects: Sequence[SubjectTree],
) -> None:
    n = len(images)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ShapeError(f"pictures have shape {images.shape} and type {images.dtype}; (n, H, W, 3) uint8 is needed.")
    if len(captions) != n or len(set(coco_id)) != n or len(coco_id) != n:
        raise ShapeError(
            f"{n} pictures need captions and a number of its own each; found {len(captions)}, {len(set(coco_id))}."
        )
    if not subjects:
        raise ShapeError("at least one subject is needed.")
    for subject in subjects:
        if not (subject.name.startswith("subj") and subject.name[4:].isdecimal() and subject.row >= 0):
            raise ShapeError(f"a subject is called {subject.name!r}; subj01, subj02 ... are needed.")
        if len(subject.ncsnr) != len(subject.voxel_index):
            raise ShapeError(
                f"{subject.name} has {len(subject.voxel_index)} voxels and {len(subject.ncsnr)} ncsnr values."
            )
        for atlas, labels in subject.rois.items():
            if labels.shape != subject.volume_shape:
                raise ShapeError(f"atlas {atlas} has shape {labels.shape}; the volume has {subject.volume_shape}.")
    every = np.concatenate([np.asarray(shared), *(ids for subject in subjects for ids in subject.stimulus_id)])
    if every.min() < 0 or every.max() >= n:
        raise ShapeError(f"stimulus ids run from {every.min()} to {every.max()}; {n} pictures allow 0 to {n - 1}.")


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"{error}. Choose a folder that can be written"
        if error.errno == errno.ENOSPC:
            what = f"the disk is full ({error.strerror}). Make room"
        raise ResultsError(f"cannot write the data set in {root}: {what} and start again.") from error


def _make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_images(path: Path, images: NDArray[np.uint8]) -> None:
    import h5py

    free = shutil.disk_usage(_make(path).parent).free
    if free < 1.1 * images.nbytes:
        raise OSError(errno.ENOSPC, f"{images.nbytes:,} bytes of pictures, {free:,} free")
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
            "info": {"description": "captions of a digital subject's pictures"},
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
        _make(files.captions(split)).write_text(json.dumps(content), encoding="utf-8")


def _write_design(
    path: Path, order: NDArray[np.int64], own: NDArray[np.int64], shared: Sequence[int], longest: SubjectTree
) -> None:
    """Write the MATLAB file of version 5, with a header that holds no date."""
    from scipy.io import savemat

    sessions = [len(ids) for ids in longest.stimulus_id]
    per_run = [_run_lengths(n) for n in sessions]
    pattern = np.zeros((len(sessions), RUNS_PER_SESSION, max(75, *(max(runs) for runs in per_run))), dtype=np.uint8)
    counts = np.zeros((3, len(sessions)), dtype=np.float64)
    for session, ids in enumerate(longest.stimulus_id):
        for run, length in enumerate(per_run[session]):
            pattern[session, run, :length] = 1
        repeats = np.unique(ids, return_counts=True)[1]
        counts[:, session] = [np.sum(repeats == k) for k in (1, 2, 3)]
    content = {
        "basiccnt": counts,
        "masterordering": order[None].astype(np.float64),
        "sharedix": np.sort(np.asarray(shared, dtype=np.float64))[None] + 1,
        "stimpattern": pattern,
        "subjectim": own.astype(np.float64),
    }
    buffer = io.BytesIO()
    savemat(buffer, content)
    _make(path).write_bytes(b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:])


def _write_stim_info(
    path: Path, coco_id: Sequence[int], shared: Sequence[int], subjects: Sequence[SubjectTree]
) -> None:
    people = range(max(N_SUBJECT_COLUMNS, *(subject.row + 1 for subject in subjects)))
    shown: dict[tuple[int, int], list[int]] = {}
    for subject in subjects:
        for trial, stimulus in enumerate(np.concatenate(subject.stimulus_id), start=1):
            shown.setdefault((subject.row, int(stimulus)), []).append(trial)
    n_repetitions = max(3, *map(len, shown.values()))
    is_shared = frozenset(int(i) for i in shared)
    with _make(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        fixed = ["", "cocoId", "cocoSplit", "cropBox", "loss", "nsdId", "flagged", "BOLD5000", "shared1000"]
        repetitions = [f"subject{p + 1}_rep{k}" for p in people for k in range(n_repetitions)]
        writer.writerow([*fixed, *(f"subject{p + 1}" for p in people), *repetitions])
        for i, number in enumerate(coco_id):
            trials = [shown.get((p, i), []) for p in people]
            padded = [trial for each in trials for trial in [*each, *[0] * (n_repetitions - len(each))]]
            source = [i, int(number), coco_split(i), "(0.0, 0.0, 0.0, 0.0)", 0.0, i, False, False, i in is_shared]
            writer.writerow([*source, *(int(bool(each)) for each in trials), *padded])


def _write_subject(files: NsdFiles, subject: SubjectTree, own: NDArray[np.int64], *, nifti: bool) -> None:
    _write_responses(files.responses, subject, own)
    x, y, z = subject.volume_shape
    affine = subject.affine if subject.affine is not None else np.diag([1.8, 1.8, 1.8, 1.0])
    mask = subject.brainmask
    if mask is None:
        mask = np.zeros((x, y, z), dtype=bool)
        mask.ravel()[subject.voxel_index] = True
    _write_nifti(files.brainmask, mask.astype(np.int16), affine)
    for atlas, labels in subject.rois.items():
        _write_nifti(files.roi(atlas), labels.astype(np.int16), affine)
    ncsnr = np.zeros((x, y, z), dtype=np.float32)
    ncsnr.ravel()[subject.voxel_index] = subject.ncsnr
    _write_nifti(files.ncsnr, ncsnr, affine)
    for name, columns in subject.transforms.items():
        _write_mgz(files.root / name, columns)
    for session, (ids, betas) in enumerate(zip(subject.stimulus_id, subject.betas, strict=True), start=1):
        if betas.shape != (len(ids), len(subject.voxel_index)) or not np.isfinite(betas).all():
            raise ShapeError(
                f"session {session} of {subject.name} has betas of shape {betas.shape}; "
                f"finite ones of {(len(ids), len(subject.voxel_index))} are needed."
            )
        stored = np.clip(np.rint(betas * INT16_PER_PERCENT), -32768, 32767).astype(np.int16)
        _write_hdf5(files.session(session), stored, subject)
        if nifti:
            volume = np.zeros((x * y * z, len(ids)), dtype=np.int16)
            volume[subject.voxel_index] = stored.T
            _write_nifti(files.session(session, "nii.gz"), volume.reshape(x, y, z, -1), affine)


def _write_hdf5(path: Path, stored: NDArray[np.int16], subject: SubjectTree) -> None:
    """Write ``betas`` (trials, Z, Y, X), a chunk for each voxel as in NSD; others are not stored and read as 0."""
    import h5py

    shape = (len(stored), *reversed(subject.volume_shape))
    # In memory first: HDF5 does not survive a disk that fills up while it writes.
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        betas = file.create_dataset("betas", shape, dtype="<i2", chunks=(len(stored), 1, 1, 1), track_times=False)
        columns = np.ascontiguousarray(stored.T.astype("<i2"))
        at = np.stack(np.unravel_index(subject.voxel_index, subject.volume_shape)[::-1], axis=1)
        for place, column in zip(at.tolist(), columns, strict=True):
            betas.id.write_direct_chunk((0, *place), column.tobytes())
        file.flush()
        content = file.id.get_file_image()
    _make(path).write_bytes(content)


def _write_nifti(path: Path, volume: NDArray[Any], affine: NDArray[np.float64]) -> None:
    import nibabel

    make: Any = nibabel.Nifti1Image  # typed in part only
    image = make(volume, affine)
    image.header.set_xyzt_units("mm", "sec")
    _write_gzip(path, image)


def _write_mgz(path: Path, columns: NDArray[Any]) -> None:
    """Write some numbers for each vertex, as FreeSurfer does: ``(n_vertices, 1, 1, n_columns)``, or no fourth axis."""
    import nibabel

    make: Any = nibabel.MGHImage  # typed in part only
    shape = (len(columns), 1, 1, columns.shape[1])[: 4 if columns.shape[1] > 1 else 3]
    _write_gzip(path, make(columns.reshape(shape), np.eye(4)))


def _write_gzip(path: Path, image: Any) -> None:
    with _make(path).open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        file.write(image.to_bytes())


def _run_lengths(n_trials: int) -> list[int]:
    """Share a session's trials among its runs: 63, 62, 63, 62 ... of 750, as in NSD."""
    ends = [math.ceil(n_trials * (run + 1) / RUNS_PER_SESSION) for run in range(RUNS_PER_SESSION)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _write_responses(path: Path, subject: SubjectTree, own: NDArray[np.int64]) -> None:
    """Write one row for each trial; a digital subject presses no button, so its answers are NaN, as missing ones."""
    own_number = {int(stimulus): i + 1 for i, stimulus in enumerate(own) if stimulus}
    last: dict[int, int] = {}
    first: dict[int, int] = {}
    trial = 0
    with _make(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(RESPONSE_COLUMNS)
        for session, ids in enumerate(subject.stimulus_id, start=1):
            in_session: set[int] = set()
            runs = [(run, k) for run, n in enumerate(_run_lengths(len(ids)), start=1) for k in range(1, n + 1)]
            for i, ((run, k), stimulus) in enumerate(zip(runs, (ids + 1).tolist(), strict=True)):
                day = FIRST_DAY + 7 * (session - 1) + 0.5 + i * TRIAL_SECONDS / 86_400
                old = stimulus in last
                recent = trial - last[stimulus] - 1 if old else "NaN"
                since_first = trial - first[stimulus] - 1 if old else "NaN"
                head = [subject.row + 1, session, run, k, stimulus, own_number[stimulus], f"{day:.8f}", int(old)]
                memory = ["NaN", "NaN", "NaN", recent, since_first, int(stimulus in in_session), "NaN"]
                writer.writerow([*head, *memory, 0, 0, "NaN", 1])
                first.setdefault(stimulus, trial)
                last[stimulus] = trial
                in_session.add(stimulus)
                trial += 1
