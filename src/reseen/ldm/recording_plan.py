"""Recording plan: features that one denoising pass over the stimuli records, and its cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from reseen.analyses import AUTO, UNDENOISED, Analysis, analyses, parse_feature
from reseen.blocks import rows_at_once
from reseen.files import GB
from reseen.ldm.recording import check_layers, default_layers
from reseen.ldm.sampling import evaluations_per_step, sampling_schedule
from reseen.recipe import Recipe, ReconstructRecipe

if TYPE_CHECKING:
    from reseen.ldm import LatentDiffusion


@dataclass(frozen=True)
class Run:
    """Features that are recorded while latents of one strength are denoised.

    Parameters
    ----------
    strength
        Proportion of the steps that are noised and denoised again.
    timesteps
        Timesteps, descending.
    latents
        For each latent feature, the number of steps after which it is recorded; 0 for the noised latent.
    activations
        For each output of a U-Net module, the module and the step (0-based) at which it is recorded.
    """

    strength: float
    timesteps: tuple[int, ...]
    latents: Mapping[str, int]
    activations: Mapping[str, tuple[str, int]]

    @property
    def layers(self) -> tuple[str, ...]:
        """Modules that are recorded."""
        return tuple(dict.fromkeys(layer for layer, _ in self.activations.values()))

    @property
    def recorded(self) -> frozenset[int]:
        """Timesteps at which modules are recorded."""
        return frozenset(self.timesteps[step] for _, step in self.activations.values())


@dataclass(frozen=True)
class RecordingPlan:
    """Features that are recorded while every stimulus is denoised, and their cost.

    Parameters
    ----------
    runs
        One for each strength.
    shapes
        For each feature, its shape for one stimulus.
    activations
        Precision of activations; latents are stored in single precision.
    n_passes
        U-Net evaluations of each step, see `evaluations_per_step`.
    """

    runs: tuple[Run, ...]
    shapes: Mapping[str, tuple[int, ...]]
    activations: Literal["fp16", "fp32"]
    n_passes: int

    def blocks(self, stimulus_id: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Cut stimuli into the blocks that are written together; the same whatever the batch size."""
        rows = rows_at_once(self.n_bytes(1))
        return [stimulus_id[start : start + rows] for start in range(0, len(stimulus_id), rows)]

    def n_evaluations(self, n_stimuli: int) -> int:
        """Count the U-Net evaluations of single images."""
        return n_stimuli * self.n_passes * sum(len(run.timesteps) for run in self.runs)

    def n_bytes(self, n_stimuli: int) -> int:
        """Count the bytes that the features occupy on disk."""
        each = [math.prod(shape) * self.dtype(feature).itemsize for feature, shape in self.shapes.items()]
        return n_stimuli * sum(each)

    def dtype(self, feature: str) -> np.dtype[Any]:
        """Return the data type in which a feature is stored."""
        half = self.activations == "fp16" and parse_feature(feature).layer is not None
        return np.dtype(np.float16 if half else np.float32)

    def describe(self, n_stimuli: int) -> str:
        """Describe the features and the cost of recording ``n_stimuli`` stimuli."""
        return (
            f"{len(self.shapes)} features of {n_stimuli:,} images, {self.n_bytes(n_stimuli) / GB:.2g} GB, "
            f"{self.n_evaluations(n_stimuli):,} U-Net evaluations"
        )


def plan_recording(
    ldm: LatentDiffusion,
    features: Sequence[str],
    *,
    recipe: ReconstructRecipe,
    activations: Literal["fp16", "fp32"] = "fp16",
) -> RecordingPlan:
    """Plan the recording of features; features of the same strength share one denoising.

    Parameters
    ----------
    ldm
        The frozen model.
    features
        Names, see `reseen.analyses`; those of `UNDENOISED` are ignored.
    recipe
        Steps, strength, guidance.
    activations
        Precision of the stored activations.

    Raises
    ------
    RecipeError
        If a feature's name is unknown, the U-Net has no such module, or no step is left to denoise.
    """
    names = {feature: parse_feature(feature) for feature in dict.fromkeys(features) if feature not in UNDENOISED}
    needed = [name.layer for name in names.values() if name.layer is not None]
    layers = check_layers(ldm, list(dict.fromkeys(needed)))
    by_strength: dict[float, list[str]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for feature, name in names.items():
        strength = recipe.strength if name.strength is None else name.strength
        by_strength.setdefault(strength, []).append(feature)
        shapes[feature] = ldm.latent_shape if name.layer is None else layers[name.layer]
    return RecordingPlan(
        runs=tuple(_run(ldm, strength, own, recipe) for strength, own in by_strength.items()),
        shapes=shapes,
        activations=activations,
        n_passes=evaluations_per_step(ldm, recipe.guidance),
    )


def steps_taken(progress: float | None, n_steps: int) -> int:
    """Return the number of steps of a proportion, rounded to the nearest; all steps if it is None."""
    return n_steps if progress is None else int(progress * n_steps + 0.5)


def _run(ldm: LatentDiffusion, strength: float, features: Sequence[str], recipe: ReconstructRecipe) -> Run:
    schedule = sampling_schedule(ldm, "ddim")
    _, timesteps = schedule.partial_timesteps(recipe.n_steps, strength, recipe.noise_index)
    latents, activations = {}, {}
    for feature in features:
        name = parse_feature(feature)
        steps = steps_taken(name.progress, len(timesteps))
        if name.layer is None:
            latents[feature] = steps
        else:
            activations[feature] = name.layer, max(steps - 1, 0)
    return Run(strength, timesteps, latents, activations)


def analyses_of(recipe: Recipe, model: Callable[[], LatentDiffusion]) -> tuple[Analysis, ...]:
    """List the encoding analyses of a recipe; the model is loaded only if the layers depend on it."""
    return analyses(recipe.encode, auto=default_layers(model()) if AUTO in recipe.encode.layers else ())


def plan_for(recipe: Recipe, model: LatentDiffusion) -> RecordingPlan:
    """Plan the recording of features for the recipe's encoding analyses, from the true z and c."""
    names = [name for analysis in analyses_of(recipe, lambda: model) for name in analysis.features]
    return plan_recording(model, names, recipe=recipe.reconstruct, activations=recipe.encode.activations)
