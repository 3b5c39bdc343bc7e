"""Captions longer than the text encoder reads (Lightning-AI/torchmetrics#2883)."""

from __future__ import annotations

import numpy as np
import pytest
from _inputs import arrays, data_recipe, save
from loading import load

from reseen.errors import DataError
from reseen.ldm import load_model
from reseen.ldm.extraction import extract
from reseen.recipe import ExtractRecipe


@pytest.fixture
def ldm(tiny_model):
    return load_model(str(tiny_model))


def features(path, ldm):
    _, stimuli, _ = load(data_recipe(path), "subj01")
    return extract(stimuli, stimuli.stimulus_id, ldm, ("z", "c"), recipe=ExtractRecipe(z_size=16))


def test_the_end_of_the_text_is_kept_where_a_caption_is_cut(ldm):
    ids = ldm.tokenizer(["x " * 200], padding="max_length", max_length=24, truncation=True).input_ids[0]
    assert len(ids) == 24
    assert ids[-1] == ldm.tokenizer.eos_token_id


def test_captions_that_are_cut_are_counted_and_said(tmp_path, ldm):
    captions = arrays()["captions"].astype("U200")
    captions[3] = "a " * 60 + captions[3]
    short = np.array(["red", "blue", "green"] * 8).astype("U200")
    short[3] = captions[3]
    path = save(tmp_path / "data.npz", captions=short)
    with pytest.warns(UserWarning, match="1 of 24 captions are longer than the 24 tokens"):
        features(path, ldm)


def test_captions_that_are_cut_before_they_differ_are_refused(tmp_path, ldm):
    path = save(tmp_path / "data.npz", captions=np.array(["a " * 60 + c for c in arrays()["captions"]]))
    with (
        pytest.warns(UserWarning, match="24 of 24 captions are longer"),
        pytest.raises(
            DataError, match="c is the same for all 24 stimuli: their captions are cut off before they differ"
        ),
    ):
        features(path, ldm)


def test_features_that_do_not_vary_are_refused(tmp_path, ldm):
    path = save(tmp_path / "data.npz", captions=np.array(["a cat"] * 24))
    with pytest.raises(DataError, match="c is the same for all 24 stimuli: their captions are all the same"):
        features(path, ldm)
    path = save(
        tmp_path / "data.npz", captions=np.array(["cat", "dog"] * 12), stimulus_images=np.full((24, 64, 64, 3), 9)
    )
    with pytest.raises(DataError, match="z is the same for all 24 stimuli: their images are all the same"):
        features(path, ldm)
