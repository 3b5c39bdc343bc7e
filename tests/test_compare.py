import shutil
import warnings

import numpy as np
import pandas as pd
import pytest

from reseen import metrics, pipeline, statistics
from reseen.compare import COLUMNS, compare, settings_that_differ
from reseen.errors import ResultsError
from reseen.recipe import Recipe, with_settings
from reseen.results import SCORED_SIZE_OF, TEST_IMAGES_OF, ResultsFolder
from reseen.tables import IMAGE_COLUMNS

N_STIMULI = 40
QUICK = {"n_bootstrap": 400, "n_permutations": 2000}


def rows(values, stimulus_id=None, **words):
    """Lay out what each image scores, as `evaluate` does."""
    fixed = {"subject": "subj01", "condition": "zc", "level": "result", "protocol": "builtin", "metric": "pixcorr"}
    ids = np.arange(len(values)) if stimulus_id is None else stimulus_id
    return pd.DataFrame({**dict.fromkeys(IMAGE_COLUMNS, ""), **fixed, **words, "stimulus_id": ids, "value": values})


def folder(path, *tables, images="sha256:a", size="64 x 64", network="net:1", recipe=None):
    """A results folder that was scored."""
    with ResultsFolder.open(path, recipe or Recipe(name="made")) as results:
        results.claim(TEST_IMAGES_OF + "subj01", images)
        results.claim(SCORED_SIZE_OF + "subj01", size)
        results.claim("network classifier", network)
        results.save_table("images", pd.concat(tables)[list(IMAGE_COLUMNS)])
        return results


@pytest.fixture
def noise():
    return np.random.default_rng(0).uniform(size=N_STIMULI)


@pytest.fixture
def reference(tmp_path, noise):
    return folder(tmp_path / "reference", rows(noise), rows(1 - noise, metric="ssim"))


def test_a_folder_and_its_copy_do_not_differ(reference):
    found = compare(reference, [reference], **QUICK)
    assert list(found.columns) == list(COLUMNS)
    assert list(found["metric"]) == ["pixcorr", "ssim"]
    assert (found[["difference", "low", "high"]] == 0).all(axis=None)
    assert (found[["p", "p_holm"]] == 1).all(axis=None)
    assert set(found["n"]) == {N_STIMULI}


def test_a_result_that_is_better_on_every_image_is_found_though_the_intervals_overlap(reference, tmp_path, noise):
    better = folder(tmp_path / "better", rows(noise + 0.02), rows(1 - noise, metric="ssim"))
    found = compare(reference, [better], **QUICK).set_index("metric")
    planted = found.loc["pixcorr"]
    assert planted["difference"] == pytest.approx(0.02)
    assert (planted["low"], planted["high"]) == pytest.approx((0.02, 0.02))
    assert planted["p"] == 1 / 2001
    assert planted["p_holm"] == 1 / 2001  # the other score is the same image by image, and nothing to be tested
    assert planted["value"] == pytest.approx(noise.mean() + 0.02)
    assert found.loc["ssim", "p"] == 1


def test_a_result_that_differs_by_noise_alone_is_not_found(reference, tmp_path, noise):
    shaken = noise + np.random.default_rng(1).permutation(np.repeat([-0.1, 0.1], N_STIMULI // 2))
    other = folder(tmp_path / "other", rows(shaken))
    with pytest.warns(UserWarning, match="metric: ssim there, none here"):
        found = compare(reference, [other], **QUICK)
    assert len(found) == 1
    assert found.loc[0, "p"] > 0.9
    assert found.loc[0, "low"] < 0 < found.loc[0, "high"]


@pytest.mark.parametrize("hubs", [0.0, 1.0])
@pytest.mark.parametrize("direction", ["original", "reconstruction"])
def test_p_of_two_runs_that_are_equally_good_is_no_smaller_than_it_should_be(direction, hubs):
    """Though the images of a pool share their distractors, and some resemble everything."""
    rng = np.random.default_rng(0)
    p = []
    for _ in range(200):
        ease = np.diag(rng.uniform(0, 2, 20))  # the same in both runs
        noise = rng.normal(size=(2, 20, 20)) + hubs * rng.normal(size=(2, 1, 20))
        first, second = (metrics.identification_from_correlations(ease + one, direction=direction) for one in noise)
        p.append(statistics.sign_flip_p((second - first)[:, None], 400, seed=0)[0])
    for level in (0.05, 0.25, 0.5):
        assert np.mean(np.array(p) <= level) <= level + 3 * np.sqrt(level * (1 - level) / 200)


def test_the_order_of_the_rows_of_a_table_does_not_matter(reference, tmp_path, noise):
    order = np.random.default_rng(2).permutation(N_STIMULI)
    other = folder(tmp_path / "other", rows(1 - noise, metric="ssim"), rows(noise[order], order))
    assert (compare(reference, [other], **QUICK)["difference"] == 0).all()


def test_items_of_one_stimulus_are_averaged_first(tmp_path):
    ids = np.array([0, 0, 0, 1])
    first = folder(tmp_path / "first", rows(np.array([0.0, 0.0, 0.0, 0.0]), ids))
    second = folder(tmp_path / "second", rows(np.array([3.0, 3.0, 3.0, 1.0]), ids))
    found = compare(first, [second], **QUICK).iloc[0]
    assert (found["difference"], found["n"]) == (2, 2)


def test_several_folders_are_each_compared_with_the_first(reference, tmp_path, noise):
    others = [
        folder(tmp_path / name, rows(noise + k), rows(1 - noise, metric="ssim")) for k, name in ((1, "b"), (2, "c"))
    ]
    found = compare(reference, others, **QUICK)
    assert list(found["results"]) == [str(tmp_path / name) for name in "bbcc"]
    assert list(found["difference"].round(9)) == [1, 0, 2, 0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": "sha256:b"}, "other test images of subj01 .* 40 there, 40 here, 40 ids in common"),
        ({"size": "32 x 32"}, "in different ways for subj01: scored size of subj01 is 64 x 64 there, 32 x 32 here"),
        ({"network": "net:2"}, "in different ways for subj01: network classifier is net:1 there, net:2 here"),
        ({"recipe": with_settings(Recipe(name="made"), ['data.subjects=["subj02"]'])}, "share no subject"),
    ],
)
def test_other_quantities_are_refused_with_the_reason(reference, tmp_path, noise, changes, says):
    other = folder(tmp_path / "other", rows(noise), **changes)
    with pytest.raises(ResultsError, match=says):
        compare(reference, [other])


@pytest.mark.parametrize("change", [{"size": "32 x 32"}, {"network": "net:2"}])
def test_a_protocol_that_is_the_same_in_both_is_compared_where_another_is_not(tmp_path, noise, change):
    tables = rows(noise), rows(noise, protocol="takagi2023")
    first, second = folder(tmp_path / "first", *tables), folder(tmp_path / "second", *tables, **change)
    with pytest.warns(UserWarning, match="left out, .* by protocol builtin: "):
        assert list(compare(first, [second], **QUICK)["protocol"]) == ["takagi2023"]


def test_another_network_of_a_protocol_leaves_out_this_protocol(tmp_path, noise):
    tables = rows(noise), rows(noise, protocol="takagi2023")
    folders = [folder(tmp_path / name, *tables) for name in ("first", "second")]
    for results, revision in zip(folders, ("a", "b"), strict=True):
        results.claim("network clip of takagi2023", revision)
    with pytest.warns(UserWarning, match="takagi2023: network clip of takagi2023 is a there, b here"):
        assert list(compare(folders[0], folders[1:], **QUICK)["protocol"]) == ["builtin"]


def test_results_without_a_score_in_common_are_refused(reference, tmp_path, noise):
    other = folder(tmp_path / "other", rows(noise, condition="z"))
    with pytest.raises(ResultsError, match="condition: zc there, z here"):
        compare(reference, [other])


def test_layers_that_are_named_by_numbers_are_compared_and_named(tmp_path, noise):
    network = {"metric": "identification", "network": "network"}
    first = folder(tmp_path / "first", *(rows(noise, layer=layer, **network) for layer in ("2", "5")))
    second = folder(tmp_path / "second", *(rows(noise, layer=layer, **network) for layer in ("2", "late")))
    with pytest.warns(UserWarning, match="layer: 5 there, late here"):
        assert list(compare(first, [second], **QUICK)["layer"]) == ["2"]
    other = folder(tmp_path / "other", rows(noise, layer="7", **network))
    with pytest.raises(ResultsError, match=r"no score in common .* layer: 2, 5 there, 7 here"):
        compare(first, [other])


def test_p_is_corrected_for_all_scores_that_were_tested(reference, tmp_path, noise):
    other = folder(tmp_path / "other", rows(noise + 0.02), rows(1 - noise + 0.01, metric="ssim"))
    assert compare(reference, [other], **QUICK)["p_holm"].tolist() == [2 / 2001, 2 / 2001]


def test_a_level_that_was_not_scored_is_refused(reference):
    with pytest.raises(ResultsError, match="has no scores of subj01 at level 'oracle'; it has result"):
        compare(reference, [reference], level="oracle")


def test_a_folder_that_was_not_scored_is_refused(reference, tmp_path):
    with (
        ResultsFolder.open(tmp_path / "bare", Recipe(name="made")) as bare,
        pytest.raises(ResultsError, match="not scored"),
    ):
        compare(reference, [bare])


def test_one_folder_alone_is_refused(reference):
    with pytest.raises(ResultsError, match="at least two results folders"):
        compare(reference, [])


def test_other_versions_of_scoring_libraries_are_warned_of(reference, tmp_path, noise):
    other = folder(tmp_path / "other", rows(noise), rows(noise, metric="ssim"))
    text = (other.path / "provenance.json").read_text().replace('scikit-image": "', 'scikit-image": "1')
    (other.path / "provenance.json").write_text(text)
    with pytest.warns(UserWarning, match="scored with scikit-image"):
        compare(reference, [other], **QUICK)


def test_settings_that_differ_are_named(reference, tmp_path, noise):
    recipe = with_settings(Recipe(name="made"), ["reconstruct.guidance=3"])
    assert settings_that_differ(reference, folder(tmp_path / "other", rows(noise), recipe=recipe)) == [
        "reconstruct.guidance: 5.0 -> 3.0"
    ]


@pytest.fixture(scope="module")
def run(small_recipe, random_networks, tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipeline.run(small_recipe, tmp_path_factory.mktemp("run"), until="evaluate")


@pytest.mark.usefixtures("random_networks")
@pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning")
class TestOnARun:
    def test_the_mean_over_images_is_the_score(self, run):
        words = ["condition", "metric", "network", "layer", "direction", "level"]
        each = run.load_table("images").groupby(words)["value"].mean()
        scores = run.load_table("scores").query("subset == 'all'").set_index(words)["value"]
        assert len(each) == (5 + 3) * (2 + 2 * 3 * 2 + 2)  # three conditions at two levels, and two that are retrieved
        assert each.to_numpy() == pytest.approx(scores[each.index].to_numpy())

    def test_a_run_does_not_differ_from_itself(self, run):
        found = compare(run, [run], **QUICK)
        assert len(found) == 5 * (2 + 2 * 3 * 2 + 2)
        assert (found["difference"] == 0).all()
        assert (found["p"] == 1).all()

    def test_another_choice_of_test_images_is_refused(self, run, small_recipe, tmp_path):
        fewer = with_settings(small_recipe, ["data.n_test=3"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = pipeline.run(fewer, tmp_path, until="evaluate")
        with pytest.raises(ResultsError, match="4 there, 3 here, 3 ids in common"):
            compare(run, [other])

    def test_a_folder_of_an_older_reseen_gets_its_images_scored(self, run, small_recipe, tmp_path):
        shutil.copytree(run.path, tmp_path, dirs_exist_ok=True)
        for file in ("images.csv", "subj01/images.csv"):
            (tmp_path / file).unlink()
        pipeline.run(small_recipe, tmp_path, until="evaluate")
        assert (tmp_path / "images.csv").read_bytes() == (run.path / "images.csv").read_bytes()
