"""The page about results folders has every file that a run writes and every column of every table, and no others."""

import re
import warnings
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd
import pytest
from results_page import files_of, names, patterns, section, table
from safetensors import safe_open

from reseen import compare, pipeline
from reseen.applied.contents import Applied
from reseen.raters import scoring
from reseen.recipe import load_recipe
from reseen.tables import ALIGNMENT_COLUMNS, IMAGERY_COLUMNS, TABLES

FILES = [(patterns(cells), cells[2]) for cells in table(section("Files"))[1:]]
OF_A_FULL_RUN = ("chance_*", "clusters", "without_*")


@pytest.fixture(scope="module")
def everything(random_networks, tmp_path_factory) -> Path:
    """Folder of a run with every stage, captions, controls and joint encoding models."""
    folder = tmp_path_factory.mktemp("everything") / "out"
    settings = {
        "reconstruct.conditions": ["zc", "zt"],
        "decode.c_prior": "captions",
        "evaluate.full": True,
        "simulate.n_test": 4,
        "reconstruct.n_samples": 1,
        "encode.features": ["z", "c", "zc"],
        "encode.noise": [0.5],
        "encode.export": ["vertices"],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.run(load_recipe("tiny", settings), folder)
    return folder


def test_every_file_of_a_run_is_in_the_page(finished, everything):
    known = [pattern for found, _ in FILES for pattern in found]
    known += [f"*/decode/{name}.safetensors" for name in OF_A_FULL_RUN]
    for folder in (finished, everything):
        assert [name for name in files_of(folder) if not any(fnmatch(name, pattern) for pattern in known)] == []


def test_every_file_that_the_page_promises_for_every_run_is_written(finished):
    written = files_of(finished)
    promised = [pattern for found, when in FILES if when.startswith("every run") for pattern in found]
    assert len(promised) > 12
    assert [pattern for pattern in promised if not any(fnmatch(name, pattern) for name in written)] == []


def test_files_of_some_runs_are_written_by_a_run_with_everything(everything):
    written = files_of(everything)
    starts = (
        "runs with encoding models",
        "conditions with t",
        "encoding models of zc",
        "`decode.c_prior",
        "`encode.export",
    )
    for start in (*starts, "simulated subjects"):
        found = [pattern for row, when in FILES if when.startswith(start) for pattern in row]
        assert found, start
        assert [pattern for pattern in found if not any(fnmatch(name, pattern) for name in written)] == [], start


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_the_page_has_the_columns_of_the_table(name, everything):
    listed = [column for cells in table(section(f"{name}.csv"))[1:] for column in names(cells[0])]
    columns = [column for column in listed if column in TABLES[name]]
    assert sorted(columns) == sorted(TABLES[name])
    if name != "trials":  # of data of a lab's own
        assert set(pd.read_csv(everything / f"{name}.csv").columns) == set(columns)


def test_the_statistics_of_encoding_models_are_those_that_a_run_writes(everything):
    statistics = table(section("encoding.csv").split("\n\n| `statistic` | meaning |\n")[1])
    known = [name for cells in statistics for name in names(cells[0])]
    written = set(pd.read_csv(everything / "encoding.csv")["statistic"])
    assert written <= set(known)
    assert set(known) - written <= {"win_share", "win_margin", "reduction_error"}  # tests/test_encode.py has these
    source = (Path(__file__).parents[1] / "src/reseen/encode/scores.py").read_text(encoding="utf-8")
    assert [name for name in known if f'"{name}"' not in source] == []


@pytest.mark.parametrize(
    ("title", "path"),
    [("Arrays of a decoder", "decode/z_fold0"), ("Arrays of the voxels", "encode/voxels")],
)
def test_the_arrays_of_a_file_are_in_the_page(title, path, everything):
    known = [re.sub(r"<\w+>", "*", name) for cells in table(section(title))[1:] for name in names(cells[0])]
    with safe_open(everything / f"subj01/{path}.safetensors", framework="numpy") as file:
        arrays = list(file.keys())
    assert [name for name in arrays if not any(fnmatch(name, pattern) for pattern in known)] == []


def test_the_columns_of_tables_of_other_commands_are_in_the_page():
    items = Applied.items.fget.__code__.co_consts
    found = {
        "raters.csv": scoring.COLUMNS,
        "comparison.csv": compare.COLUMNS,
        "imagery.csv": IMAGERY_COLUMNS,
        "alignment.csv": ALIGNMENT_COLUMNS,
        "training_stimuli.csv": ["stimulus_id"],
        "items.csv": next(names for names in items if isinstance(names, tuple)),
    }
    for title, columns in found.items():
        assert [name for name in names(section(title)) if name in columns] == list(columns), title
