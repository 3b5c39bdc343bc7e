"""Checkpoints in the original format: the same model as the folder of the same weights, without a network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from fields import raises_with
from full_size_checkpoint import V1, V2, XL, Sizes, original_shapes, write_tokenizer
from original_layout import averaged, original_weights
from safetensors.torch import save_file
from tiny_ldm import tiny_vae, write_tiny_ldm

from reseen.diffusion import Schedule
from reseen.errors import ModelError
from reseen.ldm import load_model
from reseen.ldm.loading import assemble, load_folder
from reseen.ldm.original import check_original, read_settings
from reseen.ldm.single_file import TOKENIZER_COMMIT, _measure_prediction, load_single_file
from reseen.ldm.stable import StableDiffusion
from reseen.networks.pretrained import NETWORKS

PARTS = ("unet", "vae", "text_encoder")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose autoencoder attends, as Stable Diffusion's does."""
    made = write_tiny_ldm(tmp_path_factory.mktemp("ldm") / "tiny")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = {**tiny_vae().config, "mid_block_add_attention": True}
        AutoencoderKL.from_config(config).half().save_pretrained(made / "vae")
    return made


@pytest.fixture(scope="module")
def same(folder: Path) -> StableDiffusion:
    return assemble(load_folder(folder, "folder"))


def lay_beside(folder: Path, file: Path, *lacking: str) -> None:
    """Put the settings of a folder, and no weights, beside a checkpoint."""
    ignored = shutil.ignore_patterns("*.safetensors", *lacking)
    shutil.copytree(folder, file.with_suffix(""), ignore=ignored)


def assert_same(one: StableDiffusion, other: StableDiffusion) -> None:
    for part in PARTS:
        mine, yours = getattr(one, part).state_dict(), getattr(other, part).state_dict()
        assert mine.keys() == yours.keys()
        for name, tensor in mine.items():
            torch.testing.assert_close(tensor, yours[name], rtol=0, atol=0)
    rng = np.random.default_rng(0)
    latents = torch.from_numpy(rng.standard_normal((1, 4, 8, 8), dtype=np.float32))
    c = torch.from_numpy(one.text_to_conditioning(["a cat"]))
    assert torch.equal(one.predict_noise(latents, 301, c), other.predict_noise(latents, 301, c))
    np.testing.assert_array_equal(one.text_to_conditioning(["a dog"]), other.text_to_conditioning(["a dog"]))
    image = rng.integers(0, 256, (1, 20, 20, 3), dtype=np.uint8)
    z = one.image_to_latent(image)
    np.testing.assert_array_equal(z, other.image_to_latent(image))
    np.testing.assert_array_equal(one.latent_to_image(z), other.latent_to_image(z))
    assert (one.schedule.signal_level == other.schedule.signal_level).all()


def weights_of(ldm: StableDiffusion, **options: bool) -> dict[str, torch.Tensor]:
    return original_weights(ldm.unet, ldm.vae, ldm.text_encoder, **options)


def test_a_safetensors_file_is_the_model_of_the_folder(folder: Path, same: StableDiffusion, tmp_path: Path) -> None:
    file = tmp_path / "sd-v1-4.safetensors"
    weights = {key: tensor.contiguous().clone() for key, tensor in weights_of(same).items()}
    weights["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(24)[None]
    save_file(weights, file)
    lay_beside(folder, file)
    loaded = load_model(str(file))
    assert isinstance(loaded, StableDiffusion)
    assert_same(loaded, same)


class ModelCheckpoint:
    """What pytorch-lightning left in the checkpoints of Stable Diffusion 1.x."""

    __module__ = "pytorch_lightning.callbacks.model_checkpoint"


def test_a_ckpt_with_what_its_training_left_over_is_read_without_running_it(
    folder: Path, same: StableDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys
    import types

    place = types.ModuleType(ModelCheckpoint.__module__)
    place.ModelCheckpoint = ModelCheckpoint  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, "pytorch_lightning.callbacks", types.ModuleType("callbacks"))
    monkeypatch.setitem(sys.modules, ModelCheckpoint.__module__, place)
    file = tmp_path / "sd-v1-4.ckpt"
    left_over = {"epoch": 1, "callbacks": {ModelCheckpoint: {"best_model_score": np.float64(0.5)}}, "lr_schedulers": []}
    torch.save({"state_dict": weights_of(same), "global_step": 470000, **left_over}, file)
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", ModelCheckpoint.__module__):
        monkeypatch.delitem(sys.modules, name)
    lay_beside(folder, file)
    loaded = load_model(str(file))
    assert isinstance(loaded, StableDiffusion)
    assert_same(loaded, same)
    assert loaded.fingerprint.startswith("sha256:")
    assert loaded.fingerprint != same.fingerprint


def test_averaged_weights_are_taken_where_both_are_there(folder: Path, same: StableDiffusion, tmp_path: Path) -> None:
    file = tmp_path / "full-ema.ckpt"
    weights = weights_of(same)
    trained = {key: 2 * weights[key] if key.startswith("model.") else weights[key] for key in weights}
    torch.save({"state_dict": {**trained, **averaged(weights)}}, file)
    lay_beside(folder, file)
    loaded = load_model(str(file))
    assert isinstance(loaded, StableDiffusion)
    assert_same(loaded, same)


def test_a_checkpoint_of_the_second_family_predicts_velocity_if_its_scheduler_says_so(
    folder: Path, same: StableDiffusion, tmp_path: Path
) -> None:
    file = tmp_path / "v2.safetensors"
    weights = weights_of(same, open_clip=True)
    save_file({key: tensor.contiguous().clone() for key, tensor in weights.items()}, file)
    lay_beside(folder, file)
    scheduler = file.with_suffix("") / "scheduler/scheduler_config.json"
    scheduler.write_text(json.dumps({**json.loads(scheduler.read_text()), "prediction_type": "v_prediction"}))
    loaded = load_model(str(file))
    assert isinstance(loaded, StableDiffusion)
    assert loaded.prediction_type == "v_prediction"
    for part in PARTS:
        for name, tensor in getattr(loaded, part).state_dict().items():
            torch.testing.assert_close(tensor, getattr(same, part).state_dict()[name], rtol=0, atol=0)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


FULL = {1: (V1, (859_520_964, 83_653_863, 123_060_480)), 2: (V2, (865_910_724, 83_653_863, 340_387_840))}


@pytest.mark.parametrize("family", [1, 2])
def test_the_names_and_shapes_of_the_published_checkpoints_give_networks_of_the_published_sizes(family: Any) -> None:
    sizes, counts = FULL[family]
    shapes = original_shapes(sizes)
    assert len(shapes) == {1: 1143, 2: 1240}[family]
    with torch.device("meta"):
        weights = {name: torch.empty(shape) for name, shape in shapes.items() if name != "alphas_cumprod"}
        found = {part: read_settings(part, weights, family, Path("x.ckpt")) for part in PARTS}
        assert check_original(weights, Path("x.ckpt")) == family
        unet = UNet2DConditionModel(**found["unet"])
        vae = AutoencoderKL(**found["vae"])
        text_encoder = transformers.CLIPTextModel(transformers.CLIPTextConfig(**found["text_encoder"]))
    assert (count(unet), count(vae), count(text_encoder)) == counts
    assert vae.config.scaling_factor == 0.18215
    assert unet.config.attention_head_dim == (8 if family == 1 else [5, 10, 20, 20])
    assert text_encoder.config.hidden_act == ("quick_gelu" if family == 1 else "gelu")
    assert text_encoder.config.num_hidden_layers == (12 if family == 1 else 23)
    assert text_encoder.config.num_attention_heads == (12 if family == 1 else 16)


def test_the_names_and_shapes_of_a_stable_diffusion_xl_give_networks_of_the_published_sizes() -> None:
    path, shapes = Path("x.safetensors"), original_shapes(XL)
    with torch.device("meta"):
        weights = {name: torch.empty(shape) for name, shape in shapes.items()}
        found = {part: read_settings(part, weights, "xl", path) for part in (*PARTS, "text_encoder_2")}
        assert check_original(weights, path) == "xl"
        unet, vae = UNet2DConditionModel(**found["unet"]), AutoencoderKL(**found["vae"])
        first = transformers.CLIPTextModel(transformers.CLIPTextConfig(**found["text_encoder"]))
        second = transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**found["text_encoder_2"]))
    counts = tuple(map(count, (unet, vae, first, second)))
    assert counts == (2_567_463_684, 83_653_863, 123_060_480, 694_659_840)
    assert vae.config.scaling_factor == 0.13025
    assert unet.config.attention_head_dim == [5, 10, 20]
    assert unet.config.transformer_layers_per_block == [1, 2, 10]
    assert (unet.config.addition_time_embed_dim, unet.config.projection_class_embeddings_input_dim) == (256, 2816)
    assert (first.config.hidden_act, second.config.hidden_act) == ("quick_gelu", "gelu")
    assert (second.config.num_hidden_layers, second.config.num_attention_heads) == (32, 20)
    assert second.config.projection_dim == 1280


SMALL = {
    1: Sizes(family=1, unet=32, vae=32, text=64, text_layers=12, n_words=600, n_tokens=16),
    2: Sizes(family=2, unet=32, vae=32, text=64, text_layers=24, n_words=600, n_tokens=16),
}


Small = tuple[int, dict[str, Any], dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def small_first() -> Small:
    return make_small(1)


@pytest.fixture(scope="module", params=[1, 2])
def small(request: pytest.FixtureRequest) -> Small:
    return make_small(request.param)


def make_small(family: int) -> Small:
    """Random networks of a family's structure at small widths, and their weights under all the original names."""
    sizes = SMALL[family]
    widths = tuple(sizes.unet * n for n in (1, 2, 4, 4))
    heads = 8 if sizes.family == 1 else [1, 1, 2, 2]
    text = {
        "vocab_size": sizes.n_words,
        "hidden_size": sizes.text,
        "intermediate_size": 4 * sizes.text,
        "num_hidden_layers": sizes.text_layers - (sizes.family == 2),
        "num_attention_heads": 1,
        "max_position_embeddings": sizes.n_tokens,
        "hidden_act": "quick_gelu" if sizes.family == 1 else "gelu",
    }
    levels = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    with torch.random.fork_rng():
        torch.manual_seed(5)
        parts = {
            "unet": UNet2DConditionModel(
                block_out_channels=widths,
                cross_attention_dim=sizes.text,
                attention_head_dim=heads,
                use_linear_projection=sizes.family == 2,
            ),
            "vae": AutoencoderKL(
                block_out_channels=widths, layers_per_block=2, down_block_types=levels[0], up_block_types=levels[1]
            ),
            "text_encoder": transformers.CLIPTextModel(transformers.CLIPTextConfig(**text)),
        }
    weights = original_weights(*parts.values(), open_clip=sizes.family == 2)
    more = {name: shape for name, shape in original_shapes(sizes).items() if name not in weights}
    extra = {name: torch.randn(shape) for name, shape in more.items()}
    extra["alphas_cumprod"] = torch.from_numpy(Schedule.scaled_linear().signal_level).float()
    return sizes.family, parts, {**weights, **extra}


def in_cache(monkeypatch: pytest.MonkeyPatch, cache: Path, n_words: int, n_tokens: int) -> Path:
    """A tokenizer in a hub's cache, as the hub's client lays it."""
    home = cache / "models--openai--clip-vit-large-patch14"
    write_tokenizer(home / "snapshots" / TOKENIZER_COMMIT, n_words, n_tokens)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return home / "snapshots" / TOKENIZER_COMMIT


def test_a_file_with_the_published_names_loads_with_nothing_beside_it(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    family, parts, weights = small
    sizes = SMALL[family]
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == original_shapes(sizes)
    in_cache(monkeypatch, tmp_path / "hub", sizes.n_words, sizes.n_tokens)
    (tmp_path / "alone").mkdir()
    file = tmp_path / "alone" / "model.CKPT"
    torch.save({"state_dict": weights}, file)
    with pytest.warns(UserWarning, match="does not have the size of a published|reseen assumes velocity"):
        loaded = load_single_file(file, "model")
    for part in PARTS:
        expected = parts[part].state_dict()
        found = loaded.parts[part].state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    rng = torch.Generator().manual_seed(0)
    latents, c = torch.randn(2, 4, 8, 8, generator=rng), torch.randn(2, 16, 64, generator=rng)
    with torch.no_grad():
        mine, theirs = (
            network(latents, 301, c).sample for network in (loaded.parts["unet"].eval(), parts["unet"].eval())
        )
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    # random weights give back no noise, so that a file of 2.x is taken to predict velocity
    assert loaded.prediction_type == ("epsilon" if family == 1 else "v_prediction")
    assert loaded.schedule.final_level is None
    assert loaded.parts["unet"].config.sample_size == (64 if family == 1 else 96)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("command", ["check", "layers"])
def test_check_and_layers_of_a_whole_checkpoint_never_ask_the_network(
    small_first: Small,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reseen: Callable[..., tuple[int, str, str]],
    connections: list[tuple[object, ...]],
    cached: bool,
    command: str,
) -> None:
    in_cache(monkeypatch, tmp_path / "hub", 600, 16)
    if not cached:  # the tokenizer, which is all that a run would fetch for such a file
        shutil.rmtree(tmp_path / "hub")
    torch.save({"state_dict": small_first[2]}, tmp_path / "x.ckpt")
    monkeypatch.chdir(tmp_path)
    _, out, err = reseen(command, "tiny", "--model", "x.ckpt")
    assert ("tokenizer" in out + err) is not cached
    assert (("conv_in" if command == "layers" else "images of") in out) is cached
    assert connections == []


@pytest.mark.filterwarnings("ignore:the checkpoint does not have the size")
@pytest.mark.parametrize("damage", ["absent", "vocab.json", "merges.txt", "short", "other"])
def test_a_tokenizer_is_complete_or_the_model_is_refused_with_the_line_that_fetches_it(
    small_first: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None, damage: str
) -> None:
    weights = small_first[2]
    folder = in_cache(monkeypatch, tmp_path / "hub", 600 if damage != "other" else 599, 16)
    if damage == "absent":
        shutil.rmtree(tmp_path / "hub")
    elif damage == "short":
        merges = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
        (folder / "merges.txt").write_text("\n".join(merges[:-20]) + "\n", encoding="utf-8")
    elif damage != "other":
        (folder / damage).unlink()
    file = tmp_path / "model.ckpt"
    torch.save({"state_dict": weights}, file)
    command = f"hf download openai/clip-vit-large-patch14 --revision {TOKENIZER_COMMIT} "
    with pytest.raises(ModelError, match=command):
        load_single_file(file, "model", fetch=False)


class Echo(torch.nn.Module):
    """A U-Net that predicts noise perfectly at the last timestep, to a degree."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, latents: torch.Tensor, _timestep: int, **_more: torch.Tensor) -> Any:
        other = torch.randn(latents.shape, generator=torch.Generator().manual_seed(9))
        return SimpleNamespace(sample=self.share * latents + (1 - self.share**2) ** 0.5 * other)


def test_what_a_checkpoint_of_the_second_family_predicts_is_measured(same: StableDiffusion) -> None:
    parts = {"tokenizer": same.tokenizer, "text_encoder": same.text_encoder}
    for share, expected in ((0.99, "epsilon"), (0.8, "epsilon"), (0.1, "v_prediction"), (-0.5, "v_prediction")):
        with pytest.warns(UserWarning, match="does not contain whether it predicts"):
            assert (
                _measure_prediction({**parts, "unet": Echo(share)}, Path("v2.ckpt"), schedule_length=1000) == expected
            )
    with pytest.raises(ModelError, match="shows whether it predicts noise or velocity"):
        _measure_prediction({**parts, "unet": Echo(0.5)}, Path("v2.ckpt"), schedule_length=1000)


def test_a_trained_model_that_predicts_noise_is_measured_to_do_so() -> None:
    builtin = load_model("builtin")
    parts = {part: getattr(builtin, part) for part in (*PARTS, "tokenizer")}
    with pytest.warns(UserWarning, match="reseen assumes noise: the output for pure noise correlates 1.00"):
        assert _measure_prediction(parts, Path("v2.ckpt"), schedule_length=1000) == "epsilon"


FOREIGN = {
    "conditioner.embedders.0.model.ln_final.weight": "is the refiner of Stable Diffusion XL",
    "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": "has no U-Net",
    "lora_unet_down_blocks_0.lora_up.weight": "is a LoRA",
    "down_blocks.0.resnets.0.conv1.weight": "has one part of a model",
    "control_model.time_embed.0.weight": "is a ControlNet",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_models_are_refused_by_what_they_are(name: str, tmp_path: Path) -> None:
    save_file({name: torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=FOREIGN[name]):
        load_model(str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize(
    ("channels", "purpose"),
    [(9, "inpainting"), (8, "editing"), (5, "depth"), (7, "upscaling"), (6, "type .6 channels.")],
)
def test_models_for_another_purpose_are_refused_by_it(small_first: Small, channels: int, purpose: str) -> None:
    weights = {**small_first[2], "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(32, channels, 3, 3)}
    with pytest.raises(ModelError, match=purpose):
        check_original(weights, Path("other.ckpt"))


def test_another_noise_schedule_is_refused(small_first: Small) -> None:
    level = torch.from_numpy(Schedule.scaled_linear(0.0015, 0.0195).signal_level).float()
    with pytest.raises(ModelError, match="another noise schedule"):
        check_original({**small_first[2], "alphas_cumprod": level}, Path("other.ckpt"))


@pytest.mark.parametrize("start", ["model.diffusion_model.", "first_stage_model.", "cond_stage_model."])
def test_a_part_that_is_not_in_the_file_is_named(small_first: Small, start: str) -> None:
    weights = {name: tensor for name, tensor in small_first[2].items() if not name.startswith(start)}
    with raises_with(ModelError, where=Path("part.ckpt"), expected=start):
        check_original(weights, Path("part.ckpt"))


def test_a_tensor_that_no_network_uses_is_refused(folder: Path, same: StableDiffusion, tmp_path: Path) -> None:
    file = tmp_path / "more.safetensors"
    weights = {key: tensor.contiguous().clone() for key, tensor in weights_of(same).items()}
    save_file({**weights, "model.diffusion_model.label_emb.weight": torch.zeros(3)}, file)
    lay_beside(folder, file)
    with pytest.raises(ModelError, match="tensors of a unet that has"):
        load_model(str(file))


@pytest.mark.parametrize("part", ["model.diffusion_model.out.2.weight", "first_stage_model.quant_conv.bias"])
def test_weights_that_are_not_finite_are_refused(
    folder: Path, same: StableDiffusion, tmp_path: Path, part: str
) -> None:
    file = tmp_path / "nan.safetensors"
    weights = {key: tensor.contiguous().clone() for key, tensor in weights_of(same).items()}
    weights[part].view(-1)[0] = float("nan")
    save_file(weights, file)
    lay_beside(folder, file)
    with pytest.raises(ModelError, match="contain NaN or infinite numbers"):
        load_model(str(file))


KINDS = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 4265380512\n": "pointer of Git LFS",
    b"<!DOCTYPE html>\n<html><body>Not found": "is a web page",
    b"": "neither safetensors nor a checkpoint of PyTorch",
    b"GIF89a": "neither safetensors nor a checkpoint of PyTorch",
    b"PK\x03\x04 cut short": "seems truncated or damaged",
    b"\x80\x02 cut short": "seems truncated or damaged",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f{": "seems truncated or damaged",
}


@pytest.mark.parametrize("content", KINDS)
@pytest.mark.parametrize("suffix", ["ckpt", "safetensors", "pt"])
def test_files_that_are_no_checkpoint_are_refused_by_what_they_are(tmp_path: Path, content: bytes, suffix: str) -> None:
    file = tmp_path / f"sd-v1-4.{suffix}"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=KINDS[content]) as caught:
        load_model(str(file))
    assert "weights_only" not in str(caught.value)


def test_a_flipped_bit_in_a_ckpt_is_found_by_its_checksum(same: StableDiffusion, tmp_path: Path) -> None:
    file = tmp_path / "sd-v1-4.ckpt"
    torch.save({"state_dict": weights_of(same)}, file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(ModelError, match=r"checksum of its member|seems truncated or damaged"):
        load_model(str(file))


@pytest.mark.parametrize("lost", ["output_blocks.1", "first_stage_model.decoder.mid", "layers.1.mlp"])
def test_a_file_that_is_not_whole_is_refused(folder: Path, same: StableDiffusion, tmp_path: Path, lost: str) -> None:
    file = tmp_path / "cut.safetensors"
    weights = {key: tensor for key, tensor in weights_of(same).items() if lost not in key}
    save_file({key: tensor.contiguous().clone() for key, tensor in weights.items()}, file)
    lay_beside(folder, file)
    with pytest.raises(ModelError, match=r"lacks .* of the|is not complete"):
        load_model(str(file))


def test_another_vocabulary_is_another_fingerprint(
    folder: Path, same: StableDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    file = tmp_path / "sd-v1-4.safetensors"
    save_file({key: tensor.contiguous().clone() for key, tensor in weights_of(same).items()}, file)
    lay_beside(folder, file, "tokenizer")
    cache = tmp_path / "hub" / "models--openai--clip-vit-large-patch14" / "snapshots" / TOKENIZER_COMMIT
    shutil.copytree(folder / "tokenizer", cache)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    first = load_model(str(file)).fingerprint
    words = json.loads((cache / "vocab.json").read_text())
    words["a"], words["b"] = words["b"], words["a"]
    (cache / "vocab.json").write_text(json.dumps(words))
    assert load_model(str(file)).fingerprint != first


def test_one_copy_of_the_tokenizer_in_the_cache_serves_the_evaluation_network_as_well() -> None:
    assert NETWORKS["clip_vit_l14"].weights == TOKENIZER_COMMIT
