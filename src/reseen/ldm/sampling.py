"""Sampling: the noise of a sample, and the noised latents from which denoising starts.

The noise of a sample depends only on its key. The start of a condition becomes an image: the autoencoder decodes z at
the size at which it was encoded, and decoded pixels are enlarged. The image is encoded again at the model's size and
noised to a strength; denoising starts from this latent. What a
sampler needs in addition (noise of each step, guidance as an input of the model) depends on the model and the recipe.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen.diffusion import Schedule, add_noise
from reseen.errors import RecipeError
from reseen.recipe import ReconstructRecipe

if TYPE_CHECKING:
    from torch import Tensor

    from reseen.diffusion import PredictNoise
    from reseen.ldm import LatentDiffusion


COARSE = -1
"""Sample number of the noise for the coarse image's posterior, which is the same for all samples."""


def draw_noise(
    seed: int, subject: str, stimulus_id: int, sample: int, shape: Sequence[int], *, step: int | None = None
) -> NDArray[np.float32]:
    """Draw the standard normal noise of one sample of one stimulus, or the fresh noise of one of its steps.

    It depends only on these arguments, not on the machine, the order or other samples. All conditions and levels use
    the same noise, so that they differ only in their features.

    Returns
    -------
    ndarray
        ``shape``, float32.
    """
    name = f"{seed}/{subject}/{stimulus_id}/{sample}"
    if step is not None:
        name += f"/step {step}"
    key = hashlib.sha256(name.encode()).digest()
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(int.from_bytes(key, "big"))))
    return generator.standard_normal(tuple(shape), dtype=np.float32)


def draw_step_noise(
    ldm: LatentDiffusion,
    recipe: ReconstructRecipe,
    *,
    seed: int,
    subject: str,
    stimulus_id: NDArray[np.int64],
    sample: NDArray[np.int64],
) -> NDArray[np.float32] | None:
    """Draw the noise that the sampler adds after each step but the last; None for samplers that add none.

    Returns
    -------
    ndarray or None
        Shape ``(n, n_steps - 1, *latent_shape)``, float32.
    """
    if recipe.sampler != "lcm":
        return None
    noise = np.empty((len(sample), recipe.n_steps - 1, *ldm.latent_shape), dtype=np.float32)
    for row, step in np.ndindex(noise.shape[:2]):
        which = int(stimulus_id[row]), int(sample[row])
        noise[row, step] = draw_noise(seed, subject, *which, ldm.latent_shape, step=step)
    return noise


def sampling_schedule(ldm: LatentDiffusion, sampler: str) -> Schedule:
    """Return the schedule of a model with the timesteps of a sampler.

    Raises
    ------
    RecipeError
        If the model was distilled for the sampler ``lcm``, and another built-in sampler is asked for.
    """
    schedule = ldm.schedule
    if sampler == "lcm":
        return replace(schedule, spacing="lcm")
    if schedule.spacing == "lcm" and sampler in ("ddim", "dpmpp"):
        raise RecipeError(
            f"{ldm.name} was distilled to few steps, which sampler {sampler!r} does not sample; the encoding analyses "
            "always use 'ddim'. Set reconstruct.sampler to 'lcm' and reconstruct.n_steps to 2 to 8, or use the model "
            "from which it was distilled.",
            where="reconstruct.sampler",
            expected="lcm",
            found=sampler,
        )
    return schedule


def evaluations_per_step(ldm: LatentDiffusion, guidance: float) -> int:
    """Return the U-Net evaluations of one image and step: 2 under classifier-free guidance, else 1.

    A latent consistency model takes 1 at every scale: guidance is an input of its U-Net.
    """
    return 1 if guidance == 1 or _embeds_guidance(ldm) else 2


def _embeds_guidance(ldm: LatentDiffusion) -> bool:
    """Return whether guidance is an input of the model; a model of the user may lack the attribute."""
    return bool(getattr(ldm, "embeds_guidance", False))


def sampler_inputs(
    ldm: LatentDiffusion,
    schedule: Schedule,
    timesteps: Sequence[int],
    guidance: float,
    step_noise: NDArray[np.float32] | None,
    **how: float,
) -> tuple[PredictNoise, dict[str, Any]]:
    """Return a model's noise predictor, and the parameters of `reseen.denoise` that depend on model and sampler.

    A latent consistency model has guidance as an input: it was distilled with it, and needs no unconditional half.

    Parameters
    ----------
    ldm, schedule, timesteps, guidance
        The model, and how it is sampled.
    step_noise
        Of `draw_step_noise`.
    how
        Further parameters of the noise predictor, such as ``image_scale``.
    """
    import torch

    options: dict[str, Any] = {"guidance": guidance}
    if _embeds_guidance(ldm):
        how["guidance"] = guidance
        options["guidance"] = 1.0
    predict_noise: Any = ldm.predict_noise
    predict_clean: Any = getattr(ldm, "predict_clean", None)
    if how:
        predict_noise = partial(predict_noise, **how)
        predict_clean = predict_clean and partial(predict_clean, **how)
    if step_noise is not None:
        noise = torch.from_numpy(step_noise)
        options["step_noise"] = lambda step: noise[:, step].to(ldm.device)
    if schedule.signal_level[timesteps[0]] == 0 and predict_clean is not None:
        options["predict_clean"] = predict_clean
    return predict_noise, options


def coarse_images(
    ldm: LatentDiffusion, start: NDArray[np.float32], recipe: ReconstructRecipe, *, feature: str = "z"
) -> NDArray[np.float32]:
    """Return the images of the start of a condition, at the model's size.

    Parameters
    ----------
    ldm
        The frozen model.
    start
        z, ``(n, channels, h, w)``, or pixels, ``(n, 3, side, side)``.
    recipe
        Setting whether images of z are truncated to 8 bits before resizing.
    feature
        ``"z"`` or ``"pixels"``.

    Returns
    -------
    ndarray
        Shape ``(n, image_size, image_size, 3)``, float32, 0 to 1.
    """
    size = ldm.image_size
    if feature == "pixels":
        return pixel_images(start, size)
    images = ldm.latent_to_image(start)
    if recipe.truncate_coarse:
        # the released script truncates instead of rounding
        return np.stack([_resize_uint8((image * 255).astype(np.uint8), size) for image in images])
    return np.stack([_resize_float(image, size) for image in images])


def pixel_images(pixels: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Enlarge decoded pixels to images, by Lanczos.

    Parameters
    ----------
    pixels
        Shape ``(n, 3, side, side)``: red, green and blue, 0...1 for an image; decoded values beyond are clipped.
    size
        Side of the images.

    Returns
    -------
    ndarray
        Shape ``(n, size, size, 3)``, 0...1.
    """
    from PIL import Image

    images = np.empty((len(pixels), size, size, 3), dtype=np.float32)
    for item, channels in enumerate(np.clip(pixels, 0.0, 1.0).astype(np.float32)):
        for channel, plane in enumerate(channels):
            resized = Image.fromarray(plane).resize((size, size), Image.Resampling.LANCZOS)
            images[item, :, :, channel] = np.asarray(resized)
    return np.clip(images, 0.0, 1.0)


def coarse_noise(
    ldm: LatentDiffusion,
    recipe: ReconstructRecipe,
    *,
    seed: int,
    subject: str,
    stimulus_id: Sequence[int] | NDArray[np.int64],
) -> NDArray[np.float32] | None:
    """Draw the noise that samples the posterior of each stimulus's coarse image; None if its mean is used.

    Returns
    -------
    ndarray or None
        Shape ``(n, *latent_shape)``, the same for every sample of a stimulus.
    """
    if recipe.coarse_posterior == "mean":
        return None
    return np.stack([draw_noise(seed, subject, int(i), COARSE, ldm.latent_shape) for i in stimulus_id])


def coarse_latents(
    ldm: LatentDiffusion,
    start: NDArray[np.float32],
    recipe: ReconstructRecipe,
    noise: NDArray[np.float32] | None = None,
    *,
    feature: str = "z",
) -> NDArray[np.float32]:
    """Encode the images of the start of a condition at the model's size.

    Parameters
    ----------
    ldm
        The frozen model.
    start, recipe, feature
        As for `coarse_images`. Equal rows with equal noise are computed once.
    noise
        Of `coarse_noise`.

    Returns
    -------
    ndarray
        Shape ``(n, *latent_shape)``, float32.
    """
    keys = start.reshape(len(start), -1)
    if noise is not None:
        keys = np.concatenate([keys, noise.reshape(len(noise), -1)], axis=1)
    _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    own = None if noise is None else noise[first]
    images = coarse_images(ldm, start[first], recipe, feature=feature)
    return ldm.image_to_latent(images, noise=own)[which.reshape(-1)]


def begin(
    ldm: LatentDiffusion,
    coarse: NDArray[np.float32],
    noise: NDArray[np.float32],
    recipe: ReconstructRecipe,
    strength: float,
    *,
    schedule: Schedule | None = None,
) -> tuple[Tensor, tuple[int, ...]]:
    """Add noise to latents for a strength, and return the timesteps that remove it.

    Parameters
    ----------
    ldm
        The frozen model.
    coarse, noise
        Shape ``(n, *latent_shape)``.
    recipe
        Steps of the complete schedule, and the setting ``noise_index``.
    strength
        Proportion of the steps that are noised and denoised again.
    schedule
        Of `sampling_schedule`. Left out: that of DDIM.

    Returns
    -------
    tuple
        The noised latents on the model's device, and the descending timesteps of denoising.
    """
    import torch

    schedule = schedule or sampling_schedule(ldm, "ddim")
    start, timesteps = schedule.partial_timesteps(recipe.n_steps, strength, recipe.noise_index)
    latents = torch.from_numpy(coarse).to(ldm.device)
    return add_noise(latents, torch.from_numpy(noise).to(ldm.device), start, schedule), timesteps


def _resize_uint8(image: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    from PIL import Image

    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.float32) / np.float32(255)


def _resize_float(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    from PIL import Image

    if image.shape[:2] == (size, size):
        return image
    planes = [Image.fromarray(np.ascontiguousarray(image[..., colour])) for colour in range(3)]
    resized = [plane.resize((size, size), Image.Resampling.BICUBIC) for plane in planes]
    # bicubic interpolation can leave the range 0 to 1
    return np.clip(np.stack([np.asarray(plane, dtype=np.float32) for plane in resized], axis=-1), 0, 1)
