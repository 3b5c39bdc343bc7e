"""Published values: scores of other systems, with protocol, number of test images, subjects and source.

A published value is shown next to a result only if protocol, metric, network, layer, number of test images and
subjects are the same. The test images themselves may still differ.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from reseen.errors import ResultsError
from reseen.files import read_text

_FILE = Path(__file__).with_suffix(".csv")


@dataclass(frozen=True)
class Published:
    """Published value of one score.

    Parameters
    ----------
    system
        Name of the system.
    condition
        Condition of the reconstructions (``z``, ``c``, ``zc``); empty where the system has no such conditions.
    protocol, metric, network, layer
        As in a table of scores; ``protocol`` is empty where it is not known.
    value
        The value: a proportion for identification, and a mean over ``subjects``.
    n
        Number of test images; 0 where it is not known.
    subjects
        Subjects that the value is a mean over.
    checked
        Whether value, protocol and layer are from a table, a paper's text or released code; if not, the value is shown
        as unverified.
    source
        Source of the value, in words.
    """

    system: str
    condition: str
    protocol: str
    metric: str
    network: str
    layer: str
    value: float
    n: int
    subjects: tuple[str, ...]
    checked: bool
    source: str

    def __str__(self) -> str:
        return f"{self.system} {self.value:.3f}{'' if self.checked else ' (unverified)'}"


@cache
def published_values() -> tuple[Published, ...]:
    """Return all published values that come with reseen.

    Raises
    ------
    ResultsError
        If the file is missing or damaged; install reseen again.
    """
    rows = list(csv.DictReader(io.StringIO(read_text(_FILE, ResultsError))))
    try:
        return tuple(_published(row) for row in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{_FILE} is damaged ({error}). Install reseen again.", where=_FILE) from error


def published_of(score: Mapping[Any, Any], subjects: Collection[str]) -> list[Published]:
    """Return the published values that a score may be compared with.

    Parameters
    ----------
    score
        Row of `reseen.wide.wide` with its words and ``n``; scores of a subset of the images have none.
    subjects
        Subjects that the score is a mean over.
    """
    if score["subset"] != "all":
        return []
    found = []
    for value in published_values():
        same = all(getattr(value, name) == score[name] for name in ("protocol", "metric", "network", "layer", "n"))
        if same and set(value.subjects) == set(subjects) and value.condition in ("", score["condition"]):
            found.append(value)
    return found


def _published(row: dict[str, str]) -> Published:
    return Published(
        **{name: row[name] for name in ("system", "condition", "protocol", "metric", "network", "layer", "source")},
        value=float(row["value"]),
        n=int(row["n"] or 0),
        subjects=tuple(row["subjects"].split()),
        checked={"true": True, "false": False}[row["checked"]],
    )
