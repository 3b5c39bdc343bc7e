"""Diagnostics of reconstructions: n-way identification, similar images, categories, and differences between samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen import diagnostics, metrics, statistics
from reseen.evaluate.items import Items, Row, items_of, mean_row, row, table_of, two_way
from reseen.evaluate.pairs import Categories, hard_rows, n_way_rows
from reseen.metrics import Floats

if TYPE_CHECKING:
    from pandas import DataFrame

    from reseen.recipe import EvaluateRecipe


def diagnose_images(
    subject: str,
    condition: str,
    network: str,
    activations: NDArray[np.float32],
    true_activations: NDArray[np.float32],
    stimulus_id: NDArray[np.int64],
    *,
    categories: Categories,
    recipe: EvaluateRecipe,
    seed: int,
) -> DataFrame:
    """Compute the diagnostics of `diagnose_features` for reconstructions, and the differences between their samples.

    ============ ======================= ==========================================================================
    diagnostic   setting                 value
    ============ ======================= ==========================================================================
    n_way, pairs                         as in `diagnose_features`, correlations averaged over samples
    samples      one                     two-way accuracy of one sample of each image, the mean over samples
    samples      spread                  standard deviation over samples of an image's own accuracy, averaged
    samples      best of <n>             two-way accuracy of that sample of each image that is most like its original
    ============ ======================= ==========================================================================

    The choice of the best sample uses the original. Its ``chance`` is therefore the accuracy of the same choice with
    permuted originals, which is above one half. No other number here is about chosen samples.

    Parameters
    ----------
    subject, condition
        For the table; the ``feature`` is ``"<condition> images"``.
    network
        Name of the network and the layer, see `reseen.headline.Headline.comparison`.
    activations
        Shape ``(n, n_samples, n_features)``: activations of the reconstructions.
    true_activations
        Shape ``(n, n_features)``: activations of the originals.
    stimulus_id
        Shape ``(n,)``.
    categories, recipe, seed
        See `diagnose_features`.

    Returns
    -------
    A table of `DIAGNOSTIC_COLUMNS`; without ``samples`` if there is one sample.
    """
    samples = range(activations.shape[1])
    matrices = np.stack([metrics.correlation_matrix(true_activations, activations[:, k]) for k in samples])
    items = items_of(stimulus_id, true_activations, true_activations, recipe, seed)
    mean = matrices.mean(axis=0)
    rows = [*n_way_rows(mean, items), *hard_rows(mean, items, categories, seed), *_sample_rows(matrices, items)]
    return table_of(subject, f"{condition} images", rows, network)


def _sample_rows(matrices: Floats, items: Items) -> Iterator[Row]:
    if len(matrices) < 2:
        return

    def resampled(r: Floats) -> Floats:
        return metrics.bootstrap_identification(r, items.weights, labels=items.labels)

    def permuted_scores(r: Floats) -> list[float]:
        return [two_way(r[order], items) for order in items.orders]

    each = np.stack([metrics.identification_from_correlations(r, labels=items.labels) for r in matrices])
    replicates = np.mean([resampled(r) for r in matrices], axis=0)
    permuted = np.mean([permuted_scores(r) for r in matrices], axis=0)
    yield row("samples", "one", float(statistics.nan_mean(each).mean()), replicates, permuted, n=len(items))
    yield mean_row("samples", "spread", each.std(axis=0, ddof=1), items)
    best = diagnostics.best_samples(matrices, np.arange(len(items)))
    permuted = np.array([two_way(diagnostics.best_samples(matrices, order), items) for order in items.orders])
    yield row("samples", f"best of {len(matrices)}", two_way(best, items), resampled(best), permuted, n=len(items))
