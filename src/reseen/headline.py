"""Headline: the one score that summarises a table of scores, in tables, reports and rankings.

`choose` contains the only rule. It depends on the category of the stimuli and on the available scores:

==================  =================================================================================
stimuli             two-way identification by
==================  =================================================================================
drawn scenes        the built-in networks, which were trained on drawn scenes
plain figures       pixel correlation
all other images    the networks of a published protocol, or else a network of the user, or else the
                    built-in networks; the last two with a caveat
==================  =================================================================================

If the first choice has no score, the next one in `_ORDER` is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from reseen.conditions import main_condition
from reseen.errors import ShapeError
from reseen.tables import (
    BUILTIN,
    BUILTIN_NETWORKS,
    FEATURES,
    IDENTIFICATION,
    PIXELS,
    first_protocol,
    is_retrieved,
    percent,
)
from reseen.wide import CHANCE, PUBLISHED, wide

if TYPE_CHECKING:
    import pandas as pd

Stimuli = Literal["scenes", "figures", "images"]
"""Categories of stimuli: drawn scenes of a simulated subject, plain figures, all other images."""
STIMULI_OF = "stimuli of "
"""Key of the category of stimuli in the provenance of a results folder; the name of the subject follows."""
PLAIN_COLOURS = 16
"""Test images of a subject that have at most so many colours together are plain figures."""
_CLASSIFIER = "classifier"
_VALUES = ("value", "low", "high", "p", "upper_bound", "gap_closed")
_ORDER: dict[str, tuple[str, ...]] = {
    "scenes": ("builtin", "own", "published", "pixels"),
    "figures": ("pixels", "published", "own", "builtin"),
    "images": ("published", "own", "builtin", "pixels"),
}


@dataclass(frozen=True)
class Headline:
    """Rule for the headline: two-way identification by one network or by pixels.

    Parameters
    ----------
    protocol, network, direction
        As in the table.
    layers
        Layer of the headline, then the layer at the network's other end; one empty name where there are no layers.
    why
        Reason for the choice, in a sentence.
    caveat
        Limit of the choice, in a sentence; empty if there is none.
    """

    protocol: str
    network: str
    layers: tuple[str, ...]
    direction: str
    why: str
    caveat: str

    @property
    def layer(self) -> str:
        """Layer of the headline."""
        return self.layers[0]

    @property
    def comparison(self) -> str:
        """Evaluation network and layer in words, or ``"pixel correlation"``."""
        if self.network == PIXELS:
            return "pixel correlation"
        return f"{self.network}, layer {self.layer}" if self.layer else self.network

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a table with this score, of every subject, condition, subset and level."""
        wanted = {
            "protocol": self.protocol,
            "metric": IDENTIFICATION,
            "network": self.network,
            "layer": self.layer,
            "direction": self.direction,
        }
        for column, word in wanted.items():
            table = table[table[column].fillna("") == word]
        return table


@dataclass(frozen=True, eq=False)
class HeadlineScore:
    """Score that summarises a table of scores, by the rule of `choose`.

    Parameters
    ----------
    rule
        Protocol, evaluation network, layer and direction of the score, and why they were chosen.
    subject, condition
        Subject, or ``"mean of <n> subjects"``, and condition of the reconstructions.
    value, low, high
        Identification accuracy and its 95 % interval: over test images for one subject, over subjects (Student's t)
        for a mean.
    p
        One-sided p of a permutation test; NaN for a mean over subjects.
    n
        Number of test images; 0 where it differs between subjects.
    chance
        Name of each chance level -> its accuracy.
    upper_bound, gap_closed
        Accuracy of reconstructions from the true latents (oracle), and the fraction of the way from chance to oracle
        that the value reaches; NaN where they are not known.
    published
        Published values of the same protocol, layer, number of test images and subjects, in words; empty for none.
    """

    rule: Headline
    subject: str
    condition: str
    value: float
    low: float
    high: float
    p: float
    n: int
    chance: Mapping[str, float]
    upper_bound: float
    gap_closed: float
    published: str = ""

    @property
    def why(self) -> str:
        """Reason for the choice of the score, in a sentence."""
        return self.rule.why

    @property
    def caveat(self) -> str:
        """Limit of the score, in a sentence or two; empty where there is none."""
        return self.rule.caveat

    @property
    def name(self) -> str:
        """Name of the score in words."""
        return f"two-way identification by {self.rule.comparison}"

    @property
    def sentence(self) -> str:
        """The headline in a sentence: value, interval, p, n, chance level and oracle."""
        facts = []
        if math.isfinite(self.low):
            facts.append(f"95 % interval {percent(self.low)} to {percent(self.high)}")
        if math.isfinite(self.p):
            facts.append(f"p = {self.p:.4f}")
        if self.n:
            facts.append(f"n = {self.n}")
        text = f"{self.condition} images are identified in {percent(self.value)} of the pairs by {self.rule.comparison}"
        if facts:
            text += f" ({', '.join(facts)})"
        text += f"; chance level {percent(self.chance.get('mismatched', 0.5))}"
        if math.isfinite(self.upper_bound):
            text += f", oracle {percent(self.upper_bound)}"
        if math.isfinite(self.gap_closed):
            text += f", gap closed {percent(self.gap_closed)}"
        return f"{text}."

    def __repr__(self) -> str:
        facts = [f"{self.value:.3f}"]
        if math.isfinite(self.low):
            facts[0] += f" [{self.low:.3f}, {self.high:.3f}]"
        if math.isfinite(self.p):
            facts.append(f"p = {self.p:.4f}")
        if self.n:
            facts.append(f"n = {self.n} images")
        chance = ", ".join(f"{name} {value:.3f}" for name, value in self.chance.items())
        bound = f"{self.upper_bound:.3f} (oracle)" if math.isfinite(self.upper_bound) else "not computed"
        of = ", ".join(word for word in (self.subject, self.condition) if word)
        lines = [
            f"{of}: {self.name}" if of else self.name,
            ", ".join(facts),
            f"chance levels: {chance or 'not computed'}; upper bound: {bound}",
            self.why,
            self.caveat,
            f"published: {self.published}" if self.published else "",
        ]
        return "\n  ".join(line for line in lines if line)


def headlines(scores: pd.DataFrame, stimuli: str = "", condition: str | None = None) -> list[HeadlineScore]:
    """Return the headline of each subject, and of several subjects that of their mean, which is the last one.

    Parameters
    ----------
    scores
        Tidy table with the columns `reseen.tables.SCORE_COLUMNS`.
    stimuli
        See `choose`.
    condition
        Condition of the reconstructions; left out: ``zc``, or else ``c``, or else the first one.

    Returns
    -------
    Empty if the table has no identification of images.

    Raises
    ------
    ShapeError
        If there is no such condition.
    """
    rule = choose(scores, stimuli)
    if rule is None:
        return []
    known = wide(scores).reset_index()
    rows = rule.rows(known[(known["subset"] == "all") & known["result"].notna()])
    conditions = list(dict.fromkeys(rows["condition"]))
    if not conditions:
        return []
    if condition is None:
        condition = main_condition(name for name in conditions if not is_retrieved(name))
    if condition not in conditions:
        listed = ", ".join(repr(name) for name in conditions)
        raise ShapeError(
            f"there are no scores of the condition {condition!r}; there are {listed}.",
            where="condition",
            expected=tuple(conditions),
            found=condition,
        )
    return [_headline_score(rule, row) for row in rows[rows["condition"] == condition].to_dict("records")]


def _headline_score(rule: Headline, row: Mapping[Any, Any]) -> HeadlineScore:
    chance = {name.removeprefix("chance_"): float(row[name]) for name in CHANCE.values() if row[name] == row[name]}
    return HeadlineScore(
        rule=rule,
        subject=str(row["subject"]),
        condition=str(row["condition"]),
        n=int(row["n"]),
        chance=chance,
        published=str(row[PUBLISHED]),
        **{name: float(row["result" if name == "value" else name]) for name in _VALUES},
    )


def summary(scores: pd.DataFrame, rule: Headline | None) -> pd.DataFrame:
    """Return a summary of the wide table: the headline, its other end, pixel scores and decoded features.

    Parameters
    ----------
    scores
        Tidy table with the columns `reseen.tables.SCORE_COLUMNS`, of any number of subjects.
    rule
        Result of `choose`.

    Returns
    -------
    DataFrame
        Rows of `reseen.wide.wide`, without means over subjects, in the order of subjects, scores, subsets and
        conditions; subsets of the headline alone. Words are columns, and ``score`` names the score.
    """
    import pandas as pd

    known = wide(scores, with_mean=False).reset_index()
    of_features = known["network"] == FEATURES
    protocol = first_protocol(known["protocol"][~of_features]) if rule is None else rule.protocol
    chosen = [("pixcorr", "pixcorr", "", "", ""), ("ssim", "ssim", "", "", "")]
    chosen += [(FEATURES, IDENTIFICATION, FEATURES, "", "original")]
    if rule is not None:
        names = [(f"{rule.network} {layer}".strip(), layer) for layer in rule.layers]
        chosen = [(name, IDENTIFICATION, rule.network, layer, rule.direction) for name, layer in names] + chosen
    parts = []
    for score, *words in chosen:
        is_it = (known[["metric", "network", "layer", "direction"]] == words).all(axis=1)
        is_it &= of_features if score == FEATURES else known["protocol"] == protocol
        is_it &= (known["subset"] == "all") | (rule is not None and score == chosen[0][0])
        parts.append(known[is_it].assign(score=score))
    found = pd.concat(parts)
    order = ["subject", "score", "subset"]
    return found.sort_values(order, key=lambda column: pd.factorize(column)[0], ignore_index=True)


def choose(scores: pd.DataFrame, stimuli: str = "") -> Headline | None:
    """Choose the headline of a table of scores.

    Parameters
    ----------
    scores
        A table with the columns ``protocol``, ``metric``, ``network``, ``layer`` and ``direction``.
    stimuli
        One of `Stimuli`; empty if the category is not known, which counts as ``"images"``.

    Returns
    -------
    None if the table has no identification.
    """
    words = ["protocol", "network", "layer", "direction"]
    identified = scores[(scores["metric"] == IDENTIFICATION) & (scores["network"] != FEATURES)]
    distinct = identified[words].fillna("").astype(str).drop_duplicates()
    known = list(distinct.itertuples(index=False, name=None))
    groups: dict[str, list[tuple[str, ...]]] = {"builtin": [], "own": [], "published": [], "pixels": []}
    for row in known:
        groups[_group(protocol=row[0], network=row[1])].append(row)
    category = stimuli if stimuli in get_args(Stimuli) else "images"
    chosen = next((name for name in _ORDER[category] if groups[name]), None)
    if chosen is None:
        return None
    rows = groups[chosen]
    protocol = rows[0][0]
    networks = [row[1] for row in rows if row[0] == protocol]
    network = _CLASSIFIER if _CLASSIFIER in networks else networks[0]
    mine = [row for row in rows if row[:2] == (protocol, network)]
    directions = [row[3] for row in mine]
    direction = "original" if "original" in directions else directions[0]
    layers = _ends([row[2] for row in mine if row[3] == direction])
    return Headline(protocol, network, layers, direction, _why(chosen, category), _caveat(chosen, category))


def _group(*, protocol: str, network: str) -> str:
    """Return which of the groups in `_ORDER` a score belongs to."""
    if network == PIXELS:
        return "pixels"
    if protocol != BUILTIN:
        return "published"
    return "builtin" if network in BUILTIN_NETWORKS else "own"


def stimuli_of(provenance: Mapping[str, str], subjects: Sequence[str]) -> str:
    """Return the category of stimuli of a results folder: that of all subjects, or ``"images"`` where they differ."""
    categories = {provenance.get(STIMULI_OF + subject, "") for subject in subjects}
    return categories.pop() if len(categories) == 1 else "images"


def stimuli_category(images: NDArray[np.uint8], *, drawn: bool) -> Stimuli:
    """Return the category of test images ``(n, height, width, 3)``; ``drawn``: scenes of a simulated subject."""
    if drawn:
        return "scenes"
    colours: set[int] = set()
    for image in images:
        # red, green and blue as one number
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


def _why(chosen: str, category: str) -> str:
    if chosen == "pixels":
        is_plain = category == "figures"
        reason = "plain figures differ in their pixels" if is_plain else "no network scored the images"
        return f"Identification is by pixel correlation, since {reason}."
    if chosen == "published":
        return "Identification is by a network of a published protocol, which was trained on photographs."
    if chosen == "own":
        return "Identification is by an evaluation network of the user."
    return "Identification is by a built-in network, which was trained on drawn scenes of 64 pixels."


def _caveat(chosen: str, category: str) -> str:
    if chosen == "own":
        return (
            "reseen does not know what this network was trained on: compare its scores with the pixel scores, or add a "
            "published protocol to evaluate.protocols."
        )
    if chosen != "builtin" or category == "scenes":
        return ""
    return (
        "The built-in network was trained on drawn scenes of 64 pixels. On other images it may miss what distinguishes "
        "them: compare the pixel scores, or add a published protocol to evaluate.protocols."
    )
