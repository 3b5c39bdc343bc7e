"""Features on disk, read a block at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fields import raises_with

from reseen import blocks as module
from reseen.blocks import FeatureBlocks, are_complete, rows_at_once
from reseen.errors import ResultsError
from reseen.files import write_tensors

ROWS = np.random.default_rng(0).standard_normal((7, 2, 3)).astype(np.float16)
IDS = np.array([9, 4, 7, 1, 0, 3, 8], dtype=np.int64)


def write(path: Path, first: int, end: int, n_files: int | None, shape: tuple[int, ...] = (2, 3)) -> Path:
    computed_by = {} if n_files is None else {"n_files": str(n_files)}
    array = ROWS[first:end].reshape(end - first, *shape)
    write_tensors(path, {"array": array, "stimulus_id": IDS[first:end]}, computed_by)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / f"{i}", first, end, 3) for i, (first, end) in enumerate([(0, 3), (3, 6), (6, 7)])]


def test_blocks_read_one_by_one_are_the_whole_in_single_precision(files: list[Path]) -> None:
    found = FeatureBlocks.open("zc", files)
    assert (found.name, found.shape, len(found)) == ("zc", (7, 2, 3), 7)
    np.testing.assert_array_equal(found.stimulus_id, IDS)
    parts = list(found)
    assert [len(part) for part in parts] == [3, 3, 1]
    assert {part.array.dtype for part in parts} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(np.concatenate([part.array for part in parts]), ROWS.astype(np.float32))
    np.testing.assert_array_equal(np.concatenate([part.stimulus_id for part in parts]), IDS)


def test_the_whole_is_loaded_as_features(files: list[Path]) -> None:
    features = FeatureBlocks.open("zc", files).load()
    assert features.array.dtype == np.float32
    np.testing.assert_array_equal(features.rows([0, 9]), ROWS[[4, 0]].astype(np.float32))


def test_a_large_file_is_read_in_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "z", 0, 7, None)
    monkeypatch.setattr(module, "BYTES_AT_ONCE", 2 * 6 * 4)
    found = FeatureBlocks.open("z", [path])
    assert [len(block) for block in found] == [2, 2, 2, 1]
    np.testing.assert_array_equal(found.load().array, ROWS.astype(np.float32))


@pytest.mark.parametrize(("bytes_at_once", "n_slices"), [(1, 2), (10**6, 1)])
def test_slices_hold_every_feature_of_all_items_once(files: list[Path], bytes_at_once: int, n_slices: int) -> None:
    slices = list(FeatureBlocks.open("zc", files).slices(bytes_at_once))
    assert len(slices) == n_slices
    np.testing.assert_array_equal(np.concatenate(slices, axis=1), ROWS.reshape(7, 6).astype(np.float32))
    flat = ROWS.reshape(7, 6).astype(np.float32)
    np.testing.assert_allclose(sum(part @ part.T for part in slices), flat @ flat.T, rtol=1e-5)


def test_a_part_is_not_taken_for_the_whole(files: list[Path]) -> None:
    assert are_complete(files)
    assert not are_complete(files[:2])
    assert not are_complete([])
    with raises_with(ResultsError, where="zc", expected=3, found=2):
        FeatureBlocks.open("zc", files[:2])
    with raises_with(ResultsError, where="zc", found=0):
        FeatureBlocks.open("zc", [])


def test_a_damaged_file_is_named(files: list[Path]) -> None:
    files[1].write_bytes(b"nothing")
    with pytest.raises(ResultsError, match=r"1 cannot be read.*Delete it"):
        FeatureBlocks.open("zc", files)


def test_files_of_different_shapes_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a", 0, 3, 2), write(tmp_path / "b", 3, 6, 2, (6,))]
    with raises_with(ResultsError, where="zc", found=[(2, 3), (6,)]):
        FeatureBlocks.open("zc", paths)


@pytest.mark.parametrize(("each", "rows"), [(1, 64), (20_000_000, 8), (60_000_000, 4), (10**9, 1)])
def test_blocks_are_small_enough_for_memory_and_even(each: int, rows: int) -> None:
    assert rows_at_once(each) == rows
