"""Exact ridge regression from many voxels to very many targets, with a penalty for each target.

`factor` does everything that knows nothing of targets; `fit_block` fits a block of targets with it. A block's map is
the same bytes whether it is fitted alone or among others, here or on another worker of the same kind, and
`target_blocks` cuts the blocks by a rule that knows nothing of workers. `fit_ridge` is both in one call.

The targets belong to stimuli and the rows to trials: repeated trials share one row of targets, which is never copied.
Targets may lie on disk (a memory map, a zarr array): a block of columns is read when its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from reseen.errors import ShapeError
from reseen.ridge.blocks import BLOCK_BYTES, BlockScores, fit_block, score_block, shared_alpha, target_blocks
from reseen.ridge.cores import side_by_side
from reseen.ridge.device import Float32, Float64
from reseen.ridge.factored import Factored, ScoreOn, factor
from reseen.ridge.folds import grid_ends, warn_at_edge
from reseen.ridge.maps import RidgeMap

PER_TARGET = ("weights", "intercept", "alpha", "cv_score", "noise_share")  # of a map; targets are the last axis
T = TypeVar("T")


class Targets(Protocol):
    """Protocol of a table of targets, ``(n_stimuli, n_targets)``, whose columns can be sliced, such as zarr."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n_stimuli, n_targets)``."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return ``targets[:, block]``."""


def fit_ridge(
    betas: ArrayLike,
    targets: ArrayLike | Targets,
    *,
    target_row: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    alphas: Sequence[float] | None = None,
    n_folds: int = 5,
    share_alpha: bool = False,
    score_on: ScoreOn = "trials",
    intercept: bool = True,
    seed: int = 0,
    device: str = "numpy",
) -> RidgeMap:
    """Fit a ridge regression with the best penalty for each target.

    Parameters
    ----------
    betas
        Shape ``(n_trials, n_voxels)``. Standardised inside; the means and scales become part of the map.
    targets
        Shape ``(n_stimuli, n_targets)``: an array, or anything whose columns can be sliced; read block by block.
    target_row
        Shape ``(n_trials,)``: which row of ``targets`` each trial belongs to; left out: the i-th.
    groups
        Shape ``(n_trials,)``: trials of one group are never on both sides of a fold. Left out: consecutive rows make
        the folds, which lets repetitions of a stimulus leak.
    alphas
        Grid of penalties; left out: `default_alphas`.
    n_folds
        Folds that choose the penalty by held-out squared error; the larger penalty wins a tie.
    share_alpha
        Choose one penalty for all targets together, by their summed squared error. Better where a few dozen stimuli are
        too few to tell targets apart; targets should then share a unit.
    score_on
        Whether the squared error is that of held-out ``"trials"``, or of ``"stimuli"``: of predictions averaged over
        the held-out repetitions of a stimulus, each stimulus counting once. Averages forgive noise: they choose
        smaller penalties, right for a map that will predict from averages.
    intercept
        False fits no mean of the targets and does not centre within folds, like the script that Takagi and Nishimoto
        released (``make_pipeline(StandardScaler(), RidgeCV(alphas))`` of himalaya).
    seed
        Decides which groups share a fold.
    device
        Where to calculate: ``"numpy"``, or torch's name of a device (``"cpu"``, ``"cuda"``).

    Raises
    ------
    ShapeError
        If arrays do not fit each other, or there is too little to fit or to hold out.
    DataError
        If a number is not finite, a penalty not positive, or there is no such device.

    Warns
    -----
    EdgeWarning
        If many targets choose an edge of the grid that a further step could improve on.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> betas = rng.normal(size=(50, 20))
    >>> targets = betas @ rng.normal(size=(20, 3)) + rng.normal(size=(50, 3))
    >>> fitted = fit_ridge(betas[:40], targets[:40], groups=np.arange(40))
    >>> predicted = fitted.predict(betas[40:])
    >>> predicted.shape, bool(np.corrcoef(predicted[:, 0], targets[40:, 0])[0, 1] > 0.8)
    ((10, 3), True)
    """
    table = as_targets(targets)
    factored = factor(
        betas,
        (table.shape[0], table.shape[1]),
        target_row=target_row,
        groups=groups,
        alphas=alphas,
        n_folds=n_folds,
        score_on=score_on,
        intercept=intercept,
        seed=seed,
        device=device,
    )
    return assemble(table.shape[1], fit_blocks(factored, table, share_alpha=share_alpha))


def fit_blocks(
    factored: Factored, targets: ArrayLike | Targets, *, share_alpha: bool = False
) -> Iterator[tuple[slice, RidgeMap]]:
    """Fit block after block, and keep none: yield each block's columns and its map.

    Targets are read twice where a penalty is shared: once to choose it, once to fit. A few blocks are fitted ahead;
    BLAS has one thread while they are, and as many as before once they are done.

    Warns
    -----
    EdgeWarning
        After the last block, if many targets chose an edge of the grid.
    """
    return _each_block(factored, as_targets(targets), share_alpha, lambda fitted: fitted)


def _each_block(
    factored: Factored, table: Targets, share_alpha: bool, use: Callable[[RidgeMap], T]
) -> Iterator[tuple[slice, T]]:
    """Fit block after block, and give what is made of each map; it is made side by side too."""
    blocks = target_blocks(factored, table.shape[1])
    scores: list[BlockScores | None] = [None] * len(blocks)
    alpha, chosen = None, []
    with side_by_side(factored.device) as cores:
        if share_alpha:
            known = list(cores.map(partial(score_block, factored), (table[:, block] for block in blocks)))
            alpha, scores = shared_alpha(factored, known), [*known]

        def fit(work: tuple[Any, BlockScores | None]) -> tuple[Float64, T]:
            fitted = fit_block(factored, work[0], scores=work[1], alpha=alpha)
            return varying_alphas(fitted), use(fitted)

        read = ((table[:, block], score) for block, score in zip(blocks, scores, strict=True))
        for block, (alphas, made) in zip(blocks, cores.map(fit, read, item_bytes=BLOCK_BYTES), strict=True):
            chosen.append(alphas)
            yield block, made
    warn_at_edge(np.concatenate(chosen), factored.alphas, grid_ends(factored.whole.eigenvalues))


def predict_blocks(
    factored: Factored,
    targets: ArrayLike | Targets,
    betas: ArrayLike,
    *,
    n_repetitions: ArrayLike | None = None,
    share_alpha: bool = False,
) -> Iterator[tuple[slice, Float32]]:
    """Predict some rows block after block, and keep no weights: memory does not grow with the number of targets.

    Parameters
    ----------
    betas, n_repetitions
        As in `RidgeMap.predict`, whose numbers these are.

    Yields
    ------
    block, predictions
        The columns, and their predictions, ``(n_rows, n_block)``.
    """
    rows = partial(RidgeMap.predict, betas=betas, n_repetitions=n_repetitions)
    return _each_block(factored, as_targets(targets), share_alpha, rows)


def assemble(n_targets: int, blocks: Iterable[tuple[slice, RidgeMap]]) -> RidgeMap:
    """Put maps of blocks together, in whatever order they come; each may be let go once it is copied.

    Raises
    ------
    ShapeError
        If there is no block.
    """
    whole = None
    for block, part in blocks:
        whole = add_block(whole, n_targets, block, part)
    if whole is None:
        raise ShapeError(f"a map of {n_targets} targets needs the maps of its blocks; there is none.")
    return whole


def add_block(whole: RidgeMap | None, n_targets: int, block: slice, part: RidgeMap) -> RidgeMap:
    """Copy the map of a block into the map of all targets, and give that; None, before the first block, makes it."""
    own = {name: value for name in PER_TARGET if (value := getattr(part, name)) is not None}
    if whole is None:
        if len(part.alpha) == n_targets:
            return part
        whole = replace(part, **{name: np.empty((*of.shape[:-1], n_targets), of.dtype) for name, of in own.items()})
    for name, value in own.items():
        getattr(whole, name)[..., block] = value
    return whole


def varying_alphas(fitted: RidgeMap) -> Float64:
    """Return the penalties of targets that vary and were chosen on held-out trials; the others had no choice."""
    if fitted.cv_score is None:
        return np.empty(0)
    return fitted.alpha[fitted.cv_score.any(axis=0)]


def as_targets(targets: ArrayLike | Targets) -> Targets:
    """Take targets as they are where their columns can be sliced, else as an array.

    Raises
    ------
    ShapeError
        If they are not two-dimensional, or there is none.
    """
    table: Any = targets if hasattr(targets, "shape") else np.asarray(targets)
    if len(table.shape) != 2:
        raise ShapeError(f"targets must be two-dimensional, (n_stimuli, n_targets); they have shape {table.shape}.")
    if not table.shape[1]:
        raise ShapeError(f"there is no target to fit; targets have shape {table.shape}.")
    kept: Targets = table
    return kept
