"""A complete run, to scores and report, of every layout of a lab."""

import numpy as np
import pandas as pd
import pytest
from lab_layouts import BETAS, LAYOUTS, N_IMAGES, STIMULUS, write_layout

from reseen import pipeline
from reseen.datasets import open_subject
from reseen.datasets.lab import READERS
from reseen.recipe import with_settings

FEW = [
    "reconstruct.n_samples=1",
    "evaluate.n_permutations=1",
    "evaluate.oracle=false",
    "encode.n_bootstrap=5",
    "decode.alphas=[1.0]",
]


def test_every_layout_is_written():
    assert set(LAYOUTS) == set(READERS)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_layout_runs_to_scores_and_report(kind, small_recipe, random_networks, tmp_path):
    settings = write_layout(kind, tmp_path / "data")
    recipe = with_settings(small_recipe, ['reconstruct.conditions=["z"]', *settings, *FEW])
    results = pipeline.run(recipe, tmp_path / "out")
    scores = results.load_table("scores")
    assert {"result", "permuted"} <= set(scores["level"])
    assert np.isfinite(scores["value"]).all()
    assert (results.path / "report.html").is_file()
    encoding = pd.read_csv(results.path / "encoding.csv")
    assert set(encoding["feature"]) >= {"z"}
    images = sorted((results.path / "sub-01/images/result/z").iterdir())
    assert len(images) == N_IMAGES


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_layout_has_the_trials_that_were_written(kind, small_recipe, tmp_path):
    settings = write_layout(kind, tmp_path / "data")
    data = with_settings(small_recipe, [*settings, "data.zscore_sessions=false"]).data
    trials = open_subject(data, "sub-01").trials
    averaged = kind == "algonauts"  # its rows are images
    averages = np.stack([BETAS[number == STIMULUS].mean(axis=0) for number in range(N_IMAGES)])
    np.testing.assert_allclose(trials.betas, averages if averaged else BETAS, rtol=1e-6)
    np.testing.assert_array_equal(trials.stimulus_id, np.arange(N_IMAGES) if averaged else STIMULUS)
