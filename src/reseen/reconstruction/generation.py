"""Generation: images from decoded z and c, with several samples each.

There are four conditions. ``pixels``: decoded pixels are enlarged; nothing is generated. ``z``: the autoencoder decodes
z; nothing is sampled. ``c``: pure noise is denoised under the decoded c, at every step. ``zc``: the image of z is
resized to full size, encoded again, noised to ``strength`` and denoised under c.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reseen.conditions import features_of, has_samples
from reseen.diffusion import denoise
from reseen.errors import ModelError, ShapeError
from reseen.features import Features
from reseen.ldm.sampling import (
    begin,
    coarse_images,
    coarse_latents,
    coarse_noise,
    draw_noise,
    draw_step_noise,
    sampler_inputs,
    sampling_schedule,
)
from reseen.ldm.stable import as_tensor
from reseen.plugins import load_object
from reseen.recipe import Condition, ReconstructRecipe
from reseen.reconstruction.pixels import grey, pixel_images

if TYPE_CHECKING:
    from torch import Tensor

    from reseen.diffusion import OnStep
    from reseen.ldm import LatentDiffusion

Write = Callable[[int, int, NDArray[np.uint8]], None]
"""``(item, sample, image (image_size, image_size, 3) uint8)``"""
Progress = Callable[[int, int], None]
Sampler = Callable[..., "Tensor"]
"""Function with the parameters of `reseen.denoise` that returns clean latents."""


class ImageWarning(UserWarning):
    """Warning that an image is black, or was black or not finite in half precision."""


class _Rows(NamedTuple):
    """Inputs of some samples, one row each."""

    stimulus_id: NDArray[np.int64]
    sample: NDArray[np.int64]
    z: NDArray[np.float32] | None
    c: NDArray[np.float32]
    noise: NDArray[np.float32]
    coarse_noise: NDArray[np.float32] | None
    step_noise: NDArray[np.float32] | None

    def at(self, rows: NDArray[np.bool_]) -> _Rows:
        return _Rows(*(None if part is None else part[rows] for part in self))  # type: ignore[arg-type]


def count_samples(condition: Condition, recipe: ReconstructRecipe) -> int:
    """Return the number of images of each item under a condition: one for z and pixels, which have no samples."""
    return recipe.n_samples if has_samples(condition) else 1


def generate(
    ldm: LatentDiffusion,
    condition: Condition,
    z: Features | None,
    c: Features | None,
    pixels: Features | None = None,
    *,
    recipe: ReconstructRecipe,
    seed: int,
    subject: str,
    write: Write,
    jobs: Sequence[tuple[int, int]] | None = None,
    sampler: Sampler | None = None,
    progress: Progress | None = None,
    as_grey: bool = False,
) -> None:
    """Generate samples of every item, and call ``write`` with each image when it is ready.

    Parameters
    ----------
    ldm
        The frozen model.
    condition
        ``"z"``, ``"c"``, ``"zc"`` or ``"pixels"``.
    z, c, pixels
        Decoded features of the same items, ``(n_items, channels, h, w)``, ``(n_items, n_tokens, dim)`` and ``(n_items,
        3, side, side)``. A feature that the condition does not use may be ``None``.
    recipe
        Samples, steps, strength, guidance.
    seed, subject
        With the stimulus id and the sample, these determine the noise.
    write
        Called with item, sample and image.
    jobs
        Images to generate, as ``(item, sample)``. Left out: the recipe's ``n_samples`` of every item, or one for
        conditions ``z`` and ``pixels``, which have no samples.
    sampler
        Function with the parameters of `reseen.denoise`. Left out: the recipe's.
    progress
        Called with the number of finished images and the total number.
    as_grey
        Replace the colours of each image by its luminance.

    Raises
    ------
    ShapeError
        If the features do not fit the model or each other.
    ModelError
        If an image is not finite in single precision.

    Warns
    -----
    ImageWarning
        If an image is black, or was black or not finite in half precision and was computed again in single
        precision.
    """
    ids = _check(ldm, condition, {"z": z, "c": c, "pixels": pixels})
    denoise_with = sampler or find_sampler(recipe.sampler)
    if jobs is None:
        jobs = [(item, sample) for item in range(len(ids)) for sample in range(count_samples(condition, recipe))]
    n_ready = 0
    if progress is not None:
        progress(0, len(jobs))
    for batch in _batches(jobs, recipe.batch_size):
        items = np.array([item for item, _ in batch])
        if condition == "pixels":
            images = pixel_images(_array(pixels)[items], ldm.image_size)
        elif condition == "z":
            images = coarse_images(ldm, _array(z)[items], recipe)
        else:
            samples = np.array([sample for _, sample in batch])
            picked = None if condition == "c" else _array(z)[items]
            rows = _rows(ldm, ids[items], samples, picked, _array(c)[items], recipe, seed, subject)
            images = _make(ldm, rows, recipe, condition, denoise_with)
        stored = _to_uint8(grey(images) if as_grey else images, recipe)
        _warn_of_black(stored, condition, ids[items])
        for (item, sample), image in zip(batch, stored, strict=True):
            write(item, sample, image)
        n_ready += len(batch)
        if progress is not None:
            progress(n_ready, len(jobs))


def denoising_sequence(
    ldm: LatentDiffusion,
    z_row: NDArray[np.float32] | None,
    c_row: NDArray[np.float32],
    *,
    recipe: ReconstructRecipe,
    seed: int,
    subject: str,
    stimulus_id: int,
    sample: int = 0,
    as_grey: bool = False,
) -> NDArray[np.uint8]:
    """Return the denoising sequence of one sample: the clean image that the model predicts at every step.

    Parameters
    ----------
    ldm
        The frozen model.
    z_row
        Shape ``(channels, h, w)``; ``None`` for condition ``c``.
    c_row
        Shape ``(n_tokens, dim)``.
    recipe, seed, subject
        As given to `generate`.
    stimulus_id, sample
        The stimulus and the number of the sample.
    as_grey
        As given to `generate`.

    Returns
    -------
    ndarray
        Shape ``(n_frames, image_size, image_size, 3)``, uint8: first the coarse image of z (without z, the decoded
        noise), then one image for each step of denoising. The last is the image that `generate` returns for this
        sample.
    """
    z = None if z_row is None else z_row[None]
    rows = _rows(ldm, np.array([stimulus_id]), np.array([sample]), z, c_row[None], recipe, seed, subject)
    seen: list[Tensor] = []
    denoise_with = find_sampler(recipe.sampler)

    def remember(_step: int, _timestep: int, _latents: Tensor, clean: Tensor) -> None:
        seen.append(clean)

    last = _sample(ldm, rows, recipe, denoise_with, remember)
    # `generate` computes such an image again in single precision, and so does its sequence
    if _broken(last).any() or _black(ldm.latent_to_image(last)).any():
        seen.clear()
        last = _sample(ldm.in_single_precision, rows, recipe, denoise_with, remember)
    first = ldm.latent_to_image(rows.noise) if z is None else coarse_images(ldm, z, recipe)
    frames = [first, *(ldm.latent_to_image(latents) for latents in (*seen[:-1], last))]
    images = np.concatenate(frames)
    return _to_uint8(grey(images) if as_grey else images, recipe)


def _rows(
    ldm: LatentDiffusion,
    stimulus_id: NDArray[np.int64],
    samples: NDArray[np.int64],
    z: NDArray[np.float32] | None,
    c: NDArray[np.float32],
    recipe: ReconstructRecipe,
    seed: int,
    subject: str,
) -> _Rows:
    """Draw the noise of some samples, and return it with their other inputs."""
    which = zip(stimulus_id, samples, strict=True)
    noise = np.stack([draw_noise(seed, subject, int(i), int(sample), ldm.latent_shape) for i, sample in which])
    coarse = None
    if z is not None:
        coarse = coarse_noise(ldm, recipe, seed=seed, subject=subject, stimulus_id=stimulus_id)
    fresh = draw_step_noise(ldm, recipe, seed=seed, subject=subject, stimulus_id=stimulus_id, sample=samples)
    return _Rows(stimulus_id, samples, z, c, noise, coarse, fresh)


def _make(
    ldm: LatentDiffusion, rows: _Rows, recipe: ReconstructRecipe, condition: Condition, denoise_with: Sampler
) -> NDArray[np.float32]:
    """Return the images of some samples; images that fail in half precision are computed again in single precision."""
    latents = _sample(ldm, rows, recipe, denoise_with)
    broken = _broken(latents)
    images = np.zeros((len(broken), ldm.image_size, ldm.image_size, 3), dtype=np.float32)
    if not broken.all():
        images[~broken] = ldm.latent_to_image(latents.cpu()[~broken])
    failed = _black(images)  # images of broken latents are still zeros
    if not failed.any():
        return images
    exact = ldm.in_single_precision  # a second U-Net in memory, loaded only if needed
    if exact is ldm:
        _check_finite(broken, rows, ldm)
    else:
        first = int(np.argmax(failed))
        warnings.warn(
            f"{failed.sum()} of {len(failed)} images of condition {condition} were black or not finite in half "
            f"precision and were computed again in single precision; the first is of stimulus "
            f"{rows.stimulus_id[first]}, sample {rows.sample[first]}.",
            ImageWarning,
            stacklevel=3,
        )
        images[failed] = _make(exact, rows.at(failed), recipe, condition, denoise_with)
    return images


def _sample(
    ldm: LatentDiffusion, rows: _Rows, recipe: ReconstructRecipe, denoise_with: Sampler, on_step: OnStep | None = None
) -> Tensor:
    """Return the clean latents of one batch, ``(n, channels, height, width)``, from z (or pure noise) and c."""
    schedule = sampling_schedule(ldm, recipe.sampler)
    if rows.z is None:
        latents, timesteps = as_tensor(rows.noise).to(ldm.device), schedule.timesteps(recipe.n_steps)
    else:
        coarse = coarse_latents(ldm, rows.z, recipe, rows.coarse_noise)
        latents, timesteps = begin(ldm, coarse, rows.noise, recipe, recipe.strength, schedule=schedule)
    predict_noise, options = sampler_inputs(ldm, schedule, timesteps, recipe.guidance, rows.step_noise)
    clean: Tensor = denoise_with(
        predict_noise,
        latents,
        as_tensor(rows.c).to(ldm.device),
        schedule=schedule,
        timesteps=timesteps,
        unconditional=as_tensor(ldm.unconditional)[None].to(ldm.device),
        on_step=on_step,
        **options,
    )
    if clean.shape != latents.shape:
        found, expected = tuple(clean.shape), tuple(latents.shape)
        raise ShapeError(
            f"the sampler returned latents of shape {found}; expected {expected}.",
            where="reconstruct.sampler",
            expected=expected,
            found=found,
        )
    return clean


def find_sampler(name: str) -> Sampler:
    """Return `reseen.denoise` for ``"ddim"``, ``"dpmpp"`` and ``"lcm"``, or the user's function that a recipe names.

    Raises
    ------
    RecipeError
        If there is no such function.
    """
    own: dict[str, Sampler] = {"ddim": denoise, "dpmpp": partial(denoise, order=2), "lcm": denoise}
    return own[name] if name in own else load_object(name, "reconstruct.sampler")


def _broken(latents: Tensor) -> NDArray[np.bool_]:
    """Return which latents are not finite."""
    import torch

    broken: NDArray[np.bool_] = ~torch.isfinite(latents).flatten(1).all(dim=1).cpu().numpy()
    return broken


def _black(images: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which images are black."""
    brightest = images.reshape(len(images), -1).max(axis=1)
    black: NDArray[np.bool_] = np.round(brightest * 255) == 0
    return black


def _to_uint8(images: NDArray[np.float32], recipe: ReconstructRecipe) -> NDArray[np.uint8]:
    """Convert pixel values in 0...1 to 8 bits by the recipe's rule."""
    scaled = images * 255
    if recipe.to_8_bits == "round":
        scaled = np.round(scaled)
    stored: NDArray[np.uint8] = scaled.astype(np.uint8)  # truncates
    return stored


def _batches(jobs: Sequence[tuple[int, int]], size: int) -> Iterator[Sequence[tuple[int, int]]]:
    for start in range(0, len(jobs), size):
        yield jobs[start : start + size]


def _array(features: Features | None) -> NDArray[np.float32]:
    if features is None:
        raise ShapeError("the condition needs features that were not given.")
    return np.ascontiguousarray(features.array, dtype=np.float32)


def _check(ldm: LatentDiffusion, condition: Condition, given: Mapping[str, Features | None]) -> NDArray[np.int64]:
    """Check that the features of a condition fit the model and each other; return the stimulus ids of the items."""
    parts: list[Features] = []
    for name in features_of(condition):
        part = given[name]
        if part is None:
            raise ShapeError(f"condition {condition!r} needs {name}; found none.", where=name)
        parts.append(part)
    first, last = parts[0], parts[-1]
    shape, channels = last.array.shape[1:], ldm.latent_shape[0]
    if "c" in condition and shape != ldm.conditioning_shape:
        raise ShapeError(
            f"{ldm.name} needs c of shape {ldm.conditioning_shape}; found {shape}. Extract and decode with the same "
            "model.",
            where="c",
            expected=ldm.conditioning_shape,
            found=shape,
        )
    shape = first.array.shape[1:]
    if "z" in condition and (len(shape) != 3 or shape[0] != channels):
        raise ShapeError(
            f"{ldm.name} needs z of shape ({channels}, height, width); found {shape}. Extract and decode with the same "
            "model.",
            where="z",
            expected=(channels, "height", "width"),
            found=shape,
        )
    if condition == "pixels" and (len(shape) != 3 or shape[0] != 3):
        raise ShapeError(
            f"pixels need the shape (3, side, side); found {shape}.",
            where="pixels",
            expected=(3, "side", "side"),
            found=shape,
        )
    if not np.array_equal(first.stimulus_id, last.stimulus_id):
        raise ShapeError(
            "z and c must be of the same items in the same order; their stimulus ids differ.", where="stimulus_id"
        )
    return first.stimulus_id


def _check_finite(broken: NDArray[np.bool_], rows: _Rows, ldm: LatentDiffusion) -> None:
    if broken.any():
        first = int(np.argmax(broken))
        stimulus, sample = int(rows.stimulus_id[first]), int(rows.sample[first])
        raise ModelError(
            f"{ldm.name} computed numbers that are not finite for stimulus {stimulus}, sample {sample} "
            f"({broken.sum()} of {len(broken)} in this batch), in single precision. Check that the decoded z and c are "
            "finite. Finished images are kept.",
            found=(stimulus, sample),
        )


def _warn_of_black(images: NDArray[np.uint8], condition: Condition, stimulus_id: NDArray[np.int64]) -> None:
    black = ~images.reshape(len(images), -1).any(axis=1)
    if black.any():
        warnings.warn(
            f"{black.sum()} of {len(images)} images of condition {condition} are black; the first is of "
            f"stimulus {stimulus_id[int(np.argmax(black))]}. They are kept.",
            ImageWarning,
            stacklevel=3,
        )
