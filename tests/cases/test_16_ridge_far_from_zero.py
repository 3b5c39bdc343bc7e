"""Case 16: the ridge of float32 numbers far from zero is scikit-learn's in float64."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from reseen.ridge import fit_ridge


@pytest.mark.parametrize(("n", "p"), [(60, 20), (40, 100)])
@pytest.mark.parametrize(("offset", "spread"), [(0, 1), (1e4, 100), (1e4, 1), (1e6, 10), (0, 1e-8), (0, 1e10)])
def test_predictions_are_sklearns_as_far_as_float32_says_the_mean(n: int, p: int, offset: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    x, new = ((rng.normal(size=(rows, p)) * spread + offset).astype(np.float32) for rows in (n, 20))
    for columns in (x, new):
        columns[:, 1], columns[:, 2] = columns[:, 0], 14.62
    mean, sd = x.mean(0, dtype=float), x.std(0, dtype=float)
    sd[2] = 1
    y = ((x - mean) / spread) @ rng.normal(size=(p, 5)) + rng.normal(size=(n, 5)) + 5
    y = y.astype(np.float32)
    exact = Ridge(alpha=10.0).fit((x - mean) / sd, y.astype(float)).predict((new - mean) / sd)
    found = fit_ridge(x, y, alphas=[10.0], groups=np.arange(n), n_folds=3).predict(new)
    error = np.abs(found - exact).max() / np.abs(exact - exact.mean(0)).max()
    step = np.spacing(np.float32(offset or spread)) / spread  # in sd; float32 says the mean no better
    assert error <= 1e-5 + 20 * step
