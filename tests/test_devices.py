"""Devices: the precision that suits each, TF32, and how much attention one row takes on MPS."""

from __future__ import annotations

import math
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fields import raises_with
from tiny_ldm import write_tiny_ldm

from reseen import pipeline
from reseen.check import with_precision
from reseen.check.costs import seconds_per_evaluation
from reseen.errors import ModelError, ResultsError
from reseen.ldm import load_model
from reseen.ldm.batching import LARGEST_BUFFER, Batching, attention_bytes
from reseen.ldm.devices import choose_precision
from reseen.ldm.stable import StableDiffusion
from reseen.recipe import Recipe, load_recipe, with_settings
from reseen.results import ResultsFolder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_ldm(tmp_path_factory.mktemp("ldm") / "tiny")


@pytest.fixture(scope="module")
def ldm(folder: Path) -> StableDiffusion:
    loaded = load_model(str(folder))
    assert isinstance(loaded, StableDiffusion)
    return loaded


def on(device: str, ldm: StableDiffusion, monkeypatch: pytest.MonkeyPatch, **changed: Any) -> StableDiffusion:
    """A model that takes this machine for a GPU: tensors stay where they are."""
    move = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *a, **k: tensor if a == (device,) else move(tensor, *a, **k))
    for name in ("tensor", "zeros"):
        make = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, make=make, **k: make(*a, **{**k, "device": "cpu"}))
    monkeypatch.setattr("reseen.ldm.batching._begin_measuring", lambda _device: 0)
    monkeypatch.setattr("reseen.ldm.batching._measured", lambda _device, _before: (1000, 12))  # 64 rows
    monkeypatch.setattr("reseen.ldm.stable.tensor_float", lambda _allowed: nullcontext())
    return replace(ldm, device=device, **changed)


SWITCHES = """
import os, sys
import torch
from reseen.ldm.devices import tensor_float

WAYS = (
    "pass",
    "torch.backends.fp32_precision = 'tf32'",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
    "torch.backends.cuda.matmul.allow_tf32 = True; torch.backends.cudnn.allow_tf32 = False",
    "torch.set_float32_matmul_precision('high')",
)

def state():
    found = []
    for read in (
        lambda: torch.backends.fp32_precision,
        lambda: torch.backends.cuda.matmul.fp32_precision,
        lambda: torch.backends.cudnn.conv.fp32_precision,
        lambda: torch.backends.cudnn.rnn.fp32_precision,
        lambda: torch.backends.cuda.matmul.allow_tf32,
        lambda: torch.backends.cudnn.allow_tf32,
    ):
        try:
            found.append(read())
        except RuntimeError:
            found.append("refused")
    return found

def compare(way):
    exec(way)
    before = state()
    for allowed in (True, False):
        with tensor_float(allowed):
            assert state()[1:3] == ["tf32" if allowed else "ieee"] * 2, state()
        assert state() == before, (before, state())

for way in WAYS:
    child = os.fork()
    if child == 0:
        try:
            compare(way)
        except BaseException as error:
            os.write(2, f"{way}: {error!r}".encode())
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(1)
"""


def test_the_switches_of_tf32_are_restored_whatever_interface_set_them_before() -> None:
    """PyTorch keeps this state in the process, so that each way of setting it has a process of its own."""
    done = subprocess.run([sys.executable, "-c", SWITCHES], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_autoencoder_computes_in_tf32_beside_half_precision_on_cuda_and_the_switches_of_a_half_u_net_are_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def noted(allowed: bool) -> nullcontext[None]:
        asked.append(allowed)
        return nullcontext()

    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_, **__: tensor)
    monkeypatch.setattr("reseen.ldm.stable.tensor_float", noted)
    for precision, expected in (("fp32", [False, False]), ("fp16", [True])):
        model = replace(load_model(str(folder), precision=precision), device="cuda")
        asked.clear()  # of the check after loading
        for kind in ("decode", "unet"):
            model.batching.rows[kind, 3] = 4
            model._run(kind, lambda rows: 2 * rows, torch.ones(4, 3))
        assert asked == expected


@pytest.mark.parametrize(
    ("device", "capability", "chosen"),
    [("cpu", None, "fp32"), ("mps", None, "fp32"), ("cuda", (9, 0), "fp16"), ("cuda:1", (6, 1), "fp32")],
)
def test_auto_is_half_precision_on_a_gpu_with_matrix_units_and_single_precision_elsewhere(
    device: str, capability: tuple[int, int] | None, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert choose_precision("auto", device) == chosen
    assert [choose_precision(own, device) for own in ("fp32", "fp16", "bf16")] == ["fp32", "fp16", "bf16"]


def test_a_model_is_loaded_in_single_precision_on_a_cpu(ldm: StableDiffusion) -> None:
    assert ldm.unet.dtype == torch.float32


class Attention:
    """PyTorch's attention, which notes the bytes of the scores of one row."""

    def __init__(self) -> None:
        self.real, self.bytes = torch.nn.functional.scaled_dot_product_attention, 0

    def __call__(self, query: torch.Tensor, key: torch.Tensor, *others: Any, **options: Any) -> torch.Tensor:
        self.bytes = max(self.bytes, 4 * query.shape[1] * query.shape[2] * key.shape[2])
        attended: torch.Tensor = self.real(query, key, *others, **options)
        return attended


def test_the_bytes_of_attention_are_those_that_the_networks_take(
    ldm: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """diffusers' own networks, built in the shape of Stable Diffusion at small widths, say what they attend to."""
    seen = Attention()
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", seen)
    tiny = replace(ldm, device="cpu")
    latents, c = torch.zeros(1, *ldm.latent_shape), torch.zeros(1, *ldm.conditioning_shape)
    tiny.predict_noise(latents, 1, c)
    assert seen.bytes == attention_bytes(ldm.unet.config, math.prod(ldm.latent_shape[1:]))
    as_if = replace(ldm, device="mps")
    assert as_if._scores("unet", latents) == seen.bytes
    attending = type(ldm.vae).from_config({**ldm.vae.config, "mid_block_add_attention": True})
    tiny, as_if = replace(tiny, vae=attending), replace(as_if, vae=attending)
    seen.bytes = 0
    image = tiny.latent_to_image(latents)
    assert as_if._scores("decode", latents) == seen.bytes
    seen.bytes = 0
    tiny.image_to_latent(image)
    assert as_if._scores("encode", torch.from_numpy(image)) == seen.bytes


@pytest.mark.parametrize(
    ("side", "heads", "levels", "scores", "rows"),
    [(64, 8, 3, 2**29, 4), (64, (5, 10, 20, 20), 3, 5 * 2**26, 8), (96, (5, 10, 20, 20), 3, 5 * 4 * 9216**2, 2)],
)
def test_rows_on_mps_keep_attention_scores_below_four_gibibytes(
    side: int, heads: Any, levels: int, scores: int, rows: int
) -> None:
    """Stable Diffusion 1.x at 512 pixels, 2.x at 512 and 768: eight rows of the first would be 2^32 bytes exactly."""
    kinds = ("CrossAttnDownBlock2D",) * levels + ("DownBlock2D",)
    config = SimpleNamespace(num_attention_heads=None, attention_head_dim=heads, down_block_types=kinds)
    assert attention_bytes(config, side**2) == scores
    assert Batching("model", "mps", small=False)._most_for(scores) == rows
    assert rows * scores < LARGEST_BUFFER
    assert Batching("model", "cuda", small=False)._most_for(scores) == 64


def test_an_image_whose_attention_alone_is_too_large_for_mps_is_refused() -> None:
    with raises_with(ModelError, where="device", expected=LARGEST_BUFFER - 1, found=LARGEST_BUFFER):
        Batching("model", "mps", small=False).run("unet", torch.neg, [torch.ones(3, 4)], LARGEST_BUFFER)


def test_rows_on_mps_begin_with_one_and_go_on_as_many_as_attention_allows(
    ldm: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr("reseen.ldm.batching.LARGEST_BUFFER", 1 + 4 * attention_bytes(ldm.unet.config, 64))
    model = on("mps", ldm, monkeypatch)
    model.unet.register_forward_pre_hook(lambda _module, rows: calls.append(len(rows[0])))
    model.predict_noise(torch.zeros(9, *ldm.latent_shape), 1, torch.zeros(9, *ldm.conditioning_shape))
    model.unet._forward_pre_hooks.clear()
    assert calls == [1, 4, 4]


# ------------------------------------------------------------------------------------------------ a run on a GPU


def test_the_estimate_is_timed_on_the_rows_of_a_run_and_compiling_waits_for_them(
    ldm: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain: list[int] = []
    compiled: list[int] = []

    def fast(rows: torch.Tensor, *others: Any, **options: Any) -> Any:
        compiled.append(len(rows))
        return ldm.unet.forward(rows, *others, **options)

    hook = ldm.unet.register_forward_pre_hook(lambda _module, rows: plain.append(len(rows[0])))
    # a small model takes 256 rows at most; 16 images under guidance are 32
    seconds_per_evaluation(on("cuda", ldm, monkeypatch), together=32)
    assert plain == [1, 32, 32]
    plain.clear()
    model = on("cuda", ldm, monkeypatch, compiled=fast)
    for _ in range(2):
        model.predict_noise(torch.zeros(32, *ldm.latent_shape), 1, torch.zeros(32, *ldm.conditioning_shape))
    hook.remove()
    assert (plain, compiled) == ([1], [32, 32])


def test_the_estimate_on_a_cpu_is_timed_on_the_rows_that_always_run_together(ldm: StableDiffusion) -> None:
    rows: list[int] = []
    hook = ldm.unet.register_forward_pre_hook(lambda _module, given: rows.append(len(given[0])))
    seconds_per_evaluation(ldm, together=128)
    hook.remove()
    assert rows == [16, 16]


def test_a_folder_begun_on_a_cpu_is_not_continued_in_half_precision(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = with_settings(load_recipe("tiny"), [f"model.name={tiny_model}"])
    assert recipe.model.precision == "auto"
    pipeline.run(recipe, tmp_path / "out", until="simulate")
    assert load_recipe(tmp_path / "out/recipe.toml").model.precision == "fp32"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (8, 0))
    with pytest.raises(ResultsError, match=r'model.precision: expected "fp32", found "fp16"'):
        ResultsFolder.open(tmp_path / "out", with_precision(recipe, "cuda"))
    own = load_recipe(tmp_path / "out/recipe.toml")  # the folder's own recipe continues in fp32 on the GPU
    ResultsFolder.open(tmp_path / "out", with_precision(own, "cuda")).close()


def test_a_recipe_with_its_own_precision_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (8, 0))
    own = with_settings(Recipe(), ["model.precision=fp32"])
    assert with_precision(own, "cuda") == own
    assert with_precision(Recipe(), "cuda").model.precision == "fp16"
