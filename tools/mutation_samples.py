"""Inputs of a lab's own layouts for `mutate`, copied from a folder of samples."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mutation_kinds import Kind, read_subject


@dataclass(frozen=True)
class Sample:
    """Layout of one sample.

    Parameters
    ----------
    kind, subject
        ``data.kind``, and the name of the subject.
    words
        A file is changed if its path has one of these words.
    settings
        Paths of further settings of the section ``data``, relative to the folder of samples.
    """

    kind: str
    subject: str
    words: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)


MASK = "glmsingle_python/brain_mask.nii.gz"
CONDITIONS = "glmsingle_python/conditions.tsv"
BETAS = "nilearn_betas/one_4d_a_run"
SAMPLES = {
    "glmsingle_python": Sample("glmsingle", "sub-01", ("DESIGNINFO", "TYPED", "conditions", "mask", "rois")),
    "glmsingle_hdf5_masked": Sample("glmsingle", "sub-01", ("DESIGNINFO", "hdf5", "mask"), {"trials": CONDITIONS}),
    "glmsingle_matlab": Sample("glmsingle", "sub-01", (".mat",), {"trials": CONDITIONS}),
    "kamitani_bdata": Sample("bdata", "sub-01", ("Training", "Test")),
    "things_fmri": Sample("things", "sub-01", (".csv", ".h5")),
    "bold5000": Sample("bold5000", "CSI1", (".nii", ".txt"), {"trials": "bold5000/CSI1_imgnames.txt"}),
    "algonauts2023": Sample("algonauts", "subj01", (".npy",), {"images": ""}),
    "fsaverage5_gifti": Sample("gifti", "sub-01", (".gii", ".tsv")),
    "cifti_nod": Sample("cifti", "sub-01", (".dscalar", ".tsv")),
    "bids_fmriprep": Sample("bids", "sub-01", ("events.tsv",), {"responses": BETAS, "mask": MASK}),
    "nilearn_betas/one_nifti_a_trial": Sample("trials", "subj01", (".csv", "trial-1"), {"mask": MASK}),
}
"""Layouts by their folder."""
MOST_FILES = 14


def write_samples(folder: Path, samples: Path) -> list[Kind]:
    """Copy the samples below a folder; return their kinds, each with its files and its reader."""
    return [_copy(folder / name, samples, name) for name in SAMPLES]


def _copy(target: Path, samples: Path, name: str) -> Kind:
    from reseen.recipe import DataRecipe

    shutil.copytree(samples / name, target)
    sample = SAMPLES[name]
    settings: dict[str, Any] = {"rois": ("all",), "test": "folds", "images": samples / "stimuli"}
    settings |= {key: samples / path if path else None for key, path in sample.settings.items()}
    data = DataRecipe(kind=sample.kind, path=target, subjects=(sample.subject,), **settings)
    files = [path for path in sorted(target.rglob("*")) if path.is_file()]
    changed = [path for path in files if any(word in path.relative_to(target).as_posix() for word in sample.words)]
    return Kind(f"lab, {name}", tuple(changed[:MOST_FILES]), lambda: read_subject(data, sample.subject))
