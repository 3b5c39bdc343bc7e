"""Which trials of NSD's layout are used: lists of sessions, training sessions, repetitions and special515."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from loading import load
from nsd_tree import SHARED, Known, make_subject, make_tree, recipe_for
from pydantic import ValidationError
from scipy.io import savemat

from reseen import load_nsd
from reseen.check.checks import held_out
from reseen.check.inputs import Inputs
from reseen.datasets import inventory, kept, nsd_betas, outline
from reseen.datasets.nsd_facts import SUBJECTS, NsdFiles
from reseen.datasets.nsd_protocol import choose_trials, special_images
from reseen.errors import DataError, RecipeError
from reseen.recipe import DataRecipe, Recipe, load_recipe, to_toml, with_settings

ROWS = {1: slice(0, 6), 2: slice(6, 12), 3: slice(12, 18)}


@pytest.fixture(scope="module")
def known() -> Known:
    return make_subject("subj01")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, known: Known) -> Path:
    root = tmp_path_factory.mktemp("protocol")
    make_tree(root, known, make_subject("subj02", n_sessions=2))
    return root


def betas_of(known: Known, rows: np.ndarray) -> np.ndarray:
    return np.concatenate(known.betas)[rows][:, :10]


def scaled(known: Known) -> np.ndarray:
    """Standardise each session with all its trials."""
    parts = [(part[:, :10] - part[:, :10].mean(axis=0)) / part[:, :10].std(axis=0) for part in known.betas]
    return np.concatenate(parts)


# Sessions


@pytest.mark.parametrize("sessions", [(3,), (1, 3), (2, 3)])
def test_a_list_reads_these_sessions_alone(tree: Path, known: Known, sessions: tuple[int, ...]) -> None:
    trials, _, split = load(recipe_for(tree, sessions=sessions), "subj01")
    rows = np.r_[tuple(ROWS[number] for number in sessions)]
    np.testing.assert_allclose(trials.betas, betas_of(known, rows), atol=1e-5)
    np.testing.assert_array_equal(trials.session, np.repeat(sessions, 6))
    np.testing.assert_array_equal(trials.stimulus_id, known.stimulus_id[rows])
    assert split.test_ids.tolist() == sorted(set(known.stimulus_id[rows]) & set(SHARED))


def test_sessions_of_a_list_are_the_only_files_that_are_needed(tree: Path, tmp_path: Path, known: Known) -> None:
    make_tree(tmp_path, known)
    files = NsdFiles(tmp_path, "subj01", "func1pt8mm", "betas_fithrf_GLMdenoise_RR")
    files.session(2).unlink()
    recipe = recipe_for(tmp_path, sessions=(1, 3))
    assert load(recipe, "subj01")[0].session.tolist() == [1] * 6 + [3] * 6
    checks = {check.path.name: check for check in inventory(recipe, "subj01")}
    assert all(check.ok for check in checks.values())
    assert checks["responses.tsv"].note == "12 trials in 2 sessions"
    assert "betas_session02.hdf5" not in checks
    with pytest.raises(DataError, match=r"session02.*sessions 2, 3 are needed, found 1, 3.*take session 2 out of"):
        load(recipe_for(tmp_path, sessions=(2, 3)), "subj01")


def test_a_list_is_a_set_of_sessions_in_order(tmp_path: Path) -> None:
    recipe = with_settings(Recipe(), ["data.sessions=[5, 1, 7]"])
    assert recipe.data.sessions == (1, 5, 7)
    assert with_settings(Recipe(), ["data.sessions=5"]).data.sessions == 5
    (tmp_path / "recipe.toml").write_text(to_toml(recipe))
    assert load_recipe(tmp_path / "recipe.toml") == recipe


@pytest.mark.parametrize("value", ["0", "[]", "[1, 1]", "[0, 2]", "-1", "1.5", "true", "'first'"])
def test_what_is_no_session_is_refused(value: str) -> None:
    for key in ("sessions", "train_sessions"):
        with pytest.raises(RecipeError, match=rf"data\.{key}: expected a number of sessions from 1, or a list"):
            with_settings(Recipe(), [f"data.{key}={value}"])


def test_sessions_that_do_not_exist_are_refused(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.sessions names session 4; .*lists 3"):
        load(recipe_for(tree, sessions=(1, 4)), "subj01")
    with pytest.raises(RecipeError, match=r"names session 33; NSD has 32 of subj03"):
        inventory(recipe_for(tmp_path, sessions=(1, 33)), "subj03")


# Training sessions


def test_train_on_one_session_and_test_on_the_shared_images_of_all(tree: Path, known: Known) -> None:
    trials, _, split = load(recipe_for(tree, train_sessions=1, zscore_sessions=True), "subj01")
    is_shared = np.isin(known.stimulus_id, SHARED)
    used = is_shared | (np.arange(18) < 6)
    np.testing.assert_allclose(trials.betas, scaled(known)[used], atol=1e-3)
    np.testing.assert_array_equal(trials.stimulus_id, known.stimulus_id[used])
    ((train, test),) = split.folds
    assert train.tolist() == sorted(set(known.stimulus_id[:6]) - set(SHARED))
    assert test.tolist() == sorted(SHARED)


def test_repeats_of_test_images_are_averaged_over_all_sessions(tree: Path, known: Known) -> None:
    subject = load_nsd(tree, rois=["early", "ventral"], train_sessions=1, zscore_sessions=False)
    for stimulus, average, count in zip(
        subject.test.stimulus_id, subject.test.betas, subject.test.n_repetitions, strict=True
    ):
        rows = np.flatnonzero(known.stimulus_id == stimulus)
        assert count == len(rows)
        np.testing.assert_allclose(average, betas_of(known, rows).mean(axis=0), atol=1e-5)
    assert set(subject.train.session) == {1}


@pytest.mark.parametrize(("train", "expected"), [(2, {1, 2}), ((3,), {3}), ((1, 3), {1, 3})])
def test_training_sessions_are_a_number_or_a_list(tree: Path, train, expected: set[int]) -> None:
    subject = load_nsd(tree, rois=["early"], train_sessions=train)
    assert set(subject.train.session) == expected


def test_the_first_training_sessions_are_those_of_the_list(tree: Path) -> None:
    assert set(load_nsd(tree, rois=["early"], sessions=[2, 3], train_sessions=1).train.session) == {2}


@pytest.mark.parametrize("settings", [{"train_sessions": 4}, {"sessions": 2, "train_sessions": (3,)}])
def test_training_sessions_that_are_not_read_are_refused(tree: Path, settings) -> None:
    with pytest.raises(RecipeError, match=r"data\.train_sessions is .*the sessions read are 1, 2"):
        load(recipe_for(tree, **settings), "subj01")


def test_only_trials_that_are_used_are_in_memory(tree: Path, known: Known) -> None:
    """The array of betas has the trials that are used; the others are of one session at a time."""
    trials, _, _ = load(recipe_for(tree, train_sessions=1), "subj01")
    assert trials.betas.base is None or trials.betas.base.nbytes == trials.betas.nbytes


def test_kept_sessions_serve_every_choice_of_trials(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "WORTH_KEEPING", 0)
    load(recipe_for(tree), "subj01", keep=tmp_path)
    expected, _, _ = load(recipe_for(tree, train_sessions=1), "subj01")
    monkeypatch.setattr(nsd_betas, "read_voxels", lambda *_: pytest.fail("read again"))
    found, _, _ = load(recipe_for(tree, train_sessions=1), "subj01", keep=tmp_path)
    np.testing.assert_array_equal(found.betas, expected.betas)


# Repetitions


def test_images_with_fewer_repeats_are_left_out(tree: Path, known: Known) -> None:
    counts = Counter(known.stimulus_id.tolist())
    trials, _, split = load(recipe_for(tree, min_repeats=3), "subj01")
    used = np.array([counts[i] >= 3 for i in known.stimulus_id.tolist()])
    assert 0 < used.sum() < len(used)
    np.testing.assert_allclose(trials.betas, betas_of(known, used), atol=1e-5)
    assert set(split.used.tolist()) == {i for i, n in counts.items() if n >= 3}


def test_repeats_are_counted_in_the_sessions_read_before_the_training_sessions(tree: Path, known: Known) -> None:
    counts = Counter(known.stimulus_id.tolist())
    trials, _, split = load(recipe_for(tree, min_repeats=3, train_sessions=1), "subj01")
    assert split.folds[0][0].tolist() == sorted(
        i for i in set(known.stimulus_id[:6].tolist()) - set(SHARED) if counts[i] >= 3
    )
    assert all(counts[i] >= 3 for i in trials.stimulus_id.tolist())


def test_more_repeats_than_there_are_are_refused(tree: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.min_repeats is 9, and no image was shown more than 3 times"):
        load(recipe_for(tree, min_repeats=9), "subj01")


def test_repeats_are_counted_for_folds_too(tree: Path, known: Known) -> None:
    counts = Counter(known.stimulus_id.tolist())
    _, _, split = load(recipe_for(tree, min_repeats=3, test="folds", n_folds=2), "subj01")
    assert set(split.test_ids.tolist()) == {i for i, n in counts.items() if n >= 3}


# special515


def design_of(n_sessions: int = 30) -> dict[str, np.ndarray]:
    """Return a design of NSD's size: 1,000 shared images, of which 515 come three times in 30 sessions."""
    order = np.zeros(30_000, dtype=np.int64)
    early, late = np.arange(1, 516), np.arange(516, 1001)
    order[:1545] = np.tile(early, 3)
    order[1545:2030] = late  # twice before the 22,500th trial, and once after it
    order[2030:2515] = late
    order[22_500:22_985] = late
    others = order == 0
    order[others] = 1001 + np.arange(others.sum()) % 9000
    subjectim = np.zeros((8, 10_000), dtype=np.int64)
    shared = np.sort(np.random.default_rng(0).permutation(73_000)[:1000]) + 1
    subjectim[:, :1000] = shared
    subjectim[:, 1000:] = 1 + np.arange(9000)
    return {"masterordering": order, "sharedix": shared, "subjectim": subjectim}


def write_design(root: Path, design: dict[str, np.ndarray]) -> NsdFiles:
    files = NsdFiles(root, "subj01", "func1pt8mm", "b3")
    files.design.parent.mkdir(parents=True)
    savemat(files.design, design)
    return files


def test_special515_follow_from_nsds_design_and_its_subjects(tmp_path: Path) -> None:
    design = design_of()
    files = write_design(tmp_path, design)
    found = special_images(files, [], own=True)
    np.testing.assert_array_equal(found, design["sharedix"][:515] - 1)
    assert min(facts.n_sessions for facts in SUBJECTS.values()) == 30


def test_a_design_of_nsd_without_515_is_refused(tmp_path: Path) -> None:
    design = design_of()
    design["masterordering"][0] = 1001
    with pytest.raises(DataError, match=r"514 shared images with three trials in the first 22,500; NSD has 515"):
        special_images(write_design(tmp_path, design), [], own=True)


def test_the_subject_with_the_fewest_sessions_decides_in_another_tree(tree: Path, known: Known) -> None:
    """Subject 2 has two sessions; in these, one shared image has exactly three trials."""
    counts = Counter(known.stimulus_id[:12].tolist())
    expected = sorted(i for i in SHARED if counts[i] == 3)
    files = NsdFiles(tree, "subj01", "func1pt8mm", "b3")
    assert special_images(files, ["subj01", "subj02"], own=False).tolist() == expected


def test_other_shared_images_neither_train_nor_test(tmp_path: Path, known: Known) -> None:
    make_tree(tmp_path, known)
    counts = Counter(known.stimulus_id.tolist())
    special = sorted(i for i in SHARED if counts[i] == 3)
    if not special:
        pytest.fail("the tree has no shared image with three trials")
    trials, _, split = load(recipe_for(tmp_path, test="special515"), "subj01")
    ((train, test),) = split.folds
    assert test.tolist() == special
    assert not set(train.tolist()) & set(SHARED)
    assert not set(trials.stimulus_id.tolist()) & (set(SHARED) - set(special))


def test_sessions_without_an_image_of_the_test_set_are_refused() -> None:
    chosen = choose_trials(
        DataRecipe(test="special515"), np.ones(3, int), np.array([0, 1, 2]), np.array([2, 7]), lambda: np.array([7])
    )
    assert chosen.used.tolist() == [True, True, False]
    assert chosen.test.tolist() == []


# Check


def test_check_counts_the_trials_that_are_chosen(tree: Path, known: Known, tmp_path: Path) -> None:
    data = recipe_for(tree, train_sessions=1)
    assert outline(data, "subj01").note == (
        "4 training trials in session 1, 6 test trials in 3 sessions (images by repetitions: 1 with 1, 1 with 2, "
        "1 with 3)"
    )
    assert outline(recipe_for(tree), "subj01").note == ""
    recipe = with_settings(Recipe(), [f"data.path={tree}", 'data.rois=["early", "ventral"]', "data.train_sessions=1"])
    (finding,) = held_out(Inputs(recipe, tmp_path, thorough=True))
    assert "subj01: 4 training trials in session 1" in finding.found


def test_a_subject_that_is_not_simulated_yet_is_chosen_in_the_same_way(tmp_path: Path) -> None:
    changes = [
        "data.kind=simulated",
        'data.rois=["early", "ventral"]',
        "simulate.n_sessions=3",
        "data.train_sessions=1",
    ]
    recipe = with_settings(Recipe(), changes)
    (finding,) = held_out(Inputs(recipe, tmp_path, thorough=True))
    assert finding.error is None
    assert "training trials in session 1" in finding.found


# Refused


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "arrays", "train_sessions": 1}, r"train_sessions is for NSD's layout, and data\.kind is 'arrays'"),
        ({"kind": "trials", "min_repeats": 3}, r"min_repeats is for NSD's layout, and data\.kind is 'trials'"),
        ({"kind": "bids", "test": "special515"}, r"special515' is for NSD's layout, and data\.kind is 'bids'"),
        ({"train_sessions": 1, "test": "folds"}, r"train_sessions needs a fixed test set, and data\.test is 'folds'"),
        ({"train_sessions": 1, "test": "sessions"}, r"needs a fixed test set, and data\.test is 'sessions'"),
    ],
)
def test_combinations_without_a_meaning_are_refused(settings, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DataRecipe.model_validate(settings)
