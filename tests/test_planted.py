"""Subjects whose brains are known to hold less than images, and what tables and verdict say of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reseen import decode
from reseen.evaluate import diagnose_features, diagnose_left_out, evaluate, run_checks
from reseen.features import Features
from reseen.networks import Panel, load_builtin_network
from reseen.pipeline.controls import group_stimuli, without_groups
from reseen.protocols import PROTOCOLS
from reseen.recipe import DecodeRecipe, EvaluateRecipe, SimulateRecipe
from reseen.simulate import scan_subject
from reseen.simulate.anatomy import build_anatomy
from reseen.simulate.attributes import ATTRIBUTES
from reseen.simulate.design import plan_trials
from reseen.simulate.images import draw_images
from reseen.split import Split
from reseen.trials import Trials

RECIPE = EvaluateRecipe(n_derangements=60, n_bootstrap=100)
DECODE = DecodeRecipe(alphas=(1.0, 10.0, 100.0, 1000.0), n_folds=3)
N_TEST, N_TRAIN = 60, 140

pytestmark = pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning")


@pytest.fixture(scope="module")
def world():
    recipe = SimulateRecipe(n_sessions=3, trials_per_session=200, n_train=N_TRAIN, n_test=N_TEST, voxel_fraction=0.1)
    shown = draw_images(recipe, np.random.default_rng(3))
    plan = plan_trials(N_TEST, N_TRAIN, 3, 200, np.random.default_rng(4))
    return shown, plan, build_anatomy(recipe.voxel_fraction)


def colours(shown):
    """Features of images that need no model: their colours on a grid of 8 by 8."""
    small = shown.small.reshape(-1, 8, 8, 8, 8, 3).mean(axis=(2, 4)) / 255
    return Features("z", small.reshape(len(small), -1).astype(np.float32), np.arange(len(small)))


def trials_of(world, *, shown=None, plant=None):
    known, plan, anatomy = world
    subject = scan_subject(0, shown or known, plan, anatomy, seed=5, plant=plant)
    betas, ids = np.concatenate(subject.betas), np.concatenate(subject.stimulus_id)
    session = np.repeat(np.arange(len(plan)), [len(part) for part in plan])
    return Trials(betas, ids, session=session).zscore_sessions()


def decoded_from(trials, split, true):
    return decode.decode(trials, split, true, rois=["all"], recipe=DECODE, seed=0)[1]


def read(trials, split, true, shown):
    categories = {"background": dict(enumerate(shown.categories["background"]))}
    decoded = decoded_from(trials, split, true)
    return diagnose_features("s", decoded, true, split.folds, categories=categories, recipe=RECIPE, seed=0)


def left_out(trials, split, true):
    groups = group_stimuli(true, split, seed=0)
    splits = {how: without_groups(split, true.stimulus_id, group) for how, group in groups.items()}
    decoded = {how: (decoded_from(trials, part, true), part.folds) for how, part in splits.items()}
    return diagnose_left_out("s", decoded, true, recipe=RECIPE, seed=0)


def value(table, diagnostic, setting, column="value"):
    rows = table[(table["diagnostic"] == diagnostic) & (table["setting"] == setting)]
    assert len(rows) == 1, (diagnostic, setting)
    return rows.iloc[0][column]


def checked(checks, name):
    rows = checks[checks["check"] == name]
    assert len(rows) == 1, name
    return rows.iloc[0]


def test_a_cortex_that_codes_the_category_only_is_caught(world):
    """It answers to the background and to nothing else; what is decoded from it looks good, pair by pair."""
    shown = world[0]
    places = np.array([name.startswith("place:") for name in ATTRIBUTES])
    told = replace(shown, attributes=shown.attributes * places)

    def categories_alone(cortex):
        return replace(cortex, proportion=0 * cortex.proportion, category_target=np.ones_like(cortex.category_target))

    split = Split.fixed(shown.own[0], shown.shared)
    table = read(trials_of(world, shown=told, plant=categories_alone), split, colours(shown), shown)
    assert value(table, "n_way", "2") > 0.85
    assert value(table, "pairs", "between background") > 0.9
    within = value(table, "pairs", "within background")
    assert within == pytest.approx(0.5, abs=0.08)
    assert value(table, "pairs", "within background", "p") > 0.02
    assert value(table, "pairs", "background alone") == pytest.approx(value(table, "n_way", "2"), abs=0.015)
    row = checked(run_checks(None, table), "within category")
    assert row["status"] == "fail"
    assert "the category alone would give" in row["sentence"]


def test_a_cortex_that_knows_training_images_by_heart_is_caught(world):
    """Every image has an answer of its own, and half of the test images are training images once more."""
    known = world[0]
    twins, twin_of = known.shared[: N_TEST // 2], known.own[0][: N_TEST // 2]
    small = known.small.copy()
    small[twins] = np.clip(small[twin_of].astype(int) + 2, 0, 255)
    identity = np.arange(len(small))
    identity[twins] = twin_of
    shown = replace(known, small=small, attributes=np.eye(len(small), dtype=np.float32)[identity])

    def by_heart(cortex):
        weights = np.random.default_rng(6).normal(size=(len(small), len(cortex.x))).astype(np.float32)
        changes = {"proportion": 0 * cortex.proportion, "category_target": np.ones_like(cortex.category_target)}
        return replace(cortex, category_weights=weights, **changes)

    split, true = Split.fixed(shown.own[0], shown.shared), colours(shown)
    trials = trials_of(world, shown=shown, plant=by_heart)
    table = read(trials, split, true, shown)
    assert value(table, "novelty", "near duplicates") >= 0.5
    assert value(table, "novelty", "most like training") > value(table, "novelty", "least like training") + 0.2
    assert value(table, "novelty", "least like training") == pytest.approx(0.5, abs=0.15)
    left = left_out(trials, split, true)
    assert value(left, "left_out", "clusters") < 0.55
    assert value(left, "left_out", "at random") > 0.6
    assert value(left, "left_out", "lost", "low") > 0
    found = run_checks(None, pd.concat([table, left]))
    assert checked(found, "near duplicates")["status"] == "fail"
    row = checked(found, "left-out cluster")
    assert row["status"] == "fail"
    assert "less than with as many images left out at random" in row["sentence"]


@pytest.fixture(scope="module")
def without_brain(world):
    """Images that are training images at random, beside floors that are no worse."""
    shown = world[0]
    rng = np.random.default_rng(7)
    shared = shown.shared[:30]
    drawn = [shown.images[rng.choice(shown.own[0], (len(shared), 1))] for _ in range(3)]
    mean = np.broadcast_to(shown.images[shown.own[0]].mean(axis=0).astype(np.uint8), drawn[0].shape)
    truth = shown.images[shared]
    images = {
        ("result", "zc"): drawn[0],
        ("chance_random", "zc"): drawn[1],
        ("chance_noise", "zc"): drawn[2],
        ("chance_mean", "zc"): mean,
        ("oracle", "zc"): truth[:, None],
    }
    return evaluate(
        "s",
        truth,
        shared,
        images,
        [Panel(PROTOCOLS["builtin"], (load_builtin_network("classifier"),))],
        {},
        RECIPE,
        seed=0,
    )


def test_images_that_ignore_the_brain_score_at_the_floor_and_the_verdict_says_so(without_brain):
    late = without_brain[(without_brain["layer"] == "late") & (without_brain["direction"] == "original")]
    at = late[late["metric"] == "identification"].set_index("level")["value"]
    assert at["result"] == pytest.approx(0.5, abs=0.15)
    assert at["chance_mean"] == 0.5
    assert at["oracle"] == 1
    found = run_checks(without_brain, None)
    assert checked(found, "identification")["status"] == checked(found, "without responses")["status"] == "fail"


def test_the_image_of_the_mean_does_as_well_pixel_by_pixel_and_that_is_said(without_brain):
    at = without_brain[without_brain["metric"] == "pixcorr"].set_index("level")["value"]
    assert at["chance_mean"] > at["result"]
    found = run_checks(without_brain, None)
    assert checked(found[found["setting"] == "pixel correlation"], "one image for all")["status"] == "warn"


def test_a_decoder_that_knows_kinds_it_was_not_trained_on_is_not_accused():
    """Twenty clusters; what a voxel answers to a target holds in all of them."""
    rng = np.random.default_rng(8)
    centres, n = rng.normal(size=(20, 12)), 200
    features = (centres[np.arange(n) % 20] + 0.5 * rng.normal(size=(n, 12))).astype(np.float32)
    betas = (features @ rng.normal(size=(12, 60)) + 3 * rng.normal(size=(n, 60))).astype(np.float32)
    trials = Trials(betas, np.arange(n))
    split = Split.fixed(np.arange(60, n), np.arange(60))
    left = left_out(trials, split, Features("z", features, np.arange(n)))
    assert value(left, "left_out", "clusters") > 0.9
    assert checked(run_checks(None, left), "left-out cluster")["status"] != "fail"
