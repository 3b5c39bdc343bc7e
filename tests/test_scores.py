"""The table of scores: its headline, its wide form, what it prints and how it is kept."""

import math

import numpy as np
import pandas as pd
import pytest

from reseen.errors import ResultsError, ShapeError
from reseen.headline import choose
from reseen.scores import Scores
from reseen.tables import SCORE_COLUMNS
from reseen.wide import WORDS


def rows(
    subject="s", condition="zc", network="classifier", layer="late", value=0.8, n=30, protocol="builtin", **levels
):
    """Return the rows of one identification score."""
    key = (subject, condition, protocol, "identification", network, layer, "original", "all")
    found = [(*key, "mismatched", 0.5, 0.4, 0.6, n), (*key, "result", value, value - 0.1, value + 0.1, n)]
    found += [(*key, level, number, math.nan, math.nan, n) for level, number in levels.items()]
    about = {"_null_sd": 0.05, "_p": 0.01, "_gap_closed": 0.7}
    for ending, number in about.items():
        changed = [*key[:3], key[3] + ending, *key[4:]]
        found.append((*changed, "result", number, math.nan, math.nan, n))
    return found


def pixels(subject="s", condition="zc", value=0.2, n=30):
    key = (subject, condition, "builtin", "pixcorr", "", "", "", "all")
    return [(*key, "mismatched", 0.1, 0.0, 0.2, n), (*key, "result", value, 0.1, 0.3, n)]


def table(*parts):
    return pd.DataFrame([row for part in parts for row in part], columns=list(SCORE_COLUMNS))


FULL = table(
    rows(permuted=0.51, oracle=0.95, chance_mean=0.5),
    rows(layer="early", value=0.9),
    pixels(),
    rows(condition="z", value=0.6),
    rows(condition="nearest_z", value=0.55),
)


def test_the_headline_is_that_of_the_one_rule():
    scores = Scores(FULL)
    head, rule = scores.headline(), choose(FULL)
    assert head.rule == rule
    assert head.value == rule.rows(FULL[(FULL["level"] == "result") & (FULL["condition"] == "zc")])["value"].item()
    assert (head.condition, head.low, head.high, head.n, head.p) == (
        "zc",
        pytest.approx(0.7),
        pytest.approx(0.9),
        30,
        0.01,
    )
    assert head.chance == {"mismatched": 0.5, "permuted": 0.51, "mean": 0.5}
    assert head.upper_bound == 0.95
    assert scores.headline("z").value == 0.6
    assert math.isnan(scores.headline("z").upper_bound)
    with pytest.raises(ShapeError, match="no scores of the condition 'c'") as refused:
        scores.headline("c")
    assert (refused.value.expected, refused.value.found) == (("zc", "z", "nearest_z"), "c")


@pytest.mark.parametrize(("stimuli", "caveat"), [("scenes", False), ("images", True), ("", True)])
def test_the_built_in_network_is_never_the_headline_of_other_images_without_a_caveat(stimuli, caveat):
    scores = Scores(FULL, stimuli=stimuli)
    assert bool(scores.headline().caveat) == caveat
    assert ("On other images it may miss" in repr(scores)) == caveat
    assert ("On other images it may miss" in scores._repr_html_()) == caveat


def test_photographs_scored_by_the_built_in_networks_come_with_the_caveat():
    import reseen

    photographs = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    scores = reseen.score(photographs, photographs, n_pairings=9, n_bootstrap=9)
    assert scores.stimuli == "images"
    assert "On other images it may miss" in repr(scores.headline())
    figures = np.where(photographs > 127, 255, 0).astype(np.uint8)
    assert not reseen.score(photographs, photographs, stimuli="scenes", n_pairings=9, n_bootstrap=9).headline().caveat
    plain = reseen.score(figures, figures, n_pairings=9, n_bootstrap=9)
    assert plain.headline().name == "two-way identification by pixel correlation"


def test_without_an_identified_image_there_is_no_headline():
    scores = Scores(table(pixels()))
    assert scores.headline() is None
    assert repr(scores).splitlines() == ["Scores of subject s; condition zc; protocol builtin"]
    assert "pixcorr" in scores._repr_html_()


def test_everything_prints_in_at_most_six_lines():
    for scores in (Scores(FULL), Scores(table(rows(subject="a"), rows(subject="b")), stimuli="images")):
        assert len(repr(scores).splitlines()) <= 6
        assert len(repr(scores.headline()).splitlines()) <= 6
    said = repr(Scores(FULL).headline()).splitlines()
    assert said[0] == "s, zc: two-way identification by classifier, layer late"
    assert said[1] == "  0.800 [0.700, 0.900], p = 0.0100, n = 30 images"
    assert said[2] == "  chance levels: mismatched 0.500, permuted 0.510, mean 0.500; upper bound: 0.950 (oracle)"


def test_the_notebook_shows_a_small_table_without_html_of_the_data():
    shown = Scores(table(rows(condition="<b>zc"), pixels(condition="<b>zc")))._repr_html_()
    assert "&lt;b&gt;zc" in shown
    assert "<b>zc" not in shown
    assert "0.800" in shown
    many = Scores(table(*(rows(condition=f"c{k}") for k in range(40))))._repr_html_()
    assert many.count("<tr") < 20


def test_two_objects_are_compared_and_hashed_without_an_error():
    one, other = Scores(FULL), Scores(FULL)
    assert one == one
    assert one != other
    assert one != 3
    assert len({one, other}) == 2
    assert one.headline() != other.headline()
    assert hash(one.headline())


@pytest.mark.parametrize(
    ("broken", "says", "expected", "found"),
    [
        (FULL.drop(columns="n"), "no column 'n'", "n", tuple(FULL.columns.drop("n"))),
        (FULL.iloc[:0], "has no rows", None, 0),
        (pd.concat([FULL, FULL.iloc[:1]]), "two rows of one score", None, tuple(FULL.iloc[0][[*WORDS, "level"]])),
    ],
)
def test_a_table_that_has_no_scores_is_refused(broken, says, expected, found):
    with pytest.raises(ShapeError, match=says) as refused:
        Scores(broken)
    assert (refused.value.where, refused.value.expected, refused.value.found) == ("table", expected, found)


def test_an_unknown_category_of_stimuli_is_refused():
    with pytest.raises(ShapeError, match="stimuli: ") as refused:
        Scores(FULL, stimuli="photos")
    assert (refused.value.expected, refused.value.found) == (("scenes", "figures", "images"), "photos")


def test_the_users_table_is_not_changed_and_empty_words_may_be_missing():
    given = FULL.replace("", np.nan)
    before = given.copy()
    assert Scores(given).wide().equals(Scores(FULL).wide())
    pd.testing.assert_frame_equal(given, before)


@pytest.mark.parametrize("stimuli", ["", "figures"])
def test_what_is_saved_is_read_again_with_the_same_headline(tmp_path, stimuli):
    scores = Scores(table(rows(condition="=zc"), rows(network="pixels", layer="", condition="=zc")), stimuli=stimuli)
    scores.save(tmp_path / "mine.csv")
    found = Scores.read(tmp_path / "mine.csv")
    pd.testing.assert_frame_equal(found.table, scores.table, check_dtype=False)
    assert found.stimuli == stimuli
    assert found.headline().rule == scores.headline().rule
    assert found.each is None


def test_a_table_without_the_stimuli_is_read_too(tmp_path):
    from reseen.tables import to_csv

    (tmp_path / "scores.csv").write_text(to_csv(FULL))
    pd.testing.assert_frame_equal(Scores.read(tmp_path / "scores.csv").table, FULL, check_dtype=False)


def test_a_file_or_folder_without_scores_is_refused(tmp_path):
    with pytest.raises(ResultsError):
        Scores.read(tmp_path / "nosuch.csv")
    with pytest.raises(ResultsError, match="no results folder"):
        Scores.read(tmp_path)


def test_plot_draws_the_scores():
    figure = Scores(FULL).plot()
    assert [axes.get_title().splitlines()[0] for axes in figure.axes] == [
        "Two-way identification",
        "Two-way identification",
        "Pixel correlation",
    ]
