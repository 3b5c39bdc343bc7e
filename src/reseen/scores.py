"""Scores: the tidy table of scores with its headline, a wide table and a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from reseen import plot, statistics
from reseen.errors import ShapeError
from reseen.files import write_text
from reseen.headline import Headline, Stimuli, choose, stimuli_of
from reseen.published import published_beside
from reseen.results import ResultsFolder
from reseen.tables import (
    GAP_CLOSED,
    NULL_SD,
    P_VALUE,
    PIXELS,
    SCORE_COLUMNS,
    is_retrieved,
    main_condition,
    read_table,
    to_csv,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

WORDS = SCORE_COLUMNS[: SCORE_COLUMNS.index("level")]
"""Columns that say what a score is of; they index `Scores.wide`."""
CHANCE = {
    "floor_repaired": "chance_mismatched",
    "floor_shuffled": "chance_permuted",
    "floor_mean": "chance_mean",
    "floor_noise": "chance_noise",
    "floor_random": "chance_random",
}
"""Levels of the tidy table that are chance levels, and their columns in `Scores.wide`.

The reconstructions paired with other images; decoders fitted on permuted labels; the mean features of the training
stimuli; noise without a caption; the features of a random training stimulus.
"""
_LEVELS = {"result": "result", **CHANCE, "ceiling": "upper_bound"}
_ABOUT = {GAP_CLOSED: "gap_closed", P_VALUE: "p", NULL_SD: "null_sd"}
"""Endings of metrics that are about a score, and their columns."""
NUMBERS = ("result", "low", "high", *CHANCE.values(), "upper_bound", "gap_closed", "p", "n")
"""Columns of numbers of `Scores.wide`."""
PUBLISHED = "published"
"""The last column of `Scores.wide`, in words."""
_STIMULI = "stimuli"  # the last column of a saved file
_SHOWN = 12  # rows that a notebook shows


@dataclass(frozen=True, eq=False)
class HeadlineScore:
    """The one score that sums up a table of scores, by the rule of `reseen.headline.choose`.

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
    upper_bound
        Accuracy of reconstructions from the true latents; NaN where there are none.
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
        if self.rule.observer == PIXELS:
            return "two-way identification by pixel correlation"
        return f"two-way identification by {self.rule.observer}, layer {self.rule.layer}"

    def __repr__(self) -> str:
        interval = f" [{self.low:.3f}, {self.high:.3f}]" if math.isfinite(self.low) else ""
        facts = [f"{self.value:.3f}{interval}"]
        facts += [f"p = {self.p:.4f}"] if math.isfinite(self.p) else []
        facts += [f"n = {self.n} images"] if self.n else []
        chance = ", ".join(f"{name} {value:.3f}" for name, value in self.chance.items())
        bound = f"{self.upper_bound:.3f} (oracle)" if math.isfinite(self.upper_bound) else "not computed"
        of = ", ".join(word for word in (self.subject, self.condition) if word)
        lines = [
            f"{of}: {self.name}" if of else self.name,
            f"  {', '.join(facts)}",
            f"  chance levels: {chance or 'not computed'}; upper bound: {bound}",
            f"  {self.why}",
            f"  {self.caveat}",
            f"  {self.published and 'published: ' + self.published}",
        ]
        return "\n".join(line for line in lines if line.strip())


@dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """Scores of reconstructions: a tidy table in which each row is one number.

    Two objects are equal only if they are the same object.

    Parameters
    ----------
    table
        Table with the columns `reseen.tables.SCORE_COLUMNS`, of one subject or several.
    each
        Score of each test image by itself, with the columns `reseen.tables.PICTURE_COLUMNS`; ``None`` if not known.
    stimuli
        Category of the stimuli, which decides about the headline (`reseen.headline.choose`): ``"scenes"``,
        ``"figures"`` or ``"images"``; empty counts as ``"images"``.

    Raises
    ------
    ShapeError
        If the table has no rows, lacks a column or has a score twice, or there is no such category of stimuli.

    Examples
    --------
    >>> import numpy as np, reseen
    >>> rng = np.random.default_rng(0)
    >>> originals = rng.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    >>> noise = rng.integers(0, 256, originals.shape, dtype=np.uint8)
    >>> scores = reseen.score({"zc": originals // 2 + noise // 2, "z": noise}, originals, networks="judge")
    >>> scores.wide().query("metric == 'pixcorr'")["result"].round(1).tolist()
    [0.7, 0.0]
    >>> scores.save("scores.csv")
    >>> reseen.Scores.read("scores.csv").headline("z").n
    20
    """

    table: pd.DataFrame
    each: pd.DataFrame | None = None
    stimuli: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        missing = [name for name in SCORE_COLUMNS if name not in self.table.columns]
        if missing:
            raise ShapeError(f"the table of scores has no column {missing[0]!r}; it needs {', '.join(SCORE_COLUMNS)}.")
        if not len(self.table):
            raise ShapeError("the table of scores has no rows.")
        if self.stimuli not in ("", *get_args(Stimuli)):
            raise ShapeError(f"stimuli: expected one of {', '.join(get_args(Stimuli))}; found {self.stimuli!r}.")
        table = self.table[list(SCORE_COLUMNS)].fillna(dict.fromkeys((*WORDS, "level"), ""))
        twice = table[table.duplicated([*WORDS, "level"])]
        if len(twice):
            of = ", ".join(str(twice.iloc[0][word]) for word in (*WORDS, "level"))
            raise ShapeError(f"the table of scores has two rows of one score: {of}. Remove one of them.")
        object.__setattr__(self, "table", table.reset_index(drop=True))

    @classmethod
    def read(cls, path: Path | str) -> Scores:
        """Read scores from a CSV file that `save` wrote, from a ``scores.csv``, or from a results folder.

        Raises
        ------
        ResultsError
            If the file or the folder cannot be read, is damaged or has no scores.
        """
        path = Path(path)
        if path.is_dir():
            results = ResultsFolder.read(path)
            stimuli = stimuli_of(results.provenance, results.recipe.data.subjects)
            return cls(results.load_table("scores"), results.load_table("pictures"), stimuli=stimuli)
        table = read_table(path)
        found = table[_STIMULI].iloc[0] if _STIMULI in table else ""
        return cls(table, stimuli=found if isinstance(found, str) else "")

    def save(self, path: Path | str) -> None:
        """Write the tidy table and the category of the stimuli as CSV; the scores of each image are not written.

        Raises
        ------
        ResultsError
            If the file cannot be written.
        """
        write_text(Path(path), to_csv(self.table.assign(**{_STIMULI: self.stimuli})))

    def wide(self) -> pd.DataFrame:
        """Return one row for each score, with its interval, chance levels and upper bound in columns.

        The index is `WORDS`: subject, condition, protocol, metric, observer, layer, direction and subset. The columns
        are `NUMBERS`, and `PUBLISHED` with the published values of the same protocol, metric, layer, number of test
        images and subjects (`reseen.published`).

        Of several subjects the mean follows in rows of the subject ``"mean of <n> subjects"``; there, ``low`` and
        ``high`` are the 95 % interval over subjects (Student's t), there is no ``p``, and ``n`` is 0 where it differs
        between subjects.
        """
        import pandas as pd

        table = self.table
        column = table["level"].map(_LEVELS)
        metric = table["metric"]
        for ending, name in _ABOUT.items():
            is_about = metric.str.endswith(ending)
            column = column.mask(is_about, name)
            metric = metric.where(~is_about, metric.str.removesuffix(ending))
        known = table.assign(metric=metric, column=column).dropna(subset="column")
        values = known.pivot(index=list(WORDS), columns="column", values="value")
        intervals = known[known["column"] == "result"].set_index(list(WORDS))[["low", "high"]]
        counts = known.groupby(list(WORDS))["n"].max()
        order = pd.MultiIndex.from_frame(known[list(WORDS)].drop_duplicates())
        wide = values.join(intervals).join(counts).reindex(order).reindex(columns=list(NUMBERS))
        mean = _mean_over_subjects(wide)
        wide = wide if mean is None else pd.concat([wide, mean])
        return wide.assign(**{PUBLISHED: _published(wide)})

    def headline(self, condition: str | None = None) -> HeadlineScore | None:
        """Return the score that sums up the table, by the rule of `reseen.headline.choose`.

        Parameters
        ----------
        condition
            Condition of the reconstructions; left out: ``zc``, or else ``c``, or else the first one.

        Returns
        -------
        The score with its chance levels and upper bound, which prints itself; of several subjects their mean. ``None``
        where no image was identified.

        Raises
        ------
        ShapeError
            If there is no such condition.
        """
        rule = choose(self.table, self.stimuli)
        if rule is None:
            return None
        wide = self.wide().reset_index()
        rows = rule.rows(wide[wide["subset"] == "all"])
        conditions = list(dict.fromkeys(rows["condition"]))
        if condition is None:
            condition = main_condition(name for name in conditions if not is_retrieved(name))
        if condition not in conditions:
            known = ", ".join(repr(name) for name in conditions)
            raise ShapeError(f"there are no scores of the condition {condition!r}; there are {known}.")
        row = rows[rows["condition"] == condition].iloc[-1]  # the mean is the last one
        chance = {name.removeprefix("chance_"): float(row[name]) for name in CHANCE.values() if row[name] == row[name]}
        low, high, p = (float(row[name]) for name in ("low", "high", "p"))
        return HeadlineScore(
            rule=rule,
            subject=str(row["subject"]),
            condition=condition,
            value=float(row["result"]),
            low=low,
            high=high,
            p=p,
            n=int(row["n"]),
            chance=chance,
            upper_bound=float(row["upper_bound"]),
            published=str(row[PUBLISHED]),
        )

    def plot(self) -> Figure:
        """Draw the scores between chance level and upper bound; see `reseen.plot.scores`."""
        return plot.scores(self)

    def __repr__(self) -> str:
        words = {name: [word for word in dict.fromkeys(self.table[name]) if word] for name in WORDS[:3]}
        parts = [f"{name}{'s' * (len(names) > 1)} {', '.join(names)}" for name, names in words.items() if names]
        head = self.headline()
        lines = [f"Scores of {'; '.join(parts) or 'one condition'}", *repr(head).splitlines()]
        return "\n".join(lines[: 1 if head is None else 6])

    def _repr_html_(self) -> str:
        """Return a small table for notebooks: the headline of each condition, and the pixel scores."""
        rule, wide = choose(self.table, self.stimuli), self.wide().reset_index()
        wide = wide[wide["subset"] == "all"]
        is_shown = wide["metric"].isin(("pixcorr", "ssim"))
        if rule is not None:
            is_shown |= wide.index.isin(rule.rows(wide).index)
        columns = ["subject", "condition", "protocol", "metric", "observer", "layer"]
        numbers = ["result", "low", "high", "chance_mismatched", "chance_permuted", "upper_bound", "p", "n"]
        published = [PUBLISHED] if wide[is_shown][PUBLISHED].any() else []
        small = wide[is_shown][columns + numbers + published].dropna(axis=1, how="all")
        html: str = small.to_html(index=False, max_rows=_SHOWN, na_rep="", float_format="{:.3f}".format)
        note = f"<p>{rule.why} {rule.caveat}</p>" if rule is not None else ""
        return html + note


def _mean_over_subjects(wide: pd.DataFrame) -> pd.DataFrame | None:
    """Return the mean rows of all scores that every subject has; ``None`` for one subject."""
    import pandas as pd

    subjects = _subjects(wide)
    if len(subjects) < 2:
        return None
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    averaged = [name for name in NUMBERS if name not in ("low", "high", "p", "n")]
    for key, group in wide.groupby(list(WORDS[1:]), sort=False):
        if len(group) < len(subjects):
            continue
        low, high = statistics.t_interval(group["result"].to_numpy(np.float64))
        counts = group["n"].unique()
        row = {name: float(group[name].mean(skipna=False)) for name in averaged}
        n = int(counts[0]) if len(counts) == 1 else 0
        rows[(_mean_of(subjects), *key)] = {**row, "low": low, "high": high, "p": math.nan, "n": n}
    if not rows:
        return None
    index = pd.MultiIndex.from_tuples(list(rows), names=list(WORDS))
    return pd.DataFrame(list(rows.values()), index=index, columns=list(NUMBERS))


def _published(wide: pd.DataFrame) -> list[str]:
    """Return the published values beside each row, in words."""
    subjects = _subjects(wide)
    found = []
    for key, n in zip(wide.index, wide["n"], strict=True):
        of = dict(zip(WORDS, key, strict=True))
        averaged = subjects if of["subject"] == _mean_of(subjects) else [of["subject"]]
        words = {name: of[name] for name in ("condition", "protocol", "metric", "observer", "layer")}
        values = published_beside(**words, n=int(n), subjects=averaged) if of["subset"] == "all" else []
        found.append("; ".join(map(str, values)))
    return found


def _subjects(wide: pd.DataFrame) -> list[str]:
    """Return the subjects of a wide table, without their mean."""
    subjects = list(dict.fromkeys(wide.index.get_level_values("subject")))
    return subjects[:-1] if len(subjects) > 2 and subjects[-1] == _mean_of(subjects[:-1]) else subjects


def _mean_of(subjects: Sequence[str]) -> str:
    return f"mean of {len(subjects)} subjects"
