"""Conditions with retrieved captions (t), image embeddings (i) and decoded pixels as start (g), in complete runs."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fields import raises_with
from tiny_ldm import write_random_adapter

from reseen import load_model, pipeline, reconstruct, score_captions
from reseen.check import check
from reseen.errors import ModelError, RecipeError, ResultsError, ShapeError
from reseen.features import Features
from reseen.finished import Results
from reseen.ldm.sampling import coarse_images, pixel_images
from reseen.pipeline.stages import STAGES
from reseen.recipe import Recipe, ReconstructRecipe, with_settings
from reseen.reconstruction import denoising_sequence, generate
from reseen.results import ResultsFolder

pytestmark = [
    pytest.mark.usefixtures("random_networks"),
    pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning"),
]
WORDS = ("z", "t", "zc", "zt", "gc", "i", "zci")
SAMPLING = ReconstructRecipe(n_samples=1, n_steps=2, strength=0.5)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_adapter(tmp_path_factory.mktemp("adapter"), plus=False)


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Arrays of 24 images, 20 of them for training, each shown twice."""
    rng = np.random.default_rng(0)
    stimulus_id = np.repeat(np.arange(24), 2)
    path = tmp_path_factory.mktemp("brain") / "subj01.npz"
    np.savez(
        path,
        betas=rng.normal(size=(48, 20)).astype(np.float32),
        stimulus_images=rng.integers(0, 256, (24, 40, 40, 3), dtype=np.uint8),
        stimulus_id=stimulus_id,
        captions=np.array([[f"image {i}", f"the image number {i}"] for i in range(24)]),
        roi_low=np.arange(20) < 10,
        roi_high=np.arange(20) >= 10,
        test_stimulus_id=np.arange(4),
    )
    return path


@pytest.fixture(scope="module")
def recipe(small_recipe: Recipe, brain: Path, adapter: Path) -> Recipe:
    settings = [f"data.path={brain}", f"model.image_adapter={adapter}", "extract.pixels_size=8", "evaluate.full=true"]
    settings += [f"reconstruct.conditions={json.dumps(WORDS)}", "evaluate.n_permutations=1", "reconstruct.n_samples=1"]
    return with_settings(small_recipe, [*settings, 'encode.features=["z", "c", "t", "i", "pixels"]'])


@pytest.fixture(scope="module")
def results(recipe: Recipe, random_networks: object, tmp_path_factory: pytest.TempPathFactory) -> ResultsFolder:
    folder = tmp_path_factory.mktemp("words")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check(recipe, folder / "checked", device="cpu")
        assert [finding.found for finding in found if not finding.ok] == []
        pipeline.run(recipe, folder / "out")
    return ResultsFolder.read(folder / "out")


def test_every_word_has_images_scores_and_chance_levels(results: ResultsFolder) -> None:
    scores = results.load_table("scores")
    for condition in WORDS:
        mine = scores[scores["condition"] == condition]
        expected = {"mismatched", "permuted", "result", "oracle", "chance_mean", "chance_random"}
        assert set(mine["level"]) == (expected if condition == "z" else expected | {"chance_noise"})
    of_features = scores[scores["network"] == "features"]
    assert set(of_features["condition"]) == {"z", "c", "t", "i", "pixels"}
    assert {"target_r", "identification"} <= set(of_features["metric"])
    assert set(results.load_table("encoding")["feature"]) >= {"z", "c", "t", "i", "pixels"}
    assert Results.read(results.path).scores.headline().condition == "zci"
    report = (results.path / "report.html").read_text(encoding="utf-8")
    assert "the most probable training caption" in report.lower()
    assert "<td>BLEU-1</td>" in report


def test_t_is_the_conditioning_of_the_most_probable_training_caption(results: ResultsFolder, recipe: Recipe) -> None:
    decoded = results.load_features(results.decode_path("subj01", "t"))
    lines = (results.path / "subj01" / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    captions = [json.loads(line) for line in lines]
    assert "*/captions.jsonl" in STAGES["decode"].writes
    assert [line["stimulus_id"] for line in captions] == decoded.stimulus_id.tolist() == [0, 1, 2, 3]
    assert all(line["training_stimulus_id"] >= 4 and 0 < line["probability"] <= 1 for line in captions)
    assert all(line["caption"] == f"image {line['training_stimulus_id']}" for line in captions)
    assert all(line["oracle_caption"] == f"image {line['oracle_training_stimulus_id']}" for line in captions)
    ldm = load_model(recipe.model.name)
    expected = ldm.text_to_conditioning([line["caption"] for line in captions])
    np.testing.assert_allclose(decoded.array, expected, atol=1e-5)


def test_captions_are_scored_between_chance_and_ceiling(results: ResultsFolder) -> None:
    run = Results.read(results.path)
    table = run.caption_scores
    levels = {"mismatched", "chance_random", "result", "oracle", "ceiling"}
    assert set(table["level"]) == levels
    assert set(table["protocol"]) == {"coco2015"}
    assert set(table["n"]) == {4}
    known = run.captions()
    references = [[f"image {i}", f"the image number {i}"] for i in range(4)]
    again = score_captions(
        [caption.caption for caption in known],
        references,
        oracle=[caption.oracle_caption for caption in known],
        training=[text for i in range(4, 24) for text in (f"image {i}", f"the image number {i}")],
        subject="subj01",
        seed=run.recipe.seed,
        n_bootstrap=run.recipe.evaluate.n_bootstrap,
    )
    pd.testing.assert_frame_equal(table, again, check_dtype=False)


def test_captions_of_a_run_are_written_again_where_they_are_missing(
    results: ResultsFolder, recipe: Recipe, tmp_path: Path
) -> None:
    shutil.copytree(results.path, tmp_path / "out")
    file = tmp_path / "out" / "subj01" / "captions.jsonl"
    lines, table = file.read_bytes(), (tmp_path / "out" / "captions.csv").read_bytes()
    file.write_text(lines.decode().replace("oracle_caption", "other"))
    for path in (tmp_path / "out" / "captions.csv", tmp_path / "out" / "subj01" / "captions.csv"):
        path.unlink()
    with raises_with(ResultsError, where=file, found=1):
        pipeline.run(recipe, tmp_path / "out", until="evaluate")
    file.unlink()
    with raises_with(ResultsError, where=file):
        Results.read(tmp_path / "out").captions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.run(recipe, tmp_path / "out", until="evaluate")
    assert file.read_bytes() == lines
    assert (tmp_path / "out" / "captions.csv").read_bytes() == table


def test_merged_folders_have_the_same_captions(results: ResultsFolder, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.merge([results.path], tmp_path / "joined")
    for name in ("subj01/captions.jsonl", "captions.csv"):
        assert (tmp_path / "joined" / name).read_bytes() == (results.path / name).read_bytes()


def test_images_of_g_start_from_the_enlarged_pixels(results: ResultsFolder, recipe: Recipe) -> None:
    ldm = load_model(recipe.model.name)
    pixels, c = (results.load_features(results.decode_path("subj01", name)) for name in ("pixels", "c"))
    given = {"pixels": pixels.array[2], "c": c.array[2]}
    frames = denoising_sequence(
        ldm, "gc", given, recipe=recipe.reconstruct, seed=recipe.seed, subject="subj01", stimulus_id=2
    )
    np.testing.assert_array_equal(frames[0], np.round(pixel_images(pixels.array[[2]], 32)[0] * 255).astype(np.uint8))
    stored = results.load_image(results.image_path("subj01", "result", "gc", 2, 0))
    assert np.abs(frames[-1].astype(int) - stored).max() <= 1


def test_i_is_joined_to_the_text_and_weighted_by_the_scale(adapter: Path, tiny_model: Path) -> None:
    ldm = load_model(str(tiny_model), image_adapter=str(adapter))
    rng = np.random.default_rng(0)
    c = ldm.text_to_conditioning(["a red car", "a blue house"])
    i = ldm.image_to_embedding(rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8))
    z = rng.normal(size=(2, 4, 5, 5)).astype(np.float32)
    settings = {"n_samples": 1, "n_steps": 3}
    default, half, full, none = (
        reconstruct(ldm, z=z, c=c, i=i, image_scale=scale, **settings) for scale in (None, 0.5, 1.0, 0.0)
    )
    np.testing.assert_array_equal(default, half)
    assert (half != full).any()
    assert (none != full).any()
    alone, heavy = (reconstruct(ldm, i=i, image_scale=scale, **settings) for scale in (None, 1.0))
    np.testing.assert_array_equal(alone, heavy)
    # without i, the model with an adapter is exactly the plain model
    plain = load_model(str(tiny_model))
    np.testing.assert_array_equal(*(reconstruct(model, z=z, c=c, **settings) for model in (ldm, plain)))


def test_what_a_word_needs_is_checked_before_a_run(recipe: Recipe, tiny_model: Path, tmp_path: Path) -> None:
    without = with_settings(recipe, ["model.image_adapter=", "encode.features=[]"])
    findings = check(without, tmp_path / "out", device="cpu")
    assert any("has no image adapter" in finding.found for finding in findings if not finding.ok)
    with raises_with(ModelError, where="model.image_adapter"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.run(without, tmp_path / "out")
    with pytest.raises(RecipeError, match="most probable training caption, which needs"):
        with_settings(recipe, ["data.test_trials=single"])
    ldm = load_model(str(tiny_model))
    embedding = Features("i", np.zeros((1, 8), dtype=np.float32), np.arange(1))
    with raises_with(ModelError, where="model.image_adapter"):
        generate(ldm, "i", {"i": embedding}, recipe=SAMPLING, seed=0, subject="", write=print)
    c = ldm.text_to_conditioning(["a"])
    with raises_with(ShapeError, found=("c", "t")):
        reconstruct(ldm, c=c, t=c)


def test_the_start_of_a_condition_becomes_an_image(tiny_model: Path) -> None:
    ldm = load_model(str(tiny_model))
    rng = np.random.default_rng(0)
    pixels = rng.uniform(size=(2, 3, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(coarse_images(ldm, pixels, SAMPLING, feature="pixels"), pixel_images(pixels, 32))
    assert coarse_images(ldm, rng.normal(size=(1, 4, 5, 5)).astype(np.float32), SAMPLING).shape == (1, 32, 32, 3)
