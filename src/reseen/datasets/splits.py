"""Split stimuli into training and test set; all trials of a stimulus are in the same set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from reseen.errors import RecipeError
from reseen.recipe import DataRecipe
from reseen.trials import Split

FOLD_SEED = 0


def make_split(
    data: DataRecipe,
    seen: NDArray[np.int64],
    subsets: Mapping[str, frozenset[int]],
    *,
    test: NDArray[np.int64] | None,
) -> Split:
    """Split the stimuli that a subject saw according to the recipe.

    Parameters
    ----------
    data
        Section ``data`` of the recipe: ``test``, ``n_folds`` and ``n_test``.
    seen
        Ids of the stimuli shown, ascending, 0-based.
    subsets
        Named sets of stimuli; half of a smaller test set is from ``"seen"``, half from ``"novel"``.
    test
        The fixed test set, ascending; None or empty if there is none.

    Raises
    ------
    RecipeError
        If the number of folds or test images exceeds the number of stimuli.
    """
    if test is None or not len(test) or data.test == "folds":
        if data.test == "shared" and test is not None:
            raise RecipeError(
                "data.test is 'shared', and the subject saw no shared image in the sessions read. "
                "Read more sessions, or set data.test to 'folds'."
            )
        if data.n_folds > len(seen):
            raise RecipeError(
                f"data.n_folds is {data.n_folds}; 2 to {len(seen)} folds of {len(seen)} stimuli are possible."
            )
        if data.n_test is not None:
            raise RecipeError("data.n_test chooses from a fixed test set; folds test every stimulus. Take n_test out.")
        return Split.leave_out(seen, data.n_folds, seed=FOLD_SEED)
    train = np.setdiff1d(seen, test)
    if not len(train):
        raise RecipeError("every image the subject saw in the sessions read is a test image. Read more sessions.")
    return Split.fixed(train, choose_test(test, data.n_test, subsets))


def choose_test(
    test: NDArray[np.int64], n_test: int | None, subsets: Mapping[str, frozenset[int]]
) -> NDArray[np.int64]:
    """Choose ``n_test`` test images, spread evenly over the ids; half seen and half novel if subsets are known.

    Raises
    ------
    RecipeError
        If there are fewer.
    """
    if n_test is None:
        return test
    if n_test > len(test):
        raise RecipeError(f"data.n_test asks for {n_test} test images; the subject saw {len(test)}. Ask for fewer.")
    novel = test[np.isin(test, sorted(subsets.get("novel", ())))]
    other = np.setdiff1d(test, novel)
    n_novel = max(min(n_test // 2, len(novel)), n_test - len(other))
    return np.sort(np.concatenate([_spread(novel, n_novel), _spread(other, n_test - n_novel)]))


def _spread(ids: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    return ids[np.arange(n) * len(ids) // max(n, 1)]
