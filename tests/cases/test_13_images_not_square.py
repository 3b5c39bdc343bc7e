"""Images of 4 to 3 follow one rule, which check says (easydiffusion/easydiffusion#819)."""

from __future__ import annotations

import numpy as np
import pytest
from _inputs import arrays, data_recipe, save
from loading import load
from PIL import Image

from reseen.datasets import inventory


@pytest.fixture
def path(tmp_path):
    wide = arrays()["stimulus_images"].repeat(2, 1).repeat(2, 2)[:, 16:112]
    return save(tmp_path / "data.npz", stimulus_images=np.ascontiguousarray(wide))


def test_the_middle_square_is_taken_unless_the_recipe_says_otherwise(path):
    whole = np.load(path)["stimulus_images"][0]
    assert whole.shape == (96, 128, 3)
    crop, pad, squeeze = (load(data_recipe(path, fit=fit), "subj01")[1].image(0) for fit in ("crop", "pad", "squeeze"))
    np.testing.assert_array_equal(load(data_recipe(path), "subj01")[1].image(0), crop)
    np.testing.assert_array_equal(crop, whole[:, 16:112])
    np.testing.assert_array_equal(pad[16:112], whole)
    assert not pad[:16].any()
    assert not pad[112:].any()
    expected = Image.fromarray(whole).resize((96, 96), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(squeeze, np.asarray(expected))


def test_check_says_what_becomes_of_them(path):
    assert "images of 128 x 96 pixels made square (data.fit = 'crop')" in inventory(data_recipe(path), "subj01")[0].note
