"""Reconstruct: decoded z and c to pictures, several draws each.

Three conditions. ``z``: the picture that the decoded z is the code of; nothing is drawn. ``c``: from pure noise, every
step under the decoded c. ``zc``: the picture of z, at full size, encoded again, noised to ``strength`` and denoised
under c.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen.diffusion import denoise
from reseen.errors import ModelError, ShapeError
from reseen.ldm.sampling import begin, coarse_latents, coarse_pictures, draw_noise
from reseen.recipe import Condition, ReconstructRecipe

if TYPE_CHECKING:
    from torch import Tensor

    from reseen.diffusion import OnStep
    from reseen.features import Features
    from reseen.ldm import LatentDiffusion

Write = Callable[[int, int, NDArray[np.uint8]], None]
"""``(item, draw, picture (image_size, image_size, 3) uint8)``"""
Progress = Callable[[int, int], None]


class PictureWarning(UserWarning):
    """Warn of a picture that may be no picture."""


def n_draws(condition: Condition, recipe: ReconstructRecipe) -> int:
    """Give how many pictures a condition makes of each item: one for ``z``, which nothing is drawn for."""
    return 1 if condition == "z" else recipe.n_draws


def reconstruct(
    ldm: LatentDiffusion,
    condition: Condition,
    z: Features | None,
    c: Features | None,
    *,
    recipe: ReconstructRecipe,
    seed: int,
    subject: str,
    write: Write,
    jobs: Sequence[tuple[int, int]] | None = None,
    progress: Progress | None = None,
) -> None:
    """Reconstruct draws of every item, and hand each picture over as it is ready.

    Parameters
    ----------
    ldm
        The frozen model.
    condition
        ``"z"``, ``"c"`` or ``"zc"``.
    z, c
        Decoded features of the same items, ``(n_items, channels, h, w)`` and ``(n_items, n_tokens, dim)``; the one that
        the condition leaves out may be ``None``.
    recipe
        Draws, steps, strength, guidance.
    seed, subject
        With the stimulus id and the draw, what the noise is drawn from.
    write
        Called with item, draw and picture.
    jobs
        Which pictures to make, as ``(item, draw)``; left out: of every item the recipe's ``n_draws``, or one for
        condition ``z``, whose draws are all alike.
    progress
        Called with the number of pictures done and the number to be made.

    Raises
    ------
    ShapeError
        If the features do not fit the model or each other.
    ModelError
        If a picture is not finite.

    Warns
    -----
    PictureWarning
        If a picture is black all over.
    """
    ids = _check(ldm, condition, z, c)
    if jobs is None:
        jobs = [(item, draw) for item in range(len(ids)) for draw in range(n_draws(condition, recipe))]
    n_ready = 0
    if progress is not None:
        progress(0, len(jobs))
    unconditional = ldm.text_to_conditioning([""])[0] if jobs and condition != "z" else None
    for batch in _batches(jobs, recipe.batch_size):
        items = np.array([item for item, _ in batch])
        if condition == "z":
            pictures = coarse_pictures(ldm, _array(z)[items], recipe)
        else:
            shape = ldm.latent_shape
            noise = np.stack([draw_noise(seed, subject, int(ids[item]), draw, shape) for item, draw in batch])
            picked = None if condition == "c" else _array(z)[items]
            latents = _sample(ldm, picked, _array(c)[items], noise, unconditional, recipe)
            _check_finite(latents, batch, ids, ldm)
            pictures = ldm.latent_to_image(latents)
        rounded = _to_uint8(pictures)
        _warn_of_black(rounded, condition, ids[items])
        for (item, draw), picture in zip(batch, rounded, strict=True):
            write(item, draw, picture)
        n_ready += len(batch)
        if progress is not None:
            progress(n_ready, len(jobs))


def film(
    ldm: LatentDiffusion,
    z_row: NDArray[np.float32] | None,
    c_row: NDArray[np.float32],
    *,
    recipe: ReconstructRecipe,
    seed: int,
    subject: str,
    stimulus_id: int,
    draw: int = 0,
) -> NDArray[np.uint8]:
    """Show one draw step by step: the clean picture that the model has in mind at every step.

    Parameters
    ----------
    ldm
        The frozen model.
    z_row
        Shape ``(channels, h, w)``; ``None`` for condition ``c``.
    c_row
        Shape ``(n_tokens, dim)``.
    recipe, seed, subject
        As given to ``reconstruct``.
    stimulus_id, draw
        Which draw.

    Returns
    -------
    ndarray
        Shape ``(n_frames, image_size, image_size, 3)``, uint8: first the coarse picture of z (without z, the noise as
        the autoencoder sees it), then one for each of the steps that denoising takes. The last is the picture that
        ``reconstruct`` makes of this draw.
    """
    noise = draw_noise(seed, subject, stimulus_id, draw, ldm.latent_shape)[None]
    unconditional = ldm.text_to_conditioning([""])[0]
    seen: list[Tensor] = []

    def remember(_step: int, _timestep: int, _latents: Tensor, clean: Tensor) -> None:
        seen.append(clean)

    z = None if z_row is None else z_row[None]
    last = _sample(ldm, z, c_row[None], noise, unconditional, recipe, remember)
    first = ldm.latent_to_image(noise) if z is None else coarse_pictures(ldm, z, recipe)
    frames = [first, *(ldm.latent_to_image(latents) for latents in (*seen[:-1], last))]
    return _to_uint8(np.concatenate(frames))


def _sample(
    ldm: LatentDiffusion,
    z: NDArray[np.float32] | None,
    c: NDArray[np.float32],
    noise: NDArray[np.float32],
    unconditional: NDArray[np.float32] | None,
    recipe: ReconstructRecipe,
    on_step: OnStep | None = None,
) -> Tensor:
    """Give the clean latents of one batch, ``(n, channels, height, width)``, from z (or pure noise) and c."""
    import torch

    if z is None:
        latents, timesteps = torch.from_numpy(noise).to(ldm.device), ldm.schedule.timesteps(recipe.n_steps)
    else:
        # the draws of an item share its coarse picture: one encoding for each
        rows, which = np.unique(z.reshape(len(z), -1), axis=0, return_inverse=True)
        coarse = coarse_latents(ldm, rows.reshape(-1, *z.shape[1:]), recipe)[which.reshape(-1)]
        latents, timesteps = begin(ldm, coarse, noise, recipe, recipe.strength)
    return denoise(
        ldm.predict_noise,
        latents,
        torch.from_numpy(np.require(c, requirements="W")).to(ldm.device),
        schedule=ldm.schedule,
        timesteps=timesteps,
        guidance=recipe.guidance,
        unconditional=None if unconditional is None else torch.from_numpy(unconditional)[None].to(ldm.device),
        on_step=on_step,
    )


def _to_uint8(pictures: NDArray[np.float32]) -> NDArray[np.uint8]:
    rounded: NDArray[np.uint8] = np.round(pictures * 255).astype(np.uint8)
    return rounded


def _batches(jobs: Sequence[tuple[int, int]], size: int) -> Iterator[Sequence[tuple[int, int]]]:
    for start in range(0, len(jobs), size):
        yield jobs[start : start + size]


def _array(features: Features | None) -> NDArray[np.float32]:
    if features is None:
        raise ShapeError("the condition needs features that were not given.")
    return np.ascontiguousarray(features.array, dtype=np.float32)


def _check(ldm: LatentDiffusion, condition: Condition, z: Features | None, c: Features | None) -> NDArray[np.int64]:
    """Make sure that the features that a condition needs fit the model and each other; give the items' stimulus ids."""
    given = {"z": z, "c": c}
    parts: list[Features] = []
    for name in condition:
        part = given[name]
        if part is None:
            raise ShapeError(f"condition {condition!r} needs {name}; found none.")
        parts.append(part)
    if "c" in condition and parts[-1].array.shape[1:] != ldm.conditioning_shape:
        raise ShapeError(
            f"{ldm.name} takes a c of shape {ldm.conditioning_shape}; found {parts[-1].array.shape[1:]}. "
            "Extract and decode with the same model."
        )
    if "z" in condition and (parts[0].array.ndim != 4 or parts[0].array.shape[1] != ldm.latent_shape[0]):
        raise ShapeError(
            f"{ldm.name} takes a z of shape ({ldm.latent_shape[0]}, height, width); found {parts[0].array.shape[1:]}. "
            "Extract and decode with the same model."
        )
    if not np.array_equal(parts[0].stimulus_id, parts[-1].stimulus_id):
        raise ShapeError("z and c must be of the same items in the same order; their stimulus ids differ.")
    return parts[0].stimulus_id


def _check_finite(
    latents: Tensor, batch: Sequence[tuple[int, int]], ids: NDArray[np.int64], ldm: LatentDiffusion
) -> None:
    import torch

    bad = ~torch.isfinite(latents).flatten(1).all(dim=1).cpu().numpy()
    if bad.any():
        item, draw = batch[int(np.argmax(bad))]
        raise ModelError(
            f"{ldm.name} gave numbers that are not finite for stimulus {ids[item]}, draw {draw} "
            f"({bad.sum()} of {len(batch)} in its batch). Check that the decoded z and c are finite; in half "
            "precision, set model.precision to 'fp32'. Pictures made so far are kept."
        )


def _warn_of_black(pictures: NDArray[np.uint8], condition: Condition, stimulus_id: NDArray[np.int64]) -> None:
    black = ~pictures.reshape(len(pictures), -1).any(axis=1)
    if black.any():
        warnings.warn(
            f"{black.sum()} of {len(pictures)} pictures of condition {condition} are black all over; the first is of "
            f"stimulus {stimulus_id[int(np.argmax(black))]}. They are kept.",
            PictureWarning,
            stacklevel=3,
        )
