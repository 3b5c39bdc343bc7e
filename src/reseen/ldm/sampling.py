"""Sampling: the noise of a sample, and the noised latents from which denoising starts.

The noise of a sample depends only on its key. The autoencoder decodes z at the size at which it was encoded. The image
is resized, encoded again at the model's size and noised to a strength; denoising starts from this latent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen.diffusion import add_noise
from reseen.recipe import ReconstructRecipe

if TYPE_CHECKING:
    from torch import Tensor

    from reseen.ldm import LatentDiffusion


COARSE = -1
"""Sample number of the noise for the coarse image's posterior, which is the same for all samples."""


def draw_noise(seed: int, subject: str, stimulus_id: int, sample: int, shape: Sequence[int]) -> NDArray[np.float32]:
    """Draw the standard normal noise of one sample of one stimulus.

    It depends only on these arguments, not on the machine, the order or other samples. All conditions and levels use
    the same noise, so that they differ only in their features.

    Returns
    -------
    ndarray
        ``shape``, float32.
    """
    key = hashlib.sha256(f"{seed}/{subject}/{stimulus_id}/{sample}".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(int.from_bytes(key, "big"))))
    return generator.standard_normal(tuple(shape), dtype=np.float32)


def coarse_images(ldm: LatentDiffusion, z: NDArray[np.float32], recipe: ReconstructRecipe) -> NDArray[np.float32]:
    """Decode z to images, resized to the model's size by PIL.

    Parameters
    ----------
    ldm
        The frozen model.
    z
        Shape ``(n, channels, h, w)``.
    recipe
        Setting whether images are truncated to 8 bits before resizing.

    Returns
    -------
    ndarray
        Shape ``(n, image_size, image_size, 3)``, float32, 0 to 1.
    """
    size = ldm.image_size
    images = ldm.latent_to_image(z)
    if recipe.truncate_coarse:
        # the released script truncates instead of rounding
        return np.stack([_resize_uint8((image * 255).astype(np.uint8), size) for image in images])
    return np.stack([_resize_float(image, size) for image in images])


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
    ldm: LatentDiffusion, z: NDArray[np.float32], recipe: ReconstructRecipe, noise: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Encode the images of z again at the model's size.

    Parameters
    ----------
    ldm
        The frozen model.
    z
        Shape ``(n, channels, h, w)``. Rows with equal z and noise are computed once.
    recipe
        As for `coarse_images`.
    noise
        Of `coarse_noise`.

    Returns
    -------
    ndarray
        Shape ``(n, *latent_shape)``, float32.
    """
    keys = z.reshape(len(z), -1)
    if noise is not None:
        keys = np.concatenate([keys, noise.reshape(len(noise), -1)], axis=1)
    _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    own = None if noise is None else noise[first]
    return ldm.image_to_latent(coarse_images(ldm, z[first], recipe), noise=own)[which.reshape(-1)]


def begin(
    ldm: LatentDiffusion,
    coarse: NDArray[np.float32],
    noise: NDArray[np.float32],
    recipe: ReconstructRecipe,
    strength: float,
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

    Returns
    -------
    tuple
        The noised latents on the model's device, and the descending timesteps of denoising.
    """
    import torch

    start, timesteps = ldm.schedule.partial_timesteps(recipe.n_steps, strength, recipe.noise_index)
    latents = torch.from_numpy(coarse).to(ldm.device)
    return add_noise(latents, torch.from_numpy(noise).to(ldm.device), start, ldm.schedule), timesteps


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
