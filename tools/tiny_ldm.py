"""A Stable Diffusion, 1.x or XL, of the smallest sizes with random weights, in diffusers' folder format, for tests."""

from __future__ import annotations

import json
import string
from pathlib import Path

import safetensors.torch
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.embeddings import ImageProjection, IPAdapterPlusImageProjection
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

N_TOKENS = 24
DIM = 32
SECOND_DIM, POOLED_DIM = 48, 40
"""Width of the second text encoder of the small Stable Diffusion XL, and of its pooled embedding."""
TINY_CLIP = CLIPVisionConfig(
    hidden_size=40,
    intermediate_size=48,
    projection_dim=24,
    num_hidden_layers=3,
    num_attention_heads=2,
    image_size=16,
    patch_size=8,
)
_TIME_DIM = 8  # numbers by which its U-Net embeds each of the six sizes


def tiny_vae() -> AutoencoderKL:
    """Make a random autoencoder of factor 4 with 4 latent channels."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 16),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        mid_block_add_attention=False,
        scaling_factor=0.7,
    ).eval()


def tiny_unet(latent_size: int) -> UNet2DConditionModel:
    """Make a random U-Net with cross-attention."""
    return UNet2DConditionModel(
        sample_size=latent_size,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=DIM,
        attention_head_dim=2,
        norm_num_groups=8,
    ).eval()


def tiny_text_encoder(n_words: int) -> CLIPTextModel:
    """Make a random text encoder."""
    config = CLIPTextConfig(
        vocab_size=n_words,
        hidden_size=DIM,
        intermediate_size=2 * DIM,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=N_TOKENS,
        projection_dim=DIM,
        bos_token_id=n_words - 2,
        eos_token_id=n_words - 1,
        pad_token_id=n_words - 1,
    )
    return CLIPTextModel(config).eval()


def tiny_xl_unet(latent_size: int) -> UNet2DConditionModel:
    """Make a random U-Net of Stable Diffusion XL: no attention at the first level, two transformers at the second."""
    return UNet2DConditionModel(
        sample_size=latent_size,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        cross_attention_dim=DIM + SECOND_DIM,
        attention_head_dim=(1, 2),
        norm_num_groups=8,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=_TIME_DIM,
        projection_class_embeddings_input_dim=POOLED_DIM + 6 * _TIME_DIM,
    ).eval()


def tiny_second_encoder(n_words: int) -> CLIPTextModelWithProjection:
    """Make a random text encoder that also returns a pooled embedding."""
    config = tiny_text_encoder(n_words).config.to_dict()
    config |= {"hidden_size": SECOND_DIM, "projection_dim": POOLED_DIM, "num_hidden_layers": 3, "hidden_act": "gelu"}
    return CLIPTextModelWithProjection(CLIPTextConfig(**config)).eval()


def write_tokenizer(folder: Path, padding: str = "<|endoftext|>") -> int:
    """Write a tokenizer that spells words in letters; give the size of its vocabulary."""
    letters = string.ascii_lowercase + string.digits + ",.'-"
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": N_TOKENS,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": padding,
        "unk_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(words)


def write_tiny_ldm(folder: Path, *, image_size: int = 32, prediction_type: str = "epsilon", seed: int = 0) -> Path:
    """Write the components as a diffusers folder, weights in half precision, and give the folder.

    Images ``(image_size, image_size)``, latents ``(4, image_size / 4, image_size / 4)``, conditioning (24, 32).
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        n_words = write_tokenizer(folder / "tokenizer")
        for name, module in (
            ("vae", tiny_vae()),
            ("unet", tiny_unet(image_size // 4)),
            ("text_encoder", tiny_text_encoder(n_words)),
        ):
            module.half().save_pretrained(folder / name, safe_serialization=True)
    DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        steps_offset=1,
        set_alpha_to_one=False,
        clip_sample=False,
        prediction_type=prediction_type,
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder


def write_random_adapter(
    folder: Path,
    *,
    plus: bool = False,
    dim: int = DIM,
    seed: int = 0,
    unet: UNet2DConditionModel | None = None,
    encoder: CLIPVisionConfig = TINY_CLIP,
) -> Path:
    """Write a random image adapter for a U-Net, by default a tiny one, in the published layout, and return its file.

    The folder image_encoder next to it has a random CLIP: tiny, with inputs of 16 pixels and embeddings (24,), or for
    an adapter Plus hidden states (5, 40).
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = _resampler_tensors(encoder.hidden_size, dim) if plus else _pooled_tensors(encoder.projection_dim, dim)
        unet = unet or tiny_unet(8)
        crossed = [name for name in unet.attn_processors if "attn2" in name]
        for i, name in enumerate(crossed):
            width = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
            for kind in ("k", "v"):
                state[f"ip_adapter.{2 * i + 1}.to_{kind}_ip.weight"] = torch.randn(width, dim) / dim**0.5
        CLIPVisionModelWithProjection(encoder).save_pretrained(folder / "image_encoder", safe_serialization=True)
    file = folder / ("ip-adapter-plus_random.safetensors" if plus else "ip-adapter_random.safetensors")
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)
    return file


def _pooled_tensors(width: int, dim: int) -> dict[str, torch.Tensor]:
    projection = ImageProjection(width, dim, 4)
    for tensor in projection.state_dict().values():
        tensor += 0.2 * torch.randn_like(tensor)
    return _named(projection, {"image_embeds.": "proj."})


def _resampler_tensors(width: int, dim: int) -> dict[str, torch.Tensor]:
    projection = IPAdapterPlusImageProjection(
        embed_dims=width, output_dims=dim, hidden_dims=48, depth=4, dim_head=64, heads=2, num_queries=6, ffn_ratio=4
    )
    for tensor in projection.state_dict().values():
        tensor += 0.2 * torch.randn_like(tensor)  # normalisations start as ones and zeros; this shows exchanged names
    return published_resampler(projection)


def published_resampler(projection: IPAdapterPlusImageProjection) -> dict[str, torch.Tensor]:
    """Give the tensors of a resampler under the names of published files, where keys and values are one matrix."""
    names = {
        ".ln0.": ".0.norm1.",
        ".ln1.": ".0.norm2.",
        ".attn.to_q.": ".0.to_q.",
        ".attn.to_out.0.": ".0.to_out.",
        ".ff.1.net.0.proj.": ".1.1.",
        ".ff.1.net.2.": ".1.3.",
        ".ff.0.": ".1.0.",
    }
    state = _named(projection, names)
    for start in [name.removesuffix("attn.to_k.weight") for name in state if name.endswith("attn.to_k.weight")]:
        both = [state.pop(f"{start}attn.to_{kind}.weight") for kind in ("k", "v")]
        state[f"{start}0.to_kv.weight"] = torch.cat(both)
    return state


def _named(module: torch.nn.Module, names: dict[str, str]) -> dict[str, torch.Tensor]:
    state = {}
    for name, tensor in module.state_dict().items():
        for own, published in names.items():
            name = name.replace(own, published)
        state[f"image_proj.{name}"] = tensor
    return state


def write_tiny_xl(folder: Path, *, image_size: int = 32, zeros: bool = True, seed: int = 0) -> Path:
    """Write the components of a Stable Diffusion XL as a diffusers folder, and give the folder.

    Conditioning (25, 80): hidden states of 32 and 48 numbers, and a last row whose first 40 are the pooled embedding.
    """
    write_tiny_ldm(folder, image_size=image_size, seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed + 1)
        n_words = write_tokenizer(folder / "tokenizer_2", padding="a")
        vae = AutoencoderKL.from_config({**tiny_vae().config, "mid_block_add_attention": True})
        for name, module in (
            ("vae", vae),
            ("unet", tiny_xl_unet(image_size // 4)),
            ("text_encoder_2", tiny_second_encoder(n_words)),
        ):
            module.half().save_pretrained(folder / name, safe_serialization=True)
    index = json.loads((folder / "model_index.json").read_text())
    for name in ("safety_checker", "requires_safety_checker"):
        del index[name]
    index |= {
        "_class_name": "StableDiffusionXLPipeline",
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "image_encoder": [None, None],
        "force_zeros_for_empty_prompt": zeros,
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder
