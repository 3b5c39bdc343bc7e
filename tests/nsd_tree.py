"""Tiny data set in NSD's layout with known numbers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reseen.datasets.fsaverage import N_FINE, SIDES
from reseen.datasets.nsd_facts import NsdFiles
from reseen.recipe import DataRecipe
from reseen.simulate.layout import write_tree
from reseen.simulate.subject import SubjectTree

SHAPE = (5, 4, 3)
N_IMAGES = 14
SHARED = (2, 5, 11)
# Trial k shows a subject's own image ORDER[k]: 0-2 are shared, 3-7 its own.
ORDER = ((0, 3, 4, 1, 3, 5), (6, 0, 4, 7, 5, 0), (1, 3, 2, 6, 7, 4))
OWN = {"subj01": (*SHARED, 0, 1, 3, 4, 6), "subj02": (*SHARED, 7, 8, 9, 10, 13)}
ROIS = ("early", "ventral")
# Where on fsaverage the 20 voxels of a subject lie: ten in each hemisphere, five of them in fsaverage5.
VERTICES = {
    "lh": np.array([0, 7, 90, 4000, 10_241, 10_242, 20_000, 70_001, 163_840, 163_841]),
    "rh": np.array([1, 7, 95, 5000, 10_240, 10_243, 30_000, 80_001, 150_000, 163_841]),
}
LABELS = np.tile([1, 5, 0, 6], 5)
"""Labels of these 20 vertices: early, ventral, none, lateral, repeated."""


@dataclass
class Known:
    """Content of one subject's files."""

    subject: SubjectTree
    betas: list[np.ndarray]

    @property
    def stimulus_id(self) -> np.ndarray:
        return np.concatenate(self.subject.stimulus_id)


def make_images() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (N_IMAGES, 8, 8, 3), dtype=np.uint8)


def make_captions() -> list[list[str]]:
    return [[f"image {i} by person {k}" for k in range(1 + i % 3)] for i in range(N_IMAGES)]


def make_subject(name: str, n_sessions: int = 3, seed: int = 0) -> Known:
    rng = np.random.default_rng([seed, int(name[4:])])
    labels = np.full(SHAPE, -1, dtype=np.int16)
    voxel_index = np.sort(rng.permutation(np.prod(SHAPE))[:20])
    labels.ravel()[voxel_index] = np.repeat([1, 5, 0, 6], 5)
    betas = [np.round(rng.normal(1, 2, (6, 20)) * 300).astype(np.float32) / 300 for _ in range(n_sessions)]
    subject = SubjectTree(
        name=name,
        stimulus_id=[np.array([OWN[name][k] for k in order]) for order in ORDER[:n_sessions]],
        betas=iter(betas),
        volume_shape=SHAPE,
        voxel_index=voxel_index,
        rois={"streams": labels, "nsdgeneral": (labels > 0).astype(np.int16)},
        ncsnr=rng.uniform(0, 1, 20).astype(np.float32),
    )
    return Known(subject, betas)


def make_tree(root: Path, *known: Known, nifti: bool = False) -> None:
    write_tree(
        root,
        images=make_images(),
        captions=make_captions(),
        coco_id=[1000 + 7 * i for i in range(N_IMAGES)],
        shared=SHARED,
        subjects=[replace(each.subject, betas=iter(each.betas)) for each in known],
        nifti=nifti,
    )


def make_vertices(root: Path, known: Known) -> NsdFiles:
    """Write a subject's betas on fsaverage, next to the tree from `make_tree`."""
    files = NsdFiles(root, known.subject.name, "fsaverage", "betas_fithrf_GLMdenoise_RR")
    for row, side in enumerate(SIDES):
        mine = slice(10 * row, 10 * row + 10)
        for session, betas in enumerate(known.betas, start=1):
            write_mgh(files.vertex_session(side, session), spread(side, betas[:, mine].T))
        write_mgh(files.vertex_ncsnr(side), spread(side, known.subject.ncsnr[mine, None]))
        write_mgh(files.vertex_labels(side, "streams"), spread(side, LABELS[mine, None]).astype(np.int32))
    files.color_table("streams").write_text("0 Unknown\n1 early\n5 ventral\n6 lateral\n")
    return files


N_OWN = {"lh": 11, "rh": 17}
"""Vertices of each hemisphere of the subject's own surface."""
OWN_VERTICES = {"lh": np.array([0, 2, 3, 4, 6, 7, 9, 10]), "rh": np.array([1, 2, 3, 5, 6, 7, 8, 9, 11, 12, 14, 16])}
"""Where on this surface the 20 voxels of a subject lie: eight on the left, twelve on the right."""


def make_native(root: Path, known: Known, session_trials: int = 6) -> NsdFiles:
    """Write a subject's betas on its own surface, next to the tree from `make_tree`, as NSD's authors wrote theirs.

    Their MATLAB code writes ``/betas`` (vertices, trials) int16, 300 times per cent, in chunks of one vertex, which
    h5py reads as (trials, vertices). Vertices without data are 0.
    """
    files = NsdFiles(root, known.subject.name, "nativesurface", "betas_fithrf_GLMdenoise_RR")
    first = 0
    for side, n_own in N_OWN.items():
        mine = slice(first, first + len(OWN_VERTICES[side]))
        first = mine.stop
        for session, betas in enumerate(known.betas, start=1):
            stored = np.zeros((session_trials, n_own), dtype="<i2")
            stored[:, OWN_VERTICES[side]] = np.rint(betas[:, mine] * 300)
            write_native(files.vertex_session(side, session), stored)
        own = np.zeros((2, n_own, 1), dtype=np.float32)
        own[0, OWN_VERTICES[side], 0] = known.subject.ncsnr[mine]
        own[1, OWN_VERTICES[side], 0] = LABELS[mine]
        write_mgh(files.vertex_ncsnr(side), own[0])
        write_mgh(files.vertex_labels(side, "streams"), own[1].astype(np.int32))
    files.color_table("streams").write_text("0 Unknown\n1 early\n5 ventral\n6 lateral\n")
    return files


def write_native(path: Path, stored: np.ndarray) -> None:
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("betas", data=stored, chunks=(len(stored), 1))


def spread(side: str, values: np.ndarray) -> np.ndarray:
    """Insert the values of a hemisphere's ten vertices into zeros."""
    found = np.zeros((N_FINE, values.shape[1]), dtype=np.float32)
    found[VERTICES[side]] = values
    return found


def write_mgh(path: Path, values: np.ndarray) -> None:
    """Write ``(n_vertices, n_frames)`` as NSD's files are: vertices first, then two axes of length one."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    frames = values[:, None, None] if values.shape[1] > 1 else values[:, None]  # the last axis may be left out
    nibabel.MGHImage(frames, np.eye(4)).to_filename(path)


def flipped(content: bytes, n: int) -> Iterator[bytes]:
    """Flip one bit of a gzip file in each of n places, from the end of its header, which no checksum covers."""
    start = content.index(b"\0", 10) + 1 if content[3] & 8 else 10  # bit 3: the header ends with a file name
    for number, place in enumerate(np.linspace(start, len(content) - 1, n).astype(int)):
        yield content[:place] + bytes([content[place] ^ (1 << number % 8)]) + content[place + 1 :]


def recipe_for(root: Path | None, **settings: object) -> DataRecipe:
    return DataRecipe.model_validate({"path": root, "rois": ROIS, "zscore_sessions": False, **settings})
