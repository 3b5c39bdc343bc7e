"""A Stable Diffusion in diffusers' format, rewritten under the names of the original code, for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]
RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
OPEN_CLIP = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def original_weights(unet: Any, vae: Any, text_encoder: Any, *, open_clip: bool = False) -> Weights:
    """Give all weights as a checkpoint of Stable Diffusion 1.x has them, or, ``open_clip``, one of 2.x."""
    words = _open_clip(text_encoder) if open_clip else _clip(text_encoder)
    return {
        **_below("model.diffusion_model.", _unet(unet)),
        **_below("first_stage_model.", _vae(vae)),
        **_below("cond_stage_model.", words),
    }


def original_weights_xl(unet: Any, vae: Any, text_encoder: Any, text_encoder_2: Any) -> Weights:
    """Give all weights as a checkpoint of Stable Diffusion XL has them."""
    projection = text_encoder_2.state_dict()["text_projection.weight"]
    second = {**_open_clip(text_encoder_2), "model.text_projection": projection.T, "model.logit_scale": torch.zeros(())}
    return {
        **_below("model.diffusion_model.", _unet(unet)),
        **_below("first_stage_model.", _vae(vae)),
        **_below("conditioner.embedders.0.", _clip(text_encoder)),
        **_below("conditioner.embedders.1.", second),
    }


def averaged(weights: Weights) -> Weights:
    """Give the same U-Net under the names of the averaged (EMA) weights of a whole checkpoint."""
    prefix = "model.diffusion_model."
    return {
        "model_ema.diffusion_model" + key.removeprefix(prefix).replace(".", ""): tensor
        for key, tensor in weights.items()
        if key.startswith(prefix)
    }


def _below(prefix: str, weights: Weights) -> Weights:
    return {prefix + key: tensor for key, tensor in weights.items()}


def _part(weights: Weights, path: str) -> Weights:
    return {key[len(path) + 1 :]: tensor for key, tensor in weights.items() if key.startswith(f"{path}.")}


def _renamed(weights: Weights, names: dict[str, str]) -> Weights:
    made: Weights = {}
    for new, old in names.items():
        made |= _below(f"{new}.", _part(weights, old))
    return made


def _unet(unet: Any) -> Weights:
    weights = unet.state_dict()
    made = _renamed(
        weights,
        {
            "time_embed.0": "time_embedding.linear_1",
            "time_embed.2": "time_embedding.linear_2",
            "label_emb.0.0": "add_embedding.linear_1",
            "label_emb.0.2": "add_embedding.linear_2",
            "input_blocks.0.0": "conv_in",
            "out.0": "conv_norm_out",
            "out.2": "conv_out",
            "middle_block.1": "mid_block.attentions.0",
        },
    )
    for new, old in ((0, 0), (2, 1)):
        made |= _below(f"middle_block.{new}.", _renamed(_part(weights, f"mid_block.resnets.{old}"), RESNET))
    number = 1
    for level, block in enumerate(unet.down_blocks):
        for layer in range(len(block.resnets)):
            made |= _layer(weights, f"input_blocks.{number}", f"down_blocks.{level}", layer)
            number += 1
        if block.downsamplers:
            made |= _renamed(weights, {f"input_blocks.{number}.0.op": f"down_blocks.{level}.downsamplers.0.conv"})
            number += 1
    number = 0
    for level, block in enumerate(unet.up_blocks):
        for layer in range(len(block.resnets)):
            made |= _layer(weights, f"output_blocks.{number}", f"up_blocks.{level}", layer)
            number += 1
        if block.upsamplers:
            place = 2 if getattr(block, "attentions", None) else 1
            up = {f"output_blocks.{number - 1}.{place}.conv": f"up_blocks.{level}.upsamplers.0.conv"}
            made |= _renamed(weights, up)
    return made


def _layer(weights: Weights, new: str, block: str, layer: int) -> Weights:
    resnet = _renamed(_part(weights, f"{block}.resnets.{layer}"), RESNET)
    return {**_below(f"{new}.0.", resnet), **_renamed(weights, {f"{new}.1": f"{block}.attentions.{layer}"})}


def _vae(vae: Any) -> Weights:
    weights = vae.state_dict()
    made = _renamed(weights, {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"})
    for half, blocks, resized in (("encoder", "down", "downsample"), ("decoder", "up", "upsample")):
        part = getattr(vae, half)
        levels = getattr(part, f"{blocks}_blocks")
        names = {
            "conv_in": "conv_in",
            "norm_out": "conv_norm_out",
            "conv_out": "conv_out",
            "mid.block_1": "mid_block.resnets.0",
            "mid.block_2": "mid_block.resnets.1",
        }
        for level, block in enumerate(levels):
            number = level if half == "encoder" else len(levels) - 1 - level
            for layer in range(len(block.resnets)):
                names[f"{blocks}.{number}.block.{layer}"] = f"{blocks}_blocks.{level}.resnets.{layer}"
            names[f"{blocks}.{number}.{resized}.conv"] = f"{blocks}_blocks.{level}.{resized}rs.0.conv"
        own = _renamed(_part(weights, half), names)
        attention = "mid_block.attentions.0"
        query = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
        for key, tensor in _renamed(_part(weights, f"{half}.{attention}"), query).items():
            # the original attends by convolutions of one pixel
            linear = key.endswith("weight") and not key.startswith("norm")
            own[f"mid.attn_1.{key}"] = tensor[..., None, None] if linear else tensor
        made |= _below(f"{half}.", {key.replace("conv_shortcut", "nin_shortcut"): own[key] for key in own})
    return made


def _flat(text_encoder: Any) -> Weights:
    weights = text_encoder.state_dict()
    return {key.removeprefix("text_model."): weights[key] for key in weights}


def _clip(text_encoder: Any) -> Weights:
    return _below("transformer.text_model.", _flat(text_encoder))


def _open_clip(text_encoder: Any) -> Weights:
    weights = _flat(text_encoder)
    made = {
        "token_embedding.weight": weights["embeddings.token_embedding.weight"],
        "positional_embedding": weights["embeddings.position_embedding.weight"],
        **_renamed(weights, {"ln_final": "final_layer_norm"}),
    }
    for number in range(text_encoder.config.num_hidden_layers):
        layer = _part(weights, f"encoder.layers.{number}")
        own = _renamed(layer, OPEN_CLIP)
        for kind in ("weight", "bias"):
            own[f"attn.in_proj_{kind}"] = torch.cat([layer[f"self_attn.{name}_proj.{kind}"] for name in "qkv"])
        made |= _below(f"transformer.resblocks.{number}.", own)
    return _below("model.", made)
