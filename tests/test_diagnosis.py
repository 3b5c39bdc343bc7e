"""Diagnostics as a table of checks."""

import numpy as np
import pytest

from reseen.checks import CHECK_COLUMNS
from reseen.diagnosis import diagnose
from reseen.errors import ShapeError
from reseen.features import Features
from reseen.split import Split

N, N_TEST = 90, 30
SPLIT = Split.fixed(range(N - N_TEST), range(N - N_TEST, N))
TESTED = np.arange(N - N_TEST, N)


def features(seed: int = 0) -> Features:
    return Features("c", np.random.default_rng(seed).standard_normal((N, 40)).astype(np.float32), np.arange(N))


def test_a_decoder_of_images_passes_and_one_of_noise_fails():
    true = features()
    noise = np.random.default_rng(1).standard_normal((N_TEST, 40)).astype(np.float32)
    good = diagnose(Features("c", true.array[TESTED] + noise, TESTED), true, SPLIT, n_bootstrap=20)
    assert tuple(good.checks.columns) == CHECK_COLUMNS
    two_way = good.checks.set_index(["check", "setting"]).loc[("identification", "")]
    assert two_way["status"] == "pass"
    assert two_way["value"] > two_way["threshold"] > two_way["chance"]
    assert two_way["chance"] == pytest.approx(0.5, abs=0.02)
    value, low, high, chance = (100 * two_way[name] for name in ("value", "low", "high", "chance"))
    numbers = f"{value:.1f} % [{low:.1f} %, {high:.1f} %], above chance ({chance:.1f} %)"
    assert two_way["sentence"] == f"decoded c: two-way identification is {numbers}."
    bad = diagnose(Features("c", noise, TESTED), true, SPLIT, n_bootstrap=20)
    assert bad.checks.set_index(["check", "setting"]).loc[("identification", ""), "status"] == "fail"
    assert repr(bad).splitlines()[1].startswith("  fail: decoded c: ")
    assert len(repr(bad).splitlines()) <= 6


def test_a_decoder_of_categories_passes_between_and_fails_within():
    rng = np.random.default_rng(2)
    kinds = rng.integers(2, size=N)
    centres = 3 * rng.standard_normal((2, 40))
    true = Features("c", (centres[kinds] + rng.standard_normal((N, 40))).astype(np.float32), np.arange(N))
    decoded = Features("c", (centres[kinds[TESTED]] + rng.standard_normal((N_TEST, 40))).astype(np.float32), TESTED)
    categories = {"place": {number: str(kind) for number, kind in enumerate(kinds)}}
    found = diagnose(decoded, true, SPLIT, categories=categories, n_bootstrap=100)
    results = found.checks.set_index(["check", "setting"])["status"]
    assert results["between categories", "place"] == "pass"
    assert results["within category", "place"] == "fail"
    assert any("the category, not the image, is decoded" in sentence for sentence in found.checks["sentence"])
    assert "the category, not the image, is decoded" in repr(found)
    assert len(repr(found).splitlines()) <= 6
    assert "<table" in found._repr_html_()
    assert (found == found) is True
    assert isinstance(hash(found), int)


def test_features_that_do_not_belong_together_are_refused():
    true = features()
    with pytest.raises(ShapeError) as refused:
        diagnose(Features("c", true.array[TESTED, :39], TESTED), true, SPLIT)
    assert (refused.value.where, refused.value.expected, refused.value.found) == ("decoded", (40,), (39,))
    with pytest.raises(ShapeError, match="no row"):
        diagnose(Features("c", true.array[TESTED], TESTED + N), true, SPLIT)
