"""Betas read the same however they are stored: HDF5 in any chunks and types, NIfTI scaled or not."""

import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Header

from reseen.datasets.volumes import read_voxels

SIZE = (7, 6, 5)
N_TRIALS = 11
TYPES = ("<i2", ">i2", "f2", "<f4", ">f4", "f8", "u1")
X, Y, Z = SIZE
CHUNKS = (None, (11, 1, 1, 1), (11, 1, 1, X), (3, 1, 1, 1), (16, 1, 1, 1), (1, Z, Y, X), (11, 2, 2, 2), True)
SCALES = ((None, None), (1, 0), (1 / 300, 0), (0.5, 3))


def stored(dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return betas (trials, Z, Y, X), the index of 40 voxels, and what plain indexing gives for them."""
    rng = np.random.default_rng(0)
    index = np.sort(rng.choice(X * Y * Z, 40, replace=False))
    low, high = (0, 255) if dtype == "u1" else (-30000, 30000)
    volume = rng.integers(low, high, (N_TRIALS, Z, Y, X)).astype(dtype)
    return volume, index, volume.transpose(0, 3, 2, 1).reshape(N_TRIALS, -1)[:, index].astype(float)


@pytest.mark.parametrize("dtype", TYPES)
def test_hdf5(tmp_path: Path, dtype: str) -> None:
    volume, index, right = stored(dtype)
    ways = [(chunks, packed) for chunks in CHUNKS for packed in (None, "gzip") if chunks is not None or packed is None]
    for number, (chunks, packed) in enumerate(ways):
        path = tmp_path / f"{number}.hdf5"
        with h5py.File(path, "w") as file:
            maxshape = (None, Z, Y, X) if chunks else None
            file.create_dataset("betas", data=volume, chunks=chunks, compression=packed, maxshape=maxshape)
        np.testing.assert_array_equal(read_voxels(path, index).astype(float), right, err_msg=f"{chunks} {packed}")


@pytest.mark.parametrize("dtype", [dtype for dtype in TYPES if dtype != "f2"])
def test_nifti(tmp_path: Path, dtype: str) -> None:
    volume, index, right = stored(dtype)
    for slope, offset in SCALES:
        header = Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
        header.set_data_dtype(np.dtype(dtype))
        header.set_data_shape((*SIZE, N_TRIALS))
        header.set_slope_inter(slope, offset)
        header["magic"], header["vox_offset"] = b"n+1", 352
        path = tmp_path / "betas.nii.gz"
        content = np.ascontiguousarray(volume.transpose(3, 2, 1, 0)).tobytes(order="F")
        path.write_bytes(gzip.compress(header.binaryblock + bytes(4) + content, 1))
        expected = right if slope is None else right * np.float64(np.float32(slope)) + offset
        found = read_voxels(path, index).astype(float)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6, err_msg=f"slope {slope}")
