from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reseen import metrics
from reseen.analyses import layers_of
from reseen.encode import COLUMNS, encode
from reseen.encode.fits import make_design
from reseen.encode.scores import Race
from reseen.errors import DataError, ShapeError
from reseen.features import Features
from reseen.kernels import fit_kernels, linear_kernels
from reseen.ldm import load_model
from reseen.ldm.extraction import extract
from reseen.recipe import EncodeRecipe, ExtractRecipe, SimulateRecipe
from reseen.simulate import SimulatedSubject, simulated_subjects
from reseen.split import Split
from reseen.stimuli import Stimuli
from reseen.trials import Trials

RECIPE = EncodeRecipe(n_bootstrap=100)
FIXED = Split.fixed(range(50, 150), range(150, 200))


def subject(n_features: int = 8, ncsnr: float = 0.7) -> tuple[Trials, Features, Features]:
    """Give three trials of 150 stimuli; ten early voxels follow ``z`` at this ncsnr, five ventral ones nothing."""
    rng = np.random.default_rng(0)
    ids = np.arange(50, 200)
    z, c = rng.standard_normal((2, len(ids), n_features)).astype(np.float32)
    signal = z @ rng.standard_normal((n_features, 10))
    signal *= ncsnr / signal.std(0)
    row = np.repeat(np.arange(len(ids)), 3)
    betas = rng.standard_normal((len(row), 15))
    betas[:, :10] += signal[row]
    early = np.arange(15) < 10
    trials = Trials(
        subject="subj02",
        betas=betas.astype(np.float32),
        stimulus_id=ids[row],
        session=np.zeros(len(row), dtype=np.int64),
        rois={"early": early, "ventral": ~early},
        n_repetitions=np.ones(len(row), dtype=np.int64),
        ncsnr=np.where(early, ncsnr, 0).astype(np.float32),
    )
    return trials, Features("z", z, ids), Features("c", c, ids)


def numbers(table: pd.DataFrame, statistic: str) -> dict[tuple[str, str, str], float]:
    """Give one statistic of each model, feature and ROI."""
    rows = table[table["statistic"] == statistic]
    return dict(zip(zip(rows["model"], rows["feature"], rows["roi"], strict=True), rows["value"], strict=True))


def layer(name: str, like: Features, noise: float, seed: int = 1) -> Features:
    """Give a feature space that holds another, under noise."""
    rng = np.random.default_rng(seed)
    array = like.array + noise * rng.standard_normal(like.array.shape)
    return Features(name, array.astype(np.float32), like.stimulus_id)


def test_voxels_are_predicted_up_to_their_ceiling_by_the_feature_they_follow() -> None:
    trials, z, c = subject()
    table, voxels = encode(trials, Split.leave_out(z.stimulus_id, 5, 0), [z, c], recipe=RECIPE, seed=0)
    assert tuple(table.columns) == COLUMNS
    assert set(table["analysis"]) == {"features"}
    assert set(table["n"]) == {150}
    assert table[table["roi"] == "early"]["n_voxels"].unique().tolist() == [10]
    expected = np.sqrt(0.49 / (0.49 + 1 / 3))
    assert numbers(table, "median_ceiling_r")["z", "z", "early"] == pytest.approx(expected, abs=1e-3)
    assert numbers(table, "median_r")["z", "z", "early"] == pytest.approx(expected, abs=0.06)
    reached = numbers(table, "median_normalised_r")
    assert reached["z", "z", "early"] == pytest.approx(1, abs=0.08)
    assert np.isnan(reached["z", "z", "ventral"])
    r = numbers(table, "mean_r")
    assert abs(r["c", "c", "early"]) < 0.15
    assert abs(r["z", "z", "ventral"]) < 0.15
    assert numbers(table, "share_significant")["z", "z", "early"] == 1
    kinds = ("r", "r2", "p", "q", "alpha")
    assert set(voxels) == {"ceiling_r", *(f"{kind}/{name}" for kind in kinds for name in ("z", "c"))}
    assert {(array.shape, array.dtype.name) for array in voxels.values()} == {((15,), "float32")}


def test_more_features_than_images_work_too() -> None:
    trials, z, _ = subject()
    rng = np.random.default_rng(1)
    wide = Features("wide", (z.array @ rng.standard_normal((8, 600))).astype(np.float32), z.stimulus_id)
    table, _ = encode(trials, FIXED, [wide], recipe=RECIPE, seed=0)
    assert numbers(table, "median_r")["wide", "wide", "early"] > 0.6


def test_correlations_are_those_of_the_primal_ridge() -> None:
    from reseen.kernels import default_alphas
    from reseen.ridge import fit_ridge

    trials, z, _ = subject()
    _, voxels = encode(trials, FIXED, [z], recipe=RECIPE, seed=0)
    train, test = (trials.select(ids).average() for ids in FIXED.folds[0])
    fitted = fit_ridge(z.rows(train.stimulus_id), train.betas, groups=train.stimulus_id, alphas=default_alphas(100) * 8)
    predicted = fitted.predict(z.rows(test.stimulus_id))
    r = [np.corrcoef(test.betas[:, v], predicted[:, v])[0, 1] for v in range(15)]
    np.testing.assert_allclose(voxels["r/z"], r, atol=1e-4)
    np.testing.assert_allclose(voxels["alpha/z"] * 8, fitted.alpha, rtol=1e-5)


def test_a_joint_model_is_split_between_its_spaces() -> None:
    trials, z, c = subject()
    late = Features("zc@strength=0.8", c.array, c.stimulus_id)
    early = layer("zc@strength=0.2", z, 0.3)
    table, voxels = encode(trials, FIXED, [z, early, late], recipe=RECIPE, seed=0)
    for name in (early.name, late.name):
        joint = f"z+{name}"
        parts = [voxels[f"split/{joint}/{part}"] for part in ("z", name)]
        np.testing.assert_allclose(parts[0] + parts[1], voxels[f"r/{joint}"], atol=1e-5)
        for part, other in (("z", name), (name, "z")):
            np.testing.assert_allclose(
                voxels[f"unique/{joint}/{part}"], voxels[f"r2/{joint}"] - voxels[f"r2/{other}"], atol=1e-6
            )
    split, unique = numbers(table, "split_r"), numbers(table, "unique_r2")
    assert split["z+zc@strength=0.8", "z", "early"] > 0.6
    assert abs(split["z+zc@strength=0.8", "zc@strength=0.8", "early"]) < 0.05
    assert unique["z+zc@strength=0.8", "z", "early"] > 0.4
    assert split["z+zc@strength=0.2", "zc@strength=0.2", "early"] > 0.02  # it holds z, so that either may bring it
    assert set(table[table["model"].str.contains("strength")]["analysis"]) == {"noise"}
    assert_intervals(table)


def assert_intervals(table: pd.DataFrame) -> None:
    """Check that every interval holds its value, and that every score with an interval has one."""
    resampled = ["mean_r", "median_r", "mean_r2", "median_normalised_r", "split_r", "unique_r2", "win_share"]
    rows = table[table["statistic"].isin(resampled) & table["value"].notna()]
    assert len(rows)
    assert (rows["low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["high"]).all()
    assert table[~table.index.isin(rows.index)]["low"].isna().all()


def test_the_best_layer_of_each_voxel_is_found_stage_by_stage() -> None:
    trials, z, c = subject()
    names = ["unet/down@progress=0.2", "unet/mid@progress=0.2", "unet/mid@progress=1", "unet/down@progress=1"]
    spaces = [layer(names[0], z, 0.1), layer(names[1], c, 0.0), layer(names[2], z, 0.1), layer(names[3], z, 1.0)]
    table, voxels = encode(trials, FIXED, spaces, recipe=RECIPE, seed=0)
    assert layers_of(names) == ["down", "mid"]
    assert voxels["winner/progress=0.2"].tolist() == [0] * 10 + [-1] * 5
    assert voxels["winner/progress=1"].tolist() == [1] * 10 + [-1] * 5
    assert voxels["winner/progress=1"].dtype == np.int64
    margin = voxels[f"r/{names[2]}"] - voxels[f"r/{names[3]}"]
    np.testing.assert_allclose(voxels["margin/progress=1"][:10], margin[:10], atol=1e-6)
    assert np.isnan(voxels["margin/progress=1"][10:]).all()
    share, distance = numbers(table, "win_share"), numbers(table, "win_margin")
    assert share[names[2], names[2], "early"] == 1
    assert share[names[3], names[3], "all"] == 0
    assert np.isnan(share[names[2], names[2], "ventral"])
    assert distance[names[2], names[2], "early"] == pytest.approx(margin[:10].mean(), abs=1e-6)


def test_layers_that_are_alike_share_the_wins_and_the_interval_says_how_surely() -> None:
    trials, z, c = subject()
    names = ["unet/down@progress=1", "unet/mid@progress=1", "unet/up@progress=1"]
    spaces = [
        layer(names[0], z, 0.3),
        layer(names[1], Features("z", -z.array, z.stimulus_id), 0.3),
        layer(names[2], c, 0),
    ]
    table, _ = encode(trials, FIXED, spaces, recipe=RECIPE, seed=0)
    rows = table[(table["statistic"] == "win_share") & (table["roi"] == "early")].set_index("model")
    assert rows["value"].sum() == pytest.approx(1)
    assert (rows["low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["high"]).all()
    assert rows.loc[names[0], "high"] - rows.loc[names[0], "low"] > 0.1  # one of two that are alike
    assert rows.loc[names[2], "high"] == 0  # c is not seen in early voxels


def test_the_race_knows_the_best_layer_of_each_resampling() -> None:
    rng = np.random.default_rng(0)
    r = np.round(rng.standard_normal((4, 50, 7)), 1).astype(np.float32)  # rounded, so that some tie
    race = Race((50, 7))
    for layer_r in r:
        race.run(layer_r)
    np.testing.assert_array_equal(race.winner, r.argmax(axis=0))


def test_voxels_of_noise_have_uniform_p_and_few_are_called_significant() -> None:
    from scipy.stats import kstest

    rng = np.random.default_rng(5)
    ids = np.arange(120)
    z = Features("z", rng.standard_normal((120, 6)).astype(np.float32), ids)
    n_false = []
    for null in ("parametric", "permutation"):
        betas = rng.standard_normal((120, 800)).astype(np.float32)
        noise = Trials(betas, ids)
        recipe = RECIPE.model_copy(update={"null": null, "n_permutations": 200})
        table, voxels = encode(noise, Split.fixed(ids[:60], ids[60:]), [z], recipe=recipe, seed=0)
        # voxels whose best prediction is the mean of the training images still point somewhere
        assert kstest(voxels["p/z"], "uniform").pvalue > 0.005
        n_false.append(int((voxels["q/z"] <= 0.05).sum()))
        assert numbers(table, "share_significant")["z", "z", "all"] == pytest.approx(n_false[-1] / 800)
    assert max(n_false) <= 1


def simulated_trials(seed: int, n: int, snr: float) -> tuple[Trials, Features, np.ndarray]:
    """Return one trial of ``n`` stimuli, three ROIs of ten voxels each, their features and the true weights."""
    rng = np.random.default_rng([seed, 7])
    ids = np.arange(n)
    x = rng.standard_normal((n, 8)).astype(np.float32)
    weights = rng.standard_normal((8, 30))
    weights *= snr / np.linalg.norm(weights, axis=0)
    betas = (x @ weights + rng.standard_normal((n, 30))).astype(np.float32)
    rois = {f"roi{k}": np.arange(30) // 10 == k for k in range(3)}
    return Trials(betas, ids, rois=rois), Features("z", x, ids), weights


def population_r(trials: Trials, split: Split, x: Features, weights: np.ndarray, recipe: EncodeRecipe) -> np.ndarray:
    """Return the correlation that each voxel's fitted models reach on infinitely many stimuli, averaged over folds."""
    design = make_design(trials, split, recipe, 0)
    probes = np.vstack([np.zeros((1, 8)), np.eye(8)]).astype(np.float32)
    rows = np.arange(len(x.array), len(x.array) + 9)
    found = []
    for fold in design.folds:
        (kernel,) = linear_kernels([np.vstack([x.array, probes])], [fold.train])
        fitted = fit_kernels(
            [kernel],
            design.trained(fold)[:, : design.n_voxels],
            train=fold.train,
            test=rows,
            fold=fold.inner,
            alphas=design.alphas,
        )
        slope = fitted.parts[0][1:] - fitted.parts[0][0]  # the model is linear in the features
        spread = np.linalg.norm(slope, axis=0) * np.sqrt((weights**2).sum(0) + 1)
        found.append(len(fold.test) * (slope * weights).sum(0) / spread)
    return np.sum(found, axis=0) / len(design.tested)


@pytest.mark.parametrize(("folds", "snr"), [(5, 0.0), (1, 0.0), (5, 0.7), (1, 0.7)])
def test_of_100_subjects_r_is_right_and_intervals_cover_it(folds: int, snr: float) -> None:
    from scipy.stats import kstest

    recipe = RECIPE.model_copy(update={"n_bootstrap": 300})
    off, covered, p = [], [], []
    for seed in range(100):
        n = 60 if folds > 1 else 90
        trials, x, weights = simulated_trials(seed, n, snr)
        split = Split.leave_out(x.stimulus_id, folds, seed) if folds > 1 else Split.fixed(range(50), range(50, n))
        table, voxels = encode(trials, split, [x], recipe=recipe, seed=seed)
        assert_intervals(table)
        true = population_r(trials, split, x, weights, recipe) if snr else np.zeros(30)
        rows = table[table["statistic"] == "mean_r"].set_index("roi")
        off.append(rows.loc["all", "value"] - true.mean())
        for roi, mask in trials.rois.items():
            covered.append(rows.loc[roi, "low"] <= true[mask].mean() <= rows.loc[roi, "high"])
        p.append(voxels["p/z"])
    error = np.std(off, ddof=1) / np.sqrt(100)
    assert 0.92 <= np.mean(covered) <= 0.98
    if snr:
        assert abs(np.mean(off)) < 0.02  # Pearson's r of n items has a bias of r (1 - r²) / (2 n)
    else:
        assert abs(np.mean(off)) < 2 * error
        assert kstest(np.concatenate(p), "uniform").statistic < 0.04


@pytest.mark.parametrize("folds", [2, 10, 20])
def test_r_of_permuted_stimuli_is_0_however_many_folds(folds: int) -> None:
    trials, x, _ = simulated_trials(0, 20, 1.0)
    betas = np.repeat(trials.betas, 20, axis=1)
    rng = np.random.default_rng(folds)
    means = []
    for seed in range(10):
        permuted = Trials(rng.permuted(betas, axis=0), x.stimulus_id)
        split = Split.leave_out(x.stimulus_id, folds, seed)
        means.append(np.mean(encode(permuted, split, [x], recipe=RECIPE, seed=seed)[1]["r/z"]))
    assert abs(np.mean(means)) < 0.03  # a tenth of the standard deviation of one voxel's r


def test_perfect_predictions_have_r_and_r_squared_of_1_with_folds() -> None:
    trials, x, _ = simulated_trials(0, 40, 1.0)
    exact = replace(trials, betas=np.repeat(x.array[:, :1], 30, axis=1) + 5)
    _, voxels = encode(exact, Split.leave_out(x.stimulus_id, 40, 0), [x], recipe=RECIPE, seed=0)
    np.testing.assert_allclose(voxels["r/z"], 1, atol=0.01)
    np.testing.assert_allclose(voxels["r2/z"], 1, atol=0.01)


def test_with_folds_p_of_permuted_null_targets_is_uniform_too() -> None:
    from scipy.stats import kstest

    recipe = RECIPE.model_copy(update={"null": "permutation", "n_permutations": 500})
    p = []
    for seed in range(10):
        trials, x, _ = simulated_trials(seed, 60, 0.0)
        split = Split.leave_out(x.stimulus_id, 10, seed)
        p.append(encode(trials, split, [x], recipe=recipe, seed=seed)[1]["p/z"])
    assert kstest(np.concatenate(p), "uniform").statistic < 0.1


def test_reduced_features_say_what_the_reduction_lost() -> None:
    trials, z, _ = subject()
    errors = {}
    for reduce, n_components in (("pca", 4), ("pca", 8), ("projection", 8), ("projection", 4000)):
        recipe = RECIPE.model_copy(update={"reduce": reduce, "n_components": n_components})
        table, _ = encode(trials, FIXED, [z], recipe=recipe, seed=0)
        errors[reduce, n_components] = numbers(table, "reduction_error")["z", "z", "all"]
    assert 0.3 < errors["pca", 4] < 0.6
    assert errors["pca", 8] < 1e-6
    assert 0 < errors["projection", 4000] < errors["projection", 8] < 1.5
    assert not numbers(encode(trials, FIXED, [z], recipe=RECIPE, seed=0)[0], "reduction_error")


def test_features_are_taken_one_at_a_time_and_may_be_mapped_from_a_file(tmp_path: Path) -> None:
    trials, z, c = subject()
    np.save(tmp_path / "z.npy", z.array)
    mapped = Features("z", np.load(tmp_path / "z.npy", mmap_mode="r"), z.stimulus_id)
    _, streamed = encode(trials, FIXED, (feature for feature in (mapped, c)), recipe=RECIPE, seed=0)
    _, whole = encode(trials, FIXED, [z, c], recipe=RECIPE, seed=0)
    for name, values in whole.items():
        np.testing.assert_array_equal(streamed[name], values)


def test_unknown_ceilings_and_constant_voxels_are_nan_and_do_not_spoil_the_rest() -> None:
    trials, z, _ = subject()
    trials.betas[:, 0] = 1.0
    blind = Trials(trials.betas, trials.stimulus_id, rois=trials.rois)
    table, voxels = encode(blind, FIXED, [z], recipe=RECIPE, seed=0)
    assert np.isnan(voxels["ceiling_r"]).all()
    for name in ("r", "r2", "p", "q"):
        assert np.isnan(voxels[f"{name}/z"]).tolist() == [True] + [False] * 14
    assert np.isnan(numbers(table, "median_ceiling_r")["z", "z", "all"])
    assert all(np.isfinite(list(numbers(table, name).values())).all() for name in ("median_r", "mean_r2"))


def test_what_cannot_be_encoded_is_refused() -> None:
    trials, z, _ = subject()
    with pytest.raises(ShapeError, match="name of its own"):
        encode(trials, FIXED, [z, z], recipe=RECIPE, seed=0)
    with pytest.raises(ShapeError, match="at least three test images"):
        encode(trials, Split.fixed(range(50, 150), [150]), [z], recipe=RECIPE, seed=0)
    with pytest.raises(ShapeError, match="must come before"):
        encode(trials, FIXED, [layer("zc@progress=0.44", z, 0.1), z], recipe=RECIPE, seed=0)
    trials.betas[3, 2] = np.inf
    with pytest.raises(DataError, match="NaN or infinity"):
        encode(trials, FIXED, [z], recipe=RECIPE, seed=0)


# ------------------------------------------------------------------------------------ the simulated subject


@pytest.fixture(scope="module")
def simulated() -> tuple[Trials, Split, dict[str, Features], SimulatedSubject]:
    """Give a small simulated subject's trials, its z and c, and all that is true of it."""
    recipe = SimulateRecipe(n_sessions=2, trials_per_session=390, n_train=160, n_test=100, voxel_fraction=0.08, seed=4)
    _, shown, (brain,) = simulated_subjects(recipe)
    ids = np.concatenate(brain.stimulus_id)
    trials = Trials(
        subject=brain.name,
        betas=np.concatenate(brain.betas),
        stimulus_id=ids,
        session=np.repeat([0, 1], 390),
        rois={},
        n_repetitions=np.ones(len(ids), dtype=np.int64),
        ncsnr=brain.ncsnr,
    ).zscore_sessions()
    stimuli = Stimuli(lambda i: shown.images[i], lambda i: shown.captions[i], brain.seen)
    found = extract(stimuli, brain.seen, load_model("builtin"), recipe=ExtractRecipe())
    split = Split.fixed(np.setdiff1d(brain.seen, shown.shared), shown.shared)
    return trials, split, found, brain


def test_early_responses_follow_z_and_what_categories_make_of_responses_follows_c(simulated) -> None:
    _, split, found, brain = simulated  # noise-free responses: of so few images noise would hide the difference
    early = brain.responses.signal[:, brain.cortex.proportion[0] > 0.9]
    category = brain.responses.category[:, brain.responses.category_proportion() > 0.05]
    ids = brain.seen
    which = np.arange(early.shape[1] + category.shape[1]) < early.shape[1]
    true = Trials(np.hstack([early, category]), ids, rois={"early": which, "category": ~which})
    r = numbers(encode(true, split, found.values(), recipe=RECIPE, seed=0)[0], "mean_r")
    assert r["z", "z", "early"] > r["c", "c", "early"] + 0.02
    assert r["c", "c", "category"] > r["z", "z", "category"] + 0.2


def test_the_noise_free_response_reaches_the_ceiling(simulated) -> None:
    trials, split, _, brain = simulated
    voxels = np.flatnonzero(trials.ncsnr > 0.3)[:12]
    some = replace(trials, betas=trials.betas[:, voxels], rois={}, ncsnr=trials.ncsnr[voxels])
    known = Features("response", brain.responses.signal[:, voxels], brain.seen)
    table, _ = encode(some, split, [known], recipe=RECIPE, seed=0)
    assert numbers(table, "median_normalised_r")["response", "response", "all"] == pytest.approx(1, abs=0.1)


def test_the_ceiling_of_simulated_responses_is_that_of_their_ncsnr() -> None:
    rng = np.random.default_rng(6)
    ncsnr, n_repetitions = np.array([0.2, 0.5, 1.0]), np.repeat([1, 2, 3], [200, 300, 1500])
    signal = rng.standard_normal((2000, 3)) * ncsnr
    measured = signal + rng.standard_normal((2000, 3)) / np.sqrt(n_repetitions)[:, None]
    r = [np.corrcoef(signal[:, v], measured[:, v])[0, 1] for v in range(3)]
    np.testing.assert_allclose(r, np.sqrt(metrics.noise_ceiling(ncsnr, n_repetitions)), atol=0.03)
