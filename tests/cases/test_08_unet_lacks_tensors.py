"""A folder whose U-Net or autoencoder lacks tensors, or has them with NaN (haoningwu3639/StoryGen#22)."""

from __future__ import annotations

import shutil

import pytest
from fields import raises_with
from safetensors.torch import load_file, save_file

from reseen.errors import ModelError
from reseen.ldm import load_model

PLACES = [("unet", "conv_out"), ("unet", "mid_block"), ("vae", "post_quant_conv"), ("vae", "decoder.conv_in")]


@pytest.mark.parametrize(("part", "lost"), PLACES)
def test_a_part_that_lacks_tensors_is_refused_by_their_names(tiny_model, tmp_path, part, lost):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    file = model / part / "diffusion_pytorch_model.safetensors"
    kept = {key: tensor for key, tensor in load_file(file).items() if not key.startswith(lost)}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"lacks {lost}.* of the {part}"):
        load_model(str(model))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_part_whose_weights_are_not_finite_is_refused(tiny_model, tmp_path, part, number):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    file = next((model / part).glob("*.safetensors"))
    tensors = load_file(file)
    sorted(tensors.items())[-1][1].view(-1)[0] = number
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"of the {part} contain NaN or infinite numbers"):
        load_model(str(model))


def test_a_tensor_too_many_is_refused(tiny_model, tmp_path):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    file = model / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "extra.weight": tensors["conv_out.bias"].clone()}, file, metadata={"format": "pt"})
    with raises_with(ModelError, where=model / "unet", found=["extra.weight"]):
        load_model(str(model))
