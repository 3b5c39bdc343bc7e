"""Noise schedules: read from the settings of a diffusers scheduler, used exactly or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reseen.diffusion import CONSISTENCY_SCALE, Schedule, Spacing
from reseen.errors import ModelError
from reseen.files import read_json
from reseen.files.reading import shown

Prediction = Literal["epsilon", "v_prediction"]
LCM = "LCMScheduler"
"""Scheduler of latent consistency models, which only the sampler ``lcm`` samples."""
UNSUPPORTED = ("TCDScheduler",)
"""Schedulers of models that were distilled to a few steps for a sampler that reseen does not have."""
_SAME_AS_TRAINED = (None, False)


class SchedulerSettings(BaseModel):
    """Scheduler settings of the model's training; other settings choose a sampler, which here the recipe does.

    Values that are left out have the defaults of diffusers' ``DDIMScheduler``.
    """

    model_config = ConfigDict(extra="ignore", strict=True, protected_namespaces=())

    scheduler: str | None = Field(None, alias="_class_name")
    beta_schedule: str | None = None
    beta_start: float = Field(0.0001, gt=0, lt=1)
    beta_end: float = Field(0.02, gt=0, lt=1)
    num_train_timesteps: int = Field(1000, ge=1, le=100_000)
    prediction_type: str | None = None
    timestep_spacing: str | None = None
    steps_offset: int = 0
    set_alpha_to_one: bool = True
    trained_betas: Any = None
    rescale_betas_zero_snr: bool | None = None
    thresholding: bool | None = None
    original_inference_steps: int | None = Field(None, ge=1)
    timestep_scaling: float = CONSISTENCY_SCALE


def read_scheduler(path: Path) -> tuple[Schedule, Prediction]:
    """Read a model's training schedule and prediction type.

    Parameters
    ----------
    path
        ``scheduler_config.json`` of any of diffusers' schedulers.

    Returns
    -------
    schedule
        Equal to that of diffusers' ``DDIMScheduler`` for the same file; for a latent consistency model, to that of its
        ``LCMScheduler``.
    prediction
        ``"epsilon"`` (noise) or ``"v_prediction"`` (velocity).

    Raises
    ------
    ModelError
        If the file cannot be read, or if its settings are not supported.
    """
    settings: SchedulerSettings = read_json(path, SchedulerSettings, ModelError)
    if reason := _unusable(settings):
        raise ModelError(
            f"{shown(path)}: {reason} Use a Stable Diffusion 1.x or 2.x that predicts noise or velocity with the "
            "scaled-linear schedule.",
            where=path,
        )
    spacing: Spacing = "trailing" if settings.timestep_spacing == "trailing" else "leading"
    schedule = Schedule.scaled_linear(
        settings.beta_start,
        settings.beta_end,
        settings.num_train_timesteps,
        offset=1,  # also if the file has 0: diffusers' own pipelines correct the earliest files to 1
        final_level=1.0 if settings.set_alpha_to_one else None,
        spacing="lcm" if settings.scheduler == LCM else spacing,
        distilled_steps=settings.original_inference_steps or 50,
        zero_terminal_snr=bool(settings.rescale_betas_zero_snr),
    )
    return schedule, "v_prediction" if settings.prediction_type == "v_prediction" else "epsilon"


def _unusable(settings: SchedulerSettings) -> str | None:
    """Return why a model with these settings cannot be sampled."""
    scheduler, spacing = settings.scheduler or "", settings.timestep_spacing
    if scheduler in UNSUPPORTED or (settings.original_inference_steps is not None and scheduler != LCM):
        return f"the model is distilled for {scheduler or 'an unknown'} sampling, which reseen does not have."
    if scheduler == LCM and settings.timestep_scaling != CONSISTENCY_SCALE:
        return f"timestep_scaling is {settings.timestep_scaling}, and {CONSISTENCY_SCALE} is expected."
    if scheduler == LCM and not (settings.original_inference_steps or 50) <= settings.num_train_timesteps:
        return f"original_inference_steps exceeds num_train_timesteps ({settings.num_train_timesteps})."
    if scheduler.startswith("Euler") and spacing == "trailing" and not settings.rescale_betas_zero_snr:
        return "the model is distilled to a few steps (Turbo), which DDIM with guidance does not sample."
    if settings.rescale_betas_zero_snr and settings.prediction_type != "v_prediction":
        return "rescale_betas_zero_snr needs a model that predicts velocity; pure noise has no signal to predict from."
    if settings.beta_schedule != "scaled_linear":
        return f"beta_schedule is {settings.beta_schedule!r}, and 'scaled_linear' is expected."
    if settings.prediction_type not in (None, "epsilon", "v_prediction"):
        return f"prediction_type is {settings.prediction_type!r}, and 'epsilon' or 'v_prediction' is expected."
    if spacing not in (None, "leading", "trailing"):
        return f"timestep_spacing is {spacing!r}, and 'leading' or 'trailing' is expected."
    if settings.steps_offset not in (0, 1):
        return f"steps_offset is {settings.steps_offset}, and 1 is expected."
    for name in ("trained_betas", "thresholding"):
        if getattr(settings, name) not in _SAME_AS_TRAINED:
            return f"{name} is set, which reseen does not have."
    if settings.beta_start >= settings.beta_end:
        return f"beta_start is {settings.beta_start} and beta_end {settings.beta_end}; noise must grow."
    return None
