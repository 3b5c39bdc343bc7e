"""A MATLAB file is whole, or refused before scipy reads it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from reseen.datasets.mat_files import check_mat
from reseen.errors import DataError

CONTENT = {
    "masterordering": np.arange(1, 31, dtype=np.uint16)[None],
    "sharedix": np.arange(1, 6, dtype=np.int32)[None],
    "subjectim": np.arange(1, 81, dtype=np.float64).reshape(8, 10),
    "basiccnt": np.uint8(3),
    "name": "design",
    "empty": np.zeros((0, 3)),
}


@pytest.fixture(params=[False, True])
def path(request, tmp_path):
    savemat(tmp_path / "design.mat", CONTENT, do_compression=request.param)
    return tmp_path / "design.mat"


def test_a_whole_file_passes_whatever_its_types(path):
    check_mat(path)


def test_a_file_cut_short_anywhere_is_refused(path):
    content = path.read_bytes()
    for length in range(0, len(content) - 8, 7):
        path.write_bytes(content[:length])
        if length and length > 136:
            try:
                loadmat(path)
                continue  # cut between two variables: whole as far as it goes
            except Exception:
                pass
        with pytest.raises(DataError):
            check_mat(path)


@pytest.mark.parametrize("content", [b"", b"text\n" * 100, bytes(500), b"MATLAB 7.3 MAT-file" + bytes(200)])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "design.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"version 7.3|is no MATLAB file of version 5"):
        check_mat(tmp_path / "design.mat")


def test_what_passes_does_not_crash_scipy(path):
    """Flipped bytes: refused, or read by scipy without an error that is not ours to expect."""
    rng = np.random.default_rng(0)
    content = path.read_bytes()
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[rng.integers(128, len(content))] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(damaged))
        try:
            check_mat(path)
        except DataError:
            refused += 1
    assert refused > 30
