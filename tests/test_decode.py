from __future__ import annotations

import numpy as np
import pytest

from reseen import decode
from reseen.decode import Decoder
from reseen.errors import ShapeError
from reseen.features import Features
from reseen.recipe import DecodeRecipe, Rows
from reseen.ridge import EdgeWarning
from reseen.split import Split
from reseen.trials import Trials

RECIPE = DecodeRecipe()
TEST = list(range(1000, 1020))
TRAIN = list(range(100, 180))


def subject(noise: float = 2.0, seed: int = 0) -> tuple[Trials, Features]:
    """Give 1 to 3 trials of 100 stimuli; early voxels know the feature, ventral ones do not."""
    rng = np.random.default_rng(seed)
    ids = np.array([*TRAIN, *TEST])
    code = rng.standard_normal((len(ids), 2, 3)).astype(np.float32)
    row = rng.permutation(np.repeat(np.arange(len(ids)), np.resize([3, 3, 2, 1], len(ids))))
    betas = rng.standard_normal((len(row), 30)) * noise
    betas[:, :20] += code.reshape(len(ids), -1)[row] @ rng.standard_normal((6, 20))
    early = np.arange(30) < 20
    trials = Trials(
        subject="subj01",
        betas=betas.astype(np.float32),
        stimulus_id=ids[row],
        session=np.zeros(len(row), dtype=np.int64),
        rois={"early": early, "ventral": ~early},
        n_repetitions=np.ones(len(row), dtype=np.int64),
    )
    scrambled = rng.permutation(len(ids))
    return trials, Features("z", code[scrambled] + 4, ids[scrambled])


def agreement(decoded: Features, feature: Features) -> float:
    truth = feature.rows(decoded.stimulus_id).reshape(len(decoded), -1)
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(truth.T, decoded.flat.T, strict=True)]))


def test_held_out_images_are_decoded_from_the_voxels_that_know_them() -> None:
    trials, feature = subject()
    split = Split.fixed(TRAIN, TEST)
    maps, decoded = decode.decode(trials, split, feature, rois=["early"], recipe=RECIPE, seed=0)
    assert len(maps) == 1
    assert decoded.name == "z"
    assert decoded.array.shape == (20, 2, 3)
    assert decoded.stimulus_id.tolist() == TEST
    assert agreement(decoded, feature) > 0.7
    assert decoded.array.mean() == pytest.approx(4, abs=0.3)
    _, blind = decode.decode(trials, split, feature, rois=["ventral"], recipe=RECIPE, seed=0)
    assert abs(agreement(blind, feature)) < 0.35


def test_features_of_test_images_are_never_looked_at() -> None:
    trials, feature = subject()
    split = Split.fixed(TRAIN, TEST)
    _, decoded = decode.decode(trials, split, feature, rois=["early"], recipe=RECIPE, seed=0)
    known = np.isin(feature.stimulus_id, TRAIN)
    only_training = Features("z", feature.array[known], feature.stimulus_id[known])
    _, same = decode.decode(trials, split, only_training, rois=["early"], recipe=RECIPE, seed=0)
    np.testing.assert_array_equal(decoded.array, same.array)


def test_the_order_of_trials_and_of_features_does_not_matter() -> None:
    trials, feature = subject()
    split = Split.fixed(TRAIN, TEST)
    _, decoded = decode.decode(trials, split, feature, rois=["early"], recipe=RECIPE, seed=0)
    rng = np.random.default_rng(5)
    moved, order = trials.take(rng.permutation(len(trials))), rng.permutation(len(feature))
    again = Features("z", feature.array[order], feature.stimulus_id[order])
    _, same = decode.decode(moved, split, again, rois=["early"], recipe=RECIPE, seed=0)
    np.testing.assert_allclose(decoded.array, same.array, atol=1e-3)


@pytest.mark.parametrize("how", ["averaged", "single"])
def test_every_fold_is_decoded_in_the_order_of_held_out(how: Rows) -> None:
    trials, feature = subject()
    split = Split.leave_out(trials.stimulus_id, 4, seed=1)
    maps, decoded = decode.decode(trials, split, feature, rois=["early"], recipe=RECIPE, seed=0, test_trials=how)
    items = decode.held_out(trials, split, test_trials=how)
    assert len(maps) == 4
    np.testing.assert_array_equal(decoded.stimulus_id, items.stimulus_id)
    assert len(decoded) == (100 if how == "averaged" else len(trials))
    assert agreement(decoded, feature) > 0.5
    fold = next(k for k, (_, test) in enumerate(split.folds) if items.stimulus_id[7] in test)
    alone = maps[fold].predict(items.take(np.array([7])))
    np.testing.assert_allclose(alone.array[0], decoded.array[7], atol=1e-4)


def test_a_saved_map_decodes_one_trial(tmp_path) -> None:
    trials, feature = subject()
    Decoder(["early"]).fit(trials.select(TRAIN), feature).save(tmp_path / "z.safetensors")
    one = trials.select([TEST[0]]).take(np.array([0]))
    decoded = Decoder.load(tmp_path / "z.safetensors").predict(one)
    assert decoded.array.shape == (1, 2, 3)
    assert np.isfinite(decoded.array).all()


def test_shuffled_training_decodes_nothing_and_says_nothing_of_edges() -> None:
    trials, feature = subject(noise=0.5)
    split = Split.leave_out(trials.stimulus_id, 2, seed=0)
    recipe = DecodeRecipe(alphas=(1e-3, 1e-2))
    scores = []
    for seed in range(4):
        _, decoded = decode.decode(trials, split, feature, rois=["early"], recipe=recipe, seed=seed, permutation=0)
        scores.append(agreement(decoded, feature))
    assert abs(np.mean(scores)) < 0.15
    assert len(set(scores)) == 4


@pytest.mark.parametrize("n_folds", [1, 3])
def test_true_and_shuffled_decoders_share_one_factorisation_and_are_what_they_are_alone(
    n_folds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials, feature = subject()
    split = Split.fixed(TRAIN, TEST) if n_folds == 1 else Split.leave_out(trials.stimulus_id, n_folds, seed=0)
    how = {"rois": ["early"], "recipe": RECIPE, "seed": 3}
    alone = {
        permutation: decode.decode(trials, split, feature, **how, permutation=permutation)[1]
        for permutation in (None, 0, 1)
    }
    calls, factor = [], decode.tasks.factor
    monkeypatch.setattr(decode.tasks, "factor", lambda *args, **options: calls.append(1) or factor(*args, **options))
    decoding = decode.Decoding(trials, split, feature, **how)
    for permutation, expected in alone.items():
        assert decoding.run(permutation=permutation)[1].array.tobytes() == expected.array.tobytes()
    assert len(calls) == n_folds
    monkeypatch.setattr(decode.tasks, "KEPT_STIMULI", 10)  # too little room for more than one fold
    decoding = decode.Decoding(trials, split, feature, **how)
    assert decoding.run(permutation=1)[1].array.tobytes() == alone[1].array.tobytes()
    assert len(decoding.data._kept) == 1


def test_folds_are_kept_while_their_squares_add_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    trials, feature = subject()
    decoding = decode.Decoding(
        trials, Split.leave_out(trials.stimulus_id, 5, seed=0), feature, rois=["early"], recipe=RECIPE, seed=0
    )
    monkeypatch.setattr(decode.tasks, "KEPT_STIMULI", np.sqrt(2.5) * 80)  # of 80 training stimuli in each fold
    most = []
    for fold in range(5):
        decoding.data.training(fold)
        most.append(len(decoding.data._kept))
    assert max(most) == 2


def test_without_weights_the_predictions_are_the_same_and_no_map_is_made() -> None:
    trials, feature = subject()
    split = Split.leave_out(trials.stimulus_id, 3, seed=0)
    decoding = decode.Decoding(trials, split, feature, rois=["early"], recipe=RECIPE, seed=0)
    maps, expected = decoding.run()
    assert len(maps) == 3
    none, decoded = decoding.run(weights=False)
    assert none == []
    np.testing.assert_array_equal(decoded.stimulus_id, expected.stimulus_id)
    np.testing.assert_allclose(decoded.array, expected.array, atol=1e-5)


@pytest.mark.parametrize("share_alpha", [False, True])
def test_a_shuffle_gives_the_predictions_of_its_maps_and_keeps_no_map(
    share_alpha: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode.tasks, "TARGETS_AT_ONCE", 4)
    trials, feature = subject()
    recipe = DecodeRecipe(share_alpha=share_alpha)
    how = {"rois": ["early"], "recipe": recipe, "seed": 3}
    decoding = decode.Decoding(trials, Split.fixed(TRAIN, TEST), feature, **how)
    fits = []
    monkeypatch.setattr(
        decode.tasks, "add_block", lambda *args: fits.append(args)
    )  # what would hold weights of all targets
    maps, decoded = decoding.run(permutation=0)
    assert maps == fits == []
    ids = np.unique(TRAIN)
    moved = ids[np.random.default_rng((3, 0)).permutation(len(ids))]
    shuffled = Features("z", feature.rows(moved), ids)
    monkeypatch.undo()
    _, expected = decode.decode(trials, Split.fixed(TRAIN, TEST), shuffled, **how)
    np.testing.assert_allclose(decoded.array, expected.array, atol=1e-4)


def test_decoders_are_fitted_where_they_are_told() -> None:
    trials, feature = subject()
    split = Split.fixed(TRAIN, TEST)
    how = {"rois": ["early"], "recipe": RECIPE, "seed": 0}
    found = {}
    for device in ("numpy", "cpu"):
        decoding = decode.Decoding(trials, split, feature, device=device, **how)
        found[device] = decoding.run()[1].array
        assert decoding.data.training(0).factored.device.name == device
        assert not decoding.data.needs_gpu
    np.testing.assert_allclose(found["cpu"], found["numpy"], atol=1e-4)
    assert decode.Decoding(trials, split, feature, device="cuda", **how).data.needs_gpu


def test_an_edge_of_the_grid_is_warned_of_once_for_each_fold_over_all_its_targets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trials, feature = subject()
    recipe = DecodeRecipe(alphas=(1e-6, 1e-5))
    for n in (6, 2):
        monkeypatch.setattr(decode.tasks, "TARGETS_AT_ONCE", n)
        for split in (Split.fixed(TRAIN, TEST), Split.leave_out(trials.stimulus_id, 2, seed=0)):
            with pytest.warns(EdgeWarning) as caught:
                decode.decode(trials, split, feature, rois=["early"], recipe=recipe, seed=0)
            assert len(caught) == len(split.folds)
            assert all("of 6 targets chose the largest" in str(found.message) for found in caught)


def test_rescaled_averages_are_wider_and_closer_and_single_trials_are_left() -> None:
    trials, feature = subject(noise=5.0)
    split = Split.leave_out(trials.stimulus_id, 5, seed=0)
    both = {}
    for how in ("averaged", "single"):
        for rescale in (True, False):
            recipe = DecodeRecipe(rescale_averages=rescale)
            _, both[how, rescale] = decode.decode(
                trials, split, feature, rois=["early"], recipe=recipe, seed=0, test_trials=how
            )
    np.testing.assert_array_equal(both["single", True].array, both["single", False].array)
    gained, plain = both["averaged", True], both["averaged", False]
    truth = feature.rows(gained.stimulus_id)
    assert gained.array.std() > 1.1 * plain.array.std()
    assert np.mean((gained.array - truth) ** 2) < np.mean((plain.array - truth) ** 2)
    once = decode.held_out(trials, split).n_repetitions == 1
    np.testing.assert_array_equal(gained.array[once], plain.array[once])


def test_averaged_training_is_a_row_for_each_stimulus() -> None:
    trials, feature = subject()
    split = Split.fixed(TRAIN, TEST)
    (decoder,), decoded = decode.decode(
        trials, split, feature, rois=["early"], recipe=RECIPE, seed=0, train_trials="averaged"
    )
    assert decoder.map_.noise_share is None
    assert decoder.n_averaged_ == max(np.bincount(trials.select(TRAIN).stimulus_id))
    assert agreement(decoded, feature) > 0.7


def test_what_cannot_be_decoded_is_refused() -> None:
    trials, feature = subject()
    with pytest.raises(ShapeError, match="no test trials"):
        decode.decode(trials, Split.fixed(TRAIN, [5]), feature, rois=["early"], recipe=RECIPE, seed=0)
    with pytest.raises(ShapeError, match="no training trials"):
        decode.decode(trials, Split.fixed([5], TEST), feature, rois=["early"], recipe=RECIPE, seed=0)
    with pytest.raises(ShapeError, match="no ROI 'V9'"):
        decode.decode(trials, Split.fixed(TRAIN, TEST), feature, rois=["V9"], recipe=RECIPE, seed=0)
    few = Features("z", feature.array[:3], feature.stimulus_id[:3])
    with pytest.raises(ShapeError, match="z has no row"):
        decode.decode(trials, Split.fixed(TRAIN, TEST), few, rois=["early"], recipe=RECIPE, seed=0)
    fitted = Decoder(["early"]).fit(trials.select(TRAIN), feature)
    with pytest.raises(ShapeError, match="in the ROIs of the decoder; it was fitted on"):
        fitted.predict(Trials(trials.betas, trials.stimulus_id, rois={"early": trials.rois["early"] | True}))


def test_a_penalty_of_one_feature_is_that_of_its_decoder_alone() -> None:
    trials, feature = subject()
    split = Split.fixed(TRAIN, TEST)
    both = DecodeRecipe.model_validate({"alphas": [2.0], "feature_alphas": {"z": [70.0]}})
    c = Features("c", feature.array, feature.stimulus_id)
    how = {"rois": ["early"], "seed": 0}
    (of_z,), decoded = decode.decode(trials, split, feature, recipe=both, **how)
    (of_c,), _ = decode.decode(trials, split, c, recipe=both, **how)
    assert (set(of_z.map_.alpha), set(of_c.map_.alpha)) == ({70.0}, {2.0})
    assert of_z.get_params()["alphas"] == (70.0,)
    _, alone = decode.decode(trials, split, feature, recipe=DecodeRecipe(alphas=(70.0,)), **how)
    np.testing.assert_array_equal(decoded.array, alone.array)
