"""Image adapters: a tiny random one, compared with diffusers' pipelines; damaged and wrong files are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import safetensors.torch
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from fields import raises_with
from PIL import Image
from tiny_ldm import published_resampler, write_random_adapter, write_tiny_ldm
from transformers import CLIPVisionModelWithProjection

from reseen import reconstruct
from reseen.diffusion import denoise
from reseen.errors import ModelError, ShapeError
from reseen.ldm import load_model
from reseen.ldm.recording import layer_shapes, recording
from reseen.ldm.sampling import begin
from reseen.ldm.stable import StableDiffusion
from reseen.metrics.pairs import identification
from reseen.networks import load_builtin_network
from reseen.recipe import ReconstructRecipe
from reseen.simulate.painting import draw_scene
from reseen.simulate.scenes import sample_scene

KINDS = ("pooled", "plus")
CLIP_COLOURS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Mean and standard deviation of the colours of CLIP's images."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_ldm(tmp_path_factory.mktemp("ldm") / "tiny")


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {kind: write_random_adapter(root / kind, plus=kind == "plus") for kind in KINDS}


@pytest.fixture(scope="module")
def plain(folder: Path) -> StableDiffusion:
    return load_model(str(folder))


@pytest.fixture(scope="module")
def models(folder: Path, adapters: dict[str, Path]) -> dict[str, StableDiffusion]:
    return {kind: load_model(str(folder), image_adapter=str(adapters[kind])) for kind in KINDS}


@pytest.fixture(params=KINDS)
def ldm(request: pytest.FixtureRequest, models: dict[str, StableDiffusion]) -> StableDiffusion:
    return models[request.param]


@pytest.fixture
def file(adapters: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the pooled adapter, to be damaged."""
    copy = Path(shutil.copytree(adapters["pooled"].parent, tmp_path / "adapter"))
    return copy / adapters["pooled"].name


def some_images(n: int, size: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def some_rows(n: int, ldm: StableDiffusion) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(1)
    latents = rng.standard_normal((n, *ldm.latent_shape), dtype=np.float32)
    return torch.from_numpy(latents), rng.standard_normal((n, *ldm.conditioning_shape), dtype=np.float32)


def joined(ldm: StableDiffusion, text: np.ndarray, n: int) -> torch.Tensor:
    return torch.from_numpy(ldm.join_image(text, ldm.image_to_embedding(some_images(n))))


def test_the_shapes_are_those_of_the_adapter(plain: StableDiffusion, models: dict[str, StableDiffusion]) -> None:
    assert (plain.image_shape, plain.n_image_tokens) == (None, 0)
    assert (models["pooled"].image_shape, models["pooled"].n_image_tokens) == ((24,), 4)
    assert (models["plus"].image_shape, models["plus"].n_image_tokens) == ((5, 40), 6)
    for ldm in models.values():
        embedding = ldm.image_to_embedding(some_images(3))
        assert (embedding.shape, embedding.dtype) == ((3, *ldm.image_shape), np.float32)
        text = np.zeros((3, *ldm.conditioning_shape), dtype=np.float32)
        assert ldm.join_image(text, embedding).shape == (3, 24 + ldm.n_image_tokens, 32)
        assert ldm.conditioning_shape == plain.conditioning_shape


def test_text_alone_gives_the_bytes_of_the_model_without_adapter(plain: StableDiffusion, ldm: StableDiffusion) -> None:
    latents, text = some_rows(3, ldm)
    expected = plain.predict_noise(latents, 500, torch.from_numpy(text))
    assert torch.equal(ldm.predict_noise(latents, 500, torch.from_numpy(text)), expected)
    np.testing.assert_array_equal(ldm.unconditional, plain.unconditional)


def test_zero_tokens_and_scale_0_give_the_bytes_of_the_plain_unet(plain: StableDiffusion, ldm: StableDiffusion) -> None:
    latents, text = some_rows(2, ldm)
    expected = plain.predict_noise(latents, 500, torch.from_numpy(text))
    zeros = np.zeros((2, ldm.n_image_tokens, 32), dtype=np.float32)
    blank = torch.from_numpy(np.concatenate([text, zeros], axis=1))
    assert torch.equal(ldm.predict_noise(latents, 500, blank), expected)
    tokens = joined(ldm, text, 2)
    assert torch.equal(ldm.predict_noise(latents, 500, tokens, image_scale=0.0), expected)
    assert not torch.allclose(ldm.predict_noise(latents, 500, tokens), expected, atol=1e-3)


def test_rows_with_and_without_an_image_share_a_batch(plain: StableDiffusion, ldm: StableDiffusion) -> None:
    latents, text = some_rows(2, ldm)
    rows = joined(ldm, text, 2)
    rows[0, 24:] = 0
    mixed = ldm.predict_noise(latents, 500, rows)
    assert torch.equal(mixed[0], plain.predict_noise(latents, 500, torch.from_numpy(text))[0])
    assert torch.equal(mixed[1], ldm.predict_noise(latents, 500, joined(ldm, text, 2))[1])


def test_the_scale_of_a_call_does_not_affect_the_next_call(ldm: StableDiffusion) -> None:
    latents, text = some_rows(1, ldm)
    tokens = joined(ldm, text, 1)
    first, weaker, again = (ldm.predict_noise(latents, 500, tokens, image_scale=scale) for scale in (1.0, 0.5, 1.0))
    assert torch.equal(first, again)
    assert not torch.equal(first, weaker)


def test_a_compiled_unet_sees_tokens_and_their_scale(models: dict[str, StableDiffusion]) -> None:
    """PyTorch traces the U-Net, and runs the trace without a compiler."""
    ldm = models["pooled"]
    traced = replace(ldm, compiled=torch.compile(ldm.unet, backend="eager", dynamic=False))
    latents, text = some_rows(2, ldm)
    for conditioning, scale in (
        (joined(ldm, text, 2), 1.0),
        (joined(ldm, text, 2), 0.5),
        (torch.from_numpy(text), 1.0),
    ):
        expected = ldm.predict_noise(latents, 500, conditioning, image_scale=scale)
        found = traced.predict_noise(latents, 500, conditioning, image_scale=scale)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_an_absent_image_is_what_the_adapter_was_trained_with(models: dict[str, StableDiffusion]) -> None:
    text = np.zeros((2, 24, 32), dtype=np.float32)
    pooled, plus = models["pooled"], models["plus"]
    zeros = np.zeros((2, 24), dtype=np.float32)
    np.testing.assert_array_equal(pooled.join_image(text, None), pooled.join_image(text, zeros))
    assert np.abs(pooled.join_image(text, None)[:, 24:]).max() > 0.1  # an embedding of zeros is not zero tokens
    network = plus.image_adapter.encoder.network
    with torch.inference_mode():
        hidden = network(torch.zeros(2, 3, 16, 16), output_hidden_states=True).hidden_states[-2]
    np.testing.assert_allclose(plus.join_image(text, None), plus.join_image(text, hidden.numpy()), atol=1e-5)


def test_embeddings_are_those_of_the_encoder_after_clips_preprocessing(
    models: dict[str, StableDiffusion], adapters: dict[str, Path]
) -> None:
    images = some_images(2, size=16)
    mean, sd = (np.array(values, dtype=np.float32) for values in CLIP_COLOURS)
    given = torch.from_numpy((images / np.float32(255) - mean) / sd).permute(0, 3, 1, 2)
    network = CLIPVisionModelWithProjection.from_pretrained(adapters["pooled"].parent / "image_encoder").eval()
    with torch.inference_mode():
        expected = network(given).image_embeds.numpy()
    np.testing.assert_allclose(models["pooled"].image_to_embedding(images), expected, atol=1e-5)
    larger = some_images(1, size=40)
    small = np.asarray(Image.fromarray(larger[0]).resize((16, 16), Image.Resampling.BICUBIC))
    ours = models["pooled"].image_to_embedding
    np.testing.assert_array_equal(ours(larger), ours(small[None]))


def published_state(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Return an adapter's tensors as diffusers' loader reads them from the file."""
    parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in safetensors.torch.load_file(path).items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    return parts


def absent_embedding(ldm: StableDiffusion) -> np.ndarray:
    """Return the embedding of an absent image, with a row for one image."""
    encoder = ldm.image_adapter.encoder
    if len(ldm.image_shape) == 1:
        return np.zeros((1, *ldm.image_shape), dtype=np.float32)
    with torch.inference_mode():
        return encoder.network(torch.zeros(1, 3, 16, 16), output_hidden_states=True).hidden_states[-2].numpy()


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_images_equal_those_of_the_pipeline_of_diffusers(
    kind: str, scale: float, folder: Path, adapters: dict[str, Path], models: dict[str, StableDiffusion]
) -> None:
    """Image to image with text and an image embedding, three steps of DDIM, guidance 4, single precision."""
    ldm, guidance = models[kind], 4.0
    recipe = ReconstructRecipe(n_steps=4, strength=0.75, guidance=guidance)
    embedding = ldm.image_to_embedding(some_images(1))
    text = ldm.text_to_conditioning(["a cat"])
    coarse = ldm.image_to_latent(some_images(1, size=32))
    noise = torch.randn(coarse.shape, generator=torch.Generator().manual_seed(5)).numpy()
    latents, timesteps = begin(ldm, coarse, noise, recipe, recipe.strength)
    assert len(timesteps) == 3
    ours = denoise(
        lambda *rows: ldm.predict_noise(*rows, image_scale=scale),
        latents,
        torch.from_numpy(ldm.join_image(text, embedding)),
        schedule=ldm.schedule,
        timesteps=timesteps,
        guidance=guidance,
        unconditional=torch.from_numpy(ldm.join_image(ldm.unconditional[None], None)),
    )
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(folder, safety_checker=None).to(torch.float32)
    pipeline.load_ip_adapter(published_state(adapters[kind]), subfolder="", weight_name="", image_encoder_folder=None)
    pipeline.set_ip_adapter_scale(scale)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompt_embeds=torch.from_numpy(text),
        negative_prompt_embeds=torch.from_numpy(ldm.unconditional[None].copy()),
        ip_adapter_image_embeds=[torch.from_numpy(np.stack([absent_embedding(ldm), embedding]))],
        image=torch.from_numpy(coarse),
        strength=recipe.strength,
        num_inference_steps=recipe.n_steps,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(5),
        output_type="latent",
    ).images
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=2e-4)


def test_the_keys_of_the_middle_block_come_last(adapters: dict[str, Path], models: dict[str, StableDiffusion]) -> None:
    """The numbers of the file follow ``attn_processors``: down, up, middle. Execution is down, middle, up."""
    state = safetensors.torch.load_file(adapters["pooled"])
    crossed = [name for name in models["pooled"].unet.attn_processors if "attn2" in name]
    assert [name.partition("_")[0] for name in crossed] == ["down", "up", "up", "mid"]
    last = models["pooled"].unet.mid_block.attentions[0].transformer_blocks[0].attn2.processor
    assert torch.equal(last.to_k_ip[0].weight, state["ip_adapter.7.to_k_ip.weight"])


def test_half_precision_is_computed_again_in_single_precision_with_the_adapter(
    folder: Path, adapters: dict[str, Path], models: dict[str, StableDiffusion]
) -> None:
    half = load_model(str(folder), precision="bf16", image_adapter=str(adapters["pooled"]))
    latents, text = some_rows(2, half)
    tokens = joined(half, text, 2)
    torch.testing.assert_close(tokens, joined(models["pooled"], text, 2))  # encoder and projection stay in fp32
    rough = half.predict_noise(latents, 500, tokens, image_scale=0.5)
    exact = half.in_single_precision.predict_noise(latents, 500, tokens, image_scale=0.5)
    assert half.in_single_precision.image_shape == half.image_shape
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.1
    expected = models["pooled"].predict_noise(latents, 500, tokens, image_scale=0.5)
    torch.testing.assert_close(exact, expected, atol=0.02, rtol=0)  # the weights were rounded to bf16


def test_activations_are_recorded_under_text_and_image(models: dict[str, StableDiffusion]) -> None:
    ldm = models["pooled"]
    latents, text = some_rows(2, ldm)
    layer = "mid_block.attentions.0"
    assert layer in layer_shapes(ldm)
    taken = {}
    for name, conditioning in (("text", torch.from_numpy(text)), ("image", joined(ldm, text, 2))):
        with recording(ldm, [layer], [500], n=2, precision="fp32") as recorded:
            noise = recorded.predict_noise(latents, 500, conditioning)
            taken[name] = recorded.taken(layer)
        assert torch.equal(noise, ldm.predict_noise(latents, 500, conditioning))
    assert taken["text"].shape == taken["image"].shape == (2, *layer_shapes(ldm)[layer])
    assert not np.allclose(taken["text"], taken["image"], atol=1e-3)


def test_the_fingerprint_names_model_adapter_and_encoder(
    folder: Path, plain: StableDiffusion, models: dict[str, StableDiffusion], file: Path
) -> None:
    fingerprints = {ldm.fingerprint for ldm in (plain, *models.values())}
    assert len(fingerprints) == 3
    assert all(text.startswith(plain.fingerprint) for text in fingerprints)
    assert load_model(str(folder), image_adapter=str(file)).fingerprint in fingerprints  # a copy is the same adapter
    change(file, "ip_adapter.1.to_k_ip.weight", lambda tensor: tensor * 2)
    assert load_model(str(folder), image_adapter=str(file)).fingerprint not in fingerprints


def change(file: Path, name: str, by: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
    """Replace one tensor of a file, or remove it where the function returns None."""
    state = safetensors.torch.load_file(file)
    new = by(state[name]) if name in state else by(torch.zeros(2, 2))
    state.pop(name, None)
    if new is not None:
        state[name] = new.contiguous()
    safetensors.torch.save_file(state, file)


def not_finite(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.clone()
    tensor.view(-1)[3] = torch.nan
    return tensor


@pytest.mark.parametrize(
    ("name", "by", "message"),
    [
        ("ip_adapter.3.to_v_ip.weight", lambda _: None, r"lacks 3\.to_v_ip.*attentions of the image adapter"),
        ("image_proj.norm.bias", lambda _: None, r"lacks norm\.bias of the projection"),
        ("image_proj.proj.weight", lambda _: None, "no image adapter that reseen reads"),
        ("ip_adapter.9.to_k_ip.weight", lambda tensor: tensor, r"attentions of the image adapter .*lacks: 9\.to_k_ip"),
        ("other.weight", lambda tensor: tensor, "no image adapter that reseen reads"),
        ("ip_adapter.1.to_k_ip.weight", lambda tensor: tensor[:, :8], r"1\.to_k_ip.* has shape \(16, 8\); expected"),
        ("image_proj.proj.bias", lambda tensor: tensor[:8], r"image_embeds\.bias .* has shape \(8,\); expected"),
        ("image_proj.norm.weight", lambda tensor: tensor[:8], "tokens of width 8, and the model needs 32"),
        ("image_proj.proj.weight", not_finite, "NaN or infinite"),
        ("ip_adapter.7.to_k_ip.weight", not_finite, "NaN or infinite"),
        ("image_proj.proj.weight", lambda tensor: tensor[:, :20], "width 24, and the adapter needs 20"),
    ],
)
def test_damaged_adapters_are_refused(
    name: str, by: Callable[[torch.Tensor], torch.Tensor | None], message: str, folder: Path, file: Path
) -> None:
    change(file, name, by)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(str(folder), image_adapter=str(file))
    assert caught.value.where in (file, file.parent / "image_encoder")


@pytest.mark.parametrize(
    ("name", "by", "message"),
    [
        ("image_proj.layers.1.0.to_kv.weight", lambda _: None, r"lacks layers\.1\.attn\.to_k"),
        ("image_proj.layers.0.1.1.weight", lambda _: None, "shape"),
        ("image_proj.layers.0.0.norm1.weight", lambda tensor: tensor[:4], "shape"),
        ("image_proj.latents", not_finite, "NaN or infinite"),
        ("image_proj.norm_out.weight", lambda _: None, "tokens of width 0"),
        ("image_proj.proj_in.weight", lambda tensor: tensor[0], "no image adapter that reseen reads"),
    ],
)
def test_damaged_resamplers_are_refused(
    name: str,
    by: Callable[[torch.Tensor], torch.Tensor | None],
    message: str,
    folder: Path,
    adapters: dict[str, Path],
    tmp_path: Path,
) -> None:
    copy = Path(shutil.copytree(adapters["plus"].parent, tmp_path / "plus")) / adapters["plus"].name
    change(copy, name, by)
    with pytest.raises(ModelError, match=message):
        load_model(str(folder), image_adapter=str(copy))


def test_an_adapter_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    wider = write_random_adapter(tmp_path / "wider", dim=48)
    with raises_with(ModelError, where=wider, expected=32, found=48):
        load_model(str(folder), image_adapter=str(wider))


def test_pickles_and_missing_files_are_refused(folder: Path, file: Path) -> None:
    pickle = file.with_suffix(".bin")
    file.rename(pickle)
    with raises_with(ModelError, where=pickle, expected=".safetensors", found=".bin"):
        load_model(str(folder), image_adapter=str(pickle))
    with raises_with(ModelError, where=file):
        load_model(str(folder), image_adapter=str(file))
    pickle.rename(file)
    weights = file.parent / "image_encoder" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    with raises_with(ModelError, where=weights.parent, expected="model.safetensors"):
        load_model(str(folder), image_adapter=str(file))
    shutil.rmtree(weights.parent)
    with raises_with(ModelError, where=weights.with_name("config.json")):
        load_model(str(folder), image_adapter=str(file))


def test_truncated_files_are_refused(folder: Path, file: Path) -> None:
    weights = file.parent / "image_encoder" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    with raises_with(ModelError, where=weights):
        load_model(str(folder), image_adapter=str(file))
    weights.write_bytes(content)
    file.write_bytes(file.read_bytes()[:-100])
    with raises_with(ModelError, where=file):
        load_model(str(folder), image_adapter=str(file))


def test_files_of_the_hub_are_found_or_the_command_is_printed(
    folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "h94/IP-Adapter:sdxl_models/ip-adapter_sdxl_vit-h.safetensors"
    command = (
        "hf download h94/IP-Adapter sdxl_models/ip-adapter_sdxl_vit-h.safetensors models/image_encoder/config.json "
        "models/image_encoder/model.safetensors"
    )
    with pytest.raises(ModelError, match=command):
        load_model(str(folder), image_adapter=name, fetch=False)
    snapshot = file.parent.parent / "snapshot"
    shutil.copytree(file.parent / "image_encoder", snapshot / "models" / "image_encoder")
    (snapshot / "sdxl_models").mkdir()
    shutil.copy(file, snapshot / "sdxl_models" / "ip-adapter_sdxl_vit-h.safetensors")
    asked = []

    def download(repository: str, inside: str, *, local_files_only: bool) -> str:
        asked.append((repository, local_files_only))
        return str(snapshot / inside)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    ldm = load_model(str(folder), image_adapter=name, fetch=False)
    assert ldm.image_shape == (24,)
    assert set(asked) == {("h94/IP-Adapter", True)}


def test_wrong_arrays_are_refused(plain: StableDiffusion, models: dict[str, StableDiffusion]) -> None:
    ldm = models["pooled"]
    text = np.zeros((2, 24, 32), dtype=np.float32)
    with raises_with(ShapeError, where="embedding", expected=(2, 24), found=(2, 20)):
        ldm.join_image(text, np.zeros((2, 20), dtype=np.float32))
    with raises_with(ShapeError, where="text", expected=("n", 24, 32)):
        ldm.join_image(text[:, :20], None)
    with raises_with(ShapeError, where="images"):
        ldm.image_to_embedding(np.zeros((1, 16, 16, 3), dtype=np.float32))
    latents, _ = some_rows(1, ldm)
    with raises_with(ShapeError, where="conditioning", expected=(24, 28), found=26):
        ldm.predict_noise(latents, 500, torch.zeros(1, 26, 32))
    for call in (lambda: plain.join_image(text, None), lambda: plain.image_to_embedding(some_images(1))):
        with raises_with(ModelError, where="model.image_adapter"):
            call()


def test_a_users_own_model_gets_no_adapter() -> None:
    with raises_with(ModelError, where="model.image_adapter", found="adapter.safetensors"):
        load_model("json:loads", image_adapter="adapter.safetensors")


def write_builtin_adapter(file: Path, width: int) -> Path:
    """Write a random adapter for the built-in model whose image encoder is a built-in network."""
    unet = load_model("builtin").unet
    torch.manual_seed(0)
    resampler = IPAdapterPlusImageProjection(
        embed_dims=width, output_dims=128, hidden_dims=128, depth=1, dim_head=64, heads=2, num_queries=4
    )
    state = published_resampler(resampler)
    crossed = [name for name in unet.attn_processors if "attn2" in name]
    for i in range(len(crossed)):
        for kind in ("k", "v"):
            state[f"ip_adapter.{2 * i + 1}.to_{kind}_ip.weight"] = torch.randn(128, 128)
    safetensors.torch.save_file(state, file, metadata={"image_encoder": "builtin"})
    return file


def test_an_adapter_of_the_built_in_model_uses_a_built_in_network(tmp_path: Path) -> None:
    """Its hidden states are sixteenths of the middle layer, with a code of their places; the headline has another."""
    ldm = load_model("builtin", image_adapter=str(write_builtin_adapter(tmp_path / "own.safetensors", 128)))
    assert (ldm.image_shape, ldm.n_image_tokens) == ((16, 128), 4)
    images = some_images(2, size=64)
    network = replace(load_builtin_network("image_encoder"), layers=("middle",))
    middle = network.activations(images)["middle"].reshape(2, 128, 4, 2, 4, 2)
    states = middle.mean(axis=(3, 5)).reshape(2, 128, 16).transpose(0, 2, 1)
    embedding = ldm.image_to_embedding(images)
    places = embedding - states
    np.testing.assert_allclose(places[0], places[1], atol=1e-5)  # the same for every image
    assert len(np.unique(places[0].round(3), axis=0)) == 16  # another one for every place
    latents, text = some_rows(2, ldm)
    assert torch.equal(
        ldm.predict_noise(latents, 500, torch.from_numpy(text)),
        load_model("builtin").predict_noise(latents, 500, torch.from_numpy(text)),
    )
    with raises_with(ModelError, where="image_encoder", expected=96, found=128):
        load_model("builtin", image_adapter=str(write_builtin_adapter(tmp_path / "narrow.safetensors", 96)))


def test_the_built_in_adapter_shows_what_is_in_an_image() -> None:
    """Images made from i alone are told apart by the network that shares no training with the encoder of i."""
    ldm = load_model("builtin", image_adapter="builtin")
    assert (ldm.image_shape, ldm.n_image_tokens) == ((16, 128), 8)
    rng = np.random.default_rng(3)
    scenes = np.stack([draw_scene(sample_scene(rng, novel=False)) for _ in range(16)])
    made = reconstruct(ldm, i=ldm.image_to_embedding(scenes), n_samples=1, n_steps=6, sampler="dpmpp")
    classifier = load_builtin_network("classifier")
    true, found = (classifier.activations(images)["late"] for images in (scenes, made[:, 0]))
    assert identification(true, found).mean() > 0.9


def test_the_built_in_adapter_is_refused_by_another_model(tmp_path: Path) -> None:
    with raises_with(ModelError, expected=32, found=128):
        load_model(str(write_tiny_ldm(tmp_path / "model")), image_adapter="builtin")
