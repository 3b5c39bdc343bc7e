"""Published values stand beside a result of the same protocol, n and subjects, and beside no other."""

import math

import pandas as pd
import pytest
from test_report import contents

from reseen.errors import ResultsError
from reseen.protocols import PROTOCOLS
from reseen.published import published_of, published_values
from reseen.report import report
from reseen.report.scores import published as rows_of_report
from reseen.scores import Scores
from reseen.tables import SCORE_COLUMNS

FOUR = ("subj01", "subj02", "subj05", "subj07")


def table(subjects=FOUR, protocol="mindeye2", network="clip", layer="final", n=1000, condition="zc", value=0.9):
    metric = "identification" if network else "pixcorr"
    direction = {"mindeye2": "reconstruction", "takagi2023": "original"}[protocol] if network else ""
    rows = [
        (s, condition, protocol, metric, network, layer, direction, "all", "result", value, math.nan, math.nan, n)
        for s in subjects
    ]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def beside(**changes):
    """Return what stands beside each row of the wide table, by subject."""
    wide = Scores(table(**changes)).wide()
    return dict(zip(wide.index.get_level_values("subject"), wide["published"], strict=True))


def test_every_value_is_of_a_protocol_that_has_its_network_and_layer_or_of_an_unknown_one():
    values = published_values()
    assert {"Takagi & Nishimoto 2023", "Brain-Diffuser", "MindEye2", "Brain-IT"} <= {v.system for v in values}
    for value in values:
        assert 0 < value.value < 1
        assert value.source
        assert set(value.subjects) <= set(FOUR)
        if not value.protocol:
            assert (value.n, value.checked) == (0, False)
            continue
        protocol = PROTOCOLS[value.protocol]
        layers = {(used.metric, used.network, layer) for used in protocol.networks for layer, _ in used.layers}
        pixels = {(metric, "", "") for metric in protocol.pixel_metrics}
        assert (value.metric, value.network, value.layer) in layers | pixels
    keys = [(v.system, v.condition, v.protocol, v.metric, v.network, v.layer) for v in values]
    assert len(set(keys)) == len(keys)


def test_a_mean_over_the_same_subjects_has_the_published_value_beside_it():
    found = beside()
    assert found["mean of 4 subjects"] == "MindEye2 0.930"
    assert found["subj01"] == "MindEye2, unenhanced 0.940"
    assert {found[name] for name in FOUR[1:]} == {""}
    assert beside(network="", layer="")["mean of 4 subjects"] == "MindEye2 0.322"


@pytest.mark.parametrize(
    "change",
    [
        {"n": 982},
        {"subjects": FOUR[:3]},
        {"subjects": (*FOUR, "subj03")},
        {"subjects": ("a", "b", "c", "d")},
        {"layer": "image_embeds"},
        {"protocol": "takagi2023", "n": 982},
    ],
)
def test_beside_another_n_other_subjects_or_another_protocol_there_is_none(change):
    found = beside(**change)
    assert not any(text for subject, text in found.items() if subject != "subj01")


def test_the_papers_own_values_are_of_their_condition_and_unverified():
    paper = {"protocol": "takagi2023", "layer": "image_embeds", "n": 982}
    assert beside(**paper)["mean of 4 subjects"] == "Takagi & Nishimoto 2023 0.766 (unverified)"
    assert beside(**paper, condition="z")["mean of 4 subjects"] == "Takagi & Nishimoto 2023 0.584 (unverified)"
    assert beside(**paper, condition="nearest_c")["mean of 4 subjects"] == ""


def test_a_value_of_an_unknown_protocol_is_never_beside_a_result():
    brain_it = [value for value in published_values() if value.system == "Brain-IT"]
    assert len(brain_it) == 8
    for value in brain_it:
        words = {name: getattr(value, name) for name in ("metric", "network", "layer")}
        for protocol in PROTOCOLS:
            for n in (0, 1000):
                score = {"condition": "zc", "protocol": protocol, **words, "subset": "all", "n": n}
                assert value not in published_of(score, FOUR)


def test_the_headline_and_the_notebook_show_it():
    scores = Scores(table())
    assert scores.headline().published == "MindEye2 0.930"
    assert repr(scores.headline()).splitlines()[-1] == "  published: MindEye2 0.930"
    assert "MindEye2 0.930" in scores._repr_html_()
    other = Scores(table(n=982))
    assert "published:" not in repr(other.headline())
    assert "<th>published</th>" in scores._repr_html_()
    assert "<th>published</th>" not in other._repr_html_()


def test_the_report_shows_it_only_where_protocol_n_and_subjects_match():
    same = rows_of_report(table())
    assert [(row["system"], row["result"], row["value"], row["n"]) for row in same] == [
        ("MindEye2", "90\u00a0%", "93\u00a0%", "1000")
    ]
    page = report(contents(scores=table()))
    assert "Published values" in page
    assert "Scotti et al. 2024" in page
    for other in (table(n=982), table(FOUR[:2]), pd.concat([table(FOUR[:3]), table(FOUR[3:], n=900)])):
        assert rows_of_report(other) == []
    assert "Published values" not in report(contents(scores=table(n=982)))
    [unverified] = rows_of_report(table(protocol="takagi2023", layer="image_embeds", n=982))
    assert unverified["system"] == "Takagi & Nishimoto 2023 (unverified)"


@pytest.mark.parametrize("text", ["system\nx\n", "system,n\nx,many\n", "a,b\n1,2\n"])
def test_a_damaged_file_is_named(tmp_path, monkeypatch, text):
    (tmp_path / "published.csv").write_text(text)
    monkeypatch.setattr("reseen.published._FILE", tmp_path / "published.csv")
    published_values.cache_clear()
    try:
        with pytest.raises(ResultsError, match=r"published.csv is damaged .*Install reseen again"):
            published_values()
    finally:
        published_values.cache_clear()
