"""Diffusion: the noise schedule, noising, and denoising with any function that predicts noise.

The samplers are DDIM with eta = 0 (Song et al. 2021, "Denoising diffusion implicit models", equation 12) and
DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2), under classifier-free guidance (Ho & Salimans 2021).
This module does not depend on data, files or particular models.
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
    """Noise schedule: the proportion of signal at each timestep of training.

    Parameters
    ----------
    signal_level
        Shape ``(n_timesteps,)``, float64, descending: proportion of the variance that is signal (alpha-bar in the
        papers).
    offset
        Number that is added to every sampled timestep; 1 for Stable Diffusion.
    final_level
        Signal level after the last step. Left out: that of timestep 0, as in Stable Diffusion.
    spacing
        End of the schedule from which sampled timesteps are counted: ``"leading"`` from the clean end, as in Stable
        Diffusion, or ``"trailing"`` from the noisy end, where the offset is not used.

    Raises
    ------
    ShapeError
        If the levels are not one-dimensional, or do not descend from at most 1 to above 0.
    """

    signal_level: NDArray[np.float64]
    offset: int = 1
    final_level: float | None = None
    spacing: Literal["leading", "trailing"] = "leading"

    def __post_init__(self) -> None:
        level = self.signal_level
        if level.ndim != 1 or not len(level) or level[0] > 1 or level[-1] <= 0 or np.any(np.diff(level) >= 0):
            raise ShapeError(
                f"signal_level has shape {level.shape}; it must have one axis and descend from at most 1 to above 0.",
                where="signal_level",
                expected=("n_timesteps",),
                found=level.shape,
            )

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
        """Return Stable Diffusion's schedule: the square root of beta, the noise variance, grows linearly."""
        # beta_t = (sqrt(start) + t / (T - 1) * (sqrt(end) - sqrt(start)))^2; alpha-bar_t is the product of 1 - beta
        variance = np.linspace(start**0.5, end**0.5, n_timesteps, dtype=np.float64) ** 2
        return cls(np.cumprod(1.0 - variance, dtype=np.float64), offset, final_level, spacing)

    def timesteps(self, n_steps: int) -> tuple[int, ...]:
        """Return the timesteps of a complete sampling run, descending and evenly spaced.

        Raises
        ------
        RecipeError
            If the schedule has fewer timesteps, or if trailing steps do not have equal length.
        """
        n_timesteps = len(self.signal_level)
        if self.spacing == "trailing":
            if n_steps < 1 or n_timesteps % n_steps:
                # for such numbers diffusers rounds the timesteps and the previous timesteps differently
                raise RecipeError(
                    f"n_steps is {n_steps}; this model's scheduler spaces steps from the noisy end (timestep_spacing "
                    f"'trailing'), and n_steps must divide {n_timesteps}.",
                    where="reconstruct.n_steps",
                    found=n_steps,
                )
            return tuple(range(n_timesteps - 1, -1, -(n_timesteps // n_steps)))
        spacing = n_timesteps // n_steps if n_steps > 0 else 0
        if spacing == 0 or (n_steps - 1) * spacing + self.offset >= n_timesteps:
            most = n_timesteps - self.offset
            raise RecipeError(
                f"n_steps is {n_steps}; this model samples in 1 to {most} steps.",
                where="reconstruct.n_steps",
                expected=(1, most),
                found=n_steps,
            )
        return tuple(step * spacing + self.offset for step in reversed(range(n_steps)))

    def partial_timesteps(
        self, n_steps: int, strength: float, noise_index: Literal["diffusers", "compvis"] = "diffusers"
    ) -> tuple[int, tuple[int, ...]]:
        """Return the timestep to which an image is noised, and the timesteps that denoise it.

        Parameters
        ----------
        n_steps
            Steps of the complete run.
        strength
            Proportion of the steps that are noised and denoised again: ``int(n_steps * strength)`` steps.
        noise_index
            ``"diffusers"`` noises to the timestep at which denoising starts, like diffusers' image-to-image pipeline.
            ``"compvis"`` noises one step further, like ``stochastic_encode`` and ``decode`` of the original Stable
            Diffusion code: with 50 steps and strength 0.8 to timestep 801, denoising from 781.

        Returns
        -------
        tuple
            The timestep of the noised image, and the descending timesteps of denoising.

        Raises
        ------
        RecipeError
            If no step is left to denoise, or if there is no further step to noise to.
        """
        timesteps = self.timesteps(n_steps)
        start = n_steps - min(int(n_steps * strength), n_steps)
        if start == n_steps:
            raise RecipeError(
                f"strength {strength} of {n_steps} steps leaves no step to denoise; increase one of them.",
                where="reconstruct.strength",
                found=strength,
            )
        if noise_index == "diffusers":
            return timesteps[start], timesteps[start:]
        if start == 0:
            raise RecipeError(
                f"noise_index 'compvis' noises one step further than denoising starts, and strength {strength} starts "
                "at the first step. Decrease strength or use noise_index 'diffusers'.",
                where="reconstruct.noise_index",
                expected="diffusers",
                found="compvis",
            )
        return timesteps[start - 1], timesteps[start:]


def add_noise(latents: Tensor, noise: Tensor, timestep: int, schedule: Schedule) -> Tensor:
    """Add noise to latents at the level of a timestep.

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
    order: Literal[1, 2] = 1,
) -> Tensor:
    """Denoise latents under classifier-free guidance, by DDIM or by DPM-Solver++(2M).

    Parameters
    ----------
    predict_noise
        ``(latents, timestep, conditioning) -> noise``. One call predicts the unconditional and the conditional half.
    latents
        Shape ``(n, channels, height, width)``, noised to about the first of ``timesteps``.
    conditioning
        Shape ``(n, n_tokens, dim)``.
    schedule
        The model's noise schedule.
    timesteps
        Descending; after the last one the latents are clean.
    guidance
        Scale of classifier-free guidance. At 1 the unconditional half is not computed.
    unconditional
        Shape ``(1, n_tokens, dim)``: the conditioning of the empty caption. Required if ``guidance`` is not 1.
    on_step
        Called after every step with the step (0-based), its timestep, the latents, and the predicted clean latents.
    order
        1 is DDIM with eta 0. 2 is DPM-Solver++(2M), which extrapolates from the predictions of two steps and needs
        about half as many steps; its first and last steps are of order 1.

    Returns
    -------
    Tensor
        Shape of ``latents``.

    Raises
    ------
    ShapeError
        If latents and conditioning differ in number, or guidance lacks the unconditional conditioning.
    """
    import torch

    if len(latents) != len(conditioning):
        raise ShapeError(
            f"{len(latents)} latents need as many conditionings; found {len(conditioning)}.",
            where="conditioning",
            expected=len(latents),
            found=len(conditioning),
        )
    guided = guidance != 1.0
    if guided:
        if unconditional is None:
            raise ShapeError(f"guidance {guidance} needs the conditioning of the empty caption.", where="unconditional")
        conditioning = torch.cat([unconditional.expand_as(conditioning), conditioning])
    end = float(schedule.signal_level[0] if schedule.final_level is None else schedule.final_level)
    levels = [float(schedule.signal_level[t]) for t in timesteps] + [end]
    clean_before = latents
    for step, timestep in enumerate(timesteps):
        noise = predict_noise(torch.cat([latents, latents]) if guided else latents, timestep, conditioning)
        if guided:
            # classifier-free guidance: e = e(empty) + guidance * (e(c) - e(empty))
            unconditional_noise, conditional_noise = noise.chunk(2)
            noise = unconditional_noise + guidance * (conditional_noise - unconditional_noise)
        level, next_level = levels[step], levels[step + 1]
        # Song et al., equation 12 with sigma = 0: x0 = (x - sqrt(1 - a) e) / sqrt(a); x' = sqrt(a') x0 + sqrt(1 - a') e
        clean = (latents - math.sqrt(1.0 - level) * noise) / math.sqrt(level)
        target = clean
        if order == 2 and 0 < step < len(timesteps) - 1:
            # h: step in half the log signal-to-noise ratio; D = x0 + (x0 - x0 of the step before) h / (2 h before)
            ratio = (_log_snr(next_level) - _log_snr(level)) / (_log_snr(level) - _log_snr(levels[step - 1]))
            target = clean + 0.5 * ratio * (clean - clean_before)
            noise = (latents - math.sqrt(level) * target) / math.sqrt(1.0 - level)
        latents = math.sqrt(next_level) * target + math.sqrt(1.0 - next_level) * noise
        clean_before = clean
        if on_step is not None:
            on_step(step, timestep, latents, clean)
    return latents


def _log_snr(level: float) -> float:
    """Return half the log of the signal-to-noise ratio (lambda in the paper)."""
    return 0.5 * math.log(level / (1.0 - level))
