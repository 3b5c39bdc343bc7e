from __future__ import annotations

import numpy as np
import pytest

from reseen.encode import COLUMNS, encode
from reseen.errors import ShapeError
from reseen.features import Features
from reseen.recipe import EncodeRecipe
from reseen.trials import Split, Trials

RECIPE = EncodeRecipe()


def subject(n_features: int = 8, ncsnr: float = 0.7) -> tuple[Trials, Features, Features]:
    """Give three trials of 150 stimuli; ten early voxels follow ``z`` at this ncsnr, five ventral ones nothing."""
    rng = np.random.default_rng(0)
    ids = np.arange(50, 200)
    z, c = rng.standard_normal((2, len(ids), n_features)).astype(np.float32)
    signal = z @ rng.standard_normal((n_features, 10))
    signal *= ncsnr / signal.std(0)
    row = np.repeat(np.arange(len(ids)), 3)
    betas = rng.standard_normal((len(row), 15))
    betas[:, :10] += signal[row]
    early = np.arange(15) < 10
    trials = Trials(
        subject="subj02",
        betas=betas.astype(np.float32),
        stimulus_id=ids[row],
        session=np.zeros(len(row), dtype=np.int64),
        rois={"early": early, "ventral": ~early},
        n_repetitions=np.ones(len(row), dtype=np.int64),
        ncsnr=np.where(early, ncsnr, 0).astype(np.float32),
    )
    return trials, Features("z", z, ids), Features("c", c, ids)


def test_voxels_are_predicted_up_to_their_ceiling_by_the_feature_they_follow() -> None:
    trials, z, c = subject()
    table, voxels = encode(trials, Split.leave_out(z.stimulus_id, 5, 0), [z, c], recipe=RECIPE, seed=0)
    assert tuple(table.columns) == COLUMNS
    assert table[["feature", "roi"]].to_numpy().tolist() == [
        [feature, roi] for feature in ("z", "c") for roi in ("all", "early", "ventral")
    ]
    row = table.set_index(["feature", "roi"])
    assert row.loc[("z", "early"), "n_voxels"] == 10
    assert row.loc[("z", "early"), "n"] == 150
    expected = np.sqrt(0.49 / (0.49 + 1 / 3))
    assert row.loc[("z", "early"), "median_ceiling_r"] == pytest.approx(expected, abs=1e-3)
    assert row.loc[("z", "early"), "median_r"] == pytest.approx(expected, abs=0.06)
    assert row.loc[("z", "early"), "median_normalised_r"] == pytest.approx(1, abs=0.08)
    assert abs(row.loc[("c", "early"), "mean_r"]) < 0.15
    assert abs(row.loc[("z", "ventral"), "mean_r"]) < 0.15
    assert np.isnan(row.loc[("z", "ventral"), "median_normalised_r"])
    assert {name: array.shape for name, array in voxels.items()} == dict.fromkeys(
        ("ceiling_r", "r/z", "alpha/z", "r/c", "alpha/c"), (15,)
    )


def test_more_features_than_pictures_work_too() -> None:
    trials, z, _ = subject()
    rng = np.random.default_rng(1)
    wide = Features("wide", (z.array @ rng.standard_normal((8, 600))).astype(np.float32), z.stimulus_id)
    table, _ = encode(trials, Split.fixed(range(50, 150), range(150, 200)), [wide], recipe=RECIPE, seed=0)
    assert table.set_index("roi").loc["early", "median_r"] > 0.6


def test_correlations_are_those_of_the_definition() -> None:
    trials, z, _ = subject()
    split = Split.fixed(range(50, 150), range(150, 200))
    _, voxels = encode(trials, split, [z], recipe=RECIPE, seed=0)
    from reseen.ridge import fit_ridge

    train, test = trials.select(split.folds[0][0]).average(), trials.select(split.folds[0][1]).average()
    fitted = fit_ridge(z.rows(train.stimulus_id), train.betas, groups=train.stimulus_id)
    predicted = fitted.predict(z.rows(test.stimulus_id))
    r = [np.corrcoef(test.betas[:, v], predicted[:, v])[0, 1] for v in range(15)]
    np.testing.assert_allclose(voxels["r/z"], r, atol=1e-4)


def test_unknown_ceilings_and_constant_voxels_are_nan_and_do_not_spoil_the_rest() -> None:
    trials, z, _ = subject()
    trials.betas[:, 0] = 1.0
    blind = Trials(trials.subject, trials.betas, trials.stimulus_id, trials.session, trials.rois, trials.n_repetitions)
    table, voxels = encode(blind, Split.fixed(range(50, 150), range(150, 200)), [z], recipe=RECIPE, seed=0)
    assert np.isnan(voxels["ceiling_r"]).all()
    assert np.isnan(voxels["r/z"]).tolist() == [True] + [False] * 14
    assert table["median_ceiling_r"].isna().all()
    assert table["median_r"].notna().all()


def test_what_cannot_be_encoded_is_refused() -> None:
    trials, z, _ = subject()
    with pytest.raises(ShapeError, match="name of its own"):
        encode(trials, Split.fixed(range(50, 150), range(150, 200)), [z, z], recipe=RECIPE, seed=0)
    with pytest.raises(ShapeError, match="at least two test pictures"):
        encode(trials, Split.fixed(range(50, 150), [150]), [z], recipe=RECIPE, seed=0)
