"""Ids are not consecutive: COCO's, with images by trial (voxel51/fiftyone#4293). Memory follows the images."""

from __future__ import annotations

import numpy as np
import pytest
from _inputs import arrays, data_recipe, save
from loading import load

from reseen.errors import DataError


def test_images_by_trial_are_found_by_sparse_ids(tmp_path):
    content = arrays()
    coco = np.sort(np.random.default_rng(0).choice(581_921, 24, replace=False))
    images = content["stimulus_images"][content["stimulus_id"]]
    ids = coco[content["stimulus_id"]]
    sparse = {"stimulus_images": None, "captions": None, "test_stimulus_id": coco[::4]}
    path = save(tmp_path / "data.npz", **sparse, images=images, stimulus_id=ids)
    trials, stimuli, split = load(data_recipe(path), "subj01")
    np.testing.assert_array_equal(trials.stimulus_id, ids)
    np.testing.assert_array_equal(stimuli.images(ids[:5]), images[:5])
    np.testing.assert_array_equal(split.test_ids, coco[::4])


def test_captions_by_sparse_ids_are_refused_with_the_cure(tmp_path):
    content = arrays()
    images = content["stimulus_images"][content["stimulus_id"]]
    ids = content["stimulus_id"] * 20_000
    path = save(tmp_path / "data.npz", stimulus_images=None, images=images, stimulus_id=ids, test_stimulus_id=None)
    with pytest.raises(
        DataError, match=r"captions has shape \(24,\).*numpy.unique\(stimulus_id, return_inverse=True\)"
    ):
        load(data_recipe(path), "subj01")
