"""`check` and `run` over one table of inputs: check says "can run" exactly where run does not refuse.

The default suite runs the inputs that are refused and every recipe at toy size. With ``RESEEN_ALL_INPUTS=1`` in the
environment the accepted inputs of a lab's own data are run to their report too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from loading import load
from tiny_captioner import write_blip
from tiny_ldm import write_random_adapter

from reseen import pipeline
from reseen.check import check, requirements
from reseen.check.finding import Finding
from reseen.check.inputs import Inputs
from reseen.datasets import nsd_images, nsd_stim_info
from reseen.datasets.nsd_facts import TRUTH
from reseen.errors import ReseenError
from reseen.finished import Results
from reseen.pipeline.context import Run
from reseen.recipe import Recipe, SimulateRecipe, load_recipe, with_changes
from reseen.results import ResultsFolder
from reseen.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore")
FULL = os.environ.get("RESEEN_ALL_INPUTS") == "1"
QUICK = {
    "reconstruct.n_samples": 1,
    "reconstruct.n_steps": 2,
    "reconstruct.strength": 0.5,
    "decode.n_folds": 2,
    "encode.n_folds": 2,
    "encode.n_bootstrap": 5,
    "evaluate.n_permutations": 0,
    "evaluate.oracle": False,
    "evaluate.n_bootstrap": 5,
    "evaluate.n_derangements": 5,
    "report.n_random": 1,
    "report.n_sequences": 1,
}
TINY_WORLD = {
    "simulate.n_subjects": 1,
    "simulate.n_sessions": 2,
    "simulate.trials_per_session": 12,
    "simulate.n_train": 8,
    "simulate.n_test": 4,
    "simulate.voxel_fraction": 0.05,
}
Arrays = dict[str, Any]


def agree(recipe: Recipe, out: Path, **options: Any) -> bool:
    """Run check and run, compare what they say, and return whether the recipe can run."""
    findings = check(recipe, out, **options)
    assert not (out / "recipe.toml").exists()
    refusals = [finding for finding in findings if not finding.ok]
    existed = out.exists()
    said = run(recipe, out, **options)
    if said is None:
        assert not refusals, f"run accepts this; check says: {[finding.found for finding in refusals]}"
        return True
    assert refusals, f"check says that this can run; run refuses it: {said}"
    assert said in [str(finding.error) for finding in refusals], (said, refusals)
    assert out.exists() == existed, "a refused run left a folder behind"
    return False


def run(recipe: Recipe, out: Path, **options: Any) -> str | None:
    """Run a recipe to its report, and return the message of a refusal."""
    try:
        pipeline.run(recipe, out, **options)
    except ReseenError as error:
        return str(error)
    return None


# -------------------------------------------------------------------------------------------------- own data, arrays


def without(*names: str) -> Callable[[Arrays], None]:
    return lambda arrays: [arrays.pop(name) for name in names] and None


def changed(name: str, change: Callable[[Any], Any]) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({name: change(arrays[name])})


def renamed(old: str, new: str) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({new: arrays.pop(old)})


def first(value: Any) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array = array.copy()
        array[0] = value
        return array

    return change


def nothing(_: Arrays) -> None:
    return None


ACCEPTED: dict[str, tuple[Callable[[Arrays], None], dict[str, Any]]] = {
    "as it is": (nothing, {}),
    "folds": (without("test_stimulus_id"), {"data.n_folds": 4}),
    "single test trials": (nothing, {"data.test_trials": "single"}),
    "three test images": (nothing, {"data.n_test": 3}),
    "no captions, and z alone": (without("captions"), {"reconstruct.conditions": ["z"], "encode.features": ["z"]}),
    "one penalty and one fold's worth of images": (nothing, {"decode.alphas": [1.0], "decode.n_folds": 9}),
}
REFUSED: dict[str, tuple[Callable[[Arrays], None], dict[str, Any]]] = {
    "no captions": (without("captions"), {}),
    "caption misspelt": (renamed("captions", "caption"), {}),
    "captions that are all the same": (changed("captions", lambda texts: np.full_like(texts, "a cat")), {}),
    "captions that are cut before they differ": (
        changed("captions", lambda texts: np.array(["a " * 90 + text for text in texts])),
        {},
    ),
    "images that are all the same": (changed("stimulus_images", lambda images: images * 0 + images[:1]), {}),
    "an empty caption": (changed("captions", first("")), {}),
    "captions wanted for encoding alone": (without("captions"), {"reconstruct.conditions": ["z"]}),
    "two test images": (changed("test_stimulus_id", lambda ids: ids[:2]), {}),
    "two of the test images": (nothing, {"data.n_test": 2}),
    "more test images than there are": (nothing, {"data.n_test": 5}),
    "only test images": (changed("test_stimulus_id", lambda _: np.arange(8)), {}),
    "a test image that nobody saw": (changed("test_stimulus_id", first(99)), {}),
    "no shared images": (without("test_stimulus_id"), {"data.n_test": 3}),
    "nifti of arrays": (nothing, {"encode.export": ["nifti"]}),
    "gifti of arrays": (nothing, {"encode.export": ["gifti"]}),
    "too many folds of the data": (nothing, {"data.test": "folds", "data.n_folds": 9}),
    "too many folds of the decoders": (nothing, {"decode.n_folds": 5}),
    "too many folds of the encoding models": (nothing, {"encode.n_folds": 5}),
    "a prior over too few captions": (nothing, {"decode.c_prior": "captions"}),
    "an ROI that is not there": (nothing, {"data.rois": ["low", "high", "V4"]}),
    "an empty ROI": (changed("roi_low", np.zeros_like), {}),
    "an ROI of another length": (changed("roi_low", lambda mask: mask[1:]), {}),
    "no betas": (without("betas"), {}),
    "NaN in betas": (changed("betas", first(np.nan)), {}),
    "betas of text": (changed("betas", lambda betas: betas.astype(str)), {}),
    "an id without an image": (changed("stimulus_id", first(99)), {}),
    "a negative id": (changed("stimulus_id", first(-1)), {}),
    "another subject": (nothing, {"data.subjects": ["subj01", "subj02"]}),
    "an evaluation network that is not there": (nothing, {"evaluate.networks": ["nobody"]}),
    "a model that is not there": (nothing, {"model.name": "nosuch"}),
    "a size of z that the model lacks": (nothing, {"extract.z_size": 13}),
    "no step to denoise": (nothing, {"reconstruct.strength": 0.1}),
    "more steps than the model has": (nothing, {"reconstruct.n_steps": 2000}),
    "a module that the model lacks": (nothing, {"encode.layers": ["nosuch"]}),
    "no file": (nothing, {"data.path": "/nosuch.npz"}),
    "no path": (nothing, {"data.path": None}),
}


def own(brain_file: Path, tiny_model: Path, folder: Path, change: Callable[[Arrays], None], settings: Any) -> Recipe:
    with np.load(brain_file) as content:
        arrays = {name: content[name] for name in content.files}
    change(arrays)
    path = folder / "subj01.npz"
    np.savez(path, **arrays)
    fixed = {"data.path": path, "data.rois": ["low", "high"], "model.name": str(tiny_model)}
    rois = {"decode.rois.z": ["low"], "decode.rois.c": ["high"]}
    changes = {"data.kind": "arrays", **fixed, **rois, **QUICK, **settings}
    return with_changes(Recipe(name="own"), changes)


@pytest.mark.parametrize("case", REFUSED)
def test_own_data_that_run_refuses_are_refused_by_check(brain_file, tiny_model, tmp_path, case):
    assert not agree(own(brain_file, tiny_model, tmp_path, *REFUSED[case]), tmp_path / "out")


@pytest.mark.parametrize("case", ACCEPTED if FULL else list(ACCEPTED)[:2])
def test_own_data_that_check_accepts_run(brain_file, tiny_model, tmp_path, case):
    assert agree(own(brain_file, tiny_model, tmp_path, *ACCEPTED[case]), tmp_path / "out")


def test_check_counts_cut_captions_and_test_images_that_are_trained_on(brain_file, tiny_model, tmp_path):
    def change(arrays: Arrays) -> None:
        arrays["captions"] = np.array(["a long caption " * 9, *arrays["captions"][1:]])
        arrays["stimulus_images"][0] = arrays["stimulus_images"][2]  # 0 is tested, 2 is trained on

    recipe = own(brain_file, tiny_model, tmp_path, change, {})
    said = [finding.found for finding in check(recipe, tmp_path / "out") if finding.what == "warning"]
    assert "1 of 8 captions are longer than the text encoder reads; it ignores their ends." in said
    assert "1 of 4 test images of subj01 are also training images, pixel by pixel." in said


def test_a_folder_without_permission_is_refused_with_a_message(brain_file, tiny_model, tmp_path, monkeypatch):
    def forbid(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/secret")

    monkeypatch.setattr("reseen.check.checks.started_recipe", forbid)
    (tmp_path / "out").mkdir()
    recipe = own(brain_file, tiny_model, tmp_path, nothing, {})
    (tmp_path / "out/recipe.toml").write_text("")
    found = {finding.what: finding for finding in check(recipe, tmp_path / "out")}
    assert "/secret" in found["results folder"].found
    assert not found["results folder"].ok


def test_a_device_or_a_results_folder_that_cannot_be_used_is_refused_by_both(brain_file, tiny_model, tmp_path):
    recipe = own(brain_file, tiny_model, tmp_path, nothing, {})
    assert not agree(recipe, tmp_path / "out", device="cuda:99")
    (tmp_path / "file").write_text("")
    assert not agree(recipe, tmp_path / "file")
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost/provenance.json").write_text("{}")
    assert not agree(recipe, tmp_path / "lost")


# ------------------------------------------------------------------------------------------- subjects to be simulated


@pytest.mark.parametrize(
    "settings",
    [
        {"data.subjects": ["subj09"]},
        {"data.rois": ["early", "ventral", "FFA-1"]},
        {"data.rois": ["early", "ventral", "nosuch"]},
        {"data.space": "MNI"},
        {"data.space": "func1mm"},
        {"data.betas": "betas_assumehrf"},
        {"data.sessions": 3},
        {"data.n_test": 5},
        {"data.n_test": 2},
        {"data.test": "folds", "data.n_folds": 13},
        {"simulate.n_train": 50},
        {"decode.n_folds": 9},
        {"model.name": "nosuch"},
    ],
    ids=str,
)
def test_data_that_simulated_subjects_lack_are_refused_before_the_simulation(tiny_model, tmp_path, settings):
    recipe = with_changes(load_recipe("tiny"), {**TINY_WORLD, **QUICK, "model.name": str(tiny_model), **settings})
    assert not agree(recipe, tmp_path / "out")


def test_a_folder_with_other_content_is_not_simulated_into(tiny_model, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine.txt").write_text("mine")
    changes = {**TINY_WORLD, **QUICK, "model.name": str(tiny_model), "data.path": tmp_path / "data"}
    assert not agree(with_changes(load_recipe("tiny"), changes), tmp_path / "out")


def test_a_recipe_whose_subject_is_still_to_be_simulated_runs_as_check_says(tiny_model, tmp_path):
    changes = {**TINY_WORLD, **QUICK, "model.name": str(tiny_model), "data.n_test": None}
    assert agree(with_changes(load_recipe("tiny"), changes), tmp_path / "out")


@pytest.mark.parametrize("name", ["demo", "simulated", "encode_demo"])
def test_the_recipes_of_simulated_subjects_run_as_check_says(simulated_tree, tiny_model, tmp_path, name):
    made = json.loads((simulated_tree / TRUTH).read_text())["simulate"]
    world = {f"simulate.{key}": value for key, value in made.items()} | {"data.subjects": ["subj01"]}
    few = {"encode.noise": [0.5], "encode.denoising": [], "encode.layers": [], "data.n_test": None}
    recipe = load_recipe(name)
    changes = {"data.path": simulated_tree, "model.name": str(tiny_model), **world, **QUICK, **few}
    if recipe.model.image_adapter is not None:
        changes["model.image_adapter"] = str(write_random_adapter(tmp_path / "adapter"))
    assert agree(with_changes(recipe, changes), tmp_path / "out")


# ----------------------------------------------------------------------------------------------- trees in NSD's layout


def on_a_tree(name: str, tree: Path, tiny_model: Path, settings: Any) -> Recipe:
    fixed = {"data.path": tree, "data.subjects": ["subj01"], "data.sessions": None, "data.n_test": None}
    changes = {**fixed, "model.name": str(tiny_model), "model.revision": None, **QUICK, **settings}
    return with_changes(load_recipe(name), changes)


@pytest.mark.parametrize("name", ["takagi2023", "takagi2023_as_released", "reseen"])
def test_the_recipes_for_nsd_run_as_check_says(simulated_tree, tiny_model, tmp_path, name):
    settings = {"decode.c_prior": "none", "encode.layers": [], "encode.noise": [], "encode.denoising": []}
    assert agree(on_a_tree(name, simulated_tree, tiny_model, settings), tmp_path / "out")


def test_brain_diffusers_recipe_runs_as_check_says(simulated_tree, tiny_model, tmp_path):
    settings = {"model.image_adapter": str(write_random_adapter(tmp_path / "adapter", plus=False))}
    recipe = on_a_tree("braindiffuser_like", simulated_tree, tiny_model, settings)
    assert agree(recipe, tmp_path / "out")
    assert {path.stem for path in (tmp_path / "out/subj01/decode").glob("?_fold0.*")} == {
        "z_fold0",
        "c_fold0",
        "i_fold0",
    }
    for name, alpha in (("z", 5e4), ("c", 1e5), ("i", 6e4)):
        assert set(Results.read(tmp_path / "out").decoder(name).map_.alpha) == {alpha}
    assert not (tmp_path / "out/encoding.csv").exists()  # the recipe has no encoding models


def test_the_second_papers_recipe_runs_as_check_says(simulated_tree, tiny_model, tmp_path):
    write_blip(tmp_path / "blip")
    settings = {"model.captioner": str(tmp_path / "blip"), "extract.captioner_side": None}
    recipe = on_a_tree("takagi2023b", simulated_tree, tiny_model, settings)
    assert agree(recipe, tmp_path / "out")
    for name in ("blip", "pixels"):
        decoder = Results.read(tmp_path / "out").decoder(name)
        assert decoder.map_.alphas.tolist() == [1e4, 2e4, 4e4]
        assert decoder.rois == ["early", "ventral", "midventral", "midlateral", "lateral", "parietal"]
    assert len(Results.read(tmp_path / "out").decoder("z").map_.alphas) > 3  # a grid scaled to the data


@pytest.mark.parametrize(
    "settings",
    [
        {"data.space": "nativesurface"},
        {"data.space": "MNI"},
        {"data.space": "fsaverage"},
        {"data.betas": "betas_fithrf_GLMdenoise_R"},
        {"data.rois": ["early", "ventral", "nosuch"]},
        {"data.rois": ["early", "ventral", "FFA-1"]},
        {"data.subjects": ["subj02"]},
        {"data.subjects": ["subj99"]},
        {"data.sessions": 2},
        {"data.n_test": 2},
        {"data.n_test": 99},
        {"data.path": "/nosuch"},
        {"data.path": None},
    ],
    ids=str,
)
def test_data_that_a_tree_lacks_are_refused_by_both(simulated_tree, tiny_model, tmp_path, settings):
    assert not agree(on_a_tree("takagi2023", simulated_tree, tiny_model, settings), tmp_path / "out")


@pytest.mark.parametrize("pattern", ["betas_session01.*", "*expdesign.mat", "responses.tsv", "nsd_stimuli.hdf5"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_tree_is_refused_by_both(simulated_tree, tiny_model, tmp_path, pattern, damage):
    tree = Path(shutil.copytree(simulated_tree, tmp_path / "tree"))
    for path in tree.rglob(pattern):
        content = path.read_bytes()
        path.unlink()
        if damage == "cut":
            path.write_bytes(content[: len(content) // 2])
    assert not agree(on_a_tree("takagi2023", tree, tiny_model, {}), tmp_path / "out")


@pytest.mark.parametrize("name", ["own_data", "miyawaki2008"])
def test_the_recipes_of_arrays_run_as_check_says(brain_file, tiny_model, tmp_path, name):
    with np.load(brain_file) as content:
        arrays = {name: content[name] for name in content.files}
    arrays["roi_V1"] = arrays["roi_low"]
    np.savez(tmp_path / "subj01.npz", **arrays)
    changes = {"data.path": tmp_path / "subj01.npz", "data.n_folds": 4, "model.name": str(tiny_model), **QUICK}
    assert agree(with_changes(load_recipe(name), changes), tmp_path / "out")


# ------------------------------------------------------------------------------------------------------------- labels


@pytest.fixture(scope="module")
def repeating_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a simulated tree in which 30 images are shown three times each, in three sessions."""
    root = tmp_path_factory.mktemp("repeating") / "data"
    section = SimulateRecipe(n_sessions=3, trials_per_session=30, n_train=26, n_test=4, voxel_fraction=0.1)
    simulate(root, section)
    return root


def labels_of(recipe: Recipe, out: Path) -> tuple[list[Finding], list[str]]:
    """Return what check says of labels, and the warnings of a run about them, which begins with the same data."""
    said = list(requirements.labels(Inputs(recipe, out, thorough=True)))
    results = ResultsFolder(out, recipe)
    _ = Run(recipe, results).subject("subj01").trials
    return said, [warning for warning in results.warnings if "stimulus_id" in warning]


def test_labels_that_fit_are_reported_by_check_and_run_does_not_warn(repeating_tree, tiny_model, tmp_path):
    (found,), warned = labels_of(on_a_tree("takagi2023", repeating_tree, tiny_model, {}), tmp_path / "out")
    assert found.what == "labels of subj01"
    assert re.match(r"fit the betas: \d+\.\d permutation standard deviations, of \d+ voxels in 90 trials", found.found)
    assert warned == []


@pytest.mark.parametrize("shift", ["trial", "sessions"])
def test_check_and_run_warn_of_shifted_labels(repeating_tree, tiny_model, tmp_path, shift):
    tree = Path(shutil.copytree(repeating_tree, tmp_path / "tree"))
    first, second, third = sorted(tree.rglob("betas_session0*.hdf5"))
    if shift == "sessions":
        for source, target in ((first, tmp_path / "kept"), (third, first), (tmp_path / "kept", third)):
            source.rename(target)
    else:
        for path in (first, second, third):
            with h5py.File(path, "r+") as file:
                file["betas"][:] = np.roll(file["betas"][:], 1, axis=0)
    (found,), (warned,) = labels_of(on_a_tree("takagi2023", tree, tiny_model, {}), tmp_path / "out")
    assert (found.what, found.ok) == ("warning", True)
    for text in (found.found, warned):
        assert text.startswith("subj01: trials of the same stimulus_id")
        assert "3 or more is expected" in text


def test_labels_are_not_compared_by_check_if_complete_sessions_would_be_read(
    repeating_tree, tiny_model, tmp_path, monkeypatch
):
    monkeypatch.setattr("reseen.datasets.kept.WORTH_KEEPING", 0)  # each session counts as large
    read = []
    monkeypatch.setattr("reseen.datasets.nsd_betas.read_voxels", lambda path, _: read.append(path))
    tree = Path(shutil.copytree(repeating_tree, tmp_path / "tree"))
    for path in tree.rglob("betas_session0*.hdf5"):
        with h5py.File(path) as file:
            betas = file["betas"][:]
        with h5py.File(path, "w") as file:
            file["betas"] = betas  # contiguous: the numbers of one voxel are all over the file
    (found,) = requirements.labels(Inputs(on_a_tree("takagi2023", tree, tiny_model, {}), tmp_path / "out"))
    assert (found.what, found.mark) == ("labels of subj01", "--")
    assert "would be read completely. The run compares them" in found.found
    assert read == []


def test_a_sample_has_few_voxels_of_every_session(repeating_tree, tiny_model, tmp_path, monkeypatch):
    recipe = on_a_tree("takagi2023", repeating_tree, tiny_model, {})
    monkeypatch.setattr("reseen.datasets.nsd_betas.N_SAMPLED", 7)
    outline = Inputs(recipe, tmp_path / "out").outlines["subj01"]
    sample, (trials, _, _) = outline.sample(), load(recipe.data, "subj01")
    assert sample.betas.shape == (90, 7)
    chosen = np.linspace(0, trials.betas.shape[1] - 1, 7).astype(int)
    np.testing.assert_array_equal(sample.betas, trials.betas[:, chosen])
    np.testing.assert_array_equal(sample.stimulus_id, trials.stimulus_id)


# ------------------------------------------------------------------------------------------------------ read once only


def test_check_reads_each_file_of_captions_and_the_table_of_images_once(
    repeating_tree, tiny_model, tmp_path, monkeypatch
):
    tree = Path(shutil.copytree(repeating_tree, tmp_path / "tree"))
    read: list[str] = []

    def counted(reader: Callable[..., Any]) -> Callable[..., Any]:
        def count(path: Path, *arguments: Any, **options: Any) -> Any:
            read.append(Path(path).name)
            return reader(path, *arguments, **options)

        return count

    monkeypatch.setattr(nsd_images, "read_json", counted(nsd_images.read_json))
    monkeypatch.setattr(nsd_stim_info, "read_text", counted(nsd_stim_info.read_text))
    findings = check(on_a_tree("takagi2023", tree, tiny_model, {}), tmp_path / "out")
    said = {finding.what: finding.found for finding in findings}
    assert re.fullmatch(r"\d+ captions of 30 images", said["captions"])
    for name in ("captions_train2017.json", "captions_val2017.json", "nsd_stim_info_merged.csv"):
        assert read.count(name) == 1, name
