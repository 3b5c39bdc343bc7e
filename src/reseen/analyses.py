"""Analyses: encoding analyses of the diffusion model's components, and the names of their features.

Recipes, file names and tables use the same names of features.

======================================  ============================================================================
``z``, ``c``                            the image's latent; its captions' conditioning
``t``, ``i``, ``pixels``                its first caption's conditioning; its embedding; its pixels
``zc``                                  z's image, encoded again, noised and denoised under c to the end
``zc@strength=0.2``                     the same at another strength than the recipe's
``zc@progress=0.44``                    the latent after that fraction of the denoising steps; at 0 the noised latent
``unet/mid_block@progress=1.0``         output of that U-Net module at the step at that fraction; at 1 the last step
======================================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from reseen.conditions import FEATURES, LATENT, decoded_features
from reseen.errors import RecipeError
from reseen.recipe import EncodeRecipe

AUTO = "auto"
AnalysisName = Literal["features", "noise", "denoising", "layers"]
NAMES: tuple[AnalysisName, ...] = get_args(AnalysisName)

UNDENOISED = tuple(FEATURES)
"""The features that need no denoising."""
ANCHOR = "z"
"""The feature that the noised and the denoised ones are fitted together with."""
_JOINED = "+"


@dataclass(frozen=True)
class FeatureName:
    """Parts of a feature's name.

    Parameters
    ----------
    source
        Name of a feature of `reseen.conditions`, ``"zc"`` or ``"unet"``.
    layer
        Name of the U-Net module, for ``"unet"``.
    strength
        Fraction of the steps that are noised and denoised again, where it is not the recipe's.
    progress
        Fraction of the denoising steps after which (latents), or at which (activations), the feature is recorded; left
        out: after all steps.
    """

    source: str
    layer: str | None = None
    strength: float | None = None
    progress: float | None = None

    def __str__(self) -> str:
        """Return the name that recipes, files and tables use."""
        text = self.source if self.layer is None else f"{self.source}/{self.layer}"
        if self.strength is not None:
            return f"{text}@strength={self.strength}"
        return text if self.progress is None else f"{text}@progress={self.progress}"


@dataclass(frozen=True)
class Analysis:
    """One encoding analysis and its features.

    Parameters
    ----------
    name
        ``"features"`` and ``"layers"`` have models of one feature each, ``"noise"`` and ``"denoising"`` joint models of
        z with a zc.
    models
        Names of the features of each model.
    """

    name: AnalysisName
    models: tuple[tuple[str, ...], ...]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of all features, each once."""
        return tuple(dict.fromkeys(feature for model in self.models for feature in model))


def true_features(conditions: Iterable[str], analyses: Iterable[Analysis]) -> tuple[str, ...]:
    """Return the features without denoising that are needed: to decode, to encode from, or to denoise."""
    needed = set(decoded_features(conditions))
    for analysis in analyses:
        needed.update(analysis.features)
    if not needed <= set(UNDENOISED):
        needed.update(LATENT)  # denoising needs both
    return tuple(name for name in UNDENOISED if name in needed)


def analysis_of(name: str) -> AnalysisName:
    """Return the analysis that a feature belongs to; ``"features"`` for a feature of the user's own."""
    try:
        feature = parse_feature(name)
    except RecipeError:
        return "features"
    if feature.layer is not None:
        return "layers"
    if feature.strength is not None:
        return "noise"
    return "features" if feature.progress is None else "denoising"


def model_of(spaces: Iterable[str]) -> str:
    """Return the name of the model of feature spaces that are fitted together, such as ``"z+zc@strength=0.8"``."""
    return _JOINED.join(spaces)


def spaces_of(model: str) -> tuple[str, ...]:
    """Return the feature spaces in the name of a model."""
    return tuple(model.split(_JOINED))


def stage_of(name: str) -> str:
    """Return the strength or the progress in the name of a feature or a model, such as ``"progress=0.2"``."""
    return name.partition("@")[2]


def layers_of(names: Iterable[str]) -> list[str]:
    """Return the U-Net modules among features, each once, in order of appearance."""
    layers = (parse_feature(name).layer for name in names)
    return list(dict.fromkeys(layer for layer in layers if layer is not None))


def in_order(found: Iterable[Analysis]) -> list[str]:
    """Return the features of analyses, each once, `ANCHOR` first."""
    names = dict.fromkeys(name for analysis in found for name in analysis.features)
    return sorted(names, key=lambda name: name != ANCHOR)


def analyses(recipe: EncodeRecipe, *, auto: Sequence[str] = ()) -> tuple[Analysis, ...]:
    """Return the analyses of a recipe; those whose list is empty are left out.

    Parameters
    ----------
    recipe
        Section about encoding.
    auto
        U-Net modules that replace ``"auto"`` in ``layers``.
    """
    layers: dict[str, None] = {}
    for layer in recipe.layers:
        layers |= dict.fromkeys(auto if layer == AUTO else (layer,))
    noise = [FeatureName("zc", strength=strength) for strength in recipe.noise]
    denoising = [FeatureName("zc", progress=progress) for progress in recipe.denoising]
    inside = [FeatureName("unet", layer, progress=progress) for progress in recipe.layer_progress for layer in layers]
    found = (
        Analysis("features", tuple((name,) for name in recipe.features)),
        Analysis("noise", tuple((ANCHOR, str(name)) for name in noise)),
        Analysis("denoising", tuple((ANCHOR, str(name)) for name in denoising)),
        Analysis("layers", tuple((str(name),) for name in inside)),
    )
    return tuple(analysis for analysis in found if analysis.models)


def parse_feature(name: str) -> FeatureName:
    """Return the parts of a feature's name.

    Raises
    ------
    RecipeError
        If the name has another form than those above.
    """
    text, at, tail = name.partition("@")
    source, slash, layer = text.partition("/")
    key, _, value = tail.partition("=")
    keys = {"z": (), "c": (), "zc": ("strength", "progress"), "unet": ("progress",)}.get(source, ())
    try:
        number = float(value) if key in keys else None
    except ValueError:
        number = None
    if (source in FEATURES or source == "zc") and not slash and not at:
        return FeatureName(source)
    if number is None or not 0 <= number <= 1 or bool(layer) != (source == "unet"):
        raise RecipeError(
            f"there is no feature {name!r}; expected {', '.join(FEATURES)}, zc, zc@strength=0.2, zc@progress=0.44 or "
            "unet/mid_block@progress=0.2, numbers from 0 to 1.",
            found=name,
        )
    return FeatureName(source, layer or None, **{key: number})
