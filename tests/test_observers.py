import numpy as np
import pytest

from reseen.errors import ModelError
from reseen.observers import LAYERS, load_observer
from reseen.simulate.painting import draw_scene
from reseen.simulate.scenes import BACKGROUNDS, sample_scene


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(77)
    scenes = [sample_scene(rng) for _ in range(120)]
    return scenes, np.stack([draw_scene(scene) for scene in scenes])


@pytest.mark.parametrize("name", ["judge", "image_encoder"])
def test_an_observer_gives_one_row_of_each_layer_for_each_picture(name, pictures):
    responses = load_observer(name).look(pictures[1][:5])
    assert tuple(responses) == LAYERS
    assert [responses[layer].shape for layer in LAYERS] == [(5, 32 * 32 * 32), (5, 128 * 8 * 8), (5, 128)]
    assert all(np.isfinite(response).all() for response in responses.values())


def test_what_an_observer_sees_in_a_picture_does_not_depend_on_its_neighbours(pictures):
    judge = load_observer("judge")
    together = judge.look(pictures[1])
    alone = judge.look(pictures[1][110:111])
    for layer in LAYERS:
        np.testing.assert_allclose(together[layer][110], alone[layer][0], rtol=1e-4, atol=1e-4)


def test_pictures_of_another_size_are_resized(pictures):
    small, judge = pictures[1][:20], load_observer("judge")
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    for of_large, of_small in zip(judge.look(large)["late"], judge.look(small)["late"], strict=True):
        assert np.corrcoef(of_large, of_small)[0, 1] > 0.8


def test_the_judge_names_the_background_of_scenes_it_never_saw(pictures):
    scenes, images = pictures
    judge = load_observer("judge")
    named = judge.name_contents(images)[:, : len(BACKGROUNDS)].argmax(axis=1)
    truth = [judge.labels.index(scene.background) for scene in scenes]
    assert np.mean(named == truth) > 0.9


def test_an_observer_without_labels_says_so(pictures):
    with pytest.raises(ModelError, match="no labels"):
        load_observer("image_encoder").name_contents(pictures[1][:1])


def test_an_unknown_observer_is_named_with_those_there_are():
    with pytest.raises(ModelError, match=r"'inception'.*image_encoder, judge"):
        load_observer("inception")
