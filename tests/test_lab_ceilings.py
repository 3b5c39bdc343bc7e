"""Signal-to-noise ratios of voxels, from noise ceilings and from repeats of simulated data with a known ratio."""

import numpy as np
import pytest

from reseen import load_data
from reseen.datasets.lab.ceilings import MIN_DEGREES, ncsnr_from_ceiling, ncsnr_from_repeats
from reseen.metrics import noise_ceiling
from reseen.simulate.noise import measure_ncsnr


@pytest.mark.parametrize("n_trials", [1, 12])
def test_a_noise_ceiling_in_per_cent_gives_the_ncsnr_it_was_computed_from(n_trials):
    ncsnr = np.array([0.0, 0.2, 0.5, 1.7])
    per_cent = 100 * noise_ceiling(ncsnr, n_trials)
    np.testing.assert_allclose(ncsnr_from_ceiling(per_cent, n_trials), ncsnr, rtol=1e-5)


def test_a_noise_ceiling_of_all_variance_or_none_is_finite():
    found = ncsnr_from_ceiling([np.nan, -3, 0, 100])
    np.testing.assert_array_equal(found[:3], 0)
    assert 50 < found[3] < np.inf


def simulate(ncsnr, n_images, n_repeats, n_sessions=4, seed=0):
    """Simulate responses whose signal has `ncsnr` times the standard deviation of the noise, in several sessions."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((n_images, len(ncsnr))) * ncsnr
    stimulus_id = rng.permutation(np.repeat(np.arange(n_images), n_repeats))
    session = np.arange(len(stimulus_id)) % n_sessions
    betas = signal[stimulus_id] + rng.standard_normal((len(stimulus_id), len(ncsnr)))
    # each session has its own mean and scale, as responses before standardisation have
    return (betas * (1 + session[:, None]) + 10 * session[:, None]).astype(np.float32), stimulus_id, session


def test_the_ncsnr_of_repeated_images_is_that_of_the_simulation():
    ncsnr = np.repeat([0.0, 0.3, 0.6, 1.2], 200)
    betas, stimulus_id, session = simulate(ncsnr, n_images=300, n_repeats=3)
    found = ncsnr_from_repeats(betas, stimulus_id, session)
    for true in (0.3, 0.6, 1.2):
        assert np.median(found[ncsnr == true]) == pytest.approx(true, abs=0.04)
    assert np.median(found[ncsnr == 0]) < 0.15
    # NSD's formula, on the same three trials of each image
    np.testing.assert_allclose(found, measure_ncsnr(betas, stimulus_id, session), rtol=1e-3, atol=1e-3)


def test_all_repeats_count_and_images_without_repeats_do_not():
    betas, stimulus_id, session = simulate(np.full(300, 0.6), n_images=40, n_repeats=10)
    once = np.random.default_rng(1).standard_normal((100, 300)).astype(np.float32)
    joined = np.concatenate([betas, once]), np.concatenate([stimulus_id, 40 + np.arange(100)])
    found = ncsnr_from_repeats(*joined, np.concatenate([session, np.full(100, 9)]))
    assert np.median(found) == pytest.approx(0.6, abs=0.05)


def test_too_few_repeats_give_none():
    betas, stimulus_id, session = simulate(np.ones(5), n_images=MIN_DEGREES - 1, n_repeats=2)
    assert ncsnr_from_repeats(betas, stimulus_id, session) is None


def test_repeats_of_own_data_give_noise_ceilings(trial_table, tmp_path):
    """The table of 20 trials has too few repeats; five times the same trials have enough."""
    assert load_data(trial_table, "trials", n_folds=4).trials.ncsnr is None
    lines = (trial_table / "trials.csv").read_text().splitlines()
    (tmp_path / "trials.csv").write_text("\n".join([lines[0], *lines[1:] * 5]))
    betas = np.load(trial_table / "responses.npy")
    noise = 0.5 * np.random.default_rng(0).standard_normal((100, betas.shape[1]))
    np.save(tmp_path / "responses.npy", (np.tile(betas, (5, 1)) + noise).astype(np.float32))
    trials = load_data(tmp_path, "trials", images=trial_table / "images", n_folds=4).trials
    expected = ncsnr_from_repeats(trials.betas, trials.stimulus_id, trials.session)
    np.testing.assert_allclose(trials.ncsnr, expected, rtol=1e-5)
    assert (trials.ncsnr > 0.5).mean() > 0.9
