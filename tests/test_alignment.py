"""Alignment: the decoder of one subject decodes another through a linear map on shared stimuli."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fields import raises_with
from sklearn.linear_model import Ridge

from reseen.decode import Decoder
from reseen.decode.alignment import align, compose
from reseen.decode.alignment_levels import alignment_stimuli, compare_alignment
from reseen.errors import DataError, RecipeError, ShapeError
from reseen.features import Features
from reseen.metrics import identification
from reseen.trials import Trials

SHARED, TEST = np.arange(300, 400), np.arange(400, 460)
N_TARGETS = 40


def subjects() -> tuple[Features, Trials, Trials]:
    """Return a feature, a source of 400 stimuli, and a target of the shared stimuli and of own test stimuli."""
    rng = np.random.default_rng(3)
    code = rng.normal(size=(460, N_TARGETS)).astype(np.float32)
    feature = Features("z", code + 2, np.arange(460))
    trials = []
    for n_voxels, ids in ((90, np.arange(400)), (70, np.arange(300, 460))):
        stimulus_id = rng.permutation(np.repeat(ids, 2))
        betas = code[stimulus_id] @ rng.normal(size=(N_TARGETS, n_voxels)) / 4
        betas += 1.5 * rng.normal(size=betas.shape) + 1
        trials.append(Trials(betas, stimulus_id, voxel_index=np.arange(n_voxels)))
    return feature, *trials


def accuracy(feature: Features, decoded: Features) -> float:
    true = feature.rows(decoded.stimulus_id).reshape(len(decoded), -1)
    return float(identification(true - 2, decoded.flat - decoded.flat.mean(axis=0)).mean())


def test_the_composed_map_equals_the_two_steps() -> None:
    feature, source, target = subjects()
    alignment = align(Decoder().fit(source, feature), source, target, through="voxels")
    assert alignment.stimulus_id.tolist() == SHARED.tolist()
    one, two = alignment.predict(target), alignment.predict_in_two_steps(target)
    assert one.stimulus_id.tolist() == two.stimulus_id.tolist()
    assert np.abs(one.array - two.array).max() < 1e-5
    first, second = alignment.to_source.map_, alignment.source.map_
    # in float64 the two are equal to 1e-6 of the standard deviation of the feature
    standard = (target.betas.astype(np.float64) - first.voxel_mean) / first.voxel_scale
    betas = standard @ first.weights + first.intercept
    exact = (betas - second.voxel_mean) / second.voxel_scale @ second.weights + second.intercept
    composed = standard @ alignment.decoder.map_.weights.astype(np.float64) + alignment.decoder.map_.intercept
    assert np.abs(composed - exact).max() < 1e-6


def test_an_alignment_decodes_and_a_permuted_one_is_at_chance(tmp_path) -> None:
    feature, source, target = subjects()
    decoder = Decoder().fit(source, feature)
    found = compare_alignment(decoder, source, target, feature, test=TEST)
    scores = {level: accuracy(feature, decoded) for level, decoded in found.items()}
    assert list(scores) == ["aligned", "own_shared", "own_equal", "own_full", "permuted"]
    assert min(scores["aligned"], scores["own_equal"]) > 0.9
    permuted = [
        accuracy(feature, align(decoder, source, target, permute=True, seed=k).predict(target.select(TEST).average()))
        for k in range(12)
    ]
    assert abs(np.mean(permuted) - 0.5) < 4 * np.std(permuted, ddof=1) / np.sqrt(12)
    assert max(permuted) < 0.75
    alignment = align(decoder, source, target)
    alignment.decoder.save(tmp_path / "z.safetensors")
    loaded = Decoder.load(tmp_path / "z.safetensors").predict(target)
    np.testing.assert_array_equal(loaded.array, alignment.predict(target).array)


def test_the_stimuli_of_both_protocols_are_apart() -> None:
    _, source, target = subjects()
    chosen, test = alignment_stimuli(source, target, "shared_split", n_align=60)
    assert len(chosen) == 60
    assert sorted([*chosen, *test]) == SHARED.tolist()
    chosen, test = alignment_stimuli(source, target, "own_stimuli")
    assert (chosen.tolist(), test.tolist()) == (SHARED.tolist(), TEST.tolist())
    with raises_with(ShapeError, where="n_align", expected=100, found=101):
        alignment_stimuli(source, target, "own_stimuli", n_align=101)


def test_stimuli_that_are_not_shared_are_refused() -> None:
    feature, source, target = subjects()
    decoder = Decoder(alphas=[10.0]).fit(source, feature)
    with raises_with(ShapeError, where="stimuli", expected="shared stimuli", found=[400]):
        align(decoder, source, target, stimuli=[300, 301, 400])
    with raises_with(ShapeError, where="stimuli", found=[]):
        align(decoder, source, replace(target, stimulus_id=target.stimulus_id + 1000))
    with raises_with(ShapeError, where="test", expected=0, found=1):
        compare_alignment(decoder, source, target, feature, test=[399], stimuli=SHARED)
    with raises_with(ShapeError, where="test", found=0):
        compare_alignment(decoder, source, target, feature, test=[9999])


def test_identity_needs_the_same_voxels() -> None:
    feature, source, target = subjects()
    decoder = Decoder(alphas=[10.0]).fit(source, feature)
    with raises_with(ShapeError, where="identity", expected=90, found=70):
        compare_alignment(decoder, source, target, feature, test=TEST, levels=["identity"])
    same = source.select(range(200))
    found = compare_alignment(decoder, source, same, feature, test=range(50), levels=["identity"])
    np.testing.assert_array_equal(found["identity"].array, decoder.predict(same.select(range(50)).average()).array)


def test_only_linear_maps_compose() -> None:
    feature, source, target = subjects()
    with raises_with(DataError, where="source", expected="RidgeMap"):
        align(Decoder(estimator=Ridge()).fit(source, feature), source, target)
    fitted = Decoder(alphas=[10.0]).fit(source, feature).map_
    with raises_with(ShapeError, where="first", expected=90, found=N_TARGETS):
        compose(fitted, fitted)


def test_sessions_are_scaled_before_the_average() -> None:
    feature, source, target = subjects()
    source = replace(source, session=np.arange(len(source)) % 2)
    decoder = Decoder(alphas=[10.0]).fit(source.zscore_sessions(), feature)
    for through in ("features", "voxels"):
        raw, scaled = (align(decoder, one, target, through=through) for one in (source, source.zscore_sessions()))
        assert raw.predict(target).array == pytest.approx(scaled.predict(target).array, abs=1e-4)


def test_through_features_the_labels_are_those_that_the_source_decodes() -> None:
    feature, source, target = subjects()
    decoder = Decoder().fit(source, feature)
    decoded = decoder.predict(source.select(SHARED).average())
    expected = Decoder().fit(target.select(SHARED), decoded).predict(target)
    np.testing.assert_array_equal(align(decoder, source, target).predict(target).array, expected.array)
    with raises_with(ShapeError, where="through", expected="voxels", found="features"):
        align(decoder, source, target).predict_in_two_steps(target)


def test_true_features_are_averaged_with_decoded_ones() -> None:
    feature, source, target = subjects()
    decoder = Decoder().fit(source, feature)
    decoded = decoder.predict(source.select(SHARED).average())
    mean = Features("z", (decoded.array + feature.rows(SHARED)) / 2, SHARED)
    expected = Decoder().fit(target.select(SHARED), mean).predict(target.select(TEST).average())
    found = compare_alignment(decoder, source, target, feature, test=TEST, levels=["combined"])["combined"]
    assert found.array == pytest.approx(expected.array, abs=1e-5)
    with raises_with(RecipeError, where="through", found="voxels"):
        align(decoder, source, target, through="voxels", features=feature)


def test_own_data_of_equal_minutes_are_all_trials_of_these_sessions() -> None:
    feature, source, target = subjects()
    session = target.take(np.arange(0, len(target), 2))
    test = TEST[:20]
    decoder = Decoder().fit(source, feature)
    found = compare_alignment(decoder, source, session, feature, test=test, full_trials=target)
    for level, trials in (("own_equal", session), ("own_full", target)):
        own = Decoder().fit(trials.select(np.setdiff1d(target.stimulus_id, test)), feature)
        expected = own.predict(target.select(test).average())
        np.testing.assert_array_equal(found[level].array, expected.array)


def test_an_alignment_has_the_settings_of_the_source_decoder() -> None:
    feature, source, target = subjects()
    decoder = Decoder(share_alpha=True, rescale_averages=False).fit(source, feature)
    found = align(decoder, source, target).decoder
    assert found.get_params() == {**decoder.get_params(), "rois": None}
    assert len(np.unique(found.map_.alpha)) == 1
    through_voxels = align(decoder, source, target, through="voxels").to_source
    assert len(np.unique(through_voxels.map_.alpha)) > 1  # one penalty for each source voxel
