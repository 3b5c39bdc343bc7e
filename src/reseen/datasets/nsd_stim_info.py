"""Read NSD's table of images: COCO sources, and the images that all subjects share."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.nsd_facts import NsdFiles
from reseen.datasets.volumes import reading
from reseen.errors import DataError
from reseen.files import file_state, read_text

_TRUE_OR_FALSE = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_N_NAMED = 5
"""Maximum number of ids in a message."""


@dataclass(frozen=True)
class StimInfo:
    """Content of the table, by 0-based stimulus id.

    Parameters
    ----------
    sources
        ``(split, COCO id)`` of each image.
    shared
        Ids of the images whose ``shared1000`` is true, ascending; None if the table has no such column.
    """

    sources: Sequence[tuple[str, int]]
    shared: NDArray[np.int64] | None


def read_stim_info(files: NsdFiles, n_images: int) -> StimInfo:
    """Read the table; an unchanged table is read once.

    Raises
    ------
    DataError
        If the table is missing, damaged or has other images.
    """
    path = files.stim_info
    found = _read_table(path, file_state(path))
    if sorted(found) != list(range(n_images)):
        raise DataError(
            f"{path} describes {len(found)} images; {files.stimuli} holds {n_images} (nsdId 0 to {n_images - 1}). "
            "The two files belong to different data sets, or one is truncated."
        )
    rows = [found[i] for i in range(n_images)]
    flags = [is_shared for _, _, is_shared in rows]
    shared = None if None in flags else np.flatnonzero(np.array(flags, dtype=bool))
    return StimInfo([(split, coco_id) for split, coco_id, _ in rows], shared)


def check_shared_images(files: NsdFiles, n_images: int, shared: NDArray[np.int64]) -> None:
    """Compare ``shared1000`` of the table with ``sharedix`` of the design; if one is missing, nothing is compared.

    Parameters
    ----------
    files
        Paths of the subject's files.
    n_images
        Number of images in the tree.
    shared
        Ids of the design's shared images, 0-based.

    Raises
    ------
    DataError
        If the two differ, or if the table is damaged.
    """
    if not files.stim_info.exists():
        return  # only captions need it; their reader raises the error
    table = read_stim_info(files, n_images).shared
    if table is None:
        return
    differ = np.setxor1d(table, shared)
    if len(differ):
        more = f" and {len(differ) - _N_NAMED} more" if len(differ) > _N_NAMED else ""
        raise DataError(
            f"{files.stim_info} marks {len(table)} images as shared1000, and sharedix of {files.design} has "
            f"{len(shared)}: they differ in nsdId {', '.join(map(str, differ[:_N_NAMED]))}{more} (counted from 0). "
            "Fetch both files again."
        )


@lru_cache(maxsize=1)
def _read_table(path: Path, _state: tuple[int, ...]) -> dict[int, tuple[str, int, bool | None]]:
    """Return split, COCO id and ``shared1000`` of each image; ``_state`` changes when the file does."""
    names = ("nsdId", "cocoSplit", "cocoId")
    text = read_text(path)
    with reading(path):
        rows = csv.reader(text.splitlines())
        head = next(rows, [])
        missing = [name for name in names if name not in head]
        if missing:
            raise DataError(f"{path} has no column {missing[0]}; {', '.join(names)} are needed. Fetch it again.")
        number, split, coco_id = map(head.index, names)
        flag = head.index("shared1000") if "shared1000" in head else None
        return {
            int(row[number]): (row[split], int(row[coco_id]), None if flag is None else _is_true(path, row[flag]))
            for row in rows
            if len(row) == len(head)
        }


def _is_true(path: Path, word: str) -> bool:
    if word.lower() not in _TRUE_OR_FALSE:
        raise DataError(f"{path}: shared1000 holds {word[:20]!r}; True or False is expected. Fetch it again.")
    return _TRUE_OR_FALSE[word.lower()]
