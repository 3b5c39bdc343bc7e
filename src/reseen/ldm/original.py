"""Original format of Stable Diffusion: settings of a checkpoint's networks, from names and shapes of its tensors.

A checkpoint has weights and no settings. Widths and numbers of layers follow from shapes. Attention heads, activation
function and schedule follow from the family: Stable Diffusion 1.x has CLIP's text encoder, 2.x that of OpenCLIP, and XL
both.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reseen.errors import ModelError
from reseen.files.reading import shown
from reseen.ldm.xl import N_SIZES, REFINER

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."
CLIP, OPEN_CLIP = f"{TEXT}transformer.text_model.", f"{TEXT}model."
XL_TEXT = "conditioner.embedders."
XL_CLIP, XL_OPEN_CLIP = f"{XL_TEXT}0.transformer.text_model.", f"{XL_TEXT}1.model."
XL_REFINER = f"{XL_TEXT}0.model."
"""Start of the names of the refiner's only text encoder."""
EMA = "model_ema.diffusion_model"
BETA_START, BETA_END = 0.00085, 0.012
SCHEDULE = {
    "_class_name": "DDIMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": BETA_START,
    "beta_end": BETA_END,
    "steps_offset": 1,
    "set_alpha_to_one": False,
}
"""Schedule of every Stable Diffusion 1.x and 2.x; `check_original` compares it with the checkpoint's signal levels."""
PUBLISHED = {768: (320, 640, 1280, 1280), 1024: (320, 640, 1280, 1280), 2048: (320, 640, 1280)}
"""Published widths of the U-Net, by the width of c: 768 of 1.x, 1024 of 2.x, 2048 of XL."""
HEAD = 64
"""Channels of a head in CLIP's text encoders and in the U-Nets of 2.x and XL; the U-Net of 1.x has eight heads."""
XL_SCALE = 0.13025
"""Scaling factor of the autoencoder of XL; that of 1.x and 2.x is the default of diffusers."""
OPEN_CLIP_LAYERS = 24
"""Layers of OpenCLIP's text encoder. The last is not used: c is the output of the penultimate one."""

_ONE_PART = "has one part of a model under diffusers' names; use the folder of the complete model instead"
_FOREIGN = (
    (XL_REFINER, REFINER),
    ("lora_", "is a LoRA, a change of a model without the model"),
    ("double_blocks.", "is a Flux model"),
    ("model.diffusion_model.joint_blocks.", "is a Stable Diffusion 3"),
    ("model.diffusion_model.double_blocks.", "is a Flux model"),
    ("control_model.", "is a ControlNet"),
    ("down_blocks.", _ONE_PART),
    ("encoder.down_blocks.", _ONE_PART),
    ("text_model.", "has only a text encoder"),
)
"""First part of a tensor's name -> other model or part that has it."""
_CHANNELS = {5: "for depth", 7: "for upscaling", 8: "for editing by instructions", 9: "for inpainting"}
"""Input channels of the U-Net -> purpose of the model; a text-to-image model has 4."""
_PARTS = ((UNET, "U-Net"), (VAE, "autoencoder"), (TEXT, "text encoder"))
_XL_PARTS = (
    (UNET, "U-Net"),
    (VAE, "autoencoder"),
    (XL_CLIP, "first text encoder"),
    (XL_OPEN_CLIP, "second text encoder"),
)

Weights = Mapping[str, Any]
Family = Literal[1, 2, "xl"]


def check_original(weights: Weights, path: Path) -> Family:
    """Check that a checkpoint is a complete text-to-image Stable Diffusion, and return its family.

    Parameters
    ----------
    weights
        Tensors by their names in the original code.
    path
        The file, for messages.

    Returns
    -------
    int or str
        1 for Stable Diffusion 1.x, 2 for 2.x, ``"xl"`` for XL.

    Raises
    ------
    ModelError
        If it is another model, lacks a part, or was trained with another schedule.
    """
    _refuse_foreign(weights, path)
    _compare_levels(weights, path)
    if any(key.startswith(XL_TEXT) for key in weights):
        return "xl"
    return 1 if any(key.startswith(CLIP) for key in weights) else 2


def read_settings(part: str, weights: Weights, family: Family, path: Path) -> dict[str, Any]:
    """Read the settings of a network from names and shapes.

    Parameters
    ----------
    part
        ``unet``, ``vae``, ``text_encoder`` or, for XL, ``text_encoder_2``.
    weights, path
        As for `check_original`.
    family
        As `check_original` returns it.

    Returns
    -------
    dict
        Settings that differ from the defaults of the classes of diffusers and transformers.

    Raises
    ------
    ModelError
        If tensors are missing, or do not have the shapes of the family.
    """
    readers = {"unet": _unet, "vae": _vae, "text_encoder": _text, "text_encoder_2": _second_text}
    try:
        return readers[part](weights, family)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ModelError(
            f"{shown(path)} is not complete, or has another size: its {part} lacks {shown(str(error))}. Download or "
            f"copy it again. If it has another size, put its configuration into {shown(path.with_suffix(''))}.",
            where=path,
        ) from error


def _refuse_foreign(weights: Weights, path: Path) -> None:
    def first_name(*starts: str) -> str | None:
        return next((key for key in weights if key.startswith(starts)), None)

    for start, what in _FOREIGN:
        if name := first_name(start):
            raise ModelError(
                f"{shown(path)} {what}. reseen works with Stable Diffusion 1.x, 2.x and XL.", where=path, found=name
            )
    xl = first_name(XL_TEXT) is not None
    for start, part in _XL_PARTS if xl else _PARTS:
        if first_name(start) is None:
            raise ModelError(
                f"{shown(path)} has no {part} under a known name ({start}...). Use a checkpoint of the complete model, "
                "or a diffusers folder.",
                where=path,
                expected=start,
            )
    if not xl and first_name(CLIP, OPEN_CLIP) is None:
        other = first_name(TEXT)
        raise ModelError(
            f"{shown(path)} has no text encoder under a known name: expected {CLIP}... or {OPEN_CLIP}..., found "
            f"{shown(str(other))}. Use a checkpoint with the original names.",
            where=path,
            expected=(CLIP, OPEN_CLIP),
            found=other,
        )
    first = weights.get(f"{UNET}input_blocks.0.0.weight")  # (width, input channels, 3, 3)
    channels = first.shape[1] if first is not None and first.ndim == 4 else 4
    if channels != 4:
        raise ModelError(
            f"{shown(path)} is a model {_CHANNELS.get(channels, 'of another type')} ({channels} channels). Use a plain "
            "text-to-image Stable Diffusion 1.x, 2.x or XL (4 channels).",
            where=path,
            expected=4,
            found=channels,
        )


def _numbers(weights: Weights, pattern: str) -> list[int]:
    """Return the different numbers at the group of a pattern in the tensors' names, ascending."""
    matches = (re.match(pattern, key) for key in weights)
    return sorted({int(match[1]) for match in matches if match})


def _unet(weights: Weights, family: Family) -> dict[str, Any]:
    # input_blocks.0 is the first convolution; then each level has its layers and, except the last, a downsampling
    n_input = len(_numbers(weights, re.escape(UNET) + r"input_blocks\.(\d+)\."))
    downs = [n for n in range(n_input) if f"{UNET}input_blocks.{n}.0.op.weight" in weights]
    ends = [*downs, n_input]
    starts = [1, *(down + 1 for down in downs)]
    per_level = {end - start for start, end in zip(starts, ends, strict=True)}
    if len(per_level) != 1:
        raise ValueError("the same number of layers at each level of the U-Net")
    layers = per_level.pop()
    widths = [int(weights[f"{UNET}input_blocks.{start}.0.out_layers.3.weight"].shape[0]) for start in starts]
    attends = [f"{UNET}input_blocks.{start}.1.norm.weight" in weights for start in starts]
    linear = weights[f"{UNET}middle_block.1.proj_in.weight"].ndim == 2
    caption = int(weights[f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1])
    if PUBLISHED.get(caption) != tuple(widths):
        warnings.warn(
            "the checkpoint does not have the size of a published Stable Diffusion 1.x, 2.x or XL. The file does not "
            "have its numbers of attention heads; they are chosen by the rule of the published models. To set them, "
            "put a unet/config.json next to the file.",
            stacklevel=2,
        )
    additional = _additional(weights, starts) if family == "xl" else {}
    return {
        **additional,
        "block_out_channels": widths,
        "layers_per_block": layers,
        "cross_attention_dim": caption,
        "attention_head_dim": 8 if family == 1 else [max(1, width // HEAD) for width in widths],
        "use_linear_projection": linear,
        "down_block_types": ["CrossAttnDownBlock2D" if attend else "DownBlock2D" for attend in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)],
    }


def _additional(weights: Weights, starts: list[int]) -> dict[str, Any]:
    """Return what the U-Net of XL has in addition: several transformers a layer, and inputs besides the caption."""
    blocks = [f"{UNET}input_blocks.{start}.1.transformer_blocks" for start in starts]
    depths = [len(_numbers(weights, re.escape(block) + r"\.(\d+)\.")) for block in blocks]
    n_inputs = int(weights[f"{UNET}label_emb.0.0.weight"].shape[1])
    pooled = int(weights[f"{XL_OPEN_CLIP}text_projection"].shape[1])
    return {
        "transformer_layers_per_block": [max(1, depth) for depth in depths],
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": (n_inputs - pooled) // N_SIZES,
        "projection_class_embeddings_input_dim": n_inputs,
    }


def _vae(weights: Weights, family: Family) -> dict[str, Any]:
    levels = _numbers(weights, re.escape(VAE) + r"encoder\.down\.(\d+)\.")
    blocks = _numbers(weights, re.escape(VAE) + r"encoder\.down\.0\.block\.(\d+)\.")
    widths = [int(weights[f"{VAE}encoder.down.{n}.block.0.conv2.weight"].shape[0]) for n in levels]
    return {
        "block_out_channels": widths,
        "layers_per_block": len(blocks),
        "down_block_types": ["DownEncoderBlock2D"] * len(levels),
        "up_block_types": ["UpDecoderBlock2D"] * len(levels),
        "latent_channels": int(weights[f"{VAE}post_quant_conv.weight"].shape[1]),
        "mid_block_add_attention": f"{VAE}encoder.mid.attn_1.q.weight" in weights,
        "sample_size": 1024 if family == "xl" else 512,
        **({"scaling_factor": XL_SCALE} if family == "xl" else {}),
    }


def _text(weights: Weights, family: Family) -> dict[str, Any]:
    if family == 2:
        n_found = len(_layers(weights, OPEN_CLIP))
        if n_found not in (OPEN_CLIP_LAYERS - 1, OPEN_CLIP_LAYERS):
            raise ValueError(f"a text encoder of {OPEN_CLIP_LAYERS} layers, not {n_found},")
        return _open_clip(weights, OPEN_CLIP, OPEN_CLIP_LAYERS - 1)
    start = XL_CLIP if family == "xl" else CLIP
    return _text_settings(
        weights[f"{start}embeddings.token_embedding.weight"],
        weights[f"{start}embeddings.position_embedding.weight"],
        weights[f"{start}encoder.layers.0.mlp.fc1.weight"],
        n_layers=len(_numbers(weights, re.escape(start) + r"encoder\.layers\.(\d+)\.")),
        hidden_act="quick_gelu",
    )


def _second_text(weights: Weights, _family: Family) -> dict[str, Any]:
    projection = int(weights[f"{XL_OPEN_CLIP}text_projection"].shape[1])
    # c has the states before the last layer, and the pooled embedding those after it: every layer is used
    settings = _open_clip(weights, XL_OPEN_CLIP, len(_layers(weights, XL_OPEN_CLIP)))
    return {**settings, "projection_dim": projection}


def _layers(weights: Weights, start: str) -> list[int]:
    return _numbers(weights, re.escape(start) + r"transformer\.resblocks\.(\d+)\.")


def _open_clip(weights: Weights, start: str, n_layers: int) -> dict[str, Any]:
    return _text_settings(
        weights[f"{start}token_embedding.weight"],
        weights[f"{start}positional_embedding"],
        weights[f"{start}transformer.resblocks.0.mlp.c_fc.weight"],
        n_layers=n_layers,
        hidden_act="gelu",
    )


def _text_settings(words: Any, positions: Any, inner: Any, *, n_layers: int, hidden_act: str) -> dict[str, Any]:
    n_words, width = (int(n) for n in words.shape)
    return {
        "vocab_size": n_words,
        "hidden_size": width,
        "intermediate_size": int(inner.shape[0]),
        "num_hidden_layers": n_layers,
        "num_attention_heads": max(1, width // HEAD),
        "max_position_embeddings": int(positions.shape[0]),
        "hidden_act": hidden_act,
        "bos_token_id": n_words - 2,  # the last two words of CLIP's vocabulary mark start and end of a caption
        "eos_token_id": n_words - 1,
    }


def _compare_levels(weights: Weights, path: Path) -> None:
    """Check that the signal levels of a checkpoint, if it has any, are those of Stable Diffusion's schedule."""
    from reseen.diffusion import Schedule

    levels = weights.get("alphas_cumprod")
    if levels is None:
        return
    expected = Schedule.scaled_linear(BETA_START, BETA_END).signal_level
    found = levels.double().numpy()
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=1e-4):
        raise ModelError(
            f"{shown(path)} was trained with another noise schedule than Stable Diffusion's (alphas_cumprod). Use a "
            "Stable Diffusion 1.x, 2.x or XL with the scaled-linear schedule.",
            where=path,
        )
