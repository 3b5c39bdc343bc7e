"""How well held-out trials are predicted at each penalty: by predicting them, or by quadratic forms of the stimuli.

Residuals of held-out rows are linear in the targets, and targets belong to stimuli: ``E(alpha) @ targets``, with E of
shape ``(n_rows, n_stimuli)``. Their squares, summed over all folds, are ``targets' (sum of E'E) targets``. `ByStimulus`
makes that matrix before it sees a target: a target then costs half of ``n_stimuli²`` products for each penalty,
whatever the number of trials and voxels. `ByPrediction` predicts every row, which is cheaper where targets are few or
stimuli many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from reseen.ridge.cores import Cores
from reseen.ridge.device import Array, Device, Float32, Float64, Integers
from reseen.ridge.gram import Decomposition, Reduction

Part = Decomposition | Reduction
PANEL_ROWS = 256  # of a symmetric matrix: a product of an eighth more than the half that is needed at 2,000 rows
FORM_BYTES = 2**32  # quadratic forms that need more are not made; NSD with seven penalties needs 3.2 GiB


@dataclass(frozen=True)
class Sides:
    """Held-out part of a fold: which stimuli, how many trials of each, and the weight of the others in its mean."""

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
    """Settings of scoring: the penalties, single trials or the mean over repetitions, and whether a mean is fitted."""

    alphas: Float64
    on_trials: bool
    intercept: bool
    repeated: bool  # a held-out stimulus has several trials in its fold
    device: Device

    def truth(self, side: Sides, targets: Array) -> Array:
        """Return held-out targets less the training mean, ``(n_held, n_targets)``; without intercept, as they are."""
        truth = targets[side.held]
        return truth - self.device.put(side.weight) @ targets if self.intercept else truth

    def root(self, side: Sides, *, scored: bool) -> Array:
        """Return the roots of the trials of held-out stimuli, ``(n_held, 1)``; ones where means are `scored`."""
        count = side.count if self.on_trials or not scored else np.ones(len(side.count))
        return self.device.put(np.sqrt(count, dtype=np.float32)[:, None])

    def distance(self, sides: Iterable[Sides], targets: Array) -> Float64:
        """Return the squared distance of held-out targets from the training mean of their fold, ``(n_targets,)``."""
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
        """Return squared errors of held-out rows, ``(n_alphas, n_targets)``, from centred targets of all stimuli."""
        how, dots = self.scoring, self.scoring.device.dots
        error = np.zeros((len(how.alphas), targets.shape[1]))
        for side, part in zip(self.sides, self.parts, strict=True):
            component = part.moments @ targets[part.seen]
            root, scored = how.root(side, scored=False), how.root(side, scored=True)
            truth = how.truth(side, targets) * scored
            for a, alpha in enumerate(how.alphas):
                shrunken = component * part.shrinkage(alpha)
                residual = (part.between @ shrunken) * (scored / root) - truth
                error[a] += dots(residual, residual)
                if how.on_trials and part.within.shape[0]:
                    spread = part.within @ shrunken
                    error[a] += dots(spread, spread)
        return error

    def predictions(self, targets: Array, best: Integers) -> tuple[Array, Integers]:
        """Return the mean prediction of each stimulus at the best penalties, and the last fold that held it out.

        Predictions have the shape of centred targets, ``(n_stimuli, n_targets)``; folds ``(n_stimuli,)``. Stimuli must
        not be torn apart by folds.
        """
        device = self.scoring.device
        predicted, fold = device.zeros(*targets.shape), np.zeros(targets.shape[0], dtype=np.int64)
        for k, (side, part) in enumerate(zip(self.sides, self.parts, strict=True)):
            count = device.put(np.sqrt(side.count, dtype=np.float32)[:, None])
            mean = part.between @ self._shrunken(part, targets, best) / count
            if self.scoring.intercept:
                mean = mean + device.put(side.weight) @ targets
            predicted[side.held] = mean
            fold[side.held] = k
        return predicted, fold

    def _shrunken(self, part: Decomposition, targets: Array, best: Integers) -> Array:
        """Return what a fold's decomposition makes of targets, each at its best penalty, ``(rank, n_targets)``."""
        shrinkage = 1.0 / (part.eigenvalues[:, None] + self.scoring.alphas[best])
        return (part.moments @ targets[part.seen]) * self.scoring.device.put(shrinkage.astype(np.float32))

    def spreads(self, targets: Array, best: Integers) -> tuple[Float64, Float64]:
        """Return sums of squares of held-out predictions between and within stimuli, each at its best penalty."""
        dots = self.scoring.device.dots
        between, within = np.zeros((2, targets.shape[1]))
        for part in self.parts:
            shrunken = self._shrunken(part, targets, best)
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
    def build(
        cls, scoring: Scoring, sides: Sequence[Sides], parts: Iterable[Part], n_stimuli: int, cores: Cores
    ) -> ByStimulus:
        """Make the matrices fold by fold and penalty by penalty, side by side, and add them up in that order.

        A fold's part may be let go after its turn.
        """
        blocks = _blocks(sides, n_stimuli)
        error, between, within = (
            tuple(QuadraticForm.zeros(scoring.device, blocks) for _ in scoring.alphas if wanted)
            for wanted in (True, scoring.repeated, scoring.repeated)
        )
        pieces = ((side, part, a) for side, part in zip(sides, parts, strict=True) for a in range(len(scoring.alphas)))
        work, item_bytes = partial(_squares, scoring, blocks), 4 * 3 * n_stimuli**2
        for a, residuals, means, contrasts in cores.map(work, pieces, item_bytes=item_bytes):
            error[a].add(residuals)
            if means is not None:
                between[a].add(means)
            if contrasts is not None:
                within[a].add(contrasts)
                if scoring.on_trials:
                    error[a].add(contrasts)
        return cls(scoring, tuple(sides), error, between, within)

    def errors(self, targets: Array) -> Float64:
        """Return squared errors of held-out rows, ``(n_alphas, n_targets)``, from centred targets of all stimuli."""
        return np.stack([form(targets) for form in self.error])

    def spreads(self, targets: Array, best: Integers) -> tuple[Float64, Float64]:
        """Return sums of squares of held-out predictions between and within stimuli, each at its best penalty."""
        between, within = np.zeros((2, targets.shape[1]))
        for a in np.unique(best):
            where = np.flatnonzero(best == a)
            between[where] = self.between[a](targets[:, where])
            within[where] = self.within[a](targets[:, where])
        return between, within


def _squares(
    scoring: Scoring, blocks: Sequence[slice], piece: tuple[Sides, Part, int]
) -> tuple[int, Squares, Squares | None, Squares | None]:
    """Return the number of a penalty, and the squares of a fold's residuals, predictions and contrasts at it."""
    side, part, a = piece
    root, scored = scoring.root(side, scored=False), scoring.root(side, scored=True)
    shrunken = part.shrunken(scoring.alphas[a])
    mean = part.between @ shrunken
    residual = scoring.device.zeros(len(side.held), blocks[-1].stop)
    residual[:, part.seen] = mean * (scored / root)
    if scoring.intercept:
        residual += scored * scoring.device.put(side.weight)
    residual[np.arange(len(side.held)), side.held] -= scored[:, 0]
    means = Squares.of(scoring.device, mean, part.seen, blocks) if scoring.repeated else None
    repeats = part.within.shape[0] > 0
    contrasts = Squares.of(scoring.device, part.within @ shrunken, part.seen, blocks) if repeats else None
    return a, Squares.of(scoring.device, residual, np.arange(blocks[-1].stop), blocks), means, contrasts


def _blocks(sides: Sequence[Sides], n_stimuli: int) -> list[slice]:
    """Cut the stimuli, which stand by fold, into blocks that lie in one fold."""
    fold = np.full(n_stimuli, len(sides))
    for k in reversed(range(len(sides))):
        fold[sides[k].held] = k
    edges = [0, *(np.flatnonzero(np.diff(fold)) + 1).tolist(), n_stimuli]
    blocks = []
    for start, stop in pairwise(edges):
        cuts = np.linspace(start, stop, -(-(stop - start) // PANEL_ROWS) + 1).astype(int).tolist()
        blocks += [slice(one, other) for one, other in pairwise(cuts)]
    return blocks


@dataclass(frozen=True)
class Squares:
    """``rows.T @ rows`` as panels of its upper triangle, without the blocks of stimuli that are all nought."""

    present: list[int]  # blocks that are there
    panels: list[Array]  # one for each of them: its rows, the columns of it and of all later ones that are there

    @classmethod
    def of(cls, device: Device, rows: Array, columns: Integers, blocks: Sequence[slice]) -> Squares:
        """Multiply rows, ``(n_rows, n_columns)``, whose columns are these stimuli, ascending."""
        edges = np.searchsorted(columns, [0, *(block.stop for block in blocks)])
        present = np.flatnonzero(np.diff(edges)).tolist()
        stimuli = np.concatenate([np.arange(blocks[i].start, blocks[i].stop) for i in present])
        if len(stimuli) > len(columns):  # some stimuli of a block are there, and some are not
            rows, few = device.zeros(rows.shape[0], len(stimuli)), rows
            rows[:, np.searchsorted(stimuli, columns)] = few
        starts = np.searchsorted(stimuli, [blocks[i].start for i in present])
        stops = np.searchsorted(stimuli, [blocks[i].stop for i in present])
        panels = [rows[:, start:stop].T @ rows[:, start:] for start, stop in zip(starts, stops, strict=True)]
        return cls(present, panels)


@dataclass(frozen=True)
class QuadraticForm:
    """Sum of `Squares` ``E'E`` as panels of its upper triangle, and evaluate ``t' E'E t`` for many t."""

    device: Device
    blocks: Sequence[slice]
    panels: list[Array]  # one for each block: its rows, the columns from its first to the end

    @classmethod
    def zeros(cls, device: Device, blocks: Sequence[slice]) -> QuadraticForm:
        """Return the form that is nought."""
        n = blocks[-1].stop
        return cls(device, blocks, [device.zeros(block.stop - block.start, n - block.start) for block in blocks])

    def add(self, squares: Squares) -> None:
        """Add squares to this form."""
        for k, (i, panel) in enumerate(zip(squares.present, squares.panels, strict=True)):
            at = 0
            for first, last in _runs(squares.present[k:]):
                start, stop = (
                    edge - self.blocks[i].start for edge in (self.blocks[first].start, self.blocks[last].stop)
                )
                self.panels[i][:, start:stop] += panel[:, at : at + stop - start]
                at += stop - start

    def __call__(self, targets: Array) -> Float64:
        """Return the form of each column of targets, ``(n_targets,)``."""
        total = np.zeros(targets.shape[1])
        for block, panel in zip(self.blocks, self.panels, strict=True):
            width = block.stop - block.start
            here = targets[block]
            total += self.device.dots(here, panel[:, :width] @ here)
            if width < panel.shape[1]:
                total += 2.0 * self.device.dots(here, panel[:, width:] @ targets[block.stop :])
        return total


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and the last of each stretch of numbers that follow each other."""
    breaks = [place for place, (one, next_) in enumerate(pairwise(numbers), start=1) if next_ != one + 1]
    return [(numbers[start], numbers[stop - 1]) for start, stop in pairwise([0, *breaks, len(numbers)])]


HeldOut = ByPrediction | ByStimulus


def cheaper_by_stimulus(
    sides: Sequence[Sides], *, n_stimuli: int, rank: int, n_alphas: int, n_targets: int, repeated: bool
) -> bool:
    """Return whether quadratic forms cost fewer products than predictions, forming them included, and fit in memory."""
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
        n_without = n_rows - (0 if repeated else len(side.held))  # predictions and contrasts, beside the residuals
        forming += n_alphas * n_rows * n_seen * rank
        forming += n_alphas * (len(side.held) * n_stimuli**2 + n_without * n_seen**2) // 2
    n_forms = n_alphas + (2 if repeated else 0)
    return {"stimulus": forming + n_forms * n_targets * n_stimuli**2 // 2, "prediction": predicting}
