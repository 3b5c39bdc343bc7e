"""Guidance as an input of a U-Net, for latent consistency models."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def guidance_embedding(guidance: float, dim: int) -> Tensor:
    """Return the embedding of a scale of guidance by which latent consistency models are conditioned, ``(1, dim)``.

    Sines and cosines of ``1000 (guidance - 1)`` at frequencies ``10000^(-i / (dim / 2 - 1))``; 0 at an odd end.
    """
    import torch

    half = dim // 2
    frequency = torch.exp(torch.arange(half, dtype=torch.float32) * (-math.log(10000.0) / (half - 1)))
    angle = 1000.0 * (guidance - 1.0) * frequency
    embedding = torch.cat([torch.sin(angle), torch.cos(angle)])
    return torch.nn.functional.pad(embedding, (0, dim % 2))[None]
