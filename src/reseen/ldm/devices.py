"""Devices: available devices, the precision of each, and multiplication in single precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from reseen.errors import ModelError

Precision = Literal["fp32", "fp16", "bf16"]
MATRIX_UNITS = (7, 0)
"""Lowest compute capability of CUDA GPUs that multiply fp16 in matrix units."""


def choose_precision(precision: Literal["auto"] | Precision, device: str) -> Precision:
    """Return the precision of the U-Net on a device; ``"auto"`` chooses one.

    ``"auto"`` is fp16 on a CUDA GPU with matrix units. fp16 rounds to 11 bits where bf16 rounds to 8, Stable Diffusion
    is published and used in it, and the paper's script computed with it. Its range ends at 65,504; an image that leaves
    the range is not finite or black, and `reseen.reconstruction` computes it again in fp32. CUDA GPUs without matrix
    units are slow in fp16. Half precision was never tested on MPS. Both, and CPUs, use fp32.
    """
    if precision != "auto":
        return precision
    if not device.startswith("cuda"):
        return "fp32"
    import torch

    return "fp16" if torch.cuda.get_device_capability(device) >= MATRIX_UNITS else "fp32"


def check_device(device: str) -> None:
    """Check that a device can be used.

    Raises
    ------
    ModelError
        If it is unknown or not available.
    """
    import torch

    try:
        torch.device(device)
    except RuntimeError as error:
        expected = ("cpu", "cuda", "cuda:N", "mps")
        raise ModelError(
            f"there is no device {device!r}; expected {', '.join(expected)}.",
            where="device",
            expected=expected,
            found=device,
        ) from error
    available = ["cpu", "mps"] if torch.backends.mps.is_available() else ["cpu"]
    if torch.cuda.is_available():
        available += ["cuda", *(f"cuda:{card}" for card in range(torch.cuda.device_count()))]
    if device not in available:
        raise ModelError(
            f"the device {device!r} is not available on this machine. Leave it out to run on the CPU.",
            where="device",
            expected=tuple(available),
            found=device,
        )


@contextmanager
def tensor_float(allowed: bool) -> Iterator[None]:
    """Allow CUDA to multiply single precision in its matrix units (TF32: the range of fp32, 11 bits) or not.

    PyTorch has two interfaces for this and refuses to read the older one after the newer one was used. Only the newer
    one is used here. The previous settings of both are restored.
    """
    import torch

    switches = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
    before = [switch.fp32_precision for switch in switches]
    for switch in switches:
        switch.fp32_precision = "tf32" if allowed else "ieee"
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value
