"""Records of a results folder: versions, times and digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from reseen.recipe import Recipe, identity

VERSION_OF = "version of "
"""What the record of a library's version begins with."""
TEST_IMAGES_OF, SCORED_SIZE_OF = "test images of ", "scored size of "
"""What the records begin with of which images a subject's scores are of, and at how many pixels they were scored."""
LIBRARIES = ("reseen", "numpy", "scipy", "scikit-learn", "pillow", "scikit-image", "torch", "diffusers", "transformers")
SECTIONS = {
    "extract": ("model", "extract"),
    "record": ("seed", "model", "extract", "reconstruct"),
    "decode": ("seed", "data", "model", "extract", "decode"),
    "encode": ("seed", "data", "model", "extract", "reconstruct", "encode"),
    "reconstruct": ("seed", "data", "model", "extract", "decode", "reconstruct"),
}
"""What of the recipe each stage's arrays and images depend on, besides the data themselves."""
OTHER_SUBJECTS = "data.subjects"
"""No subject's arrays depend on which other subjects a run has."""
WITHOUT_TRIALS = ("extract", "record")
"""Stages whose arrays are computed from images and captions, and depend on no betas."""


class StageTime(BaseModel):
    """Time of a stage.

    Parameters
    ----------
    seconds
        All that is known of.
    device
        Where it last ran.
    n_lost
        How often a process was killed before it wrote its time; ``seconds`` lacks these parts.
    running
        Whether it runs, or was killed since.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(ge=0, allow_inf_nan=False)
    device: str
    n_lost: int = Field(default=0, ge=0)
    running: bool = False


def started(before: StageTime | None, device: str) -> StageTime:
    """Return the entry of a stage that starts now."""
    known = before or StageTime(seconds=0.0, device=device)
    return StageTime(seconds=known.seconds, device=device, n_lost=known.n_lost + known.running, running=True)


def ended(entry: StageTime, seconds: float | None) -> StageTime | None:
    """Return the entry of a stage that ends now, or ``None`` where it never had anything to do."""
    if seconds is None and entry.seconds == 0 and not entry.n_lost:
        return None
    total = round(entry.seconds + (seconds or 0.0), 3)
    return StageTime(seconds=total, device=entry.device, n_lost=entry.n_lost)


def computed_by(recipe: Recipe, provenance: Mapping[str, str], stage: str, subject: str) -> dict[str, str]:
    """Return what a stage's arrays and images depend on: settings, data, model and versions of libraries."""
    settings = {
        where: value
        for where, value in identity(recipe).items()
        if where.partition(".")[0] in SECTIONS[stage] and where != OTHER_SUBJECTS
    }
    parts = ("images and captions",) if stage in WITHOUT_TRIALS else ("images and captions", "data")
    return {
        "stage": stage,
        "settings": json.dumps(settings, sort_keys=True),
        **{part: provenance.get(f"{part} of {subject}", "") for part in parts},
        "model": provenance.get("model", ""),
        "versions": digest({name: value for name, value in provenance.items() if name.startswith(VERSION_OF)}),
    }


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value, as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that could change a result."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library).partition("+")[0]  # what follows the + is the device it was built for
        except PackageNotFoundError:
            found[library] = "not installed"
    return found
