import io

import numpy as np
import pandas as pd
import pytest

from reseen import metrics, statistics
from reseen.conditions import main_condition
from reseen.errors import ResultsError, ShapeError
from reseen.evaluate import COLUMNS, evaluate, evaluate_features, matrices, nearest_training
from reseen.evaluate import images as scoring
from reseen.evaluate.scores import Score, matrix_score, mean_score, pools, rows_of
from reseen.features import Features
from reseen.headline import choose, summary
from reseen.networks import Panel
from reseen.protocols import PROTOCOLS
from reseen.recipe import EvaluateRecipe
from reseen.scores import Scores
from reseen.tables import IMAGE_LEVELS, lower_is_better

RECIPE = EvaluateRecipe(n_derangements=60, n_bootstrap=80)
N_ITEMS = 14
SUBSETS = {"seen": frozenset(range(7)), "novel": frozenset(range(7, 14))}


class RandomNetwork:
    """Network of fixed random projections."""

    fingerprint = "none"
    layers = ("early", "middle", "late")

    def __init__(self, name, seed):
        self.name, self.seed, self.n_calls = name, seed, 0

    def activations(self, images):
        self.n_calls += 1
        flat = images.reshape(len(images), -1).astype(np.float32) / 255
        rng = np.random.default_rng(self.seed)
        return {layer: flat @ rng.normal(size=(flat.shape[1], 40)).astype(np.float32) for layer in self.layers}


def late_of(network, images):
    return network.activations(images)["late"]


def by(*networks, protocol="builtin"):
    return [Panel(PROTOCOLS[protocol], networks)]


def some_images(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 16, 16, 3), dtype=np.uint8)


def noisy(truth, spread, n_samples, seed=0):
    rng = np.random.default_rng(seed)
    stack = truth[:, None] + rng.normal(0, spread, (len(truth), n_samples, *truth.shape[1:]))
    return np.clip(stack, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def truth():
    return some_images(0, N_ITEMS)


@pytest.fixture(scope="module")
def images(truth):
    return {
        ("result", "z"): noisy(truth, 900, 2, seed=1),
        ("result", "zc"): noisy(truth, 350, 2, seed=2),
        ("permuted", "zc"): noisy(np.roll(truth, 3, axis=0), 350, 2, seed=3),
        ("oracle", "zc"): noisy(truth, 20, 2, seed=4),
        ("result", "nearest_c"): some_images(5, N_ITEMS, 1),
    }


@pytest.fixture(scope="module")
def scores(truth, images):
    networks = by(RandomNetwork("classifier", 1), RandomNetwork("image_encoder", 2))
    return evaluate("subj01", truth, np.arange(N_ITEMS), images, networks, SUBSETS, RECIPE, seed=0)


def the_row(scores, **words):
    found = scores
    for column, word in {"subset": "all", "level": "result", **words}.items():
        found = found[found[column] == word]
    assert len(found) == 1
    return found.iloc[0]


def late(condition="zc", **words):
    where = {"metric": "identification", "network": "classifier", "layer": "late", "direction": "original"}
    return {"condition": condition, **where, **words}


def test_the_table_has_the_columns_of_scores_csv_and_one_row_for_each_number(scores):
    assert tuple(scores.columns) == COLUMNS
    assert not scores.duplicated(subset=list(COLUMNS[:9])).any()
    assert set(scores["level"]) == {"mismatched", "permuted", "result", "oracle"}
    assert set(scores["subset"]) == {"all", "seen", "novel"}
    assert set(scores["direction"]) == {"", "original", "reconstruction"}
    assert {"identification", "pixcorr", "ssim", "identification_gap_closed", "ssim_p"} <= set(scores["metric"])


def test_a_correlation_is_averaged_over_draws_before_items_are_compared(scores, truth, images):
    network = RandomNetwork("classifier", 1)
    stack = images["result", "z"]
    r = sum(metrics.correlation_matrix(late_of(network, truth), late_of(network, stack[:, k])) for k in range(2)) / 2
    for direction in ("original", "reconstruction"):
        expected = metrics.identification_from_correlations(r, direction=direction).mean()
        assert the_row(scores, **late("z", direction=direction))["value"] == pytest.approx(expected)


def test_shuffles_are_scored_one_by_one_and_their_scores_averaged(scores, truth, images):
    network = RandomNetwork("classifier", 1)
    stack = images["permuted", "zc"]
    each = [metrics.identification(late_of(network, truth), late_of(network, stack[:, k])).mean() for k in range(2)]
    assert each[0] != each[1]
    assert the_row(scores, **late(level="permuted"))["value"] == pytest.approx(np.mean(each))


def test_pixel_scores_are_means_over_items_and_draws(scores, truth, images):
    for metric, function in (("pixcorr", metrics.pixcorr), ("ssim", metrics.ssim)):
        expected = np.mean([function(truth, images["result", "zc"][:, k]) for k in range(2)])
        row = the_row(scores, condition="zc", metric=metric, network="", direction="")
        assert row["value"] == pytest.approx(expected)
        assert row["low"] < row["value"] < row["high"]


def test_a_subset_is_scored_within_its_own_pool(scores, truth, images):
    novel = {key: stack[7:] for key, stack in images.items()}
    alone = evaluate(
        "subj01",
        truth[7:],
        np.arange(7, 14),
        novel,
        by(RandomNetwork("classifier", 1)),
        {"novel": SUBSETS["novel"]},
        RECIPE,
        0,
    )
    together = scores[(scores["subset"] == "novel") & (scores["network"] != "image_encoder")]
    inside = alone[alone["subset"] == "novel"]
    pd.testing.assert_frame_equal(together.reset_index(drop=True), inside.reset_index(drop=True))
    assert the_row(scores, **late(), subset="novel")["n"] == 7


def test_floor_result_and_ceiling_stand_in_this_order(scores):
    floor, result, ceiling = (the_row(scores, **late(), level=k) for k in ("mismatched", "result", "oracle"))
    assert floor["value"] == pytest.approx(0.5, abs=0.05)
    assert floor["low"] < floor["value"] < floor["high"]
    assert floor["value"] < result["value"] <= ceiling["value"] == 1
    share = the_row(scores, **late(metric="identification_gap_closed"))
    assert share["value"] == pytest.approx((result["value"] - floor["value"]) / (1 - floor["value"]))
    assert the_row(scores, **late(metric="identification_p"))["value"] == pytest.approx(1 / 61)
    sd = the_row(scores, **late(metric="identification_null_sd"))["value"]
    assert sd == pytest.approx(statistics.null_sd(N_ITEMS), rel=0.35)


def test_the_floor_of_ssim_is_what_wrong_truths_give(scores, truth, images):
    wrong = statistics.derangements(np.arange(N_ITEMS), 60, seed=0)[:10]
    stack = images["result", "zc"][:, 0]
    expected = np.mean([metrics.ssim(truth[rows], stack) for rows in wrong])
    row = the_row(scores, condition="zc", metric="ssim", level="mismatched")
    assert row["value"] == pytest.approx(expected, abs=0.005)  # a random draw of the ten


def test_images_that_have_nothing_to_do_with_the_truth_are_at_chance(scores):
    row = the_row(scores, **late("nearest_c"))
    assert abs(row["value"] - 0.5) < 4 * statistics.null_sd(N_ITEMS)
    assert row["low"] < 0.5 < row["high"]


@pytest.mark.parametrize("direction", ["original", "reconstruction"])
def test_the_same_image_for_every_brain_scores_exactly_one_half(truth, direction):
    same = np.broadcast_to(some_images(8), (N_ITEMS, 2, 16, 16, 3))
    table = evaluate(
        "s",
        truth,
        np.arange(N_ITEMS),
        {("result", "zc"): same},
        by(RandomNetwork("classifier", 1)),
        {},
        RECIPE,
        0,
    )
    assert the_row(table, **late(direction=direction))["value"] == 0.5


def test_trials_of_one_stimulus_do_not_compete(truth):
    ids = np.repeat(np.arange(N_ITEMS), 2)
    shown = truth[ids]
    table = evaluate(
        "s",
        shown,
        ids,
        {("result", "z"): shown[:, None]},
        by(RandomNetwork("classifier", 1)),
        SUBSETS,
        RECIPE,
        0,
    )
    row = the_row(table, **late("z"))
    assert (row["value"], row["low"], row["high"], row["n"]) == (1, 1, 1, 2 * N_ITEMS)
    assert the_row(table, **late("z"), level="mismatched")["value"] == pytest.approx(0.5, abs=0.05)


def test_the_same_seed_gives_the_same_table_whatever_the_order_of_images(truth, images):
    def table(keys):
        ordered = {key: images[key] for key in keys}
        found = evaluate(
            "s", truth, np.arange(N_ITEMS), ordered, by(RandomNetwork("classifier", 1)), SUBSETS, RECIPE, 3
        )
        return found.sort_values(list(COLUMNS[:9])).reset_index(drop=True)

    few = list(images)[:2]
    pd.testing.assert_frame_equal(table(few), table(few[::-1]))


def test_images_of_another_size_are_resized_to_the_generated_ones(truth):
    large = truth.repeat(3, axis=1).repeat(3, axis=2)
    stacks = {("result", "nearest_z"): large[:, None], ("result", "zc"): truth[:, None]}
    network = RandomNetwork("classifier", 1)
    calls = []
    table = evaluate(
        "s", large, np.arange(N_ITEMS), stacks, by(network), {}, RECIPE, 0, lambda *about: calls.append(about)
    )
    assert the_row(table, **late("nearest_z"))["value"] == 1
    assert the_row(table, condition="nearest_z", metric="pixcorr")["value"] == pytest.approx(1)
    assert the_row(table, **late())["value"] == 1
    assert calls == [("evaluate", 1, 2), ("evaluate", 2, 2)]
    assert network.n_calls == 3  # truth once, each stack once


def test_a_subset_too_small_for_distractors_is_left_out(truth):
    table = evaluate(
        "s", truth, np.arange(N_ITEMS), {("result", "z"): truth[:, None]}, by(), {"few": frozenset({1, 2})}, RECIPE, 0
    )
    assert set(table["subset"]) == {"all"}


@pytest.mark.parametrize(
    ("change", "expected", "found"),
    [
        ({"images": {}}, None, None),
        ({"images": {("best", "z"): some_images(0, N_ITEMS, 1)}}, IMAGE_LEVELS, "best"),
        (
            {"images": {("result", "z"): some_images(0, 3, 1)}},
            ("uint8", 14, "n_samples", "H", "W", 3),
            ("uint8", 3, 1, 16, 16, 3),
        ),
        (
            {"images": {("result", "z"): some_images(0, N_ITEMS, 1) / 255}},
            ("uint8", 14, "n_samples", "H", "W", 3),
            ("float64", 14, 1, 16, 16, 3),
        ),
        ({"true_images": some_images(0, 3)}, (14, "H", "W", 3), (3, 16, 16, 3)),
        ({"stimulus_id": np.zeros(N_ITEMS, dtype=np.int64)}, 3, 1),
    ],
)
def test_arguments_that_do_not_belong_together_are_refused(truth, change, expected, found):
    given = {
        "subject": "s",
        "true_images": truth,
        "stimulus_id": np.arange(N_ITEMS),
        "images": {("result", "z"): truth[:, None]},
        "panels": by(),
        "subsets": {},
        "recipe": RECIPE,
        "seed": 0,
    }
    with pytest.raises(ShapeError) as refused:
        evaluate(**{**given, **change})
    assert (refused.value.where, refused.value.expected, refused.value.found) == (*change, expected, found)


def decoded_features(spread, seed=0):
    rng = np.random.default_rng(seed)
    mean = rng.normal(0, 3, 30)
    truth = (mean + rng.normal(size=(N_ITEMS, 30))).astype(np.float32)
    return (truth + spread * rng.normal(size=truth.shape)).astype(np.float32), truth, mean.astype(np.float32)


def test_decoded_features_are_scored_by_target_by_image_and_two_way():
    decoded, truth, mean = decoded_features(1.0)
    moved = np.roll(decoded, 1, axis=0)
    permutations = [moved, 2 * mean - moved]  # one leans to the other side of the mean as far as the other
    where = {"stimulus_id": np.arange(N_ITEMS), "subsets": SUBSETS}
    table = evaluate_features("s", "z", decoded, truth, mean, **where, recipe=RECIPE, seed=0, permuted=permutations)
    by_target = np.mean([np.corrcoef(decoded[:, k], truth[:, k])[0, 1] for k in range(30)])
    by_image = np.mean([np.corrcoef(decoded[i] - mean, truth[i] - mean)[0, 1] for i in range(N_ITEMS)])
    two_way = metrics.identification(truth - mean, decoded - mean, direction="reconstruction").mean()
    assert tuple(table.columns) == COLUMNS
    assert set(table["network"]) == {"features"}
    for metric, direction, expected in (
        ("target_r", "", by_target),
        ("image_r", "", by_image),
        ("identification", "reconstruction", two_way),
    ):
        row = the_row(table, metric=metric, direction=direction)
        assert row["value"] == pytest.approx(expected, abs=1e-6)
        assert row["low"] <= row["value"] <= row["high"]
        floor = the_row(table, metric=metric, direction=direction, level="mismatched")
        assert floor["value"] == pytest.approx(0.5 if metric == "identification" else 0, abs=0.1)
        chance = 0.5 if metric == "identification" else 0
        assert the_row(table, metric=metric, direction=direction, level="permuted")["value"] == pytest.approx(
            chance, abs=1e-6
        )


def test_decoding_the_training_mean_for_everyone_scores_nothing():
    _, truth, mean = decoded_features(1.0)
    decoded = np.tile(mean, (N_ITEMS, 1))
    table = evaluate_features(
        "s", "c", decoded, truth, mean, stimulus_id=np.arange(N_ITEMS), subsets={}, recipe=RECIPE, seed=0
    )
    assert the_row(table, metric="identification", direction="original")["value"] == 0.5
    assert the_row(table, metric="image_r")["value"] == 0
    assert the_row(table, metric="target_r")["value"] == 0


@pytest.mark.parametrize("spread", [0.5, 1.0])
def test_the_interval_of_the_correlation_of_many_targets_holds_its_value_with_eight_stimuli(spread):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(8, 2000))
    decoded = truth + spread * rng.normal(size=truth.shape)
    table = evaluate_features(
        "s", "c", decoded, truth, np.zeros(2000), stimulus_id=np.arange(8), subsets={}, recipe=RECIPE, seed=0
    )
    row = the_row(table, metric="target_r")
    assert row["low"] < row["value"] < row["high"]
    replicates = metrics.bootstrap_target_r(truth, decoded, statistics.bootstrap_weights(np.arange(8), 200, seed=0))
    assert statistics.interval(replicates)[1] < row["value"]  # all resamplings repeat stimuli, which lowers r


def test_features_that_do_not_belong_together_are_refused():
    decoded, truth, mean = decoded_features(1.0)
    given = {"decoded": decoded, "true": truth, "training_mean": mean, "stimulus_id": np.arange(14)}
    for where, wrong, expected in (
        ("decoded", decoded[:13], (14, 30)),
        ("training_mean", mean[:29], (30,)),
        ("stimulus_id", np.arange(13), (14,)),
    ):
        with pytest.raises(ShapeError, match="z: ") as refused:
            evaluate_features("s", "z", **given | {where: wrong}, subsets={}, recipe=RECIPE, seed=0)
        assert (refused.value.where, refused.value.expected, refused.value.found) == (where, expected, wrong.shape)


def test_the_nearest_training_image_is_found_by_correlation_without_the_training_mean():
    rng = np.random.default_rng(0)
    training = Features("z", rng.normal(5, 1, (600, 4, 3)).astype(np.float32), np.arange(600)[::-1] + 1000)
    wanted = np.array([3, 599, 256, 3])
    mean = training.array.mean(axis=0)
    shrunken = mean + 0.1 * (training.array[wanted] - mean)
    found = nearest_training(Features("z", shrunken, np.arange(4)), training)
    assert np.array_equal(found, training.stimulus_id[wanted])
    expected = np.corrcoef((shrunken - mean).reshape(4, -1), (training.array - mean).reshape(600, -1))[:4, 4:]
    assert np.array_equal(expected.argmax(axis=1), wanted)


def test_the_summary_has_each_headline_with_its_chance_levels_and_oracle(scores):
    features = evaluate_features(
        "subj01", "z", *decoded_features(1.0), stimulus_id=np.arange(N_ITEMS), subsets={}, recipe=RECIPE, seed=0
    )
    whole = pd.concat([scores, features], ignore_index=True)
    table = summary(whole, choose(whole, "scenes"))
    assert list(dict.fromkeys(table["score"])) == [
        "classifier late",
        "classifier early",
        "pixcorr",
        "ssim",
        "features",
    ]
    row = table[(table["score"] == "classifier late") & (table["subset"] == "all") & (table["condition"] == "zc")].iloc[
        0
    ]
    assert row["result"] == the_row(scores, **late())["value"]
    assert row["upper_bound"] == 1
    assert row["chance_permuted"] == the_row(scores, **late(), level="permuted")["value"]
    assert (row["result"] - row["chance_mismatched"]) / row["chance_sd"] > 3
    assert set(table[table["score"] == "classifier late"]["subset"]) == {"all", "seen", "novel"}
    assert set(table[table["score"] != "classifier late"]["subset"]) == {"all"}
    again = pd.read_csv(io.StringIO(whole.to_csv(index=False)))
    pd.testing.assert_frame_equal(summary(again, choose(again, "scenes")), table)


def test_a_training_mean_for_each_item_is_taken_away_item_by_item():
    decoded, truth, mean = decoded_features(1.0)
    where = {"stimulus_id": np.arange(N_ITEMS), "subsets": {}, "recipe": RECIPE, "seed": 0}
    of_item = mean + np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    found = evaluate_features("s", "z", decoded, truth, of_item, **where)
    expected = evaluate_features("s", "z", decoded - of_item, truth - of_item, np.zeros_like(mean), **where)
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    ("conditions", "main"),
    [
        *((["z", "c", "zc"], "zc"), (["z", "c"], "c"), (["c", "z"], "c"), (["z"], "z"), (["given"], "given"), ([], "")),
        *((["zci", "zc"], "zci"), (["t", "nearest_t"], "t")),
        *((["pixels", "z"], "z"), (["pixels", "zc"], "zc"), (["pixels"], "pixels")),
    ],
)
def test_the_headline_is_about_zc_or_else_c(conditions, main):
    assert main_condition(conditions) == main


def test_of_a_distance_less_is_better_for_p_and_for_the_way_to_the_ceiling():
    far = np.linspace(0.7, 0.9, 19)
    where = {"subject": "s", "condition": "zc", "protocol": "mindeye2", "metric": "distance", "network": "swav"}
    scores = {
        "result": Score(0.6, np.full(5, 0.6), far, permuted=far),
        "oracle": Score(0.4, np.full(5, 0.4), np.empty(0), permuted=np.empty(0)),
    }
    pool = pools(np.arange(20), {}, EvaluateRecipe(n_derangements=5, n_bootstrap=5), 0)[0]
    table = {row["metric"] + " " + row["level"]: row["value"] for row in rows_of(where, scores, pool)}
    assert table["distance mismatched"] == pytest.approx(0.8)
    assert table["distance_p result"] == pytest.approx(1 / 20)
    assert table["distance_gap_closed result"] == pytest.approx(0.5)
    assert lower_is_better("distance")
    assert not lower_is_better("identification")


def test_p_is_of_permutations_and_the_spread_of_wrong_pairings(truth, images):
    network = RandomNetwork("classifier", 1)
    stack = images["result", "nearest_c"]
    stacks = {("result", "zc"): stack}
    table = evaluate("s", truth, np.arange(N_ITEMS), stacks, by(RandomNetwork("classifier", 1)), {}, RECIPE, 5)
    r = metrics.correlation_matrix(late_of(network, truth), late_of(network, stack[:, 0]))
    score = metrics.identification_from_correlations(r).mean()
    orders = statistics.permutations(np.arange(N_ITEMS), 60, seed=5)
    reached = [metrics.identification_from_correlations(r[order]).mean() >= score - 1e-12 for order in orders]
    assert the_row(table, **late(metric="identification_p"))["value"] == pytest.approx((1 + sum(reached)) / 61)


class Corners:
    """Network whose activations are every fifth pixel."""

    name, fingerprint, layers = "classifier", "none", ("late",)

    def activations(self, images):
        return {"late": images[:, ::5, ::5].reshape(len(images), -1).astype(np.float32)}


def test_on_200_null_data_sets_the_p_that_is_written_is_uniform(monkeypatch):
    """The images have nothing to do with what was shown; trials of a stimulus are alike, and so are many stimuli."""
    from scipy.stats import kstest

    monkeypatch.setattr(metrics, "ssim", lambda true, _made, **_how: np.zeros(len(true)))  # slow, and not asked about
    few, ids = EvaluateRecipe(n_derangements=49, n_bootstrap=2), np.repeat(np.arange(12), 2)
    rng = np.random.default_rng(0)
    tables = []
    for seed in range(200):
        shown, made = rng.integers(0, 256, (2, 12, 11, 11, 3), dtype=np.uint8)
        made[:6] = made[0] // 2 + made[:6] // 2
        trials = made[ids] // 2 + rng.integers(0, 64, (24, 11, 11, 3), dtype=np.uint8)
        stacks = {("result", "zc"): trials[:, None]}
        tables.append(evaluate("s", shown[ids], ids, stacks, by(Corners()), {}, few, seed))
    found = pd.concat(tables)
    found = found[found["network"] != "pixels"]
    written = found[found["metric"].isin(["pixcorr_p", "identification_p"])].groupby(["metric", "direction"])["value"]
    assert written.size().tolist() == [200, 200, 200]
    for _, p in written:
        assert kstest(p - 0.5 / 50, "uniform").pvalue > 0.05  # the middle of its step
        assert np.mean(p <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize("first", ["takagi2023", "mindeye2"])
def test_a_table_without_reseens_own_protocol_is_summed_up_by_the_first_there_is(truth, images, first):
    few, stacks = EvaluateRecipe(n_derangements=3, n_bootstrap=9), {("result", "zc"): images["result", "zc"][:4]}
    panels = [by(RandomNetwork("alexnet", 1), protocol=name)[0] for name in ("takagi2023", "mindeye2")]
    panels = panels if first == "takagi2023" else panels[::-1]
    both = evaluate("s", truth[:4], np.arange(4), stacks, panels, {}, few, 0)
    alone = both[both["protocol"] == first]
    pd.testing.assert_frame_equal(summary(both, choose(both)), summary(alone, choose(both)))
    assert choose(both).comparison == "alexnet, layer late"
    listed = Scores(both).wide().reset_index()
    assert list(dict.fromkeys(listed["protocol"])) == [panel.protocol.name for panel in panels]
    assert set(listed[listed["protocol"] == "mindeye2"]["metric"]) == {"pixcorr", "ssim", "identification"}
    assert listed[["chance_mismatched", "result", "low", "high", "p", "n"]].notna().all(axis=None)
    features = evaluate_features(
        "s", "z", *decoded_features(1.0), stimulus_id=np.arange(N_ITEMS), subsets={}, recipe=few, seed=0
    )
    assert set(summary(pd.concat([features, both]), choose(both))["score"]) >= {"alexnet late", "features"}


def test_the_gap_closed_is_undefined_where_the_ceiling_lies_near_the_floor():
    pool = pools(np.arange(8), {}, EvaluateRecipe(n_derangements=50, n_bootstrap=20), 0)[0]
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((8, 30))
    right, noise = (metrics.correlation_matrix(truth, made) for made in (truth, rng.standard_normal((8, 30))))
    fixed = {"metric": "identification", "direction": "original"}

    def gap(ceiling):
        scores = {"result": matrix_score(right, pool, "original"), "oracle": matrix_score(ceiling, pool, "original")}
        return next(row for row in rows_of(fixed, scores, pool) if row["metric"].endswith("_gap_closed"))

    assert gap(right)["value"] == 1.0
    for near in (noise, -right):
        assert np.isnan([gap(near)[name] for name in ("value", "low", "high")]).all()


def test_the_interval_of_the_permuted_level_is_that_of_its_permutations():
    pool = pools(np.arange(8), {}, EvaluateRecipe(n_derangements=5, n_bootstrap=20), 0)[0]
    rng = np.random.default_rng(0)
    parts = [matrix_score(rng.standard_normal((8, 8)), pool, "original") for _ in range(3)]
    row = rows_of({"metric": "identification"}, {"permuted": mean_score(parts)}, pool)[0]
    values = np.array([part.value for part in parts])
    half = 4.302653 * values.std(ddof=1) / np.sqrt(3)
    assert row["value"] == pytest.approx(values.mean())
    assert (row["low"], row["high"]) == pytest.approx((max(0, values.mean() - half), min(1, values.mean() + half)))
    alone = rows_of({"metric": "identification"}, {"permuted": mean_score(parts[:1])}, pool)[0]
    assert np.isnan([alone["low"], alone["high"]]).all()


@pytest.mark.parametrize("direction", ["original", "reconstruction", ""])
def test_many_items_score_what_their_whole_matrix_scores(monkeypatch, direction):
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((40, 7)).astype(np.float32)
    drawn = [(truth + rng.standard_normal(truth.shape)).astype(np.float32) for _ in range(2)]
    ids = np.repeat(np.arange(20), 2)
    recipe = EvaluateRecipe(n_derangements=60, n_bootstrap=20)
    pool = pools(ids, {}, recipe, 0)[0]
    whole = np.mean([metrics.correlation_matrix(truth, made) for made in drawn], axis=0)

    def rows_of_file(array):
        rows = matrices.Rows(len(array))
        for start in range(0, len(array), 9):
            rows.append(array[start : start + 9])
        return rows

    monkeypatch.setattr(matrices, "DENSE", 3)
    monkeypatch.setattr(matrices, "_IN_MEMORY", 0)
    monkeypatch.setattr(matrices, "_STRIPE", 8 * 40 * 6)
    monkeypatch.setattr(matrices, "_SIDE", 11)
    computed = []
    correlate = metrics.correlation_matrix
    monkeypatch.setattr(
        matrices, "correlation_matrix", lambda a, b: computed.append(len(a) * len(b)) or correlate(a, b)
    )
    blocks = matrices.Correlations(rows_of_file(truth), 40, 2)
    for made in drawn:
        blocks.add(rows_of_file(made))
    matrix_score(blocks, pool, direction)
    assert sum(computed) == 2 * 40 * 40  # once for each sample, whatever is asked for
    one, two = (matrix_score(matrix, pool, direction) for matrix in (whole, blocks))
    for name in ("value", "replicates", "wrong", "each", "permuted"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), atol=1e-12)
    assert sum(computed) == 2 * 40 * 40
    blocks.release()
    assert matrix_score(blocks, pool, direction).value == two.value
    assert sum(computed) == 4 * 40 * 40
    if direction:
        paired = metrics.pairing_accuracy(whole, direction=direction, labels=ids)
        np.testing.assert_allclose(one.wrong, statistics.repaired_scores(paired, pool.wrong_rows), atol=1e-12)
        exchanged = metrics.pairing_accuracy(whole, direction=direction, labels=ids, exchanged=True)
        np.testing.assert_allclose(one.permuted, statistics.repaired_scores(exchanged, pool.permuted_rows), atol=1e-12)
        replicates = metrics.bootstrap_identification(whole, pool.weights, direction=direction, labels=ids)
        np.testing.assert_allclose(one.replicates, replicates, atol=1e-12)


def test_many_images_need_room_in_the_temporary_folder_before_anything_is_computed(truth, monkeypatch):
    # 14 images of 16 x 16 x 3 bytes, and features of them; one matrix of 14 x 14 numbers of 8 bytes
    networks = [RandomNetwork("classifier", 1)]
    monkeypatch.setattr(scoring, "DENSE", 5)
    monkeypatch.setattr(matrices, "DENSE", 5)
    arguments = (np.arange(N_ITEMS), {("result", "z"): truth[:, None]}, by(*networks), {}, RECIPE, 0)
    each = scoring.view_images(truth[:1], arguments[2][0], truth.shape[1:3]).image_bytes
    needed = 2 * each * N_ITEMS + 8 * N_ITEMS**2
    networks[0].n_calls = 0

    def have(free: int) -> None:
        monkeypatch.setattr(matrices.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))

    have(needed - 1)
    with pytest.raises(ResultsError, match=r"enough for 13 images\. ") as refused:
        evaluate("s", truth, *arguments)
    assert (refused.value.expected, refused.value.found) == (needed, needed - 1)
    assert networks[0].n_calls == 1  # with one image, for the size of its features
    have(needed)
    evaluate("s", truth, *arguments)
