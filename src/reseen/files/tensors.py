"""Read and describe safetensors files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reseen.errors import ResultsError


def as_metadata(made_by: Mapping[str, str]) -> dict[str, str]:
    """Give what made an array as safetensors metadata: one entry, since the order of several is not fixed."""
    return {"made_by": json.dumps(made_by, sort_keys=True)}


@contextmanager
def opening_tensors(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """Open a safetensors file to read from, and tell what made it (see `as_metadata`).

    Raises
    ------
    ResultsError
        If it is not there or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            made_by: dict[str, str] = json.loads((file.metadata() or {}).get("made_by", "{}"))
            yield file, made_by
    except (OSError, SafetensorError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> ResultsError:
    """Give the error of a file of a results folder that cannot be read."""
    return ResultsError(f"cannot read {path}: {str(error).strip()}. Delete it and run the recipe again.")
