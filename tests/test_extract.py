"""Features of pictures and captions: z and c."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tiny_ldm import write_tiny_ldm

from reseen import extract as module
from reseen.errors import DataError, RecipeError
from reseen.extract import extract, mean_conditioning, z_size
from reseen.ldm import LatentDiffusion, load_ldm
from reseen.recipe import ExtractRecipe
from reseen.stimuli import Stimuli

IDS = np.array([4, 9, 2, 7, 5], dtype=np.int64)
RECIPE = ExtractRecipe()


@pytest.fixture(scope="module")
def ldm(tmp_path_factory: pytest.TempPathFactory) -> LatentDiffusion:
    return load_ldm(str(write_tiny_ldm(tmp_path_factory.mktemp("ldm") / "tiny")))


def image(stimulus_id: int) -> np.ndarray:
    return np.random.default_rng(stimulus_id).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def captions(stimulus_id: int) -> tuple[str, ...]:
    return tuple(f"a cat {k}" for k in range(stimulus_id % 3 + 1))


STIMULI = Stimuli(np.arange(10), image, captions)


def test_z_is_of_the_picture_at_five_eighths_and_c_is_the_mean_over_captions(ldm: LatentDiffusion) -> None:
    features = extract(STIMULI, IDS, ldm, recipe=RECIPE)
    z, c = features["z"], features["c"]
    assert z.array.shape == (5, 4, 5, 5)
    assert c.array.shape == (5, 24, 32)
    assert z.array.dtype == c.array.dtype == np.float32
    np.testing.assert_array_equal(z.stimulus_id, IDS)
    np.testing.assert_array_equal(c.stimulus_id, IDS)
    for row, stimulus in enumerate(IDS):
        small = np.asarray(Image.fromarray(image(stimulus)).resize((20, 20), Image.Resampling.LANCZOS))
        np.testing.assert_array_equal(z.array[row], ldm.image_to_latent(small[None])[0])
        each = ldm.text_to_conditioning(list(captions(stimulus)))
        np.testing.assert_allclose(c.array[row], each.mean(axis=0), atol=1e-6)


def test_the_posterior_mean_belongs_to_the_picture_alone(ldm: LatentDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = extract(STIMULI, IDS, ldm, recipe=RECIPE)
    monkeypatch.setattr(module, "AT_ONCE", 2)
    backwards = extract(STIMULI, IDS[::-1], ldm, recipe=RECIPE)
    for name in ("z", "c"):
        np.testing.assert_array_equal(whole[name].array, backwards[name].array[::-1])


def test_a_posterior_sample_repeats_and_depends_on_the_place_in_the_list(ldm: LatentDiffusion) -> None:
    recipe = ExtractRecipe(posterior="sample")
    one = extract(STIMULI, IDS, ldm, recipe=recipe)["z"]
    again = extract(STIMULI, IDS, ldm, recipe=recipe)["z"]
    later = extract(STIMULI, IDS[1:], ldm, recipe=recipe)["z"]
    mean = extract(STIMULI, IDS, ldm, recipe=RECIPE)["z"]
    np.testing.assert_array_equal(one.array, again.array)
    assert not np.allclose(one.array[1], later.array[0])
    assert not np.allclose(one.array, mean.array)


def test_progress_counts_stimuli(ldm: LatentDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    seen: list[tuple[int, int]] = []
    extract(STIMULI, IDS, ldm, recipe=RECIPE, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_captions_of_different_number_are_averaged_each_on_their_own(ldm: LatentDiffusion) -> None:
    means = mean_conditioning(ldm, [["a dog"], ["a dog", "a dog"], ["", "a dog"]])
    np.testing.assert_allclose(means[0], means[1], atol=1e-6)
    assert not np.allclose(means[0], means[2])


def test_a_picture_without_captions_is_named(ldm: LatentDiffusion) -> None:
    silent = Stimuli(np.arange(10), image, lambda stimulus: [] if stimulus == 2 else ["a cat"])
    with pytest.raises(DataError, match="stimulus 2 has no caption"):
        extract(silent, IDS, ldm, recipe=RECIPE)


def test_no_stimulus_at_all_is_refused(ldm: LatentDiffusion) -> None:
    with pytest.raises(DataError, match="no stimulus"):
        extract(STIMULI, [], ldm, recipe=RECIPE)


def test_a_size_that_the_autoencoder_cannot_halve_is_refused(ldm: LatentDiffusion) -> None:
    assert z_size(ldm, RECIPE) == 20
    assert z_size(ldm, ExtractRecipe(z_size=32)) == 32
    with pytest.raises(RecipeError, match="a multiple of 4, such as 20"):
        z_size(ldm, ExtractRecipe(z_size=21))
