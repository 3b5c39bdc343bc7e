"""Splits: stimuli or groups of trials are left out; what is refused; own data, trial tables and NSD take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reseen import decode, load_arrays, load_data, load_nsd
from reseen.check import check
from reseen.decode import Decoder
from reseen.encode import encode
from reseen.errors import RecipeError, ShapeError
from reseen.features import Features
from reseen.recipe import DecodeRecipe, EncodeRecipe, Recipe, with_settings
from reseen.split import Split
from reseen.trials import Trials


def test_a_fixed_split_holds_sorted_ids_once() -> None:
    split = Split.fixed([5, 1, 1, 3], [2, 2])
    ((train, test),) = split.folds
    assert train.tolist() == [1, 3, 5]
    assert test.tolist() == [2]
    assert train.dtype == test.dtype == np.int64
    assert split.test_ids.tolist() == [2]


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ((), "at least one fold"),
        (((np.array([1]), np.array([], dtype=np.int64)),), "at least one fold"),
        (((np.array([1, 2]), np.array([2, 3])),), "first is 2"),
        (((np.array([1]), np.array([2])), (np.array([1]), np.array([2]))), "tested in two folds"),
    ],
)
def test_a_split_that_leaks_or_is_empty_is_refused(folds: tuple, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Split(folds)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=80), st.integers(2, 6), st.integers(0, 99))
def test_whole_stimuli_are_left_out_each_once(stimulus_id: list[int], n_folds: int, seed: int) -> None:
    ids = sorted(set(stimulus_id))
    if len(ids) < n_folds:
        with pytest.raises(ShapeError, match="can be left out in"):
            Split.leave_out(stimulus_id, n_folds, seed)
        return
    split = Split.leave_out(stimulus_id, n_folds, seed)
    assert split.test_ids.tolist() == ids
    sizes = [len(test) for _, test in split.folds]
    assert max(sizes) - min(sizes) <= 1
    for train, test in split.folds:
        assert sorted([*train, *test]) == ids
    again = Split.leave_out(stimulus_id, n_folds, seed)
    assert all((a[1] == b[1]).all() for a, b in zip(split.folds, again.folds, strict=True))


RUNS = np.repeat([3, 5, 9], 8)
IDS = np.concatenate([np.arange(8), [0, 0, 1, 2, 3, 4, 5, 6], np.arange(8)])


def test_a_fold_leaves_out_the_trials_of_one_run() -> None:
    split = Split.leave_groups_out(IDS, RUNS)
    for fold in range(3):
        np.testing.assert_array_equal(split.test_rows(fold, IDS), np.arange(8) + 8 * fold)
        np.testing.assert_array_equal(split.train_rows(fold, IDS), np.setdiff1d(np.arange(24), np.arange(8) + 8 * fold))
    assert split.folds[1][1].tolist() == list(range(7))
    assert split.known_ids.tolist() == list(range(8))
    assert "8 of 8 test images were also training images" in split.warning
    assert Split.fixed([0, 1], [2]).warning == ""


def test_trials_without_a_group_are_trained_on_in_every_fold() -> None:
    group = np.where(RUNS == 5, -1, RUNS)
    split = Split.leave_groups_out(IDS, group)
    assert len(split.folds) == 2
    assert set(range(8, 16)) <= set(split.train_rows(0, IDS).tolist()) & set(split.train_rows(1, IDS).tolist())
    ids, fold = split.items(IDS, averaged=True)
    np.testing.assert_array_equal(ids, np.repeat(np.arange(8), 2))
    np.testing.assert_array_equal(fold, np.tile([0, 1], 8))


def test_fewer_test_stimuli_have_the_same_decoders() -> None:
    whole = Split.leave_groups_out(IDS, RUNS)
    split = whole.test_only([7])
    assert [test.tolist() for _, test in split.folds] == [[7], [7]]  # the second run does not show it
    np.testing.assert_array_equal(split.train_rows(1, IDS), whole.train_rows(2, IDS))
    assert split.test_rows(1, IDS).tolist() == [23]
    alone = split.only(1)
    np.testing.assert_array_equal(alone.train_rows(0, IDS), whole.train_rows(2, IDS))
    assert alone.test_rows(0, IDS).tolist() == [23]


def test_one_group_or_another_shape_is_refused() -> None:
    with pytest.raises(ShapeError, match="all trials are of one group"):
        Split.leave_groups_out([0, 1, 2], [4, 4, 4])
    with pytest.raises(ShapeError, match="the trials need"):
        Split.leave_groups_out([0, 1, 2], [4, 4])


def noisy(seed: int = 0, *, signal: float = 1.0, n_stimuli: int = 12, n_runs: int = 4) -> tuple[Trials, Features]:
    """Every stimulus once in each run, and twice in the first; voxels respond to six features of it."""
    rng = np.random.default_rng(seed)
    code = rng.standard_normal((n_stimuli, 6)).astype(np.float32)
    ids = np.concatenate([np.arange(n_stimuli)] * (n_runs + 1))
    run = np.concatenate([np.zeros(n_stimuli), np.repeat(np.arange(n_runs), n_stimuli)]).astype(np.int64)
    betas = signal * code[ids] @ rng.standard_normal((6, 20)) + rng.standard_normal((len(ids), 20))
    return Trials(betas, ids, run=run, session=run), Features("z", code, np.arange(n_stimuli))


RECIPE = DecodeRecipe(alphas=(10.0,), n_folds=3)


@pytest.mark.parametrize("how", ["averaged", "single"])
def test_each_run_is_decoded_by_a_decoder_of_all_other_runs(how: str) -> None:
    trials, feature = noisy()
    split = Split.leave_groups_out(trials.stimulus_id, trials.run)
    decoders, decoded = decode.decode(trials, split, feature, rois=["all"], recipe=RECIPE, seed=0, test_trials=how)
    items = decode.held_out(trials, split, test_trials=how)
    np.testing.assert_array_equal(decoded.stimulus_id, items.stimulus_id)
    assert len(decoded) == (48 if how == "averaged" else 60)
    for run, decoder in enumerate(decoders):
        own = Decoder(alphas=RECIPE.alphas, n_folds=3).fit(trials.take(trials.run != run), feature)
        tested = trials.take(trials.run == run)
        tested = tested.average() if how == "averaged" else tested.take(np.argsort(tested.stimulus_id, kind="stable"))
        rows = decoded.of_fold(run, [])
        np.testing.assert_array_equal(decoded.stimulus_id[rows], tested.stimulus_id)
        np.testing.assert_allclose(decoded.array[rows], own.predict(tested).array, atol=1e-4)
        assert decoder.n_trials_ == own.n_trials_


def test_one_permutation_of_all_stimuli_is_trained_in_all_runs() -> None:
    trials, feature = noisy()
    split = Split.leave_groups_out(trials.stimulus_id, trials.run)
    task = decode.Decoding(trials, split, feature, rois=["all"], recipe=RECIPE, seed=5).data
    given = [task.target_rows(0, fold) for fold in range(4)]
    assert all((other == given[0]).all() for other in given)
    assert sorted(given[0].tolist()) == list(range(12))
    assert (given[0] != np.arange(12)).any()


@pytest.mark.parametrize("encoding_null", ["parametric", "permutation"])
def test_r_of_trials_with_permuted_labels_is_0(encoding_null: str) -> None:
    from scipy.stats import kstest

    recipe = EncodeRecipe(n_bootstrap=20, null=encoding_null, n_permutations=500)
    means, p = [], []
    for seed in range(20):
        trials, feature = noisy(seed, signal=1.0, n_stimuli=15)
        rng = np.random.default_rng([seed, 1])
        permuted = Trials(trials.betas, rng.permutation(trials.stimulus_id), run=trials.run)
        split = Split.leave_groups_out(permuted.stimulus_id, permuted.run)
        _, voxels = encode(permuted, split, [feature], recipe=recipe, seed=seed)
        means.append(voxels["r/z"].mean())
        p.append(voxels["p/z"])
    assert abs(np.mean(means)) < 2.5 * np.std(means) / np.sqrt(len(means))
    assert np.std(means) < 0.1
    assert abs(np.mean(np.concatenate(p)) - 0.5) < 0.08
    assert kstest(np.concatenate(p), "uniform").statistic < 0.15


def test_encoding_models_of_other_runs_predict_a_run() -> None:
    trials, feature = noisy(signal=2.0)
    split = Split.leave_groups_out(trials.stimulus_id, trials.run)
    table, voxels = encode(trials, split, [feature], recipe=EncodeRecipe(n_bootstrap=20, n_folds=3), seed=0)
    assert voxels["r/z"].mean() > 0.7
    assert set(table["n"]) == {48}  # one average of each stimulus in each of four runs


def test_own_arrays_leave_out_runs_and_the_values_of_an_array(brain_file: Path, tmp_path: Path) -> None:
    for test in ("runs", "sessions"):
        split = load_arrays(brain_file, test=test).split
        assert [len(test) for _, test in split.folds] == [8, 8]
    arrays = dict(np.load(brain_file))
    np.savez(tmp_path / "own.npz", **arrays, scanner=np.repeat(["A", "B", "C", "D"], 5))
    assert len(load_arrays(tmp_path / "own.npz", test="column:scanner").split.folds) == 4
    with pytest.raises(RecipeError, match=r"'column:nosuch'; the trials of these data have runs, sessions"):
        load_arrays(brain_file, test="column:nosuch")
    del arrays["run"]
    np.savez(tmp_path / "one.npz", **arrays)
    with pytest.raises(RecipeError, match="all trials have the same label"):
        load_arrays(tmp_path / "one.npz", test="runs")


def test_a_trial_table_leaves_out_runs_sessions_and_the_values_of_a_column(trial_table: Path, tmp_path: Path) -> None:
    table = pd.read_csv(trial_table / "trials.csv")
    table["session"] = np.repeat(["a", "b"], 10)
    table["run"] = np.tile(np.repeat([1, 2], 5), 2)  # numbered anew in each session
    table["task"] = np.repeat(["see", "", "name", "see"], 5)
    table.to_csv(tmp_path / "trials.csv", index=False)
    n_folds = {
        test: len(load_data(trial_table, "trials", trials=tmp_path / "trials.csv", test=test).split.folds)
        for test in ("runs", "sessions", "column:task")
    }
    assert n_folds == {"runs": 4, "sessions": 2, "column:task": 2}
    subject = load_data(trial_table, "trials", trials=tmp_path / "trials.csv", test="column:task")
    name, see = subject.folds()
    assert (len(name.train), len(name.test), len(see.train), len(see.test)) == (15, 5, 10, 6)
    with pytest.raises(RecipeError, match=r"'sessions'; the trials of these data have runs"):
        load_data(trial_table, "trials", test="sessions")


def test_nsd_leaves_out_sessions(tmp_path: Path) -> None:
    from reseen.recipe import SimulateRecipe
    from reseen.simulate import simulate

    simulate(tmp_path, SimulateRecipe(n_sessions=2, trials_per_session=12, n_train=8, n_test=4, voxel_fraction=0.1))
    subject = load_nsd(tmp_path, test="sessions")
    assert len(subject.split.folds) == 2
    assert sorted(len(fold.train) for fold in subject.folds()) == [12, 12]
    with pytest.raises(RecipeError, match="the trials of these data have sessions"):
        load_nsd(tmp_path, test="runs")


def test_only_some_stimuli_of_the_folds_are_tested_for_a_quick_try(brain_file: Path) -> None:
    subject = load_arrays(brain_file, n_folds=4, n_test=3)
    assert len(subject.split.test_ids) == 3
    assert all(len(train) == 6 for train, _ in subject.split.folds)
    assert load_arrays(brain_file, test="runs", n_test=3).split.test_ids.tolist() == [0, 2, 5]
    with pytest.raises(RecipeError, match="n_test asks for 9 test images; the subject saw 8"):
        load_arrays(brain_file, n_folds=4, n_test=9)


def test_check_says_that_test_images_are_training_images(small_recipe: Recipe, tmp_path: Path) -> None:
    recipe = with_settings(small_recipe, ["data.test=runs"])
    findings = check(recipe, tmp_path / "out")
    assert any("8 of 8 test images were also training images" in finding.found for finding in findings)
    assert any(finding.found == "8 of 8 images in 2 folds, 16 items to decode" for finding in findings)
    assert all(finding.ok for finding in findings)
    (refused,) = (f for f in check(with_settings(recipe, ["data.test=column:x"]), tmp_path / "out") if not f.ok)
    assert "the trials of these data have runs, sessions" in refused.found


@pytest.mark.parametrize("value", ["run", "column:", "", "Folds"])
def test_an_unknown_test_set_is_refused_with_those_that_are_known(value: str) -> None:
    with pytest.raises(RecipeError, match=r"runs, sessions or column:NAME|without control characters"):
        with_settings(Recipe(), [f'data.test="{value}"'])
