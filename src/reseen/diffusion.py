"""Diffusion: the noise schedule, noising, and denoising with any function that predicts noise.

The samplers are DDIM with eta = 0 (Song et al. 2021, "Denoising diffusion implicit models", equation 12),
DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2) and that of latent consistency models (LCM, Luo et al.
2023, arXiv 2310.04378, algorithm 3), under classifier-free guidance (Ho & Salimans 2021). This module does not depend
on data, files or particular models.
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
    PredictClean = Callable[[Tensor, int, Tensor], Tensor]
    """``(latents (n, ...), timestep, conditioning (n, n_tokens, dim)) -> clean latents (n, ...)``"""
    OnStep = Callable[[int, int, Tensor, Tensor], None]
    """``(step, timestep, latents after the step, clean latents predicted at the step)``"""
    StepNoise = Callable[[int], Tensor]
    """``step -> standard normal noise (n, ...)``"""

Spacing = Literal["leading", "trailing", "lcm"]
"""How a schedule chooses the timesteps of sampling."""
NoiseIndex = Literal["diffusers", "compvis", "fixed"]
"""To which timestep an image is noised."""
REFERENCE_STEPS = 50
"""Number of steps whose timesteps determine the noise level of ``noise_index = "fixed"``; that of the paper."""
CONSISTENCY_SD, CONSISTENCY_SCALE = 0.5, 10.0
"""Standard deviation of the data, and factor of the timestep, in the boundary condition of consistency models."""
SMALLEST_LEVEL = 2.0**-24
"""Signal level at which DPM-Solver++ computes the signal-to-noise ratio of pure noise, as diffusers does."""


@dataclass(frozen=True)
class Schedule:
    """Noise schedule: the proportion of signal at each timestep of training.

    Parameters
    ----------
    signal_level
        Shape ``(n_timesteps,)``, float64, descending: proportion of the variance that is signal (alpha-bar in the
        papers). The last one may be 0 (zero terminal signal-to-noise ratio).
    offset
        Number that is added to every sampled timestep; 1 for Stable Diffusion.
    final_level
        Signal level after the last step. Left out: that of timestep 0, as in Stable Diffusion.
    spacing
        End of the schedule from which sampled timesteps are counted: ``"leading"`` from the clean end, as in Stable
        Diffusion, or ``"trailing"`` from the noisy end, where the offset is not used. ``"lcm"`` chooses among the
        timesteps on which latent consistency models are trained; the offset is not used either.
    distilled_steps
        Number of timesteps on which a latent consistency model was trained.

    Raises
    ------
    ShapeError
        If the levels are not one-dimensional, or do not descend from at most 1 to at least 0.
    """

    signal_level: NDArray[np.float64]
    offset: int = 1
    final_level: float | None = None
    spacing: Spacing = "leading"
    distilled_steps: int = 50

    def __post_init__(self) -> None:
        level = self.signal_level
        if level.ndim != 1 or not len(level) or level[0] > 1 or level[-1] < 0 or np.any(np.diff(level) >= 0):
            raise ShapeError(
                f"signal_level has shape {level.shape}; it must have one axis and descend from at most 1 to 0 or more.",
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
        spacing: Spacing = "leading",
        distilled_steps: int = 50,
        zero_terminal_snr: bool = False,
    ) -> Schedule:
        """Return Stable Diffusion's schedule: the square root of beta, the noise variance, grows linearly.

        With ``zero_terminal_snr`` the square roots of the signal levels are shifted and scaled so that the last is 0
        and the first stays (Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", algorithm
        1).
        """
        # beta_t = (sqrt(start) + t / (T - 1) * (sqrt(end) - sqrt(start)))^2; alpha-bar_t is the product of 1 - beta
        variance = np.linspace(start**0.5, end**0.5, n_timesteps, dtype=np.float64) ** 2
        level = np.cumprod(1.0 - variance, dtype=np.float64)
        if zero_terminal_snr:
            root = np.sqrt(level)
            level = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
        return cls(level, offset, final_level, spacing, distilled_steps)

    def timesteps(self, n_steps: int, noise_index: NoiseIndex = "diffusers") -> tuple[int, ...]:
        """Return the timesteps of a complete sampling run, descending and evenly spaced.

        Parameters
        ----------
        n_steps
            Number of steps.
        noise_index
            With leading spacing the first timestep depends on the number of steps: 981 with 50 steps, 901 with 10,
            although denoising starts from pure noise. ``"fixed"`` starts at that of 50 steps whatever the number of
            steps is; ``"diffusers"`` and ``"compvis"`` start like diffusers' schedulers.

        Raises
        ------
        RecipeError
            If the schedule has fewer timesteps, or if trailing steps do not have equal length.

        Examples
        --------
        >>> schedule = Schedule.scaled_linear()
        >>> [schedule.timesteps(n)[0] for n in (50, 20, 10)]
        [981, 951, 901]
        >>> [schedule.timesteps(n, "fixed")[0] for n in (50, 20, 10)]
        [981, 981, 981]
        """
        n_timesteps = len(self.signal_level)
        if self.spacing == "lcm":
            return self._distilled_timesteps(n_steps, 1.0)
        if noise_index == "fixed":
            return self._even_timesteps(self.timesteps(REFERENCE_STEPS)[0], len(self.timesteps(n_steps)))
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
        self, n_steps: int, strength: float, noise_index: NoiseIndex = "diffusers"
    ) -> tuple[int, tuple[int, ...]]:
        """Return the timestep to which an image is noised, and the timesteps that denoise it.

        Parameters
        ----------
        n_steps
            Steps of the complete run.
        strength
            Proportion of the steps that are noised and denoised again: ``int(n_steps * strength)`` steps. With spacing
            ``"lcm"``, proportion of the timesteps of distillation, of which ``n_steps`` are chosen.
        noise_index
            ``"diffusers"`` noises to the timestep at which denoising starts, like diffusers' image-to-image pipeline.
            With leading spacing this timestep depends on the number of steps: at strength 0.8 it is 781 with 50 steps,
            and 751 with 20. ``"fixed"`` noises to the timestep of 50 steps for every number of steps, and spaces the
            steps evenly from there. ``"compvis"`` noises one step further than denoising starts, like
            ``stochastic_encode`` and ``decode`` of the original Stable Diffusion code: with 50 steps and strength 0.8
            to timestep 801, denoising from 781.

        Returns
        -------
        tuple
            The timestep of the noised image, and the descending timesteps of denoising.

        Raises
        ------
        RecipeError
            If no step is left to denoise, or if there is no further step to noise to.

        Examples
        --------
        >>> schedule = Schedule.scaled_linear()
        >>> [schedule.partial_timesteps(n, 0.8)[0] for n in (50, 20, 10)]
        [781, 751, 701]
        >>> [schedule.partial_timesteps(n, 0.8, "fixed")[0] for n in (50, 20, 10)]
        [781, 781, 781]
        """
        if self.spacing == "lcm" and noise_index != "compvis":
            timesteps = self._distilled_timesteps(n_steps, strength)
            return timesteps[0], timesteps
        timesteps = self.timesteps(n_steps)
        n_taken = min(int(n_steps * strength), n_steps)
        if n_taken == 0:
            raise RecipeError(
                f"strength {strength} of {n_steps} steps leaves no step to denoise; increase one of them.",
                where="reconstruct.strength",
                found=strength,
            )
        start = n_steps - n_taken
        if noise_index == "fixed":
            noised, _ = self.partial_timesteps(REFERENCE_STEPS, strength)
            return noised, self._even_timesteps(noised, n_taken)
        if noise_index == "diffusers":
            return timesteps[start], timesteps[start:]
        if start == 0 or self.spacing == "lcm":
            raise RecipeError(
                f"noise_index 'compvis' noises one step further than denoising starts, and strength {strength} starts "
                "at the first step. Decrease strength or use noise_index 'diffusers'.",
                where="reconstruct.noise_index",
                expected="diffusers",
                found="compvis",
            )
        return timesteps[start - 1], timesteps[start:]

    def _even_timesteps(self, first: int, n_steps: int) -> tuple[int, ...]:
        """Return ``n_steps`` descending timesteps from the first, rounded; without rounding they are those of a run."""
        # trailing steps count down to -1, leading ones to one step above the offset
        if self.spacing == "trailing":
            even = np.linspace(first, -1, n_steps, endpoint=False)
        else:
            even = np.linspace(first, self.offset, n_steps)
        return tuple(int(timestep) for timestep in np.round(even))

    def _distilled_timesteps(self, n_steps: int, strength: float) -> tuple[int, ...]:
        """Return ``n_steps`` of the timesteps of distillation up to a strength, as diffusers' LCMScheduler chooses."""
        spacing = len(self.signal_level) // self.distilled_steps
        n_known = int(self.distilled_steps * strength)
        if not 1 <= n_steps <= n_known:
            raise RecipeError(
                f"n_steps is {n_steps}; with sampler 'lcm' and strength {strength} it is between 1 and {n_known}.",
                where="reconstruct.n_steps",
                expected=(1, n_known),
                found=n_steps,
            )
        known = [step * spacing - 1 for step in range(n_known, 0, -1)]
        chosen = np.floor(np.linspace(0, n_known, n_steps, endpoint=False)).astype(int)
        return tuple(known[index] for index in chosen)


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
    step_noise: StepNoise | None = None,
    predict_clean: PredictClean | None = None,
) -> Tensor:
    """Denoise latents under classifier-free guidance, by DDIM, DPM-Solver++(2M), or as a latent consistency model.

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
    step_noise
        ``step -> noise``, standard normal noise of the latents' shape; called for every step but the last. If given,
        the sampler is that of latent consistency models: each step predicts the clean latents and adds fresh noise.
        ``order`` is then not used.
    predict_clean
        ``(latents, timestep, conditioning) -> clean latents``. Only required at timesteps of signal level 0, where
        noise does not determine clean latents.

    Returns
    -------
    Tensor
        Shape of ``latents``.

    Raises
    ------
    ShapeError
        If latents and conditioning differ in number, guidance lacks the unconditional conditioning, or a timestep of
        signal level 0 lacks ``predict_clean``.
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

    def predict(network: PredictNoise | PredictClean, latents: Tensor, timestep: int) -> Tensor:
        output = network(torch.cat([latents, latents]) if guided else latents, timestep, conditioning)
        if guided:
            # classifier-free guidance: e = e(empty) + guidance * (e(c) - e(empty))
            unconditional_output, conditional_output = output.chunk(2)
            output = unconditional_output + guidance * (conditional_output - unconditional_output)
        return output

    end = float(schedule.signal_level[0] if schedule.final_level is None else schedule.final_level)
    levels = [float(schedule.signal_level[t]) for t in timesteps] + [end]
    clean_before = latents
    for step, timestep in enumerate(timesteps):
        level, next_level = levels[step], levels[step + 1]
        is_last = step == len(timesteps) - 1
        if level > 0:
            noise = predict(predict_noise, latents, timestep)
            # Song et al., equation 12, sigma = 0: x0 = (x - sqrt(1 - a) e) / sqrt(a); x' = sqrt(a') x0 + sqrt(1 - a') e
            clean = (latents - math.sqrt(1.0 - level) * noise) / math.sqrt(level)
        else:
            # without signal the latents are the noise: x = e, and x0 has to be predicted
            if predict_clean is None:
                raise ShapeError(
                    f"timestep {timestep} has signal level 0, where noise does not determine the clean latents; "
                    "predict_clean is needed.",
                    where="predict_clean",
                )
            noise, clean = latents, predict(predict_clean, latents, timestep)
        target = clean
        if step_noise is not None:
            # consistency function: f = u / sqrt(u^2 + s^2) x0 + s^2 / (u^2 + s^2) x, where u is the scaled timestep
            scaled = CONSISTENCY_SCALE * timestep
            total = scaled**2 + CONSISTENCY_SD**2
            target = (scaled / math.sqrt(total)) * clean + (CONSISTENCY_SD**2 / total) * latents
            if is_last:
                next_level, noise = 1.0, torch.zeros_like(latents)
            else:
                noise = step_noise(step)
        elif order == 2 and step > 0 and not is_last:
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
    level = max(level, SMALLEST_LEVEL)
    return 0.5 * math.log(level / (1.0 - level))
