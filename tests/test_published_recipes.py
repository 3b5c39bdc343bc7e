"""Recipes with the settings of papers: values that matter, and what `reseen check` says without data."""

from __future__ import annotations

import shlex

import pytest
from typer.testing import CliRunner

from reseen.check import check
from reseen.cli import app
from reseen.conditions import main_condition
from reseen.protocols import PROTOCOLS
from reseen.recipe import DecodeRecipe, SimulateRecipe, load_recipe, recipe_folder, with_changes, with_settings
from reseen.simulate import simulate

FOUR = ("subj01", "subj02", "subj05", "subj07")
SIX = ("early", "ventral", "midventral", "midlateral", "lateral", "parietal")
NEW = ("braindiffuser_like", "takagi2023b")


def test_brain_diffuser_has_the_published_penalties_rois_and_sampling() -> None:
    recipe = load_recipe("braindiffuser_like")
    data, decode, reconstruct = recipe.data, recipe.decode, recipe.reconstruct
    assert (data.subjects, data.sessions, data.rois) == (FOUR, 37, ("nsdgeneral",))
    assert (data.train_trials, data.test_trials, data.zscore_sessions) == ("averaged", "averaged", False)
    assert recipe.decoded == ("z", "c", "i")
    assert [decode.alphas_of(name) for name in recipe.decoded] == [(5e4,), (1e5,), (6e4,)]
    assert {decode.rois_of(name) for name in recipe.decoded} == {("nsdgeneral",)}
    assert decode.intercept
    assert main_condition(reconstruct.conditions) == "zci"
    assert (reconstruct.n_steps, reconstruct.strength, reconstruct.guidance) == (50, 0.75, 7.5)
    assert (reconstruct.n_samples, reconstruct.sampler) == (1, "ddim")
    assert recipe.model.name.endswith("stable-diffusion-v1-5")
    assert recipe.model.image_adapter == "h94/IP-Adapter:models/ip-adapter_sd15.safetensors"
    assert recipe.evaluate.protocols == ("builtin", "braindiffuser2023")


def test_the_second_paper_adds_captions_and_another_start_to_the_settings_of_the_first() -> None:
    recipe, first = load_recipe("takagi2023b"), load_recipe("takagi2023")
    assert set(recipe.reconstruct.conditions) == {"z", "gt", "zt"}
    assert main_condition(recipe.reconstruct.conditions) == "zt"
    assert recipe.decoded == ("z", "blip", "t", "pixels")
    grid = (1e4, 2e4, 4e4)
    assert [recipe.decode.alphas_of(name) for name in recipe.decoded] == [None, grid, grid, grid]
    assert [recipe.decode.rois_of(name) for name in recipe.decoded] == [("early",), SIX, SIX, SIX]
    assert (recipe.decode.captions, recipe.extract.captioner_side) == ("blip", 240)
    for name in ("n_samples", "n_steps", "strength", "guidance", "noise_index"):
        assert getattr(recipe.reconstruct, name) == getattr(first.reconstruct, name), name
    for name in ("subjects", "sessions", "betas", "train_trials", "test_trials", "zscore_sessions"):
        assert getattr(recipe.data, name) == getattr(first.data, name), name
    assert (recipe.model.name, recipe.model.revision) == (first.model.name, first.model.revision)
    assert recipe.evaluate.protocols == first.evaluate.protocols


def test_images_made_elsewhere_replace_the_pixels_of_the_second_paper() -> None:
    settings = ['decode.predictions={pixels = "images/{subject}"}', "extract.pixels_size=224"]
    recipe = with_settings(load_recipe("takagi2023b"), settings)
    assert str(recipe.decode.elsewhere("pixels")) == "images/{subject}"
    assert recipe.n_permuted == 0


DIFFER = {
    "braindiffuser_like": {
        "name",
        "image_adapter",
        "z_size",
        "rois.c",
        "rescale_averages",
        "image_scale",
        "noise_index",
    },
    "takagi2023b": {"posterior", "captioner_side", "pixels_size", "alphas", "group_folds", "intercept", "noise_index"},
}
"""Keys whose lines must say that the value differs from the released script."""


@pytest.mark.parametrize("name", NEW)
def test_values_that_differ_from_the_script_say_so_with_the_reason(name: str) -> None:
    reasons = {}
    for line in (recipe_folder() / f"{name}.toml").read_text().splitlines():
        key, _, comment = line.lstrip("# ").partition("#")
        if "DIFFERS" in comment:
            reasons[key.partition("=")[0].strip()] = comment.partition("DIFFERS")[2]
    assert DIFFER[name] - set(reasons) == set()
    assert [reason for reason in reasons.values() if len(reason.split()) < 4] == []


@pytest.mark.parametrize("name", NEW)
def test_check_says_what_is_missing_without_data(name: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = CliRunner().invoke(app, ["check", name, "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 1
    for subject in FOUR:
        assert f"data of {subject}" in done.output
    assert "no data folder was given: set data.path in the recipe, or pass --data FOLDER" in done.output
    assert f"{name} cannot run" in done.output


@pytest.mark.parametrize("name", NEW)
def test_their_protocols_are_known(name: str) -> None:
    assert set(load_recipe(name).evaluate.protocols) <= set(PROTOCOLS)


def test_penalties_of_single_features_replace_the_grid_of_all() -> None:
    decode = DecodeRecipe(alphas=(1.0, 2.0))
    assert [decode.alphas_of(name) for name in ("z", "t", "git", "word")] == [(1.0, 2.0)] * 4
    section = with_settings(
        load_recipe("tiny"), ["decode.alphas=[1.0]", "decode.feature_alphas={t = [3.0, 4.0]}"]
    ).decode
    assert [section.alphas_of(name) for name in ("z", "t", "git")] == [(1.0,), (3.0, 4.0), (3.0, 4.0)]
    one = with_settings(load_recipe("tiny"), ["decode.feature_alphas.z=[5e4]"]).decode
    assert (one.alphas_of("z"), one.alphas_of("c")) == ((5e4,), None)


@pytest.mark.parametrize("name", NEW)
def test_the_commands_for_a_simulated_subject_in_the_recipe_pass_check(name: str, tmp_path) -> None:
    simulate(tmp_path / "subject", SimulateRecipe(n_sessions=1, trials_per_session=90, n_train=26, n_test=4))
    header = (recipe_folder() / f"{name}.toml").read_text().partition(f'name = "{name}"')[0]
    command = header[header.index("--model builtin") :].replace("\\\n#", " ")
    words = shlex.split(command)
    settings = [words[number + 1] for number, word in enumerate(words) if word == "--set"]
    assert 'data.subjects=["subj01"]' in settings
    recipe = with_settings(load_recipe(name, {"model.revision": None, "model.name": "builtin"}), settings)
    found = check(with_changes(recipe, {"data.path": tmp_path / "subject"}), tmp_path / "out")
    assert [finding for finding in found if not finding.ok] == []
    assert {"decoders", "denoising", "time"} <= {finding.what for finding in found}
