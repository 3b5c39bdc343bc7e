"""Score retrieval: expected top-1 accuracy in random galleries, in both directions, by named protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from itertools import product
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.defaults import GALLERY
from reseen.metrics import Floats
from reseen.tables import FEATURES, RETRIEVAL_COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame

RetrievalProtocol = Literal["builtin", "mindeye2"]
RETRIEVAL_PROTOCOLS: tuple[RetrievalProtocol, ...] = get_args(RetrievalProtocol)
"""``builtin``: correlation, of decoded features after their training mean is subtracted. ``mindeye2``: cosine of the
flattened numbers as they are, as in MindEye and MindEye2."""


class SampleReader(Sized, Iterable[NDArray[np.floating]], Protocol):
    """Samples ``(n, d)`` that are read one by one, such as a list or `reseen.evaluate.LayerActivations`."""


Samples = NDArray[np.floating] | SampleReader
"""Features ``(n, d)`` or ``(n, n_samples, d)``, or samples ``(n, d)`` that are read one by one."""
Compare = Callable[[NDArray[np.floating], NDArray[np.floating]], Floats]
"""Similarity of each row of one array with each row of another."""
_SIDE = 1024
"""Items of either side that are compared together, for memory."""


def score_retrieval(
    decoded: Samples,
    true: NDArray[np.floating],
    stimulus_id: NDArray[np.int64],
    *,
    training_mean: NDArray[np.floating] | float = 0.0,
    size: int = GALLERY,
    protocols: Sequence[RetrievalProtocol] = RETRIEVAL_PROTOCOLS,
    sides: tuple[str, str] = ("decoded", "true"),
    subject: str = "",
    condition: str = "",
    network: str = FEATURES,
    layer: str = "",
    permuted: Samples = (),
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> DataFrame:
    """Score how often the right item is the most similar one of a random gallery.

    The accuracy is the expectation over all galleries (`reseen.metrics.expected_top1`), to which a simulation such as
    MindEye's, with 30 random galleries, converges. A true item is in a gallery once. Decoded items of the query's own
    stimulus are never distractors.

    Parameters
    ----------
    decoded
        Shape ``(n, d)``, or several samples, ``(n, n_samples, d)`` or a collection of ``(n, d)``: similarities are then
        averaged over samples.
    true
        Shape ``(n, d)``: true features or activations of the same items.
    stimulus_id
        Shape ``(n,)``; ids repeat where items are single trials.
    training_mean
        Shape ``(d,)`` or ``(n, d)``: mean of the training stimuli's features, which the protocol ``builtin`` subtracts
        from both.
    size
        Number of items in a gallery; all stimuli, if there are fewer.
    protocols
        Some of `RETRIEVAL_PROTOCOLS`.
    sides
        Names of the decoded and the true items.
    subject, condition, network, layer
        For the table.
    permuted
        The same from decoders that were fitted on permuted labels, one sample for each permutation. Accuracies are
        averaged over permutations.
    n_bootstrap, seed
        Number of resamplings of stimuli behind each interval, and their seed.

    Returns
    -------
    A table of `reseen.tables.RETRIEVAL_COLUMNS`. Its metric is ``top1@<size>``. ``query`` and ``gallery`` name the
    direction. ``chance`` is 1 / size, the expectation for items in random order, and ``permuted`` is NaN without
    permutations. ``low`` and ``high`` are the middle 95 % of resamplings of stimuli.

    Raises
    ------
    ShapeError
        If there are fewer than two stimuli.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> true = rng.normal(size=(40, 100))
    >>> table = score_retrieval(true + rng.normal(size=true.shape), true, np.arange(40), size=10)
    >>> table[["metric", "query", "gallery"]].drop_duplicates().values.tolist()
    [['top1@10', 'decoded', 'true'], ['top1@10', 'true', 'decoded']]
    """
    import pandas as pd

    unique, first, row = np.unique(stimulus_id, return_index=True, return_inverse=True)
    size = min(size, len(unique))
    weights = statistics.bootstrap_weights(stimulus_id, n_bootstrap, seed=seed)
    every = np.arange(len(stimulus_id))

    def accuracies(similarity: Floats) -> tuple[Floats, Floats]:
        """Return the accuracy of each item in both directions, by similarities ``(true, decoded)``."""
        forward = similarity.T[:, first], row, unique[None, :] != stimulus_id[:, None]
        backward = similarity, every, stimulus_id[None, :] != stimulus_id[:, None]
        return metrics.retrieval_top1(*forward, size), metrics.retrieval_top1(*backward, size)

    together = _similarities(_samples(decoded), true, training_mean, protocols)
    chance_levels: dict[RetrievalProtocol, list[list[float]]] = {protocol: [] for protocol in protocols}
    for sample in _samples(permuted):
        for protocol, similarity in _similarities([sample], true, training_mean, protocols).items():
            chance_levels[protocol].append([float(each.mean()) for each in accuracies(similarity)])
    rows = []
    for protocol in protocols:
        at_chance = np.mean(chance_levels[protocol], axis=0) if chance_levels[protocol] else (np.nan, np.nan)
        found = zip((sides, sides[::-1]), accuracies(together[protocol]), at_chance, strict=True)
        for (query, gallery), each, level in found:
            low, high = statistics.interval(statistics.bootstrap_mean(each, weights))
            words = (subject, condition, protocol, network, layer, f"top1@{size}", query, gallery)
            rows.append((*words, float(each.mean()), low, high, 1 / size, float(level), len(each)))
    return pd.DataFrame(rows, columns=list(RETRIEVAL_COLUMNS))


def _samples(given: Samples) -> SampleReader:
    """Return a collection of samples, each ``(n, d)``."""
    if not isinstance(given, np.ndarray):
        return given
    return [given] if given.ndim == 2 else list(given.swapaxes(0, 1))


def _similarities(
    samples: SampleReader,
    true: NDArray[np.floating],
    training_mean: NDArray[np.floating] | float,
    protocols: Sequence[RetrievalProtocol],
) -> dict[RetrievalProtocol, Floats]:
    """Return the similarity of each true item with each decoded one, ``(n, n)``, averaged over samples."""
    found: dict[RetrievalProtocol, Floats] = {protocol: np.zeros((len(true), len(true))) for protocol in protocols}
    for sample in samples:
        for protocol, total in found.items():
            if protocol == "mindeye2":
                _add(total, true, sample, metrics.cosine_matrix)
            else:
                # as identification of decoded features does
                _add(total, true - training_mean, sample - training_mean, metrics.correlation_matrix)
    for total in found.values():
        total /= len(samples)
    return found


def _add(total: Floats, true: NDArray[np.floating], decoded: NDArray[np.floating], compare: Compare) -> None:
    """Add the similarities of all pairs to ``total``, ``(n, n)``, a block at a time."""
    parts = [slice(start, start + _SIDE) for start in range(0, len(true), _SIDE)]
    for rows, columns in product(parts, parts):
        total[rows, columns] += compare(true[rows], decoded[columns])
