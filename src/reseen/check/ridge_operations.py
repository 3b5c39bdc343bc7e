"""Operations of a ridge fit, counted from its shape, and the time of one core that they take."""

from __future__ import annotations

from dataclasses import dataclass

EIGEN = 9
"""Operations of an eigendecomposition of an ``(n, n)`` matrix, in units of ``n ** 3``: the usual count of the QR
algorithm for symmetric matrices with eigenvectors."""
DOUBLE_RATE, SINGLE_RATE = 29e9, 94e9
"""Measured operations in a second of one core, in float64 and float32 (docs/performance.md#cost-of-each-feature)."""
USUAL_N_ALPHAS = 14
"""Usual number of penalties of a grid that is scaled to the data."""


@dataclass(frozen=True)
class Operations:
    """Numbers of floating-point operations.

    Parameters
    ----------
    double
        Operations in float64.
    single
        Operations in float32.
    """

    double: float
    single: float

    def __add__(self, other: Operations) -> Operations:
        """Return the sum of both."""
        return Operations(self.double + other.double, self.single + other.single)

    def __mul__(self, times: int) -> Operations:
        """Return the operations of several equal calculations."""
        return Operations(self.double * times, self.single * times)

    @property
    def total(self) -> float:
        """Number of operations in either format."""
        return self.double + self.single

    @property
    def seconds(self) -> float:
        """Predicted processor seconds of one core."""
        return self.double / DOUBLE_RATE + self.single / SINGLE_RATE


def count_factoring(n_trials: int, n_stimuli: int, n_voxels: int, *, n_folds: int = 5) -> Operations:
    """Count the operations of `factor`, which do not depend on the targets.

    Parameters
    ----------
    n_trials, n_stimuli, n_voxels
        Numbers of rows, of different rows of targets, and of columns of the betas.
    n_folds
        Number of folds that choose the penalty.

    Examples
    --------
    >>> f"{count_factoring(24_980, 8_859, 7_604).total:.2g}"
    '3.5e+13'
    """
    n = min(n_trials, n_voxels)  # side of the Gram matrix
    # X'X uses the symmetry: n_trials * n^2, once for all rows, and once over the held-out rows of all folds
    double = 2.0 * n_trials * n**2 + (n_folds + 1) * EIGEN * n**3
    double += 2.0 * n_stimuli * n**2  # sums of all rows by stimulus, onto the eigenvectors
    # the same for the training rows of each fold, and the held-out rows of all folds onto their eigenvectors
    single = 2.0 * n_stimuli * (n_folds - 1) * n**2 + 2.0 * n_trials * n**2
    if n_voxels > n_trials:  # XX', its eigenvectors, and the way back to voxels, twice
        double += n_voxels * n**2 + EIGEN * n**3
        single += 2 * 2.0 * n_voxels * n**2
    return Operations(double, single)


def count_targets(
    n_trials: int,
    n_stimuli: int,
    n_voxels: int,
    n_targets: int,
    *,
    n_alphas: int = USUAL_N_ALPHAS,
    n_folds: int = 5,
) -> Operations:
    """Count the operations of `fit_blocks`, which are proportional to the number of targets.

    Parameters
    ----------
    n_trials, n_stimuli, n_voxels, n_folds
        As in `count_factoring`.
    n_targets, n_alphas
        Numbers of targets and of penalties.

    Examples
    --------
    >>> f"{count_targets(24_980, 8_859, 7_604, 1_024, n_alphas=7).total:.2g}"
    '3.5e+12'
    """
    n = min(n_trials, n_voxels)
    # held-out rows: the mean of each stimulus, and the contrasts of its rows, of which QR keeps at most n in each fold
    held_out = n_stimuli + min(n_trials - n_stimuli, n_folds * n)
    predictions = n_alphas * held_out * n
    components = (n_folds - 1) * n_stimuli * n  # of the training rows of all folds
    weights = n_stimuli * n + n_voxels * n  # of the fit on all rows
    return Operations(0.0, 2.0 * n_targets * (predictions + components + weights))
