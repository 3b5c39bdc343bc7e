"""Generation: images from decoded features, with several samples each.

A condition (see `reseen.conditions`) has a start, a text conditioning, an image conditioning, or several of them. A
start alone is the image: z decoded by the autoencoder, or decoded pixels enlarged. Otherwise the image of the start is
resized to full size, encoded again, noised to ``strength`` and denoised; without a start, pure noise is denoised at
every step. The text is the decoded one or the empty caption. A decoded image embedding is joined to it, and the
adapter's unconditional one to the unconditional half of the guidance.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from reseen.conditions import ROLES, features_of, in_role, is_denoised
from reseen.diffusion import denoise
from reseen.errors import ModelError, ShapeError
from reseen.features import Features
from reseen.ldm.extraction import check_shape
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
from reseen.reconstruction.pixels import grey

if TYPE_CHECKING:
    from torch import Tensor

    from reseen.diffusion import OnStep
    from reseen.ldm import ImageConditioned, LatentDiffusion

Write = Callable[[int, int, NDArray[np.uint8]], None]
"""``(item, sample, image (image_size, image_size, 3) uint8)``"""
Progress = Callable[[int, int], None]
Sampler = Callable[..., "Tensor"]
"""Function with the parameters of `reseen.denoise` that returns clean latents."""


class ImageWarning(UserWarning):
    """Warning that an image is black, or was black or not finite in half precision."""


class _Rows(NamedTuple):
    """Inputs of some samples, one row each; a part that the condition lacks is None."""

    condition: Condition
    stimulus_id: NDArray[np.int64]
    sample: NDArray[np.int64]
    start: NDArray[np.float32] | None
    text: NDArray[np.float32] | None
    embedding: NDArray[np.float32] | None
    noise: NDArray[np.float32]
    coarse_noise: NDArray[np.float32] | None
    step_noise: NDArray[np.float32] | None

    def at(self, rows: NDArray[np.bool_]) -> _Rows:
        parts = (None if part is None else part[rows] for part in self[1:])
        return _Rows(self.condition, *parts)  # type: ignore[arg-type]


def count_samples(condition: Condition, recipe: ReconstructRecipe) -> int:
    """Return the number of images of each item under a condition: one for a start alone, which has no samples."""
    return recipe.n_samples if is_denoised(condition) else 1


def generate(
    ldm: LatentDiffusion,
    condition: Condition,
    features: Mapping[str, Features],
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
        One of `reseen.conditions.CONDITIONS`, such as ``"zc"``.
    features
        Decoded features of the condition by name, of the same items, ``(n_items, ...)``.
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
    ids = _check(ldm, condition, features)
    start, text, embedding = (_array_of(features, in_role(condition, role)) for role in ROLES)
    denoise_with = sampler or find_sampler(recipe.sampler)
    if jobs is None:
        jobs = [(item, sample) for item in range(len(ids)) for sample in range(count_samples(condition, recipe))]
    n_ready = 0
    if progress is not None:
        progress(0, len(jobs))
    for batch in _batches(jobs, recipe.batch_size):
        items = np.array([item for item, _ in batch])
        if start is not None and not is_denoised(condition):
            images = coarse_images(ldm, start[items], recipe, feature=condition)
        else:
            samples = np.array([sample for _, sample in batch])
            parts = [None if part is None else part[items] for part in (start, text, embedding)]
            rows = _rows(ldm, condition, ids[items], samples, parts, recipe, seed, subject)
            images = _make(ldm, rows, recipe, denoise_with)
        stored = _to_uint8(grey(images) if as_grey else images, recipe)
        _warn_of_black(stored, condition, ids[items])
        for (item, sample), image in zip(batch, stored, strict=True):
            write(item, sample, image)
        n_ready += len(batch)
        if progress is not None:
            progress(n_ready, len(jobs))


def denoising_sequence(
    ldm: LatentDiffusion,
    condition: Condition,
    features: Mapping[str, NDArray[np.float32]],
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
    condition
        A condition with a text or an image conditioning.
    features
        Features of the condition by name, each of this stimulus alone, such as ``(n_tokens, dim)``.
    recipe, seed, subject
        As given to `generate`.
    stimulus_id, sample
        The stimulus and the number of the sample.
    as_grey
        As given to `generate`.

    Returns
    -------
    ndarray
        Shape ``(n_frames, image_size, image_size, 3)``, uint8: first the image of the start (without a start, the
        decoded noise), then one image for each step of denoising. The last is the image that `generate` returns for
        this sample.
    """
    names = [in_role(condition, role) for role in ROLES]
    parts = [None if name is None else features[name][None] for name in names]
    rows = _rows(ldm, condition, np.array([stimulus_id]), np.array([sample]), parts, recipe, seed, subject)
    seen: list[Tensor] = []
    denoise_with = find_sampler(recipe.sampler)

    def remember(_step: int, _timestep: int, _latents: Tensor, clean: Tensor) -> None:
        seen.append(clean)

    last = _sample(ldm, rows, recipe, denoise_with, remember)
    # `generate` computes such an image again in single precision, and so does its sequence
    if _broken(last).any() or _black(ldm.latent_to_image(last)).any():
        seen.clear()
        last = _sample(ldm.in_single_precision, rows, recipe, denoise_with, remember)
    if rows.start is None:
        first = ldm.latent_to_image(rows.noise)
    else:
        first = coarse_images(ldm, rows.start, recipe, feature=features_of(rows.condition)[0])
    frames = [first, *(ldm.latent_to_image(latents) for latents in (*seen[:-1], last))]
    images = np.concatenate(frames)
    return _to_uint8(grey(images) if as_grey else images, recipe)


def _rows(
    ldm: LatentDiffusion,
    condition: Condition,
    stimulus_id: NDArray[np.int64],
    samples: NDArray[np.int64],
    parts: Sequence[NDArray[np.float32] | None],
    recipe: ReconstructRecipe,
    seed: int,
    subject: str,
) -> _Rows:
    """Draw the noise of some samples, and return it with their start, text and image embedding."""
    which = zip(stimulus_id, samples, strict=True)
    noise = np.stack([draw_noise(seed, subject, int(i), int(sample), ldm.latent_shape) for i, sample in which])
    start, text, embedding = parts
    coarse = None
    if start is not None:
        coarse = coarse_noise(ldm, recipe, seed=seed, subject=subject, stimulus_id=stimulus_id)
    fresh = draw_step_noise(ldm, recipe, seed=seed, subject=subject, stimulus_id=stimulus_id, sample=samples)
    return _Rows(condition, stimulus_id, samples, start, text, embedding, noise, coarse, fresh)


def _make(ldm: LatentDiffusion, rows: _Rows, recipe: ReconstructRecipe, denoise_with: Sampler) -> NDArray[np.float32]:
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
            f"{failed.sum()} of {len(failed)} images of condition {rows.condition} were black or not finite in half "
            f"precision and were computed again in single precision; the first is of stimulus "
            f"{rows.stimulus_id[first]}, sample {rows.sample[first]}.",
            ImageWarning,
            stacklevel=3,
        )
        images[failed] = _make(exact, rows.at(failed), recipe, denoise_with)
    return images


def _sample(
    ldm: LatentDiffusion, rows: _Rows, recipe: ReconstructRecipe, denoise_with: Sampler, on_step: OnStep | None = None
) -> Tensor:
    """Return the clean latents of one batch, ``(n, channels, height, width)``, from a start or pure noise."""
    schedule = sampling_schedule(ldm, recipe.sampler)
    if rows.start is None:
        latents = as_tensor(rows.noise).to(ldm.device)
        timesteps = schedule.timesteps(recipe.n_steps, recipe.noise_index)
    else:
        coarse = coarse_latents(ldm, rows.start, recipe, rows.coarse_noise, feature=features_of(rows.condition)[0])
        latents, timesteps = begin(ldm, coarse, rows.noise, recipe, recipe.strength, schedule=schedule)
    conditioning, unconditional, how = _conditioning(ldm, rows, recipe)
    predict_noise, options = sampler_inputs(ldm, schedule, timesteps, recipe.guidance, rows.step_noise, **how)
    clean: Tensor = denoise_with(
        predict_noise,
        latents,
        as_tensor(conditioning).to(ldm.device),
        schedule=schedule,
        timesteps=timesteps,
        unconditional=as_tensor(unconditional).to(ldm.device),
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


def _conditioning(
    ldm: LatentDiffusion, rows: _Rows, recipe: ReconstructRecipe
) -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, float]]:
    """Return the conditioning of each row, the unconditional one, and further parameters of the noise predictor.

    Both halves of the guidance have image tokens, or none has: otherwise the guidance would also push away from the
    absence of an image.
    """
    empty = ldm.unconditional[None]
    text = np.repeat(empty, len(rows.sample), axis=0) if rows.text is None else rows.text
    if rows.embedding is None:
        return text, empty, {}
    adapted = cast("ImageConditioned", ldm)  # `_check` has compared the shape of the embedding with the adapter's
    scale = recipe.image_scale
    if scale is None:  # IP-Adapter's authors advise 1 for an image alone, and 0.5 beside a text
        scale = 1.0 if rows.text is None else 0.5
    return adapted.join_image(text, rows.embedding), adapted.join_image(empty, None), {"image_scale": scale}


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


def _array_of(features: Mapping[str, Features], name: str | None) -> NDArray[np.float32] | None:
    return None if name is None else np.ascontiguousarray(features[name].array, dtype=np.float32)


def _check(ldm: LatentDiffusion, condition: Condition, features: Mapping[str, Features]) -> NDArray[np.int64]:
    """Check that the features of a condition fit the model and each other; return the stimulus ids of the items."""
    names = features_of(condition)
    for name in names:
        if name not in features:
            raise ShapeError(f"condition {condition!r} needs {name}; found none.", where=name)
        check_shape(ldm, name, features[name].array.shape[1:])
    ids = features[names[0]].stimulus_id
    for name in names[1:]:
        if not np.array_equal(features[name].stimulus_id, ids):
            raise ShapeError(
                f"{names[0]} and {name} must be of the same items in the same order; their stimulus ids differ.",
                where="stimulus_id",
            )
    return ids


def _check_finite(broken: NDArray[np.bool_], rows: _Rows, ldm: LatentDiffusion) -> None:
    if broken.any():
        first = int(np.argmax(broken))
        stimulus, sample = int(rows.stimulus_id[first]), int(rows.sample[first])
        raise ModelError(
            f"{ldm.name} computed numbers that are not finite for stimulus {stimulus}, sample {sample} "
            f"({broken.sum()} of {len(broken)} in this batch), in single precision. Check that the decoded features "
            "are finite. Finished images are kept.",
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
