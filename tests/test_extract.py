"""Features of images and captions: z and c, and what the model makes of them while it denoises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fields import raises_with
from PIL import Image
from tiny_ldm import write_tiny_ldm

from reseen.errors import DataError, ModelError, RecipeError
from reseen.features import Features
from reseen.ldm import LatentDiffusion, load_model
from reseen.ldm import extraction as module
from reseen.ldm.denoised_features import record_features
from reseen.ldm.extraction import extract, mean_conditioning, z_size
from reseen.ldm.recording import Recording
from reseen.ldm.recording_plan import plan_recording, steps_taken
from reseen.ldm.sampling import begin, coarse_latents, draw_noise
from reseen.recipe import ExtractRecipe, ReconstructRecipe
from reseen.reconstruction import generate
from reseen.stimuli import Stimuli

IDS = np.array([4, 9, 2, 7, 5], dtype=np.int64)
RECIPE = ExtractRecipe()


@pytest.fixture(scope="module")
def ldm(tmp_path_factory: pytest.TempPathFactory) -> LatentDiffusion:
    return load_model(str(write_tiny_ldm(tmp_path_factory.mktemp("ldm") / "tiny")))


def image(stimulus_id: int) -> np.ndarray:
    return np.random.default_rng(stimulus_id).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def captions(stimulus_id: int) -> tuple[str, ...]:
    return tuple(f"a cat {k}" for k in range(stimulus_id % 3 + 1))


STIMULI = Stimuli(image, captions, np.arange(10))


def test_z_is_of_the_image_at_five_eighths_and_c_is_the_mean_over_captions(ldm: LatentDiffusion) -> None:
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


def test_the_posterior_mean_belongs_to_the_image_alone(ldm: LatentDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_image_without_captions_is_named(ldm: LatentDiffusion) -> None:
    silent = Stimuli(image, lambda stimulus: [] if stimulus == 2 else ["a cat"], np.arange(10))
    with pytest.raises(DataError, match="stimulus 2 has no caption"):
        extract(silent, IDS, ldm, recipe=RECIPE)


def test_no_stimulus_at_all_is_refused(ldm: LatentDiffusion) -> None:
    with raises_with(DataError, where="stimulus_id", found=0):
        extract(STIMULI, [], ldm, recipe=RECIPE)


def test_a_size_that_the_autoencoder_cannot_halve_is_refused(ldm: LatentDiffusion) -> None:
    assert z_size(ldm, RECIPE) == 20
    assert z_size(ldm, ExtractRecipe(z_size=32)) == 32
    with raises_with(RecipeError, where="extract.z_size", expected=20, found=21):
        z_size(ldm, ExtractRecipe(z_size=21))


# ---------------------------------------------------------------------------------------------------- record

SAMPLING = ReconstructRecipe(n_steps=5, strength=0.8, guidance=3.0, batch_size=64)
WANTED = ("zc", "zc@progress=0.0", "zc@progress=0.5", "zc@strength=0.4", "unet/mid_block@progress=0.5")


@pytest.fixture(scope="module")
def true(ldm: LatentDiffusion) -> dict[str, Features]:
    return extract(STIMULI, IDS, ldm, recipe=RECIPE)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reseen.ldm.recording_plan.rows_at_once", lambda _bytes: 2)


def collect(
    ldm: LatentDiffusion,
    true: dict[str, Features],
    features: tuple[str, ...] = WANTED,
    recipe: ReconstructRecipe = SAMPLING,
    made: dict[int, dict[str, np.ndarray]] | None = None,
    stop_before: int = -1,
) -> dict[int, dict[str, np.ndarray]]:
    blocks = {} if made is None else made

    def write(number: int, ids: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
        assert number not in blocks
        if number == stop_before:
            raise KeyboardInterrupt
        blocks[number] = {"stimulus_id": ids, **arrays}

    record_features(
        plan_recording(ldm, features, recipe=recipe),
        ldm,
        true["z"],
        true["c"],
        recipe=recipe,
        seed=3,
        subject="subj01",
        write=write,
        done=blocks.__contains__,
    )
    return blocks


@pytest.fixture(scope="module")
def collected(ldm: LatentDiffusion, true: dict[str, Features]) -> dict[str, np.ndarray]:
    (block,) = collect(ldm, true).values()
    return block


def by_hand(ldm: LatentDiffusion, true: dict[str, Features], item: int, strength: float) -> list[torch.Tensor]:
    """Give the latents before and after every step, written out for one stimulus, and what mid_block gave at each."""
    latents, timesteps = begin(
        ldm,
        coarse_latents(ldm, true["z"].array[[item]], SAMPLING),
        draw_noise(3, "subj01", int(IDS[item]), 0, ldm.latent_shape)[None],
        SAMPLING,
        strength,
    )
    empty, c = torch.from_numpy(ldm.text_to_conditioning([""])), torch.from_numpy(true["c"].array[[item]])
    levels = [float(ldm.schedule.signal_level[t]) for t in (*timesteps, 0)]
    seen, path = [], [latents]
    hook = ldm.unet.mid_block.register_forward_hook(lambda _m, _i, output: seen.append(output[:1].clone()))
    for timestep, level, following in zip(timesteps, levels, levels[1:], strict=False):
        without, under = (ldm.predict_noise(latents, timestep, given) for given in (empty, c))
        noise = without + SAMPLING.guidance * (under - without)
        clean = (latents - (1 - level) ** 0.5 * noise) / level**0.5
        latents = following**0.5 * clean + (1 - following) ** 0.5 * noise
        path.append(latents)
    hook.remove()
    return [*path, *seen[1::2]]


def test_latents_and_activations_are_those_of_the_loop_written_out(
    ldm: LatentDiffusion, true: dict[str, Features], collected: dict[str, np.ndarray]
) -> None:
    for item in (0, 4):
        path = by_hand(ldm, true, item, 0.8)  # the noised latent, four steps, four activations
        for name, expected in (("zc@progress=0.0", path[0]), ("zc@progress=0.5", path[2]), ("zc", path[4])):
            np.testing.assert_allclose(collected[name][item], expected[0].numpy(), atol=1e-4)
        activations = collected["unet/mid_block@progress=0.5"]
        assert activations.dtype == np.float16
        # half of four steps: the second one
        np.testing.assert_allclose(activations[item], path[6][0].numpy(), rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(
            collected["zc@strength=0.4"][item], by_hand(ldm, true, item, 0.4)[2][0].numpy(), atol=1e-4
        )


def test_zc_is_what_reconstruct_makes_its_ceiling_of(
    ldm: LatentDiffusion, true: dict[str, Features], collected: dict[str, np.ndarray]
) -> None:
    images = {}
    generate(
        ldm,
        "zc",
        true,
        recipe=SAMPLING.model_copy(update={"n_samples": 1}),
        seed=3,
        subject="subj01",
        write=lambda item, _draw, image: images.__setitem__(item, image),
    )
    shown = np.round(ldm.latent_to_image(collected["zc"]) * 255).astype(np.uint8)
    for item in range(len(IDS)):
        np.testing.assert_array_equal(shown[item], images[item])


@pytest.mark.parametrize("batch_size", [1, 64])
def test_blocks_hold_the_same_bytes_whatever_the_batch_or_a_kill(
    ldm: LatentDiffusion,
    true: dict[str, Features],
    collected: dict[str, np.ndarray],
    small_blocks: None,
    batch_size: int,
) -> None:
    recipe = SAMPLING.model_copy(update={"batch_size": batch_size})
    made: dict[int, dict[str, np.ndarray]] = {}
    with pytest.raises(KeyboardInterrupt):
        collect(ldm, true, recipe=recipe, made=made, stop_before=1)
    assert set(made) == {0}
    first = made[0]
    collect(ldm, true, recipe=recipe, made=made)
    assert made[0] is first
    assert set(made) == {0, 1, 2}
    for name in (*WANTED, "stimulus_id"):
        joined = np.concatenate([made[number][name] for number in range(3)])
        assert joined.dtype == collected[name].dtype
        np.testing.assert_array_equal(joined, collected[name])


def test_what_a_recording_costs_is_what_it_takes(
    ldm: LatentDiffusion, true: dict[str, Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_recording(ldm, ("z", "c", *WANTED), recipe=SAMPLING)
    counted = []
    predict = type(ldm).predict_noise
    monkeypatch.setattr(
        type(ldm),
        "predict_noise",
        lambda self, latents, *rest: counted.append(len(latents)) or predict(self, latents, *rest),
    )
    (block,) = collect(ldm, true).values()
    assert sum(counted) == plan.n_evaluations(5) == 5 * 2 * (4 + 2)
    assert sum(block[name].nbytes for name in WANTED) == plan.n_bytes(5)
    assert plan.describe(5) == "5 features of 5 images, 2.6e-05 GB, 60 U-Net evaluations"
    assert plan_recording(ldm, ("z", "c"), recipe=SAMPLING).runs == ()


def test_activations_without_room_in_half_precision_are_refused(
    ldm: LatentDiffusion, true: dict[str, Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recording, "taken", lambda _self, _layer: np.full((5, 32, 4, 4), np.inf, dtype=np.float16))
    with pytest.raises(ModelError, match=r"mid_block.*not finite.*encode.activations to 'fp32'"):
        collect(ldm, true)


@pytest.mark.parametrize(("progress", "steps"), [(None, 16), (0.0, 0), (0.2, 3), (0.44, 7), (0.86, 14), (1.0, 16)])
def test_a_share_of_the_steps_is_the_nearest_number_of_steps(progress: float | None, steps: int) -> None:
    assert steps_taken(progress, 16) == steps


def test_what_cannot_be_denoised_is_refused_beforehand(ldm: LatentDiffusion) -> None:
    with raises_with(RecipeError, where="reconstruct.strength", found=0.1):
        plan_recording(ldm, ["zc@strength=0.1"], recipe=SAMPLING)
    with raises_with(RecipeError, where="encode.layers", found="nosuch"):
        plan_recording(ldm, ["unet/nosuch@progress=1.0"], recipe=SAMPLING)
