"""Merging made position ids floats, some of them wrong (AUTOMATIC1111/stable-diffusion-webui#7450)."""

from __future__ import annotations

import shutil

import numpy as np
import torch
from original_layout import original_weights
from safetensors.torch import save_file

from reseen.ldm import load_model

CAPTIONS = ["a cat on the water", "two dogs"]


def test_broken_position_ids_change_nothing(tiny_model, tmp_path):
    same = load_model(str(tiny_model))
    weights = original_weights(same.unet, same.vae, same.text_encoder)
    for name, ids in {
        "floats": torch.arange(24.0),
        "wrong": torch.arange(24.0) * 0.99,
        "integers": torch.arange(24),
    }.items():
        file = tmp_path / f"{name}.safetensors"
        position_ids = {"cond_stage_model.transformer.text_model.embeddings.position_ids": ids[None]}
        save_file({key: tensor.contiguous().clone() for key, tensor in {**weights, **position_ids}.items()}, file)
        shutil.copytree(tiny_model, file.with_suffix(""), ignore=shutil.ignore_patterns("*.safetensors"))
        merged = load_model(str(file))
        np.testing.assert_array_equal(merged.text_to_conditioning(CAPTIONS), same.text_to_conditioning(CAPTIONS))
