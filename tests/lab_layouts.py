"""The same 24 trials of 8 images in each layout of a lab, in miniature."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
from nibabel.cifti2 import cifti2_axes as axes
from PIL import Image

N_IMAGES, N_TRIALS, N_VOXELS = 8, 24, 12
SHAPE = (3, 2, 2)
AFFINE = np.diag([3.0, 3, 3, 1])
STIMULUS = np.arange(N_TRIALS) % N_IMAGES
RUN = np.repeat([1, 2], N_TRIALS // 2)
SIGNAL = np.random.default_rng(0).normal(size=(N_IMAGES, N_VOXELS))
BETAS = (SIGNAL[STIMULUS] + np.random.default_rng(1).normal(size=(N_TRIALS, N_VOXELS))).astype(np.float32)
"""Responses ``(n_trials, n_voxels)``, which differ between images."""


def image_of(number: int) -> Image.Image:
    coarse = np.random.default_rng(10 + number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse.repeat(16, axis=0).repeat(16, axis=1))


def write_images(folder: Path, ending: str = "png") -> list[str]:
    """Write the images and their captions; return the name of each trial's image."""
    folder.mkdir(parents=True)
    names = [f"item_{number}.{ending}" for number in range(N_IMAGES)]
    for number, name in enumerate(names):
        image_of(number).save(folder / name)
    captions = pd.DataFrame({"image": names, "caption": [f"item {number}" for number in range(N_IMAGES)]})
    captions.to_csv(folder / "captions.csv", index=False)
    return [names[number] for number in STIMULUS]


def write_table(path: Path, columns: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False)


def write_volume(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), path)


def as_volumes(betas: np.ndarray) -> np.ndarray:
    """Return responses as ``(X, Y, Z, n_trials)``."""
    return np.ascontiguousarray(betas.T.reshape(*SHAPE, -1))


def write_events(folder: Path, names: list[str], run: int) -> None:
    """Write the events file of a run of one session each, whose images are of all trials."""
    mine = [name for name, number in zip(names, RUN, strict=True) if number == run]
    table = {"onset": np.arange(len(mine)), "duration": 1, "stim_file": mine}
    write_table(folder / f"sub-01_ses-0{run}_task-pics_run-1_events.tsv", table)


def write_trials(folder: Path) -> list[str]:
    names = write_images(folder / "stimuli")
    write_table(folder / "trials.csv", {"image": names, "session": RUN})
    np.save(folder / "responses.npy", BETAS)
    return []


def write_bids(folder: Path) -> list[str]:
    names = write_images(folder / "stimuli")
    for run in (1, 2):
        write_events(folder / "sub-01", names, run)
        name = f"sub-01_ses-0{run}_task-pics_run-1_space-T1w_betas.nii.gz"
        write_volume(folder / "betas" / name, as_volumes(BETAS[run == RUN]))
    return ["data.responses=betas"]


def write_glmsingle(folder: Path) -> list[str]:
    names = write_images(folder / "stimuli")
    write_table(folder / "conditions.tsv", {"condition": range(N_IMAGES), "image": names[:N_IMAGES]})
    for run in (1, 2):
        own = folder / f"ses-0{run}"
        own.mkdir()
        betas = {"betasmd": as_volumes(BETAS[run == RUN])}
        np.save(own / "TYPED_FITHRF_GLMDENOISE_RR.npy", betas, allow_pickle=True)
        order = STIMULUS[run == RUN]
        design = {"stimorder": list(order), "numtrialrun": [len(order)], "design": [np.zeros((20, N_IMAGES))]}
        np.save(own / "DESIGNINFO.npy", design, allow_pickle=True)
    return []


def write_gifti(folder: Path) -> list[str]:
    """Write runs on fsaverage5 whose first vertices of each hemisphere have the responses, and an ROI of these."""
    names = write_images(folder / "stimuli")
    n_vertices, half = 10_242, N_VOXELS // 2
    for run in (1, 2):
        write_events(folder, names, run)
        for number, side in enumerate("LR"):
            rows = np.zeros(((run == RUN).sum(), n_vertices), dtype=np.float32)
            rows[:, :half] = BETAS[run == RUN, number * half : (number + 1) * half]
            arrays = [nibabel.gifti.GiftiDataArray(row, datatype="NIFTI_TYPE_FLOAT32") for row in rows]
            name = f"sub-01_ses-0{run}_task-pics_run-1_hemi-{side}_space-fsaverage5_betas.func.gii"
            nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), folder / name)
    label = (np.arange(n_vertices) < half).astype(np.int32)
    array = nibabel.gifti.GiftiDataArray(label, datatype="NIFTI_TYPE_INT32", intent="NIFTI_INTENT_LABEL")
    for side in "lr":
        nibabel.save(nibabel.gifti.GiftiImage(darrays=[array]), folder / f"{side}h.V1.label.gii")
    return ['data.rois=["V1"]', 'decode.rois.z=["V1"]', 'decode.rois.c=["V1"]']


def write_cifti(folder: Path) -> list[str]:
    names = write_images(folder / "stimuli")
    left, right = (
        axes.BrainModelAxis.from_surface(np.arange(N_VOXELS // 2), 32_492, f"CORTEX_{side}")
        for side in ("LEFT", "RIGHT")
    )
    for run in (1, 2):
        write_events(folder / "sub-01", names, run)
        rows = BETAS[run == RUN]
        axis = axes.ScalarAxis([f"trial{number}" for number in range(len(rows))])
        stem = f"ses-0{run}_task-pics_run-1"
        path = folder / "sub-01/results" / stem / f"{stem}_beta.dscalar.nii"
        path.parent.mkdir(parents=True)
        nibabel.save(nibabel.Cifti2Image(rows, (axis, left + right)), path)
    return []


def write_bdata(folder: Path) -> list[str]:
    write_images(folder / "images")
    keys = ["VoxelData", "ROI_V1", "Session", "Run", "stimulus_name"]
    values = np.full((len(keys), N_VOXELS + 3), np.nan)
    values[:2, :N_VOXELS] = 1
    values[[2, 3, 4], N_VOXELS + np.arange(3)] = 1
    with h5py.File(folder / "sub-01_data.h5", "w") as file:
        file["dataset"] = np.column_stack([BETAS, RUN, RUN, STIMULUS + 1])
        file["metadata/key"] = [key.encode() for key in keys]
        file["metadata/value"] = values
        for number in range(N_IMAGES):
            file[f"vmap/stimulus_name/{number + 1:.1f}"] = f"item_{number}".encode()
    return []


def write_things(folder: Path) -> list[str]:
    names = write_images(folder / "stimuli", "jpg")
    own = folder / "betas_csv"
    trials = {"trial_type": "train", "session": RUN, "run": 1, "trial_id": range(N_TRIALS), "stimulus": names}
    write_table(own / "sub-01_StimulusMetadata.csv", trials)
    place = dict(zip(("voxel_x", "voxel_y", "voxel_z"), np.indices(SHAPE).reshape(3, -1), strict=True))
    voxels = {"voxel_id": range(N_VOXELS), **place, "nc_singletrial": 30.0, "V1": 1}
    write_table(own / "sub-01_VoxelMetadata.csv", voxels)
    write_volume(folder / "brainmasks/sub-01_space-T1w_brainmask.nii.gz", np.ones(SHAPE, dtype=np.uint8))
    with h5py.File(own / "sub-01_ResponseData.h5", "w") as file:
        group = file.create_group("ResponseData")
        group["block0_values"] = BETAS.T.astype(np.float64)
        items = group.create_dataset("block0_items", (1,), dtype=h5py.vlen_dtype(np.uint8))
        labels = np.array(list(range(N_TRIALS)), dtype=object)
        items[0] = np.frombuffer(pickle.dumps(labels, protocol=5), dtype=np.uint8)
    return []


def write_bold5000(folder: Path) -> list[str]:
    names = write_images(folder / "stimuli", "jpg")
    for session in (1, 2):
        name = f"sub-01_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-0{session}.nii.gz"
        write_volume(folder / name, as_volumes(BETAS[session == RUN]))
    (folder / "sub-01_imgnames.txt").write_text("\n".join(names))
    return []


def write_algonauts(folder: Path) -> list[str]:
    """Write averages over the trials of each image, as the challenge does, and the vertices of fsaverage."""
    own = folder / "sub-01"
    averages = np.stack([BETAS[number == STIMULUS].mean(axis=0) for number in range(N_IMAGES)])
    write_images(own / "training_split/training_images")
    for number in range(N_IMAGES):
        path = own / f"training_split/training_images/item_{number}.png"
        path.rename(path.with_name(f"train-{number + 1:04d}_nsd-{number:05d}.png"))
    (own / "training_split/training_images/captions.csv").unlink()
    for name in ("training_split/training_fmri", "roi_masks"):
        (own / name).mkdir()
    vertices = np.zeros(163_842, dtype=np.int32)
    vertices[: N_VOXELS // 2] = 1
    for side, half in zip(("lh", "rh"), np.split(averages, 2, axis=1), strict=True):
        np.save(own / f"training_split/training_fmri/{side}_training_fmri.npy", half)
        np.save(own / f"roi_masks/{side}.all-vertices_fsaverage_space.npy", vertices)
    return ['reconstruct.conditions=["z"]', 'encode.features=["z"]']


def write_mindeye(folder: Path) -> list[str]:
    with h5py.File(folder / "betas_all_sub-01_fp32_renorm.hdf5", "w") as file:
        file["betas"] = BETAS
    pixels = np.stack([np.asarray(image_of(number)) for number in range(N_IMAGES)]) / 255
    with h5py.File(folder / "coco_images_224_float16.hdf5", "w") as file:
        file["images"] = pixels.transpose(0, 3, 1, 2).astype(np.float16)
    with h5py.File(folder / "COCO_73k_subj_indices.hdf5", "w") as file:
        file["sub-01"] = STIMULUS
    captions = {"image": range(N_IMAGES), "caption": [f"item {number}" for number in range(N_IMAGES)]}
    write_table(folder / "captions.csv", captions)
    return ["data.captions=captions.csv"]


LAYOUTS: Mapping[str, Callable[[Path], list[str]]] = {
    "trials": write_trials,
    "bids": write_bids,
    "glmsingle": write_glmsingle,
    "gifti": write_gifti,
    "cifti": write_cifti,
    "bdata": write_bdata,
    "things": write_things,
    "bold5000": write_bold5000,
    "algonauts": write_algonauts,
    "mindeye": write_mindeye,
}
"""Function by ``data.kind`` that writes the layout into an empty folder and returns the settings that read it."""


def write_layout(kind: str, folder: Path) -> list[str]:
    """Write a layout; return all settings of section ``data`` and of ROIs that read it."""
    folder.mkdir(parents=True, exist_ok=True)
    own = LAYOUTS[kind](folder)
    settings = [f"data.kind={kind}", f"data.path={folder}", 'data.subjects=["sub-01"]', 'data.rois=["all"]']
    settings += ["data.test=folds", "data.n_folds=2", 'decode.rois.z=["all"]', 'decode.rois.c=["all"]']
    return [*settings, *own]
