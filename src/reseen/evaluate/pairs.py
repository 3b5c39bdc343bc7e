"""Rows of n-way identification, and of identification among similar images and by category, from one matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from reseen import diagnostics, metrics, statistics
from reseen.diagnostics import Mask
from reseen.evaluate.items import Items, Row, mean_row, row
from reseen.metrics import Floats

CHOICES = (2, 10, 50)
N_NEIGHBOURS = 10

Categories = Mapping[str, Mapping[int, str]]


def n_way_rows(r: Floats, items: Items) -> Iterator[Row]:
    """Identify among 2, 10, 50 and all items."""

    def counts(matrix: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        wins, valid = metrics.pairwise_wins(matrix, labels=items.labels)
        return (valid & (wins == 1)).sum(axis=1), (valid & (wins == 0.5)).sum(axis=1)

    beaten, tied = counts(r)
    permuted = np.array([counts(r[order]) for order in items.orders])  # (n_orders, 2, n_items)
    wrong_beaten, wrong_tied = permuted[:, 0], permuted[:, 1]
    n_distractors = (items.labels[:, None] != items.labels[None, :]).sum(axis=1)
    most = int(n_distractors.min()) + 1
    settings = {str(choices): choices for choices in CHOICES if choices < most or choices == 2}
    for setting, choices in {**settings, "all": most}.items():
        values = diagnostics.n_way(beaten, tied, n_distractors, choices)
        wrong = diagnostics.n_way(wrong_beaten, wrong_tied, n_distractors, choices)
        yield mean_row("n_way", setting, values, items, wrong)


def hard_rows(r: Floats, items: Items, categories: Categories, seed: int) -> Iterator[Row]:
    """Identify each item among those most similar to it, among those of its category, and among those of others."""
    yield from _nearest_rows(r, items)
    wins, _ = metrics.pairwise_wins(r)
    for categorisation, of_stimulus in categories.items():
        names = np.array([of_stimulus.get(int(stimulus), "") for stimulus in items.labels])
        within, between = diagnostics.pairs_by_category(names, items.labels)
        if min(within.any(axis=1).sum(), between.any(axis=1).sum()) < 3:
            continue
        inside = statistics.permutations(items.labels, len(items.orders), seed=seed, groups=names)
        yield _pairs_row(f"within {categorisation}", r, within, items, inside)
        yield _pairs_row(f"between {categorisation}", r, between, items, items.orders)
        fraction = within.sum() / (within.sum() + between.sum())
        alone = diagnostics.from_category_alone(diagnostics.won(wins, between), fraction)
        replicates = diagnostics.from_category_alone(diagnostics.bootstrap_won(wins, between, items.weights), fraction)
        yield row(
            "pairs", f"{categorisation} alone", float(alone), replicates, n=int((within | between).any(axis=1).sum())
        )


def _nearest_rows(r: Floats, items: Items) -> Iterator[Row]:
    similarity = metrics.correlation_matrix(items.true, items.true)
    mask = diagnostics.nearest_neighbours(similarity, N_NEIGHBOURS, items.labels)
    if len(np.unique(items.labels)) > N_NEIGHBOURS + 1:
        yield _pairs_row(f"nearest {N_NEIGHBOURS}", r, mask, items, items.orders)


def _pairs_row(setting: str, r: Floats, pairs: Mask, items: Items, orders: NDArray[np.int64]) -> Row:
    """Return the row of some pairs; where originals are permuted, their distractors are permuted with them."""
    wins, _ = metrics.pairwise_wins(r)
    wrong = []
    for order in orders:
        permuted_wins, _ = metrics.pairwise_wins(r[order])
        wrong.append(diagnostics.won(permuted_wins, pairs[np.ix_(order, order)]))
    replicates = diagnostics.bootstrap_won(wins, pairs, items.weights)
    n = int(pairs.any(axis=1).sum())
    return row("pairs", setting, diagnostics.won(wins, pairs), replicates, np.array(wrong), n=n)
