import pandas as pd
import pytest

from reseen import tables
from reseen.encode import COLUMNS as ENCODING
from reseen.errors import ResultsError
from reseen.evaluate import COLUMNS as SCORES
from reseen.tables import TABLES, read_table, to_csv


def test_the_stages_write_the_declared_columns():
    assert (SCORES, ENCODING) == (tables.SCORE_COLUMNS, tables.ENCODING_COLUMNS)


def test_a_retrieved_condition_is_known_by_its_name():
    assert tables.is_retrieved(tables.retrieved_by("z"))
    assert not any(tables.is_retrieved(condition) for condition in ("z", "c", "zc"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "cannot be read"),
        ("layer,value,n\n", "it has no rows"),
        ("layer,value,n\nlate,0.5,3\nla", "is not complete"),
        ("layer,value,n\nlate,0.5", "is not complete"),
        ("layer,value,n\nlate,0.5,3", "is not complete"),
        ("layer,value,n\nlate,half,3\n", "value has text instead of numbers"),
        ("layer,value,n\nlate,0.5,2.5\n", "not integers from 0"),
        ("layer,value,n\nlate,0.5,-1\n", "not integers from 0"),
        ("layer,value,n\nlate,0.5,3,4,5\nlate,0.5\n", "is not complete"),
    ],
)
def test_a_table_is_checked_when_it_is_read(tmp_path, content, words):
    path = tmp_path / "some.csv"
    path.write_text(content)
    with pytest.raises(ResultsError, match=words) as refused:
        read_table(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("name", ["scores", "images", "diagnostics", "retrieval", "encoding", "captions"])
def test_a_table_without_one_of_its_columns_is_refused(tmp_path, name):
    columns = [column for column in TABLES[name] if column != "subject"]
    path = tmp_path / f"{name}.csv"
    path.write_text(",".join(columns) + "\n" + ",".join("1" for _ in columns) + "\n")
    with pytest.raises(ResultsError, match="no column 'subject'"):
        read_table(path)


def test_no_text_is_a_formula_to_a_spreadsheet_and_it_reads_back(tmp_path):
    words = ["=1+1", "@SUM(A1)", "+1", "-1", "\tx", "'=1", "plain", ""]
    table = pd.DataFrame({"subject": words, "value": [-1.5] * len(words), "n": 3})
    text = to_csv(table)
    assert not [line for line in text.splitlines() if line.startswith(("=", "@", "+", "-", "\t"))]
    assert "'=1+1,-1.5,3" in text
    (tmp_path / "some.csv").write_text(text)
    pd.testing.assert_frame_equal(read_table(tmp_path / "some.csv"), table, check_dtype=False)
