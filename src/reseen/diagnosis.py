"""Diagnosis: is decoding specific to the image, or does it know the category alone? A table of checks."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reseen.errors import ShapeError
from reseen.evaluate import diagnose_features
from reseen.evaluate.guessing import said_of_reading
from reseen.recipe import EvaluateRecipe

if TYPE_CHECKING:
    import pandas as pd

    from reseen.features import Features
    from reseen.trials import Split

PASS, WARN = 3.0, 2.0
"""Null standard deviations above chance from which a check passes, and from which it warns instead of failing."""
COLUMNS = ("feature", "check", "setting", "value", "low", "high", "chance", "threshold", "result", "n", "sentence")
"""Columns of `Diagnostics.checks`."""
_ABOUT = {
    "n_way": "identification among {setting} test images",
    "pairs": "two-way identification, {setting}",
    "zero_shot": "identification among the test image and all training images, {setting}",
    "left_out": "two-way identification, {setting} left out of the training",
    "bottleneck": "two-way identification by {setting} leading dimensions",
}


@dataclass(frozen=True, eq=False, repr=False)
class Diagnostics:
    """Diagnostics of decoded features.

    Parameters
    ----------
    table
        Every number, with the columns of `reseen.tables.DIAGNOSTIC_COLUMNS`; docs/scores.md explains each.
    checks
        The numbers that chance is known of, with the columns `COLUMNS`: ``result`` is ``"pass"`` from 3 null standard
        deviations above chance, ``"warn"`` from 2, else ``"fail"``; ``threshold`` is where it would pass.
    summary
        What the numbers show together, in sentences.
    """

    table: pd.DataFrame
    checks: pd.DataFrame
    summary: tuple[str, ...]

    def __repr__(self) -> str:
        counts = self.checks["result"].value_counts()
        said = ", ".join(f"{int(counts.get(result, 0))} {result}" for result in ("pass", "warn", "fail"))
        lines = [f"Diagnostics of {', '.join(self.table['feature'].unique())}: {len(self.checks)} checks, {said}"]
        return "\n  ".join([*lines, *self.summary[:4]])

    def _repr_html_(self) -> str:
        """Return the checks as a table for notebooks."""
        shown = self.checks[["feature", "check", "setting", "value", "chance", "result"]]
        said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in self.summary)
        return f"{shown.to_html(index=False, float_format='{:.3f}'.format)}<ul>{said}</ul>"


def diagnose(
    decoded: Features,
    true: Features,
    split: Split,
    *,
    categories: Mapping[str, Mapping[int, str]] | None = None,
    subject: str = "",
    seed: int = 0,
    n_bootstrap: int = 1000,
) -> Diagnostics:
    """Check whether a decoder knows images or only their category, by what it decodes for held-out stimuli.

    Parameters
    ----------
    decoded
        Decoded feature of the held-out items.
    true
        The same feature of the training and the test stimuli, as the model extracts it.
    split
        Training and test stimuli of the decoder.
    categories
        Ways to sort the images, each ``stimulus_id -> category``, such as `Stimuli.categories`.
    subject
        Name, for the table.
    seed, n_bootstrap
        Seed, and number of resamplings behind each interval.

    Raises
    ------
    ShapeError
        If features have different shapes, a stimulus has no true feature, or there are fewer than three test stimuli.

    Examples
    --------
    >>> import numpy as np
    >>> from reseen import Features, Split
    >>> rng = np.random.default_rng(0)
    >>> z = Features("z", rng.normal(size=(60, 30)).astype(np.float32), np.arange(60))
    >>> noise = 2 * rng.normal(size=(20, 30)).astype(np.float32)
    >>> decoded = Features("z", z.array[40:] + noise, np.arange(40, 60))
    >>> found = diagnose(decoded, z, Split.fixed(range(40), range(40, 60)), n_bootstrap=50)
    >>> found.checks.set_index(["check", "setting"]).loc[("n_way", "2"), "result"]
    'pass'
    """
    if decoded.array.shape[1:] != true.array.shape[1:]:
        raise ShapeError(
            f"decoded features have shape {decoded.array.shape[1:]}; the true ones {true.array.shape[1:]}."
        )
    recipe = EvaluateRecipe().model_copy(update={"n_bootstrap": n_bootstrap})
    table = diagnose_features(
        subject, decoded, true, split.folds, categories=categories or {}, recipe=recipe, seed=seed
    )
    sentences = [sentence for said in said_of_reading(table).values() for sentence in said]
    return Diagnostics(table, _checks(table), tuple(sentences))


def _checks(table: pd.DataFrame) -> pd.DataFrame:
    """Judge each number whose chance level and spread at chance are known."""
    import pandas as pd

    known = table[table["chance_sd"] > 0]
    rows = []
    for row in known.to_dict("records"):
        chance, sd, value = float(row["chance"]), float(row["chance_sd"]), float(row["value"])
        above = (value - chance) / sd
        result = "fail"
        if above >= WARN:
            result = "pass" if above >= PASS else "warn"
        feature, check, setting = (str(row[name]) for name in ("feature", "diagnostic", "setting"))
        rows.append(
            {
                "feature": feature,
                "check": check,
                "setting": setting,
                "value": value,
                "low": row["low"],
                "high": row["high"],
                "chance": chance,
                "threshold": chance + PASS * sd,
                "result": result,
                "n": row["n"],
                "sentence": _sentence(feature, check, setting, value, chance, result),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _sentence(feature: str, check: str, setting: str, value: float, chance: float, result: str) -> str:
    about = _ABOUT.get(check, f"{check}, {{setting}}").format(setting=setting)
    above = {"pass": "above chance", "warn": "perhaps above chance", "fail": "not above chance"}[result]
    return f"Decoded {feature}: {about} is {value:.3f}, {above} ({chance:.3f})."
