"""Opening: the decoders and the model of a finished run, with the settings of the fast sampler."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from reseen.applied import choose_conditions, generates_grey, load_model_of, uncertainty_of
from reseen.conditions import features_of
from reseen.decode import Decoder
from reseen.decode.new_trials import ScalingRule
from reseen.errors import RecipeError
from reseen.ldm.stable import StableDiffusion
from reseen.live.decoding import LiveDecoder
from reseen.recipe import ReconstructRecipe
from reseen.results import ResultsFolder

ROWS = 2
"""Rows that run together on a CPU: one image, with and without its conditioning."""


def fast_recipe(recipe: ReconstructRecipe, n_steps: int) -> ReconstructRecipe:
    """Return settings that make live images fast: one sample of DPM-Solver++ in few steps.

    ``noise_index = "fixed"`` adds as much noise as 50 steps do, whatever their number.

    Raises
    ------
    RecipeError
        If no step is left to denoise.
    """
    if n_steps * recipe.strength < 1:
        fewest = math.ceil(1 / recipe.strength)
        raise RecipeError(
            f"{n_steps} steps with strength {recipe.strength:g} leave no step to denoise. Take {fewest} or more.",
            where="n_steps",
            expected=fewest,
            found=n_steps,
        )
    return recipe.model_copy(update={"sampler": "dpmpp", "n_steps": n_steps, "noise_index": "fixed", "n_samples": 1})


def choose_condition(results: ResultsFolder, condition: str | None) -> str:
    """Return the condition of live images: the one that is named, or that of the headline."""
    return choose_conditions(results, None if condition is None else [condition])[0]


def open_decoder(
    results: ResultsFolder,
    decoders: Mapping[str, Sequence[Decoder]],
    subject: str,
    *,
    condition: str,
    scaling: ScalingRule,
    n_steps: int,
    images: bool,
    device: str,
) -> LiveDecoder:
    """Return a `LiveDecoder` of a finished run; see `reseen.Results.live`."""
    recipe = fast_recipe(results.recipe.reconstruct, n_steps)
    used = {name: decoders[name] for name in features_of(condition)}
    model = load_model_of(results, device) if images else None
    if isinstance(model, StableDiffusion) and model.batching.small:  # a big model runs row by row already
        model.batching.at_once = ROWS
    return LiveDecoder(
        used,
        condition=condition,
        scaling=scaling,
        model=model,
        recipe=recipe,
        seed=results.recipe.seed,
        subject=subject,
        sd=uncertainty_of(used),
        as_grey=generates_grey(results, subject),
    )
