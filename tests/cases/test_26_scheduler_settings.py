"""Settings of schedulers are honoured as by diffusers' DDIMScheduler, or refused (huggingface/diffusers#6068)."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from fields import raises_with

from reseen.diffusion import denoise
from reseen.errors import ModelError, RecipeError
from reseen.ldm.schedules import read_scheduler

BASE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "clip_sample": False,
    "prediction_type": "epsilon",
}


def scheduler(tmp_path, **more):
    file = tmp_path / "scheduler_config.json"
    file.write_text(json.dumps({**BASE, **more}))
    return file


@pytest.mark.parametrize(
    "more",
    [
        {"_class_name": "DDIMScheduler"},
        {"_class_name": "EulerDiscreteScheduler"},
        {"_class_name": "PNDMScheduler", "set_alpha_to_one": False},
        {"_class_name": "DDIMScheduler", "set_alpha_to_one": True},
    ],
)
def test_the_last_signal_level_is_that_of_diffusers(tmp_path, more):
    schedule, _ = read_scheduler(scheduler(tmp_path, **more))
    mine = schedule.signal_level[0] if schedule.final_level is None else schedule.final_level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = DDIMScheduler.from_config({**BASE, **more}).final_alpha_cumprod
    assert mine == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.parametrize("n_steps", [10, 50])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_denoising_is_that_of_diffusers_ddim_under_the_same_settings(tmp_path, spacing, prediction, n_steps):
    settings = {"_class_name": "DDIMScheduler", "timestep_spacing": spacing, "prediction_type": prediction}
    settings |= {"set_alpha_to_one": False}
    schedule, predicts = read_scheduler(scheduler(tmp_path, **settings))
    assert predicts == prediction
    ddim = DDIMScheduler.from_config({**BASE, **settings})
    ddim.set_timesteps(n_steps)
    assert schedule.timesteps(n_steps) == tuple(ddim.timesteps.tolist())
    rng = torch.Generator().manual_seed(0)
    start, mix = torch.randn(1, 4, 8, 8, generator=rng), torch.randn(4, 4, generator=rng) / 4

    def network(latents, timestep):
        return torch.tanh(torch.einsum("ij,njhw->nihw", mix, latents) + timestep / 1000)

    theirs = start
    for timestep in ddim.timesteps:
        theirs = ddim.step(network(theirs, int(timestep)), timestep, theirs).prev_sample

    def predict_noise(latents, timestep, _conditioning):
        output = network(latents, timestep)
        level = float(schedule.signal_level[timestep])
        return output if predicts == "epsilon" else output * level**0.5 + latents * (1 - level) ** 0.5

    timesteps = schedule.timesteps(n_steps)
    mine = denoise(predict_noise, start, torch.zeros(1, 1, 1), schedule=schedule, timesteps=timesteps)
    np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-5)


def test_trailing_steps_of_unequal_length_are_refused(tmp_path):
    schedule, _ = read_scheduler(scheduler(tmp_path, timestep_spacing="trailing"))
    with raises_with(RecipeError, where="reconstruct.n_steps", found=30):
        schedule.timesteps(30)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"_class_name": "TCDScheduler"}, "distilled for TCDScheduler"),
        ({"original_inference_steps": 50}, "distilled for an unknown sampling"),
        ({"_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"}, "Turbo"),
        ({"timestep_spacing": "linspace"}, "timestep_spacing is 'linspace'"),
        ({"prediction_type": "sample"}, "prediction_type is 'sample'"),
        ({"beta_schedule": "linear"}, "beta_schedule is 'linear'"),
        ({"rescale_betas_zero_snr": True}, "needs a model that predicts velocity"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas is set"),
        ({"thresholding": True}, "thresholding is set"),
        ({"steps_offset": 7}, "steps_offset is 7"),
        ({"beta_start": "0.00085"}, "does not contain the expected JSON at beta_start"),
        ({"beta_end": 0.0001}, "noise must grow"),
        ({"num_train_timesteps": 10**9}, "does not contain the expected JSON at num_train_timesteps"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused_by_name(tmp_path, more, said):
    with pytest.raises(ModelError, match=said):
        read_scheduler(scheduler(tmp_path, **more))
