"""A ridge problem before it has seen a target: factored once, whatever the number of targets and of workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ShapeError
from reseen.ridge.cores import Cores, one_thread, side_by_side
from reseen.ridge.device import Device, Float32, Float64, Integers
from reseen.ridge.folds import assign_folds, check_alphas, default_alphas
from reseen.ridge.gram import Decomposition, Rows, check_rows, decompose, eigenvalues, prepare, reduce
from reseen.ridge.heldout import ByPrediction, ByStimulus, HeldOut, Scoring, Sides, cheaper_by_stimulus

Form = Literal["auto", "stimulus", "prediction"]
ScoreOn = Literal["trials", "stimuli"]
SAFE_SHARE = 1e-8  # of the largest eigenvalue; smaller penalties are too near to rounding for anything but eigenvectors


@dataclass(frozen=True)
class Factored:
    """Ridge problem without targets: the decompositions that `fit_block` needs, and no betas.

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
        Score held-out trials by ``"prediction"``, by quadratic forms of the ``"stimulus"``, or, ``"auto"``, by
        whichever takes fewer products. The Gram matrix is that of voxels or of trials, whichever are fewer.

    The other parameters, and what is raised, are those of `fit_ridge`.
    """
    x, row = check_rows(betas, target_row, targets_shape[0])
    grid = None if alphas is None else check_alphas(alphas)
    fold = _folds(groups, len(x), n_folds, seed, choice=grid is None or len(grid) > 1)
    with side_by_side(Device(device)) as cores, one_thread():
        data = prepare(x, row, fold, intercept=intercept, device=Device(device), cores=cores)
        if grid is None:
            grid = default_alphas(eigenvalues(data))
        held_out, n_repeated = None, 0
        if fold is None:
            whole = decompose(data, np.zeros(data.n_rows, dtype=bool))
        else:
            fold = fold[data.order]
            sides = [Sides.of(data.stimulus, fold == k, data.n_stimuli) for k in np.unique(fold)]
            n_repeated = sum(int((side.count - 1).sum()) for side in sides)
            scoring = Scoring(grid, score_on == "trials", intercept, n_repeated > 0, data.device)
            whole, held_out = _apart(data, fold, sides, scoring, form, targets_shape[1], cores)
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


def _folds(groups: ArrayLike | None, n_rows: int, n_folds: int, seed: int, *, choice: bool) -> Integers | None:
    """Return the fold of each row, or None where there is no choice of penalties and too little to hold out."""
    group = None if groups is None else np.asarray(groups)
    if group is not None and group.shape != (n_rows,):
        raise ShapeError(f"groups have shape {group.shape}; {n_rows} trials need ({n_rows},).")
    n_groups = n_rows if group is None else len(np.unique(group))
    if not choice and not 2 <= n_folds <= n_groups:
        return None
    return assign_folds(group, n_rows, n_folds, seed)


def _apart(
    data: Rows, fold: Integers, sides: list[Sides], scoring: Scoring, form: Form, n_targets: int, cores: Cores
) -> tuple[Decomposition, HeldOut]:
    """Decompose all rows, and those of each fold: side by side, and no more of them at once than there are cores."""
    by_stimulus = form == "stimulus"
    rank = min(data.n_rows, len(data.voxel_mean))
    if form == "auto":
        by_stimulus = cheaper_by_stimulus(
            sides,
            n_stimuli=data.n_stimuli,
            rank=rank,
            n_alphas=len(scoring.alphas),
            n_targets=n_targets,
            repeated=scoring.repeated,
        )
    safe = data.device.name == "numpy" and scoring.alphas[0] > SAFE_SHARE * data.trace
    held = [fold == k for k in np.unique(fold)]
    jobs = [(np.zeros_like(held[0]), False), *((out, by_stimulus and safe) for out in held)]
    parts = cores.map(partial(_part, data), jobs, item_bytes=4 * 8 * rank**2)
    whole = next(parts)
    if by_stimulus:
        return whole, ByStimulus.build(scoring, sides, parts, data.n_stimuli, cores)
    return whole, ByPrediction(scoring, tuple(sides), tuple(parts))


def _part(data: Rows, job: tuple[NDArray[np.bool_], bool]) -> Any:
    held, only_squares = job
    return reduce(data, held) if only_squares else decompose(data, held)
