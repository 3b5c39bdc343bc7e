"""Features that are decoded, and conditions: which features an image is generated from.

A feature is one entry of `FEATURES`. A condition is the name of a feature, or a word of the names of several features
with one letter each, such as ``"zc"``. A new feature needs its entry here, its computation in
`reseen.ldm.extraction`, and the use of its role in `reseen.reconstruction.generation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from reseen.errors import RecipeError

Role = Literal["start", "text", "image"]
Condition = Literal["pixels", "z", "c", "zc"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
"""All conditions in the order in which they are shown; the main condition comes last."""


@dataclass(frozen=True)
class FeatureEntry:
    """One feature that can be decoded.

    Parameters
    ----------
    role
        Its use in generation: ``"start"``, the latent from which an image starts; ``"text"``, the conditioning of the
        denoising; ``"image"``, the image itself, without a generator.
    from_captions
        Whether it is computed from captions, and not from the image.
    """

    role: Role
    from_captions: bool = False


FEATURES: Mapping[str, FeatureEntry] = {
    "z": FeatureEntry("start"),
    "c": FeatureEntry("text", from_captions=True),
    "pixels": FeatureEntry("image"),
}
"""Features by name, in the order in which they are decoded."""
LATENT = ("z", "c")
"""The features from which the diffusion model denoises."""


def features_of(condition: str) -> tuple[str, ...]:
    """Return the features of a condition, such as ``("z", "c")`` for ``"zc"``.

    Raises
    ------
    RecipeError
        If one is unknown.
    """
    names = (condition,) if condition in FEATURES else tuple(condition)
    unknown = [name for name in names if name not in FEATURES]
    if unknown or not names:
        raise RecipeError(
            f"there is no condition {condition!r}; the conditions are {', '.join(CONDITIONS)}.",
            where="reconstruct.conditions",
            expected=CONDITIONS,
            found=condition,
        )
    return names


def decoded_features(conditions: Iterable[str]) -> tuple[str, ...]:
    """Return the features from which the images of some conditions are generated, in the order of `FEATURES`."""
    needed = {name for condition in conditions for name in features_of(condition)}
    return tuple(name for name in FEATURES if name in needed)


def has_samples(condition: str) -> bool:
    """Return whether images of a condition depend on noise: only denoising does, under a text conditioning."""
    return any(FEATURES[name].role == "text" for name in features_of(condition))
