"""reseen: reconstruct what a person saw from their fMRI, with a frozen latent diffusion model.

The nouns and the doors are here; the verbs are modules: ``from reseen import decode, extract, reconstruct``.
Names load when they are first used, so that ``import reseen`` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reseen import plot
    from reseen.datasets import load as load_data
    from reseen.diffusion import denoise
    from reseen.errors import ReseenError
    from reseen.features import Features
    from reseen.ldm import LatentDiffusion, load_ldm
    from reseen.observers import load_observer
    from reseen.pipeline import run
    from reseen.recipe import Recipe, load_recipe
    from reseen.results import Results
    from reseen.ridge import RidgeMap, fit_ridge
    from reseen.scores import Scores
    from reseen.scoring import score
    from reseen.stimuli import Stimuli
    from reseen.trials import Split, Trials

_WHERE = {
    "Features": ("features", "Features"),
    "LatentDiffusion": ("ldm", "LatentDiffusion"),
    "Recipe": ("recipe", "Recipe"),
    "ReseenError": ("errors", "ReseenError"),
    "Results": ("results", "Results"),
    "RidgeMap": ("ridge", "RidgeMap"),
    "Scores": ("scores", "Scores"),
    "Split": ("trials", "Split"),
    "Stimuli": ("stimuli", "Stimuli"),
    "Trials": ("trials", "Trials"),
    "denoise": ("diffusion", "denoise"),
    "fit_ridge": ("ridge", "fit_ridge"),
    "load_data": ("datasets", "load"),
    "load_ldm": ("ldm", "load_ldm"),
    "load_observer": ("observers", "load_observer"),
    "load_recipe": ("recipe", "load_recipe"),
    "plot": ("plot", ""),
    "run": ("pipeline", "run"),
    "score": ("scoring", "score"),
}

__all__ = [
    "Features",
    "LatentDiffusion",
    "Recipe",
    "ReseenError",
    "Results",
    "RidgeMap",
    "Scores",
    "Split",
    "Stimuli",
    "Trials",
    "denoise",
    "fit_ridge",
    "load_data",
    "load_ldm",
    "load_observer",
    "load_recipe",
    "plot",
    "run",
    "score",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'reseen' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    loaded = import_module(f"reseen.{module}")
    value = getattr(loaded, attribute) if attribute else loaded  # without an attribute the module itself
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
