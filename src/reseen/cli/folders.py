"""The command that scores pictures: what its help says, and two folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reseen.cli.tables import chance, number
from reseen.cli.terminal import say_table

if TYPE_CHECKING:
    import pandas as pd

EVALUATE = """Score pictures: a recipe's, or anybody's in two folders.

\b
reseen evaluate RECIPE                      run a recipe up to the scores
reseen evaluate --images DIR --truth DIR    score pictures made elsewhere

Folders are joined by file name: what was shown is <id>.png, its reconstructions <id>.png or <id>_<draw>.png. Pictures
that are transparent in places are refused: what is seen behind them is not known. Every score stands beside what wrong
truths score, an interval over pictures, and the p of a permutation test.

The protocol says how pictures are compared: by which networks, at which size, in which direction. Scores of different
protocols are different quantities. A recipe names its own in evaluate.protocols, two folders with --protocol:

\b
builtin             reseen's own observers; needs nothing else
takagi2023          AlexNet, Inception and CLIP, as Takagi & Nishimoto released it
braindiffuser2023   the eight metrics of Brain-Diffuser
mindeye2            the eight metrics of MindEye2

The last three need torchvision and weights that have to be fetched; what is missing is named with the
command that fetches it, and the other scores are printed.
"""


def score_folders(
    images: Path,
    truth: Path,
    protocols: Sequence[str],
    device: str,
    progress: Callable[[str, int, int], None] | None,
    *,
    csv: Path | None,
    json: Path | None,
) -> None:
    """Score two folders, print every score, and write what was asked for: a bad path loses no score."""
    from reseen import pipeline
    from reseen.evaluate import listing
    from reseen.files import write_text
    from reseen.tables import to_csv

    scores = pipeline.evaluate_folders(images, truth, protocols, device=device, progress=progress)
    listed = listing(scores)
    _print_listing(listed)
    for path, text in ((csv, to_csv(scores)), (json, listed.to_json(orient="records", indent=2))):
        if path is not None:
            write_text(path, text)


def _print_listing(listed: pd.DataFrame) -> None:
    """Print every score with its floor, interval and p."""
    from rich.table import Table

    table = Table("protocol", "score", "held fixed", title="Scores beside those of wrong truths")
    for column in ("wrong truths", "result", "95 %", "p", "n"):
        table.add_column(column, justify="right")
    for row in listed.to_dict("records"):
        words = " ".join(str(row[part]) for part in ("metric", "observer", "layer") if row[part])
        interval = f"{number(row['low'])}–{number(row['high'])}"
        numbers = [number(row["floor_repaired"]), number(row["result"]), interval, chance(row["p"])]
        table.add_row(str(row["protocol"]), words, str(row["direction"]), *numbers, str(row["n"]))
    say_table(table)
