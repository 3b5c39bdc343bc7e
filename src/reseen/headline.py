"""Headline: the one score that verdict, tables, report, ranking of images and diagnostics are about.

`choose` holds the only rule. It looks at the kind of the stimuli and at the scores that there are:

==================  =================================================================================
stimuli             two-way identification by
==================  =================================================================================
drawn scenes        the built-in networks, which were trained on drawn scenes
plain figures       pixel correlation
all other images    the networks of a published protocol, else a network of the user's own, else the
                    built-in networks, the last two with a caveat
==================  =================================================================================

Where the first choice has no score, the next one in `_ORDER` is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from reseen.tables import BUILTIN, BUILTIN_NETWORKS, FEATURES, PIXELS

if TYPE_CHECKING:
    import pandas as pd

Stimuli = Literal["scenes", "figures", "images"]
"""Kinds of stimuli: drawn scenes of a simulated subject, plain figures, all other images."""
STIMULI_OF = "stimuli of "
"""Name, before a subject's, of the kind of stimuli in the provenance of a results folder."""
PLAIN_COLOURS = 16
"""Most colours that the test images of a subject may have together to be plain figures."""
IDENTIFICATION = "identification"
_JUDGE = "judge"
_ORDER: dict[str, tuple[str, ...]] = {
    "scenes": ("builtin", "own", "published", "pixels"),
    "figures": ("pixels", "published", "own", "builtin"),
    "images": ("published", "own", "builtin", "pixels"),
}


@dataclass(frozen=True)
class Headline:
    """The score that a table of scores is summed up by: two-way identification by one network or by pixels.

    Parameters
    ----------
    protocol, observer, direction
        As in the table.
    layers
        The layer of the headline first, then the layer at the network's other end; one empty name where there are no
        layers.
    why
        The reason for the choice, in a sentence.
    caveat
        What speaks against the choice, in a sentence; empty where nothing does.
    """

    protocol: str
    observer: str
    layers: tuple[str, ...]
    direction: str
    why: str
    caveat: str

    @property
    def layer(self) -> str:
        """Layer of the headline."""
        return self.layers[0]

    @property
    def network(self) -> str:
        """Evaluation network and layer in words, or ``"pixel correlation"``."""
        if self.observer == PIXELS:
            return "pixel correlation"
        return f"{self.observer}, layer {self.layer}" if self.layer else self.observer

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a table that hold this score, of every subject, condition, subset and level."""
        wanted = {
            "protocol": self.protocol,
            "metric": IDENTIFICATION,
            "observer": self.observer,
            "layer": self.layer,
            "direction": self.direction,
        }
        for column, word in wanted.items():
            table = table[table[column].fillna("") == word]
        return table


def choose(scores: pd.DataFrame, stimuli: str = "") -> Headline | None:
    """Choose the headline of a table of scores.

    Parameters
    ----------
    scores
        A table with the columns ``protocol``, ``metric``, ``observer``, ``layer`` and ``direction``.
    stimuli
        One of `Stimuli`; empty where the kind is not known, which counts as ``"images"``.

    Returns
    -------
    None where no image was identified.
    """
    words = ["protocol", "observer", "layer", "direction"]
    identified = scores[(scores["metric"] == IDENTIFICATION) & (scores["observer"] != FEATURES)]
    known = [tuple(map(str, row)) for row in identified[words].fillna("").drop_duplicates().itertuples(index=False)]
    groups: dict[str, list[tuple[str, ...]]] = {"builtin": [], "own": [], "published": [], "pixels": []}
    for row in known:
        groups[_group(protocol=row[0], observer=row[1])].append(row)
    kind = stimuli if stimuli in get_args(Stimuli) else "images"
    chosen = next((name for name in _ORDER[kind] if groups[name]), None)
    if chosen is None:
        return None
    rows = groups[chosen]
    protocol = rows[0][0]
    observers = [row[1] for row in rows if row[0] == protocol]
    observer = _JUDGE if _JUDGE in observers else observers[0]
    mine = [row for row in rows if row[:2] == (protocol, observer)]
    directions = [row[3] for row in mine]
    direction = "original" if "original" in directions else directions[0]
    layers = _ends([row[2] for row in mine if row[3] == direction])
    return Headline(protocol, observer, layers, direction, _why(chosen, kind), _caveat(chosen, kind))


def _group(*, protocol: str, observer: str) -> str:
    """Return which of the groups in `_ORDER` a score belongs to."""
    if observer == PIXELS:
        return "pixels"
    if protocol != BUILTIN:
        return "published"
    return "builtin" if observer in BUILTIN_NETWORKS else "own"


def stimuli_of(provenance: Mapping[str, str], subjects: Sequence[str]) -> str:
    """Return the kind of stimuli of a results folder: that of all subjects, or ``"images"`` where they differ."""
    kinds = {provenance.get(STIMULI_OF + subject, "") for subject in subjects}
    return kinds.pop() if len(kinds) == 1 else "images"


def kind_of(images: NDArray[np.uint8], *, drawn: bool) -> Stimuli:
    """Return the kind of test images ``(n, height, width, 3)``; ``drawn``: they are scenes of a simulated subject."""
    if drawn:
        return "scenes"
    colours: set[int] = set()
    for image in images:
        packed = image.reshape(-1, 3).astype(np.int64) @ np.array([65536, 256, 1])
        colours.update(np.unique(packed).tolist())
        if len(colours) > PLAIN_COLOURS:
            return "images"
    return "figures"


def _ends(layers: Sequence[str]) -> tuple[str, ...]:
    """Return the late and the early layer, or the last and the first where they have other names."""
    if {"late", "early"} <= set(layers):
        return "late", "early"
    return tuple(dict.fromkeys((layers[-1], layers[0])))


def _why(chosen: str, kind: str) -> str:
    if chosen == "pixels":
        reason = "plain figures differ in their pixels" if kind == "figures" else "no network scored the images"
        return f"Identification is by pixel correlation, since {reason}."
    if chosen == "published":
        return "Identification is by a network of a published protocol, which was trained on photographs."
    if chosen == "own":
        return "Identification is by an evaluation network of the user's own."
    return "Identification is by a built-in network, which was trained on drawn scenes of 64 pixels."


def _caveat(chosen: str, kind: str) -> str:
    if chosen == "own":
        return (
            "reseen does not know what this network was trained on: compare its scores with the pixel scores, or add a "
            "published protocol to evaluate.protocols."
        )
    if chosen != "builtin" or kind == "scenes":
        return ""
    return (
        "The built-in network was trained on drawn scenes of 64 pixels, and not on images such as these: it may miss "
        "what distinguishes them. Compare the pixel scores, or add a published protocol to evaluate.protocols."
    )
