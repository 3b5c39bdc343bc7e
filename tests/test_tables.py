import pytest

from reseen import tables
from reseen.encode import COLUMNS as ENCODING
from reseen.evaluate import COLUMNS as SCORES


def test_the_verbs_write_the_columns_that_are_told_here():
    assert (SCORES, ENCODING) == (tables.SCORE_COLUMNS, tables.ENCODING_COLUMNS)


@pytest.mark.parametrize(
    ("metric", "about"),
    [("identification", False), ("ssim_p", True), ("pixcorr_null_sd", True), ("identification_gap_closed", True)],
)
def test_a_number_about_a_score_is_no_score(metric, about):
    assert tables.says_of_score(metric) == about


def test_a_retrieved_condition_is_known_by_its_name():
    assert tables.is_retrieved(tables.retrieved_by("z"))
    assert not any(tables.is_retrieved(condition) for condition in ("z", "c", "zc"))
