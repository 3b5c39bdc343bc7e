"""A decoder is an estimator: fitted on trials, it knows itself, and decodes one trial."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_decode import TEST, TRAIN, subject

from reseen import decode, pipeline
from reseen.check import check
from reseen.decode import Decoder
from reseen.encode import Encoder
from reseen.encode.fits import fit_alone, make_design
from reseen.errors import DataError, RecipeError, ResultsError, ShapeError
from reseen.features import Features
from reseen.kernels import default_alphas
from reseen.recipe import DecodeRecipe, EncodeRecipe, with_changes
from reseen.results import ResultsFolder
from reseen.split import Split
from reseen.trials import Trials


class Mlp:
    """A small network of one's own: one hidden layer, trained by torch."""

    def fit(self, betas: np.ndarray, targets: np.ndarray) -> Mlp:
        import torch

        torch.manual_seed(0)
        self.mean = betas.mean(axis=0)
        x, y = torch.from_numpy(betas - self.mean), torch.from_numpy(np.ascontiguousarray(targets))
        self.net = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], 32), torch.nn.Tanh(), torch.nn.Linear(32, y.shape[1])
        )
        steps = torch.optim.Adam(self.net.parameters(), lr=0.01, weight_decay=0.01)
        for _ in range(200):
            steps.zero_grad()
            torch.nn.functional.mse_loss(self.net(x), y).backward()
            steps.step()
        return self

    def predict(self, betas: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self.net(torch.from_numpy((betas - self.mean).astype(np.float32))).numpy()


def plain_ridge() -> object:
    return make_pipeline(StandardScaler(), Ridge(alpha=100.0))


class Lame:
    def fit(self, *_arrays):
        return self

    def predict(self, betas):
        return np.zeros((len(betas), 2))


def test_a_decoder_is_an_estimator_with_parameters() -> None:
    trials, feature = subject()
    decoder = Decoder(["early"], n_folds=4, seed=3)
    assert clone(decoder).get_params() == decoder.get_params()
    assert clone(decoder.fit(trials.select(TRAIN), feature)).set_params(n_folds=3).n_folds == 3
    assert not hasattr(clone(decoder), "map_")
    with pytest.raises(ShapeError, match="not fitted"):
        clone(decoder).predict(trials)
    with pytest.raises(RecipeError, match="n_folds"):
        Decoder(n_folds=1).fit(trials, feature)


def test_a_decoder_predicts_what_the_pipelines_decoding_predicts() -> None:
    trials, feature = subject()
    split = Split.fixed(TRAIN, TEST)
    (of_pipeline,), expected = decode.decode(trials, split, feature, rois=["early"], recipe=DecodeRecipe(), seed=0)
    decoder = Decoder(["early"]).fit(trials.select(TRAIN), feature)
    found = decoder.predict(trials.select(TEST).average())
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_array_equal(found.stimulus_id, expected.stimulus_id)
    assert repr(of_pipeline) == repr(decoder)
    assert decoder.score(trials.select(TEST).average(), feature) > 0.5


def test_a_saved_decoder_knows_itself_and_decodes_one_new_trial(tmp_path) -> None:
    trials, feature = subject()
    scaled = trials.zscore_sessions()
    decoder = Decoder(["early"], alphas=[1e-3, 10.0, 1e5]).fit(scaled.select(TRAIN), feature)
    decoder.save(tmp_path / "z.safetensors")
    loaded = Decoder.load(tmp_path / "z.safetensors")
    assert repr(loaded) == repr(decoder)
    assert loaded.get_params()["alphas"] == [1e-3, 10.0, 1e5]
    np.testing.assert_array_equal(loaded.voxels_, trials.rois["early"])
    expected = decoder.predict(scaled.select(TEST).take(np.array([2]))).array
    raw = trials.select(TEST).take(np.array([2]))  # as the scanner gives it
    np.testing.assert_allclose(loaded.predict(raw).array, expected, atol=1e-6)
    one = scaled.select(TEST).betas[2]
    np.testing.assert_array_equal(loaded.predict(one).array, loaded.predict(one[trials.rois["early"]]).array)
    np.testing.assert_allclose(loaded.predict(one).array, expected, atol=1e-6)


def test_trials_that_do_not_belong_to_a_decoder_are_refused() -> None:
    trials, feature = subject()
    decoder = Decoder(["early"]).fit(trials.select(TRAIN), feature)
    with pytest.raises(ShapeError, match="that were not standardised within sessions; these were"):
        decoder.predict(trials.zscore_sessions())
    with pytest.raises(ShapeError, match=r"betas have shape \(3,\); the decoder needs"):
        decoder.predict(np.zeros(3))
    index = np.arange(trials.betas.shape[1])
    placed = Trials(trials.betas, trials.stimulus_id, rois=trials.rois, voxel_index=index)
    moved = Trials(trials.betas, trials.stimulus_id, rois=trials.rois, voxel_index=index + 1)
    with pytest.raises(ShapeError, match="their indices differ"):
        Decoder(["early"]).fit(placed.select(TRAIN), feature).predict(moved)
    with pytest.raises(DataError, match="not finite"):
        decoder.predict(np.full(trials.betas.shape[1], np.nan))


@pytest.mark.parametrize("estimator", [plain_ridge(), Mlp()], ids=["scikit-learn", "torch"])
def test_an_estimator_of_ones_own_takes_the_ridges_place(estimator, tmp_path) -> None:
    trials, feature = subject()
    decoder = Decoder(["early"], estimator=estimator).fit(trials.select(TRAIN), feature)
    assert decoder.score(trials.select(TEST).average(), feature) > 0.4
    assert type(estimator).__name__ in repr(decoder)
    with pytest.raises(ResultsError, match="no pickles"):
        decoder.save(tmp_path / "z.safetensors")


def test_an_estimator_gets_one_row_of_targets_for_each_trial() -> None:
    trials, feature = subject()
    train = trials.select(TRAIN)
    found = Decoder(["early"], estimator=plain_ridge()).fit(train, feature).predict(trials.select(TEST))
    own = plain_ridge().fit(
        train.betas[:, trials.rois["early"]], feature.rows(train.stimulus_id).reshape(len(train), -1)
    )
    expected = own.predict(trials.select(TEST).betas[:, trials.rois["early"]])
    np.testing.assert_allclose(found.flat, expected, rtol=1e-4, atol=1e-5)


def test_an_estimator_that_predicts_something_else_is_refused() -> None:
    trials, feature = subject()
    with pytest.raises(ShapeError, match=r"Lame.predict returned shape \(\d+, 2\); \(\d+, 6\) is expected"):
        Decoder(estimator=Lame()).fit(trials.select(TRAIN), feature).predict(trials)


@pytest.mark.filterwarnings("ignore")
def test_a_recipe_names_an_estimator(small_recipe, tmp_path) -> None:
    recipe = with_changes(small_recipe, {"decode.decoder": "test_decoder:plain_ridge"})
    out = tmp_path / "out"
    pipeline.run(recipe, out)
    results = ResultsFolder.read(out)
    assert "decoder test_decoder:plain_ridge" in results.provenance
    assert not list(out.rglob("z_fold*"))
    assert len(results.load_table("scores"))
    for name, message in (("nosuch_module:f", "cannot be imported"), ("test_decoder:nosuch", "has no nosuch")):
        other = with_changes(small_recipe, {"decode.decoder": name})
        refusals = [finding for finding in check(other, tmp_path / "other") if not finding.ok]
        assert any(message in finding.found for finding in refusals), refusals
        with pytest.raises(RecipeError, match=message):
            pipeline.run(other, tmp_path / "other")
        assert not (tmp_path / "other").exists()
    with pytest.raises(RecipeError, match="'ridge' or 'module:name'"):
        with_changes(small_recipe, {"decode.decoder": "forest"})


def test_an_encoder_predicts_what_the_encoding_analyses_predict(tmp_path) -> None:
    rng = np.random.default_rng(0)
    ids = np.arange(60)
    z = Features("z", rng.standard_normal((60, 2, 5)).astype(np.float32), ids)
    betas = z.flat @ rng.standard_normal((10, 20)) + rng.standard_normal((60, 20))
    trials, train = Trials(betas, ids), trials_of(betas, ids, 45)
    recipe = EncodeRecipe()
    design = make_design(trials, Split.fixed(ids[:45], ids[45:]), recipe, 0)
    design = replace(design, alphas=design.alphas[[4]])
    _, expected = fit_alone(design, z, recipe, 0)
    alpha = float(default_alphas(45)[4]) * 10
    encoder = Encoder(alphas=[alpha]).fit(train, z)
    test = Features("z", z.array[45:], ids[45:])
    found = encoder.predict(test) - betas[:45].mean(axis=0)
    np.testing.assert_allclose(found, expected.parts[0], atol=2e-4)
    r = encoder.score(Trials(betas[45:], ids[45:]), z)
    assert r.shape == (20,)
    assert np.median(r) > 0.8
    encoder.save(tmp_path / "encoder.safetensors")
    loaded = Encoder.load(tmp_path / "encoder.safetensors")
    assert repr(loaded) == repr(encoder)
    np.testing.assert_array_equal(loaded.predict(test), encoder.predict(test))
    Decoder().fit(train, z).save(tmp_path / "z.safetensors")
    with pytest.raises(ResultsError, match="is not an encoder"):
        Encoder.load(tmp_path / "z.safetensors")
    with pytest.raises(ShapeError, match="was fitted on z of shape"):
        encoder.predict(Features("z", z.array[:, :, :3], ids))


def trials_of(betas: np.ndarray, ids: np.ndarray, n: int) -> Trials:
    return Trials(betas[:n], ids[:n])
