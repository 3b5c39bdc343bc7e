"""Every public name has an example that runs, and so do the files in examples/."""

import doctest
import importlib
import inspect
import re
import runpy
import warnings
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
from encoding_results import encoding_recipe, write_encoding
from tiny_captioner import write_blip

import reseen
from reseen.applied import DecodersFolder
from reseen.pipeline.context import Run
from reseen.results import ResultsFolder

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_EXAMPLE = {"Diagnostics", "ReseenError", "LatentDiffusion", "denoise", "run", "open_subject"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [*sorted(set(reseen.__all__) - {"plot"}), *(f"plot.{name}" for name in reseen.plot.__all__)]
)
def test_the_examples_of_public_names_run(
    name, simulated_tree, brain_file, trial_table, finished, run_of_two, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    found = attrgetter(name)(reseen)
    module = importlib.import_module(getattr(found, "__module__", None) or found.__name__)
    given = {
        "simulated_tree": simulated_tree,
        "own_data": brain_file,
        "finished_run": finished,
        "run_of_two": run_of_two,
    }
    if name == "Results":
        given["encoding_run"] = tmp_path / "encoding"
        with ResultsFolder.open(given["encoding_run"], encoding_recipe(simulated_tree)) as results:
            write_encoding(Run(results.recipe, results).subject("subj01"))
    if name == "load_captioner":
        write_blip(tmp_path / "blip")
        given["blip_folder"] = tmp_path / "blip"
    here = {**vars(module), **given, "trial_table": trial_table}
    finder = doctest.DocTestFinder(recurse=True)
    tests = finder.find(found, name, module=module, globs=here)
    if name == "Results":  # a finder leaves out inherited methods
        tests += finder.find(DecodersFolder, name, globs=here)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    said: list[str] = []
    for test in tests:
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)
    assert runner.tries or name in WITHOUT_EXAMPLE, f"{name} has no example"


def test_the_notebook_is_short_and_runs_on_a_simulated_tree(simulated_tree, tmp_path, monkeypatch, capsys):
    path = ROOT / "examples/notebook.py"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines()[1:] if line.strip()]
    assert len(lines) <= 15
    (tmp_path / "data").symlink_to(simulated_tree)
    monkeypatch.chdir(tmp_path)
    kept = runpy.run_path(str(path))
    assert kept["images"].shape[:2] == (len(kept["subject"].test), 2)
    assert 1 <= len(capsys.readouterr().out.splitlines()) <= 6


def test_what_public_objects_print_has_at_most_six_lines_and_comparing_them_never_fails(simulated_tree):
    subject = reseen.load_nsd(simulated_tree, "subj01", rois=["early", "ventral"])
    model = reseen.load_model("builtin")
    z = model.extract(subject.stimuli, ["z"])["z"]
    decoder = reseen.Decoder(["early"])
    things = [subject, subject.train, subject.stimuli, subject.split, model, z, decoder, decoder.fit(subject.train, z)]
    things += [reseen.Encoder(["early"]), reseen.Encoder(["early"]).fit(subject.train, z)]
    for thing in things:
        assert len(repr(thing).splitlines()) <= 6, type(thing)
        assert len(repr(thing)) < 600, type(thing)
        assert (thing == thing) is True
        assert (thing == things) is False
        assert isinstance(hash(thing), int)


def test_signatures_are_documented():
    for name in reseen.__all__:
        found = attrgetter(name)(reseen)
        if not inspect.isfunction(found):
            continue
        for parameter in inspect.signature(found).parameters:
            assert parameter in (found.__doc__ or ""), (name, parameter)


def test_the_code_of_the_page_about_python_runs(simulated_tree, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    known = {
        "reseen": reseen,
        "betas": rng.standard_normal((36, 20)),
        "stimulus_id": np.tile(np.arange(12), 3),
        "session": np.repeat([1, 2, 3], 12),
        "in_v1": np.arange(20) < 12,
        "images": rng.integers(0, 256, (12, 64, 64, 3), dtype=np.uint8),
        "captions": [f"number {number}" for number in range(12)],
        "test_ids": [9, 10, 11],
    }
    (tmp_path / "data").symlink_to(simulated_tree)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    first, *blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(first, {})
        for block in blocks:
            exec(block, known)
    assert known["decoder"].scaling_ is not None
    assert known["predicted"].stimulus_id.tolist() == [9, 10, 11]


def test_a_feature_of_ones_own_in_the_page_on_conditions_runs():
    rng = np.random.default_rng(0)
    captions = [f"number {number}" for number in range(12)]
    trials = reseen.Trials(
        rng.standard_normal((36, 20)),
        np.tile(np.arange(12), 3),
        session=np.repeat([1, 2, 3], 12),
        rois={"V1": np.arange(20) < 12},
    )
    images = rng.integers(0, 256, (12, 64, 64, 3), dtype=np.uint8)
    known = {
        "captions": captions,
        "subject": reseen.Subject(trials, reseen.Stimuli(images, captions), test=[9, 10, 11]),
    }
    page = (ROOT / "docs/conditions.md").read_text(encoding="utf-8")
    (block,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if 'Features("word"' in code]
    assert len(block.splitlines()) <= 20
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(block, known)
    assert known["images"].shape == (3, 1, 64, 64, 3)


def code_lines(path):
    """Lines of an example without its docstring, imports, comments and blank lines."""
    text = re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), count=1, flags=re.DOTALL)
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(("#", "import ", "from "))]


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """A folder with a finished run of the recipe tiny, and its data."""
    folder = tmp_path_factory.mktemp("examples")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reseen.run(reseen.load_recipe("tiny"), folder / "out/tiny")
    (folder / "data").symlink_to(folder / "out/tiny/data")
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["own_arrays", "own_decoder", "predictions_elsewhere", "own_network", "saved_decoder"])
def test_a_variant_of_the_notebook_is_at_most_ten_lines_and_runs(name, tiny_run, monkeypatch, capsys):
    path = ROOT / f"examples/{name}.py"
    assert len(code_lines(path)) <= 10
    monkeypatch.chdir(tiny_run)
    kept = runpy.run_path(str(path))
    assert len(capsys.readouterr().out.splitlines()) >= 1
    if name == "saved_decoder":
        results = kept["results"]
        subject = reseen.load_nsd("data", "subj01", rois=results.recipe.data.rois)
        whole = reseen.Decoder.load("z_decoder.safetensors").predict(subject.test)
        np.testing.assert_allclose(whole.array, results.decoded("z").array, atol=1e-6)
        same_trial = subject.trials.select(kept["run"].stimulus_id[:1]).take(np.array([0]))
        found = reseen.Decoder.load("z_decoder.safetensors").predict(kept["one"]).array
        np.testing.assert_allclose(found, results.decoder("z").predict(same_trial).array, atol=1e-6)
    if name == "predictions_elsewhere":
        assert "predicted elsewhere" in (tiny_run / "out/elsewhere/report.html").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore")
def test_the_code_of_the_page_of_questions_runs(tiny_run, tmp_path, monkeypatch, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/demo").symlink_to(tiny_run / "out/tiny")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/how_to.md").read_text(encoding="utf-8")
    known: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, known)
    np.testing.assert_allclose(known["z"].stimulus_id, known["results"].decoded("z").stimulus_id)
    assert known["true"].shape == known["z"].array.shape
    assert known["r"].shape == known["index"].shape
    assert (tmp_path / "figure5.svg").is_file()
    assert "two-way identification" in capsys.readouterr().out


def test_the_page_of_questions_has_twelve_and_each_has_code_or_a_link():
    parts = re.split(r"^## (\d+)\. .*$", (ROOT / "docs/how_to.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [int(number) for number in parts[1::2]] == list(range(1, 13))
    for number, answer in zip(parts[1::2], parts[2::2], strict=True):
        assert len(answer.split()) <= 150, number
        assert "```" in answer or "](" in answer, number
