"""Keys of a text encoder have another prefix, so that no tensor of it is read (feizc/FluxMusic#5)."""

from __future__ import annotations

import shutil

import pytest
from safetensors.torch import load_file, save_file

from reseen.errors import ModelError
from reseen.ldm import load_model


def test_a_text_encoder_of_which_no_tensor_is_read_is_refused(tiny_model, tmp_path):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    file = model / "text_encoder" / "model.safetensors"
    renamed = {"module." + key: tensor for key, tensor in load_file(file).items()}
    save_file(renamed, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"text_encoder lacks .* of the text_encoder \(\d+ tensors\)"):
        load_model(str(model))
