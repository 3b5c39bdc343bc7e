"""Retrieval: the closed form against enumeration and simulation, both directions, and a finished run."""

import itertools
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fields import raises_with

from reseen import Results, Split, open_subject
from reseen.decode import permuted_folds
from reseen.errors import ShapeError
from reseen.evaluate import RETRIEVAL_PROTOCOLS, permuted_rows, score_retrieval, training_mean
from reseen.features import Features
from reseen.metrics import cosine_matrix, expected_top1, retrieval_top1
from reseen.networks import Panel
from reseen.networks.builtin import BuiltinNetwork
from reseen.pipeline import evaluate
from reseen.protocols import PROTOCOLS
from reseen.tables import RETRIEVAL_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.filterwarnings("ignore")


def enumerated(similarity, right, others, size):
    """Return the accuracy over every gallery, one by one; the first of j + 1 ties is right in 1 of j + 1 orders."""
    found = []
    for query, own in enumerate(right):
        galleries = list(itertools.combinations(np.flatnonzero(others[query]), size - 1))
        won = 0.0
        for gallery in galleries:
            values = similarity[query, list(gallery)]
            if (values <= similarity[query, own]).all():
                won += 1 / (1 + (values == similarity[query, own]).sum())
        found.append(won / len(galleries))
    return np.array(found)


@pytest.mark.parametrize("size", [2, 3, 5, 8])
@pytest.mark.parametrize("levels", [2, 4, 1000])
def test_the_closed_form_equals_enumeration_with_and_without_ties(size, levels):
    rng = np.random.default_rng(levels + size)
    similarity = rng.integers(0, levels, size=(9, 9)) / levels
    others = ~np.eye(9, dtype=bool)
    others[0, 1] = False  # a query with one distractor fewer
    right = np.arange(9)
    found = retrieval_top1(similarity, right, others, size)
    np.testing.assert_allclose(found, enumerated(similarity, right, others, size), atol=1e-12)


def test_the_closed_form_equals_galleries_of_300_that_are_drawn_as_in_the_released_code():
    rng = np.random.default_rng(0)
    n, size, n_draws = 1000, 300, 400
    true = rng.normal(size=(n, 20))
    decoded = true + 1.5 * rng.normal(size=true.shape)
    similarity = cosine_matrix(decoded, true)
    exact = retrieval_top1(similarity, np.arange(n), ~np.eye(n, dtype=bool), size).mean()
    drawn = []
    for _ in range(n_draws):
        chosen = rng.choice(n, size, replace=False)
        drawn.append((similarity[np.ix_(chosen, chosen)].argmax(axis=1) == np.arange(size)).mean())
    error = np.std(drawn, ddof=1) / np.sqrt(n_draws)
    assert 0.1 < exact < 0.9
    assert error < 0.002
    assert abs(np.mean(drawn) - exact) < 3 * error


def test_the_closed_form_is_precise_for_many_items_and_at_its_ends():
    assert expected_top1(0, 0, 99_999, 2) == 1
    np.testing.assert_allclose(expected_top1(1, 0, 99_999, 2), 1 - 1 / 99_999, rtol=1e-9)
    np.testing.assert_allclose(expected_top1(0, 999, 999, 300), 1 / 300, rtol=1e-9)
    assert expected_top1(701, 0, 999, 300) == 0
    np.testing.assert_allclose(expected_top1(0, 1, 999, 1000), 0.5)
    with raises_with(ShapeError, where="size", expected=10, found=11):
        expected_top1([0, 1], [0, 0], 9, 11)
    with raises_with(ShapeError, where="size", found=1):
        expected_top1([0], [0], 9, 1)


def test_random_items_are_retrieved_at_chance_level():
    rng = np.random.default_rng(1)
    values = [
        score_retrieval(rng.normal(size=(60, 8)), rng.normal(size=(60, 8)), np.arange(60), size=10, n_bootstrap=2)[
            "value"
        ]
        for _ in range(60)
    ]
    mean, error = np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(60)
    assert (abs(mean - 0.1) < 4 * error).all()


def test_directions_and_protocols_are_what_they_are_called():
    rng = np.random.default_rng(2)
    true = rng.normal(size=(12, 6)) + 5
    decoded = true + rng.normal(size=true.shape)
    mean = np.full(6, 5.0)
    table = score_retrieval(decoded, true, np.arange(12), training_mean=mean, size=4, n_bootstrap=20)
    assert tuple(table.columns) == RETRIEVAL_COLUMNS
    assert set(table["protocol"]) == set(RETRIEVAL_PROTOCOLS)
    own, others = np.arange(12), ~np.eye(12, dtype=bool)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (decoded, true)]
    matrices = {"mindeye2": unit[0] @ unit[1].T, "builtin": np.corrcoef(decoded - mean, true - mean)[:12, 12:]}
    for protocol, matrix in matrices.items():
        for query, gallery, oriented in (("decoded", "true", matrix), ("true", "decoded", matrix.T)):
            row = table.set_index(["protocol", "query", "gallery"]).loc[[(protocol, query, gallery)]]
            np.testing.assert_allclose(row["value"].item(), enumerated(oriented, own, others, 4).mean(), atol=1e-12)
            assert row["low"].item() <= row["value"].item() <= row["high"].item()
            assert row["chance"].item() == 0.25
    assert table["value"].nunique() == 4


def test_trials_of_the_query_s_stimulus_are_no_distractors_and_true_items_are_counted_once():
    rng = np.random.default_rng(3)
    ids = np.repeat(np.arange(5), 3)
    true = rng.normal(size=(5, 7))[ids]
    decoded = true + rng.normal(size=true.shape)
    table = score_retrieval(decoded, true, ids, size=4, protocols=("mindeye2",), n_bootstrap=5).set_index("query")
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (decoded, true)]
    matrix = unit[0] @ unit[1].T
    forward = enumerated(matrix[:, ::3], ids, ids[:, None] != np.arange(5), 4)
    backward = enumerated(matrix.T, np.arange(15), ids[:, None] != ids, 4)
    np.testing.assert_allclose(table["value"]["decoded"], forward.mean(), atol=1e-12)
    np.testing.assert_allclose(table["value"]["true"], backward.mean(), atol=1e-12)
    assert (score_retrieval(decoded, true, ids)["metric"] == "top1@5").all()


def test_similarities_are_averaged_over_samples():
    rng = np.random.default_rng(4)
    true = rng.normal(size=(10, 6))
    samples = true[:, None] + 2 * rng.normal(size=(10, 3, 6))
    table = score_retrieval(samples, true, np.arange(10), size=3, protocols=("mindeye2",), n_bootstrap=2)
    matrix = np.mean([cosine_matrix(samples[:, k], true) for k in range(3)], axis=0)
    expected = enumerated(matrix, np.arange(10), ~np.eye(10, dtype=bool), 3).mean()
    np.testing.assert_allclose(table["value"][0], expected, atol=1e-12)


def test_the_permuted_level_is_the_mean_over_permutations_of_each_alone():
    rng = np.random.default_rng(5)
    true = rng.normal(size=(12, 6))
    first, second = true + rng.normal(size=true.shape), rng.normal(size=true.shape)
    table = score_retrieval(true, true, np.arange(12), size=4, permuted=np.stack([first, second], axis=1))
    alone = [score_retrieval(each, true, np.arange(12), size=4)["value"] for each in (first, second)]
    np.testing.assert_allclose(table["permuted"], np.mean(alone, axis=0), atol=1e-12)
    assert table["permuted"].nunique() == 4
    assert score_retrieval(true, true, np.arange(12), size=4)["permuted"].isna().all()


def test_samples_that_are_read_one_by_one_and_blocks_of_items_give_the_same_accuracies(monkeypatch):
    rng = np.random.default_rng(6)
    true = rng.normal(size=(23, 6))
    samples = true[:, None] + rng.normal(size=(23, 3, 6))
    expected = score_retrieval(samples, true, np.arange(23), size=5, permuted=samples)
    monkeypatch.setattr("reseen.evaluate.retrieval._SIDE", 7)
    parts = [samples[:, k] for k in range(3)]
    pd.testing.assert_frame_equal(score_retrieval(parts, true, np.arange(23), size=5, permuted=parts), expected)


def test_a_run_writes_the_table_that_the_command_computes(finished, monkeypatch):
    results = Results.read(finished)
    networks = tuple(evaluate.load_evaluation_network(name) for name in results.recipe.evaluate.networks)
    # the run of the tests has untrained networks
    monkeypatch.setattr("reseen.finished.panels_of", lambda *_, **__: [Panel(PROTOCOLS["builtin"], networks)])
    written = results.load_table("retrieval")
    assert tuple(written.columns) == RETRIEVAL_COLUMNS
    assert set(written["metric"]) == {f"top1@{len(results.decoded('z'))}"}  # fewer items than 300
    pd.testing.assert_frame_equal(written, results.retrieval(), check_exact=False, rtol=1e-12)
    row = written.query("condition == 'zc' and query == 'original' and protocol == 'mindeye2'").iloc[0]
    assert row["chance"] == 0.25
    assert 0 <= row["permuted"] < 1


def test_permuted_features_of_a_run_with_folds_have_the_training_mean_of_the_result():
    split = Split.leave_out(np.arange(6), n_folds=3, seed=0)
    rng = np.random.default_rng(0)
    true = Features("z", rng.normal(5, 1, size=(6, 4)).astype(np.float32), np.arange(6))
    folds = permuted_folds(split, np.arange(6), 0, 0)
    fold = np.concatenate([np.full(len(test), k) for k, (_, test) in enumerate(split.folds)])
    ids = np.concatenate([test for _, test in split.folds])
    order = np.argsort(ids)
    blank = Features("z", np.zeros((6, 4), dtype=np.float32), ids[order], fold[order])
    predicted = Features("z", training_mean(blank, true, folds), ids[order], fold[order])
    mean = training_mean(blank, true, split.folds)
    assert np.abs(predicted.flat - mean).max() > 0.01
    np.testing.assert_allclose(permuted_rows(predicted, true, folds, mean), mean, atol=1e-6)
    assert permuted_folds(Split.fixed(np.arange(4), np.arange(4, 6)), np.arange(6), 0, 0) is None


def test_a_finished_run_has_a_row_for_every_feature_layer_direction_and_protocol(finished):
    results = Results.read(finished)
    table = results.retrieval(size=3)
    layers = results.scores.table.query("protocol == 'builtin' and network not in ('features', 'pixels', '')")
    n_layers = len(layers[["network", "layer"]].drop_duplicates())
    assert n_layers >= 2
    assert len(table) == 2 * 2 * (2 + 3 * n_layers)
    assert not table.duplicated(list(RETRIEVAL_COLUMNS[:8])).any()
    decoded, true = results.decoded("z"), results.feature_blocks("subj01/z").load()
    mean = training_mean(decoded, true, open_subject(results.data, "subj01").split.folds)
    r = np.corrcoef(decoded.flat - mean, true.rows(decoded.stimulus_id).reshape(4, -1) - mean)[:4, 4:]
    row = table.query("condition == 'z' and network == 'features' and protocol == 'builtin' and query == 'decoded'")
    np.testing.assert_allclose(
        row["value"].item(), enumerated(r, np.arange(4), ~np.eye(4, dtype=bool), 3).mean(), atol=1e-6
    )


def test_activations_of_the_originals_are_computed_once_for_all_conditions(finished, monkeypatch):
    results, seen = Results.read(finished), []

    def recording(network, images):
        seen.append((network.name, len(images)))
        return activations(network, images)

    activations = BuiltinNetwork.activations
    monkeypatch.setattr(BuiltinNetwork, "activations", recording)
    results.retrieval(size=3)
    n_items = len(results.decoded("z"))
    conditions = results.recipe.reconstruct.conditions
    stacks = [results.images(condition, level=level) for condition in conditions for level in ("result", "permuted")]
    n_images = sum(stack.shape[0] * stack.shape[1] for stack in stacks)
    for name in {name for name, _ in seen}:
        assert sum(n for network, n in seen if network == name) == n_items + n_images


def test_every_command_of_the_page_on_retrieval_runs(finished, reseen, tmp_path, monkeypatch):
    import shutil

    text = (ROOT / "docs/scores.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\$ (reseen retrieval\b.*)", text, re.MULTILINE)
    assert lines
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, "out/a")
    for line in lines:
        code, said, error = reseen(*shlex.split(line)[1:])
        assert code == 0, (line, error)
        assert "top1@4" in said
    assert len(pd.read_csv("retrieval.csv")) > 8
