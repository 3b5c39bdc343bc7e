"""Features that are decoded, and conditions: which features an image is generated from.

A feature is one entry of `FEATURES`, with a letter and a role in generation. A condition is a word of letters, at most
one for each role: the image from which denoising starts (``z`` or ``g``), the text conditioning (``c`` or ``t``), and
the image conditioning (``i``). Without a start, denoising starts from pure noise; without a text, the text is the empty
caption; without an image conditioning, the model is exactly the one without an image adapter. A start alone is the
image itself, without a generator; the start ``g`` alone is named after its feature, ``pixels``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from reseen.errors import RecipeError

Role = Literal["start", "text", "image"]
ROLES: tuple[Role, ...] = get_args(Role)
"""All roles, in the order of their letters in a word."""
Condition = str
"""One of `CONDITIONS`."""
CONDITIONS: tuple[Condition, ...] = (
    *("pixels", "z", "i", "t", "c"),
    *("ti", "ci", "gi", "zi", "gt", "zt", "gc", "zc"),
    *("gti", "zti", "gci", "zci"),
)
"""All conditions in the order in which they are shown; the main condition of a recipe is its last."""


@dataclass(frozen=True)
class FeatureEntry:
    """One feature that can be decoded.

    Parameters
    ----------
    letter
        Its letter in the words of conditions.
    about
        What it is, for the report.
    role
        Its use in generation: ``"start"``, the image from which denoising starts; ``"text"``, the text conditioning;
        ``"image"``, the image conditioning, for a model with an image adapter.
    from_captions
        Whether it is computed from captions, and not from the image.
    like
        Feature whose ROIs predict it, unless a recipe names others; empty for a feature that has a default.
    """

    letter: str
    about: str
    role: Role
    from_captions: bool = False
    like: str = ""


FEATURES: Mapping[str, FeatureEntry] = {
    "z": FeatureEntry("z", "the latent of the image (layout and colours)", "start"),
    "c": FeatureEntry("c", "the conditioning of the captions (meaning)", "text", from_captions=True),
    "t": FeatureEntry("t", "the most probable training caption", "text", from_captions=True, like="c"),
    "i": FeatureEntry("i", "the embedding of the image (content and look)", "image", like="c"),
    "pixels": FeatureEntry("g", "the pixels of the image made small", "start", like="z"),
}
"""Features by name, in the order in which they are decoded."""
LATENT = ("z", "c")
"""The features from which the denoising of encoding models starts."""
STATES = ("blip", "git")
"""Features from whose decoded values a captioner writes t: hidden states of an image. No image is generated from them,
and the ROIs of t predict them."""
_NAME_OF = {entry.letter: name for name, entry in FEATURES.items()}


def features_of(condition: str) -> tuple[str, ...]:
    """Return the features of a condition, in the order of the roles.

    Raises
    ------
    RecipeError
        If there is no such condition.

    Examples
    --------
    >>> features_of("zci"), features_of("gc"), features_of("pixels")
    (('z', 'c', 'i'), ('pixels', 'c'), ('pixels',))
    """
    if condition not in CONDITIONS:
        raise RecipeError(
            f"there is no condition {condition!r}; the conditions are {', '.join(CONDITIONS)}.",
            where="reconstruct.conditions",
            expected=CONDITIONS,
            found=condition,
        )
    return (condition,) if condition in FEATURES else tuple(_NAME_OF[letter] for letter in condition)


def in_role(condition: str, role: Role) -> str | None:
    """Return the feature of a condition that has a role, or None if none has it."""
    return next((name for name in features_of(condition) if FEATURES[name].role == role), None)


def condition_of(features: Iterable[str]) -> Condition | None:
    """Return the condition with exactly these features, or None if there is none.

    Examples
    --------
    >>> condition_of(["c", "z"]), condition_of(["c", "t"])
    ('zc', None)
    """
    wanted = set(features)
    return next((condition for condition in CONDITIONS if set(features_of(condition)) == wanted), None)


def decoded_features(conditions: Iterable[str]) -> tuple[str, ...]:
    """Return the features from which the images of some conditions are generated, in the order of `FEATURES`."""
    needed = {name for condition in conditions for name in features_of(condition)}
    return tuple(name for name in FEATURES if name in needed)


def is_denoised(condition: str) -> bool:
    """Return whether images of a condition are denoised, and so depend on noise: a start alone is the image itself."""
    return in_role(condition, "text") is not None or in_role(condition, "image") is not None


def main_condition(conditions: Iterable[str]) -> Condition:
    """Return the condition of the headline: the last in the order of `CONDITIONS`; empty for none.

    ``pixels`` is the baseline, and the main condition only if it is the only one. Names of other sets of images, such
    as folders that are compared, follow the conditions: the first one is used if there is no condition.

    Examples
    --------
    >>> main_condition(["zc", "z", "zci"]), main_condition(["pixels", "z"])
    ('zci', 'z')
    """
    given = list(conditions)
    known = [condition for condition in CONDITIONS if condition in given and condition != "pixels"]
    others = [name for name in given if name != "pixels"]
    return next(iter([*reversed(known), *others, *given]), "")
