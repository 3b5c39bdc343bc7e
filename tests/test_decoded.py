"""Diagnostics: planted decoders, and what the numbers and the checks show of them."""

import io

import numpy as np
import pandas as pd
import pytest

from reseen import metrics
from reseen.evaluate import (
    DIAGNOSTIC_COLUMNS,
    diagnose_coverage,
    diagnose_features,
    diagnose_images,
    diagnose_repetitions,
    run_checks,
)
from reseen.features import Features
from reseen.recipe import EvaluateRecipe
from reseen.tables import THIRDS

RECIPE = EvaluateRecipe(n_derangements=60, n_bootstrap=80)
N_TEST, N_TRAIN, N_TARGETS = 60, 80, 40
TEST = np.arange(N_TEST)
FOLDS = ((np.arange(N_TEST, N_TEST + N_TRAIN), TEST),)


def some(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def read(decoded, true, *, folds=FOLDS, stimulus_id=TEST, categories=None):
    items = Features("c", decoded.astype(np.float32), np.asarray(stimulus_id))
    whole = Features("c", true.astype(np.float32), np.arange(len(true)))
    return diagnose_features("s", items, whole, folds, categories=categories or {}, recipe=RECIPE, seed=0)


def value(table, diagnostic, setting, column="value"):
    rows = table[(table["diagnostic"] == diagnostic) & (table["setting"] == setting)]
    assert len(rows) == 1, (diagnostic, setting)
    return rows.iloc[0][column]


def checked(table, check, setting=""):
    rows = run_checks(None, table)
    rows = rows[(rows["check"] == check) & (rows["setting"] == setting)]
    assert len(rows) == 1, (check, setting)
    return rows.iloc[0]


@pytest.fixture(scope="module")
def true():
    return 3 + some(0, N_TEST + N_TRAIN, N_TARGETS)


@pytest.fixture(scope="module")
def noisy(true):
    return true[:N_TEST] + 2.5 * some(1, N_TEST, N_TARGETS)


def test_the_table_is_tidy_and_reads_the_same_from_a_csv_file(true, noisy):
    table = read(noisy, true, categories={"sort": {i: "ab"[i % 2] for i in TEST.tolist()}})
    assert tuple(table.columns) == DIAGNOSTIC_COLUMNS
    assert not table.duplicated(subset=["subject", "feature", "diagnostic", "setting"]).any()
    assert list(dict.fromkeys(table["diagnostic"])) == [
        *("n_way", "pairs", "zero_shot", "novelty", "variance", "dimensions", "bottleneck")
    ]
    again = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    pd.testing.assert_frame_equal(run_checks(None, again), run_checks(None, table))
    assert len(run_checks(None, table))


def test_two_of_many_and_the_widest_bottleneck_are_two_way_identification(true, noisy):
    table = read(noisy, true)
    mean = true[N_TEST:].mean(axis=0)
    expected = metrics.identification(true[:N_TEST] - mean, noisy - mean).mean()
    assert value(table, "n_way", "2") == pytest.approx(expected, abs=1e-6)
    assert value(table, "bottleneck", "all") == pytest.approx(expected, abs=1e-6)
    assert value(table, "n_way", "2", "low") < expected < value(table, "n_way", "2", "high")
    assert value(table, "n_way", "2", "chance") == pytest.approx(0.5, abs=0.02)
    assert value(table, "n_way", "10", "chance") == pytest.approx(0.1, abs=0.02)
    assert value(table, "n_way", "2", "p") == pytest.approx(1 / 61)


def test_the_truth_scores_one_everywhere(true):
    table = read(true[:N_TEST], true, categories={"sort": {i: "ab"[i % 2] for i in TEST.tolist()}})
    for diagnostic, settings in {
        "n_way": ("2", "10", "50", "all"),
        "pairs": ("nearest 10", "within sort", "between sort"),
        "zero_shot": ("2", "top 1", "top 10", "top 50"),
        "variance": ("best", "decoded"),
        "bottleneck": ("all",),
    }.items():
        for setting in settings:
            assert value(table, diagnostic, setting) == pytest.approx(1, abs=1e-6), (diagnostic, setting)
    assert value(table, "dimensions", "decoded") == value(table, "dimensions", "true")
    assert np.isnan(value(table, "novelty", "accuracy"))  # it does not vary


def test_the_training_mean_for_everyone_is_a_guess_at_everything(true):
    sorts = {"sort": {i: "ab"[i % 2] for i in range(N_TEST)}}
    table = read(np.tile(true[N_TEST:].mean(axis=0), (N_TEST, 1)), true, categories=sorts)
    for setting, n in (("2", 2), ("10", 10), ("50", 50), ("all", N_TEST)):
        assert value(table, "n_way", setting) == pytest.approx(1 / n)
    for setting in ("nearest 10", "within sort", "between sort", "sort alone"):
        assert value(table, "pairs", setting) == 0.5
    for setting in ("1", "4", "all"):
        assert value(table, "bottleneck", setting) == 0.5
    assert value(table, "variance", "decoded") == pytest.approx(0, abs=1e-6)


def test_among_training_images_a_prediction_without_variance_ties_with_all():
    true = np.round(64 * some(0, N_TEST + N_TRAIN, N_TARGETS)) / 64
    true[N_TEST + N_TRAIN // 2 :] = -true[N_TEST : N_TEST + N_TRAIN // 2]  # so that their mean is exactly 0
    table = read(np.ones((N_TEST, N_TARGETS)), true)
    assert value(table, "zero_shot", "2") == pytest.approx(0.5)
    assert value(table, "zero_shot", "top 1") == pytest.approx(1 / (N_TRAIN + 1))
    assert np.isnan(value(table, "dimensions", "decoded"))


def categories_only():
    """Ten categories; images differ within them, and the decoder knows the category and its own noise."""
    names = np.arange(N_TEST + N_TRAIN) % 10
    centres = 3 * some(1, 10, N_TARGETS)
    true = centres[names] + some(2, len(names), N_TARGETS)
    decoded = centres[names[:N_TEST]] + 0.3 * some(3, N_TEST, N_TARGETS)
    return decoded, true, {"scene": {i: f"scene {k}" for i, k in enumerate(names.tolist())}}


def test_a_decoder_of_categories_scores_high_and_is_caught():
    decoded, true, sorts = categories_only()
    table = read(decoded, true, categories=sorts)
    assert value(table, "n_way", "2") > 0.93
    assert value(table, "pairs", "between scene") == pytest.approx(1, abs=0.01)
    within = value(table, "pairs", "within scene")
    assert within == pytest.approx(0.5, abs=0.1)
    assert value(table, "pairs", "within scene", "p") > 0.02
    assert value(table, "pairs", "within scene", "chance") == pytest.approx(0.5, abs=0.03)
    assert value(table, "pairs", "scene alone") == pytest.approx(value(table, "n_way", "2"), abs=0.01)
    assert value(table, "pairs", "scene alone") == pytest.approx(0.1 * 0.5 + 0.9, abs=0.015)
    assert value(table, "pairs", "nearest 10") < value(table, "n_way", "2")
    assert (
        checked(table, "identification")["status"] == checked(table, "between categories", "scene")["status"] == "pass"
    )
    assert checked(table, "within category", "scene")["status"] == "fail"


def test_of_few_images_that_are_told_apart_it_is_seldom_said_that_the_category_alone_is_held():
    """Twenty images of ten categories; within one, about .7 of the pairs are identified in truth."""
    accused = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        names = np.arange(20) % 10
        centres, own = 3 * rng.normal(size=(10, 40)), rng.normal(size=(20, 40))
        decoded = centres[names] + 0.08 * own + 0.6 * rng.normal(size=(20, 40))
        whole = np.concatenate([centres[names] + own, rng.normal(size=(30, 40))])
        sorts = {"scene": {i: f"scene {k}" for i, k in enumerate(names.tolist())}}
        folds = ((np.arange(20, 50), np.arange(20)),)
        table = read(decoded, whole, folds=folds, stimulus_id=np.arange(20), categories=sorts)
        accused.append(checked(table, "within category", "scene")["status"] == "fail")
    assert np.mean(accused) < 0.2


def test_a_decoder_of_images_is_not_taken_for_one_of_categories():
    _, true, sorts = categories_only()
    table = read(true[:N_TEST] + 0.3 * some(3, N_TEST, N_TARGETS), true, categories=sorts)
    assert value(table, "pairs", "within scene") > 0.95
    assert value(table, "pairs", "within scene", "p") == pytest.approx(1 / 61)
    assert checked(table, "within category", "scene")["status"] == "pass"
    assert checked(table, "similar images", "10")["status"] == "pass"


def test_test_images_that_duplicate_training_images_are_exposed(true):
    """Half of the test images were trained on; the decoder finds those again and knows nothing of the others."""
    copied = true.copy()
    copied[:30] = copied[N_TEST : N_TEST + 30] + 1e-3 * some(4, 30, N_TARGETS)
    decoded = some(5, N_TEST, N_TARGETS) + 3
    decoded[:30] = copied[:30] + 0.5 * some(6, 30, N_TARGETS)
    table = read(decoded, copied)
    assert value(table, "novelty", "near duplicates") == 0.5
    assert value(table, "novelty", "accuracy") > 0.5
    assert value(table, "novelty", "accuracy", "p") == pytest.approx(1 / 61)
    assert value(table, "n_way", "2") > 0.65
    assert value(table, "zero_shot", "top 1") < 0.35  # the truth and its duplicate share the first place
    duplicates = checked(table, "near duplicates")
    assert duplicates["status"] == "fail"
    assert "that nearly duplicate a training image is 50.0 % [" in duplicates["sentence"]
    assert checked(table, "training similarity")["status"] == "warn"
    assert value(read(decoded, true), "novelty", "near duplicates") == 0


def test_a_decoder_of_one_dimension_has_one(true):
    direction = some(7, N_TARGETS)
    decoded = true[:N_TEST].mean(axis=0) + np.outer(true[:N_TEST] @ direction, direction) / (direction @ direction)
    table = read(decoded, true)
    assert value(table, "dimensions", "decoded") == pytest.approx(1, abs=1e-3)
    assert value(table, "dimensions", "true") > 15
    assert value(table, "bottleneck", "1") == pytest.approx(value(table, "bottleneck", "all"), abs=1e-3)


def test_training_targets_that_collapse_bound_what_can_be_decoded():
    base = some(0, 4, N_TARGETS)
    true = np.concatenate([some(1, N_TEST, N_TARGETS), some(2, N_TRAIN, 4) @ base])
    table = read(true[:N_TEST], true)
    items = true[:N_TEST] - true[N_TEST:].mean(axis=0)
    inside = items @ np.linalg.qr(base.T)[0]
    assert value(table, "variance", "best") == pytest.approx((inside**2).sum() / (items**2).sum(), rel=1e-4)
    assert value(table, "variance", "decoded") == pytest.approx(1)  # no ridge decoder could do that


def test_items_that_are_single_trials_never_meet_their_own_stimulus(true):
    ids = np.repeat(np.arange(N_TEST // 2), 2)
    table = read(true[ids], true, stimulus_id=ids)
    assert value(table, "n_way", "all") == 1
    assert value(table, "n_way", "2", "n") == N_TEST


def test_each_fold_is_held_against_its_own_training_stimuli(true):
    ids = np.arange(len(true))
    halves = tuple((np.setdiff1d(ids, part), part) for part in (TEST[:30], TEST[30:]))
    both = read(true[:N_TEST], true, folds=halves)
    assert value(both, "zero_shot", "top 1") == 1
    assert value(both, "variance", "best") == pytest.approx(1, abs=1e-6)


# -------------------------------------------------------------------------------------------------- images


def look(seen, true, *, categories=None, stimulus_id=TEST):
    return diagnose_images(
        "s",
        "zc",
        "classifier, layer late",
        seen.astype(np.float32),
        true[:N_TEST].astype(np.float32),
        np.asarray(stimulus_id),
        categories=categories or {},
        recipe=RECIPE,
        seed=0,
    )


def test_images_are_asked_what_features_are_asked_with_correlations_averaged_over_draws(true):
    seen = true[:N_TEST, None] + 2.5 * some(1, N_TEST, 3, N_TARGETS)
    table = look(seen, true, categories={"sort": {i: "ab"[i % 2] for i in TEST.tolist()}})
    assert set(table["feature"]) == {"zc images"}
    assert list(dict.fromkeys(table["diagnostic"])) == ["n_way", "pairs", "samples"]
    r = np.mean([metrics.correlation_matrix(true[:N_TEST], seen[:, sample]) for sample in range(3)], axis=0)
    assert value(table, "n_way", "2") == pytest.approx(metrics.identification_from_correlations(r).mean())
    assert value(table, "pairs", "nearest 10") > 0.9
    alone = [metrics.identification(true[:N_TEST], seen[:, sample]) for sample in range(3)]
    assert value(table, "samples", "one") == pytest.approx(np.mean(alone))
    assert value(table, "samples", "spread") == pytest.approx(np.std(alone, axis=0, ddof=1).mean())
    assert value(table, "samples", "one") < value(table, "n_way", "2")


def test_the_best_of_many_draws_of_noise_is_no_better_than_its_floor(true):
    table = look(some(9, N_TEST, 5, N_TARGETS), true)
    assert value(table, "samples", "one") == pytest.approx(0.5, abs=0.1)
    assert value(table, "samples", "best of 5", "chance") > 0.6
    assert value(table, "samples", "best of 5", "p") > 0.05
    assert value(table, "samples", "best of 5") == pytest.approx(
        value(table, "samples", "best of 5", "chance"), abs=0.12
    )


def test_one_draw_has_no_spread_and_no_best(true):
    assert "samples" not in set(look(true[:N_TEST, None], true)["diagnostic"])


def test_images_that_show_the_category_only_are_caught():
    decoded, true, sorts = categories_only()
    table = look(decoded[:, None], true, categories=sorts)
    row = checked(table, "within category", "scene")
    assert row["status"] == "fail"
    assert row["sentence"].startswith(
        "zc images (classifier, layer late): two-way identification within a category (scene)"
    )


# -------------------------------------------------------------------------------------------------- decoded again


def test_repetitions_that_say_the_same_are_sure_of_themselves_even_where_they_are_wrong(true):
    wrong = Features("c", true[np.roll(TEST, 1)], TEST)
    whole = Features("c", true, np.arange(len(true)))
    table = diagnose_repetitions("s", wrong, wrong, whole, FOLDS, recipe=RECIPE, seed=0)
    assert value(table, "repetitions", "first and others") == 1
    assert value(table, "repetitions", "first") == pytest.approx(0.5, abs=0.1)
    assert set(table["n"]) == {N_TEST}


def test_images_that_were_shown_once_have_no_repetitions(true):
    none = Features("c", true[:2], TEST[:2])
    whole = Features("c", true, np.arange(len(true)))
    assert diagnose_repetitions("s", none, none, whole, FOLDS, recipe=RECIPE, seed=0).empty


def test_coverage_is_the_mean_over_items_at_each_nominal_coverage():
    inside = {0.5: np.linspace(0.2, 0.6, 20), 0.95: np.full(20, 0.9)}
    table = diagnose_coverage("s", "c", np.arange(20), inside, recipe=RECIPE, seed=0).set_index("setting")
    assert list(table.index) == ["50 %", "95 %"]
    assert table["value"].tolist() == pytest.approx([0.4, 0.9])
    assert table.loc["50 %", "low"] < 0.4 < table.loc["50 %", "high"]
    assert table["n"].tolist() == [20, 20]
    assert diagnose_coverage("s", "c", np.arange(2), {0.5: np.ones(2)}, recipe=RECIPE, seed=0).empty


def test_the_thirds_of_the_novelty_curve_hold_every_image_once(true, noisy):
    table = read(noisy, true)
    thirds = table[(table["diagnostic"] == "novelty") & table["setting"].isin(THIRDS)]
    assert thirds["n"].sum() == N_TEST
    assert (thirds["value"] * thirds["n"]).sum() / N_TEST == pytest.approx(value(table, "n_way", "2"), abs=1e-6)
