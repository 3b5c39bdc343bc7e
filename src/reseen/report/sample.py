"""Sample: the declared rule that selects the images of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sample:
    """Positions of the images to show.

    Parameters
    ----------
    best, median, worst
        Positions by rank, better ones first; each group has ``n_each`` images, and no image is in two groups.
    random
        Random positions among all images, ascending, independent of the scores; they may be in other groups too.
    n_ranked, n_items
        Number of images with a score, and number of images.
    seed
        Seed of the random positions.
    """

    best: tuple[int, ...]
    median: tuple[int, ...]
    worst: tuple[int, ...]
    random: tuple[int, ...]
    n_ranked: int
    n_items: int
    seed: int

    @property
    def groups(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name and positions of the groups that have an image."""
        named = (("best", self.best), ("median", self.median), ("worst", self.worst), ("random", self.random))
        return tuple((name, positions) for name, positions in named if positions)

    @property
    def labelled(self) -> dict[int, str]:
        """Position of each image -> names of its groups, such as ``"best, random"``; group after group."""
        found: dict[int, str] = {}
        for name, positions in self.groups:
            for position in positions:
                found[position] = f"{found[position]}, {name}" if position in found else name
        return found

    def rule(self, score_name: str) -> str:
        """Return the rule of selection in words, given the name of the score."""
        count = len(self.best)
        parts = [f"Too few images have a score ({self.n_ranked}) to show best, median and worst."]
        if count:
            shown = f"the {count} best, the {count} around the median and the {count} worst"
            if count == 1:
                shown = "the best, the median and the worst one"
            parts = [f"The {self.n_ranked} images with a score are ranked by {score_name}; shown are {shown}."]
        if self.random:
            verb = "are" if len(self.random) > 1 else "is"
            parts.append(
                f"{len(self.random)} {verb} selected at random from all {self.n_items} (seed {self.seed}), "
                "independently of the scores, and may be in the other groups too."
            )
        missing = self.n_items - self.n_ranked
        if missing:
            parts.append(f"{missing} without a score {'are' if missing > 1 else 'is'} not ranked.")
        return " ".join(parts)


def declared_sample(score: NDArray[np.floating[Any]], *, n_random: int, n_each: int = 3, seed: int = 0) -> Sample:
    """Select the best, the median, the worst and some random images; the same scores always give the same images.

    Parameters
    ----------
    score
        Shape ``(n_items,)``, higher is better; NaN if missing. Ties keep the order of the items.
    n_random
        Number of random images (all images if there are fewer).
    n_each
        Number of best, median and worst images each; fewer if there are fewer than ``3 * n_each`` scores.
    seed
        Seed of the random images, which do not depend on the scores.
    """
    score = np.asarray(score, dtype=np.float64)
    ranked = np.flatnonzero(~np.isnan(score))
    ranked = ranked[np.argsort(-score[ranked], kind="stable")]
    count = min(n_each, len(ranked) // 3)
    middle = (len(ranked) - count) // 2
    drawn = np.random.default_rng(abs(seed)).permutation(len(score))[: max(n_random, 0)]
    return Sample(
        best=tuple(ranked[:count].tolist()),
        median=tuple(ranked[middle : middle + count].tolist()),
        worst=tuple(ranked[len(ranked) - count :].tolist()),
        random=tuple(np.sort(drawn).tolist()),
        n_ranked=len(ranked),
        n_items=len(score),
        seed=seed,
    )
