"""One image under two ids, in training and in test (chengshuxiao/YOLOv5-ODConvNeXt#8, rois-codh/kmnist#5)."""

from __future__ import annotations

import pytest
from _inputs import arrays, save

QUICK = (
    *("reconstruct.n_samples=1", "reconstruct.n_steps=2", "evaluate.n_permutations=0", "evaluate.oracle=false"),
    *("evaluate.n_bootstrap=20", "evaluate.n_derangements=20", "report.n_sequences=1", "report.n_random=2"),
)


@pytest.fixture
def command(tmp_path):
    """The recipe for own data, where each test image is a training image too, under another id."""
    content = arrays()
    images, captions = content["stimulus_images"], content["captions"]
    for tested in content["test_stimulus_id"]:
        images[tested], captions[tested] = images[(tested + 1) % 24], captions[(tested + 1) % 24]
    path = save(tmp_path / "data.npz", stimulus_images=images, captions=captions)
    return ["own_data", "--data", path, "--model", "builtin", "--out", tmp_path / "out"]


def test_check_counts_the_test_images_that_are_training_images(reseen, command):
    _, out, _ = reseen("check", *command)
    assert "6 of 6 test images of subj01 are also training images" in " ".join(out.split())


def test_a_check_fails_where_test_images_duplicate_training_images(reseen, command):
    settings = [word for setting in QUICK for word in ("--set", setting)]
    code, out, err = reseen("run", *command, *settings)
    assert code == 0, err
    said = " ".join(out.split())
    assert "1 fail" in said or "fail │" in said
    assert "the proportion of test images that nearly duplicate a training" in said
    page = (command[-1] / "report.html").read_text()
    assert "the proportion of test images that nearly duplicate a training image is 100.0\u00a0%" in page
