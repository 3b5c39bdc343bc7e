"""Sizes of a subject's data, counted, or estimated from the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from reseen.datasets import Outline
from reseen.datasets.nsd_facts import TRIALS_PER_SESSION
from reseen.datasets.nsd_protocol import N_SPECIAL
from reseen.recipe import SPECIAL, DataRecipe, Recipe

_NSD = (10_000, 1000, 15_000, 40 * TRIALS_PER_SESSION)
_UNKNOWN = (1000, 100, 2500, 3000)


@dataclass(frozen=True)
class Sizes:
    """Sizes of one subject's data.

    Parameters
    ----------
    n_stimuli
        Number of stimuli, training and test.
    n_tested
        Number of held-out images.
    n_items
        Number of decoded items: one for each held-out image, for each of its trials, or for each fold that tests it.
    n_folds
        Number of folds of the split; each has its own decoders.
    n_voxels
        Number of voxels that are read.
    """

    n_stimuli: int
    n_tested: int
    n_items: int
    n_folds: int
    n_voxels: int

    def __str__(self) -> str:
        """Return the number of held-out images, of all images."""
        items = f", {self.n_items:,} items to decode" if self.n_items != self.n_tested else ""
        folds = f" in {self.n_folds} folds" if self.n_folds > 1 else ""
        return f"{self.n_tested:,} of {self.n_stimuli:,} images{folds}{items}"


def guess_sizes(recipe: Recipe) -> Sizes:
    """Estimate a subject's sizes from the recipe, without reading the data."""
    data, made = recipe.data, recipe.simulate
    simulated = (made.n_train + made.n_test, made.n_test, 2500, made.n_sessions * made.trials_per_session)
    known = {"nsd": _NSD, "simulated": simulated}
    n_stimuli, n_shared, n_voxels, n_trials = known.get(data.kind, _UNKNOWN)
    fixed = {"shared": n_shared, SPECIAL: min(N_SPECIAL, n_shared)}
    n_tested = data.n_test or fixed.get(data.test, n_stimuli)
    n_shown = max(round(n_trials / n_stimuli), 1)
    if data.leaves_trials_out:  # in each fold, most of the stimuli are tested once
        return Sizes(n_stimuli, n_tested, n_tested * n_shown, data.n_folds, n_voxels)
    n_items = n_tested * (n_shown if data.test_trials == "single" else 1)
    return Sizes(n_stimuli, n_tested, n_items, data.n_folds if data.test == "folds" else 1, n_voxels)


def sizes_of(outlines: Sequence[Outline], data: DataRecipe) -> Sizes:
    """Count the data of some subjects; of several subjects, each number is the maximum."""
    each = [_counted(outline, data) for outline in outlines]
    return Sizes(*(max(numbers) for numbers in zip(*map(astuple, each), strict=True)))


def _counted(outline: Outline, data: DataRecipe) -> Sizes:
    tested = outline.split.test_ids
    items, _ = outline.split.items(outline.stimulus_id, averaged=data.test_trials == "averaged")
    return Sizes(len(outline.used), len(tested), len(items), len(outline.split.folds), outline.n_read)
