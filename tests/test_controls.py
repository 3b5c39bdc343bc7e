"""A full run: floors without the brain, decoders that saw no image of a kind, and the brain's own repetitions."""

import warnings

import numpy as np
import pytest

from reseen import pipeline
from reseen.check.costs import count_evaluations
from reseen.check.sizes import guess_sizes
from reseen.features import Features
from reseen.finished import Results
from reseen.ldm import load_model
from reseen.pipeline.controls import group_stimuli, without_groups
from reseen.recipe import load_recipe, with_settings
from reseen.results import ResultsFolder
from reseen.split import Split

pytestmark = [
    pytest.mark.usefixtures("random_networks"),
    pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning"),  # a few trials leave the penalty undecided
]
FLOORS = ("chance_mean", "chance_noise", "chance_random")


@pytest.fixture(scope="module")
def full(small_recipe, random_networks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.run(with_settings(small_recipe, ["evaluate.full=true"]), folder)
    return folder


def images(folder, level, condition):
    return {path.name: path.read_bytes() for path in folder.glob(f"subj01/images/{level}/{condition}/*.png")}


def test_a_full_run_scores_floors_that_know_nothing_of_the_brain(full):
    scores = ResultsFolder.read(full).load_table("scores")
    made = scores[(scores["level"].isin(FLOORS)) & (scores["metric"] == "identification") & (scores["network"] != "")]
    assert set(zip(made["level"], made["condition"], strict=True)) == {
        *((level, condition) for level in ("chance_mean", "chance_random") for condition in ("z", "c", "zc")),
        ("chance_noise", "c"),
        ("chance_noise", "zc"),
    }
    assert np.isfinite(made[["value", "low", "high"]]).all().all()


def test_one_image_for_all_scores_exactly_one_half(full):
    scores = ResultsFolder.read(full).load_table("scores")
    mean = scores[(scores["level"] == "chance_mean") & (scores["metric"] == "identification")]
    assert mean["value"].to_numpy() == pytest.approx(0.5)
    assert len(images(full, "chance_mean", "zc")) == 2  # draws


def test_noise_without_a_caption_is_drawn_once_for_all_conditions(full):
    assert len(images(full, "chance_noise", "c")) == 2 * 4
    assert not images(full, "chance_noise", "zc")
    assert len(set(images(full, "chance_noise", "c").values())) == 2 * 4
    assert len(images(full, "chance_random", "zc")) == 2 * 4


def test_a_random_training_image_gives_its_own_z_and_c(full):
    results = ResultsFolder.read(full)
    for name in ("z", "c"):
        drawn = results.load_features(results.decode_path("subj01", f"chance_random_{name}"))
        true = results.load_features(results.features_path(f"subj01/{name}"))
        decoded = results.load_features(results.decode_path("subj01", name))
        match = (true.flat[None] == drawn.flat[:, None]).all(axis=2)
        assert match.any(axis=1).all()
        chosen = true.stimulus_id[match.argmax(axis=1)]
        assert not np.isin(chosen, decoded.stimulus_id).any()
    assert np.array_equal(drawn.stimulus_id, decoded.stimulus_id)


def test_kinds_of_images_are_left_out_and_as_many_at_random(full):
    reading = ResultsFolder.read(full).load_table("diagnostics")
    left = reading[reading["diagnostic"] == "left_out"]
    assert list(left[left["feature"] == "z"]["setting"]) == ["clusters", "at random", "lost"]
    value = dict(zip(left["setting"], left["value"], strict=True))  # of c, the last
    assert value["lost"] == pytest.approx(value["at random"] - value["clusters"])
    groups, _ = ResultsFolder.read(full).load_arrays(full / "subj01/decode/clusters.safetensors")
    tested = np.isin(groups["stimulus_id"], [0, 1, 4, 5])
    for part in (tested, ~tested):
        sizes = [np.sort(np.bincount(groups[how][part])) for how in ("without_cluster", "without_some")]
        assert np.array_equal(*sizes)


def test_repetitions_are_set_beside_each_other_by_default(full):
    reading = ResultsFolder.read(full).load_table("diagnostics")
    again = reading[(reading["diagnostic"] == "repetitions") & (reading["feature"] == "c")]
    assert list(again["setting"]) == ["first and others", "first", "others"]
    assert set(again["n"]) == {4}


def test_a_full_run_started_again_computes_nothing(full, small_recipe):
    def written():
        changing = (".lock", "log.txt", "times.json")
        return {path: path.stat().st_mtime_ns for path in full.rglob("*.*") if path.name not in changing}

    before = written()
    pipeline.run(with_settings(small_recipe, ["evaluate.full=true"]), full)
    assert written() == before


@pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning")
def test_a_finished_run_grows_to_a_full_one_as_if_begun_so(full, small_recipe, tmp_path):
    def contents(folder):
        differs = {"times.json", "log.txt", ".lock", "report.html"}
        paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in differs]
        return {path.relative_to(folder): path.read_bytes() for path in paths}

    pipeline.run(small_recipe, tmp_path, until="evaluate")
    pipeline.run(with_settings(small_recipe, ["evaluate.full=true"]), tmp_path)
    assert contents(tmp_path) == contents(full)


def test_with_folds_each_has_a_mean_image_of_its_own(small_recipe, tmp_path):
    settings = ["evaluate.full=true", "data.test=folds", "data.n_folds=2", "reconstruct.conditions=['z']"]
    results = pipeline.run(with_settings(small_recipe, settings), tmp_path, until="evaluate")
    assert len(images(tmp_path, "chance_mean", "z")) == 2
    left = results.load_table("diagnostics")
    assert set(left[left["diagnostic"] == "left_out"]["n"]) == {8}


def test_a_full_run_leaves_runs_out_and_says_that_test_images_were_training_images(small_recipe, tmp_path):
    """Every level, control and diagnostic takes stimuli that several folds test."""
    recipe = with_settings(
        small_recipe, ["data.test=runs", "evaluate.full=true", 'reconstruct.conditions=["z", "c"]', "encode.n_folds=2"]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.run(recipe, tmp_path)
    results = ResultsFolder.read(tmp_path)
    scores = results.load_table("scores")
    assert set(scores["level"]) >= {"chance_mean", "chance_random", "permuted", "result", "oracle"}
    assert set(scores.loc[scores["level"] == "result", "n"]) == {16}  # 8 stimuli in each of two runs
    decoded = results.load_features(results.decode_path("subj01", "z"))
    np.testing.assert_array_equal(decoded.stimulus_id, np.repeat(np.arange(8), 2))
    np.testing.assert_array_equal(decoded.fold, np.tile([0, 1], 8))
    assert len(images(tmp_path, "chance_mean", "z")) == 2
    assert len(images(tmp_path, "oracle", "z")) == 8
    sentence = "8 of 8 test images were also training images, in other trials"
    assert any(sentence in warning for warning in results.warnings)
    assert sentence in (tmp_path / "report.html").read_text(encoding="utf-8")
    checks = Results.read(tmp_path).diagnostics.checks
    assert set(checks.loc[checks["check"] == "near duplicates", "status"]) == {"fail"}
    means = scores[(scores["metric"] == "identification") & (scores["level"] == "chance_mean")]["value"]
    assert means.between(0.4, 0.6).all()
    with pytest.warns(UserWarning, match=sentence):
        pipeline.run(recipe, tmp_path)  # everything is there


def test_the_command_line_asks_for_a_full_run_by_one_word(monkeypatch):
    from typer.testing import CliRunner

    from reseen.cli import app

    asked = []
    monkeypatch.setattr("reseen.check.check", lambda recipe, *_, **__: asked.append(recipe) or [])
    for words in (["check", "tiny", "--full"], ["check", "tiny"]):
        CliRunner().invoke(app, words)
    monkeypatch.setattr("reseen.cli._run", lambda _, recipe, *__: asked.append(recipe))
    for words in (["evaluate", "tiny", "--full"], ["run", "tiny"]):
        CliRunner().invoke(app, words)
    assert [recipe.evaluate.full for recipe in asked] == [True, False, True, False]


def test_the_count_of_evaluations_of_a_full_demo_is_half_as_large_again():
    recipe = with_settings(load_recipe("demo"), ["evaluate.full=true"])
    expected = 24 * 2 * 52 * 3 + 2 * 52 + 24 * 2 * (52 + 20)
    assert count_evaluations(recipe, guess_sizes(recipe), load_model("builtin")) == expected


def test_images_whose_features_are_all_alike_are_left_out_in_groups_all_the_same():
    ids = np.arange(24)
    split = Split.fixed(ids[8:], ids[:8])
    groups = group_stimuli(Features("c", np.ones((24, 3), dtype=np.float32), ids), split, seed=0)
    for group in groups.values():
        folds = without_groups(split, ids, group).folds
        assert sorted(i for _, test in folds for i in test) == list(range(8))
        assert min(len(train) for train, _ in folds) >= 13  # a group holds three
