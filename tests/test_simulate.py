from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from fields import raises_with
from loading import find_data, load
from PIL import Image
from pydantic import ValidationError

from reseen import pipeline
from reseen.errors import DataError, RecipeError, ResultsError
from reseen.recipe import DataRecipe, Recipe, SimulateRecipe
from reseen.simulate import simulate, simulated_subjects, write_data_set
from reseen.simulate.design import count_repetitions, deal_ids, plan_trials
from reseen.simulate.scenes import is_held_out

SMALL = SimulateRecipe(
    n_subjects=2, n_sessions=2, trials_per_session=30, n_train=14, n_test=8, voxel_fraction=0.05, seed=4
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "tree"
    simulate(out, SMALL)
    return out


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def scenes(tree: Path) -> list[dict]:
    return json.loads((tree / "truth/images.json").read_text())


def is_novel(scene: dict) -> bool:
    return any(is_held_out(scene["background"], thing["kind"], thing["colour"]) for thing in scene["things"])


def test_the_same_seed_writes_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "again", SMALL)
    assert digests(tmp_path / "again") == digests(tree)


def test_another_seed_writes_other_images_and_other_betas(tree: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "other", SMALL.model_copy(update={"seed": 5}))
    one, other = digests(tree), digests(tmp_path / "other")
    differ = {name for name in one if one[name] != other.get(name)}
    assert any("nsd_stimuli" in name for name in differ)
    assert all(name in differ for name in one if "betas_session" in name)


def test_training_images_hold_no_held_out_combination(tree: Path) -> None:
    truth = json.loads((tree / "reseen_truth.json").read_text())
    test = {*truth["subsets"]["seen"], *truth["subsets"]["novel"]}
    described = scenes(tree)
    assert not any(is_novel(scene) for i, scene in enumerate(described) if i not in test)
    assert len(described) == SMALL.n_test + SMALL.n_subjects * SMALL.n_train


def test_every_image_has_the_background_and_the_objects_it_was_drawn_with(tree: Path) -> None:
    categories = json.loads((tree / "reseen_truth.json").read_text())["categories"]
    described = scenes(tree)
    assert categories["background"] == [scene["background"] for scene in described]
    for scene, objects in zip(described, categories["objects"], strict=True):
        assert sorted(objects.split(" and ")) == sorted(thing["kind"] for thing in scene["things"])


def test_half_of_the_test_images_are_held_out_combinations(tree: Path) -> None:
    subsets = json.loads((tree / "reseen_truth.json").read_text())["subsets"]
    described = scenes(tree)
    assert len(subsets["novel"]) == len(subsets["seen"]) == SMALL.n_test // 2
    assert all(is_novel(described[i]) for i in subsets["novel"])
    assert not any(is_novel(described[i]) for i in subsets["seen"])


def test_the_reader_finds_the_betas_that_were_scanned(tree: Path) -> None:
    data = DataRecipe(kind="simulated", path=tree, zscore_sessions=False)
    trials, stimuli, split = load(data, "subj02")
    _, shown, subjects = simulated_subjects(SMALL)
    subject = subjects[1]
    np.testing.assert_array_equal(trials.stimulus_id, np.concatenate(subject.stimulus_id))
    np.testing.assert_allclose(trials.betas, np.concatenate(subject.betas), atol=0.5 / 300 + 1e-5)
    some = int(split.folds[0][1][0])
    np.testing.assert_array_equal(stimuli.image(some), shown.images[some])
    assert stimuli.captions(some) == shown.captions[some]
    assert set(split.folds[0][1].tolist()) == set(shown.shared.tolist())


def test_subjects_share_test_images_and_anatomy_and_nothing_else(tree: Path) -> None:
    one, two = (np.load(tree / f"truth/subj0{k}.npz") for k in (1, 2))
    shared = np.intersect1d(one["stimulus_id"], two["stimulus_id"])
    assert len(shared) == SMALL.n_test
    np.testing.assert_array_equal(one["voxel_index"], two["voxel_index"])
    for name in ("prf_x", "prf_size", "ncsnr", "amplitude", "category_share"):
        assert not np.allclose(one[name], two[name])
    first, second = (t["signal"][np.isin(t["stimulus_id"], shared)] for t in (one, two))
    late = one["stream"] == 5
    alike = [np.corrcoef(a, b)[0, 1] for a, b in zip(first.T[late], second.T[late], strict=True)]
    assert np.mean(alike) < 0.5


def test_a_data_set_is_not_written_over_another(tree: Path) -> None:
    with raises_with(ResultsError, where=tree):
        simulate(tree, SMALL)


def recipe_of(tree: Path, **changes: object) -> Recipe:
    data = {"kind": "simulated", "path": tree}
    return Recipe.model_validate({"data": data, "simulate": SMALL.model_dump() | changes})


def test_data_of_other_settings_are_not_taken_for_the_recipes(tree: Path, tmp_path: Path) -> None:
    assert json.loads((tree / "reseen_truth.json").read_text())["simulate"] == SMALL.model_dump()
    other = recipe_of(tree, n_train=930, seed=5)
    differ = "simulate.n_train: expected 14, found 930; simulate.seed: expected 4, found 5."
    with pytest.raises(ResultsError, match=r"--set simulate\.n_train=14 --set simulate\.seed=4") as caught:
        pipeline.run(other, tmp_path / "out", until="simulate")
    assert differ in str(caught.value)
    assert not (tmp_path / "out").exists()
    (found,) = [found for found in find_data(other, tmp_path / "out") if not found.ok]
    assert differ in found.found
    pipeline.run(recipe_of(tree), tmp_path / "out", until="simulate")


@pytest.mark.parametrize("told", ['{"seed": 4}', '{"simulate": {"seed": 4, "invented_later": 1}}'])
def test_data_that_tell_other_settings_are_held_against_those_that_they_tell(tmp_path: Path, told: str) -> None:
    (tmp_path / "reseen_truth.json").write_text(told)
    pipeline.run(recipe_of(tmp_path), tmp_path / "out", until="simulate")
    with raises_with(ResultsError, where="simulate.seed", expected={"seed": 4}, found={"seed": 5}):
        pipeline.run(recipe_of(tmp_path, seed=5), tmp_path / "other", until="simulate")


def test_settings_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "reseen_truth.json").write_text('{"simulate": {')
    with pytest.raises(DataError, match=r"reseen_truth\.json does not contain the expected JSON"):
        pipeline.run(recipe_of(tmp_path), tmp_path / "out", until="simulate")
    found = next(find_data(recipe_of(tmp_path), tmp_path / "out"))
    assert not found.ok
    assert "reseen_truth.json does not contain the expected JSON" in found.found


def test_data_of_own_images_are_held_against_the_same_settings(tmp_path: Path) -> None:
    fill_folder(tmp_path / "mine", 10)
    few = {"n_subjects": 1, "n_sessions": 1, "n_train": 5, "n_test": 3, "voxel_fraction": 0.02}
    recipe = recipe_of(tmp_path / "tree", **few)
    write_data_set(recipe, tmp_path / "tree", images=tmp_path / "mine")
    pipeline.run(recipe, tmp_path / "out", until="simulate")
    with raises_with(ResultsError, where="simulate.n_test", expected={"n_test": 3}, found={"n_test": 8}):
        pipeline.run(recipe_of(tmp_path / "tree", **(few | {"n_test": 8})), tmp_path / "other", until="simulate")


def test_progress_counts_images_and_sessions_up_to_how_many_there_are(tmp_path: Path) -> None:
    told: dict[str, list[tuple[int, int]]] = {}
    simulate(tmp_path / "tree", SMALL, progress=lambda what, *count: told.setdefault(what, []).append(count))
    n_seen = SMALL.n_test + SMALL.n_train
    assert told == {
        "draw images": [(n, 36) for n in range(1, 37)],
        "compute responses of subj01": [(0, n_seen), (n_seen, n_seen)],
        "scan subj01": [(0, 2), (1, 2), (2, 2)],
        "compute responses of subj02": [(0, n_seen), (n_seen, n_seen)],
        "scan subj02": [(0, 2), (1, 2), (2, 2)],
        "write files": [(n, 4) for n in range(5)],
    }


@pytest.mark.parametrize(("n_images", "n_trials"), [(10, 30), (31, 90), (20, 31), (20, 20), (9, 30), (1030, 3000)])
def test_repetitions_fill_the_trials(n_images: int, n_trials: int) -> None:
    count = count_repetitions(n_images, n_trials, np.random.default_rng(0))
    assert count.sum() == n_trials
    assert count.min() >= 1


def test_the_default_design_shows_most_images_three_times_and_some_once_or_twice() -> None:
    count = count_repetitions(1030, 3000, np.random.default_rng(0))
    assert np.bincount(count).tolist() == [0, 30, 30, 970]


def test_every_session_is_full_and_repetitions_lie_in_different_sessions() -> None:
    plan = plan_trials(10, 93, 4, 75, np.random.default_rng(0))
    assert [len(shown) for shown in plan] == [75] * 4
    twice = sum(len(shown) - len(np.unique(shown)) for shown in plan)
    assert twice <= 3
    assert set(np.concatenate(plan).tolist()) == set(range(103))


def test_more_images_than_trials_are_refused() -> None:
    with raises_with(RecipeError, where="simulate.n_sessions", expected=110, found=50):
        plan_trials(10, 100, 1, 50, np.random.default_rng(0))


def test_more_shared_images_than_nsd_has_10kids_for_are_refused() -> None:
    assert SimulateRecipe(n_test=1000).n_test == 1000
    with pytest.raises(ValidationError, match="less than or equal to 1000"):
        SimulateRecipe(n_test=1001)


def test_training_images_are_dealt_apart_where_there_are_enough() -> None:
    shared, own = deal_ids(5, 10, 2, 25, np.random.default_rng(0))
    assert sorted([*shared, *own[0], *own[1]]) == list(range(25))
    shared, own = deal_ids(5, 10, 2, 18, np.random.default_rng(0))
    assert not np.intersect1d(shared, np.concatenate(own)).size


def fill_folder(folder: Path, n: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n):
        pixels = rng.integers(0, 256, (5, 8, 3), dtype=np.uint8).repeat(9, axis=0).repeat(9, axis=1)
        Image.fromarray(pixels).save(folder / f"p{i}.png")
        (folder / f"p{i}.txt").write_text(f"image {i}\nsome squares\n")


def test_own_images_and_captions_are_shown(tmp_path: Path) -> None:
    fill_folder(tmp_path / "mine", 10)
    (tmp_path / "mine/captions.json").write_text(json.dumps({"p0.png": "the first", "p1": ["a", "b"]}))
    recipe = SimulateRecipe(n_sessions=1, trials_per_session=24, n_train=5, n_test=3, voxel_fraction=0.02)
    _, shown, (subject,) = simulated_subjects(recipe, images=tmp_path / "mine")
    assert shown.images.shape == (8, 425, 425, 3)
    assert shown.subsets == {}
    for captions, description in zip(shown.captions, shown.descriptions, strict=True):
        number = int(description["file"][1:-4])
        expected = {0: ("the first",), 1: ("a", "b")}.get(number, (f"image {number}", "some squares"))
        assert captions == expected
    assert np.all(subject.responses.category == 0)
    np.testing.assert_allclose(subject.responses.signal.std(axis=0), 1, atol=1e-3)


def test_own_images_that_do_not_do_are_refused(tmp_path: Path) -> None:
    recipe = SimulateRecipe(n_sessions=1, trials_per_session=24, n_train=5, n_test=3, voxel_fraction=0.02)
    with raises_with(DataError, where=tmp_path / "nowhere"):
        simulated_subjects(recipe, images=tmp_path / "nowhere")
    fill_folder(tmp_path / "few", 4)
    with raises_with(RecipeError, where="simulate.n_train", expected=8, found=4):
        simulated_subjects(recipe, images=tmp_path / "few")
    fill_folder(tmp_path / "mute", 8)
    (tmp_path / "mute/p3.txt").unlink()
    with raises_with(DataError, where=tmp_path / "mute/p3.png"):
        simulated_subjects(recipe, images=tmp_path / "mute")
    fill_folder(tmp_path / "broken", 8)
    (tmp_path / "broken/p5.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"cannot read the image .*p5\.png"):
        simulated_subjects(recipe, images=tmp_path / "broken")
    fill_folder(tmp_path / "cut out", 8)
    Image.fromarray(np.zeros((45, 72, 4), dtype=np.uint8)).save(tmp_path / "cut out/p5.png")
    with pytest.raises(DataError, match=r"p5\.png is transparent in places"):
        simulated_subjects(recipe, images=tmp_path / "cut out")
