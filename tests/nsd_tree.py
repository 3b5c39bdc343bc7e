"""A tiny data set in NSD's layout, with every number known."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reseen.recipe import DataRecipe
from reseen.simulate.layout import SubjectTree, write_tree

SHAPE = (5, 4, 3)
N_IMAGES = 14
SHARED = (2, 5, 11)
# Trial k shows a subject's own picture ORDER[k]: 0-2 are shared, 3-7 its own.
ORDER = ((0, 3, 4, 1, 3, 5), (6, 0, 4, 7, 5, 0), (1, 3, 2, 6, 7, 4))
OWN = {"subj01": (*SHARED, 0, 1, 3, 4, 6), "subj02": (*SHARED, 7, 8, 9, 10, 13)}
ROIS = ("early", "ventral")


@dataclass
class Known:
    """What went into one subject's files."""

    subject: SubjectTree
    betas: list[np.ndarray]

    @property
    def stimulus_id(self) -> np.ndarray:
        return np.concatenate(self.subject.stimulus_id)


def make_images() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (N_IMAGES, 8, 8, 3), dtype=np.uint8)


def make_captions() -> list[list[str]]:
    return [[f"picture {i} by person {k}" for k in range(1 + i % 3)] for i in range(N_IMAGES)]


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


def recipe_for(root: Path | None, **settings: object) -> DataRecipe:
    return DataRecipe.model_validate({"path": root, "rois": ROIS, "zscore_sessions": False, **settings})
