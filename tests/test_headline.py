"""One rule for the headline: which network, layer and direction, by the kind of stimuli and the scores there are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reseen.evaluate import summary, verdict
from reseen.headline import choose, kind_of, stimuli_of
from reseen.report.marks import read_marks
from reseen.report.scores import headline as table_of
from reseen.tables import SCORE_COLUMNS


def rows(
    protocol: str, observer: str, layers: tuple[str, ...], value: float, direction: str = "original"
) -> list[tuple]:
    return [
        ("s", "zc", protocol, "identification", observer, layer, direction, "all", level, found, 0.4, 0.9, 30)
        for layer in layers
        for level, found in (("floor_repaired", 0.5), ("result", value))
    ]


JUDGE = rows("builtin", "judge", ("early", "middle", "late"), 0.732)
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
        ("scenes", [ENCODER, JUDGE, PIXELS], ("builtin", "judge", ("late", "early"))),
        ("scenes", [CLIP, ENCODER, PIXELS], ("builtin", "image_encoder", ("late", "early"))),
        ("figures", [JUDGE, CLIP, PIXELS], ("builtin", "pixels", ("",))),
        ("figures", [JUDGE, CLIP], ("takagi2023", "clip", ("image_embeds", "hidden_states.6"))),
        ("images", [JUDGE, PIXELS, CLIP, SWAPPED], ("takagi2023", "clip", ("image_embeds", "hidden_states.6"))),
        ("images", [PIXELS, SWAPPED, CLIP], ("mindeye2", "alexnet", ("5", "2"))),
        ("images", [ENCODER, JUDGE, PIXELS], ("builtin", "judge", ("late", "early"))),
        ("", [JUDGE, CLIP], ("takagi2023", "clip", ("image_embeds", "hidden_states.6"))),
        ("images", [PIXELS], ("builtin", "pixels", ("",))),
        ("images", [JUDGE, PIXELS, OWN], ("builtin", "my_module:net", ("output",))),
        ("images", [OWN, PIXELS, CLIP], ("takagi2023", "clip", ("image_embeds", "hidden_states.6"))),
        ("scenes", [OWN, JUDGE, PIXELS], ("builtin", "judge", ("late", "early"))),
        ("scenes", [CLIP, OWN, PIXELS], ("builtin", "my_module:net", ("output",))),
        ("figures", [OWN, JUDGE, PIXELS], ("builtin", "pixels", ("",))),
    ],
)
def test_the_headline_fits_the_stimuli(stimuli: str, parts: list[list[tuple]], expected: tuple) -> None:
    head = choose(scores(*parts), stimuli)
    assert head is not None
    assert (head.protocol, head.observer, head.layers) == expected
    assert head.direction == ("reconstruction" if head.protocol == "mindeye2" else "original")
    is_own = head.observer == "my_module:net"
    assert bool(head.caveat) == (is_own or (head.observer == "judge" and stimuli != "scenes"))
    assert ("what this network was trained on" in head.caveat) == is_own


def test_without_an_identified_image_there_is_no_headline() -> None:
    features = rows("builtin", "features", ("",), 0.9)
    assert choose(scores(features), "scenes") is None
    assert choose(scores(), "scenes") is None


@pytest.mark.parametrize("parts", [[JUDGE, ENCODER, PIXELS], [ENCODER, JUDGE, PIXELS], [PIXELS, CLIP, ENCODER, JUDGE]])
@pytest.mark.parametrize("stimuli", ["scenes", "figures", "images", ""])
def test_verdict_table_report_and_ranking_are_by_the_same_score(stimuli: str, parts: list[list[tuple]]) -> None:
    table = scores(*parts)
    head = choose(table, stimuli)
    assert head is not None
    value = head.rows(table[table["level"] == "result"])["value"].item()
    first = summary(table, stimuli=stimuli).iloc[0]
    assert first["result"] == value
    assert first["score"] == f"{head.observer} {head.layer}".strip()
    assert f"{100 * value:.1f} % of the pairs" in verdict(table, stimuli=stimuli)
    shown = table_of(read_marks(table), head, 3)
    assert shown is not None
    assert shown.rows[0]["layers"][-1][0] == f"{100 * value:.0f}\u00a0%"


def test_the_caveat_is_beside_the_headline_of_the_verdict_and_of_the_report() -> None:
    said = verdict(scores(JUDGE, PIXELS), stimuli="images")
    assert "The built-in network was trained on drawn scenes of 64 pixels, and not on images such as these" in said
    assert "drawn scenes" not in verdict(scores(JUDGE, PIXELS), stimuli="scenes")
    shown = table_of(read_marks(scores(JUDGE)), choose(scores(JUDGE), "images"), 3)
    assert shown is not None
    assert shown.caveat


def test_the_kind_of_stimuli_is_known_by_the_data_and_plain_figures_by_their_colours() -> None:
    rng = np.random.default_rng(0)
    figures = np.repeat(rng.integers(0, 2, (20, 10, 10, 1), dtype=np.uint8) * 255, 3, axis=3)
    photographs = rng.integers(0, 256, (20, 10, 10, 3), dtype=np.uint8)
    assert kind_of(figures, drawn=False) == "figures"
    assert kind_of(photographs, drawn=False) == "images"
    assert kind_of(photographs, drawn=True) == "scenes"
    assert stimuli_of({"stimuli of a": "figures", "stimuli of b": "figures"}, ["a", "b"]) == "figures"
    assert stimuli_of({"stimuli of a": "figures", "stimuli of b": "images"}, ["a", "b"]) == "images"
    assert stimuli_of({}, ["a"]) == ""
