import itertools
from collections import Counter

import numpy as np
import pytest

from reseen.simulate.captions import write_captions
from reseen.simulate.figures import FIGURE_NAMES, Figure, draw_figure, sample_figure
from reseen.simulate.painting import draw_scene
from reseen.simulate.scenes import BACKGROUNDS, COLOURS, KINDS, is_held_out, sample_scene


def test_a_fifth_of_the_combinations_is_held_out_and_every_pair_of_the_three_is_still_shown():
    combinations = list(itertools.product(BACKGROUNDS, KINDS, COLOURS))
    shown = [combination for combination in combinations if not is_held_out(*combination)]
    assert 1 - len(shown) / len(combinations) == pytest.approx(0.2, abs=0.01)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        pairs = {(combination[first], combination[second]) for combination in shown}
        assert pairs == {(combination[first], combination[second]) for combination in combinations}


@pytest.mark.parametrize("n_things", [1, 2])
def test_no_thing_of_an_ordinary_scene_is_a_held_out_combination(n_things):
    rng = np.random.default_rng(0)
    scenes = [sample_scene(rng, n_things=n_things) for _ in range(2000)]
    assert not any(is_held_out(s.background, t.kind, t.colour) for s in scenes for t in s.things)
    assert not any(scene.is_novel for scene in scenes)


def test_the_first_thing_of_a_novel_scene_is_a_held_out_combination():
    rng = np.random.default_rng(1)
    scenes = [sample_scene(rng, novel=True) for _ in range(500)]
    assert all(is_held_out(s.background, s.things[0].kind, s.things[0].colour) for s in scenes)
    assert {scene.background for scene in scenes} == set(BACKGROUNDS)


def test_the_same_description_gives_the_same_bytes_and_different_ones_do_not():
    scenes = [sample_scene(np.random.default_rng(seed)) for seed in (3, 3, 4)]
    first, again, other = (draw_scene(scene) for scene in scenes)
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_kind_is_drawn_on_every_background_and_can_be_told_from_it():
    rng = np.random.default_rng(5)
    seen = Counter()
    for _ in range(400):
        scene = sample_scene(rng, n_things=1)
        image = draw_scene(scene).astype(int)
        empty = draw_scene(type(scene)(**{**vars(scene), "things": ()})).astype(int)
        assert (np.abs(image - empty).sum(axis=2) > 30).mean() > 0.02
        seen[scene.things[0].kind] += 1
    assert set(seen) == set(KINDS)


def test_every_figure_is_white_on_black_inside_the_image():
    rng = np.random.default_rng(6)
    names = set()
    for _ in range(600):
        figure = sample_figure(rng)
        image = draw_figure(figure)
        assert image.shape == (64, 64, 3)
        assert np.ptp(image, axis=2).max() == 0
        assert image.max() > 100
        assert (image > 127).mean() < 0.85
        names.add(figure.name)
    assert names == set(FIGURE_NAMES)


def test_the_same_figure_gives_the_same_bytes():
    figure = Figure("number five", 0.5, 0.5, 0.3, 0.1, 1.0, 0.0, 0, 7)
    assert np.array_equal(draw_figure(figure), draw_figure(figure))


def test_captions_fit_the_text_encoder_and_differ_as_peoples_do():
    rng = np.random.default_rng(8)
    distinct = []
    for index in range(300):
        image = sample_figure(rng) if index % 5 == 0 else sample_scene(rng)
        captions = write_captions(image, rng)
        assert len(captions) == 5
        assert all(0 < len(caption.split()) <= 22 for caption in captions)
        distinct.append(len(set(captions)))
    assert np.mean(distinct) > 4


def test_captions_err_now_and_then_but_mostly_name_what_is_there():
    rng = np.random.default_rng(9)
    right = wrong = 0
    for _ in range(1000):
        scene = sample_scene(rng, n_things=1)
        for caption in write_captions(scene, rng):
            named = [colour for colour in COLOURS if colour in caption.split()]
            right += named == [scene.things[0].colour]
            wrong += bool(named) and named != [scene.things[0].colour]
    assert 0.01 < wrong / (right + wrong) < 0.08
