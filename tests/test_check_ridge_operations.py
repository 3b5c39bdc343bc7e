"""Counted operations of the ridge against the shapes of a factored problem, and what `reseen check` says of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from reseen.check import check
from reseen.check.costs import shares_factoring
from reseen.check.ridge_operations import Operations, count_factoring, count_targets
from reseen.recipe import Recipe, with_settings
from reseen.ridge import factor

N_ALPHAS = 3


def problem(n_voxels: int, n_stimuli: int = 20, repeats: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    row = np.repeat(np.arange(n_stimuli), repeats)
    return rng.standard_normal((len(row), n_voxels)).astype(np.float32), row


@pytest.mark.parametrize("n_voxels", [12, 25, 200], ids=["primal", "more contrasts than voxels", "dual"])
def test_operations_for_targets_are_those_of_the_shapes_of_the_problem(n_voxels: int) -> None:
    betas, row = problem(n_voxels)
    factored = factor(betas, 20, target_row=row, groups=row, alphas=[1.0, 2.0, 3.0], n_folds=5, intercept=False)
    n_targets, every = 7, factored.all_rows
    products = every.moments.size + every.rotation.size  # pairs of numbers that are multiplied, for one target
    for fold in factored.folds:
        products += fold.moments.size + N_ALPHAS * (fold.between.size + fold.within.size)
    counted = count_targets(len(row), 20, n_voxels, n_targets, n_alphas=N_ALPHAS, n_folds=5)
    assert counted.double == 0
    # a fold of the dual form has fewer eigenvectors than there are trials
    assert 2 * n_targets * products == pytest.approx(counted.single, rel=0.25 if n_voxels == 200 else 1e-9)


@pytest.mark.parametrize("n_voxels", [12, 200], ids=["primal", "dual"])
def test_each_eigendecomposition_is_counted(n_voxels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sides, eigh = [], np.linalg.eigh

    def counted(matrix: np.ndarray) -> object:
        sides.append(len(matrix))
        return eigh(matrix)

    monkeypatch.setattr(np.linalg, "eigh", counted)
    betas, row = problem(n_voxels)
    factor(betas, 20, target_row=row, groups=row, n_folds=5)
    n = min(n_voxels, len(row))
    assert len(sides) == (7 if n_voxels > len(row) else 6)
    assert set(sides) <= {n, n - 1}  # centred trials have one dimension less
    of_eigenvectors = sum(9 * side**3 for side in sides)
    assert of_eigenvectors < count_factoring(len(row), 20, n_voxels).double < 3 * of_eigenvectors


def test_targets_cost_in_proportion_and_the_factoring_does_not_depend_on_them() -> None:
    shape = (24_980, 8_859, 7_604)
    one, many = (count_targets(*shape, n, n_alphas=7) for n in (1, 1_024))
    assert many == one * 1_024
    assert (one + many).total == pytest.approx(1_025 * one.total)
    fitted = count_factoring(*shape) + count_targets(*shape, 6_400, n_alphas=7)
    assert fitted.seconds == pytest.approx(1_201, rel=0.1)  # measured: docs/performance.md
    assert Operations(29e9, 94e9).seconds == 2


def found(recipe: Recipe, out: Path, *settings: str) -> str:
    said = {one.what: one.found for one in check(with_settings(recipe, settings), out)}
    return said.get("decoders", "")


def test_check_counts_the_targets_and_operations_of_the_decoders(small_recipe: Recipe, tmp_path: Path) -> None:
    said = found(small_recipe, tmp_path)
    shape = re.fullmatch(
        r"z ([\d,]+), c ([\d,]+) targets: (.+) TFLOP, about 0 s of one core; at most (.+) GB of .*", said
    )
    assert shape is not None, said
    assert shape[1] == "100"
    assert found(small_recipe, tmp_path, 'reconstruct.conditions=["z"]').startswith("z 100 targets: ")
    pixels = found(small_recipe, tmp_path, 'reconstruct.conditions=["pixels"]', "extract.pixels_size=8")
    assert pixels.startswith("pixels 192 targets: ")

    def operations(*settings: str) -> float:
        number = re.search(r"targets: (.+) TFLOP", found(small_recipe, tmp_path, *settings))
        assert number is not None
        return float(number[1])

    once = operations("evaluate.n_permutations=0")
    assert once < operations("evaluate.n_permutations=50") < 51 * once  # the factoring is shared
    assert operations("decode.alphas=[1.0]") < operations("decode.alphas=[1.0, 2.0, 3.0, 4.0]")
    assert operations("data.test=folds", "data.n_folds=4") > 2 * once


def test_check_counts_no_decoders_where_none_is_fitted(small_recipe: Recipe, tmp_path: Path) -> None:
    assert found(small_recipe, tmp_path, "decode.decoder=sklearn.linear_model:Ridge") == ""
    assert found(small_recipe, tmp_path, "data.path=/nosuch") == ""
    some = found(small_recipe, tmp_path, "decode.predictions.z=nosuch.npz")
    assert some.startswith("c ")


def test_a_factoring_is_shared_with_the_previous_feature_of_the_same_voxels_and_penalties(small_recipe: Recipe) -> None:
    same = with_settings(small_recipe, ['decode.rois.c=["low"]'])
    assert shares_factoring(same, "c", "z")
    assert not shares_factoring(same, "c", None)
    assert not shares_factoring(small_recipe, "c", "z")
    assert not shares_factoring(with_settings(same, ["decode.feature_alphas={c = [1.0, 20.0]}"]), "c", "z")
