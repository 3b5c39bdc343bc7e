"""Stable Diffusion XL: small random components, against diffusers' pipeline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, UNet2DConditionModel
from fields import raises_with
from original_layout import original_weights_xl
from safetensors.torch import load_file, save_file
from tiny_ldm import (
    DIM,
    N_TOKENS,
    POOLED_DIM,
    SECOND_DIM,
    tiny_xl_unet,
    write_random_adapter,
    write_tiny_ldm,
    write_tiny_xl,
)

import reseen
from reseen.diffusion import add_noise, denoise
from reseen.errors import ModelError, ShapeError
from reseen.ldm import load_model
from reseen.ldm.original import read_settings
from reseen.ldm.recording import recording
from reseen.ldm.stable import StableDiffusion
from reseen.ldm.xl import StableDiffusionXL

SHAPE = (2, 4, 8, 8)
CAPTIONS = ["a cat on a beach", "two red houses"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_xl(tmp_path_factory.mktemp("xl") / "tiny")


@pytest.fixture(scope="module")
def ldm(folder: Path) -> StableDiffusionXL:
    loaded = load_model(str(folder))
    assert isinstance(loaded, StableDiffusionXL)
    return loaded


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> StableDiffusionXLImg2ImgPipeline:
    made = StableDiffusionXLImg2ImgPipeline.from_pretrained(folder).to(torch.float32)
    made.set_progress_bar_config(disable=True)
    return made


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def change(file: Path, **settings: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def test_sizes_are_read_from_the_model(ldm: StableDiffusionXL) -> None:
    assert (ldm.image_size, ldm.latent_shape, ldm.n_tokens) == (32, (4, 8, 8), N_TOKENS)
    assert ldm.conditioning_shape == (N_TOKENS + 1, DIM + SECOND_DIM)
    assert repr(ldm).startswith("StableDiffusionXL ")
    assert ldm.count_cut(["a" * (N_TOKENS - 2), "a" * (N_TOKENS - 1)]) == 1


def test_conditioning_is_that_of_diffusers(ldm: StableDiffusionXL, pipeline: StableDiffusionXLImg2ImgPipeline) -> None:
    with torch.inference_mode():
        words, empty, pooled, empty_pooled = pipeline.encode_prompt(CAPTIONS, do_classifier_free_guidance=True)
    conditioning = ldm.text_to_conditioning(CAPTIONS)
    assert (conditioning.shape, conditioning.dtype) == ((2, N_TOKENS + 1, DIM + SECOND_DIM), np.float32)
    np.testing.assert_allclose(conditioning[:, :N_TOKENS], words.numpy(), atol=2e-5)
    np.testing.assert_allclose(conditioning[:, N_TOKENS, :POOLED_DIM], pooled.numpy(), atol=2e-5)
    assert not conditioning[:, N_TOKENS, POOLED_DIM:].any()
    assert not np.allclose(pooled[0], pooled[1])
    assert not empty.any()
    assert not empty_pooled.any()
    assert not ldm.unconditional.any()
    assert ldm.text_to_conditioning([""]).any()
    with raises_with(ShapeError, where="captions", found=0):
        ldm.text_to_conditioning([])


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_images_are_those_of_diffusers_image_to_image_pipeline(
    ldm: StableDiffusionXL, pipeline: StableDiffusionXLImg2ImgPipeline, guidance: float, strength: float
) -> None:
    clean, steps = draw(*SHAPE), round(3 / strength)
    expected = pipeline(
        prompt=CAPTIONS,
        image=clean,  # four channels: taken as latents
        strength=strength,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(5),
        output_type="latent",
    ).images
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(5))
    start, timesteps = ldm.schedule.partial_timesteps(steps, strength)
    assert len(timesteps) == 3
    found = denoise(
        ldm.predict_noise,
        add_noise(clean, noise, start, ldm.schedule),
        torch.from_numpy(ldm.text_to_conditioning(CAPTIONS)),
        schedule=ldm.schedule,
        timesteps=timesteps,
        guidance=guidance,
        unconditional=torch.from_numpy(np.array(ldm.unconditional))[None],
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-4)


def test_pooled_embedding_and_size_of_the_image_matter(ldm: StableDiffusionXL) -> None:
    c = draw(2, *ldm.conditioning_shape)
    predicted = ldm.predict_noise(draw(*SHAPE), 301, c)
    other = c.clone()
    other[:, N_TOKENS, :POOLED_DIM] += 1
    assert (ldm.predict_noise(draw(*SHAPE), 301, other) - predicted).norm() > 0.01 * predicted.norm()
    other = c.clone()
    other[:, N_TOKENS, POOLED_DIM:] += 1  # numbers of the last row that are not used
    assert torch.equal(ldm.predict_noise(draw(*SHAPE), 301, other), predicted)
    sizes = ldm._unet_inputs(c)["added_cond_kwargs"]["time_ids"]
    assert sizes.tolist() == [[32, 32, 0, 0, 32, 32]] * 2


def test_a_model_that_encodes_the_empty_caption_says_so(folder: Path, ldm: StableDiffusionXL, tmp_path: Path) -> None:
    other = load_model(str(write_tiny_xl(tmp_path / "encodes", zeros=False)))
    np.testing.assert_array_equal(other.unconditional, other.text_to_conditioning([""])[0])
    assert other.unconditional.any()
    assert other.fingerprint != ldm.fingerprint
    assert load_model(str(folder)).fingerprint == ldm.fingerprint


def test_reconstruction_extraction_and_recording_work_as_with_every_model(ldm: StableDiffusionXL) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    stimuli = reseen.Stimuli(images, ["a red car", "a tree", "two cats"])
    features = ldm.extract(stimuli, ["z", "c"])
    options = {"n_samples": 2, "n_steps": 4, "strength": 0.5}
    made = reseen.reconstruct(ldm, z=features["z"], c=features["c"], **options)
    one = reseen.reconstruct(ldm, z=features["z"], c=features["c"], batch_size=1, **options)
    np.testing.assert_array_equal(made, one)
    assert made.shape == (3, 2, 32, 32, 3)
    assert not np.array_equal(made[0], made[1])
    with recording(ldm, ["mid_block"], [1], n=2) as recorded:
        recorded.predict_noise(draw(*SHAPE), 1, draw(2, *ldm.conditioning_shape))
        assert recorded.taken("mid_block").shape[0] == 2


def test_half_precision_is_for_the_noise_predictor_alone(folder: Path, ldm: StableDiffusionXL) -> None:
    half = load_model(str(folder), precision="fp16")
    assert isinstance(half, StableDiffusionXL)
    assert half.unet.dtype == torch.float16
    assert half.vae.dtype == half.text_encoder.dtype == half.text_encoder_2.dtype == torch.float32
    exact = half.in_single_precision
    assert isinstance(exact, StableDiffusionXL)
    c = torch.from_numpy(ldm.text_to_conditioning(CAPTIONS))
    noise = ldm.predict_noise(draw(*SHAPE), 301, c)
    assert torch.equal(exact.predict_noise(draw(*SHAPE), 301, c), noise)
    assert (half.predict_noise(draw(*SHAPE), 301, c) - noise).norm() < 4e-3 * noise.norm()


def test_an_image_adapter_joins_its_tokens_behind_the_pooled_embedding(
    folder: Path, ldm: StableDiffusionXL, tmp_path: Path
) -> None:
    file = write_random_adapter(tmp_path, dim=DIM + SECOND_DIM, unet=tiny_xl_unet(8))
    adapted = load_model(str(folder), image_adapter=str(file))
    assert isinstance(adapted, StableDiffusionXL)
    text = ldm.text_to_conditioning(CAPTIONS)
    plain = ldm.predict_noise(draw(*SHAPE), 301, torch.from_numpy(text))
    assert torch.equal(adapted.predict_noise(draw(*SHAPE), 301, torch.from_numpy(text)), plain)
    embedding = draw(2, *(adapted.image_shape or ())).numpy()
    both = torch.from_numpy(adapted.join_image(text, embedding))
    assert both.shape == (2, N_TOKENS + 1 + adapted.n_image_tokens, DIM + SECOND_DIM)
    scales = [adapted.predict_noise(draw(*SHAPE), 301, both, image_scale=scale) for scale in (0.0, 1.0)]
    torch.testing.assert_close(scales[0], plain, rtol=1e-5, atol=1e-5)
    assert (scales[1] - plain).norm() > 1e-3 * plain.norm()


# ------------------------------------------------------------------------------------------------ what is refused


def test_the_refiner_is_refused(copy: Path, tmp_path: Path) -> None:
    change(copy / "model_index.json", requires_aesthetics_score=True)
    with raises_with(ModelError, where=copy):
        load_model(str(copy))
    change(copy / "model_index.json", requires_aesthetics_score=False)
    load_model(str(copy))
    config = {name: value for name, value in tiny_xl_unet(8).config.items() if not name.startswith("_")}
    n_inputs = POOLED_DIM + 5 * config["addition_time_embed_dim"]
    refiner = UNet2DConditionModel(**config | {"projection_class_embeddings_input_dim": n_inputs})
    refiner.save_pretrained(copy / "unet")
    with raises_with(ModelError, where="projection_class_embeddings_input_dim", found=n_inputs):
        load_model(str(copy))
    shutil.rmtree(copy / "text_encoder")
    with pytest.raises(ModelError, match="is the refiner of Stable Diffusion XL"):
        load_model(str(copy))


@pytest.mark.parametrize("lost", ["text_encoder_2/config.json", "tokenizer_2", "text_encoder_2/*.safetensors"])
def test_a_part_that_is_missing_is_named(copy: Path, lost: str) -> None:
    for path in list(copy.glob(lost)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    with pytest.raises(ModelError, match=rf"lacks .*{lost.partition('/')[0]}"):
        load_model(str(copy))


def test_a_second_encoder_without_its_projection_is_refused(copy: Path) -> None:
    file = copy / "text_encoder_2" / "model.safetensors"
    weights = load_file(file)
    del weights["text_projection.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with raises_with(ModelError, where=copy / "text_encoder_2", expected=["text_projection.weight"]):
        load_model(str(copy))


def test_parts_of_different_models_are_refused(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "unet")
    shutil.copytree(write_tiny_ldm(tmp_path / "first") / "unet", copy / "unet")
    with raises_with(ModelError, where="addition_embed_type", expected="text_time", found=None):
        load_model(str(copy))


def test_standardised_latents_are_refused(copy: Path) -> None:
    change(copy / "vae" / "config.json", latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    with raises_with(ModelError, where="latents_mean"):
        load_model(str(copy))


# ------------------------------------------------------------------------------------------------ one file


def lay_beside(folder: Path, file: Path, *lacking: str) -> None:
    """Put the settings of a folder, and no weights, beside a checkpoint."""
    shutil.copytree(folder, file.with_suffix(""), ignore=shutil.ignore_patterns("*.safetensors", *lacking))


def weights_of(ldm: StableDiffusionXL) -> dict[str, torch.Tensor]:
    weights = original_weights_xl(ldm.unet, ldm.vae, ldm.text_encoder, ldm.text_encoder_2)
    return {name: tensor.contiguous().clone() for name, tensor in weights.items()}


def test_a_single_file_is_the_model_of_the_folder(folder: Path, ldm: StableDiffusionXL, tmp_path: Path) -> None:
    file = tmp_path / "xl.safetensors"
    save_file(weights_of(ldm), file)
    lay_beside(folder, file)
    loaded = load_model(str(file))
    assert isinstance(loaded, StableDiffusionXL)
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        mine, yours = getattr(ldm, part).state_dict(), getattr(loaded, part).state_dict()
        assert mine.keys() == yours.keys()
        for name, tensor in mine.items():
            assert torch.equal(tensor, yours[name])
    np.testing.assert_array_equal(loaded.text_to_conditioning(CAPTIONS), ldm.text_to_conditioning(CAPTIONS))
    c = draw(2, *ldm.conditioning_shape)
    assert torch.equal(loaded.predict_noise(draw(*SHAPE), 301, c), ldm.predict_noise(draw(*SHAPE), 301, c))


def test_settings_are_read_from_names_and_shapes(ldm: StableDiffusionXL, tmp_path: Path) -> None:
    weights, path = weights_of(ldm), tmp_path / "xl.safetensors"
    with pytest.warns(UserWarning, match="does not have the size of a published"):
        settings = read_settings("unet", weights, "xl", path)
    for name in (
        *("block_out_channels", "layers_per_block", "cross_attention_dim", "use_linear_projection"),
        *("down_block_types", "up_block_types", "transformer_layers_per_block", "addition_embed_type"),
        *("addition_time_embed_dim", "projection_class_embeddings_input_dim"),
    ):
        assert list(np.atleast_1d(settings[name])) == list(np.atleast_1d(ldm.unet.config[name])), name
    for part in ("text_encoder", "text_encoder_2"):
        for name, value in read_settings(part, weights, "xl", path).items():
            if name not in ("num_attention_heads", "hidden_act"):
                assert value == getattr(getattr(ldm, part).config, name), name
    assert read_settings("text_encoder_2", weights, "xl", path)["hidden_act"] == "gelu"
    assert read_settings("vae", weights, "xl", path)["scaling_factor"] == 0.13025


def test_a_tensor_that_is_lost_is_named(folder: Path, ldm: StableDiffusionXL, tmp_path: Path) -> None:
    file = tmp_path / "xl.safetensors"
    lay_beside(folder, file)
    for lost in ("conditioner.embedders.1.model.text_projection", "model.diffusion_model.label_emb.0.2.weight"):
        save_file({name: tensor for name, tensor in weights_of(ldm).items() if name != lost}, file)
        with pytest.raises(ModelError, match=r"text_projection|label_emb"):
            load_model(str(file))


def test_a_file_with_one_text_encoder_is_refused(ldm: StableDiffusionXL, tmp_path: Path) -> None:
    file = tmp_path / "xl.safetensors"
    save_file({name: x for name, x in weights_of(ldm).items() if not name.startswith("conditioner.embedders.1")}, file)
    with raises_with(ModelError, where=file, expected="conditioner.embedders.1.model."):
        load_model(str(file))


def test_stable_diffusion_is_still_what_it_was(tmp_path: Path) -> None:
    loaded = load_model(str(write_tiny_ldm(tmp_path / "first")))
    assert type(loaded) is StableDiffusion
    np.testing.assert_array_equal(loaded.unconditional, loaded.text_to_conditioning([""])[0])
