"""What the model's benchmarks share: Stable Diffusion v1.4's architecture with random weights, counts and clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import reseen
from reseen.diffusion import Schedule
from reseen.imports import hide_broken_torchvision
from reseen.ldm import BUILTIN
from reseen.ldm.loading import Loaded, Precision, assemble
from reseen.ldm.stable import StableDiffusion
from reseen.ldm.xl import StableDiffusionXL

UNET = {"sample_size": 64, "cross_attention_dim": 768}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
TEXT = {"vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
TEXT |= {"num_attention_heads": 12, "max_position_embeddings": 77}
"""Stable Diffusion v1.4: what differs from the defaults of the classes."""


def load(device: str, precision: Precision, *, compiled: bool = False) -> StableDiffusion:
    """Give the model that is timed: v1.4's size on a GPU, the built-in one on a CPU."""
    if device == "cpu":
        ldm = reseen.load_model("builtin", precision=precision, compiled=compiled)
        assert isinstance(ldm, StableDiffusion)
        return ldm
    torch.manual_seed(0)
    with torch.device(device):
        parts = _networks()
    parts["tokenizer"] = _tokenizer()
    loaded = Loaded("random-sd-v1-4", "random", Schedule.scaled_linear(), "epsilon", parts)
    return assemble(loaded, precision=precision, device=device, compiled=compiled)


def _networks() -> dict[str, Any]:
    hide_broken_torchvision()
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    return {
        "unet": UNet2DConditionModel(**UNET),
        "vae": AutoencoderKL(**VAE),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**TEXT)),
    }


def _tokenizer() -> Any:
    """Give the built-in tokenizer, made to fill up 77 tokens: its words are among the 49,408 of v1.4."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(BUILTIN / "tokenizer", model_max_length=77)


def operations(ldm: StableDiffusion) -> dict[str, float]:
    """Count the floating-point operations of one row of each network, without computing them.

    Returns
    -------
    dict
        ``unet``, one evaluation; ``decode`` and ``encode`` of an image of the model's size, and of one of 5/8 of it,
        ``decode small`` and ``encode small``; ``text``, one caption.
    """
    size, small = ldm.image_size, ldm.image_size * 5 // 8
    channels = ldm.latent_shape[0]
    with torch.device("meta"), torch.inference_mode():
        unet, vae = (type(part).from_config(part.config).eval() for part in (ldm.unet, ldm.vae))
        encoders = [ldm.text_encoder, ldm.text_encoder_2] if isinstance(ldm, StableDiffusionXL) else [ldm.text_encoder]
        texts = [type(encoder)(encoder.config).eval() for encoder in encoders]
        latents, c = torch.zeros(1, *ldm.latent_shape), torch.zeros(1, *ldm.conditioning_shape)
        words = torch.zeros(1, ldm.n_tokens, dtype=torch.long)

        def encode(side: int) -> Callable[[], Any]:
            return lambda: vae.encode(torch.zeros(1, 3, side, side))

        def decode(side: int) -> Callable[[], Any]:
            return lambda: vae.decode(torch.zeros(1, channels, side // ldm.factor, side // ldm.factor))

        return {
            "unet": _count(lambda: unet(latents, 1, **ldm._unet_inputs(c))),
            "encode": _count(encode(size)),
            "decode": _count(decode(size)),
            "encode small": _count(encode(small)),
            "decode small": _count(decode(small)),
            "text": _count(lambda: [text(words) for text in texts]),
        }


def _count(run: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def matrix_rate(device: str, precision: Precision, side: int | None = None) -> float:
    """Measure the operations a second of a big product of random matrices; median of several."""
    side = side or (8192 if device.startswith("cuda") else 2048)
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    spent = []
    for _ in range(12):
        clock = Clock(device)
        torch.mm(a, b)
        spent.append(clock.seconds())
    return 2 * side**3 / sorted(spent)[len(spent) // 2]


class Clock:
    """Time from its making on: by the wall, and of the processor."""

    def __init__(self, device: str) -> None:
        self.device = device
        _wait_for(device)
        self.start, self.busy = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        """Give the seconds by the wall; what the device still has to do is waited for."""
        _wait_for(self.device)
        return time.perf_counter() - self.start

    def processor(self) -> float:
        """Give the seconds of the processor, of all threads."""
        return time.process_time() - self.busy


def _wait_for(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def begin_peak(device: str) -> None:
    """Forget the largest memory so far, where the device lets one."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def peak_gb(device: str) -> float:
    """Give the largest memory: of the GPU since `begin_peak`, or of this process, data and libraries included."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def show(figures: list[dict[str, Any]]) -> None:
    """Print figures as a table."""
    for row in figures:
        value = row["value"] if isinstance(row["value"], str) else f"{row['value']:.4g}"
        goal = f" (goal: {row['goal']})" if row["goal"] else ""
        print(f"{row['name']:40s} {value:>14s} {row['unit']}{goal}")
