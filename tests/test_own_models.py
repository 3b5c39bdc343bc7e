"""A generator and a sampler of a user's own, by argument and by name in a recipe."""

import os

import numpy as np
import pytest
from fields import raises_with

import reseen
from reseen import pipeline
from reseen.check import check
from reseen.conditions import CONDITIONS
from reseen.errors import ModelError, RecipeError, ShapeError
from reseen.ldm import load_model
from reseen.recipe import with_changes
from reseen.results import ResultsFolder


class Tinted:
    """A generator of one's own: another model, whose images are tinted red."""

    def __init__(self, device="cpu"):
        self._inner = load_model(os.environ.get("INNER_MODEL", "builtin"), device=device)
        self.name, self.fingerprint = "tinted", "tinted 1"

    def __getattr__(self, name):
        return getattr(self._inner, name)

    @property
    def in_single_precision(self):
        return self

    def latent_to_image(self, latents):
        images = self._inner.latent_to_image(latents).copy()
        images[..., 0] = 1.0
        return images


def half_a_model(device):
    return object()


def broken_model(device):
    raise ValueError("no weights")


def stop_early(predict_noise, latents, conditioning, *, timesteps, **options):
    """Denoise by the first step alone."""
    return reseen.denoise(predict_noise, latents, conditioning, timesteps=timesteps[:1], **options)


def shrink(predict_noise, latents, *_arguments, **_options):
    return latents[:, :, ::2]


def test_a_model_of_ones_own_extracts_and_reconstructs():
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    features = reseen.extract_features(Tinted(), reseen.Stimuli(images, ["a red car", "a tree"]))
    made = reseen.reconstruct(Tinted(), z=features["z"], c=features["c"], n_samples=1, n_steps=3)
    assert (made[..., 0] == 255).all()
    assert load_model("test_own_models:Tinted").name == "tinted"


@pytest.mark.filterwarnings("ignore")
def test_a_recipe_names_a_model_and_a_sampler(small_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("INNER_MODEL", small_recipe.model.name)
    changes = {"model.name": "test_own_models:Tinted", "reconstruct.sampler": "test_own_models:stop_early"}
    recipe = with_changes(small_recipe, changes)
    findings = check(recipe, tmp_path / "out")
    assert all(finding.ok for finding in findings), [finding.found for finding in findings if not finding.ok]
    pipeline.run(recipe, tmp_path / "out")
    results = ResultsFolder.read(tmp_path / "out")
    assert results.provenance["model"] == "tinted 1"
    assert results.provenance["sampler test_own_models:stop_early"].startswith("test_own_models:stop_early sha256:")
    image = results.load_image(next((tmp_path / "out/subj01/images/result/c").glob("*.png")))
    assert (image[..., 0] == 255).all()


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("test_own_models:half_a_model", ModelError, "returned object, which lacks .*image_size"),
        ("test_own_models:broken_model", ModelError, "failed: no weights"),
        ("test_own_models:nosuch", RecipeError, "has no nosuch"),
    ],
)
def test_what_is_no_model_is_refused(name, error, message):
    with pytest.raises(error, match=message):
        load_model(name)


def test_a_sampler_by_argument_takes_the_place_of_ddim():
    model = load_model("builtin")
    c = model.text_to_conditioning(["a red car on grass"])
    options = {"c": c, "n_samples": 1, "n_steps": 4}
    calls = []

    def watched(*arguments, **named):
        calls.append(named["timesteps"])
        return reseen.denoise(*arguments, **named)

    np.testing.assert_array_equal(
        reseen.reconstruct(model, **options, sampler=watched), reseen.reconstruct(model, **options)
    )
    assert len(calls) == 1
    with raises_with(ShapeError, where="reconstruct.sampler"):
        reseen.reconstruct(model, **options, sampler=shrink)


def test_reconstruct_returns_what_it_writes_and_needs_something_decoded():
    model = load_model("builtin")
    rng = np.random.default_rng(0)
    z = reseen.Features("z", rng.standard_normal((2, 4, 10, 10)).astype(np.float32), np.array([5, 9]))
    images = reseen.reconstruct(model, z=z, n_samples=3)
    assert images.shape == (2, 1, 64, 64, 3)
    written = {}
    empty = reseen.reconstruct(model, z=z, write=lambda item, sample, image: written.update({(item, sample): image}))
    assert len(empty) == 0
    np.testing.assert_array_equal(written[1, 0], images[1, 0])
    with raises_with(ShapeError, expected=CONDITIONS, found=()):
        reseen.reconstruct(model)
    with pytest.raises(RecipeError, match="n_steps"):
        reseen.reconstruct(model, z=z, n_steps=0)
    c = model.text_to_conditioning(["a", "b"])
    with raises_with(ShapeError, where="stimulus_id"):
        reseen.reconstruct(model, z=z, c=c)


def test_extraction_by_name_gives_what_the_pipeline_extracts_and_records():
    images = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    stimuli = reseen.Stimuli(images, ["a red car", "a tree", "a house"], stimulus_id=[4, 7, 8])
    model = load_model("builtin")
    found = model.extract(stimuli, ["zc", "z", "zc@strength=0.5"], n_steps=4, subject="s")
    assert list(found) == ["zc", "z", "zc@strength=0.5"]
    assert found["zc"].array.shape == (3, *model.latent_shape)
    alone = model.extract(stimuli, ["zc"], stimulus_id=[7], n_steps=4, subject="s")["zc"]
    np.testing.assert_allclose(alone.array[0], found["zc"].array[1], atol=1e-4)
    with pytest.raises(RecipeError, match="nosuch"):
        model.extract(stimuli, ["nosuch"])
