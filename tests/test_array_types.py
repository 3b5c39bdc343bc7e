"""Types of saved arrays are tested, never forced; files of other kinds are named."""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from loading import load

from reseen.errors import DataError
from reseen.recipe import DataRecipe


def save(path: Path, **changes) -> Path:
    rng = np.random.default_rng(0)
    content = {
        "betas": rng.normal(size=(12, 7)),
        "stimulus_images": rng.integers(0, 256, (4, 64, 64, 3), dtype=np.uint8),
        "stimulus_id": np.tile([0, 3, 1, 2], 3),
        **changes,
    }
    np.savez(path, **{name: np.asarray(values) for name, values in content.items() if values is not None})
    return path


def read(path: Path, **more):
    recipe = DataRecipe.model_validate(
        {"kind": "arrays", "path": path, "rois": ("all",), "n_folds": 2, "zscore_sessions": False, **more}
    )
    return load(recipe, "subj01")


@pytest.mark.parametrize("kind", [bool, np.int8, np.uint8, np.float32, np.float64])
def test_masks_are_bool_or_0_and_1(tmp_path, kind):
    path = save(tmp_path / "a.npz", roi_V1=(np.arange(7) < 3).astype(kind))
    assert read(path, rois=("V1",))[0].betas.shape == (12, 3)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.array([0, 1, 2, 3, 1, 2, 0]), r"roi_V1 has 4 different values \(0, 1, 2, 3\)"),
        (np.array([0, 2, 0, 2, 0, 2, 0]), r"roi_V1 has 2 different values \(0, 2\)"),
        (np.array([0, 0.25, 0.75, 1, 1, 0, 0]), "roi_V1 has 4 different values"),
        (np.array([0, 1, np.nan, 1, 1, 0, 0]), "roi_V1 has 3 different values"),
        (np.array([-1, 0, 1, 1, 0, 0, 0]), "roi_V1 has 3 different values"),
        (np.array(list("0110011")), "roi_V1 has type"),
        (np.zeros(7, complex), "roi_V1 has type complex128"),
        (np.zeros((7, 1), bool), r"roi_V1 has shape \(7, 1\)"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path, mask, said):
    with pytest.raises(DataError, match=said):
        read(save(tmp_path / "a.npz", roi_V1=mask))  # also where it is not asked for


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"responses": np.zeros((12, 7))}, "has betas and responses, which are two names of one thing"),
        ({"images": np.zeros((12, 64, 64), np.uint8)}, "has images and stimulus_images, which are two names"),
        ({"figure": np.zeros(12, int)}, "has stimulus_id and figure"),
        ({"run": np.zeros(12, int), "session": np.zeros(12, int)}, "has run and session"),
        (
            {"captions": np.array(list("abcd")), "figure_name": np.array(list("abcd"))},
            "has captions and figure_name",
        ),
        ({"roi_all": np.ones(7, bool)}, "has roi_all, but the ROI 'all' is every voxel"),
    ],
)
def test_two_arrays_for_one_thing_are_refused_and_both_named(tmp_path, changes, said):
    with pytest.raises(DataError, match=said):
        read(save(tmp_path / "a.npz", **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"betas": np.zeros((12, 7), complex)}, "betas has shape .* and type complex128; real numbers"),
        ({"betas": np.zeros((12, 7), bool)}, "and type bool; real numbers"),
        ({"betas": np.full((12, 7), 1e300)}, "NaN, infinite or too large values in 7 of 7 voxels"),
        ({"betas": np.zeros((0, 7)), "stimulus_id": np.zeros(0, int)}, "at least one trial and one voxel"),
        ({"betas": np.zeros((12, 7)).T}, r"stimulus_id \(12,\); betas seems to be transposed"),
        ({"ncsnr": np.r_[np.nan, np.ones(6)]}, "ncsnr contains 1 values that are not finite numbers of 0 or more"),
        ({"ncsnr": np.r_[-0.1, np.ones(6)]}, "ncsnr contains 1 values that are not finite numbers of 0 or more"),
        ({"ncsnr": np.ones(7, complex)}, "ncsnr has type complex128"),
        ({"stimulus_id": np.tile([0.0, 3, 1, np.nan], 3)}, "Some are NaN, infinite or too large"),
        ({"stimulus_id": np.tile([True, False, True, False], 3)}, "stimulus_id has shape .* and type bool"),
        ({"stimulus_id": np.tile(list("0312"), 3)}, "integers .* are needed"),
        ({"stimulus_id": np.full(12, 2**63, np.uint64)}, "Some are too large"),
        ({"stimulus_id": np.full(12, 1e300)}, "Some are NaN, infinite or too large"),
        ({"run": np.r_[np.nan, np.ones(11)]}, "run has shape .*Some are NaN"),
        ({"run": np.array(["a"] * 11 + ["nan"])}, "run has no label for trial 11"),
        ({"category": np.array([0.5, 1, 2, 3])}, "category has shape .* integers"),
        ({"category": np.array([True, False, True, False])}, "category has shape .* and type bool"),
        ({"test_stimulus_id": np.array([True, False, True, False])}, "test_stimulus_id has shape .* and type bool"),
        ({"stimulus_images": np.full((4, 64, 64), 1j)}, "images are complex128"),
        ({"stimulus_images": np.full((4, 64, 64), 4095, np.uint16)}, "images are uint16 from 4095.0 to 4095.0"),
        ({"stimulus_images": np.full((4, 64, 64), np.nan)}, "images are float64 from nan to nan"),
        ({"stimulus_images": np.zeros((4, 64, 64), "datetime64[s]")}, "images are datetime64"),
        ({"betas": np.zeros(12, [("a", "f4"), ("b", "f4")])}, "betas has shape"),
    ],
)
def test_values_that_would_have_to_be_guessed_at_are_refused(tmp_path, changes, said):
    with pytest.raises(DataError, match=said):
        read(save(tmp_path / "a.npz", **changes))


def test_text_labels_of_runs_are_numbered(tmp_path):
    runs = np.array(["ses-1_run-2"] * 4 + ["ses-1_run-1"] * 4 + ["ses-2_run-1"] * 4)
    assert read(save(tmp_path / "a.npz", run=runs))[0].session.tolist() == [1] * 4 + [0] * 4 + [2] * 4
    assert (
        read(save(tmp_path / "a.npz", run=np.repeat([1.0, 2, 3], 4)))[0].session.tolist() == [1] * 4 + [2] * 4 + [3] * 4
    )


def test_the_arrays_of_another_subject_are_refused(tmp_path):
    save(tmp_path / "sub-02.npz")
    with pytest.raises(DataError, match=r"contains no subj01.npz and no subj01/; it contains sub-02.npz"):
        read(tmp_path)
    folder = tmp_path / "more" / "sub-03"
    folder.mkdir(parents=True)
    np.save(folder / "betas.npy", np.zeros((12, 7)))
    with pytest.raises(DataError, match=r"it contains sub-03/"):
        read(tmp_path / "more")


MATLAB = b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(200)
NIFTI = struct.pack("<i", 348) + bytes(340) + b"n+1\0" + bytes(100)
FILES = {
    "data.mat": (MATLAB, "is a MATLAB file.*scipy.io.loadmat"),
    "betas.h5": (b"\x89HDF\r\n\x1a\n" + bytes(200), "is an HDF5 file .*h5py"),
    "betas.nii": (NIFTI, 'is a NIfTI file.*data.kind = "trials"'),
    "betas.nii.gz": (gzip.compress(NIFTI), 'is a NIfTI file.*data.kind = "trials"'),
    "betas.txt.gz": (gzip.compress(b"a,b"), "is a compressed file"),
    "betas.dscalar.nii": (struct.pack("<i", 540) + b"n+2\0\r\n\x1a\n" + bytes(600), 'CIFTI file.*data.kind = "cifti"'),
    "betas.csv": (b"a,b\n1,2\n", "is a text file"),
    "betas.npz": (b"\x00\x01\x02 nothing", "is no npz file, or it is truncated or damaged"),
    "empty.npz": (b"", "is no npz file, or it is truncated or damaged"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_kinds_are_named_and_how_to_read_them(tmp_path, name):
    content, said = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path / name)
    assert "pickle" not in str(caught.value)


def test_one_npy_file_is_not_enough(tmp_path):
    np.save(tmp_path / "betas.npy", np.zeros((12, 7)))
    with pytest.raises(DataError, match=r"is one array, without the others\. Give the folder of the npy files"):
        read(tmp_path / "betas.npy")


def header(shape: str, dtype: str = "<f8") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (117 - len(text)) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize("shape", ["(1000000000000, 7)", "(12, 70000000)", "(2**40, 2**40)", "(-12, 7)", "(12, 8)"])
def test_a_header_that_promises_more_than_there_is_takes_no_memory(tmp_path, shape):
    content = header(shape) + np.zeros((12, 7)).tobytes()
    save(tmp_path / "a.npz", betas=None)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("betas.npy", content)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "betas.npy").write_bytes(content)
    for place in (tmp_path / "a.npz", folder):
        with pytest.raises(DataError):
            read(place)


def test_a_flipped_bit_is_found_by_the_checksum_of_zip(tmp_path):
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "a.npz", betas=np.random.default_rng(0).normal(size=(12, 7)))
        content = bytearray((tmp_path / "a.npz").read_bytes())
        content[len(content) // 2] ^= 4
        (tmp_path / "a.npz").write_bytes(bytes(content))
        with pytest.raises(DataError, match=r"cannot be read|truncated or damaged"):
            read(tmp_path / "a.npz")


def test_a_sparse_file_larger_than_memory_is_refused(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "betas.npy").write_bytes(header("(125000000000, 7)"))
    os.truncate(folder / "betas.npy", 7_000_000_000_128)
    with pytest.raises(DataError, match=r"declares 7,000.0 GB of arrays, and this machine has"):
        read(folder)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "betas.npy")
    os.mkfifo(tmp_path / "a.npz")
    for place in (folder, tmp_path / "a.npz"):
        with pytest.raises(DataError, match="is a pipe"):
            read(place)
