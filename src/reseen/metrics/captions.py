"""Scores of captions against the captions that people wrote: BLEU, ROUGE-L and CIDEr.

The definitions are those of the evaluation of COCO's captions (Chen et al. 2015, arXiv 1504.00325), the protocol
`COCO`. Each score is computed from sums or means over images, so that resamplings of images need no second comparison.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reseen import statistics
from reseen.errors import ShapeError
from reseen.metrics.scores import Floats

COCO = "coco2015"
"""Protocol of these scores."""
CAPTION_METRICS = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider")
"""All scores, in the order of tables."""
_N = 4  # longest n-gram
_BETA = 1.2  # weight of recall in ROUGE-L, as in COCO's evaluation
_SIGMA = 6.0  # words; width of CIDEr-D's penalty of another length
_CLITIC = re.compile(r"(\w)(n't|'(?:s|re|ve|ll|d|m))\b")
_WORD = re.compile(r"n't\b|'(?:s|re|ve|ll|d|m)\b|\d+(?:[.,]\d+)+|\w+(?:-\w+)*")

Words = tuple[str, ...]


def caption_words(caption: str) -> Words:
    """Return the words of a caption: in lower case, without punctuation, with clitics apart.

    COCO's evaluation uses the Penn Treebank's tokenizer, a program in Java. The words are the same for plain English.

    Examples
    --------
    >>> caption_words("A man's T-shirt doesn't fit.")
    ('a', 'man', "'s", 't-shirt', 'does', "n't", 'fit')
    """
    text = _CLITIC.sub(r"\1 \2", caption.lower().replace("\u2019", "'"))
    return tuple(_WORD.findall(text))


@dataclass(frozen=True)
class CaptionCounts:
    """Comparison of one caption for each item with the item's references.

    Parameters
    ----------
    matched, total
        Shape ``(n_items, 4)``: n-grams that a reference has too, and all n-grams, of 1 to 4 words.
    length, reference_length
        Shape ``(n_items,)``: number of words of the caption, and of the reference that is nearest in length.
    rouge_l, cider
        Shape ``(n_items,)``: the scores of each item.
    """

    matched: Floats
    total: Floats
    length: Floats
    reference_length: Floats
    rouge_l: Floats
    cider: Floats

    def scores(self, weights: Floats | None = None) -> dict[str, Floats]:
        """Compute all scores, once for each row of weights.

        Parameters
        ----------
        weights
            Shape ``(n_samples, n_items)``: count of each item in each sample. Left out: each item once.

        Returns
        -------
        Each of `CAPTION_METRICS`, ``(n_samples,)``.
        """
        given = np.ones((1, len(self.length))) if weights is None else weights
        # precision of n-grams over all items together (Papineni et al. 2002): BLEU is no mean over images
        precision = statistics.ratio(given @ self.matched, given @ self.total)
        precision = np.where(np.isfinite(precision), precision, 0.0)
        length, reference = given @ self.length, given @ self.reference_length
        # brevity penalty: exp(1 - r / c) for captions that are shorter than their references in total
        brevity = np.exp(np.minimum(0.0, 1 - reference / np.maximum(length, 1e-300)))
        with np.errstate(divide="ignore"):  # the logarithm of no match is -infinity, and its BLEU is 0
            mean_log = np.cumsum(np.log(precision), axis=1) / np.arange(1, _N + 1)
        bleu = brevity[:, None] * np.exp(mean_log)
        n_items = given.sum(axis=1)
        found = {f"bleu{n + 1}": bleu[:, n] for n in range(_N)}
        return {**found, "rouge_l": given @ self.rouge_l / n_items, "cider": given @ self.cider / n_items}


class CaptionReferences:
    """References of some items, against which captions are compared.

    Parameters
    ----------
    references
        For each item its references, one or more.
    stimulus_id
        Shape ``(n_items,)``: stimulus of each item; each stimulus counts once in CIDEr's frequencies. Left out: all
        items are of different stimuli.

    Raises
    ------
    ShapeError
        If an item has no reference, or there are fewer than two stimuli.

    Examples
    --------
    >>> known = CaptionReferences([["a red car"], ["two dogs run", "dogs on grass"]])
    >>> scores = known.compare(["a red car", "two cats run"]).scores()
    >>> round(float(scores["bleu1"][0]), 3)
    0.833
    """

    def __init__(self, references: Sequence[Sequence[str]], stimulus_id: NDArray[np.int64] | None = None) -> None:
        bare = next((number for number, own in enumerate(references) if isinstance(own, str) or not len(own)), None)
        if bare is not None:
            raise ShapeError(
                f"item {bare} needs a list of one or more reference captions; found {references[bare]!r}.",
                where=f"references[{bare}]",
                expected="a list of captions",
                found=references[bare],
            )
        labels = np.arange(len(references)) if stimulus_id is None else np.asarray(stimulus_id)
        if labels.shape != (len(references),) or len(np.unique(labels)) < 2:
            raise ShapeError(
                f"scores of captions need references of two stimuli or more, and one stimulus id for each of the "
                f"{len(references)} items; found ids {labels.shape} of {len(np.unique(labels))} stimuli.",
                where="references",
                expected=2,
                found=len(np.unique(labels)),
            )
        self.labels: NDArray[np.int64] = labels
        self._words = [list(map(caption_words, own)) for own in references]
        _, first = np.unique(labels, return_index=True)
        # number of stimuli of which some reference has an n-gram
        self._frequency: Counter[Words] = Counter()
        for item in first:
            self._frequency.update(set().union(*map(_grams, self._words[item])))
        self._log_n = float(np.log(len(first)))
        self._vectors = [list(map(self._vector, own)) for own in self._words]

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._words)

    def compare(self, captions: Sequence[str]) -> CaptionCounts:
        """Compare one caption for each item with the item's references.

        Parameters
        ----------
        captions
            Length ``n_items``, in the order of the references. An empty caption scores 0.

        Raises
        ------
        ShapeError
            If there is not one caption for each item.
        """
        if isinstance(captions, str) or len(captions) != len(self):
            raise ShapeError(
                f"expected one caption for each of {len(self)} items; found {len(captions)}.",
                where="captions",
                expected=len(self),
                found=len(captions),
            )
        n = len(self)
        matched, total = np.zeros((2, n, _N))
        length, nearest, rouge, cider = np.zeros((4, n))
        for item, caption in enumerate(captions):
            words, references = caption_words(caption), self._words[item]
            matched[item], total[item] = _matches(words, references)
            length[item], nearest[item] = len(words), _nearest_length(len(words), references)
            rouge[item] = _rouge_l(words, references)
            cider[item] = self._cider(words, item)
        return CaptionCounts(matched, total, length, nearest, rouge, cider)

    def _vector(self, words: Words) -> dict[Words, float]:
        """Return each n-gram of a caption with its count times its inverse document frequency."""
        counts = _grams(words)
        return {gram: n * (self._log_n - np.log(max(1, self._frequency[gram]))) for gram, n in counts.items()}

    def _cider(self, words: Words, item: int) -> float:
        """Return CIDEr-D of one caption (Vedantam et al. 2015), ten times a mean of cosines.

        For n-grams of each length, the cosine between the caption's vector g and a reference's vector r, where g is
        clipped to r so that repeated words gain nothing: ``sum(min(g, r) * r) / (|g| |r|)``. It is multiplied by
        ``exp(-(length difference)² / (2 * 6²))`` and averaged over the four lengths and the references.
        """
        own = self._vector(words)
        own_norms = _norms(own)
        total = 0.0
        for reference, known in zip(self._words[item], self._vectors[item], strict=True):
            product = np.zeros(_N)
            for gram, value in own.items():
                weight = known.get(gram, 0.0)
                product[len(gram) - 1] += min(value, weight) * weight
            norms = own_norms * _norms(known)
            cosine = np.divide(product, norms, out=np.zeros(_N), where=norms > 0)
            total += float(cosine.mean() * np.exp(-((len(words) - len(reference)) ** 2) / (2 * _SIGMA**2)))
        return 10 * total / len(self._words[item])


def _grams(words: Words) -> Counter[Words]:
    """Count the n-grams of a caption, of 1 to 4 words."""
    counts: Counter[Words] = Counter()
    for n in range(1, _N + 1):
        counts.update(words[start : start + n] for start in range(len(words) - n + 1))
    return counts


def _norms(vector: dict[Words, float]) -> Floats:
    """Return the length of a vector of n-grams, for each number of words, ``(4,)``."""
    squares = np.zeros(_N)
    for gram, value in vector.items():
        squares[len(gram) - 1] += value**2
    return np.sqrt(squares)


def _matches(words: Words, references: Sequence[Words]) -> tuple[Floats, Floats]:
    """Count matched and all n-grams; one is matched at most as often as in the reference that has it most often."""
    most: Counter[Words] = Counter()
    for reference in references:
        most |= _grams(reference)
    matched, total = np.zeros((2, _N))
    for gram, count in _grams(words).items():
        total[len(gram) - 1] += count
        matched[len(gram) - 1] += min(count, most[gram])
    return matched, total


def _nearest_length(length: int, references: Sequence[Words]) -> int:
    """Return the length of the reference that is nearest in length; of two, the shorter."""
    return min((len(reference) for reference in references), key=lambda found: (abs(found - length), found))


def _rouge_l(words: Words, references: Sequence[Words]) -> float:
    """Return ROUGE-L of one caption (Lin 2004): an F-score of the longest common subsequence.

    As in COCO's evaluation, precision and recall are each the largest over references, which may be different ones:
    ``(1 + beta²) * precision * recall / (recall + beta² * precision)`` with ``beta = 1.2``.
    """
    common = [_common(words, reference) for reference in references]
    if max(common) == 0:
        return 0.0
    precision = max(common) / len(words)
    recall = max(n / max(1, len(reference)) for n, reference in zip(common, references, strict=True))
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _common(first: Words, second: Words) -> int:
    """Return the length of the longest common subsequence of two captions."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0  # the entry of the previous row and column
        for column, other in enumerate(second, start=1):
            above = row[column]
            row[column] = before + 1 if word == other else max(above, row[column - 1])
            before = above
    return row[-1]
