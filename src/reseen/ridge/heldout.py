"""How well held-out trials are predicted at each penalty: by predicting them, or by quadratic forms of the stimuli.

Residuals of held-out rows are linear in the targets, and targets belong to stimuli: ``E(alpha) @ targets``, with E of
shape ``(n_rows, n_stimuli)``. Their squares, summed over all folds, are ``targets' (sum of E'E) targets``. `ByStimulus`
makes that matrix before it sees a target: a target then costs half of ``n_stimuli²`` products for each penalty,
whatever the number of trials and voxels. `ByPrediction` predicts every row, which is cheaper where targets are few or
stimuli many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from reseen.ridge.device import Array, Device, Float32, Float64, Integers
from reseen.ridge.gram import Decomposition

PANEL_ROWS = 256  # of a symmetric matrix: a product of an eighth more than the half that is needed at 2,000 rows
FORM_BYTES = 2**32  # quadratic forms that need more are not made; NSD with seven penalties needs 3.2 GiB


@dataclass(frozen=True)
class Sides:
    """Say what a fold holds out: which stimuli, how many trials of each, and the weight of the others in its mean."""

    held: Integers  # (n_held,) stimuli
    count: Integers  # (n_held,) trials of each
    weight: Float32  # (n_stimuli,) share of the training trials

    @classmethod
    def of(cls, stimulus: Integers, out: Array, n_stimuli: int) -> Sides:
        """Describe a fold from the stimulus of each row and whether it is held out."""
        held, count = np.unique(stimulus[out], return_counts=True)
        weight = np.bincount(stimulus[~out], minlength=n_stimuli) / (~out).sum()
        return cls(held, count, weight.astype(np.float32))


@dataclass(frozen=True)
class Scoring:
    """Say what is scored: the penalties, single trials or the mean over repetitions, and whether a mean is fitted."""

    alphas: Float64
    on_trials: bool
    intercept: bool
    repeated: bool  # a held-out stimulus has several trials in its fold
    device: Device

    def truth(self, side: Sides, targets: Array) -> Array:
        """Give held-out targets less the training mean, ``(n_held, n_targets)``; without intercept, as they are."""
        truth = targets[side.held]
        return truth - self.device.put(side.weight) @ targets if self.intercept else truth

    def root(self, side: Sides, *, scored: bool) -> Array:
        """Give the roots of the trials of held-out stimuli, ``(n_held, 1)``; ones where means are `scored`."""
        count = side.count if self.on_trials or not scored else np.ones(len(side.count))
        return self.device.put(np.sqrt(count, dtype=np.float32)[:, None])

    def distance(self, sides: Iterable[Sides], targets: Array) -> Float64:
        """Give the squared distance of held-out targets from the training mean of their fold, ``(n_targets,)``."""
        total = np.zeros(targets.shape[1])
        for side in sides:
            away = (targets[side.held] - self.device.put(side.weight) @ targets) * self.root(side, scored=True)
            total += self.device.dots(away, away)
        return total


@dataclass(frozen=True)
class ByPrediction:
    """Score by predicting every held-out row at every penalty."""

    scoring: Scoring
    sides: tuple[Sides, ...]
    parts: tuple[Decomposition, ...]

    def errors(self, targets: Array) -> Float64:
        """Give squared errors of held-out rows, ``(n_alphas, n_targets)``, from centred targets of all stimuli."""
        how, dots = self.scoring, self.scoring.device.dots
        error = np.zeros((len(how.alphas), targets.shape[1]))
        for side, part in zip(self.sides, self.parts, strict=True):
            component = part.moments @ targets[part.seen]
            root, scored = how.root(side, scored=False), how.root(side, scored=True)
            truth = how.truth(side, targets) * scored
            for a, alpha in enumerate(how.alphas):
                shrunken = component * how.device.put(_shrinkage(part, alpha))
                residual = (part.between @ shrunken) * (scored / root) - truth
                error[a] += dots(residual, residual)
                if how.on_trials and part.within.shape[0]:
                    spread = part.within @ shrunken
                    error[a] += dots(spread, spread)
        return error

    def spreads(self, targets: Array, best: Integers) -> tuple[Float64, Float64]:
        """Give sums of squares of held-out predictions between and within stimuli, each at its best penalty."""
        how, dots = self.scoring, self.scoring.device.dots
        between, within = np.zeros((2, targets.shape[1]))
        for part in self.parts:
            shrinkage = 1.0 / (part.eigenvalues[:, None] + how.alphas[best])
            shrunken = (part.moments @ targets[part.seen]) * how.device.put(shrinkage.astype(np.float32))
            predicted, spread = part.between @ shrunken, part.within @ shrunken
            between += dots(predicted, predicted)
            within += dots(spread, spread)
        return between, within


@dataclass(frozen=True)
class ByStimulus:
    """Score by quadratic forms of the targets: one matrix a penalty for errors, and two for spreads."""

    scoring: Scoring
    sides: tuple[Sides, ...]
    error: tuple[QuadraticForm, ...]
    between: tuple[QuadraticForm, ...]
    within: tuple[QuadraticForm, ...]

    @classmethod
    def build(cls, scoring: Scoring, folds: Iterable[tuple[Sides, Decomposition]], n_stimuli: int) -> ByStimulus:
        """Make the matrices fold by fold; a fold's decomposition may be let go after its turn."""
        device = scoring.device
        error, between, within = (
            tuple(QuadraticForm.zeros(device, n_stimuli) for _ in scoring.alphas if wanted)
            for wanted in (True, scoring.repeated, scoring.repeated)
        )
        sides = []
        for side, part in folds:
            sides.append(side)
            identity = device.zeros(len(side.held), n_stimuli)
            identity[np.arange(len(side.held)), side.held] = 1.0
            if scoring.intercept:
                identity -= device.put(side.weight)
            root, scored = scoring.root(side, scored=False), scoring.root(side, scored=True)
            for a, alpha in enumerate(scoring.alphas):
                shrunken = part.moments * device.put(_shrinkage(part, alpha))
                mean = _spread_out(part.between @ shrunken, part.seen, n_stimuli, device)
                error[a].add(mean * (scored / root) - identity * scored)
                if scoring.repeated:
                    between[a].add(mean)
                if part.within.shape[0]:
                    contrast = _spread_out(part.within @ shrunken, part.seen, n_stimuli, device)
                    within[a].add(contrast, *([error[a]] if scoring.on_trials else []))
        return cls(scoring, tuple(sides), error, between, within)

    def errors(self, targets: Array) -> Float64:
        """Give squared errors of held-out rows, ``(n_alphas, n_targets)``, from centred targets of all stimuli."""
        return np.stack([form(targets) for form in self.error])

    def spreads(self, targets: Array, best: Integers) -> tuple[Float64, Float64]:
        """Give sums of squares of held-out predictions between and within stimuli, each at its best penalty."""
        between, within = np.zeros((2, targets.shape[1]))
        for a in np.unique(best):
            where = np.flatnonzero(best == a)
            between[where] = self.between[a](targets[:, where])
            within[where] = self.within[a](targets[:, where])
        return between, within


@dataclass(frozen=True)
class QuadraticForm:
    """Hold a sum of Gram matrices ``E'E`` as panels of its upper triangle, and evaluate ``t' E'E t`` for many t."""

    device: Device
    n: int
    panels: list[Array] = field(
        default_factory=list
    )  # panel k: rows from k * PANEL_ROWS, columns from there to the end

    @classmethod
    def zeros(cls, device: Device, n: int) -> QuadraticForm:
        """Give the form that is nought."""
        starts = range(0, n, PANEL_ROWS)
        return cls(device, n, [device.zeros(min(PANEL_ROWS, n - start), n - start) for start in starts])

    def add(self, rows: Array, *others: QuadraticForm) -> None:
        """Add ``rows.T @ rows`` to this form and to others of the same size."""
        for k, panel in enumerate(self.panels):
            start = k * PANEL_ROWS
            product = rows[:, start : start + PANEL_ROWS].T @ rows[:, start:]
            for target in (panel, *(other.panels[k] for other in others)):
                target += product

    def __call__(self, targets: Array) -> Float64:
        """Give the form of each column of targets, ``(n_targets,)``."""
        total = np.zeros(targets.shape[1])
        for k, panel in enumerate(self.panels):
            start, width = k * PANEL_ROWS, panel.shape[0]
            here = targets[start : start + width]
            total += self.device.dots(here, panel[:, :width] @ here)
            if width < panel.shape[1]:
                total += 2.0 * self.device.dots(here, panel[:, width:] @ targets[start + width :])
        return total


HeldOut = ByPrediction | ByStimulus


def cheaper_by_stimulus(
    sides: Sequence[Sides], *, n_stimuli: int, rank: int, n_alphas: int, n_targets: int, repeated: bool
) -> bool:
    """Say whether quadratic forms cost fewer products than predictions, forming them included, and fit in memory."""
    cost = products(sides, n_stimuli=n_stimuli, rank=rank, n_alphas=n_alphas, n_targets=n_targets, repeated=repeated)
    form_bytes = 4 * n_alphas * (3 if repeated else 1) * n_stimuli * (n_stimuli + PANEL_ROWS) // 2
    return form_bytes <= FORM_BYTES and cost["stimulus"] < cost["prediction"]


def products(
    sides: Sequence[Sides], *, n_stimuli: int, rank: int, n_alphas: int, n_targets: int, repeated: bool
) -> dict[str, int]:
    """Count the multiplications of float32 that each form takes to score all targets; every machine counts alike."""
    predicting, forming = 0, 0
    for side in sides:
        n_held, n_seen = int(side.count.sum()), int((side.weight > 0).sum())
        n_rows = min(n_held, len(side.held) + rank)
        predicting += n_targets * rank * (n_seen + n_alphas * n_rows)
        predicting += n_targets * rank * (n_seen + n_rows) if repeated else 0
        forming += n_alphas * n_rows * n_seen * rank
        forming += n_alphas * (n_rows + (len(side.held) if repeated else 0)) * n_stimuli**2 // 2
    n_forms = n_alphas + (2 if repeated else 0)
    return {"stimulus": forming + n_forms * n_targets * n_stimuli**2 // 2, "prediction": predicting}


def _shrinkage(part: Decomposition, alpha: float) -> Float32:
    shrinkage: Float32 = (1.0 / (part.eigenvalues + alpha)).astype(np.float32)[:, None]
    return shrinkage


def _spread_out(columns: Array, seen: Integers, n_stimuli: int, device: Device) -> Array:
    """Put columns of training stimuli where they stand among all stimuli."""
    rows = device.zeros(columns.shape[0], n_stimuli)
    rows[:, seen] = columns
    return rows
