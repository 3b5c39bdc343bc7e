"""Ridge regression from many voxels to very many targets, exact, with a penalty for each target.

The targets belong to stimuli and the rows to trials: repeated trials share one row of targets, which is never copied.
`reseen.gram` gives one Gram matrix for all folds and one eigendecomposition for each, after which a penalty costs one
matrix product. Products with targets run over blocks of targets in float32, everything else is float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import DataError, ResultsError, ShapeError
from reseen.gram import Float32, Float64, Integers, Problem, blocks, check_finite, decompose, prepare

GRID_BOTTOM = 1e-3  # times the mean eigenvalue: nearly no penalty
GRID_TOP = 100.0  # times the largest eigenvalue: nearly the training mean
GRID_PER_DECADE = 2
EDGE_SHARE = 0.2  # of the targets at one edge of the grid, above which a warning is due


class EdgeWarning(UserWarning):
    """Say that the best penalties sit at the edge of the grid and probably lie beyond it."""


@dataclass(frozen=True)
class RidgeMap:
    """Hold a fitted linear map, its affine part included; usable on a single trial.

    ``prediction = ((betas - voxel_mean) / voxel_scale) @ weights + intercept``

    Parameters
    ----------
    weights
        Shape ``(n_voxels, n_targets)``, float32: target units per standard deviation of the voxel.
    intercept
        Shape ``(n_targets,)``: training mean of each target over trials, zeros if fitted without.
    voxel_mean, voxel_scale
        Shape ``(n_voxels,)``: training mean and standard deviation (ddof 0; 1 for a constant voxel, which weighs
        nothing).
    alpha
        Shape ``(n_targets,)``: the penalty of each target, as sklearn's ``Ridge`` counts it.
    alphas
        Shape ``(n_alphas,)``, ascending: the grid it was chosen from.
    cv_score
        Shape ``(n_alphas, n_targets)``: 1 - squared error / squared distance from the fold's training mean, over all
        held-out trials (0 for a constant target), or ``None`` where nothing was held out.
    noise_share
        Shape ``(n_targets,)``, in [0, 1]: how much of the variance of held-out single-trial predictions is trial
        noise, as the spread over repetitions of a stimulus tells; ``None`` where no stimulus was repeated.
    """

    weights: Float32
    intercept: Float32
    voxel_mean: Float32
    voxel_scale: Float32
    alpha: Float64
    alphas: Float64
    cv_score: Float64 | None = None
    noise_share: Float64 | None = None

    def predict(self, betas: ArrayLike, *, n_repetitions: ArrayLike | None = None) -> Float32:
        """Predict the targets of some rows.

        Parameters
        ----------
        betas
            Shape ``(n_rows, n_voxels)``, in the units of the training betas.
        n_repetitions
            Shape ``(n_rows,)``: how many trials each row averages. Where given, the deviation of each prediction from
            the intercept is multiplied by `average_gain`; ones change nothing.

        Returns
        -------
        ndarray, shape (n_rows, n_targets), float32

        Raises
        ------
        ShapeError
            If the voxels are not those of the fit.
        DataError
            If betas are not finite.
        """
        rows = np.asarray(betas, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != len(self.voxel_mean):
            raise ShapeError(f"betas have shape {rows.shape}; this map needs (n_rows, {len(self.voxel_mean)}).")
        check_finite("betas", rows)
        predicted = ((rows - self.voxel_mean) / self.voxel_scale).astype(np.float32) @ self.weights
        if n_repetitions is not None and self.noise_share is not None:
            count = np.asarray(n_repetitions)
            if count.shape != (len(rows),):
                raise ShapeError(f"n_repetitions has shape {count.shape}; {len(rows)} rows need ({len(rows)},).")
            for k in np.unique(count):
                predicted[count == k] *= average_gain(self.noise_share, int(k)).astype(np.float32)
        predicted += self.intercept
        return predicted

    def save(self, path: Path | str, metadata: dict[str, str] | None = None) -> None:
        """Write the map as one safetensors file, whole or not at all.

        Raises
        ------
        ResultsError
            If the file cannot be written.
        """
        from safetensors.numpy import save_file

        path = Path(path)
        arrays = {name: np.ascontiguousarray(value) for name, value in vars(self).items() if value is not None}
        temporary = path.with_name(path.name + ".tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(arrays, temporary, metadata=metadata)
            temporary.replace(path)
        except Exception as error:  # safetensors raises its own type for a full disk
            if temporary.is_file():
                temporary.unlink()
            raise ResultsError(f"cannot write the ridge map {path}: {error}. Is there room on the disk?") from error

    @classmethod
    def load(cls, path: Path | str) -> RidgeMap:
        """Read a map that `save` wrote.

        Raises
        ------
        ResultsError
            If there is no such file or it holds no ridge map.
        """
        from safetensors.numpy import load_file

        try:
            return cls(**load_file(Path(path)))
        except Exception as error:  # missing, truncated, or of something else: one answer to all three
            raise ResultsError(f"{path} holds no ridge map: {error}. Run `reseen decode` again.") from error


def average_gain(noise_share: Float64, n_repetitions: int) -> Float64:
    """Give the factor that undoes the shrinkage of predictions from averages.

    A map fitted on single trials is shrunken as much as single trials are noisy: the slope of truth on prediction is
    ``cov(truth, prediction) / var(prediction)``. Averaging k trials leaves the covariance and divides the noise part of
    the variance by k, so that the best slope grows by ``1 / (1 - noise_share * (1 - 1/k))``: between 1 and k.

    Parameters
    ----------
    noise_share
        Shape ``(n_targets,)``: share of the variance of single-trial predictions that is trial noise.
    n_repetitions
        k, how many trials the row averages.
    """
    gain: Float64 = 1.0 / (1.0 - noise_share * (1.0 - 1.0 / n_repetitions))
    return gain


def assign_folds(groups: Integers | None, n_rows: int, n_folds: int, seed: int) -> Integers:
    """Give the fold of each row, ``(n_rows,)`` in ``0 ... n_folds - 1``.

    With groups, every group lies in one fold and folds hold nearly equally many rows; the seed decides among equals.
    Without, folds are consecutive stretches of rows, as in sklearn's ``KFold``.

    Raises
    ------
    ShapeError
        If there are fewer groups (or rows) than folds, or fewer than two folds.
    """
    n_groups = n_rows if groups is None else len(np.unique(groups))
    if not 2 <= n_folds <= n_groups:
        what = "trials" if groups is None else "stimuli (groups of trials)"
        raise ShapeError(
            f"choosing a penalty over {n_folds} folds needs at least two folds and one group for each; "
            f"there are {n_groups} {what}. Ask for between 2 and {n_groups} folds, or give a single alpha."
        )
    if groups is None:
        return np.repeat(np.arange(n_folds), [len(part) for part in np.array_split(np.arange(n_rows), n_folds)])
    _, member, size = np.unique(groups, return_inverse=True, return_counts=True)
    shuffled = np.random.default_rng(seed).permutation(n_groups)
    fold_of_group = np.empty(n_groups, dtype=np.int64)
    filled = np.zeros(n_folds, dtype=np.int64)
    for group in shuffled[np.argsort(-size[shuffled], kind="stable")]:
        fold_of_group[group] = filled.argmin()
        filled[fold_of_group[group]] += size[group]
    return fold_of_group[member]


def fit_ridge(
    betas: ArrayLike,
    targets: ArrayLike,
    *,
    target_row: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    alphas: Sequence[float] | None = None,
    n_folds: int = 5,
    share_alpha: bool = False,
    intercept: bool = True,
    seed: int = 0,
) -> RidgeMap:
    """Fit a ridge regression with the best penalty for each target.

    Parameters
    ----------
    betas
        Shape ``(n_trials, n_voxels)``. Standardised inside; the means and scales become part of the map.
    targets
        Shape ``(n_stimuli, n_targets)``.
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
    intercept
        False fits no mean of the targets and does not centre within folds, like the script that Takagi and Nishimoto
        released (``make_pipeline(StandardScaler(), RidgeCV(alphas))`` of himalaya).
    seed
        Decides which groups share a fold.

    Raises
    ------
    ShapeError
        If arrays do not fit each other, or there is too little to fit or to hold out.
    DataError
        If a number is not finite or a penalty not positive.

    Warns
    -----
    EdgeWarning
        If many targets choose an edge of the grid that a further step could improve on.
    """
    problem = prepare(betas, targets, target_row, intercept)
    whole = decompose(problem, np.zeros(problem.n_rows, dtype=bool))
    grid = default_alphas(whole.eigenvalues) if alphas is None else _check_alphas(alphas)
    fold = _folds(problem, groups, grid, n_folds, seed)
    choice = (
        _Choice(np.full(problem.n_targets, grid[-1])) if fold is None else _choose(problem, grid, fold, share_alpha)
    )
    if fold is not None:
        _warn_at_edge(choice, grid, whole.eigenvalues)
    weights = np.empty((len(problem.voxel_mean), problem.n_targets), dtype=np.float32)
    for block in blocks(problem, max(whole.rotation.shape)):
        component = whole.moments @ problem.centred(block)
        component /= whole.eigenvalues[:, None] + choice.alpha[None, block]
        np.matmul(whole.rotation, component, out=weights[:, block])
    return RidgeMap(
        weights=weights,
        intercept=problem.target_mean.astype(np.float32),
        voxel_mean=problem.voxel_mean,
        voxel_scale=problem.voxel_scale,
        alpha=choice.alpha,
        alphas=grid,
        cv_score=choice.score,
        noise_share=choice.noise_share,
    )


def default_alphas(eigenvalues: ArrayLike) -> Float64:
    """Give penalties from nearly none to nearly the training mean, two a decade, scaled to the data.

    Parameters
    ----------
    eigenvalues
        Those of the Gram matrix that are not zero. The grid runs from a thousandth of their mean to a hundred times the
        largest, so that it follows the number of trials and the redundancy of the voxels, and nothing worth having
        lies beyond its edges.
    """
    values = np.asarray(eigenvalues, dtype=np.float64)
    bottom, top = GRID_BOTTOM * values.mean(), GRID_TOP * values.max()
    return np.geomspace(bottom, top, int(np.ceil(np.log10(top / bottom) * GRID_PER_DECADE)) + 1)


@dataclass(frozen=True)
class _Choice:
    alpha: Float64
    score: Float64 | None = None
    noise_share: Float64 | None = None
    varies: NDArray[np.bool_] | None = None


def _folds(problem: Problem, groups: ArrayLike | None, grid: Float64, n_folds: int, seed: int) -> Integers | None:
    """Give the fold of each sorted row, or None where there is nothing to choose and too little to hold out."""
    group = None if groups is None else np.asarray(groups)
    if group is not None and group.shape != (problem.n_rows,):
        raise ShapeError(f"groups have shape {group.shape}; {problem.n_rows} trials need ({problem.n_rows},).")
    n_groups = problem.n_rows if group is None else len(np.unique(group))
    if len(grid) == 1 and not 2 <= n_folds <= n_groups:
        return None
    return assign_folds(group, problem.n_rows, n_folds, seed)[problem.order]


def _choose(problem: Problem, grid: Float64, fold: Integers, share_alpha: bool) -> _Choice:
    """Choose each target's penalty, or one for all, by squared error on held-out rows."""
    error, spread, within = np.zeros((3, len(grid), problem.n_targets))
    total = np.zeros(problem.n_targets)
    n_repeated = 0
    for k in np.unique(fold):
        part = decompose(problem, fold == k)
        held, train = problem.target_row[fold == k], problem.target_row[fold != k]
        first, count = np.unique(held, return_index=True, return_counts=True)[1:]
        root: Float32 = np.sqrt(count).astype(np.float32)[:, None]
        n_repeated += len(held) - len(first)
        weight = (np.bincount(train, minlength=len(problem.targets)) / len(train)).astype(np.float32)
        for block in blocks(problem, max(part.probe.shape)):
            target = problem.centred(block)
            mean: Float32 = weight @ target
            component = part.moments @ target
            truth = target[held]
            total[block] += _sum_of_squares(truth - mean)
            if problem.intercept:
                truth -= mean
            for a, alpha in enumerate(grid):
                shrunken = component * (1.0 / (part.eigenvalues + alpha)).astype(np.float32)[:, None]
                predicted = part.probe @ shrunken
                square = _sum_of_squares(predicted)
                spread[a, block] += square
                if len(first) < len(held):
                    sums: Float32 = np.add.reduceat(predicted, first, axis=0).astype(np.float32, copy=False)
                    within[a, block] += square - _sum_of_squares(sums / root)
                predicted -= truth
                error[a, block] += _sum_of_squares(predicted)
    noise_share = within / max(n_repeated, 1) / np.where(spread > 0, spread / problem.n_rows, 1.0)
    varies = (np.ptp(problem.targets, axis=0) > 0) & (total > 0)
    return _pick(grid, error, np.where(varies, total, 0.0), noise_share if n_repeated else None, share_alpha)


def _pick(grid: Float64, error: Float64, total: Float64, noise_share: Float64 | None, share_alpha: bool) -> _Choice:
    varies = total > 0
    error[:, ~varies] = 0.0
    best = len(grid) - 1 - error[::-1].argmin(axis=0)  # the larger penalty wins a tie
    if share_alpha:
        best[:] = len(grid) - 1 - error.sum(axis=1)[::-1].argmin()
    score = np.where(varies, 1.0 - error / np.where(varies, total, 1.0), 0.0)
    if noise_share is not None:
        noise_share = np.clip(np.take_along_axis(noise_share, best[None], axis=0)[0], 0.0, 1.0)
    return _Choice(grid[best], score, noise_share, varies)


def _sum_of_squares(rows: Float32) -> Float64:
    squares: Float64 = np.einsum("ij,ij->j", rows, rows).astype(np.float64)
    return squares


def _warn_at_edge(choice: _Choice, grid: Float64, eigenvalues: Float64) -> None:
    """Warn where many targets sit at an edge of the grid beyond which the penalty still matters."""
    chosen = choice.alpha[choice.varies]
    if not len(chosen):
        return
    edges = (
        ("smallest", grid[0], grid[0] > 1.01 * GRID_BOTTOM * eigenvalues.mean()),
        ("largest", grid[-1], grid[-1] < 0.99 * GRID_TOP * eigenvalues.max()),
    )
    for name, edge, matters in edges:
        share = float(np.mean(chosen == edge))
        if matters and len(grid) > 1 and share > EDGE_SHARE:
            warnings.warn(
                f"{share:.0%} of {len(chosen)} targets chose the {name} penalty of the grid ({edge:g}); the best one "
                "probably lies beyond it. Widen `alphas`, or leave it out for a grid scaled to the data.",
                EdgeWarning,
                stacklevel=3,
            )


def _check_alphas(alphas: Sequence[float]) -> Float64:
    grid = np.unique(np.asarray(alphas, dtype=np.float64))
    if grid.ndim != 1 or not len(grid) or not np.all(np.isfinite(grid)) or grid[0] <= 0:
        raise DataError(f"alphas must be positive numbers, at least one; found {list(alphas)}.")
    return grid
