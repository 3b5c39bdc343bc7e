"""Scores: the tidy table of scores with its headline, a wide table and a figure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from reseen import plot
from reseen.errors import ShapeError
from reseen.files import write_text
from reseen.headline import HeadlineScore, Stimuli, choose, headlines, stimuli_of
from reseen.results import ResultsFolder
from reseen.tables import SCORE_COLUMNS, read_table, to_csv
from reseen.wide import PUBLISHED, WORDS, wide

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_STIMULI = "stimuli"  # the last column of a saved file
_SHOWN = 12  # rows that a notebook shows


@dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """Scores of reconstructions: a tidy table in which each row is one number.

    Two objects are equal only if they are the same object.

    Parameters
    ----------
    table
        Table with the columns `reseen.tables.SCORE_COLUMNS`, of one subject or several.
    each
        Score of each test image by itself, with the columns `reseen.tables.IMAGE_COLUMNS`; ``None`` if not known.
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
    >>> scores = reseen.score({"zc": originals // 2 + noise // 2, "z": noise}, originals, networks="classifier")
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
            message = f"the table of scores has no column {missing[0]!r}; it needs {', '.join(SCORE_COLUMNS)}."
            raise ShapeError(message, where="table", expected=missing[0], found=tuple(self.table.columns))
        if not len(self.table):
            raise ShapeError("the table of scores has no rows.", where="table", found=0)
        if self.stimuli not in ("", *get_args(Stimuli)):
            message = f"stimuli: expected one of {', '.join(get_args(Stimuli))}; found {self.stimuli!r}."
            raise ShapeError(message, where="stimuli", expected=get_args(Stimuli), found=self.stimuli)
        table = self.table[list(SCORE_COLUMNS)].fillna(dict.fromkeys((*WORDS, "level"), ""))
        twice = table[table.duplicated([*WORDS, "level"])]
        if len(twice):
            words = tuple(twice.iloc[0][[*WORDS, "level"]])
            message = f"the table of scores has two rows of one score: {', '.join(words)}. Remove one of them."
            raise ShapeError(message, where="table", found=words)
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
            return cls(results.load_table("scores"), results.load_table("images"), stimuli=stimuli)
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

        The index is subject, condition, protocol, metric, network, layer, direction and subset; `reseen.wide.wide`
        lists the columns. Of several subjects the mean follows in rows of the subject ``"mean of <n> subjects"``, with
        its 95 % interval over subjects (Student's t).
        """
        return wide(self.table)

    def headline(self, condition: str | None = None) -> HeadlineScore | None:
        """Return the score that summarises the table, by the rule of `reseen.headline.choose`.

        Parameters
        ----------
        condition
            Condition of the reconstructions; left out: ``zc``, or else ``c``, or else the first one.

        Returns
        -------
        The score with its chance levels and upper bound; of several subjects their mean. ``None`` if the table has no
        identification of images.

        Raises
        ------
        ShapeError
            If there is no such condition.
        """
        found = headlines(self.table, self.stimuli, condition)
        return found[-1] if found else None

    def plot(self) -> Figure:
        """Draw the scores between chance level and upper bound; see `reseen.plot.scores`."""
        return plot.scores(self)

    def __repr__(self) -> str:
        parts = []
        for name in WORDS[:3]:
            words = [word for word in self.table[name].unique() if word]
            if words:
                parts.append(f"{name}{'s' * (len(words) > 1)} {', '.join(words)}")
        head = self.headline()
        lines = [f"Scores of {'; '.join(parts) or 'one condition'}", *repr(head).splitlines()]
        return "\n".join(lines[: 1 if head is None else 6])

    def _repr_html_(self) -> str:
        """Return a small table for notebooks: the headline of each condition, and the pixel scores."""
        rule, known = choose(self.table, self.stimuli), self.wide().reset_index()
        known = known[known["subset"] == "all"]
        is_shown = known["metric"].isin(("pixcorr", "ssim"))
        if rule is not None:
            is_shown |= known.index.isin(rule.rows(known).index)
        columns = ["subject", "condition", "protocol", "metric", "network", "layer"]
        numbers = ["result", "low", "high", "chance_mismatched", "chance_permuted", "upper_bound", "p", "n"]
        published = [PUBLISHED] if known[is_shown][PUBLISHED].any() else []
        small = known[is_shown][columns + numbers + published].dropna(axis=1, how="all")
        html: str = small.to_html(index=False, max_rows=_SHOWN, na_rep="", float_format="{:.3f}".format)
        note = f"<p>{rule.why} {rule.caveat}</p>" if rule is not None else ""
        return html + note
