"""A Stable Diffusion of the smallest sizes with random weights, written in diffusers' folder format, for tests."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

N_TOKENS = 24
DIM = 32


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


def write_tokenizer(folder: Path) -> int:
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
        "pad_token": "<|endoftext|>",
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
