"""Retrieval: the section on top-1 accuracy in random galleries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reseen.plot import wording
from reseen.tables import BUILTIN, FEATURES

if TYPE_CHECKING:
    import pandas as pd

USUAL = "top1@300"
"""Metric of the usual size of a gallery."""
DECODED = ("decoded", "reconstruction")
"""Names of the decoded side in the table."""
PROTOCOLS = {BUILTIN: "correlation", "mindeye2": "cosine (mindeye2)"}
"""Protocols in the order of the columns, and their similarity."""
DIRECTIONS = ("decoded → presented", "presented → decoded")
Words = tuple[str, str, str]
"""Feature or condition, evaluation network, layer."""
Where = tuple[str, bool]
"""Protocol, and whether the decoded side is the query."""


def retrieval_section(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Return the accuracies of each subject; a row is a feature, or a condition with a network layer.

    Parameters
    ----------
    table
        Columns `reseen.tables.RETRIEVAL_COLUMNS`; None if there is no table.
    """
    if table is None:
        return []
    sections = []
    for subject in table["subject"].unique():
        found = _by_row(table[table["subject"] == subject])
        one = next(iter(next(iter(found.values())).values()))
        columns = [f"{name}, {direction}" for name in PROTOCOLS.values() for direction in DIRECTIONS]
        sections.append(
            {
                "subject": subject,
                "size": _size(one),
                "chance": wording.percent(one["chance"]),
                "clipped": one["metric"] != USUAL,
                "permuted": one["permuted"] == one["permuted"],
                "readings": [
                    _reading(name, cells) for (name, network, _), cells in found.items() if network == FEATURES
                ],
                "columns": columns,
                "rows": [_row(words, cells) for words, cells in found.items()],
            }
        )
    return sections


def _by_row(table: pd.DataFrame) -> dict[Words, dict[Where, Mapping[Any, Any]]]:
    """Return the rows of a table by feature or layer, and then by protocol and direction."""
    found: dict[Words, dict[Where, Mapping[Any, Any]]] = {}
    for row in table.to_dict("records"):
        words = str(row["condition"]), str(row["network"]), str(row["layer"])
        found.setdefault(words, {})[str(row["protocol"]), row["query"] in DECODED] = row
    return found


def _size(row: Mapping[Any, Any]) -> int:
    return int(str(row["metric"]).partition("@")[2])


def _row(words: Words, cells: Mapping[Where, Mapping[Any, Any]]) -> dict[str, Any]:
    """Return one row: what is compared, and value, interval and permuted level of each protocol and direction."""
    condition, network, layer = words
    by = "decoded features" if network == FEATURES else f"{wording.words(network)} {layer}".strip()
    shown = [_cell(cells.get((protocol, decoded))) for protocol in PROTOCOLS for decoded in (True, False)]
    return {"condition": condition, "by": by, "cells": shown}


def _cell(row: Mapping[Any, Any] | None) -> tuple[str, str]:
    """Return a value, and the small print with its interval and the permuted level."""
    if row is None:
        return "–", ""
    known = row["permuted"] == row["permuted"]
    level = f" · permuted {wording.correlation(row['permuted'])}" if known else ""
    low, high = wording.correlation(row["low"]), wording.correlation(row["high"])
    return wording.correlation(row["value"]), f"{low} to {high}{level}"


def _reading(name: str, cells: Mapping[Where, Mapping[Any, Any]]) -> str:
    """Return a sentence about one decoded feature."""
    row = cells[BUILTIN, True]
    low, high = wording.percent(row["low"]), wording.percent(row["high"])
    if row["low"] > row["chance"]:
        judged = "above chance"
    elif row["high"] < row["chance"]:
        judged = "below chance"
    else:
        judged = "not different from chance"
    permuted = ""
    if row["permuted"] == row["permuted"]:
        permuted = f" Decoders that were fitted on permuted labels reach {wording.percent(row['permuted'])}."
    value, chance = wording.percent(row["value"]), wording.percent(row["chance"])
    return (
        f"By its decoded {name}, the presented image is the most similar of {_size(row)} in {value} of cases "
        f"(95{wording.PERCENT} interval {low} to {high}). This is {judged} ({chance}).{permuted}"
    )
