"""Subjects that are run as separate jobs, and joined."""

import hashlib
from pathlib import Path

import pytest

from reseen import pipeline
from reseen.errors import ResultsError
from reseen.pipeline.context import Run
from reseen.recipe import Recipe, load_recipe, with_changes
from reseen.results import ResultsFolder
from reseen.simulate import write_data_set

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("random_networks")]
SMALL = {"reconstruct.n_samples": 1, "evaluate.oracle": False, "report.n_sequences": 1, "simulate.n_subjects": 2}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Return a recipe for two simulated subjects that are written already."""
    data = tmp_path_factory.mktemp("two") / "data"
    changes = {**SMALL, "data.path": data, "data.subjects": ["subj01", "subj02"]}
    recipe = load_recipe("tiny", changes)
    write_data_set(recipe, data)
    return recipe


@pytest.fixture(scope="module")
def together(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of both subjects in one run."""
    return pipeline.run(recipe, tmp_path_factory.mktemp("together") / "out").path


@pytest.fixture(scope="module")
def apart(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the results of each subject in a run of its own."""
    folder = tmp_path_factory.mktemp("apart")
    for subject in recipe.data.subjects:
        pipeline.run(with_changes(recipe, {"data.subjects": [subject]}), folder / subject, until="evaluate")
    return [folder / subject for subject in recipe.data.subjects]


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that says nothing of when and in which order it was written."""
    leave_out = ("log.txt", "times.json", "provenance.json", "checksums.json", "recipe.toml", ".lock", "report.html")
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in leave_out)
    found = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {name: value for name, value in found.items() if not name.startswith(("kept/", "figures/"))}


def test_merged_folders_equal_one_run_of_all_subjects(together, apart, tmp_path):
    for folder in apart:
        pipeline.run(ResultsFolder.read(folder).recipe, folder, until="encode")
    merged = pipeline.merge(apart, tmp_path / "merged")
    assert digests(merged.path) == digests(together)
    ours, theirs = merged.provenance, ResultsFolder.read(together).provenance
    assert ours == theirs


def test_a_subject_is_added_to_an_existing_folder(recipe, together, tmp_path):
    out = tmp_path / "out"
    pipeline.run(with_changes(recipe, {"data.subjects": ["subj01"]}), out)
    pipeline.run(recipe, out)
    assert digests(out) == digests(together)


def test_folders_of_other_recipes_or_of_the_same_subject_are_not_merged(recipe, apart, tmp_path):
    with pytest.raises(ResultsError) as raised:
        pipeline.merge([apart[0], apart[0]], tmp_path / "merged")
    assert (raised.value.where, raised.value.found) == (apart[0], "subj01")
    other = with_changes(recipe, {"data.subjects": ["subj02"], "reconstruct.n_steps": 3})
    pipeline.run(other, tmp_path / "other", until="simulate")
    with pytest.raises(ResultsError, match=r"(?s)another recipe than.*reconstruct\.n_steps") as raised:
        pipeline.merge([apart[0], tmp_path / "other"], tmp_path / "merged")
    assert (raised.value.where, raised.value.found) == (tmp_path / "other", {"reconstruct.n_steps": 3})
    assert not (tmp_path / "merged").exists()
    with pytest.raises(ResultsError, match="is not empty") as raised:
        pipeline.merge(apart, tmp_path / "other")
    assert raised.value.where == tmp_path / "other"


def test_a_changed_table_is_not_merged(apart, tmp_path):
    table = apart[0] / "subj01/scores.csv"
    before = table.read_bytes()
    try:
        table.write_bytes(before.replace(b"0.", b"1.", 1))
        with pytest.raises(ResultsError, match="changed or damaged"):
            pipeline.merge(apart, tmp_path / "merged")
    finally:
        table.write_bytes(before)


def test_the_command_line_merges(reseen, apart, tmp_path):
    code, printed, _ = reseen("merge", *apart, "--out", tmp_path / "merged")
    assert code == 0
    assert f"results: {tmp_path / 'merged'}" in printed


def test_betas_and_features_of_one_subject_at_a_time_are_in_memory(recipe, together):
    run = Run(recipe, ResultsFolder.read(together))
    first = run.subject("subj01")
    assert len(first.true("z")) == len(run.subject("subj01").true("z"))
    assert first.true.cache_info().currsize == 1
    second = run.subject("subj02")  # as on a worker, which meets the tasks of all subjects
    second.decoded("z")
    assert first.true.cache_info().currsize == 0
    assert second.stored.cache_info().currsize == 1


def test_extract_needs_no_betas(recipe, tmp_path):
    from shutil import copytree, ignore_patterns

    copytree(recipe.data.path, tmp_path / "tree", ignore=ignore_patterns("betas_session*"))
    without = with_changes(recipe, {"data.path": tmp_path / "tree", "data.subjects": ["subj01"]})
    results = pipeline.run(without, tmp_path / "out", until="extract")
    assert results.features_path("subj01/z").is_file()
    with pytest.raises(Exception, match=r"betas_session01\.hdf5 is missing"):
        pipeline.run(without, tmp_path / "out", until="decode")
    pipeline.run(with_changes(without, {"data.path": recipe.data.path}), tmp_path / "out", until="decode")


def test_each_stage_writes_the_files_that_it_declares_and_no_others(recipe, tmp_path):
    from fnmatch import fnmatch

    from reseen.pipeline.stages import RECORDS, STAGES

    one = with_changes(recipe, {"data.subjects": ["subj01"], "data.path": None, "simulate.n_subjects": 1})
    known: set[str] = set()
    for name, stage in STAGES.items():
        pipeline.run(one, tmp_path, until=name)
        found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
        tables = [pattern for table in stage.tables for pattern in (f"{table}.csv", f"*/{table}.csv")]
        allowed = [*stage.writes, *tables, *RECORDS]
        surprising = [path for path in found - known if not any(fnmatch(path, pattern) for pattern in allowed)]
        assert surprising == []
        assert found - known, name
        known = found
