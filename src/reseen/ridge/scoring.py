"""Squared errors of held-out rows at every penalty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reseen.ridge.device import Array, Float64, Integers
from reseen.ridge.factored import Factored


@dataclass(frozen=True)
class Scores:
    """Sums of squares over all held-out rows for a block of targets; zeros where nothing is held out."""

    error: Float64  # (n_alphas, n_targets) squared error; 0 for a target that does not vary
    between: Float64  # (n_alphas, n_targets) squares of the predictions' means by stimulus, and
    within: Float64  # (n_alphas, n_targets) of their deviations from these means
    total: Float64  # (n_targets,) squared distance from the fold's training mean; 0 for a target that does not vary

    def noise_share(self, problem: Factored, best: Integers) -> Float64 | None:
        """Return the proportion of variance of single-trial predictions within stimuli, at the best penalties."""
        if not problem.n_repeated:
            return None
        target = np.arange(len(best))
        within = self.within[best, target]
        spread = self.between[best, target] + within
        share = within / problem.n_repeated / np.where(spread > 0, spread / problem.n_rows, 1.0)
        return np.asarray(np.clip(share, 0.0, 1.0))


def score(problem: Factored, targets: Array) -> Scores:
    """Predict every held-out row at every penalty.

    Parameters
    ----------
    targets
        Shape ``(n_used, n_targets)``, float32, centred: the targets of the stimuli that have trials.
    """
    device, n_targets = problem.device, targets.shape[1]
    error, between, within = np.zeros((3, len(problem.alphas), n_targets))
    total = np.zeros(n_targets)
    for fold in problem.folds:
        component, mean = fold.moments @ targets[fold.seen], fold.weight @ targets
        scale = fold.root if problem.on_trials else 1.0  # a stimulus counts as often as it has held-out rows, or once
        distance = (targets[fold.held] - mean) * scale
        total += device.dots(distance, distance)
        truth = distance if problem.intercept else targets[fold.held] * scale
        for a, alpha in enumerate(problem.alphas):
            shrunken = component * fold.shrinkage(device, alpha)
            predicted = fold.between @ shrunken
            between[a] += device.dots(predicted, predicted)
            residual = (predicted if problem.on_trials else predicted / fold.root) - truth
            error[a] += device.dots(residual, residual)
            if fold.within.shape[0]:
                contrast = fold.within @ shrunken
                within[a] += device.dots(contrast, contrast)
    if problem.on_trials:
        error += within  # rows of a stimulus have equal targets: whatever their predictions differ by is error
    varies = device.get(targets != targets[:1]).any(axis=0)
    return Scores(error * varies, between, within, total * varies)
