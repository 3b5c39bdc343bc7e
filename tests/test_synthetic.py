"""NSD-synthetic: layout of the simulated session, reader, damaged files, and decoders applied to its trials."""

import re
import shlex
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from fields import raises_with
from scipy.io import loadmat, savemat

from reseen import Results, Trials, pipeline
from reseen.datasets.experiment_files import experiment_paths
from reseen.datasets.nsd_facts import NsdFiles
from reseen.datasets.nsd_synthetic import read_stimuli, read_synthetic
from reseen.datasets.synthetic_files import classes_path, colour_images_path, design_path, shared_images_path
from reseen.errors import DataError
from reseen.recipe import DataRecipe, Recipe, SimulateRecipe, with_settings
from reseen.simulate import BETAS, SPACE, simulate
from reseen.simulate.synthetic_images import draw_synthetic

ROOT = Path(__file__).resolve().parents[1]
SMALLEST = SimulateRecipe(n_subjects=2, n_sessions=1, trials_per_session=24, n_train=10, n_test=8, voxel_fraction=0.05)
SIZES = {
    "noise": 16,
    "natural scenes": 8,
    "manipulated scenes": 12,
    "contrast modulation": 16,
    "phase-coherence modulation": 16,
    "single words": 40,
    "spiral gratings": 112,
    "chromatic noise": 64,
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """Two small simulated subjects with a session of NSD-synthetic."""
    root = tmp_path_factory.mktemp("synthetic") / "data"
    simulate(root, SMALLEST, synthetic=True, nifti=True)
    return root


@pytest.fixture
def copy(tree, tmp_path) -> Path:
    """A copy of the tree, to be damaged."""
    return shutil.copytree(tree, tmp_path / "data")


def files_of(root, subject="subj01"):
    return NsdFiles(root, subject, SPACE, BETAS)


def read(root, subject="subj01", index=None):
    with np.load(root / f"truth/{subject}.npz") as truth:
        known = truth["voxel_index"]
    return read_synthetic(DataRecipe(kind="nsd", path=root), subject, known if index is None else index)


# ------------------------------------------------------------------------------------------------ layout and reader


def test_files_have_the_layout_of_nsd_synthetic(tree):
    files = files_of(tree)
    (path,) = experiment_paths(files, "nsdsynthetic")
    assert path.relative_to(tree).as_posix() == (
        "nsddata_betas/ppdata/subj01/func1pt8mm/nsdsyntheticbetas_fithrf_GLMdenoise_RR/betas_nsdsynthetic.hdf5"
    )
    with h5py.File(path) as file:
        assert file["betas"].shape[0] == 744
        assert file["betas"].dtype == np.int16
    design = loadmat(design_path(files))
    assert design["masterordering"].shape == (1, 744)
    assert set(design["masterordering"].ravel()) == set(range(1, 285))
    assert design["stimpattern"].shape == (1, 8, 107)
    assert design["stimpattern"].sum(axis=2).tolist() == [[93] * 8]
    table = pd.read_csv(classes_path(files))
    assert table["Image number"].tolist() == list(range(1, 285))
    assert {name.lower(): len(rows) for name, rows in table.groupby("Image class")} == SIZES
    assert table["Image subclass number"].value_counts().tolist() == [4] * 71
    with h5py.File(shared_images_path(files)) as file:
        shared = file["imgBrick"]
        assert shared.shape == (220, 64, 122, 3)
        assert shared.dtype == np.uint8
    assert colour_images_path(files).name == "nsdsynthetic_colorstimuli_subj01.hdf5"
    with h5py.File(colour_images_path(files)) as file:
        assert file["imgBrick"].shape == (64, 64, 122, 3)


def test_all_other_files_are_the_same_without_the_session(tree, tmp_path):
    simulate(tmp_path / "data", SMALLEST, nifti=True)
    without = {path.relative_to(tmp_path / "data"): path for path in (tmp_path / "data").rglob("*") if path.is_file()}
    for name, path in without.items():
        if path.suffix != ".npz":  # npz archives contain the time of writing
            assert (tree / name).read_bytes() == path.read_bytes(), name
    further = {path.relative_to(tree) for path in tree.rglob("*") if path.is_file()} - set(without)
    assert further
    assert all("nsdsynthetic" in str(name) for name in further)


def test_the_reader_returns_the_written_betas_with_their_images(tree):
    found = read(tree)
    (path,) = experiment_paths(files_of(tree), "nsdsynthetic")
    with h5py.File(path) as file:
        volume = file["betas"][:]
    stored = np.stack([image.T.ravel()[found.trials.voxel_index] for image in volume])
    np.testing.assert_allclose(found.trials.betas, stored / 300, atol=1e-6)
    order = loadmat(design_path(files_of(tree)))["masterordering"].ravel()
    np.testing.assert_array_equal(found.trials.stimulus_id, order.astype(int) - 1)
    assert set(found.trials.session) == {1}  # one scan session, which standardises its trials


def test_runs_alternate_between_the_tasks_and_each_has_ten_one_back_trials(tree):
    found = read(tree)
    assert np.bincount(found.run).tolist() == [0] + [93] * 8
    for run in range(1, 9):
        rows = found.run == run
        assert set(found.task[rows]) == {"fixation" if run % 2 else "one-back"}
        assert found.one_back[rows].sum() == 10
        assert not found.one_back[rows][0]
    # each task presents every image
    for task in ("fixation", "one-back"):
        assert len(np.unique(found.trials.stimulus_id[found.task == task])) == 284


def test_all_subjects_have_one_order_and_images_of_their_own_colours(tree):
    one, two = read(tree), read(tree, "subj02")
    np.testing.assert_array_equal(one.trials.stimulus_id, two.trials.stimulus_id)
    np.testing.assert_array_equal(one.stimuli.image(219), two.stimuli.image(219))
    assert (one.stimuli.image(220) != two.stimuli.image(220)).any()


def test_images_are_shown_as_a_screen_shows_them_and_cropped_to_the_middle_square(tree):
    stimuli = read(tree).stimuli
    drawn = draw_synthetic(np.random.default_rng(0)).shared[0]
    assert drawn.shape == (64, 122, 3)
    for number in (0, 12, 219, 220, 283):
        path, row = shared_images_path(files_of(tree)), number
        if number >= 220:
            path, row = colour_images_path(files_of(tree)), number - 220
        with h5py.File(path) as file:
            stored = file["imgBrick"][row].astype(float)
        shown = stimuli.image(number)
        assert shown.shape == (64, 64, 3)
        # stored values are proportional to luminance, the square of what a screen gets
        np.testing.assert_allclose(shown, 255 * np.sqrt(stored[:, 29:93] / 255), atol=0.5)
    colours = np.ptp(stimuli.image(220).astype(int), axis=2)
    assert colours.max() > 30
    assert np.ptp(stimuli.image(219).astype(int), axis=2).max() == 0


def test_classes_are_subsets_and_captions(tree):
    stimuli = read(tree).stimuli
    assert {name: len(members) for name, members in stimuli.subsets.items()} == SIZES
    assert frozenset(range(104, 216)) == stimuli.subsets["spiral gratings"]
    assert frozenset(range(220, 284)) == stimuli.subsets["chromatic noise"]
    assert stimuli.captions(104) == ("a grating",)
    assert stimuli.captions(12) == stimuli.captions(13) == ("a black and white photograph of a scene",)


def test_sixteen_words_are_outside_the_middle_square(tree):
    stimuli = read(tree).stimuli
    uniform = [number for number in range(284) if not np.ptp(stimuli.image(number))]
    assert len(uniform) == 16
    assert set(uniform) <= stimuli.subsets["single words"]


def test_betas_are_read_as_nifti_too(copy):
    expected = read(copy).trials.betas
    experiment_paths(files_of(copy), "nsdsynthetic")[0].unlink()
    np.testing.assert_array_equal(read(copy).trials.betas, expected)


# ------------------------------------------------------------------------------------------------ damaged files


def test_a_missing_file_of_colours_is_named_with_its_download_command(copy):
    path = colour_images_path(files_of(copy))
    path.unlink()
    with pytest.raises(DataError) as caught:
        read(copy)
    assert caught.value.where == path
    assert (
        "aws s3 cp --no-sign-request s3://natural-scenes-dataset/nsddata_stimuli/stimuli/nsdsynthetic/"
        "nsdsynthetic_colorstimuli_subj01.hdf5"
    ) in str(caught.value)
    assert "reseen simulate --synthetic" in str(caught.value)


def change_design(root, **changed):
    path = design_path(files_of(root))
    content = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    savemat(path, {**content, **changed})
    return path


@pytest.mark.parametrize(("number", "shown"), [(0, 0.0), (285, 285.0), (1.5, 1.5)])
def test_numbers_of_images_that_do_not_exist_are_refused(copy, number, shown):
    order = loadmat(design_path(files_of(copy)))["masterordering"].astype(float)
    order[0, 7] = number
    path = change_design(copy, masterordering=order)
    with raises_with(DataError, where=path, expected=(1, 284), found=shown):
        read(copy)


def test_another_number_of_trials_is_refused(copy):
    order = loadmat(design_path(files_of(copy)))["masterordering"]
    path = change_design(copy, masterordering=order[:, :-1])
    with raises_with(DataError, where=path, expected=744, found=743):
        read(copy)
    pattern = loadmat(path)["stimpattern"]
    pattern[0, 3] = 0
    change_design(copy, masterordering=order, stimpattern=pattern)
    with raises_with(DataError, where=path, expected=93, found=(93, 93, 93, 0, 93, 93, 93, 93)):
        read(copy)


def test_betas_of_another_session_or_grid_are_refused(copy):
    files = files_of(copy)
    (path,) = experiment_paths(files, "nsdsynthetic")
    with raises_with(DataError, where=path, expected=10_000_001):
        read(copy, index=np.array([10_000_000]))
    shutil.copy(files.session(1), path)
    with raises_with(DataError, where=path, expected=744, found=24):
        read(copy)


def test_files_with_another_number_of_images_are_refused(copy):
    files = files_of(copy)
    shutil.copy(shared_images_path(files), colour_images_path(files))
    with raises_with(DataError, where=colour_images_path(files), expected=64, found=220):
        read(copy)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda table: table.iloc[:-1], 284),
        (lambda table: table.iloc[::-1], 284),
        (lambda table: table.assign(**{"Image class": ""}), 284),
        (lambda table: table.drop(columns="Image class"), "Image class"),
    ],
)
def test_tables_of_images_that_do_not_fit_are_refused(copy, change, expected):
    path = classes_path(files_of(copy))
    change(pd.read_csv(path)).to_csv(path, index=False)
    with raises_with(DataError, where=path, expected=expected):
        read(copy)


def test_a_table_without_numbers_is_read_in_its_order(copy):
    expected = read_stimuli(files_of(copy)).subsets
    path = classes_path(files_of(copy))
    pd.read_csv(path).drop(columns="Image number").to_csv(path, index=False)
    assert read_stimuli(files_of(copy)).subsets == expected


# ------------------------------------------------------------------------------------------------ runs and commands


@pytest.fixture(scope="module")
def run_folder(tree, tiny_model, tmp_path_factory):
    """A run that decoded z and c of the first subject."""
    recipe = with_settings(
        Recipe(name="synthetic"),
        [
            "data.kind=nsd",
            f"data.path={tree}",
            'data.rois=["early", "ventral"]',
            f"model.name={tiny_model}",
            'decode.rois.z=["early"]',
            'decode.rois.c=["ventral"]',
            "decode.n_folds=2",
            "decode.alphas=[1.0, 100.0]",
            'reconstruct.conditions=["z", "c"]',
            "reconstruct.n_samples=1",
            "reconstruct.n_steps=2",
            "evaluate.n_derangements=5",
            "evaluate.n_bootstrap=20",
        ],
    )
    folder = tmp_path_factory.mktemp("run") / "results"
    pipeline.run(recipe, folder, until="decode")
    return folder


@pytest.mark.filterwarnings("ignore")
def test_apply_labels_the_trials_with_their_images_and_scores_each_class(run_folder, tree):
    results = Results.read(run_folder)
    single = results.apply("nsdsynthetic", conditions=[])
    assert len(single) == 744
    assert single.scaling == "session"
    expected = read(tree).trials
    given = Trials(
        expected.betas, expected.stimulus_id, voxel_index=expected.voxel_index, volume_shape=expected.volume_shape
    )
    same = results.apply(given, conditions=[], stimuli=read(tree).stimuli)
    np.testing.assert_array_equal(single.features["z"].array, same.features["z"].array)

    averaged = results.apply("nsdsynthetic", conditions=["z"], average=True)
    assert len(averaged) == 284
    assert averaged.n_repetitions.sum() == 744
    np.testing.assert_array_equal(averaged.presented[220], read(tree).stimuli.image(220))
    table = averaged.scores.table
    assert set(table["subset"]) == {"all", *SIZES}
    counted = table[(table["metric"] == "identification") & (table["level"] == "result")]
    for subset, n in SIZES.items():
        assert set(counted[counted["subset"] == subset]["n"]) == {n}
    assert {"features", "classifier"} <= set(counted["network"])


@pytest.mark.filterwarnings("ignore")
def test_check_lists_the_files_and_their_downloads(run_folder, tree, reseen, tmp_path):
    code, out, _ = reseen("check", run_folder, "--trials", "nsdsynthetic")
    assert code == 0
    assert "5 files" in out
    assert "744 betas" in out

    code, out, _ = reseen(
        "check", "takagi2023", "--data", tmp_path, "--set", 'data.subjects=["subj01"]', "--trials", "nsdsynthetic"
    )
    assert code == 1
    assert "betas_nsdsynthetic.hdf5, 1.04 GB" in out  # 744 x 81 x 104 x 83 values of two bytes
    assert "nsdsynthetic_stimuli.hdf5 and nsdsynthetic_colorstimuli_subj01.hdf5, 0.827 GB" in out
    assert "aws s3 sync --no-sign-request s3://natural-scenes-dataset/nsddata/experiments/nsdsynthetic " in out

    code, out, _ = reseen(
        "check", "takagi2023", "--data", tmp_path, "--set", 'data.subjects=["subj01"]', "--trials", "nsdimagery"
    )
    assert code == 1
    assert "13 files, 1.01 GB" in out
    assert "name 12 images" in out

    code, _, error = reseen("check", "demo", "--trials", "nsdaudio")
    assert code == 1
    assert "nsdimagery, nsdsynthetic" in error


def test_check_finds_damaged_files(run_folder, copy, reseen):
    path = design_path(files_of(copy))
    path.write_bytes(path.read_bytes()[:300])
    code, out, _ = reseen("check", run_folder, "--data", copy, "--trials", "nsdsynthetic")
    assert code == 1
    assert "1 damaged" in out
    assert "nsdsynthetic_expdesign.mat" in out


@pytest.mark.filterwarnings("ignore")
def test_every_command_of_the_page_runs(run_folder, reseen, tmp_path, monkeypatch):
    text = (ROOT / "docs/nsd_synthetic.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\$ (reseen\b.*)", text, re.MULTILINE)
    assert len(lines) >= 5
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run_folder, "out/nsd")
    said = ""
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        if words[0] == "simulate":  # smaller than the recipe
            small = SMALLEST.model_dump()
            words += [word for name, value in small.items() for word in ("--set", f"simulate.{name}={value}")]
        if words[0] == "run":  # the results are there
            continue
        code, out, error = reseen(*words)
        assert code == (1 if words[:2] == ["check", "takagi2023"] else 0), (line, error)
        said += out
    assert "spiral gratings" in said
    assert pd.read_csv("out/nsd-nsdsynthetic/items.csv")["n_repetitions"].sum() == 744
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(block, names)
