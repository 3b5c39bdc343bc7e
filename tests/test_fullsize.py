"""A subject of NSD's true size: what is written is what is read, in either format, without a second way."""

from pathlib import Path

import numpy as np
import pytest
from fields import raises_with

from reseen.datasets import volumes
from reseen.errors import ResultsError, ShapeError
from reseen.simulate import fullsize

SHAPE = (5, 4, 3)
VOXELS = np.array([0, 7, 58, 59])


@pytest.mark.parametrize(("write", "suffix"), [(fullsize._write_hdf5, "hdf5"), (fullsize._write_nifti, "nii.gz")])
def test_every_voxel_of_a_session_is_stored_as_planted(tmp_path: Path, write, suffix) -> None:
    path = tmp_path / f"betas_session02.{suffix}"
    write(path, SHAPE, 2)
    assert volumes.peek(path) == (750, SHAPE)
    np.testing.assert_array_equal(volumes.read_voxels(path, VOXELS), fullsize.planted(VOXELS, 2).T)


def test_planted_numbers_tell_voxels_sessions_and_trials_apart() -> None:
    found = np.stack([fullsize.planted(np.arange(200), session) for session in (1, 2)])
    assert len({row.tobytes() for row in found.reshape(-1, 750)}) == 400
    assert (found.std(axis=2) > 0).all()
    np.testing.assert_array_equal(fullsize.planted(VOXELS, 1, range(50, 60)), fullsize.planted(VOXELS, 1)[:, 50:60])


def test_the_sheet_holds_so_many_voxels_in_seven_rois_from_back_to_front() -> None:
    labels = fullsize._sheet((20, 30, 20), 700)
    counts = np.unique(labels[labels > 0], return_counts=True)
    assert counts[0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert counts[1].tolist() == [100] * 7
    depth = [np.nonzero(labels == label)[1].mean() for label in range(1, 8)]
    assert depth == sorted(depth)


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with raises_with(ShapeError, where="n_sessions", expected=(1, 30), found=31):
        fullsize.write_full_size(tmp_path, subject="subj04", n_sessions=31)
    with raises_with(ShapeError, where="n_voxels", found=3):
        fullsize.write_full_size(tmp_path, n_voxels=3)
    monkeypatch.setattr("reseen.simulate.fullsize.shutil.disk_usage", lambda _: type("Usage", (), {"free": 0}))
    with raises_with(ResultsError, where=tmp_path / "betas.hdf5", found=0):
        fullsize._write_hdf5(tmp_path / "betas.hdf5", SHAPE, 1)
