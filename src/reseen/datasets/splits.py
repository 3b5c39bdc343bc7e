"""Split trials into training and test: by a fixed test set, by stimulus, or by run, session or another label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reseen.errors import RecipeError, ShapeError
from reseen.recipe import SPECIAL, DataRecipe
from reseen.split import Split

FOLD_SEED = 0
Labels = NDArray[np.int64] | Sequence[str]


def make_split(
    data: DataRecipe,
    stimulus_id: NDArray[np.int64],
    subsets: Mapping[str, frozenset[int]],
    *,
    test: NDArray[np.int64] | None,
    labels: Mapping[str, Labels] | None = None,
) -> Split:
    """Split what a subject saw according to the recipe.

    Parameters
    ----------
    data
        Section ``data`` of the recipe: ``test``, ``n_folds`` and ``n_test``.
    stimulus_id
        Shape ``(n_trials,)``: stimulus of each trial, 0-based. Without ``labels``, the stimuli alone are enough.
    subsets
        Named sets of stimuli; half of a smaller test set is from ``"seen"``, half from ``"novel"``.
    test
        The fixed test set, ascending; None or empty if there is none.
    labels
        Label of each trial, ``(n_trials,)``, by the values of ``data.test`` that leave trials out: ``"runs"``,
        ``"sessions"``, ``"column:NAME"``. Every fold trains on a trial with an empty text.

    Raises
    ------
    RecipeError
        If the number of folds or test images exceeds the number of stimuli, or the data lack the labels.
    """
    seen = np.unique(stimulus_id)
    if data.leaves_trials_out:
        split = _leave_trials_out(data, stimulus_id, labels or {})
        return _fewer(split, data.n_test, subsets)
    if test is None or not len(test) or data.test == "folds":
        if data.test in ("shared", SPECIAL) and test is not None:
            raise RecipeError(
                f"data.test is {data.test!r}, and the subject saw no shared image in the sessions read. "
                "Read more sessions, or set data.test to 'folds'."
            )
        if data.n_folds > len(seen):
            raise RecipeError(
                f"data.n_folds is {data.n_folds}; 2 to {len(seen)} folds of {len(seen)} stimuli are possible."
            )
        return _fewer(Split.leave_out(seen, data.n_folds, seed=FOLD_SEED), data.n_test, subsets)
    train = np.setdiff1d(seen, test)
    if not len(train):
        raise RecipeError("every image the subject saw in the sessions read is a test image. Read more sessions.")
    return Split.fixed(train, choose_test(test, data.n_test, subsets))


def _leave_trials_out(data: DataRecipe, stimulus_id: NDArray[np.int64], labels: Mapping[str, Labels]) -> Split:
    """Leave the trials of each label out in turn."""
    known = [name for name, values in labels.items() if any(map(str, values))]
    if data.test not in known:
        raise RecipeError(
            f"data.test is {data.test!r}; the trials of these data have {', '.join(known) or 'no such labels'}. Set "
            "data.test to 'folds' to leave stimuli out, or to a label that the trials have.",
            where="data.test",
            expected=tuple(known),
            found=data.test,
        )
    try:
        return Split.leave_groups_out(stimulus_id, number_labels(labels[data.test]))
    except ShapeError as error:
        raise RecipeError(
            f"data.test is {data.test!r}, and all trials have the same label; two or more are needed to leave one out. "
            "Set data.test to 'folds' to leave stimuli out.",
            where="data.test",
            expected=2,
            found=1,
        ) from error


def number_labels(labels: Labels) -> NDArray[np.int64]:
    """Return labels of trials as numbers from 0, in their order; an empty text is -1."""
    words = np.asarray(labels)
    filled = words != "" if words.dtype.kind == "U" else np.ones(len(words), dtype=bool)
    number = np.full(len(words), -1, dtype=np.int64)
    number[filled] = np.unique(words[filled], return_inverse=True)[1]
    return number


def _fewer(split: Split, n_test: int | None, subsets: Mapping[str, frozenset[int]]) -> Split:
    """Test only ``n_test`` stimuli; the folds that are left have the same decoders."""
    return split if n_test is None else split.test_only(choose_test(split.test_ids, n_test, subsets))


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
