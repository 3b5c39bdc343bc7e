"""Names: what the name of a feature space says about it.

=============================  =========================================================================
``z``, ``c``, ``zc``           latent, conditioning, latent denoised under the conditioning
``zc@strength=0.2``            the same at another strength: noise that was added and undone
``zc@progress=0.44``           the latent after a share of the denoising
``unet/<module>@progress=0.2`` activations of a U-Net layer after a share of the denoising
=============================  =========================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Analysis = Literal["features", "noise", "denoising", "layers"]

ANCHOR = "z"
"""The space that the noised and the denoised ones are fitted together with."""
_LAYER = "unet/"


def analysis_of(name: str) -> Analysis:
    """Give the analysis that a feature space belongs to."""
    if name.startswith(_LAYER):
        return "layers"
    if name.startswith("zc@strength="):
        return "noise"
    return "denoising" if name.startswith("zc@progress=") else "features"


def stage_of(name: str) -> str:
    """Give what stands behind the ``@``, such as ``"progress=0.2"``; nothing where there is none."""
    return name.partition("@")[2]


def layer_of(name: str) -> str:
    """Give the U-Net module of a layer's name."""
    return name.partition("@")[0].removeprefix(_LAYER)


def layers_of(names: Iterable[str]) -> list[str]:
    """List the U-Net modules among feature spaces, in the order in which they come: what ``winner/...`` counts by."""
    return list(dict.fromkeys(layer_of(name) for name in names if analysis_of(name) == "layers"))


def anchor_first(names: Iterable[str]) -> list[str]:
    """Put `ANCHOR` before all others, as `reseen.encode.encode` needs it; the others keep their order."""
    return sorted(names, key=lambda name: name != ANCHOR)
