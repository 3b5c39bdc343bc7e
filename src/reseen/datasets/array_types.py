"""Check the types of saved arrays; values are never converted if that would change them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import DataError
from reseen.files.reading import shown, unreadable

MISSING = frozenset({"", "nan", "NaN", "NAN", "None", "<NA>", "NaT", "null", "NULL", "NA", "N/A"})
"""Texts that mark a missing cell of a table."""
_EXACT = 2**53  # integers up to here are exact as float64


def integers(path: Path, name: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return integers as int64; floats are accepted if all are integers.

    Raises
    ------
    DataError
        If the shape differs, or a value is not an integer, not finite or out of range.
    """
    needed = (
        f"{shown(path)}: {name} has shape {values.shape} and type {values.dtype}; integers of shape {shape} are needed."
    )
    if values.shape != shape or values.dtype.kind not in "iuf":
        raise DataError(needed)
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and np.all(np.abs(values) <= _EXACT)):
        raise DataError(f"{needed} Some are NaN, infinite or too large.")
    if values.dtype.kind == "u" and values.size and int(values.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{needed} Some are too large.")
    found = values.astype(np.int64)
    if not np.array_equal(found, values):
        raise DataError(needed)
    return found


def labels(path: Path, name: str, values: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Return labels of trials as integers; text labels are numbered in alphabetical order, from 0.

    Raises
    ------
    DataError
        If the number of labels is not the number of trials, or a label is missing.
    """
    if values.dtype.kind not in "US":
        return integers(path, name, values, (n,))
    if values.shape != (n,):
        raise DataError(f"{shown(path)}: {name} has shape {values.shape}; one label for each of {n} trials is needed.")
    words = texts(path, name, values)
    if "" in words:
        raise DataError(f"{shown(path)}: {name} has no label for trial {words.index('')}. Give each trial one.")
    return np.unique(np.array(words), return_inverse=True)[1].astype(np.int64)


def mask(path: Path, name: str, values: NDArray[Any], n_voxels: int) -> NDArray[np.bool_]:
    """Return a mask over voxels; its values are bool, or exactly 0 or 1.

    Raises
    ------
    DataError
        If the shape or a value differs, as in a volume of labels, an interpolated mask or with NaN.
    """
    if values.shape != (n_voxels,):
        raise DataError(f"{shown(path)}: {name} has shape {values.shape}; the voxels of betas need {(n_voxels,)}.")
    if values.dtype.kind not in "biuf":
        raise DataError(f"{shown(path)}: {name} has type {values.dtype}; a mask is bool, or 0 and 1.")
    found = np.unique(values)
    if not np.isin(found, (0, 1)).all():
        some = ", ".join(f"{value:g}" for value in found[:4])
        raise DataError(
            f"{shown(path)}: {name} has {len(found)} different values ({some}{', ...' if len(found) > 4 else ''}); a "
            "mask is bool, or 0 and 1. Of a volume of labels save one mask for each area, such as labels == 3."
        )
    return values.astype(bool)


def numbers(
    path: Path, name: str, values: NDArray[Any], shape: tuple[int, ...], *, at_least: float = -np.inf
) -> NDArray[np.float32]:
    """Return real, finite numbers as float32.

    Raises
    ------
    DataError
        If shape or type differ, or a value is NaN, infinite, beyond float32 or below ``at_least``.
    """
    if values.shape != shape:
        raise DataError(f"{shown(path)}: {name} has shape {values.shape}; {shape} is needed.")
    if values.dtype.kind not in "fiu":
        raise DataError(f"{shown(path)}: {name} has type {values.dtype}; real numbers are needed.")
    with np.errstate(over="ignore"):
        real = values.astype(np.float32)
    wrong = ~(np.isfinite(real) & (real >= at_least))
    if wrong.any():
        needed = "finite numbers" if at_least == -np.inf else f"finite numbers of {at_least:g} or more"
        raise DataError(f"{shown(path)}: {name} contains {int(wrong.sum())} values that are not {needed}.")
    return real


def texts(path: Path, name: str, values: NDArray[Any]) -> list[str]:
    """Return the texts of a one-dimensional array; bytes are UTF-8, and missing cells become empty texts.

    Raises
    ------
    DataError
        If the array is not text.
    """
    if values.dtype.kind not in "US":
        raise DataError(
            f"{shown(path)}: {name} has type {values.dtype}; text is needed. Save the words, not numbers of words."
        )
    try:
        words = [word.decode("utf-8") if isinstance(word, bytes) else str(word) for word in values]
    except UnicodeDecodeError as error:
        raise DataError(
            f"{shown(path)}: {name} contains bytes that are not UTF-8 ({error.reason}). Decode them and save text."
        ) from error
    except SystemError as error:  # numpy raises it for numbers that are not Unicode characters
        raise unreadable(path, error) from error
    return ["" if word.strip() in MISSING else word for word in words]
