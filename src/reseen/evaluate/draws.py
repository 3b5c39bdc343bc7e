"""What pictures show of a decoder, among hard distractors and from draw to draw, as one observer sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen import diagnostics, metrics, statistics
from reseen.evaluate.items import Items, Row, items_of, mean_row, row, table_of
from reseen.evaluate.pairs import Categories, hard_rows, n_way_rows
from reseen.metrics import Floats

if TYPE_CHECKING:
    from pandas import DataFrame

    from reseen.recipe import EvaluateRecipe


def evaluate_draws(
    subject: str,
    condition: str,
    seen: NDArray[np.float32],
    truth_seen: NDArray[np.float32],
    stimulus_id: NDArray[np.int64],
    *,
    categories: Categories,
    recipe: EvaluateRecipe,
    seed: int,
) -> DataFrame:
    """Compute the diagnostics of `evaluate_reading` for images, and the differences between their samples.

    ============ ======================= ==========================================================================
    diagnostic   setting                 value
    ============ ======================= ==========================================================================
    n_way, pairs                         as in `evaluate_reading`, correlations averaged over draws
    draws        one                     two-way with one draw of each picture, the mean over draws
    draws        spread                  standard deviation over draws of a picture's own two-way score, averaged
    draws        best of <n>             two-way with that draw of each picture that is most like its truth
    ============ ======================= ==========================================================================

    Whoever picks the best draw by the truth has looked at it: ``null`` is what picking gets from wrong truths, which
    lies above one half. No other number here is of picked draws.

    Parameters
    ----------
    subject, condition
        For the table; the ``feature`` is ``"<condition> pictures"``.
    seen
        Shape ``(n, n_draws, n_features)``: what the observer sees in the pictures.
    truth_seen
        Shape ``(n, n_features)``: what it sees in what was shown.
    stimulus_id
        Shape ``(n,)``.
    categories, recipe, seed
        See `evaluate_reading`.

    Returns
    -------
    A table of `READING_COLUMNS`; without ``draws`` where there is one draw.
    """
    matrices = np.stack([metrics.correlation_matrix(truth_seen, seen[:, draw]) for draw in range(seen.shape[1])])
    items = items_of(stimulus_id, truth_seen, truth_seen, recipe, seed)
    mean = matrices.mean(axis=0)
    rows = [*n_way_rows(mean, items), *hard_rows(mean, items, categories, seed), *_draw_rows(matrices, items)]
    return table_of(subject, pictures_of(condition), rows)


def pictures_of(condition: str) -> str:
    """Name what is compared where pictures of a condition are: ``zc pictures``."""
    return f"{condition} pictures"


def _draw_rows(matrices: Floats, items: Items) -> Iterator[Row]:
    if len(matrices) < 2:
        return

    def scored(r: Floats) -> Floats:
        return metrics.identification_from_correlations(r, labels=items.labels)

    def resampled(r: Floats) -> Floats:
        return metrics.bootstrap_identification(r, items.weights, labels=items.labels)

    def score(r: Floats) -> float:
        return float(statistics.nan_mean(scored(r)))

    each = np.stack([scored(r) for r in matrices])
    replicates = np.mean([resampled(r) for r in matrices], axis=0)
    wrong = np.array([np.mean([score(r[order]) for r in matrices]) for order in items.orders])
    yield row("draws", "one", float(statistics.nan_mean(each).mean()), replicates, wrong, n=len(items))
    yield mean_row("draws", "spread", each.std(axis=0, ddof=1), items)
    best = diagnostics.best_draws(matrices, np.arange(len(items)))
    wrong = np.array([score(diagnostics.best_draws(matrices, order)) for order in items.orders])
    yield row("draws", f"best of {len(matrices)}", score(best), resampled(best), wrong, n=len(items))
