"""Exact ridge regression from many voxels to very many targets, with a penalty for each target.

`factor` does everything that knows nothing of targets; `fit_block` fits a block of targets with it. A block's map is the
same bytes whether it is fitted alone or among others, here or on another worker of the same kind, and `target_blocks` cuts the
blocks by a rule that knows nothing of workers. `fit_ridge` is both in one call.

The targets belong to stimuli and the rows to trials: repeated trials share one row of targets, which is never copied.
Targets may lie on disk (a memory map, a zarr array): a block of columns is read when its turn comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import DataError, ShapeError
from reseen.ridge.device import Array, Device, Float32, Float64, Integers
from reseen.ridge.folds import assign_folds, check_alphas, default_alphas, warn_at_edge
from reseen.ridge.gram import Decomposition, Rows, check_finite, decompose, prepare
from reseen.ridge.heldout import ByPrediction, ByStimulus, HeldOut, Scoring, Sides, cheaper_by_stimulus
from reseen.ridge.maps import RidgeMap

BLOCK_VALUES = 2**22  # numbers in one block of targets or weights, 16 MiB

Form = Literal["auto", "stimulus", "prediction"]
ScoreOn = Literal["trials", "stimuli"]


class Targets(Protocol):
    """Be a table of targets, ``(n_stimuli, n_targets)``, whose columns can be sliced: an array, a memory map, zarr."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Give ``(n_stimuli, n_targets)``."""

    def __getitem__(self, key: Any, /) -> Any:
        """Give ``targets[:, block]``."""


@dataclass(frozen=True)
class Factored:
    """Hold a ridge problem before it has seen a target: what `fit_block` needs, and no betas.

    Parameters
    ----------
    used, share
        Shape ``(n_used,)``: the rows of targets that have trials, and their share of the trials.
    n_rows, n_repeated
        How many trials there are, and how many held-out ones repeat a stimulus of their fold.
    voxel_mean, voxel_scale
        Shape ``(n_voxels,)``, as in `RidgeMap`.
    whole
        The decomposition of all rows.
    alphas
        Shape ``(n_alphas,)``, ascending.
    held_out
        How held-out trials are scored; ``None`` where nothing is held out.
    intercept, device
        As in `factor`.
    """

    used: Integers
    share: Float64
    n_rows: int
    n_repeated: int
    voxel_mean: Float32
    voxel_scale: Float32
    whole: Decomposition
    alphas: Float64
    held_out: HeldOut | None
    intercept: bool
    device: Device


@dataclass(frozen=True)
class BlockScores:
    """Hold how well held-out trials of a block of targets were predicted.

    Parameters
    ----------
    error
        Shape ``(n_alphas, n_targets)``: squared error over all held-out rows; 0 for a target that does not vary.
    total
        Shape ``(n_targets,)``: squared distance from the training mean of the fold; 0 for a target that does not vary.
    """

    error: Float64
    total: Float64


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
        Whether the squared error is that of held-out ``"trials"``, or of ``"stimuli"``: of predictions averaged over the
        held-out repetitions of a stimulus, each stimulus counting once. Averages forgive noise: they choose smaller
        penalties, right for a map that will predict from averages.
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
    return assemble(factored, table.shape[1], fit_blocks(factored, table, share_alpha=share_alpha))


def factor(
    betas: ArrayLike,
    targets_shape: tuple[int, int],
    *,
    target_row: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    alphas: Sequence[float] | None = None,
    n_folds: int = 5,
    score_on: ScoreOn = "trials",
    intercept: bool = True,
    seed: int = 0,
    device: str = "numpy",
    form: Form = "auto",
) -> Factored:
    """Do everything of `fit_ridge` that needs no targets, once for all of them.

    Parameters
    ----------
    targets_shape
        ``(n_stimuli, n_targets)`` of all targets together. Their number decides which form is cheaper.
    form
        Score held-out trials by ``"prediction"``, by quadratic forms of the ``"stimulus"``, or, ``"auto"``, by whichever takes
        fewer products. The Gram matrix is that of voxels or of trials, whichever are fewer.

    The other parameters, and what is raised, are those of `fit_ridge`.
    """
    data = prepare(betas, target_row, targets_shape[0], intercept=intercept, device=Device(device))
    whole = decompose(data, np.zeros(data.n_rows, dtype=bool))
    grid = default_alphas(whole.eigenvalues) if alphas is None else check_alphas(alphas)
    fold = _folds(data, groups, grid, n_folds, seed)
    held_out, n_repeated = None, 0
    if fold is not None:
        sides = [Sides.of(data.stimulus, fold == k, data.n_stimuli) for k in np.unique(fold)]
        n_repeated = sum(int((side.count - 1).sum()) for side in sides)
        scoring = Scoring(grid, score_on == "trials", intercept, n_repeated > 0, data.device)
        held_out = _held_out(data, fold, sides, scoring, form, len(whole.eigenvalues), targets_shape[1])
    return Factored(
        used=data.used,
        share=np.bincount(data.stimulus) / data.n_rows,
        n_rows=data.n_rows,
        n_repeated=n_repeated,
        voxel_mean=data.voxel_mean,
        voxel_scale=data.voxel_scale,
        whole=whole,
        alphas=grid,
        held_out=held_out,
        intercept=intercept,
        device=data.device,
    )


def target_blocks(factored: Factored, n_targets: int) -> list[slice]:
    """Cut targets into blocks, by the shape of the problem alone: a block is read, fitted and let go."""
    width = max(1, BLOCK_VALUES // max(len(factored.used), len(factored.voxel_mean)))
    return [slice(start, min(start + width, n_targets)) for start in range(0, n_targets, width)]


def fit_block(
    factored: Factored, targets: ArrayLike, *, scores: BlockScores | None = None, alpha: float | None = None
) -> RidgeMap:
    """Fit one block of targets; the same bytes whatever else is fitted, and where.

    The bytes are those of one number of threads and one library of matrix products.

    Parameters
    ----------
    targets
        Shape ``(n_stimuli, n_block)``: ``targets[:, block]``, a block of `target_blocks`.
    scores
        What `score_block` gave for them; left out: calculated.
    alpha
        One penalty of the grid for the whole block, as `shared_alpha` gives it; left out: the best for each target.

    Raises
    ------
    ShapeError
        If targets have too few rows.
    DataError
        If a number is not finite, or alpha is not of the grid.
    """
    centred, mean = _centred(factored, targets)
    scores = scores or _score(factored, centred)
    best = best_alphas(scores.error) if alpha is None else np.full(len(mean), _index(factored.alphas, alpha))
    chosen, varies = factored.alphas[best], scores.total > 0
    whole, device = factored.whole, factored.device
    component = whole.moments @ centred
    component *= device.put((1.0 / (whole.eigenvalues[:, None] + chosen)).astype(np.float32))
    score = np.where(varies, 1.0 - scores.error / np.where(varies, scores.total, 1.0), 0.0)
    return RidgeMap(
        weights=device.get(whole.rotation @ component),
        intercept=mean.astype(np.float32),
        voxel_mean=factored.voxel_mean,
        voxel_scale=factored.voxel_scale,
        alpha=chosen,
        alphas=factored.alphas,
        cv_score=None if factored.held_out is None else score,
        noise_share=_noise_share(factored, centred, best),
    )


def score_block(factored: Factored, targets: ArrayLike) -> BlockScores:
    """Score a block of targets at every penalty, ``(n_stimuli, n_block)``; the first half of `fit_block`."""
    return _score(factored, _centred(factored, targets)[0])


def shared_alpha(factored: Factored, scores: Iterable[BlockScores]) -> float:
    """Give the one penalty with the least squared error summed over all targets of all blocks, in order."""
    error = np.zeros(len(factored.alphas))
    for block in scores:
        error += block.error.sum(axis=1)
    return float(factored.alphas[best_alphas(error)])


def best_alphas(error: Float64) -> Integers:
    """Give the index of the least error along the first axis; the larger penalty wins a tie."""
    return np.asarray(len(error) - 1 - error[::-1].argmin(axis=0))


def fit_blocks(
    factored: Factored, targets: ArrayLike | Targets, *, share_alpha: bool = False
) -> Iterator[tuple[slice, RidgeMap]]:
    """Fit block after block, and keep none: yield each block's columns and its map.

    Targets are read twice where a penalty is shared: once to choose it, once to fit.

    Warns
    -----
    EdgeWarning
        After the last block, if many targets chose an edge of the grid.
    """
    table = as_targets(targets)
    blocks = target_blocks(factored, table.shape[1])
    scores: list[BlockScores | None] = [None] * len(blocks)
    alpha = None
    if share_alpha:
        known = [score_block(factored, table[:, block]) for block in blocks]
        alpha, scores = shared_alpha(factored, known), [*known]
    chosen = []
    for block, score in zip(blocks, scores, strict=True):
        fitted = fit_block(factored, table[:, block], scores=score, alpha=alpha)
        chosen.append(varying_alphas(fitted))
        yield block, fitted
    warn_at_edge(np.concatenate(chosen), factored.alphas, factored.whole.eigenvalues)


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
    for block, fitted in fit_blocks(factored, targets, share_alpha=share_alpha):
        yield block, fitted.predict(betas, n_repetitions=n_repetitions)


def assemble(factored: Factored, n_targets: int, blocks: Iterable[tuple[slice, RidgeMap]]) -> RidgeMap:
    """Put maps of blocks together, in whatever order they come; each may be let go once it is copied."""
    n_alphas, held = len(factored.alphas), factored.held_out is not None
    whole = RidgeMap(
        weights=np.empty((len(factored.voxel_mean), n_targets), dtype=np.float32),
        intercept=np.empty(n_targets, dtype=np.float32),
        voxel_mean=factored.voxel_mean,
        voxel_scale=factored.voxel_scale,
        alpha=np.empty(n_targets),
        alphas=factored.alphas,
        cv_score=np.empty((n_alphas, n_targets)) if held else None,
        noise_share=np.empty(n_targets) if factored.n_repeated else None,
    )
    for block, part in blocks:
        for name in ("weights", "intercept", "alpha", "cv_score", "noise_share"):
            into = getattr(whole, name)
            if into is not None:
                into[..., block] = getattr(part, name)
    return whole


def varying_alphas(fitted: RidgeMap) -> Float64:
    """Give the penalties of targets that vary and were chosen on held-out trials; the others had no choice."""
    if fitted.cv_score is None:
        return np.empty(0)
    return fitted.alpha[fitted.cv_score.any(axis=0)]


def as_targets(targets: ArrayLike | Targets) -> Targets:
    """Take targets as they are where their columns can be sliced, else as an array.

    Raises
    ------
    ShapeError
        If they are not two-dimensional.
    """
    table: Any = targets if hasattr(targets, "shape") else np.asarray(targets)
    if len(table.shape) != 2:
        raise ShapeError(f"targets must be two-dimensional, (n_stimuli, n_targets); they have shape {table.shape}.")
    kept: Targets = table
    return kept


def _folds(data: Rows, groups: ArrayLike | None, grid: Float64, n_folds: int, seed: int) -> Integers | None:
    """Give the fold of each sorted row, or None where there is nothing to choose and too little to hold out."""
    group = None if groups is None else np.asarray(groups)
    if group is not None and group.shape != (data.n_rows,):
        raise ShapeError(f"groups have shape {group.shape}; {data.n_rows} trials need ({data.n_rows},).")
    n_groups = data.n_rows if group is None else len(np.unique(group))
    if len(grid) == 1 and not 2 <= n_folds <= n_groups:
        return None
    return assign_folds(group, data.n_rows, n_folds, seed)[data.order]


def _held_out(
    data: Rows, fold: Integers, sides: Sequence[Sides], scoring: Scoring, form: Form, rank: int, n_targets: int
) -> HeldOut:
    parts = (decompose(data, fold == k) for k in np.unique(fold))
    by_stimulus = form == "stimulus"
    if form == "auto":
        by_stimulus = cheaper_by_stimulus(
            sides,
            n_stimuli=data.n_stimuli,
            rank=rank,
            n_alphas=len(scoring.alphas),
            n_targets=n_targets,
            repeated=scoring.repeated,
        )
    if by_stimulus:
        return ByStimulus.build(scoring, zip(sides, parts, strict=True), data.n_stimuli)
    return ByPrediction(scoring, tuple(sides), tuple(parts))


def _centred(factored: Factored, targets: ArrayLike) -> tuple[Array, Float64]:
    """Give checked targets of stimuli that have trials, less their mean over trials, and that mean."""
    block: NDArray[np.float32] = np.asarray(targets, dtype=np.float32)
    if block.ndim != 2 or len(block) <= factored.used[-1]:
        raise ShapeError(f"targets have shape {block.shape}; this problem needs (n > {factored.used[-1]}, n_targets).")
    check_finite("targets", block)
    block = block[factored.used]
    mean = np.zeros(block.shape[1])
    if factored.intercept:
        mean = factored.share @ block.astype(np.float64)
        constant = block.min(axis=0) == block.max(axis=0)
        mean[constant] = block[0, constant]
    return factored.device.put(block - mean.astype(np.float32)), mean


def _score(factored: Factored, centred: Array) -> BlockScores:
    n_targets = centred.shape[1]
    if factored.held_out is None:
        return BlockScores(np.zeros((len(factored.alphas), n_targets)), np.zeros(n_targets))
    error = factored.held_out.errors(centred)
    total = factored.held_out.scoring.distance(factored.held_out.sides, centred)
    varies = factored.device.get(centred != centred[:1]).any(axis=0)
    return BlockScores(np.where(varies, error, 0.0), np.where(varies, total, 0.0))


def _noise_share(factored: Factored, centred: Array, best: Integers) -> Float64 | None:
    """Give the share of variance of held-out single-trial predictions that lies within stimuli, at the best penalty."""
    if factored.held_out is None or not factored.n_repeated:
        return None
    between, within = factored.held_out.spreads(centred, best)
    spread = between + within
    share = within / factored.n_repeated / np.where(spread > 0, spread / factored.n_rows, 1.0)
    return np.asarray(np.clip(share, 0.0, 1.0))


def _index(alphas: Float64, alpha: float) -> int:
    index = int(np.abs(alphas - alpha).argmin())
    if not np.isclose(alphas[index], alpha):
        raise DataError(f"alpha {alpha:g} is not of this problem's grid, {alphas[0]:g} to {alphas[-1]:g}.")
    return index
