"""Score retrieval: expected top-1 accuracy in random galleries, in both directions, by named protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.metrics import Floats
from reseen.tables import FEATURES, RETRIEVAL_COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame

GALLERY = 300
"""Size of the galleries of MindEye, and the default one."""
RetrievalProtocol = Literal["builtin", "mindeye2"]
RETRIEVAL_PROTOCOLS: tuple[RetrievalProtocol, ...] = get_args(RetrievalProtocol)
"""``builtin``: correlation, of decoded features after their training mean is subtracted. ``mindeye2``: cosine of the
flattened numbers as they are, as in MindEye and MindEye2."""


def score_retrieval(
    decoded: NDArray[np.floating],
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
        Shape ``(n, d)``, or ``(n, n_samples, d)``: similarities are then averaged over samples.
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
    n_bootstrap, seed
        Number of resamplings of stimuli behind each interval, and their seed.

    Returns
    -------
    A table of `reseen.tables.RETRIEVAL_COLUMNS`. Its metric is ``top1@<size>``. ``query`` and ``gallery`` name the
    direction. ``chance`` is 1 / size. ``low`` and ``high`` are the middle 95 % of resamplings of stimuli.

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

    samples = decoded[:, None] if decoded.ndim == 2 else decoded
    unique, first, row = np.unique(stimulus_id, return_index=True, return_inverse=True)
    size = min(size, len(unique))
    weights = statistics.bootstrap_weights(stimulus_id, n_bootstrap, seed=seed)
    every = np.arange(len(stimulus_id))
    rows = []
    for protocol in protocols:
        similarity = _similarity(samples, true, training_mean, protocol)  # (true, decoded)
        forward = similarity.T[:, first], row, unique[None, :] != stimulus_id[:, None]
        backward = similarity, every, stimulus_id[None, :] != stimulus_id[:, None]
        for (query, gallery), parts in ((sides, forward), (sides[::-1], backward)):
            each = metrics.retrieval_top1(*parts, size)
            low, high = statistics.interval(statistics.bootstrap_mean(each, weights))
            words = (subject, condition, protocol, network, layer, f"top1@{size}", query, gallery)
            rows.append((*words, float(each.mean()), low, high, 1 / size, len(each)))
    return pd.DataFrame(rows, columns=list(RETRIEVAL_COLUMNS))


def _similarity(
    samples: NDArray[np.floating],
    true: NDArray[np.floating],
    training_mean: NDArray[np.floating] | float,
    protocol: RetrievalProtocol,
) -> Floats:
    """Return the similarity of each true item with each decoded one, ``(n, n)``, averaged over samples."""
    n_samples = samples.shape[1]
    total: Floats = np.zeros((len(true), len(true)))
    for sample in range(n_samples):
        if protocol == "mindeye2":
            total += metrics.cosine_matrix(true, samples[:, sample])
        else:
            # as identification of decoded features does
            total += metrics.correlation_matrix(true - training_mean, samples[:, sample] - training_mean)
    total /= n_samples
    return total
