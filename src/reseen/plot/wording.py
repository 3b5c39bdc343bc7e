"""Labels: names and numbers of tables in words."""

from __future__ import annotations

import math

from reseen.analyses import layers_of
from reseen.tables import is_retrieved, retrieving_feature

PERCENT = "\u00a0%"
"""Per cent sign after a no-break space."""
_WORDS = {
    "identification": "two-way identification",
    "pixcorr": "pixel correlation",
    "ssim": "SSIM",
    "classifier": "the classifier",
    "pixels": "pixels",
    "image_encoder": "the image encoder",
    **{f"bleu{n}": f"BLEU-{n}" for n in range(1, 5)},
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "distance": "distance from the presented image",
}


def words(name: str) -> str:
    """Return the name of a metric, an evaluation network or a condition in words."""
    if is_retrieved(name):
        return f"nearest by {words(retrieving_feature(name))}"
    return _WORDS.get(name, name.replace("_", " "))


def percent(proportion: float) -> str:
    """Return a proportion in per cent, without decimals."""
    return f"{100 * proportion + 0.0:.0f}{PERCENT}".replace("-", "−")


def correlation(value: float) -> str:
    """Return a correlation with two decimals and no zero in front; an en dash for NaN."""
    return "–" if math.isnan(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", "−").replace("0.", ".", 1)


def penalty(alpha: float) -> str:
    """Return a ridge penalty in few characters: 46.4, 0.01, 2.2e5, 1e−6."""
    if 0.01 <= alpha < 10_000 or alpha == 0:
        return f"{alpha:.3g}" if alpha < 1000 else f"{alpha:.0f}"
    mantissa, exponent = f"{alpha:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}".replace("-", "−")


def stage(name: str) -> str:
    """Return ``"strength=0.2"`` as ``"strength 0.2"`` and ``"progress=0.44"`` as ``"44 % denoised"``."""
    kind, _, amount = name.partition("=")
    try:
        number = float(amount)
    except ValueError:
        return name
    return f"{percent(number)} denoised" if kind == "progress" else f"{kind} {number:g}"


def layer(feature: str) -> str:
    """Return the U-Net module in the name of a feature."""
    return layers_of([feature])[0]
