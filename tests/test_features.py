from __future__ import annotations

import numpy as np
import pytest
from fields import raises_with

from reseen.errors import ShapeError
from reseen.features import Features


def test_rows_come_in_the_order_asked_for_and_repeat() -> None:
    feature = Features("z", np.arange(12, dtype=np.float32).reshape(3, 2, 2), np.array([30, 10, 20]))
    np.testing.assert_array_equal(feature.rows([10, 30, 10]), feature.array[[1, 0, 1]])
    assert feature.rows([]).shape == (0, 2, 2)
    assert feature.flat.shape == (3, 4)
    assert len(feature) == 3


def test_blocks_of_columns_side_by_side_are_the_rows() -> None:
    feature = Features("z", np.arange(30, dtype=np.float32).reshape(3, 2, 5), np.array([30, 10, 20]))
    found = list(feature.columns([20, 30], 4))
    assert [block.shape for block in found] == [(2, 4), (2, 4), (2, 2)]
    np.testing.assert_array_equal(np.hstack(found), feature.rows([20, 30]).reshape(2, -1))
    half = Features("z", feature.array.astype(np.float16), feature.stimulus_id)
    assert {block.dtype.name for block in half.columns([10], 4)} == {"float32"}
    with raises_with(ShapeError, where="z", expected=11):
        next(feature.columns([11], 4))


def test_a_missing_row_is_named() -> None:
    feature = Features("c", np.zeros((2, 3), dtype=np.float32), np.array([1, 4]))
    with pytest.raises(ShapeError, match=r"c has no row for 2 of the requested stimuli \(the first is 9\)"):
        feature.rows([1, 9, 0, 9])
    with raises_with(ShapeError, where="c", expected=1):
        Features("c", np.zeros((0, 3), dtype=np.float32), np.array([], dtype=np.int64)).rows([1])


def test_several_rows_of_one_stimulus_are_no_look_up() -> None:
    feature = Features("z", np.zeros((2, 3), dtype=np.float32), np.array([1, 1]))
    with raises_with(ShapeError, where="z", found=1):
        feature.rows([1])


def test_every_row_needs_an_id() -> None:
    with raises_with(ShapeError, where="stimulus_id", expected=(2,), found=(1,)):
        Features("z", np.zeros((2, 3), dtype=np.float32), np.array([1]))
