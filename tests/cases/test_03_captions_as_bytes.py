"""Strings read from HDF5 or MATLAB are bytes; str() of them is "b'...'" (h5py/h5py#1769)."""

from __future__ import annotations

import numpy as np
import pytest
from _inputs import arrays, data_recipe, save
from loading import load

from reseen.errors import DataError


def test_bytes_are_the_text_that_was_saved(tmp_path):
    path = save(
        tmp_path / "data.npz",
        captions=np.char.encode(arrays()["captions"]),
        category=np.array([b""] * 12 + [b"cat"] * 12),
    )
    stimuli = load(data_recipe(path), "subj01")[1]
    assert stimuli.captions(0) == ("a red person in the dark",)
    assert stimuli.categories["category"][0] == ""
    assert stimuli.categories["category"][12] == "cat"
    path = save(tmp_path / "data.npz", captions=None, figure_name=np.array([b"cross"] * 24))
    assert load(data_recipe(path), "subj01")[1].captions(0) == ("a white cross on black",)


def test_bytes_in_another_encoding_are_refused(tmp_path):
    path = save(tmp_path / "data.npz", captions=np.array(["caf\u00e9".encode("latin-1")] * 24))
    with pytest.raises(DataError, match="captions contains bytes that are not UTF-8"):
        load(data_recipe(path), "subj01")


@pytest.mark.parametrize("kind", [np.int64, np.float64, np.complex64, "datetime64[D]", bool])
def test_captions_that_are_no_text_are_refused(tmp_path, kind):
    path = save(tmp_path / "data.npz", captions=np.arange(24).astype(kind))
    with pytest.raises(DataError, match=r"captions has type .*; text is needed"):
        load(data_recipe(path), "subj01")
