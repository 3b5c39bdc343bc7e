"""Records of a results folder: its recipe, versions, times and digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from reseen.errors import ResultsError
from reseen.files.reading import shown
from reseen.files.shell import shell_line
from reseen.recipe import Recipe, differences, identity, list_differences, load_recipe

VERSION_OF = "version of "
"""Prefix of the records of library versions."""
TEST_IMAGES_OF, SCORED_SIZE_OF = "test images of ", "scored size of "
"""Prefixes of the records of a subject's test images, and of the size in pixels at which images are scored."""
GREY_OF = "grey images of "
"""Start of the record of whether a subject's images are written in grey."""
LIBRARIES = ("reseen", "numpy", "scipy", "scikit-learn", "pillow", "scikit-image", "torch", "diffusers", "transformers")
SECTIONS = {
    "extract": ("model", "extract"),
    "record": ("seed", "model", "extract", "reconstruct"),
    "decode": ("seed", "data", "model", "extract", "decode"),
    "encode": ("seed", "data", "model", "extract", "reconstruct", "encode"),
    "reconstruct": ("seed", "data", "model", "extract", "decode", "reconstruct"),
}
"""Sections of the recipe that each stage's arrays and images depend on."""
OTHER_SUBJECTS = "data.subjects"
"""Key that no array depends on: arrays of a subject are independent of the other subjects of a run."""
WITHOUT_TRIALS = ("extract", "record")
"""Stages whose arrays depend on images and captions, and not on betas."""


class StageTime(BaseModel):
    """Time of a stage.

    Parameters
    ----------
    seconds
        Recorded time, summed over runs.
    device
        Device of the last run.
    n_lost
        Number of processes that were killed before they recorded their time, which ``seconds`` lacks.
    running
        Whether it runs, or was killed in its last run.
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
    """Return the entry of a stage that ends now, or None if it never computed anything."""
    if seconds is None and entry.seconds == 0 and not entry.n_lost:
        return None
    total = round(entry.seconds + (seconds or 0.0), 3)
    return StageTime(seconds=total, device=entry.device, n_lost=entry.n_lost)


def started_recipe(path: Path, recipe: Recipe) -> Recipe | None:
    """Return the recipe that a results folder was started with, or None for a new folder.

    Raises
    ------
    ResultsError
        If ``recipe`` is another one, or the folder has results and no recipe.
    """
    file = path / "recipe.toml"
    if not file.is_file():
        if (path / "provenance.json").is_file():
            raise ResultsError(
                f"{shown(path)} has results, and no recipe.toml. Put it back, or choose another folder with --out.",
                where=file,
            )
        return None
    started = load_recipe(file)
    differ = differences(recipe, started)
    if differ:
        raise ResultsError(
            f"{shown(path)} has results of another recipe. Expected are the folder's values, found are those of this "
            f"command:\n{list_differences(differ)}\nChoose another folder with --out, or continue with the folder's "
            f"own recipe: {shell_line('reseen', 'run', file, '--out', path)}",
            where=path,
            expected={where: values[0] for where, values in differ.items()},
            found={where: values[1] for where, values in differ.items()},
        )
    return started


def computed_by(recipe: Recipe, provenance: Mapping[str, str], stage: str, subject: str) -> dict[str, str]:
    """Return the settings, data, model and library versions that a stage's arrays and images depend on."""
    values = identity(recipe)
    values.pop(OTHER_SUBJECTS, None)
    settings = {where: value for where, value in values.items() if where.partition(".")[0] in SECTIONS[stage]}
    versions = {name: value for name, value in provenance.items() if name.startswith(VERSION_OF)}
    parts = ("images and captions",) if stage in WITHOUT_TRIALS else ("images and captions", "data")
    return {
        "stage": stage,
        "settings": json.dumps(settings, sort_keys=True),
        **{part: provenance.get(f"{part} of {subject}", "") for part in parts},
        "model": provenance.get("model", ""),
        "versions": digest(versions),
    }


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value, as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that could change a result."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library).partition("+")[0]  # torch appends the device of its build: 2.9.0+cpu
        except PackageNotFoundError:
            found[library] = "not installed"
    return found
