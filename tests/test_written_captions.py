"""Complete runs in which BLIP or GIT writes the captions of t from decoded hidden states."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fields import raises_with
from tiny_captioner import write_blip, write_git

from reseen import load_captioner, load_model, open_subject, pipeline
from reseen.check import check
from reseen.errors import ModelError, RecipeError, ResultsError
from reseen.finished import Results
from reseen.recipe import Recipe, with_settings

pytestmark = [
    pytest.mark.usefixtures("random_networks"),
    pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning"),
    pytest.mark.filterwarnings("ignore:.* wrote no word"),
]


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Arrays of 24 images, 20 of them for training, each shown twice; the responses are pixels with noise."""
    rng = np.random.default_rng(0)
    stimulus_id = np.repeat(np.arange(24), 2)
    images = rng.integers(0, 256, (24, 40, 40, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("brain") / "subj01.npz"
    np.savez(
        path,
        betas=(images[stimulus_id, :5, :4, 0].reshape(48, 20) + rng.normal(size=(48, 20))).astype(np.float32),
        stimulus_images=images,
        stimulus_id=stimulus_id,
        captions=np.array([[f"image {i}", f"the image number {i}"] for i in range(24)]),
        roi_low=np.arange(20) < 10,
        roi_high=np.arange(20) >= 10,
        test_stimulus_id=np.arange(4),
    )
    return path


def recipe_for(kind: str, small_recipe: Recipe, brain: Path, folder: Path, *more: str) -> Recipe:
    (write_blip if kind == "blip" else write_git)(folder)
    settings = [f"data.path={brain}", f"decode.captions={kind}", f"model.captioner={folder}"]
    settings += ['reconstruct.conditions=["z", "zt"]', "evaluate.n_permutations=1", "reconstruct.n_samples=1"]
    return with_settings(small_recipe, [*settings, 'encode.features=["z"]', *more])


@pytest.fixture(scope="module", params=["blip", "git"])
def ran(
    request: pytest.FixtureRequest,
    small_recipe: Recipe,
    brain: Path,
    random_networks: object,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Recipe, Results]:
    folder = tmp_path_factory.mktemp(request.param)
    # one of the two also has the controls of a full run, and another side of its images
    more = ("evaluate.full=true", "extract.captioner_side=16") if request.param == "blip" else ()
    recipe = recipe_for(request.param, small_recipe, brain, folder / "captioner", *more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check(recipe, folder / "out", device="cpu")
        assert [finding.found for finding in found if not finding.ok] == []
        assert any(request.param in finding.found for finding in found if finding.what == "captioner")
        pipeline.run(recipe, folder / "out")
    return recipe, Results.read(folder / "out")


def test_t_is_the_conditioning_of_the_written_captions(ran: tuple[Recipe, Results]) -> None:
    recipe, results = ran
    kind = recipe.decode.captions
    captioner = load_captioner(recipe.model.captioner, side=recipe.extract.captioner_side)
    known = results.captions()
    states = results.decoded(kind)
    assert states.array.shape[1:] == captioner.shape
    assert [caption.caption for caption in known] == captioner.states_to_captions(states.array)
    assert [caption.stimulus_id for caption in known] == states.stimulus_id.tolist()
    assert all(caption.training_stimulus_id is None for caption in known)
    stimuli = open_subject(recipe.data, "subj01").stimuli
    from_images = captioner.states_to_captions(captioner.image_to_states([stimuli.image(item) for item in range(4)]))
    assert len(set(from_images)) > 1
    assert [caption.oracle_caption for caption in known] == from_images
    conditioning = load_model(recipe.model.name).text_to_conditioning([caption.caption for caption in known])
    np.testing.assert_allclose(results.decoded("t").array, conditioning, atol=1e-5)


def test_states_and_captions_are_scored_and_shown(ran: tuple[Recipe, Results]) -> None:
    recipe, results = ran
    kind = recipe.decode.captions
    scores = results.scores.table
    of_features = scores[scores["network"] == "features"]
    assert set(of_features["condition"]) == {"z", kind, "t"}
    assert set(of_features["level"]) >= {"result", "permuted"}
    assert set(scores[scores["condition"] == "zt"]["level"]) >= {"mismatched", "permuted", "result", "oracle"}
    assert results.scores.headline().condition == "zt"
    assert set(results.caption_scores["level"]) == {"mismatched", "chance_random", "result", "oracle", "ceiling"}
    assert results.decoder(kind).predict is not None
    with pytest.raises(ResultsError, match="no decoder of 't'"):
        results.decoder("t")
    report = (results.path / "report.html").read_text(encoding="utf-8")
    assert f"the caption that {kind} writes" in report.lower()
    assert "<td>CIDEr</td>" in report


def test_nothing_is_computed_twice_and_another_captioner_is_refused(
    ran: tuple[Recipe, Results], monkeypatch: Any
) -> None:
    recipe, results = ran
    before = {path: path.stat().st_mtime_ns for path in results.path.rglob("*.safetensors")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.run(recipe, results.path)
        assert {path: path.stat().st_mtime_ns for path in results.path.rglob("*.safetensors")} == before
        (write_blip if recipe.decode.captions == "blip" else write_git)(Path(recipe.model.captioner), seed=5)
        results.decode_path("subj01", "t").unlink()
        with pytest.raises(ResultsError, match="captioner"):
            pipeline.run(recipe, results.path)


def test_a_captioner_of_another_type_or_none_is_refused(small_recipe: Recipe, brain: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"model\.captioner is missing"):
        with_settings(small_recipe, ["decode.captions=git"])
    recipe = recipe_for("git", small_recipe, brain, tmp_path / "git")
    other = with_settings(recipe, ["decode.captions=blip"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for refused, where in (
            (other, "decode.captions"),
            (with_settings(recipe, ["model.captioner=no/one"]), "no/one"),
        ):
            with raises_with(ModelError, where=where):
                pipeline.run(refused, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_captions_are_written_for_single_trials(small_recipe: Recipe, brain: Path, tmp_path: Path) -> None:
    recipe = recipe_for("git", small_recipe, brain, tmp_path / "git", "data.test_trials=single")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.run(recipe, tmp_path / "out", until="decode")
    known = Results.read(tmp_path / "out").captions()
    assert [caption.stimulus_id for caption in known] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert known[0].oracle_caption == known[1].oracle_caption
