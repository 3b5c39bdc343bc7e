"""Which known stimulus was decoded: the probabilities, their calibration, and decoding under them."""

import numpy as np
import pytest
from fields import raises_with
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from reseen import Features, Split, Trials, decode
from reseen.decode.prior import DecodingUnderPrior
from reseen.errors import ShapeError
from reseen.posterior import Components, DecodingNoise, calibrated_noise
from reseen.recipe import DecodeRecipe

RNG = np.random.default_rng(0)


def blurred(n: int, k: int = 4, noise: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give true coordinates, decoded ones, and the noise's covariance."""
    rng = np.random.default_rng(seed)
    true = rng.standard_normal((n, k)) * np.array([3, 2, 1, 1])[:k]
    root = rng.standard_normal((k, k)) * noise
    gain = np.diag([0.8, 0.6, 0.3, 0.1][:k])
    return true.astype(np.float32), (true @ gain + 1 + rng.standard_normal((n, k)) @ root).astype(np.float32), root


def test_components_are_those_of_an_oracle() -> None:
    features = (RNG.standard_normal((60, 5)) @ RNG.standard_normal((5, 90)) + 3).astype(np.float32)
    oracle = PCA(3, svd_solver="full").fit(features)
    found = Components.fit(features, 3)
    ours, theirs = found.project(features), oracle.transform(features)
    sign = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours * sign, theirs, atol=1e-3)
    assert len(Components.fit(features, 40).axes) == 5  # there are no more
    with raises_with(ShapeError, where="features", expected=2, found=4):
        Components.fit(np.ones((4, 9), dtype=np.float32), 2)


def test_probabilities_are_those_of_gaussian_noise_around_what_each_candidate_would_be_decoded_as() -> None:
    true, decoded, root = blurred(20_000)
    noise = DecodingNoise.fit(true, decoded, penalty=0.0)
    np.testing.assert_allclose(noise.gain, np.diag([0.8, 0.6, 0.3, 0.1]), atol=0.05)
    candidates = true[:30]
    density = np.array(
        [
            [
                multivariate_normal.pdf(item, candidate @ noise.gain + noise.offset, root.T @ root)
                for candidate in candidates
            ]
            for item in decoded[:5]
        ]
    )
    expected = density / density.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(noise.probabilities(decoded[:5], candidates), expected, atol=0.03)


def test_the_truth_is_as_probable_as_is_said() -> None:
    true, decoded, _ = blurred(1500, noise=0.1)
    candidates, taught_by = true[:500], slice(500, None)
    row = np.arange(1000)
    noise = calibrated_noise(true[taught_by], decoded[taught_by], true[taught_by], row, row % 5)
    probability = noise.probabilities(decoded[:500], candidates)
    right = probability.argmax(axis=1) == np.arange(500)
    assert abs(probability.max(axis=1).mean() - right.mean()) < 0.1
    assert right.mean() > 0.1  # chance is .002


def test_noise_that_is_learnt_from_few_items_is_not_trusted() -> None:
    rng = np.random.default_rng(3)
    true = rng.standard_normal((60, 20)).astype(np.float32)
    decoded = (0.3 * true + rng.standard_normal((60, 20))).astype(np.float32)
    certain = DecodingNoise.fit(true, decoded, penalty=0.0).probabilities(decoded, true).max(axis=1).mean()
    noise = calibrated_noise(true, decoded, true, np.arange(60), np.arange(60) % 5)
    assert noise.probabilities(decoded, true).max(axis=1).mean() < certain


def test_what_does_not_fit_is_refused() -> None:
    with raises_with(ShapeError, where="true", expected=6, found=5):
        DecodingNoise.fit(np.zeros((5, 4), np.float32), np.zeros((5, 4), np.float32), penalty=0.1)


# ---------------------------------------------------------------------------------------------------- decoding


N_TRAIN, N_TEST = 240, 12


def kinds(seed: int = 0) -> tuple[Trials, Features, Split, np.ndarray]:
    """Give a brain that answers to which of six kinds a stimulus is, features of the kinds, and each one's kind."""
    rng = np.random.default_rng(seed)
    n = N_TRAIN + N_TEST
    kind = rng.integers(6, size=n)
    prototype = rng.standard_normal((6, 40))
    features = (prototype[kind] + 0.05 * rng.standard_normal((n, 40))).astype(np.float32)
    tuning = rng.standard_normal((6, 30))
    ids = np.repeat(np.arange(n), 2)
    betas = (tuning[kind][ids] + 3.0 * rng.standard_normal((2 * n, 30))).astype(np.float32)
    trials = Trials(betas, ids, rois={"ventral": np.ones(30, dtype=bool)})
    split = Split.fixed(np.arange(N_TRAIN), np.arange(N_TRAIN, n))
    return trials, Features("c", features.reshape(n, 5, 8), np.arange(n)), split, kind


def r(found: np.ndarray, true: np.ndarray) -> float:
    pairs = zip(found.reshape(len(found), -1), true.reshape(len(true), -1), strict=True)
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs]))


def test_a_mean_over_what_is_known_is_nearer_to_the_truth_than_what_the_ridge_decodes() -> None:
    trials, feature, split, kind = kinds()
    how = {"rois": ["ventral"], "recipe": DecodeRecipe(), "seed": 0}
    _, linear = decode.decode(trials, split, feature, **how)
    told: list[tuple[int, int]] = []
    under_prior = DecodingUnderPrior(decode.Decoding(trials, split, feature, **how))
    decoded, candidates = under_prior.run(progress=lambda *numbers: told.append(numbers))
    truth = feature.rows(decoded.stimulus_id)
    np.testing.assert_array_equal(decoded.stimulus_id, linear.stimulus_id)
    assert decoded.array.shape == linear.array.shape
    assert r(decoded.array, truth) > r(linear.array, truth) + 0.02
    assert np.mean(kind[candidates.stimulus_id[:, 0]] == kind[decoded.stimulus_id]) > 0.6
    assert np.isin(candidates.stimulus_id, np.arange(N_TRAIN)).all()
    assert np.all(np.diff(candidates.probability, axis=1) <= 0)
    assert told[-1][0] == told[-1][1] == len(told)


def test_the_oracle_is_the_training_stimulus_that_the_true_features_select() -> None:
    trials, feature, fixed, kind = kinds()
    how = {"rois": ["ventral"], "recipe": DecodeRecipe(), "seed": 0}
    for split in (fixed, Split.leave_out(trials.stimulus_id, 3, seed=1)):
        under_prior = DecodingUnderPrior(decode.Decoding(trials, split, feature, **how))
        decoded, found = under_prior.run(oracle=True)
        again, plain = under_prior.run()
        assert plain.of_true is None
        assert found.of_true is not None
        assert decoded.array.tobytes() == again.array.tobytes()
        assert np.mean(kind[found.of_true] == kind[decoded.stimulus_id]) > 0.95
        for train, test in split.folds:
            assert np.isin(found.of_true[np.isin(decoded.stimulus_id, test)], train).all()


def test_the_features_of_test_stimuli_are_not_looked_at() -> None:
    trials, feature, split, _ = kinds()
    how = {"rois": ["ventral"], "recipe": DecodeRecipe(), "seed": 0}
    decoded, _ = DecodingUnderPrior(decode.Decoding(trials, split, feature, **how)).run()
    known = np.arange(N_TRAIN)
    blind = Features("c", feature.rows(known), known)
    again, _ = DecodingUnderPrior(decode.Decoding(trials, split, blind, **how)).run()
    assert again.array.tobytes() == decoded.array.tobytes()


def test_shuffled_rows_find_nothing_and_say_so() -> None:
    trials, feature, split, kind = kinds()
    under_prior = DecodingUnderPrior(
        decode.Decoding(trials, split, feature, rois=["ventral"], recipe=DecodeRecipe(), seed=0)
    )
    _, candidates = under_prior.run()
    runs = [under_prior.run(permutation=permutation) for permutation in range(6)]
    right = np.mean([kind[found.stimulus_id[:, 0]] == kind[items.stimulus_id] for items, found in runs])
    assert right < 0.35  # chance is a sixth
    spread = np.median([found.n_effective for _, found in runs])
    assert spread > 3 * np.median(candidates.n_effective)


def test_stimuli_left_out_in_turn_have_candidates_of_their_own_fold() -> None:
    trials, feature, _, _ = kinds()
    split = Split.leave_out(trials.stimulus_id, 3, seed=1)
    how = {"rois": ["ventral"], "recipe": DecodeRecipe(), "seed": 0}
    decoded, candidates = DecodingUnderPrior(decode.Decoding(trials, split, feature, **how)).run()
    np.testing.assert_array_equal(decoded.stimulus_id, np.arange(N_TRAIN + N_TEST))
    for train, test in split.folds:
        assert np.isin(candidates.stimulus_id[np.isin(decoded.stimulus_id, test)], train).all()


def test_stimuli_of_the_split_that_were_never_shown_are_no_candidates() -> None:
    trials, feature, split, _ = kinds()
    how = {"rois": ["ventral"], "recipe": DecodeRecipe(), "seed": 0}
    shown = trials.select(np.arange(5, N_TRAIN + N_TEST))
    decoded, candidates = DecodingUnderPrior(decode.Decoding(shown, split, feature, **how)).run()
    known = Split.fixed(np.arange(5, N_TRAIN), np.arange(N_TRAIN, N_TRAIN + N_TEST))
    expected, _ = DecodingUnderPrior(decode.Decoding(shown, known, feature, **how)).run()
    assert candidates.stimulus_id.min() >= 5
    assert r(decoded.array, expected.array) > 0.99  # components of five stimuli more


def test_the_noise_is_learnt_from_all_where_those_shown_as_often_as_test_stimuli_are_few() -> None:
    trials, feature, split, _ = kinds()
    once = np.isin(trials.stimulus_id, np.arange(0, N_TRAIN, 2))
    keep = (
        ~once | np.r_[True, trials.stimulus_id[1:] != trials.stimulus_id[:-1]]
    )  # half are shown once, test ones twice
    few = Split.fixed(np.arange(30), split.test_ids)
    how = {"rois": ["ventral"], "recipe": DecodeRecipe(n_folds=2), "seed": 0}
    decoded, _ = DecodingUnderPrior(decode.Decoding(trials.take(np.flatnonzero(keep)), few, feature, **how)).run()
    assert len(decoded) == N_TEST


def test_few_stimuli_and_single_test_trials_are_refused() -> None:
    trials, feature, split, _ = kinds()
    how = {"rois": ["ventral"], "recipe": DecodeRecipe(), "seed": 0}
    with pytest.raises(ShapeError, match="found single ones and 240"):
        DecodingUnderPrior(decode.Decoding(trials, split, feature, **how, test_trials="single"))
    few = Split.fixed(np.arange(9), np.arange(20, 24))
    with pytest.raises(ShapeError, match="averaged ones and 9"):
        DecodingUnderPrior(decode.Decoding(trials, few, feature, **how))
