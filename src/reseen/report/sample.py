"""Sample: which images a report shows, by a rule that is declared beside them."""

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
        Positions by rank, the better one first; each has ``n_each``, and no image stands in two of them.
    random
        Positions drawn from all images without a look at the scores, ascending; they may overlap the others.
    n_ranked, n_items
        How many images have a score, and how many there are.
    seed
        What the random ones were drawn with.
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
        """Name and positions of the groups that hold an image."""
        named = (("best", self.best), ("median", self.median), ("worst", self.worst), ("random", self.random))
        return tuple((name, positions) for name, positions in named if positions)

    @property
    def labelled(self) -> list[tuple[str, int]]:
        """Name of its group and position of each image, group after group."""
        return [(name, position) for name, positions in self.groups for position in positions]

    def rule(self, score_name: str) -> str:
        """Return in words how the images were chosen, given the name of the score."""
        parts = []
        if self.best:
            one = len(self.best) == 1
            parts.append(
                f"The {self.n_ranked} images with a score are ranked by {score_name}; shown are "
                + ("the best, the median and the worst one." if one else self._counted(len(self.best)))
            )
        else:
            parts.append(f"Too few images have a score ({self.n_ranked}) to show best, median and worst.")
        if self.random:
            verb = "are" if len(self.random) > 1 else "is"
            parts.append(
                f"{len(self.random)} {verb} drawn at random from all {self.n_items} (seed {self.seed}) "
                "without a look at the scores, and may also stand among the others."
            )
        missing = self.n_items - self.n_ranked
        if missing:
            parts.append(f"{missing} without a score {'are' if missing > 1 else 'is'} not ranked.")
        return " ".join(parts)

    @staticmethod
    def _counted(count: int) -> str:
        return f"the {count} best, the {count} around the median and the {count} worst."


def declared_sample(score: NDArray[np.floating[Any]], *, n_random: int, n_each: int = 3, seed: int = 0) -> Sample:
    """Pick the best, the median, the worst and some random images; the same scores always give the same images.

    Parameters
    ----------
    score
        Shape ``(n_items,)``, higher is better; NaN where there is none. Ties keep the order of the items.
    n_random
        How many to draw at random (all of them where there are fewer).
    n_each
        How many best, median and worst; fewer where there are less than three times as many scores.
    seed
        Of the random ones, which do not depend on the scores.
    """
    score = np.asarray(score, dtype=np.float64)
    ranked = np.flatnonzero(~np.isnan(score))
    ranked = ranked[np.argsort(-score[ranked], kind="stable")]
    count = min(n_each, len(ranked) // 3)
    middle = (len(ranked) - count) // 2
    drawn = np.random.default_rng(abs(seed)).permutation(len(score))[: max(n_random, 0)]
    return Sample(
        best=_positions(ranked[:count]),
        median=_positions(ranked[middle : middle + count]),
        worst=_positions(ranked[len(ranked) - count :]),
        random=_positions(np.sort(drawn)),
        n_ranked=len(ranked),
        n_items=len(score),
        seed=seed,
    )


def _positions(array: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(int(position) for position in array)
