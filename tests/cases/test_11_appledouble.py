"""macOS leaves ._name beside each file on a foreign disk (OpenNeuroOrg/openneuro#2520)."""

from __future__ import annotations

import numpy as np
import pytest
from _inputs import arrays, data_recipe, save
from loading import load
from PIL import Image

from reseen.errors import DataError

APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" + bytes(100)


def test_a_folder_of_npy_files_is_read_without_them(tmp_path):
    for name, values in arrays().items():
        np.save(tmp_path / f"{name}.npy", values)
        (tmp_path / f"._{name}.npy").write_bytes(APPLE_DOUBLE)
    assert len(load(data_recipe(tmp_path), "subj01")[0]) == 72


def test_a_folder_of_npz_files_is_read_without_them(tmp_path):
    save(tmp_path / "subj01.npz")
    (tmp_path / "._subj01.npz").write_bytes(APPLE_DOUBLE)
    assert len(load(data_recipe(tmp_path), "subj01")[0]) == 72


def test_only_they_are_there_is_said(tmp_path):
    (tmp_path / "._betas.npy").write_bytes(APPLE_DOUBLE)
    with pytest.raises(DataError, match="contains no arrays"):
        load(data_recipe(tmp_path), "subj01")


def test_images_to_simulate_with_are_read_without_them(tmp_path):
    from reseen.recipe import SimulateRecipe
    from reseen.simulate.images import read_images

    for number in range(4):
        Image.new("RGB", (64, 64), (number * 60, 0, 0)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"image {number}\n")
        (tmp_path / f"._{number}.png").write_bytes(APPLE_DOUBLE)
    shown = read_images(tmp_path, SimulateRecipe(n_train=3, n_test=1), np.random.default_rng(0))
    assert [one["file"] for one in shown.descriptions] == ["0.png", "1.png", "2.png", "3.png"]
