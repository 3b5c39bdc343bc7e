"""Scores of captions against an oracle that is written from the published definitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pytest
from fields import raises_with

from reseen import score_captions
from reseen.errors import ShapeError
from reseen.metrics.captions import CAPTION_METRICS, CaptionReferences, caption_words

NOUNS = ("man", "dog", "red bus", "kite", "pizza", "table")
REFERENCES = [
    ["A red car is parked.", "a red car on the street", "the car"],
    ["two dogs run on grass", "Two dogs are playing", "dogs run on the green grass"],
    ["a man rides a horse", "a man on a horse", "someone riding a brown horse"],
    ["a bowl of soup on a table", "soup in a bowl", "a table with a bowl of soup"],
]
CAPTIONS = ["a red car on a street", "two dogs on the grass", "the the the the", "a bowl of soup"]


def grams(text: str, n: int) -> list[str]:
    words = caption_words(text)
    return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]


def bleu(captions: Sequence[str], references: Sequence[Sequence[str]], n: int) -> float:
    """BLEU of a corpus by equations 1 to 4 of Papineni et al. (2002)."""
    logs = []
    for order in range(1, n + 1):
        clipped, count = 0, 0
        for caption, own in zip(captions, references, strict=True):
            for gram in set(grams(caption, order)):
                times = grams(caption, order).count(gram)
                clipped += min(times, max(grams(reference, order).count(gram) for reference in own))
                count += times
        if clipped == 0:
            return 0.0
        logs.append(math.log(clipped / count))
    c, r = 0, 0
    for caption, own in zip(captions, references, strict=True):
        length = len(grams(caption, 1))
        c += length
        r += sorted((abs(len(grams(text, 1)) - length), len(grams(text, 1))) for text in own)[0][1]
    return (1.0 if c > r else math.exp(1 - r / c)) * math.exp(sum(logs) / n)


def longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest subsequence of both, by trying all subsequences of the first."""
    for size in range(len(first), 0, -1):
        for chosen in combinations(first, size):
            rest = iter(second)
            if all(word in rest for word in chosen):
                return size
    return 0


def rouge_l(caption: str, own: Sequence[str]) -> float:
    """ROUGE-L of Lin (2004), section 3, with precision and recall maximised over references and beta 1.2."""
    found = [longest_common(caption_words(caption), caption_words(text)) for text in own]
    precision = max(found) / len(caption_words(caption))
    recall = max(n / len(caption_words(text)) for n, text in zip(found, own, strict=True))
    return 0.0 if precision == 0 else (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)


def cider_d(captions: Sequence[str], references: Sequence[Sequence[str]], item: int) -> float:
    """CIDEr-D of one caption: equations 1 and 4 of Vedantam et al. (2015), on vectors over the complete vocabulary."""
    total = 0.0
    for n in (1, 2, 3, 4):
        vocabulary = sorted({gram for own in references for text in own for gram in grams(text, n)})
        vocabulary += sorted(set(grams(captions[item], n)) - set(vocabulary))
        shown = np.array(
            [sum(any(gram in grams(text, n) for text in own) for own in references) for gram in vocabulary]
        )
        idf = np.log(len(references) / np.maximum(1, shown))

        def vector(text: str, n: int = n, vocabulary: list[str] = vocabulary, idf: np.ndarray = idf) -> np.ndarray:
            return np.array([grams(text, n).count(gram) for gram in vocabulary]) * idf

        g = vector(captions[item])
        for text in references[item]:
            s = vector(text)
            norm = np.linalg.norm(g) * np.linalg.norm(s)
            difference = len(caption_words(captions[item])) - len(caption_words(text))
            cosine = np.minimum(g, s) @ s / norm if norm else 0.0
            total += 10 * math.exp(-(difference**2) / (2 * 6**2)) * cosine / len(references[item])
    return total / 4


def random_captions(rng: np.random.Generator, n: int) -> list[str]:
    start = ("a", "the", "two")
    verb = ("on", "next to", "holds", "is near")
    return [
        f"{rng.choice(start)} {rng.choice(NOUNS)} {rng.choice(verb)} {rng.choice(start)} {rng.choice(NOUNS)}"
        for _ in range(n)
    ]


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_scores_equal_the_published_definitions(seed: int | None) -> None:
    captions, references = CAPTIONS, REFERENCES
    if seed is not None:
        rng = np.random.default_rng(seed)
        captions = random_captions(rng, 12)
        references = [random_captions(rng, rng.integers(1, 5)) for _ in range(12)]
    compared = CaptionReferences(references).compare(captions)
    scores = compared.scores()
    for n in (1, 2, 3, 4):
        assert scores[f"bleu{n}"][0] == pytest.approx(bleu(captions, references, n), abs=1e-12)
    of_items: dict[str, Callable[[int], float]] = {
        "rouge_l": lambda item: rouge_l(captions[item], references[item]),
        "cider": lambda item: cider_d(captions, references, item),
    }
    for metric, expected in of_items.items():
        each = [expected(item) for item in range(len(captions))]
        np.testing.assert_allclose(getattr(compared, metric), each, atol=1e-12)
        assert scores[metric][0] == pytest.approx(np.mean(each), abs=1e-12)


def test_scores_equal_those_of_cocos_evaluation() -> None:
    # pycocoevalcap 1.2 (Bleu, Rouge, Cider) on the words of these captions; docs/log.md has the comparison
    expected = {
        "bleu1": 0.6990638273069472,
        "bleu2": 0.5947425039684986,
        "bleu3": 0.4960086137611463,
        "bleu4": 0.42646706936188455,
        "rouge_l": 0.5816287878787878,
        "cider": 2.6228460448360167,
    }
    scores = CaptionReferences(REFERENCES).compare(CAPTIONS).scores()
    for metric, value in expected.items():
        assert scores[metric][0] == pytest.approx(value, abs=1e-8)


def test_the_words_of_captions() -> None:
    assert caption_words("It\u2019s 3.5 m, a well-lit (empty) ROOM: don't go!") == (
        *("it", "'s", "3.5", "m", "a", "well-lit", "empty", "room", "do", "n't", "go"),
    )
    assert caption_words("the dogs' bowls and/or cups") == ("the", "dogs", "bowls", "and", "or", "cups")
    assert caption_words(" ... ") == ()


def test_perfect_empty_and_repeated_captions() -> None:
    known = CaptionReferences(REFERENCES)
    best = known.compare([own[0] for own in REFERENCES]).scores()
    assert all(best[metric][0] == pytest.approx(1) for metric in CAPTION_METRICS[:5])
    assert all(value[0] == 0 for value in known.compare(["", "...", "", ""]).scores().values())
    repeated = known.compare([f"{own[0]} {own[0]}" for own in REFERENCES]).scores()
    assert all(repeated[metric][0] < best[metric][0] for metric in CAPTION_METRICS)


def test_weights_count_items() -> None:
    known = CaptionReferences(REFERENCES).compare(CAPTIONS)
    twice = CaptionReferences([*REFERENCES, REFERENCES[1]], np.array([0, 1, 2, 3, 1])).compare([*CAPTIONS, CAPTIONS[1]])
    weighted = known.scores(np.array([[1.0, 2, 1, 1], [1, 1, 1, 1]]))
    for metric, values in weighted.items():
        assert values[0] == pytest.approx(twice.scores()[metric][0], abs=1e-12)
        assert values[1] == pytest.approx(known.scores()[metric][0], abs=1e-12)


def test_levels_and_their_order() -> None:
    rng = np.random.default_rng(3)
    references = [[f"a {noun} on a {other}", f"the {noun} near the {other}"] for noun in NOUNS for other in NOUNS]
    truth = [own[0] for own in references]
    decoded = [text if rng.random() < 0.5 else truth[rng.integers(len(truth))] for text in truth]
    training = [f"a {noun} in the sky" for noun in NOUNS]
    table = score_captions(decoded, references, oracle=truth, training=training, subject="s", n_bootstrap=200)
    for _, rows in table.groupby("metric"):
        value = rows.set_index("level")["value"]
        assert value["mismatched"] < value["result"] < value["oracle"]
        assert value["chance_random"] < value["result"]
        assert value["ceiling"] < value["oracle"]  # against one reference fewer, which uses other words
        assert (rows["low"] <= rows["value"] + 1e-12).all()
        assert (rows["value"] <= rows["high"] + 1e-12).all()
    assert table["metric"].drop_duplicates().tolist() == list(CAPTION_METRICS)
    again = score_captions(decoded, references, oracle=truth, training=training, subject="s", n_bootstrap=200)
    assert again.equals(table)
    other = score_captions(decoded, references, training=training, n_bootstrap=200, seed=1)
    assert not other["value"].equals(table[table["level"] != "oracle"]["value"].reset_index(drop=True))


def test_without_training_oracle_or_second_captions_there_are_fewer_levels() -> None:
    table = score_captions(["a dog", "a cat"], [["a dog"], ["the cat"]], n_bootstrap=10)
    assert table["level"].drop_duplicates().tolist() == ["mismatched", "result"]


def test_what_cannot_be_scored_is_refused() -> None:
    with raises_with(ShapeError, where="captions", expected=2, found=1):
        score_captions(["a"], [["a"], ["b"]])
    with raises_with(ShapeError, where="references[1]", found=[]):
        score_captions(["a", "b"], [["a"], []])
    with raises_with(ShapeError, where="references[0]", found="a"):
        score_captions(["a", "b"], ["a", "b"])
    with raises_with(ShapeError, where="references", found=1):
        score_captions(["a", "b"], [["a"], ["a"]], stimulus_id=np.array([3, 3]))
    with raises_with(ShapeError, where="training"):
        score_captions(["a", "b"], [["a"], ["b"]], training="a b")
