"""A checkpoint without an autoencoder, with other names, or of a LoRA alone is refused by what it lacks."""

from __future__ import annotations

import shutil

import pytest
from original_layout import original_weights
from safetensors.torch import save_file

from reseen.errors import ModelError
from reseen.ldm import load_model


def without_vae(weights):
    return {key: tensor for key, tensor in weights.items() if not key.startswith("first_stage_model.")}


def text_model_left_out_of_names(weights):
    return {key.replace("transformer.text_model.", "transformer."): tensor for key, tensor in weights.items()}


def lora_only(weights):
    tensor = weights["model.diffusion_model.out.2.bias"]
    return {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": tensor}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_vae, "has no autoencoder under a known name"),
        (text_model_left_out_of_names, "has no text encoder under a known name"),
        (lora_only, "is a LoRA"),
    ],
)
def test_it_is_refused_by_what_it_lacks(tiny_model, tmp_path, change, said):
    same = load_model(str(tiny_model))
    weights = change(original_weights(same.unet, same.vae, same.text_encoder))
    file = tmp_path / "model.safetensors"
    save_file({key: tensor.contiguous().clone() for key, tensor in weights.items()}, file)
    shutil.copytree(tiny_model, file.with_suffix(""), ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(ModelError, match=said) as caught:
        load_model(str(file))
    assert "another size" not in str(caught.value)
