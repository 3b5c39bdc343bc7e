"""The wide table of scores: one row for each score, with all its levels in columns."""

import math

import numpy as np
import pandas as pd
import pytest
from test_scores import FULL, pixels, rows, table

from reseen.scores import Scores
from reseen.statistics import t_interval
from reseen.tables import IMAGE_LEVELS
from reseen.wide import CHANCE, NUMBERS, PUBLISHED, WORDS, wide


def test_the_wide_table_has_one_row_for_each_score_with_all_its_levels():
    permuted = (FULL["level"] == "permuted") & (FULL["condition"] == "zc")
    wide = Scores(FULL.assign(low=FULL["low"].mask(permuted, 0.46), high=FULL["high"].mask(permuted, 0.56))).wide()
    assert tuple(wide.index.names) == WORDS
    assert tuple(wide.columns) == (*NUMBERS, PUBLISHED)
    assert list(wide.index.get_level_values("condition")) == ["zc", "zc", "zc", "z", "nearest_z"]
    first = wide.iloc[0]
    expected = {"result": 0.8, "low": 0.7, "high": 0.9, "upper_bound": 0.95, "gap_closed": 0.7, "p": 0.01, "n": 30}
    chance = {"chance_mismatched": 0.5, "chance_permuted": 0.51, "chance_mean": 0.5}
    assert {name: first[name] for name in (*expected, *chance)} == pytest.approx({**expected, **chance})
    assert (first["chance_sd"], first["permuted_low"], first["permuted_high"]) == (0.05, 0.46, 0.56)
    assert math.isnan(first["chance_noise"])
    assert math.isnan(wide.iloc[2]["p"])
    assert wide["n"].tolist() == [30] * 5


def test_every_level_of_the_tidy_table_has_a_column():
    assert set(CHANCE) | {"result", "oracle"} == {*IMAGE_LEVELS, "mismatched"}


def test_a_score_that_is_not_defined_keeps_its_row():
    undefined = pixels(value=math.nan)
    wide = Scores(table(undefined[1:])).wide()
    assert len(wide) == 1
    assert math.isnan(wide["result"].item())


def test_a_score_without_a_result_keeps_its_row():
    only = [row for row in rows(oracle=0.9) if row[8] == "oracle"]
    wide = Scores(table(only)).wide()
    assert (wide["upper_bound"].item(), wide["n"].item()) == (0.9, 30)
    assert math.isnan(wide["result"].item())


def test_of_several_subjects_the_mean_follows_with_an_interval_over_subjects():
    values = {"a": 0.7, "b": 0.8, "c": 0.75}
    parts = [rows(subject=name, value=value) for name, value in values.items()]
    wide = Scores(table(*parts, pixels("a"))).wide().reset_index()
    assert list(wide["subject"]) == ["a", "b", "c", "a", "mean of 3 subjects"]
    mean = wide.iloc[-1]
    assert mean["result"] == pytest.approx(0.75)
    assert (mean["low"], mean["high"]) == pytest.approx(t_interval(np.array(list(values.values()))))
    assert mean["n"] == 30
    assert math.isnan(mean["p"])
    assert np.isnan(mean[["chance_sd", "permuted_low"]].to_numpy(float)).all()
    head = Scores(table(*parts)).headline()
    assert (head.subject, head.value, head.n) == ("mean of 3 subjects", pytest.approx(0.75), 30)
    differ = Scores(table(rows(subject="a"), rows(subject="b", n=20))).headline()
    assert differ.n == 0
    assert "n =" not in repr(differ)


def test_the_interval_of_a_mean_identification_ends_at_0_and_1():
    mean = wide(table(rows(subject="a", value=0.2), rows(subject="b", value=0.9))).iloc[-1]
    assert (mean["low"], mean["high"]) == (0, 1)


def test_the_mean_can_be_left_out_and_of_two_rows_of_one_number_the_last_counts():
    twice = pd.concat([table(rows(subject="a"), rows(subject="b")), table(rows(subject="a", value=0.9))])
    found = wide(twice, with_mean=False)
    assert sorted(found.index.get_level_values("subject")) == ["a", "b"]
    assert found.xs("a", level="subject")["result"].item() == 0.9
