"""An image without a caption is NaN in a table; made text it is the word "nan" (rom1504/img2dataset#46)."""

from __future__ import annotations

import numpy as np
import pytest
from _inputs import arrays, data_recipe, save
from loading import load

from reseen.datasets import inventory


@pytest.mark.parametrize("missing", ["nan", "None", "<NA>", "", "  ", "NaN", "null"])
def test_a_missing_cell_is_no_caption(tmp_path, missing):
    captions = arrays()["captions"].copy()
    captions[5] = missing
    path = save(tmp_path / "data.npz", captions=captions)
    stimuli = load(data_recipe(path), "subj01")[1]
    assert stimuli.captions(5) == ()
    assert stimuli.captions(4) == (captions[4],)
    assert "1 stimuli without a caption" in inventory(data_recipe(path), "subj01")[0].note


def test_a_run_refuses_the_stimulus_that_nobody_described(tmp_path, reseen):
    captions = arrays()["captions"].copy()
    captions[5] = "nan"
    path = save(tmp_path / "data.npz", captions=np.array(captions))
    code, _, said = reseen("extract", "own_data", "--data", path, "--model", "builtin", "--out", tmp_path / "out")
    assert code == 1
    assert "stimulus 5 has no caption" in said
