"""Diagnosis: is decoding image-specific, or category-level? A table of checks."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reseen.checks import count_statuses
from reseen.errors import ShapeError
from reseen.evaluate import diagnose_features, run_checks
from reseen.recipe import EvaluateRecipe

if TYPE_CHECKING:
    import pandas as pd

    from reseen.features import Features
    from reseen.split import Split

_SHOWN = 5  # sentences that are printed


@dataclass(frozen=True, eq=False, repr=False)
class Diagnostics:
    """Diagnostics of decoded features, or of a run.

    Parameters
    ----------
    table
        All numbers, with the columns of `reseen.tables.DIAGNOSTIC_COLUMNS`; docs/scores.md explains each.
    checks
        Value, chance level, threshold, status (``"pass"``, ``"warn"`` or ``"fail"``) and sentence of each check, with
        the columns of `reseen.checks.CHECK_COLUMNS`; `reseen.checks.CHECKS` lists the checks.
    """

    table: pd.DataFrame
    checks: pd.DataFrame

    def __repr__(self) -> str:
        shown = self.checks[self.checks["status"] != "pass"].sort_values("status", kind="stable")  # fail before warn
        shown = self.checks if shown.empty else shown
        features = ", ".join(self.table["feature"].unique())
        lines = [f"Diagnostics of {features}: {count_statuses(self.checks['status'])}"]
        lines += [f"{row.status}: {row.sentence}" for row in shown.head(_SHOWN).itertuples()]
        return "\n  ".join(lines)

    def _repr_html_(self) -> str:
        """Return the checks as a table for notebooks."""
        names = ["subject"] if self.checks["subject"].nunique() > 1 else []
        shown = self.checks[[*names, "status", "check", "sentence"]]
        return f"<p>{html.escape(count_statuses(self.checks['status']))}</p>{shown.to_html(index=False)}"


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
    """Check whether decoded features of held-out stimuli are image-specific or only category-level.

    Parameters
    ----------
    decoded
        Decoded feature of the held-out items.
    true
        The same feature of the training and the test stimuli, as the model extracts it.
    split
        Training and test stimuli of the decoder.
    categories
        Categorisations of the images, each ``stimulus_id -> category``, such as `Stimuli.categories`.
    subject
        Name, for the table.
    seed, n_bootstrap
        Seed, and number of resamplings for each interval.

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
    >>> found.checks.set_index("check").loc["training images", "status"]
    'pass'
    """
    if decoded.array.shape[1:] != true.array.shape[1:]:
        raise ShapeError(
            f"decoded features have shape {decoded.array.shape[1:]}; the true ones {true.array.shape[1:]}.",
            where="decoded",
            expected=true.array.shape[1:],
            found=decoded.array.shape[1:],
        )
    recipe = EvaluateRecipe().model_copy(update={"n_bootstrap": n_bootstrap})
    known = categories or {}
    table = diagnose_features(subject, decoded, true, split.folds, categories=known, recipe=recipe, seed=seed)
    return Diagnostics(table, run_checks(None, table))
