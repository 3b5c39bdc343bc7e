"""The schedule, noising and denoising, against their definitions, diffusers and the original loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline
from fields import raises_with
from tiny_ldm import DIM, N_TOKENS, tiny_unet, tiny_vae
from torch import Tensor

from reseen.diffusion import Schedule, Spacing, add_noise, denoise
from reseen.errors import RecipeError, ShapeError

SCHEDULE = Schedule.scaled_linear()
SHAPE = (3, 4, 8, 8)


def scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        steps_offset=1,
        set_alpha_to_one=False,
        clip_sample=False,
    )


@pytest.fixture(scope="module")
def unet() -> torch.nn.Module:
    torch.manual_seed(1)
    return tiny_unet(8)


@pytest.fixture
def predict_noise(unet: torch.nn.Module) -> Callable[[Tensor, int, Tensor], Tensor]:
    def predict(latents: Tensor, timestep: int, conditioning: Tensor) -> Tensor:
        with torch.inference_mode():
            return unet(latents, timestep, encoder_hidden_states=conditioning).sample

    return predict


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def test_schedule_and_timesteps_are_those_of_diffusers() -> None:
    theirs = scheduler()
    np.testing.assert_allclose(SCHEDULE.signal_level, theirs.alphas_cumprod.numpy(), rtol=2e-5)
    for n_steps in (1, 7, 20, 50, 333):
        theirs.set_timesteps(n_steps)
        assert SCHEDULE.timesteps(n_steps) == tuple(theirs.timesteps.tolist())


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_a_fixed_noise_index_starts_every_number_of_steps_from_the_noise_of_50(spacing: Spacing) -> None:
    schedule = replace(SCHEDULE, spacing=spacing)
    of_50 = schedule.timesteps(50)
    assert schedule.timesteps(50, "fixed") == of_50
    for n_steps in (1, 10, 20):
        timesteps = schedule.timesteps(n_steps, "fixed")
        assert (timesteps[0], len(timesteps)) == (of_50[0], n_steps)
        assert sorted(set(timesteps), reverse=True) == list(timesteps)
        # as a start that is noised with full strength
        assert schedule.partial_timesteps(n_steps, 1.0, "fixed") == (of_50[0], timesteps)
    with raises_with(RecipeError, where="reconstruct.n_steps"):
        schedule.timesteps(0, "fixed")


def test_released_script_noises_to_801_and_denoises_from_781() -> None:
    noised, timesteps = SCHEDULE.partial_timesteps(50, 0.8, "compvis")
    assert (noised, timesteps[0], timesteps[-1], len(timesteps)) == (801, 781, 1, 40)
    assert math.sqrt(SCHEDULE.signal_level[noised]) == pytest.approx(0.191, abs=1e-3)
    noised, timesteps = SCHEDULE.partial_timesteps(50, 0.8, "diffusers")
    assert (noised, timesteps[0], len(timesteps)) == (781, 781, 40)
    assert math.sqrt(SCHEDULE.signal_level[noised]) == pytest.approx(0.208, abs=1e-3)


def test_full_strength_takes_every_step_and_is_refused_with_the_compvis_index() -> None:
    assert SCHEDULE.partial_timesteps(50, 1.0)[1] == SCHEDULE.timesteps(50)
    with raises_with(RecipeError, where="reconstruct.noise_index", expected="diffusers"):
        SCHEDULE.partial_timesteps(50, 1.0, "compvis")


@pytest.mark.parametrize("n_steps", [0, 1000, 2000])
def test_a_number_of_steps_that_the_schedule_has_no_room_for_is_refused(n_steps: int) -> None:
    with raises_with(RecipeError, where="reconstruct.n_steps", expected=(1, 999), found=n_steps):
        SCHEDULE.timesteps(n_steps)


def test_a_strength_that_leaves_no_step_is_refused() -> None:
    with raises_with(RecipeError, where="reconstruct.strength", found=0.05):
        SCHEDULE.partial_timesteps(10, 0.05)


def test_a_schedule_must_fall() -> None:
    with raises_with(ShapeError, where="signal_level"):
        Schedule(np.array([0.5, 0.9]))


def test_noise_is_added_as_diffusers_adds_it() -> None:
    latents, noise = draw(*SHAPE), draw(*SHAPE, seed=1)
    theirs = scheduler().add_noise(latents, noise, torch.tensor([781]))
    torch.testing.assert_close(add_noise(latents, noise, 781, SCHEDULE), theirs, rtol=1e-5, atol=1e-6)


def test_one_clean_image_is_found_again_from_any_noise() -> None:
    clean = draw(*SHAPE)

    def knows_the_answer(latents: Tensor, timestep: int, _conditioning: Tensor) -> Tensor:
        level = float(SCHEDULE.signal_level[timestep])
        return (latents - math.sqrt(level) * clean) / math.sqrt(1 - level)

    schedule = Schedule.scaled_linear(final_level=1.0)
    noise = draw(*SHAPE, seed=1)
    found = denoise(knows_the_answer, noise, torch.zeros(3, 1, 1), schedule=schedule, timesteps=schedule.timesteps(10))
    torch.testing.assert_close(found, clean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_denoising_gives_what_the_image_to_image_pipeline_of_diffusers_gives(
    unet: torch.nn.Module,
    predict_noise: Callable[[Tensor, int, Tensor], Tensor],
    guidance: float,
    strength: float,
) -> None:
    clean, conditioning, unconditional = draw(*SHAPE), draw(3, N_TOKENS, DIM), draw(1, N_TOKENS, DIM, seed=2)
    pipeline = StableDiffusionImg2ImgPipeline(
        vae=tiny_vae(),
        unet=unet,
        text_encoder=None,
        tokenizer=None,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        image=clean,  # four channels: taken as latents
        strength=strength,
        num_inference_steps=10,
        guidance_scale=guidance,
        prompt_embeds=conditioning,
        negative_prompt_embeds=unconditional.expand(3, -1, -1),
        generator=torch.Generator().manual_seed(5),
        output_type="latent",
    ).images
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(5))
    start, timesteps = SCHEDULE.partial_timesteps(10, strength, "diffusers")
    ours = denoise(
        predict_noise,
        add_noise(clean, noise, start, SCHEDULE),
        conditioning,
        schedule=SCHEDULE,
        timesteps=timesteps,
        guidance=guidance,
        unconditional=unconditional,
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-4)


def test_denoising_gives_what_the_released_loop_gives(
    predict_noise: Callable[[Tensor, int, Tensor], Tensor],
) -> None:
    """Write the authors' algorithm out plainly: encode to index t_enc of the rising steps, decode from t_enc - 1."""
    clean, noise = draw(*SHAPE), draw(*SHAPE, seed=1)
    conditioning, unconditional = draw(3, N_TOKENS, DIM), draw(1, N_TOKENS, DIM, seed=2)
    n_steps, strength, scale = 10, 0.8, 5.0

    level = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    rising = [1 + 1000 // n_steps * i for i in range(n_steps)]
    level_before = [level[0]] + [level[t] for t in rising[:-1]]
    t_enc = int(strength * n_steps)
    x = math.sqrt(level[rising[t_enc]]) * clean + math.sqrt(1 - level[rising[t_enc]]) * noise
    for i in range(t_enc - 1, -1, -1):
        e_without = predict_noise(x, rising[i], unconditional.expand(3, -1, -1))
        e_under = predict_noise(x, rising[i], conditioning)
        e = e_without + scale * (e_under - e_without)
        x0 = (x - math.sqrt(1 - level[rising[i]]) * e) / math.sqrt(level[rising[i]])
        x = math.sqrt(level_before[i]) * x0 + math.sqrt(1 - level_before[i]) * e

    start, timesteps = SCHEDULE.partial_timesteps(n_steps, strength, "compvis")
    ours = denoise(
        predict_noise,
        add_noise(clean, noise, start, SCHEDULE),
        conditioning,
        schedule=SCHEDULE,
        timesteps=timesteps,
        guidance=scale,
        unconditional=unconditional,
    )
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=2e-4)


def test_both_halves_of_the_guidance_are_one_call_and_every_step_is_shown() -> None:
    calls: list[int] = []
    steps: list[tuple[int, int]] = []

    def predict(latents: Tensor, _timestep: int, conditioning: Tensor) -> Tensor:
        assert len(latents) == len(conditioning)
        calls.append(len(latents))
        return torch.zeros_like(latents)

    def on_step(step: int, timestep: int, latents: Tensor, clean: Tensor) -> None:
        assert latents.shape == clean.shape == SHAPE
        steps.append((step, timestep))

    for guidance in (5.0, 1.0):
        denoise(
            predict,
            draw(*SHAPE),
            draw(3, 2, 2),
            schedule=SCHEDULE,
            timesteps=SCHEDULE.timesteps(2),
            guidance=guidance,
            unconditional=draw(1, 2, 2),
            on_step=on_step,
        )
    assert calls == [6, 6, 3, 3]
    assert steps == [(0, 501), (1, 1)] * 2


def test_guidance_without_the_empty_caption_and_odd_batches_are_refused() -> None:
    def never(latents: Tensor, _timestep: int, _conditioning: Tensor) -> Tensor:
        raise AssertionError

    with raises_with(ShapeError, where="unconditional"):
        denoise(never, draw(*SHAPE), draw(3, 2, 2), schedule=SCHEDULE, timesteps=(1,), guidance=2.0)
    with raises_with(ShapeError, where="conditioning", expected=3, found=2):
        denoise(never, draw(*SHAPE), draw(2, 2, 2), schedule=SCHEDULE, timesteps=(1,))
