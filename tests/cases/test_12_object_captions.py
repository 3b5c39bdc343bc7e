"""Text columns of pandas become arrays of objects, which np.savez pickles (databio/pepatac#125)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _inputs import arrays, data_recipe, save
from loading import load

from reseen.errors import DataError


@pytest.mark.parametrize("dtype", [object, "string"])
def test_an_array_of_objects_is_named_with_its_cure(tmp_path, dtype):
    captions = pd.Series(arrays()["captions"], dtype=dtype).to_numpy(dtype=object)
    path = save(tmp_path / "data.npz", captions=captions)
    with pytest.raises(DataError, match=r"captions is an array of Python objects.*Save captions.astype\(str\) instead"):
        load(data_recipe(path), "subj01")


def test_one_that_is_not_read_does_no_harm(tmp_path):
    path = save(tmp_path / "data.npz", notes=np.array([{}], dtype=object))
    assert len(load(data_recipe(path), "subj01")[0]) == 72
