"""One rule for the headline: which network, layer and direction, by the kind of stimuli and the scores there are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reseen.evaluate import run_checks
from reseen.headline import choose, headlines, stimuli_category, stimuli_of, summary
from reseen.recipe import Recipe
from reseen.report import ReportInput, report
from reseen.report.marks import read_marks
from reseen.report.scores import headline as table_of
from reseen.scores import Scores
from reseen.tables import SCORE_COLUMNS


def rows(
    protocol: str, network: str, layers: tuple[str, ...], value: float, direction: str = "original"
) -> list[tuple]:
    return [
        ("s", "zc", protocol, "identification", network, layer, direction, "all", level, found, 0.4, 0.9, 30)
        for layer in layers
        for level, found in (("mismatched", 0.5), ("result", value))
    ]


CLASSIFIER = rows("builtin", "classifier", ("early", "middle", "late"), 0.732)
ENCODER = rows("builtin", "image_encoder", ("early", "middle", "late"), 0.75)
PIXELS = rows("builtin", "pixels", ("",), 0.918)
CLIP = rows("takagi2023", "clip", ("hidden_states.6", "image_embeds"), 0.8)
OWN = rows("builtin", "my_module:net", ("output",), 0.77)
SWAPPED = rows("mindeye2", "alexnet", ("2", "5"), 0.85, "reconstruction")


def scores(*parts: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame([row for part in parts for row in part], columns=list(SCORE_COLUMNS))


@pytest.mark.parametrize(
    ("stimuli", "parts", "expected"),
    [
        ("scenes", [ENCODER, CLASSIFIER, PIXELS], ("builtin", "classifier", ("late", "early"))),
        ("scenes", [CLIP, ENCODER, PIXELS], ("builtin", "image_encoder", ("late", "early"))),
        ("figures", [CLASSIFIER, CLIP, PIXELS], ("builtin", "pixels", ("",))),
        ("figures", [CLASSIFIER, CLIP], ("takagi2023", "clip", ("image_embeds", "hidden_states.6"))),
        (
            "images",
            [CLASSIFIER, PIXELS, CLIP, SWAPPED],
            ("takagi2023", "clip", ("image_embeds", "hidden_states.6")),
        ),
        ("images", [PIXELS, SWAPPED, CLIP], ("mindeye2", "alexnet", ("5", "2"))),
        ("images", [ENCODER, CLASSIFIER, PIXELS], ("builtin", "classifier", ("late", "early"))),
        ("", [CLASSIFIER, CLIP], ("takagi2023", "clip", ("image_embeds", "hidden_states.6"))),
        ("images", [PIXELS], ("builtin", "pixels", ("",))),
        ("images", [CLASSIFIER, PIXELS, OWN], ("builtin", "my_module:net", ("output",))),
        ("images", [OWN, PIXELS, CLIP], ("takagi2023", "clip", ("image_embeds", "hidden_states.6"))),
        ("scenes", [OWN, CLASSIFIER, PIXELS], ("builtin", "classifier", ("late", "early"))),
        ("scenes", [CLIP, OWN, PIXELS], ("builtin", "my_module:net", ("output",))),
        ("figures", [OWN, CLASSIFIER, PIXELS], ("builtin", "pixels", ("",))),
    ],
)
def test_the_headline_fits_the_stimuli(stimuli: str, parts: list[list[tuple]], expected: tuple) -> None:
    head = choose(scores(*parts), stimuli)
    assert head is not None
    assert (head.protocol, head.network, head.layers) == expected
    assert head.direction == ("reconstruction" if head.protocol == "mindeye2" else "original")
    is_own = head.network == "my_module:net"
    assert bool(head.caveat) == (is_own or (head.network == "classifier" and stimuli != "scenes"))
    assert ("what this network was trained on" in head.caveat) == is_own


def test_without_an_identified_image_there_is_no_headline() -> None:
    features = rows("builtin", "features", ("",), 0.9)
    assert choose(scores(features), "scenes") is None
    assert choose(scores(), "scenes") is None


@pytest.mark.parametrize(
    "parts",
    [
        [CLASSIFIER, ENCODER, PIXELS],
        [ENCODER, CLASSIFIER, PIXELS],
        [PIXELS, CLIP, ENCODER, CLASSIFIER],
    ],
)
@pytest.mark.parametrize("stimuli", ["scenes", "figures", "images", ""])
def test_verdict_table_report_and_ranking_are_by_the_same_score(stimuli: str, parts: list[list[tuple]]) -> None:
    table = scores(*parts)
    rule = choose(table, stimuli)
    assert rule is not None
    value = rule.rows(table[table["level"] == "result"])["value"].item()
    assert Scores(table, stimuli=stimuli).headline().value == value
    assert [head.value for head in headlines(table, stimuli)] == [value]
    said = headlines(table, stimuli)[0].sentence
    assert f"zc images are identified in {100 * value:.1f} % of the pairs by {rule.comparison} (" in said
    first = summary(table, rule).iloc[0]
    assert first["result"] == value
    assert first["score"] == f"{rule.network} {rule.layer}".strip()
    shown = table_of(read_marks(table), rule, 3)
    assert shown is not None
    assert shown.rows[0]["layers"][-1][0] == f"{100 * value:.0f}\u00a0%"
    checked = run_checks(table, None, stimuli=stimuli).set_index("check").loc["identification"]
    assert (checked["value"], checked["feature"]) == (value, f"zc images ({rule.comparison})")
    contents = ReportInput(recipe=Recipe(), scores=table, subjects=(), stimuli=stimuli)
    assert contents.score_name == f"two-way identification of zc by {rule.comparison}"
    page = report(contents).replace("\u00a0", " ")
    assert said in page


def test_the_caveat_is_beside_the_headline_of_the_report() -> None:
    shown = table_of(read_marks(scores(CLASSIFIER)), choose(scores(CLASSIFIER), "images"), 3)
    assert shown is not None
    assert "The built-in network was trained on drawn scenes of 64 pixels. On other images it may miss" in shown.caveat
    assert not headlines(scores(CLASSIFIER, PIXELS), "scenes")[0].caveat


def test_of_several_subjects_each_has_a_headline_and_their_mean_is_the_last_one() -> None:
    one, other = scores(CLASSIFIER), scores(rows("builtin", "classifier", ("early", "middle", "late"), 0.9))
    both = pd.concat([one, other.assign(subject="t")], ignore_index=True)
    found = headlines(both, "scenes")
    assert [(head.subject, head.value) for head in found] == [
        ("s", 0.732),
        ("t", 0.9),
        ("mean of 2 subjects", pytest.approx(0.816)),
    ]
    page = report(ReportInput(recipe=Recipe(), scores=both, subjects=(), stimuli="scenes")).replace("\u00a0", " ")
    assert [page.index(head.sentence) for head in (found[2], *found[:2])] == sorted(
        page.index(head.sentence) for head in found
    )


def test_the_sentence_of_a_headline_has_interval_p_n_chance_and_oracle() -> None:
    more = [(*CLASSIFIER[-1][:8], "oracle", 0.95, 0.9, 0.99, 30)]
    more += [
        (*row[:3], f"identification{ending}", *row[4:8], "result", number, np.nan, np.nan, 30)
        for row in CLASSIFIER[-1:]
        for ending, number in (("_p", 0.001), ("_gap_closed", 0.52))
    ]
    assert headlines(scores(CLASSIFIER, more), "scenes")[0].sentence == (
        "zc images are identified in 73.2 % of the pairs by classifier, layer late (95 % interval 40.0 % to "
        "90.0 %, "
        "p = 0.0010, n = 30); chance level 50.0 %, oracle 95.0 %, gap closed 52.0 %."
    )


def test_the_kind_of_stimuli_is_known_by_the_data_and_plain_figures_by_their_colours() -> None:
    rng = np.random.default_rng(0)
    figures = np.repeat(rng.integers(0, 2, (20, 10, 10, 1), dtype=np.uint8) * 255, 3, axis=3)
    photographs = rng.integers(0, 256, (20, 10, 10, 3), dtype=np.uint8)
    assert stimuli_category(figures, drawn=False) == "figures"
    assert stimuli_category(photographs, drawn=False) == "images"
    assert stimuli_category(photographs, drawn=True) == "scenes"
    assert stimuli_of({"stimuli of a": "figures", "stimuli of b": "figures"}, ["a", "b"]) == "figures"
    assert stimuli_of({"stimuli of a": "figures", "stimuli of b": "images"}, ["a", "b"]) == "images"
    assert stimuli_of({}, ["a"]) == ""
