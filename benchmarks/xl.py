"""Count the operations of Stable Diffusion XL at its published size: ``python benchmarks/xl.py [--json FILE]``.

Counted on PyTorch's meta device, without weights: the operations of each network, of one sample of condition zc (40 of
50 steps, guidance 5, a coarse image of 5/8 of the size shared by five samples), and of 982 x 5 samples, with the least
time that these take on an H100. ``one_image.py`` makes an image with a checkpoint of this size.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import torch
from figures import figure, write
from full_size import operations, show

from reseen.diffusion import Schedule
from reseen.imports import hide_broken_torchvision
from reseen.ldm.xl import StableDiffusionXL

UNET = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "scaling_factor": 0.13025,
}
FIRST = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
SECOND = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
SECOND |= {"projection_dim": 1280, "hidden_act": "gelu"}
"""Stable Diffusion XL: what differs from the defaults of the classes."""
N_STEPS, N_SAMPLES, N_IMAGES = 40, 5, 982
H100 = 650e12
"""Operations a second in large half-precision products (docs/performance.md)."""


def without_weights() -> StableDiffusionXL:
    """Return a model of the published size on the meta device."""
    hide_broken_torchvision()
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    words = {"vocab_size": 49408, "max_position_embeddings": 77}
    with torch.device("meta"):
        parts = {
            "vae": AutoencoderKL(**VAE),
            "unet": UNet2DConditionModel(**UNET),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**words, **FIRST)),
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**words, **SECOND)),
        }
    tokenizers = {name: SimpleNamespace(model_max_length=77) for name in ("tokenizer", "tokenizer_2")}
    return StableDiffusionXL("xl", "none", Schedule.scaled_linear(), "epsilon", **parts, **tokenizers)


def counted() -> list[dict[str, object]]:
    """Return the operations of each network, of one sample and of a subject."""
    found = operations(without_weights())
    coarse = found["decode small"] + found["encode"]
    sample = 2 * N_STEPS * found["unet"] + found["decode"] + coarse / N_SAMPLES
    total = N_IMAGES * N_SAMPLES * sample
    return [
        *(figure(name, round(value / 1e12, 3), "TFLOP") for name, value in found.items()),
        figure("one sample of zc", round(sample / 1e12, 1), "TFLOP"),
        figure("982 x 5 samples", round(total / 1e15), "PFLOP"),
        figure("982 x 5 samples on an H100, at least", round(total / H100 / 60, 1), "minutes"),
    ]


def main() -> None:
    """Count, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="no difference: counts are quick")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = counted()
    show(figures)
    write(arguments.json, figures, ("torch", "diffusers", "transformers"))


if __name__ == "__main__":
    main()
