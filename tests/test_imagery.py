"""NSD-Imagery: layout of the simulated session, reader, both scorers, exact permutations, and the command."""

import re
import shlex
import shutil
from itertools import permutations
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from fields import raises_with
from results_page import check_files
from scipy.io import loadmat
from scipy.stats import kstest

from reseen import Decoder, Features, Results, Trials, pipeline
from reseen.datasets.experiment_files import experiment_paths
from reseen.datasets.imagery_files import COLUMNS, RUNS, pair_list_path, trials_path
from reseen.datasets.nsd_facts import NsdFiles
from reseen.datasets.nsd_imagery import read_imagery
from reseen.decode.new_trials import predict_new
from reseen.errors import DataError, RecipeError, ShapeError
from reseen.evaluate import score_imagery
from reseen.metrics import correlation_matrix, pairing_distribution, pooled_distribution, tail_probability
from reseen.recipe import DataRecipe, Recipe, SimulateRecipe, with_settings
from reseen.simulate import BETAS, SPACE, simulate, simulated_subjects
from reseen.simulate.imagery import draw_figure, draw_targets, scan_imagery
from reseen.trials import standardise

ROOT = Path(__file__).resolve().parents[1]
SMALLEST = SimulateRecipe(n_sessions=1, trials_per_session=24, n_train=10, n_test=8, voxel_fraction=0.05)
SETS = np.array(["A"] * 6 + ["B"] * 6)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """The smallest simulated subject with a session of NSD-Imagery."""
    root = tmp_path_factory.mktemp("imagery") / "data"
    simulate(root, SMALLEST, imagery=True, nifti=True)
    return root


@pytest.fixture
def copy(tree, tmp_path) -> Path:
    """A copy of the tree, to be damaged."""
    return shutil.copytree(tree, tmp_path / "data")


def files_of(root):
    return NsdFiles(root, "subj01", SPACE, BETAS)


def read(root, index=None):
    with np.load(root / "truth/subj01.npz") as truth:
        known = truth["voxel_index"]
    return read_imagery(DataRecipe(kind="nsd", path=root), "subj01", known if index is None else index)


# ------------------------------------------------------------------------------------------------ layout and reader


def test_files_have_the_layout_of_nsd_imagery(tree):
    files = files_of(tree)
    (path,) = experiment_paths(files, "nsdimagery")
    assert path.relative_to(tree).as_posix() == (
        "nsddata_betas/ppdata/subj01/func1pt8mm/nsdimagerybetas_fithrf_GLMdenoise_RR/betas_nsdimagery.hdf5"
    )
    with h5py.File(path) as file:
        assert file["betas"].shape[0] == 720
        assert file["betas"].dtype == np.int16
    order = ["visA", "attA", "imgA_1", "visB", "attB", "imgB_1", "visC", "attC", "imgC_1", "imgA_2", "imgB_2", "imgC_2"]
    assert [run.name for run in RUNS] == order
    assert sum(run.n_events for run in RUNS) == 720
    for position, run in enumerate(RUNS, start=1):
        table = pd.read_csv(trials_path(files, run), sep="\t")
        assert tuple(table.columns) == COLUMNS
        assert len(table) == 48
        assert set(table["RUN"]) == {position}
        for column in ("CONDITION", "CUE"):
            assert table[column].value_counts().tolist() == [8] * 6
    for target_set in "ABC":
        cells = loadmat(pair_list_path(files, target_set), squeeze_me=True)["pair_list"]
        assert cells.shape == (6, 3)
        assert [int(number) for number in cells[:, 0]] == [1, 2, 3, 4, 5, 6]


def test_all_other_files_are_the_same_without_imagery(tree, tmp_path):
    simulate(tmp_path / "data", SMALLEST, nifti=True)
    without = {path.relative_to(tmp_path / "data"): path for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert not any("imagery" in str(name) for name in without)
    for name, path in without.items():
        if path.suffix != ".npz":  # npz archives contain the time of writing
            assert (tree / name).read_bytes() == path.read_bytes(), name
    with_imagery = {path.relative_to(tree) for path in tree.rglob("*") if path.is_file()}
    assert all("imagery" in str(name) for name in with_imagery - set(without))


def test_the_reader_returns_the_written_betas_with_their_labels(tree):
    found = read(tree)
    assert found.trials.betas.shape[0] == 9 * 48
    first = dict(zip((run.name for run in RUNS), np.cumsum([0, *(run.n_events for run in RUNS)]), strict=False))
    (path,) = experiment_paths(files_of(tree), "nsdimagery")
    with h5py.File(path) as file:
        volume = file["betas"][:]
    column = np.stack([image.T.ravel()[found.trials.voxel_index] for image in volume]) / 300
    for position, run in enumerate(RUNS, start=1):
        rows = found.trials.session == position
        if run.task == "attention":
            assert not rows.any()
            continue
        assert set(found.task[rows]) == {run.task}
        np.testing.assert_allclose(found.trials.betas[rows], column[first[run.name] :][:48], atol=1e-6)
        table = pd.read_csv(trials_path(files_of(tree), run), sep="\t")
        label = table["CONDITION" if run.task == "vision" else "CUE"]
        letters = [found.targets[number].letter for number in found.trials.stimulus_id[rows]]
        assert letters == label.tolist()
    assert np.bincount(found.of_task("vision").stimulus_id).tolist() == [8] * 12
    assert np.bincount(found.of_task("imagery").stimulus_id).tolist() == [16] * 12


def test_targets_have_images_and_captions(tree):
    from reseen import load_nsd

    found, main = read(tree), load_nsd(tree, "subj01").stimuli
    assert [target.target_set for target in found.targets] == list("A" * 6 + "B" * 6 + "C" * 6)
    assert found.stimuli.captions(0) == ("a horizontal bar on a plain background",)
    assert found.stimuli.captions(2) == ("a vertical bar on a plain background",)
    scenes = 0
    for number in range(6, 12):
        stimulus = int(re.search(r"_nsd(\d+)", found.targets[number].name)[1]) - 1
        if stimulus >= 0:
            np.testing.assert_array_equal(found.stimuli.image(number), main.image(stimulus))
            assert found.stimuli.captions(number) == main.captions(stimulus)
            scenes += 1
    assert scenes == 5
    assert found.stimuli.captions(11) == ("an artwork",)


def test_bars_have_their_orientation():
    horizontal, rising, vertical = (draw_figure("bar", angle, 65)[..., 0] == 255 for angle in (0, 45, 90))
    assert horizontal[32].sum() > 35
    assert horizontal[:, 32].sum() < 9
    np.testing.assert_array_equal(vertical, horizontal.T)
    assert rising[20, 44]  # above the centre on the right
    assert not rising[44, 44]


def test_betas_are_read_as_nifti_too(copy):
    expected = read(copy).trials.betas
    experiment_paths(files_of(copy), "nsdimagery")[0].unlink()
    np.testing.assert_array_equal(read(copy).trials.betas, expected)


def test_missing_files_are_named_with_their_download_commands(copy):
    files = files_of(copy)
    for path in (*experiment_paths(files, "nsdimagery"), trials_path(files, RUNS[0])):
        path.unlink()
        path.with_suffix(".nii.gz").unlink(missing_ok=True)
    with pytest.raises(DataError) as caught:
        read(copy)
    said = str(caught.value)
    assert caught.value.where == experiment_paths(files, "nsdimagery")[0]
    assert "aws s3 cp --no-sign-request s3://natural-scenes-dataset/nsddata_betas/ppdata/subj01/func1pt8mm/" in said
    assert "nsddata/bdata/nsdimagery/nsdimagery_subj01_visA.tsv" in said


def edit(path, change):
    """Change the table of a run."""
    change(pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)).to_csv(path, sep="\t", index=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.iloc[:47],
        lambda table: table.drop(columns="CUE"),
        lambda table: table.assign(CUE="Z"),
        lambda table: table.assign(TRIAL=table["TRIAL"].iloc[0]),
    ],
)
def test_tables_that_do_not_fit_are_refused(copy, change):
    path = trials_path(files_of(copy), RUNS[2])
    edit(path, change)
    with raises_with(DataError, where=path):
        read(copy)


def test_rows_of_a_table_may_have_another_order(copy):
    expected = read(copy).trials.stimulus_id
    edit(trials_path(files_of(copy), RUNS[2]), lambda table: table.iloc[::-1])
    np.testing.assert_array_equal(read(copy).trials.stimulus_id, expected)


def test_betas_and_pair_lists_that_do_not_fit_are_refused(copy):
    files = files_of(copy)
    with raises_with(DataError, where=experiment_paths(files, "nsdimagery")[0], expected=10_000_001):
        read(copy, np.array([10_000_000]))
    (path,) = experiment_paths(files, "nsdimagery")
    kept = path.read_bytes()
    shutil.copy(files.session(1), path)
    with raises_with(DataError, where=path, expected=720, found=24):
        read(copy)
    path.write_bytes(kept)
    shutil.copy(files.design, pair_list_path(files, "B"))
    with raises_with(DataError, where=pair_list_path(files, "B"), expected=(6, 3)):
        read(copy)


def test_five_shared_test_images_are_needed(tmp_path):
    small = SMALLEST.model_copy(update={"n_test": 4})
    with raises_with(RecipeError, where="simulate.n_test", expected=5, found=4):
        simulate(tmp_path / "data", small, imagery=True)


# ------------------------------------------------------------------------------------------------ scorers and exact p


@pytest.mark.parametrize("groups", [None, [0, 1, 0, 1, 1, 0]])
def test_the_distribution_equals_that_of_all_permutations(groups):
    points = np.random.default_rng(0).integers(0, 9, (6, 6))
    found = pairing_distribution(points, None if groups is None else np.array(groups))
    labels = [0] * 6 if groups is None else groups
    totals = [
        sum(points[row, column] for row, column in enumerate(order))
        for order in permutations(range(6))
        if all(labels[row] == labels[column] for row, column in enumerate(order))
    ]
    expected = np.bincount(totals, minlength=len(found)) / len(totals)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    two = pooled_distribution([found, found])
    sums = np.add.outer(totals, totals)
    assert tail_probability(two, 50) == pytest.approx(np.mean(sums >= 50))


def test_too_many_items_are_refused():
    with raises_with(ShapeError, where="points", found=(17, 17)):
        pairing_distribution(np.zeros((17, 17), dtype=np.int64))


def test_the_published_scorer_is_that_of_the_released_code_and_its_chance_is_below_one_half():
    rng = np.random.default_rng(1)
    released = []
    for _ in range(4000):
        r = rng.normal(size=(12, 12))
        # of each reconstruction: sum(correlations < congruent) - 1, of 11
        released.append(((r < np.diag(r)).sum(axis=0) - 1).mean() / 11)
    table = score_imagery({"subj01": {"vision": r}}, ["A"] * 12, n_bootstrap=10).set_index("scorer")
    assert table.loc["published", "value"] == pytest.approx(released[-1])
    assert table.loc["corrected", "value"] == pytest.approx(released[-1] + 1 / 11)
    # 1/2 - 1/11 = .409
    assert table.loc["published", "chance"] == pytest.approx(0.5 - 1 / 11)
    assert table.loc["corrected", "chance"] == pytest.approx(0.5)
    assert np.mean(released) == pytest.approx(0.409, abs=0.005)
    identified = table.loc[["published", "corrected"], "chance_sd"]
    assert identified.to_numpy() == pytest.approx(np.std(released), abs=0.01)
    perfect = score_imagery({"subj01": {"vision": np.eye(12)}}, ["A"] * 12, n_bootstrap=10)
    assert perfect["value"].tolist() == pytest.approx([10 / 11, 1, 1])


def test_ties_are_half_in_the_corrected_scorer_and_lost_in_the_published_one():
    table = score_imagery({"subj01": {"vision": np.ones((12, 12))}}, ["A"] * 12, n_bootstrap=10)
    assert table["value"].tolist() == pytest.approx([-1 / 11, 0.5, 0])
    assert table["p"].tolist() == pytest.approx([1, 1, 1])


def test_the_margin_is_the_distance_to_the_mean_of_the_other_targets_and_0_at_chance():
    rng = np.random.default_rng(2)
    seen, imagined = np.eye(12) + rng.normal(size=(12, 12)) / 20, np.eye(12) / 2 + rng.normal(size=(12, 12)) / 20
    table = score_imagery({"subj01": {"vision": seen, "imagery": imagined}}, SETS, n_bootstrap=200)
    rows = table[table["targets"] == "A+B"].set_index(["scorer", "task"])
    expected = np.mean([seen[j, j] - np.delete(seen[:, j], j).mean() for j in range(12)])
    assert rows.loc[("margin", "vision"), "value"] == pytest.approx(expected)
    # identification of both is perfect, and only the margin orders them
    assert rows.loc[("corrected", "vision - imagery"), "value"] == 0
    assert rows.loc[("margin", "vision - imagery"), "low"] > 0
    assert rows.loc[("margin", "vision - imagery"), "p"] < 0.001
    for task in ("vision", "imagery"):
        row = rows.loc[("margin", task)]
        assert row["chance"] == 0
        assert row["low"] > 0
        assert row["p"] == pytest.approx(1 / 10_001)
        assert row["p_within_sets"] == pytest.approx(1 / 10_001)


def test_several_subjects_have_an_interval_over_subjects_too():
    rng = np.random.default_rng(6)
    subjects = {f"s{k}": {"vision": np.eye(12) + rng.normal(size=(12, 12)) / 2} for k in range(5)}
    table = score_imagery(subjects, ["A"] * 12, n_bootstrap=2)
    rows = table[table["scorer"] == "margin"].set_index("subject")
    each = rows.loc[list(subjects), "value"].to_numpy()
    half = 2.776 * each.std(ddof=1) / np.sqrt(5)  # Student's t with 4 degrees of freedom
    assert rows.loc["all", "low_subjects"] == pytest.approx(each.mean() - half, abs=1e-4)
    assert rows.loc["all", "high_subjects"] == pytest.approx(each.mean() + half, abs=1e-4)
    assert rows.loc["s0", ["low_subjects", "high_subjects"]].isna().all()


def test_p_of_the_margin_equals_that_of_all_permutations():
    r = np.random.default_rng(5).normal(size=(6, 6))
    margins = (6 * r - r.sum(axis=0)) / 5
    every = [np.mean([margins[row, column] for column, row in enumerate(order)]) for order in permutations(range(6))]
    row = score_imagery({"subj01": {"vision": r}}, ["A"] * 6, n_bootstrap=2).set_index("scorer").loc["margin"]
    assert np.mean(every) == pytest.approx(0)
    assert row["chance_sd"] == pytest.approx(np.std(every), rel=0.05)
    assert row["p"] == pytest.approx(np.mean(np.array(every) >= row["value"] - 1e-9), abs=0.02)


def test_p_is_uniform_where_nothing_is_decoded():
    rng = np.random.default_rng(3)
    p, within = [], []
    for number in range(100):
        # originals of a set are alike, and so are reconstructions of a run
        alike = np.kron(rng.normal(size=(2, 2)), np.ones((6, 6)))
        subjects = {f"s{k}": {"imagery": alike + rng.normal(size=(12, 12))} for k in range(1 + number % 2)}
        table = score_imagery(subjects, SETS, n_bootstrap=2)
        row = table[(table["scorer"] == "corrected") & (table["targets"] == "A+B")].iloc[0]
        within.append(row["p_within_sets"])
        subjects = {f"s{k}": {"imagery": rng.normal(size=(12, 12))} for k in range(1 + number % 2)}
        table = score_imagery(subjects, ["A"] * 12, n_bootstrap=2)
        p.append(table[table["scorer"] == "corrected"]["p"].iloc[-1])
    assert kstest(p, "uniform").pvalue > 0.01
    assert kstest(within, "uniform").pvalue > 0.01


# ------------------------------------------------------------------------------------------------ simulated subjects


def centred_matrix(true, predicted, mean):
    return correlation_matrix(true - mean, predicted - mean)


class Person:
    """A simulated subject with a decoder of local contrast by orientation, fitted on its main experiment."""

    def __init__(self, anatomy, shown, subject, targets):
        self.subject, self.targets = subject, targets
        contrast = self._contrast(shown.small)
        train = np.setdiff1d(subject.seen, shown.shared)
        betas = np.concatenate([standardise(part)[0] for part in subject.betas])
        ids = np.concatenate(subject.stimulus_id)
        rows = np.isin(ids, train)
        trials = Trials(betas[rows], ids[rows], voxel_index=anatomy.voxel_index)
        features = Features("contrast", contrast[train], train)
        self.decoder = Decoder(n_folds=3, alphas=(1e2, 1e3, 1e4)).fit(trials, features)
        self.true, self.mean = self._contrast(targets.small[:12]), contrast[train].mean(axis=0)
        self.index = anatomy.voxel_index

    @staticmethod
    def _contrast(images):
        down, right = np.gradient(images.mean(axis=3) / 255, axis=(1, 2))
        angles = np.deg2rad([0, 45, 90, 135])[:, None, None, None]
        edges = np.abs(np.cos(angles) * right + np.sin(angles) * down)  # (4, n, 64, 64)
        pooled = edges.reshape(4, len(images), 8, 8, 8, 8).mean(axis=(3, 5))
        return np.sqrt(pooled).swapaxes(0, 1).reshape(len(images), -1).astype(np.float32)

    def matrices(self, rng, *, informative=True):
        """Scan a session, and return the correlations of each task."""
        subject = self.subject
        scan = scan_imagery(
            self.targets, subject.cortex, subject.scanner, subject.responses.signal, rng, informative=informative
        )
        first, found = 0, {"vision": [], "imagery": []}
        for position, run in enumerate(RUNS):
            if run.target_set != "C" and run.task != "attention":
                number = scan.condition[position] if run.task == "vision" else scan.cue[position]
                betas = standardise(scan.betas[first : first + 48])[0]
                found[run.task].append((betas, number + 6 * "AB".index(run.target_set)))
            first += run.n_events
        return {task: self._matrix(parts) for task, parts in found.items()}

    def _matrix(self, parts):
        betas, ids = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
        trials = Trials(betas, ids, voxel_index=self.index)
        decoded = predict_new(self.decoder, trials, "training", average=True).flat
        return centred_matrix(self.true, decoded, self.mean)


@pytest.fixture(scope="module")
def people():
    settings = SimulateRecipe(
        n_subjects=4, n_sessions=2, trials_per_session=180, n_train=112, n_test=8, voxel_fraction=0.25, seed=2
    )
    anatomy, shown, subjects = simulated_subjects(settings)
    targets = draw_targets(shown, np.random.default_rng(5))
    return [Person(anatomy, shown, subject, targets) for subject in subjects]


def test_vision_is_above_imagery_and_imagery_above_chance(people):
    matrices = {f"subj{k:02d}": person.matrices(np.random.default_rng(k)) for k, person in enumerate(people)}
    table = score_imagery(matrices, SETS, n_bootstrap=1000)
    pooled = table[(table["subject"] == "all") & (table["targets"] == "A+B")]
    for scorer, chance in (("published", 0.5 - 1 / 11), ("corrected", 0.5)):
        rows = pooled[pooled["scorer"] == scorer].set_index("task")
        assert rows.loc["vision", "low"] > chance
        assert rows.loc["imagery", "low"] > chance
        assert rows.loc["vision - imagery", "low"] > 0
        assert rows.loc["imagery", "p"] < 0.01
        assert rows.loc["vision - imagery", "p"] < 0.05


def test_p_is_uniform_over_sessions_without_information(people):
    found = {"vision": [], "imagery": []}
    for seed in range(30):
        matrices = {
            str(k): person.matrices(np.random.default_rng([seed, k]), informative=False)
            for k, person in enumerate(people[:2])
        }
        table = score_imagery(matrices, SETS, n_bootstrap=2)
        pooled = table[(table["subject"] == "all") & (table["targets"] == "A+B") & (table["scorer"] == "corrected")]
        for task, values in found.items():
            values.append(pooled.set_index("task").loc[task, ["p", "p_within_sets"]].tolist())
    for values in found.values():
        for column in np.transpose(values):
            assert kstest(column, "uniform").pvalue > 0.01


# ------------------------------------------------------------------------------------------------ runs and commands


@pytest.fixture(scope="module")
def run_folder(tree, tiny_model, tmp_path_factory):
    """A run that decoded z and c of the smallest subject."""
    recipe = with_settings(
        Recipe(name="imagery"),
        [
            "data.kind=nsd",
            f"data.path={tree}",
            'data.rois=["early", "ventral"]',
            f"model.name={tiny_model}",
            'decode.rois.z=["early"]',
            'decode.rois.c=["ventral"]',
            "decode.n_folds=2",
            "decode.alphas=[1.0, 100.0]",
            "reconstruct.n_samples=2",
            "reconstruct.n_steps=2",
            "evaluate.n_derangements=5",
            "evaluate.n_bootstrap=20",
        ],
    )
    folder = tmp_path_factory.mktemp("run") / "results"
    pipeline.run(recipe, folder, until="decode")
    return folder


def test_results_have_both_tasks_of_features_and_images(run_folder):
    found = Results.read(run_folder).imagery(conditions=["z"])
    assert set(found.applied) == {("subj01", "vision"), ("subj01", "imagery")}
    assert found.applied["subj01", "vision"].n_repetitions.tolist() == [8] * 12
    assert found.applied["subj01", "imagery"].n_repetitions.tolist() == [16] * 12
    assert len(found.targets) == 18
    table = found.table
    assert set(table["task"]) == {"vision", "imagery", "vision - imagery"}
    assert set(table["targets"]) == {"A+B", "A", "B"}
    assert set(table["network"]) == {"features", "classifier", "image_encoder"}
    for task in ("vision", "imagery"):
        applied = found.applied["subj01", task]
        decoder = Results.read(run_folder).decoder("z")
        true = applied.true["z"].reshape(12, -1) - decoder.map_.intercept
        r = correlation_matrix(true, applied.features["z"].flat - decoder.map_.intercept)
        right = np.diag(r)
        chosen = table[(table["network"] == "features") & (table["targets"] == "A+B") & (table["task"] == task)]
        expected = (r < right).sum() / 132
        margin = np.mean(right) - (r.sum() - right.sum()) / 132
        assert chosen["value"].tolist() == pytest.approx([expected - 1 / 11, expected, margin], abs=1e-6)
        assert chosen["chance"].tolist() == pytest.approx([0.5 - 1 / 11, 0.5, 0])


def test_apply_takes_the_trials_of_one_task(run_folder, tmp_path):
    results = Results.read(run_folder)
    single = results.apply("nsdimagery-imagery", conditions=[])
    assert len(single) == 192
    expected = results.imagery(conditions=[]).applied["subj01", "imagery"]
    averaged = results.apply("nsdimagery-imagery", conditions=[], average=True)
    np.testing.assert_array_equal(averaged.features["c"].array, expected.features["c"].array)
    with raises_with(DataError, where=Path("nsdimagery-words")):
        results.apply("nsdimagery-words")


def test_runs_without_voxels_of_nsd_are_refused(run_folder):
    results = Results.read(run_folder)
    changed = with_settings(results.recipe, ["data.kind=arrays"])
    with raises_with(DataError, where="data.kind", found="arrays"):
        Results(results.path, changed).imagery(conditions=[])


def test_every_command_of_the_page_runs(run_folder, reseen, tmp_path, monkeypatch):
    text = (ROOT / "docs/imagery.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\$ (reseen\b.*)", text, re.MULTILINE)
    assert len(lines) >= 4
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
        assert code == 0, (line, error)
        said += out
    assert "published" in said
    assert "0.409" in said
    check_files("Files of reseen imagery", Path("out/nsd-imagery"))
    log = Path("out/nsd-imagery/log.txt").read_text(encoding="utf-8").splitlines()
    assert " start: imagery of " in log[0]
    assert " end: imagery of " in log[-1]
    table = pd.read_csv("out/nsd-imagery/imagery.csv")
    assert set(table["scorer"]) == {"published", "corrected", "margin"}
    assert Path("out/nsd-imagery/subj01-imagery/report.html").is_file()
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(block, names)
