"""reseen: reconstruct seen images from fMRI, with a frozen latent diffusion model.

``import reseen`` is the only import that a notebook needs: load data and a model, decode, reconstruct and score.
Names load when they are first used, so that ``import reseen`` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reseen import plot
    from reseen.datasets import load_arrays, load_data, load_nsd, open_subject
    from reseen.decode import Decoder
    from reseen.diagnosis import Diagnostics, diagnose
    from reseen.diffusion import denoise
    from reseen.encode import Encoder
    from reseen.errors import ReseenError
    from reseen.evaluate import score_captions
    from reseen.features import Features
    from reseen.finished import Results
    from reseen.ldm import LatentDiffusion, load_model
    from reseen.ldm.captioner import load_captioner
    from reseen.ldm.denoised_features import extract_features
    from reseen.pipeline import run
    from reseen.recipe import Recipe, load_recipe
    from reseen.reconstruction import reconstruct
    from reseen.ridge import RidgeMap, fit_ridge
    from reseen.scores import Scores
    from reseen.scoring import score
    from reseen.split import Split
    from reseen.stimuli import Stimuli
    from reseen.subject import Subject
    from reseen.trials import Trials

__version__ = "0.1.0"
"""Version of reseen: the package, the command line and the built distribution read it here."""

_WHERE = {
    "Alignment": ("decode.alignment", "Alignment"),
    "Decoder": ("decode", "Decoder"),
    "Diagnostics": ("diagnosis", "Diagnostics"),
    "Encoder": ("encode", "Encoder"),
    "Features": ("features", "Features"),
    "LatentDiffusion": ("ldm", "LatentDiffusion"),
    "Recipe": ("recipe", "Recipe"),
    "ReseenError": ("errors", "ReseenError"),
    "Results": ("finished", "Results"),
    "RidgeMap": ("ridge", "RidgeMap"),
    "Scores": ("scores", "Scores"),
    "Split": ("split", "Split"),
    "Stimuli": ("stimuli", "Stimuli"),
    "Subject": ("subject", "Subject"),
    "Trials": ("trials", "Trials"),
    "align": ("decode.alignment", "align"),
    "alignment_stimuli": ("decode.alignment_levels", "alignment_stimuli"),
    "compare_alignment": ("decode.alignment_levels", "compare_alignment"),
    "denoise": ("diffusion", "denoise"),
    "diagnose": ("diagnosis", "diagnose"),
    "extract_features": ("ldm.denoised_features", "extract_features"),
    "fit_ridge": ("ridge", "fit_ridge"),
    "load_arrays": ("datasets", "load_arrays"),
    "load_captioner": ("ldm.captioner", "load_captioner"),
    "load_data": ("datasets", "load_data"),
    "load_model": ("ldm", "load_model"),
    "load_nsd": ("datasets", "load_nsd"),
    "load_recipe": ("recipe", "load_recipe"),
    "open_subject": ("datasets", "open_subject"),
    "plot": ("plot", ""),
    "reconstruct": ("reconstruction", "reconstruct"),
    "run": ("pipeline", "run"),
    "score": ("scoring", "score"),
    "score_captions": ("evaluate", "score_captions"),
}

__all__ = [
    "Alignment",
    "Decoder",
    "Diagnostics",
    "Encoder",
    "Features",
    "LatentDiffusion",
    "Recipe",
    "ReseenError",
    "Results",
    "RidgeMap",
    "Scores",
    "Split",
    "Stimuli",
    "Subject",
    "Trials",
    "align",
    "alignment_stimuli",
    "compare_alignment",
    "denoise",
    "diagnose",
    "extract_features",
    "fit_ridge",
    "load_arrays",
    "load_captioner",
    "load_data",
    "load_model",
    "load_nsd",
    "load_recipe",
    "open_subject",
    "plot",
    "reconstruct",
    "run",
    "score",
    "score_captions",
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
