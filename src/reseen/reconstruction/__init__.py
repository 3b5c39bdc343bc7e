"""Reconstruction: images from decoded features.

`reconstruct` returns images. `generate` calls a function with each image when it is ready, for runs that write files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen.conditions import CONDITIONS, condition_of
from reseen.errors import ShapeError
from reseen.features import Features
from reseen.recipe import ReconstructRecipe
from reseen.reconstruction.generation import (
    ImageWarning,
    Progress,
    Sampler,
    Write,
    count_samples,
    denoising_sequence,
    find_sampler,
    generate,
)

if TYPE_CHECKING:
    from reseen.ldm import LatentDiffusion

__all__ = ["ImageWarning", "count_samples", "denoising_sequence", "find_sampler", "generate", "reconstruct"]


def reconstruct(
    model: LatentDiffusion,
    *,
    z: Features | NDArray[np.float32] | None = None,
    c: Features | NDArray[np.float32] | None = None,
    t: Features | NDArray[np.float32] | None = None,
    i: Features | NDArray[np.float32] | None = None,
    pixels: Features | NDArray[np.float32] | None = None,
    n_samples: int = 5,
    n_steps: int = 50,
    strength: float = 0.8,
    guidance: float = 5.0,
    image_scale: float | None = None,
    seed: int = 0,
    subject: str = "",
    batch_size: int = 64,
    sampler: Sampler | str = "ddim",
    write: Write | None = None,
    progress: Progress | None = None,
    grey: bool = False,
) -> NDArray[np.uint8]:
    """Reconstruct images from decoded features: a start (z or pixels), a text (c or t), an image embedding (i).

    At most one of each role may be given; see `reseen.conditions`.

    Parameters
    ----------
    model
        A frozen latent diffusion model: from `reseen.load_model`, or any object that follows `LatentDiffusion`.
    z
        Shape ``(n_items, channels, h, w)``. With z alone, the image is the autoencoder's decoding of z.
    c, t
        Shape ``(n_items, n_tokens, dim)``. With c alone, denoising starts from noise; with z, from noised z.
    i
        Shape ``(n_items, *model.image_shape)``, for a model with an image adapter.
    pixels
        Shape ``(n_items, 3, side, side)``, red, green and blue from 0 to 1. With pixels alone: the enlarged pixels.
    n_samples
        Images of each item, each from its own noise; z alone and pixels alone have only one.
    n_steps
        Steps of the complete schedule; for ``"lcm"``, steps that are taken.
    strength
        Proportion of the steps that are noised and denoised again.
    guidance
        Scale of classifier-free guidance; 1 for none.
    image_scale
        Weight of i. Left out: 0.5 beside c or t, 1 without them.
    seed, subject
        With the stimulus id and the sample, these determine the noise, which does not depend on batch or order.
    batch_size
        Number of images that are denoised together; it does not change them.
    sampler
        ``"ddim"``; ``"dpmpp"``: DPM-Solver++(2M); ``"lcm"``: for models that were distilled to a few steps; or a
        function with the parameters of `reseen.denoise`.
    write
        Called with ``(item, sample, image)`` when each image is ready. No image is then kept in memory, and the
        returned array is empty.
    progress
        Called with the number of finished images and the total number.
    grey
        Replace the colours of each image by its luminance, for grey stimuli.

    Returns
    -------
    ndarray
        Shape ``(n_items, n_samples, image_size, image_size, 3)``, uint8 RGB.

    Raises
    ------
    ShapeError
        If no feature is given, or two of one role, or they do not fit the model or each other.
    RecipeError
        If a setting is out of range.
    ModelError
        If an image is not finite in single precision, or i is given and the model has no image adapter.

    Examples
    --------
    >>> import numpy as np
    >>> import reseen
    >>> model = reseen.load_model("builtin")
    >>> c = model.text_to_conditioning(["a red car on grass", "a blue house at night"])
    >>> reseen.reconstruct(model, c=c, n_samples=2, n_steps=3).shape
    (2, 2, 64, 64, 3)

    Source: Takagi & Nishimoto (2023), section 3.3.
    """
    settings = {
        "n_samples": n_samples,
        "n_steps": n_steps,
        "strength": strength,
        "guidance": guidance,
        "image_scale": image_scale,
        "batch_size": batch_size,
        "sampler": sampler if isinstance(sampler, str) else "own:sampler",
    }
    recipe = ReconstructRecipe().model_copy(update=settings)
    every = {"z": z, "c": c, "t": t, "i": i, "pixels": pixels}
    items = {name: _as_features(name, given) for name, given in every.items() if given is not None}
    condition = condition_of(items)
    if condition is None:
        raise ShapeError(
            "reconstruct needs at least one decoded feature, and at most one of each role: z or pixels, c or t, i; "
            f"found {' and '.join(items) or 'none'}.",
            expected=CONDITIONS,
            found=tuple(items),
        )
    n_items = len(next(iter(items.values())))
    n_kept = 0 if write is not None else n_items
    images = np.empty((n_kept, count_samples(condition, recipe), model.image_size, model.image_size, 3), dtype=np.uint8)

    def keep(item: int, sample: int, image: NDArray[np.uint8]) -> None:
        images[item, sample] = image

    generate(
        model,
        condition,
        items,
        recipe=recipe,
        seed=seed,
        subject=subject,
        write=write or keep,
        sampler=None if isinstance(sampler, str) else sampler,
        progress=progress,
        as_grey=grey,
    )
    return images


def _as_features(name: str, given: Features | NDArray[np.float32]) -> Features:
    """Return arrays as features of items numbered from 0."""
    if isinstance(given, Features):
        return given
    array = np.asarray(given, dtype=np.float32)
    return Features(name, array, np.arange(len(array)))
