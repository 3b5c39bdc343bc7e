"""Export: a run's images as two folders, whose scores are those of the run."""

import numpy as np
import pytest
from fields import raises_with

from reseen import Results, pipeline, score
from reseen.errors import ResultsError
from reseen.export import image_files
from reseen.files import read_image
from reseen.recipe import with_settings

pytestmark = pytest.mark.filterwarnings("ignore")


def pixel_scores(table, condition):
    """Scores without a network, which the run and `score` compute from the images alone."""
    rows = table[(table["level"] == "result") & (table["condition"] == condition) & (table["subset"] == "all")]
    rows = rows[rows["metric"].isin(["pixcorr", "ssim"])]
    return rows.set_index("metric")["value"].to_dict()


@pytest.mark.parametrize("condition", ["z", "zc"])
def test_scores_of_the_exported_folders_are_those_of_the_run(finished, tmp_path, condition):
    results = Results.read(finished)
    presented, made = results.export(tmp_path / "images", condition)
    found = score(made, presented, condition=condition, n_pairings=5, n_bootstrap=5)
    expected = pixel_scores(results.scores.table, condition)
    assert len(expected) == 2
    assert pixel_scores(found.table, condition) == pytest.approx(expected, abs=1e-12)


def test_files_have_the_bytes_of_the_images_and_the_names_of_the_stimuli(finished, small_recipe, tmp_path):
    results = Results.read(finished)
    presented, made = results.export(tmp_path / "images", "c", level="oracle")
    images, ids = results.images("c", level="oracle"), results.decoded("c").stimulus_id
    names = sorted(f"{item:05d}_{sample}.png" for item in ids for sample in range(small_recipe.reconstruct.n_samples))
    assert sorted(path.name for path in made.iterdir()) == names
    assert sorted(path.name for path in presented.iterdir()) == sorted(f"{item:05d}.png" for item in ids)
    np.testing.assert_array_equal(read_image(made / f"{ids[1]:05d}_1.png"), images[1, 1])
    shown = np.load(small_recipe.data.path)["stimulus_images"][ids[1]]
    np.testing.assert_array_equal(read_image(presented / f"{ids[1]:05d}.png"), shown)


def test_single_trials_of_one_stimulus_share_its_presented_image(small_recipe, random_networks, tmp_path):
    pipeline.run(with_settings(small_recipe, ["data.test_trials=single"]), tmp_path / "run", until="reconstruct")
    presented, made = Results.read(tmp_path / "run").export(tmp_path / "images", "z")
    expected = {f"{stimulus:05d}-t{item}_0.png" for item, stimulus in enumerate([0, 0, 0, 1, 1, 1, 4, 4, 5, 5])}
    assert {path.name for path in made.iterdir()} == expected
    assert {path.name for path in presented.iterdir()} == {f"{stimulus:05d}.png" for stimulus in (0, 1, 4, 5)}
    assert len(score(made, presented, n_pairings=5, n_bootstrap=5).table) > 0


def test_what_a_run_did_not_generate_and_a_folder_in_use_are_refused(finished, tmp_path):
    results = Results.read(finished)
    with raises_with(ResultsError, where="condition", expected=("z", "c", "zc"), found="cz"):
        results.export(tmp_path / "new", "cz")
    with raises_with(ResultsError, where="level", found="chance_mean"):
        image_files(results, "subj01", "z", "chance_mean", results.decoded("z").stimulus_id)
    (tmp_path / "mine.txt").write_text("keep me")
    with raises_with(ResultsError, where=tmp_path):
        results.export(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_command_prints_a_line_that_scores_the_folders(reseen, finished, tmp_path):
    code, out, err = reseen("export", finished, tmp_path / "images", "--condition", "z", "-q")
    assert (code, err) == (0, "")
    line = out.splitlines()[-1].removeprefix("score them: reseen ")
    code, out, err = reseen(*line.split())
    assert code == 0, err
    assert "identification classifier late" in out
