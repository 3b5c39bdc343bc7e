"""Features and conditions; the condition pixels and grey images, from the recipe to the scores."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from fields import raises_with

from reseen import load_model, pipeline, reconstruct
from reseen.check import check
from reseen.conditions import CONDITIONS, FEATURES, ROLES, condition_of, decoded_features, features_of, is_denoised
from reseen.errors import RecipeError, ShapeError
from reseen.features import Features
from reseen.finished import Results
from reseen.ldm.sampling import pixel_images
from reseen.recipe import Recipe, with_settings
from reseen.reconstruction.pixels import grey
from reseen.results import ResultsFolder

pytestmark = [
    pytest.mark.usefixtures("random_networks"),
    pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning"),
]


def test_a_condition_is_a_feature_or_a_word_of_features() -> None:
    words = {condition: features_of(condition) for condition in CONDITIONS}
    assert words["pixels"] == ("pixels",)
    assert words["zc"] == ("z", "c")
    assert words["gti"] == ("pixels", "t", "i")
    # at most one feature of each role, in the order of the roles: 3 starts x 3 texts x 2 images, without the empty word
    assert len(set(words.values())) == len(CONDITIONS) == 3 * 3 * 2 - 1
    for names in words.values():
        roles = [FEATURES[name].role for name in names]
        assert roles == sorted(set(roles), key=ROLES.index)
    assert [condition_of(names) for names in words.values()] == list(CONDITIONS)
    assert condition_of(("z", "pixels")) is None
    assert decoded_features(["pixels", "zc"]) == ("z", "c", "pixels")
    assert [condition for condition in CONDITIONS if not is_denoised(condition)] == ["pixels", "z"]
    for unknown in ("zx", "", "pixel", "cz", "zg", "g"):
        with raises_with(RecipeError, where="reconstruct.conditions", found=unknown):
            features_of(unknown)
        with pytest.raises(RecipeError, match="expected one of pixels, z, i"):
            with_settings(Recipe(), [f'reconstruct.conditions=["{unknown}"]'])


def test_pixels_become_images_of_another_size_without_a_generator() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.uniform(-0.5, 1.5, (2, 3, 8, 8)).astype(np.float32)
    images = pixel_images(pixels, 32)
    assert images.shape == (2, 32, 32, 3)
    assert images.min() >= 0
    assert images.max() <= 1
    np.testing.assert_allclose(pixel_images(pixels, 8), np.clip(pixels, 0, 1).transpose(0, 2, 3, 1), atol=1e-6)
    even = np.full((1, 3, 8, 8), 0.25, dtype=np.float32)
    np.testing.assert_allclose(pixel_images(even, 32), 0.25, atol=1e-6)


def test_grey_images_have_the_luminance_of_their_colours() -> None:
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(2, 5, 5, 3)).astype(np.float32)
    found = grey(images)
    assert (found == found[..., :1]).all()
    np.testing.assert_allclose(found[..., 0], images @ [0.2125, 0.7154, 0.0721], atol=1e-6)
    np.testing.assert_allclose(grey(found), found, atol=1e-6)


def test_the_function_reconstruct_takes_pixels_alone_and_writes_grey(tiny_model) -> None:
    model = load_model(str(tiny_model))
    pixels = np.random.default_rng(0).uniform(size=(2, 3, 8, 8)).astype(np.float32)
    coloured, plain = (reconstruct(model, pixels=pixels, grey=grey) for grey in (False, True))
    assert coloured.shape == plain.shape == (2, 1, 32, 32, 3)
    assert np.ptp(coloured.astype(int), axis=-1).max() > 20
    assert np.ptp(plain.astype(int), axis=-1).max() == 0
    with pytest.raises(ShapeError, match="at most one of each role: z or pixels, c or t, i; found z and pixels"):
        reconstruct(model, z=np.zeros((2, 4, 2, 2), dtype=np.float32), pixels=pixels)
    with pytest.raises(ShapeError, match=r"needs pixels of shape \(3, side, side\)"):
        reconstruct(model, pixels=pixels[:, :1])


def run(recipe: Recipe, folder) -> ResultsFolder:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.run(recipe, folder)
    return ResultsFolder.read(folder)


@pytest.fixture(scope="module")
def with_pixels(small_recipe, random_networks, tmp_path_factory) -> ResultsFolder:
    settings = ['reconstruct.conditions=["z", "pixels"]', "extract.pixels_size=8", "evaluate.full=true"]
    settings += ['encode.features=["z", "pixels"]', 'decode.rois.pixels=["low", "high"]']
    return run(with_settings(small_recipe, settings), tmp_path_factory.mktemp("pixels"))


def test_pixels_have_scores_and_chance_levels_of_their_own(with_pixels) -> None:
    scores = with_pixels.load_table("scores")
    mine = scores[scores["condition"] == "pixels"]
    assert set(mine["level"]) == {"mismatched", "permuted", "result", "oracle", "chance_mean", "chance_random"}
    assert {"pixcorr", "ssim", "identification", "image_r", "target_r"} <= set(mine["metric"])
    assert "nearest_pixels" in set(scores["condition"])
    assert "pixels" in set(with_pixels.load_table("encoding")["feature"])
    checks = Results.read(with_pixels.path).diagnostics.checks
    assert set(checks["feature"]) >= {"decoded z", "decoded pixels"}
    assert checks["sentence"].str.contains("pixels alone").any()
    report = (with_pixels.path / "report.html").read_text(encoding="utf-8")
    assert "pixels" in report


def test_the_oracle_of_pixels_is_the_image_made_smaller(with_pixels, brain_file) -> None:
    pixels = with_pixels.load_features(with_pixels.features_path("subj01/pixels"))
    assert pixels.array.shape == (8, 3, 8, 8)
    image = with_pixels.load_image(with_pixels.image_path("subj01", "oracle", "pixels", 4, 0))
    np.testing.assert_allclose(image, pixel_images(pixels.rows([4]), 32)[0] * 255, atol=0.51)
    decoder = with_pixels.load_features(with_pixels.decode_path("subj01", "pixels"))
    assert isinstance(decoder, Features)
    assert with_pixels.provenance["grey images of subj01"] == "no"


@pytest.mark.parametrize(("setting", "expected"), [("auto", True), ("false", False)])
def test_images_of_grey_stimuli_are_grey_unless_the_recipe_says_no(
    small_recipe, brain_file, tmp_path, setting, expected
) -> None:
    arrays = dict(np.load(brain_file))
    arrays["stimulus_images"] = np.repeat(arrays["stimulus_images"][..., :1], 3, axis=-1)
    np.savez(tmp_path / "subj01.npz", **arrays)
    settings = [f"data.path={tmp_path}/subj01.npz", 'reconstruct.conditions=["z", "zc", "pixels"]']
    settings += ["extract.pixels_size=8", f"reconstruct.grey={setting}"]
    results = run(with_settings(small_recipe, settings), tmp_path / "out")
    each = {}
    for path in sorted((tmp_path / "out/subj01/images").rglob("*.png")):
        image = results.load_image(path).astype(int)
        each.setdefault(path.parent.name, []).append(np.ptp(image, axis=-1).max())
    for condition in ("z", "zc"):
        assert bool(max(each[condition]) == 0) == expected
    assert max(each["pixels"]) <= 1  # three equal channels are decoded
    assert results.provenance.get("grey images of subj01") == ("yes" if setting == "auto" else None)


def test_pixels_need_no_caption_and_their_rois_are_read(small_recipe, tmp_path) -> None:
    settings = ['reconstruct.conditions=["pixels"]', 'encode.features=["pixels"]']
    assert all(finding.ok for finding in check(with_settings(small_recipe, settings), tmp_path / "out"))
    with pytest.raises(RecipeError, match=r"decode\.rois\.pixels names 'V9'"):
        with_settings(small_recipe, [*settings, 'decode.rois.pixels=["V9"]'])
