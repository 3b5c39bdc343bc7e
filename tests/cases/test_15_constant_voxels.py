"""Case 15: a voxel that has one value in every trial is exactly 0 after standardising, and weighs nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from _inputs import arrays, data_recipe, save
from loading import load

from reseen.ridge import fit_ridge


@pytest.mark.parametrize("value", [14.62, 0.1, 3.3e5, -7.77e-4, 1e-30, 1e30])
def test_a_constant_voxel_is_0_and_weighs_nothing(tmp_path: Path, value: float) -> None:
    data = arrays()
    data["betas"][:, 3] = value
    trials = load(data_recipe(save(tmp_path / "data.npz", **data)), "subj01")[0]
    assert np.abs(trials.betas[:, 3]).max() == 0
    targets = np.eye(24, 5, dtype=np.float32)[data["stimulus_id"]]
    fitted = fit_ridge(data["betas"], targets, alphas=[10.0], groups=data["stimulus_id"], n_folds=3)
    assert np.isfinite(fitted.weights).all()
    assert np.abs(fitted.weights[3]).max() <= 1e-12
    assert fitted.voxel_scale[3] == 1
