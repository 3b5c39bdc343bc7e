"""Diffusion: the noise schedule, noising, and denoising by DDIM, over any model that is a callable.

The sampler is that of Song et al. 2021 ("Denoising diffusion implicit models", equation 12) with eta 0, under
classifier-free guidance (Ho & Salimans 2021). It knows nothing of brains, files or particular models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from reseen.errors import RecipeError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

    PredictNoise = Callable[[Tensor, int, Tensor], Tensor]
    """``(latents (n, ...), timestep, conditioning (n, n_tokens, dim)) -> noise (n, ...)``"""
    OnStep = Callable[[int, int, Tensor, Tensor], None]
    """``(step, timestep, latents after the step, clean latents predicted at the step)``"""


@dataclass(frozen=True)
class Schedule:
    """Noise schedule: the proportion of the signal at each timestep of training.

    Parameters
    ----------
    signal_level
        Shape ``(n_timesteps,)``, float64, falling: the share of the variance that is signal (alpha-bar in the papers).
    offset
        Added to every timestep that is sampled; 1 for Stable Diffusion.
    final_level
        Signal level after the last step; left out: that of timestep 0, as in Stable Diffusion.
    spacing
        Which end of the schedule sampled timesteps are counted from: ``"leading"`` from the clean end, as in Stable
        Diffusion, or ``"trailing"`` from the noisy end, where the offset has no part.

    Raises
    ------
    ShapeError
        If the levels are not a falling row of numbers between 0 and 1.
    """

    signal_level: NDArray[np.float64]
    offset: int = 1
    final_level: float | None = None
    spacing: Literal["leading", "trailing"] = "leading"

    def __post_init__(self) -> None:
        level = self.signal_level
        if level.ndim != 1 or not len(level) or level[0] > 1 or level[-1] <= 0 or np.any(np.diff(level) >= 0):
            raise ShapeError("a schedule needs a one-dimensional, falling signal level between 1 and 0.")

    @classmethod
    def scaled_linear(
        cls,
        start: float = 0.00085,
        end: float = 0.012,
        n_timesteps: int = 1000,
        *,
        offset: int = 1,
        final_level: float | None = None,
        spacing: Literal["leading", "trailing"] = "leading",
    ) -> Schedule:
        """Make Stable Diffusion's schedule: the square root of the noise variance grows linearly from start to end."""
        variance = np.linspace(start**0.5, end**0.5, n_timesteps, dtype=np.float64) ** 2
        return cls(np.cumprod(1.0 - variance, dtype=np.float64), offset, final_level, spacing)

    def timesteps(self, n_steps: int) -> tuple[int, ...]:
        """Return the timesteps of a whole sampling run, falling and evenly spaced.

        Raises
        ------
        RecipeError
            If the schedule has no room for so many steps, or if trailing steps cannot be of equal length.
        """
        n_timesteps = len(self.signal_level)
        if self.spacing == "trailing":
            if n_steps < 1 or n_timesteps % n_steps:
                # elsewhere diffusers rounds the timesteps one way and the step before them another
                raise RecipeError(
                    f"n_steps is {n_steps}; this model's scheduler spaces steps from the noisy end (timestep_spacing "
                    f"'trailing'), and n_steps must divide {n_timesteps}."
                )
            return tuple(range(n_timesteps - 1, -1, -(n_timesteps // n_steps)))
        spacing = n_timesteps // n_steps if n_steps > 0 else 0
        if spacing == 0 or (n_steps - 1) * spacing + self.offset >= n_timesteps:
            raise RecipeError(f"n_steps is {n_steps}; this model samples in 1 to {n_timesteps - self.offset} steps.")
        return tuple(step * spacing + self.offset for step in reversed(range(n_steps)))

    def partial_timesteps(
        self, n_steps: int, strength: float, noise_index: Literal["diffusers", "compvis"] = "diffusers"
    ) -> tuple[int, tuple[int, ...]]:
        """Return where an image is noised to, and the timesteps that undo it.

        Parameters
        ----------
        n_steps
            Steps of the whole run.
        strength
            Share of them that is undone: ``int(n_steps * strength)`` steps.
        noise_index
            ``"diffusers"`` noises to the timestep that denoising starts at, as diffusers' image-to-image pipeline does.
            ``"compvis"`` noises one step further, as ``stochastic_encode`` and ``decode`` of the original Stable
            Diffusion code do: with 50 steps and strength 0.8 to timestep 801, denoising from 781.

        Returns
        -------
        tuple
            The timestep of the noised image, and the falling timesteps of denoising.

        Raises
        ------
        RecipeError
            If no step is left to undo, or if there is no further step to noise to.
        """
        timesteps = self.timesteps(n_steps)
        start = n_steps - min(int(n_steps * strength), n_steps)
        if start == n_steps:
            raise RecipeError(f"strength {strength} of {n_steps} steps leaves no step to denoise; raise one of them.")
        if noise_index == "diffusers":
            return timesteps[start], timesteps[start:]
        if start == 0:
            raise RecipeError(
                f"noise_index 'compvis' noises one step further than denoising starts, and strength {strength} starts "
                "at the first step. Lower strength or use noise_index 'diffusers'."
            )
        return timesteps[start - 1], timesteps[start:]


def add_noise(latents: Tensor, noise: Tensor, timestep: int, schedule: Schedule) -> Tensor:
    """Mix latents with noise as they are at a timestep.

    Parameters
    ----------
    latents, noise
        Shape ``(n, ...)``; the noise is standard normal.
    timestep
        Index into ``schedule.signal_level``.
    schedule
        The model's noise schedule.

    Returns
    -------
    Tensor
        ``sqrt(level) * latents + sqrt(1 - level) * noise``.
    """
    level = float(schedule.signal_level[timestep])
    noised: Tensor = latents * math.sqrt(level) + noise * math.sqrt(1.0 - level)
    return noised


def denoise(
    predict_noise: PredictNoise,
    latents: Tensor,
    conditioning: Tensor,
    *,
    schedule: Schedule,
    timesteps: Sequence[int],
    guidance: float = 1.0,
    unconditional: Tensor | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Denoise latents by DDIM (eta 0) under classifier-free guidance.

    Parameters
    ----------
    predict_noise
        ``(latents, timestep, conditioning) -> noise``. The unconditional and the conditional half are one call.
    latents
        Shape ``(n, channels, height, width)``, noised to about the first of ``timesteps``.
    conditioning
        Shape ``(n, n_tokens, dim)``.
    schedule
        The model's noise schedule.
    timesteps
        Falling; after the last one the latents are clean.
    guidance
        Scale of classifier-free guidance; at 1 the unconditional half is left out.
    unconditional
        Shape ``(1, n_tokens, dim)``: the conditioning of the empty caption. Needed where ``guidance`` is not 1.
    on_step
        Called after every step with the step (0-based), its timestep, the latents, and the clean latents predicted.

    Returns
    -------
    Tensor
        Shape of ``latents``.

    Raises
    ------
    ShapeError
        If latents and conditioning do not belong together, or guidance lacks the unconditional conditioning.
    """
    import torch

    if len(latents) != len(conditioning):
        raise ShapeError(f"{len(latents)} latents need as many conditionings; found {len(conditioning)}.")
    guided = guidance != 1.0
    if guided:
        if unconditional is None:
            raise ShapeError(f"guidance {guidance} needs the conditioning of the empty caption.")
        conditioning = torch.cat([unconditional.expand_as(conditioning), conditioning])
    end = float(schedule.signal_level[0] if schedule.final_level is None else schedule.final_level)
    levels = [float(schedule.signal_level[t]) for t in timesteps] + [end]
    for step, timestep in enumerate(timesteps):
        noise = predict_noise(torch.cat([latents, latents]) if guided else latents, timestep, conditioning)
        if guided:
            without, under = noise.chunk(2)
            noise = without + guidance * (under - without)
        level, next_level = levels[step], levels[step + 1]
        clean = (latents - math.sqrt(1.0 - level) * noise) / math.sqrt(level)
        latents = math.sqrt(next_level) * clean + math.sqrt(1.0 - next_level) * noise
        if on_step is not None:
            on_step(step, timestep, latents, clean)
    return latents
