"""Samplers against diffusers' schedulers and pipelines, and the timesteps and the noise that each one uses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LatentConsistencyModelImg2ImgPipeline,
    LCMScheduler,
    UNet2DConditionModel,
)
from fields import raises_with
from tiny_ldm import DIM, N_TOKENS, tiny_unet, write_tiny_ldm
from torch import Tensor

import reseen
from reseen.check.costs import count_evaluations
from reseen.check.sizes import guess_sizes
from reseen.diffusion import Schedule, add_noise, denoise
from reseen.errors import ModelError, RecipeError, ShapeError
from reseen.features import Features
from reseen.ldm import LatentDiffusion, load_model
from reseen.ldm.guidance import guidance_embedding
from reseen.ldm.recording_plan import plan_recording
from reseen.ldm.sampling import draw_noise, evaluations_per_step, sampler_inputs, sampling_schedule
from reseen.ldm.schedules import read_scheduler
from reseen.recipe import Recipe, ReconstructRecipe
from reseen.reconstruction import denoising_sequence, generate

SETTINGS = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "prediction_type": "epsilon",
}
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
SHAPE = (2, 4, 8, 8)
EMPTY = torch.zeros(2, 1, 1)
LCM_RECIPE = ReconstructRecipe(n_samples=2, n_steps=4, sampler="lcm", guidance=1.5)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network(latents: Tensor, timestep: int) -> Tensor:
    mix = draw(4, 4, seed=3) / 4
    return torch.tanh(torch.einsum("ij,njhw->nihw", mix, latents) + timestep / 1000)


def read(folder: Path, **settings: object) -> Schedule:
    file = folder / "scheduler_config.json"
    file.write_text(json.dumps(SETTINGS | settings))
    return read_scheduler(file)[0]


def predictors(schedule: Schedule, prediction: str) -> dict[str, Callable[[Tensor, int, Tensor], Tensor]]:
    """Predict noise and clean latents by the network, as a model of noise or of velocity."""

    def noise(latents: Tensor, timestep: int, _conditioning: Tensor) -> Tensor:
        level, output = float(schedule.signal_level[timestep]), network(latents, timestep)
        return output if prediction == "epsilon" else output * level**0.5 + latents * (1 - level) ** 0.5

    def clean(latents: Tensor, timestep: int, _conditioning: Tensor) -> Tensor:
        level = float(schedule.signal_level[timestep])
        return latents * level**0.5 - network(latents, timestep) * (1 - level) ** 0.5

    return {"predict_noise": noise, "predict_clean": clean}


# ------------------------------------------------------------------------------------------------ DDIM, DPM-Solver++


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("n_steps", [5, 10, 20])
@pytest.mark.parametrize("settings", [{}, {"timestep_spacing": "trailing"}, ZERO_SNR])
def test_dpmpp_is_diffusers_multistep_solver(tmp_path: Path, settings: dict[str, object], n_steps: int) -> None:
    schedule = read(tmp_path, **settings, set_alpha_to_one=True)
    theirs = DPMSolverMultistepScheduler.from_config(SETTINGS | settings, final_sigmas_type="zero")
    theirs.set_timesteps(n_steps)
    timesteps = tuple(theirs.timesteps.tolist())
    if settings:
        assert schedule.timesteps(n_steps) == timesteps
    expected = draw(*SHAPE)
    for timestep in theirs.timesteps:
        expected = theirs.step(network(expected, int(timestep)), timestep, expected).prev_sample
    options = predictors(schedule, str(settings.get("prediction_type", "epsilon")))
    found = denoise(
        latents=draw(*SHAPE), conditioning=EMPTY, schedule=schedule, timesteps=timesteps, order=2, **options
    )
    # at signal level 0 diffusers' solver computes with 2^-24, whose root is 2.4e-4
    tolerance = 4e-4 if "rescale_betas_zero_snr" in settings else 1e-4
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=tolerance)


@pytest.mark.parametrize("n_steps", [5, 10, 50])
def test_ddim_with_zero_terminal_snr_is_that_of_diffusers(tmp_path: Path, n_steps: int) -> None:
    schedule = read(tmp_path, **ZERO_SNR)
    theirs = DDIMScheduler.from_config(SETTINGS | ZERO_SNR)
    theirs.set_timesteps(n_steps)
    timesteps = schedule.timesteps(n_steps)
    np.testing.assert_allclose(schedule.signal_level, theirs.alphas_cumprod.numpy(), rtol=1e-4, atol=1e-8)
    assert schedule.signal_level[-1] == 0
    assert timesteps == tuple(theirs.timesteps.tolist())
    assert timesteps[0] == 999
    expected = draw(*SHAPE)
    for timestep in theirs.timesteps:
        expected = theirs.step(network(expected, int(timestep)), timestep, expected).prev_sample
    options = predictors(schedule, "v_prediction")
    found = denoise(latents=draw(*SHAPE), conditioning=EMPTY, schedule=schedule, timesteps=timesteps, **options)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_one_step_of_dpmpp_is_ddim() -> None:
    schedule = Schedule.scaled_linear()
    options = predictors(schedule, "epsilon")
    one, other = (
        denoise(latents=draw(*SHAPE), conditioning=EMPTY, schedule=schedule, timesteps=(781,), order=order, **options)
        for order in (1, 2)
    )
    assert torch.equal(one, other)


def test_signal_level_0_needs_clean_latents() -> None:
    schedule = Schedule.scaled_linear(zero_terminal_snr=True)
    with raises_with(ShapeError, where="predict_clean"):
        denoise(
            predictors(schedule, "epsilon")["predict_noise"], draw(*SHAPE), EMPTY, schedule=schedule, timesteps=[999]
        )


def test_a_model_of_velocity_with_zero_terminal_snr_makes_images_from_pure_noise(tmp_path: Path) -> None:
    folder = write_tiny_ldm(tmp_path / "zero", prediction_type="v_prediction")
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(SETTINGS | ZERO_SNR))
    ldm = load_model(str(folder))
    assert ldm.schedule.timesteps(5)[0] == 999
    c = draw(2, N_TOKENS, DIM)
    theirs = DDIMScheduler.from_config(SETTINGS | ZERO_SNR)
    theirs.set_timesteps(5)
    latents = torch.from_numpy(draw_noise(0, "", 1, 0, (4, 8, 8)))[None]
    with torch.inference_mode():
        for timestep in theirs.timesteps:
            velocity = ldm.unet(latents, timestep, encoder_hidden_states=c[1:]).sample
            latents = theirs.step(velocity, timestep, latents).prev_sample
    expected = np.round(ldm.latent_to_image(latents) * 255)
    for sampler in ("ddim", "dpmpp"):
        made = reseen.reconstruct(ldm, c=c.numpy(), n_samples=1, n_steps=5, guidance=1.0, sampler=sampler)
        assert made.std() > 0
        if sampler == "ddim":
            assert np.abs(made[1, 0].astype(int) - expected[0]).max() <= 1


def test_clean_latents_of_a_model_of_velocity_are_those_of_its_noise(tmp_path: Path) -> None:
    ldm = load_model(str(write_tiny_ldm(tmp_path / "v", prediction_type="v_prediction")))
    latents, c = draw(*SHAPE), draw(2, N_TOKENS, DIM)
    level = float(ldm.schedule.signal_level[501])
    noise = ldm.predict_noise(latents, 501, c)
    expected = (latents - (1 - level) ** 0.5 * noise) / level**0.5
    torch.testing.assert_close(ldm.predict_clean(latents, 501, c), expected, rtol=1e-4, atol=1e-4)  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------ strength


def test_a_fixed_noise_level_does_not_depend_on_the_number_of_steps() -> None:
    schedule = Schedule.scaled_linear()
    noised = {n: schedule.partial_timesteps(n, 0.8)[0] for n in (50, 25, 20, 10)}
    assert noised == {50: 781, 25: 761, 20: 751, 10: 701}
    for n_steps in (50, 25, 20, 15, 10, 7):
        start, timesteps = schedule.partial_timesteps(n_steps, 0.8, "fixed")
        assert (start, timesteps[0], timesteps[-1]) == (781, 781, 1)
        assert len(timesteps) == int(n_steps * 0.8)
        lengths = -np.diff(timesteps)
        assert lengths.max() - lengths.min() <= 1
    assert schedule.partial_timesteps(50, 0.8, "fixed") == schedule.partial_timesteps(50, 0.8)
    assert schedule.partial_timesteps(50, 0.3, "fixed") == schedule.partial_timesteps(50, 0.3)


def test_trailing_timesteps_have_a_fixed_noise_level_already() -> None:
    schedule = Schedule.scaled_linear(spacing="trailing")
    for n_steps in (50, 25, 20, 10):
        expected = schedule.partial_timesteps(n_steps, 0.8)
        assert expected[0] == 799
        assert schedule.partial_timesteps(n_steps, 0.8, "fixed") == expected


# ------------------------------------------------------------------------------------------------ LCM


@pytest.mark.parametrize(("n_steps", "strength"), [(1, 1.0), (4, 1.0), (4, 0.8), (7, 0.5), (50, 1.0)])
def test_timesteps_of_lcm_are_those_of_diffusers(n_steps: int, strength: float) -> None:
    theirs = LCMScheduler.from_config(SETTINGS)
    theirs.set_timesteps(n_steps, strength=strength)
    schedule = Schedule.scaled_linear(spacing="lcm")
    for index in ("diffusers", "fixed"):
        noised, timesteps = schedule.partial_timesteps(n_steps, strength, index)  # type: ignore[arg-type]
        assert timesteps == tuple(theirs.timesteps.tolist())
        assert noised == timesteps[0]
    if strength == 1.0:
        assert schedule.timesteps(n_steps) == timesteps


def test_more_steps_than_lcm_was_trained_on_and_the_compvis_index_are_refused() -> None:
    schedule = Schedule.scaled_linear(spacing="lcm")
    with raises_with(RecipeError, where="reconstruct.n_steps", expected=(1, 50), found=51):
        schedule.timesteps(51)
    with raises_with(RecipeError, where="reconstruct.n_steps", expected=(1, 25), found=26):
        schedule.partial_timesteps(26, 0.5)
    with raises_with(RecipeError, where="reconstruct.noise_index", found="compvis"):
        schedule.partial_timesteps(4, 0.8, "compvis")


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_lcm_is_diffusers_scheduler(prediction: str) -> None:
    theirs = LCMScheduler.from_config(SETTINGS | {"prediction_type": prediction})
    theirs.set_timesteps(4)
    generator = torch.Generator().manual_seed(7)
    expected = draw(*SHAPE)
    for timestep in theirs.timesteps:
        output = network(expected, int(timestep))
        expected = theirs.step(output, timestep, expected, generator=generator).prev_sample
    generator.manual_seed(7)
    schedule = Schedule.scaled_linear(spacing="lcm")
    steps = []

    def fresh(step: int) -> Tensor:
        steps.append(step)
        return torch.randn(SHAPE, generator=generator)

    options = predictors(schedule, prediction)
    found = denoise(
        latents=draw(*SHAPE),
        conditioning=EMPTY,
        schedule=schedule,
        timesteps=schedule.timesteps(4),
        step_noise=fresh,
        **options,
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert steps == [0, 1, 2]  # none after the last step


@pytest.fixture(scope="module")
def lcm(tmp_path_factory: pytest.TempPathFactory) -> LatentDiffusion:
    """Load a small latent consistency model, whose U-Net has guidance as an input."""
    return load_model(str(write_lcm(tmp_path_factory.mktemp("lcm") / "tiny")))


def write_lcm(folder: Path) -> Path:
    write_tiny_ldm(folder)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        config = {name: value for name, value in tiny_unet(8).config.items() if not name.startswith("_")}
        UNet2DConditionModel(**config | {"time_cond_proj_dim": 16}).save_pretrained(folder / "unet")
    LCMScheduler.from_config(SETTINGS).save_pretrained(folder / "scheduler")
    return folder


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_a_latent_consistency_model_is_diffusers_pipeline(lcm: LatentDiffusion, strength: float) -> None:
    assert lcm.embeds_guidance  # type: ignore[attr-defined]
    pipeline = LatentConsistencyModelImg2ImgPipeline(
        vae=lcm.vae,  # type: ignore[attr-defined]
        unet=lcm.unet,
        text_encoder=None,
        tokenizer=None,
        scheduler=LCMScheduler.from_config(SETTINGS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    clean, c = draw(*SHAPE), draw(2, N_TOKENS, DIM)
    expected = pipeline(
        image=clean,  # four channels: taken as latents
        strength=strength,
        num_inference_steps=3,
        guidance_scale=7.5,
        prompt_embeds=c,
        generator=torch.Generator().manual_seed(5),
        output_type="latent",
    ).images
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(SHAPE, generator=generator)
    fresh = torch.stack([torch.randn(SHAPE, generator=generator) for _ in range(2)], dim=1)
    schedule = sampling_schedule(lcm, "lcm")
    start, timesteps = schedule.partial_timesteps(3, strength)
    predict_noise, options = sampler_inputs(lcm, schedule, timesteps, 7.5, fresh.numpy())
    assert options["guidance"] == 1.0
    found = denoise(
        predict_noise,
        add_noise(clean, noise, start, schedule),
        c,
        schedule=schedule,
        timesteps=timesteps,
        **options,
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-4)
    other, _ = sampler_inputs(lcm, schedule, timesteps, 1.0, None)
    assert not torch.allclose(other(clean, 501, c), predict_noise(clean, 501, c))


def test_the_embedding_of_guidance_is_that_of_diffusers() -> None:
    theirs = LatentConsistencyModelImg2ImgPipeline.get_guidance_scale_embedding
    for dim in (16, 17, 256):
        expected = theirs(None, torch.tensor([6.5]), embedding_dim=dim)
        torch.testing.assert_close(guidance_embedding(7.5, dim), expected, rtol=1e-4, atol=1e-3)


def images_of(ldm: LatentDiffusion, condition: str, *, batch_size: int, jobs: list[tuple[int, int]]) -> dict:
    rng = np.random.default_rng(0)
    ids = np.array([5, 3, 8])
    z = Features("z", rng.standard_normal((3, 4, 5, 5), dtype=np.float32), ids)
    c = Features("c", rng.standard_normal((3, N_TOKENS, DIM), dtype=np.float32), ids)
    made = {}
    generate(
        ldm,
        condition,
        {"z": z, "c": c},
        recipe=LCM_RECIPE.model_copy(update={"batch_size": batch_size}),
        seed=1,
        subject="subj01",
        jobs=jobs,
        write=lambda item, sample, image: made.__setitem__((item, sample), image),
    )
    return made


@pytest.mark.parametrize("condition", ["c", "zc"])
def test_images_of_lcm_do_not_depend_on_batch_or_order(lcm: LatentDiffusion, condition: str) -> None:
    jobs = [(item, sample) for item in range(3) for sample in range(2)]
    together = images_of(lcm, condition, batch_size=8, jobs=jobs)
    apart = images_of(lcm, condition, batch_size=1, jobs=jobs[::-1])
    resumed = images_of(lcm, condition, batch_size=2, jobs=jobs[3:])
    for job, image in together.items():
        np.testing.assert_array_equal(image, apart[job])
        if job in resumed:
            np.testing.assert_array_equal(image, resumed[job])
    assert not np.array_equal(together[0, 0], together[0, 1])


def test_noise_of_steps_differs_between_steps_and_from_that_of_the_sample() -> None:
    drawn = [draw_noise(0, "subj01", 3, 1, (4, 8, 8), step=step) for step in (None, 0, 1)]
    for i, one in enumerate(drawn):
        for other in drawn[i + 1 :]:
            assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.3


def test_the_denoising_sequence_of_lcm_ends_with_its_image(lcm: LatentDiffusion) -> None:
    made = images_of(lcm, "zc", batch_size=8, jobs=[(1, 1)])
    rng = np.random.default_rng(0)
    z = rng.standard_normal((3, 4, 5, 5), dtype=np.float32)[1]
    c = rng.standard_normal((3, N_TOKENS, DIM), dtype=np.float32)[1]
    which = {"seed": 1, "subject": "subj01", "stimulus_id": 3, "sample": 1}
    frames = denoising_sequence(lcm, "zc", {"z": z, "c": c}, recipe=LCM_RECIPE, **which)  # type: ignore[arg-type]
    assert len(frames) == 5
    np.testing.assert_array_equal(frames[-1], made[1, 1])


@pytest.mark.parametrize(
    ("distilled", "guidance", "expected"), [(True, 1.5, 1), (True, 1.0, 1), (False, 1.5, 2), (False, 1.0, 1)]
)
def test_the_counted_evaluations_of_a_step_are_those_of_the_unet(
    lcm: LatentDiffusion, tmp_path: Path, distilled: bool, guidance: float, expected: int
) -> None:
    ldm = lcm if distilled else load_model(str(write_tiny_ldm(tmp_path / "tiny")))
    rows: list[int] = []
    counting = ldm.unet.register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0])))  # type: ignore[attr-defined]
    sampler = "lcm" if distilled else "ddim"
    reseen.reconstruct(
        ldm, c=draw(1, N_TOKENS, DIM).numpy(), n_samples=64, n_steps=4, guidance=guidance, sampler=sampler
    )
    counting.remove()
    assert evaluations_per_step(ldm, guidance) == expected
    assert sum(rows) == 64 * 4 * expected  # one full batch of 64 samples, four steps


def test_check_counts_one_evaluation_a_step_of_lcm(lcm: LatentDiffusion) -> None:
    recipe = Recipe(reconstruct=LCM_RECIPE.model_copy(update={"conditions": ("c",), "guidance": 5.0}))
    plain = Recipe(reconstruct=recipe.reconstruct.model_copy(update={"guidance": 1.0}))
    sizes = guess_sizes(recipe)
    found = count_evaluations(recipe, sizes, lcm)
    assert found == count_evaluations(plain, sizes, lcm)
    assert count_evaluations(recipe, sizes, load_model("builtin")) == 2 * found


def test_a_distilled_model_refuses_other_samplers(lcm: LatentDiffusion) -> None:
    c = draw(1, N_TOKENS, DIM).numpy()
    for sampler in ("ddim", "dpmpp"):
        with raises_with(RecipeError, where="reconstruct.sampler", expected="lcm", found=sampler):
            reseen.reconstruct(lcm, c=c, n_steps=4, sampler=sampler)
    with raises_with(RecipeError, where="reconstruct.sampler", expected="lcm", found="ddim"):
        plan_recording(lcm, ["zc"], recipe=LCM_RECIPE)
    assert reseen.reconstruct(lcm, c=c, n_samples=1, n_steps=2, sampler="lcm").shape == (1, 1, 32, 32, 3)


def test_guidance_as_an_input_needs_the_scheduler_of_lcm(tmp_path: Path) -> None:
    folder = write_lcm(tmp_path / "lcm")
    DDIMScheduler.from_config(SETTINGS).save_pretrained(folder / "scheduler")
    with raises_with(ModelError, where="time_cond_proj_dim", expected="LCMScheduler", found=16):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"_class_name": "LCMScheduler", "timestep_scaling": 5.0}, "timestep_scaling is 5.0"),
        ({"_class_name": "LCMScheduler", "original_inference_steps": 2000}, "original_inference_steps exceeds"),
        ({"_class_name": "TCDScheduler"}, "distilled for TCDScheduler"),
        ({"rescale_betas_zero_snr": True}, "needs a model that predicts velocity"),
    ],
)
def test_schedulers_that_cannot_be_sampled_are_refused(tmp_path: Path, more: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read(tmp_path, **more)


def test_an_euler_scheduler_with_zero_terminal_snr_is_no_turbo(tmp_path: Path) -> None:
    schedule = read(tmp_path, _class_name="EulerDiscreteScheduler", **ZERO_SNR)
    assert schedule.signal_level[-1] == 0
