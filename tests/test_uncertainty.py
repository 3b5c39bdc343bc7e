"""Uncertainty of single-trial predictions: held-out residuals, intervals and their coverage on a simulated subject."""

import numpy as np
import pandas as pd
import pytest
from fields import raises_with
from sklearn.linear_model import Ridge

from reseen import Decoder, Features, Results, Trials, load_model, load_nsd
from reseen.decode.uncertainty import COVERAGES, interval_of, measure_coverage, predictive_sd
from reseen.errors import RecipeError, ShapeError
from reseen.recipe import SimulateRecipe
from reseen.ridge.folds import assign_folds
from reseen.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore")


def data(seed=0, n=60, n_repetitions=3):
    rng = np.random.default_rng(seed)
    z = Features("z", rng.normal(size=(n, 2, 3)).astype(np.float32), np.arange(n))
    ids = np.repeat(np.arange(n), n_repetitions)
    betas = z.flat[ids] @ rng.normal(size=(6, 25)) + 3 * rng.normal(size=(len(ids), 25))
    return Trials(betas, ids), z


def test_the_variance_is_that_of_residuals_of_a_loop_over_folds():
    trials, z = data()
    decoder = Decoder(alphas=[30.0], n_folds=4, seed=1).fit(trials, z)
    fold = assign_folds(trials.stimulus_id, len(trials), 4, 1)
    x = ((trials.betas - decoder.map_.voxel_mean) / decoder.map_.voxel_scale).astype(float)
    y = z.flat[trials.stimulus_id].astype(float)
    residual = np.empty_like(y)
    for k in range(4):
        residual[fold == k] = y[fold == k] - Ridge(alpha=30.0).fit(x[fold != k], y[fold != k]).predict(x[fold == k])
    np.testing.assert_allclose(predictive_sd(decoder).ravel(), np.sqrt((residual**2).mean(axis=0)), rtol=1e-4)


def test_the_uncertainty_is_saved_with_the_decoder(tmp_path):
    trials, z = data()
    decoder = Decoder().fit(trials, z)
    decoder.save(tmp_path / "z.safetensors")
    np.testing.assert_array_equal(predictive_sd(Decoder.load(tmp_path / "z.safetensors")), predictive_sd(decoder))


def test_averages_and_estimators_have_none():
    trials, z = data()
    assert predictive_sd(Decoder().fit(trials.average(), z)) is None
    assert predictive_sd(Decoder(estimator=Ridge()).fit(trials, z)) is None


def test_intervals_are_central_and_normal():
    predicted, sd = np.zeros((2, 3), dtype=np.float32), np.array([1.0, 2.0, 0.0], dtype=np.float32)
    low, high = interval_of(predicted, sd, 0.95)
    np.testing.assert_allclose(high[0], 1.959964 * sd, rtol=1e-5)
    np.testing.assert_array_equal(low, -high)
    for coverage in (0.0, 1.0, 80):
        with raises_with(RecipeError, where="coverage", found=coverage):
            interval_of(predicted, sd, coverage)
    true = np.array([[0.5, 9.0, 9.0], [-1.5, 0.0, 9.0]], dtype=np.float32)
    # the constant target is left out; of the others 0.5, 0 are within 0.674 sd, and 0.5, 0, -1.5 within 1.96 sd
    assert measure_coverage(predicted, true, sd, [0.5, 0.95]) == [0.5, 0.75]
    with raises_with(ShapeError, where="true", expected=(2, 3), found=(2, 2)):
        measure_coverage(predicted, true[:, :2], sd)


def test_coverage_of_held_out_single_trials_is_within_three_points_on_a_simulated_subject(tmp_path):
    settings = SimulateRecipe(n_sessions=3, trials_per_session=200, n_train=150, n_test=50, voxel_fraction=0.5)
    simulate(tmp_path / "data", settings)
    subject = load_nsd(tmp_path / "data", "subj01", rois=["early", "ventral"])
    features = load_model("builtin").extract(subject.stimuli, ["z", "c"])
    held_out = subject.trials.take(subject.split.test_rows(0, subject.trials.stimulus_id))
    for name, roi in (("z", "early"), ("c", "ventral")):
        decoder = Decoder([roi]).fit(subject.train, features[name])
        predicted = decoder.predict(held_out)
        measured = measure_coverage(predicted.array, features[name].rows(held_out.stimulus_id), predictive_sd(decoder))
        np.testing.assert_allclose(measured, COVERAGES, atol=0.03)


def test_applied_trials_have_intervals_and_their_coverage(finished, brain_file, tmp_path):
    arrays = np.load(brain_file)
    trials = Trials(arrays["betas"], arrays["stimulus_id"], session=arrays["run"], voxel_index=np.arange(40))
    results = Results.read(finished)
    found = results.apply(trials, conditions=[])
    sd = predictive_sd(results.decoder("z"))
    low, high = found.interval("z", 0.8)
    np.testing.assert_allclose((low + high) / 2, found.features["z"].array, atol=1e-5)
    np.testing.assert_allclose((high - low)[0], 2 * 1.2815516 * sd, rtol=1e-4)
    assert found.coverage["nominal"].tolist() == [*COVERAGES, *COVERAGES]
    found.save(tmp_path / "new")
    np.testing.assert_array_equal(np.load(tmp_path / "new/features/z.npz")["sd"], sd)
    assert len(pd.read_csv(tmp_path / "new/coverage.csv")) == 6
    assert "Coverage of intervals" in (tmp_path / "new/report.html").read_text(encoding="utf-8")
    averaged = results.apply(trials, conditions=[], average=True)
    assert averaged.sd == {}
    with raises_with(ShapeError, where="feature", found="z"):
        averaged.interval("z")
