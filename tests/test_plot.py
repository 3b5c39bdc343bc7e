"""What figures show: axes, titles, limits, colours."""

import io
import math
import re
from xml.etree import ElementTree

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from fields import raises_with
from PIL import Image
from test_scores import FULL, pixels, rows, table

from reseen import plot
from reseen.errors import ShapeError
from reseen.plot import CorticalMaps, colours
from reseen.plot.figure import page_svg
from reseen.plot.wording import words
from reseen.scores import Scores
from reseen.tables import SCORE_COLUMNS

RNG = np.random.default_rng(0)
ORIGINALS = RNG.integers(0, 256, (10, 12, 16, 3), dtype=np.uint8)
SAMPLES = RNG.integers(0, 256, (10, 4, 12, 16, 3), dtype=np.uint8)


def shown(figure):
    """Return the images of a figure from left to right, row after row, with the titles of columns and rows."""
    axes = figure.axes[0]
    columns, rows = (
        [text.get_text() for text in labels] for labels in (axes.get_xticklabels(), axes.get_yticklabels())
    )
    ends = [image.get_extent() for image in axes.images]
    assert [(left, top) for left, _, _, top in ends] == sorted(
        ((left, top) for left, _, _, top in ends), key=lambda corner: corner[::-1]
    )
    for k, tick in enumerate(axes.get_xticks()):
        assert ends[k][0] < tick < ends[k][1]
    return [image.get_array() for image in axes.images], columns, rows


def drawn(figure):
    """Return a figure as pixels; also what overlaps or is cut off would raise here."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))


def test_every_feature_that_retrieves_training_images_is_named_in_words() -> None:
    assert [words(f"nearest_{name}") for name in ("z", "i", "pixels")] == [
        "nearest by z",
        "nearest by i",
        "nearest by pixels",
    ]


def test_images_stand_in_rows_of_original_and_samples_under_titles_in_words():
    figure = plot.images(ORIGINALS, {"z": SAMPLES[:, 0], "nearest_c": SAMPLES}, rows=[7, 2], n_samples=2)
    found, columns, names = shown(figure)
    assert columns == ["original", "z", "nearest by c,\nsample 0", "nearest by c,\nsample 1"]
    expected = [image for row in (7, 2) for image in (ORIGINALS[row], SAMPLES[row, 0], *SAMPLES[row, :2])]
    np.testing.assert_array_equal(found, expected)
    assert names == ["image 7", "image 2"]
    assert drawn(figure).std() > 0


def test_of_many_images_the_first_eight_are_drawn():
    figure = plot.images(ORIGINALS, SAMPLES[:, 0], titles=[f"cat {k}" for k in range(8)])
    found, columns, names = shown(figure)
    assert len(found) == 8 * 2
    assert names[0] == "cat 0"
    assert columns == ["original", "reconstruction"]


@pytest.mark.parametrize(
    ("given", "options", "where", "expected", "found"),
    [
        ((ORIGINALS / 255, SAMPLES), {}, "originals", "(n, H, W, 3)", ("float64", 10, 12, 16, 3)),
        ((SAMPLES, SAMPLES), {}, "originals", "(n, H, W, 3)", ("uint8", 10, 4, 12, 16, 3)),
        ((ORIGINALS, {"z": SAMPLES[:9]}), {}, "reconstructions z", 10, 9),
        ((ORIGINALS, SAMPLES), {"rows": [10]}, "rows", 9, [10]),
        ((ORIGINALS, SAMPLES), {"rows": []}, "rows", 9, []),
        ((ORIGINALS, SAMPLES), {"titles": ["a"]}, "titles", 8, 1),
    ],
)
def test_images_that_do_not_belong_together_are_refused(given, options, where, expected, found):
    with raises_with(ShapeError, where=where, expected=expected, found=found):
        plot.images(*given, **options)


def test_a_denoising_sequence_starts_and_ends_with_its_ends():
    figure = plot.denoising(ORIGINALS, original=SAMPLES[0, 0], n_frames=4)
    found, columns, _ = shown(figure)
    assert columns == ["original", "start", "33 % denoised", "67 % denoised", "result"]
    np.testing.assert_array_equal(found, [SAMPLES[0, 0], *ORIGINALS[[0, 3, 6, 9]]])
    assert len(plot.denoising(ORIGINALS[:3]).axes[0].images) == 3
    with raises_with(ShapeError, where="frames", expected=2, found=1):
        plot.denoising(ORIGINALS[:1])
    with raises_with(ShapeError, where="frames", expected=2, found=1):
        plot.denoising(ORIGINALS, n_frames=1)


def points(axes, marker):
    """Return where markers of one shape are, by label of their row."""
    names = [text.get_text() for text in axes.get_yticklabels()]
    found = {}
    for line in axes.lines:
        if line.get_marker() == marker and len(line.get_xdata()) == 1:
            found[names[int(line.get_ydata()[0])]] = line.get_xdata()[0]
    return found


def test_scores_are_drawn_between_chance_level_and_upper_bound():
    figure = plot.scores(Scores(FULL))
    first = figure.axes[0]
    assert first.get_title() == "Two-way identification\nby the classifier, layer late"
    assert points(first, "o") == {"zc": 0.8, "z": 0.6, "nearest by z": 0.55}
    assert points(first, "|") == {"zc": 0.5, "z": 0.5, "nearest by z": 0.5}
    assert points(first, "x") == {"zc": 0.51}
    bounds = [list(line.get_xdata()) for line in first.lines if line.get_color() == colours.INK]
    assert bounds == [[0.95, 0.95]]
    intervals = [list(line.get_xdata()) for line in first.lines if line.get_linewidth() == 2.2]
    assert intervals[0] == pytest.approx([0.7, 0.9])
    assert first.get_xlim() == figure.axes[1].get_xlim() == (pytest.approx(0.4), pytest.approx(1.02))
    assert [line.get_xdata()[0] for line in first.lines if line.get_linestyle() == "--"] == [0.5]
    assert [axes.get_xlabel() for axes in figure.axes] == ["identification accuracy"] * 2 + ["pixel correlation r"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "result, 95 % interval",
        "chance level: mismatched",
        "chance level: permuted",
        "chance level: mean features",
        "upper bound (oracle)",
    ]
    assert drawn(figure).std() > 0


def test_nothing_drawn_lies_outside_the_axes():
    low = table(rows(value=0.12), rows(condition="z", value=0.88, oracle=1.0), pixels(value=-0.2))
    for axes in plot.scores(Scores(low)).axes:
        left, right = axes.get_xlim()
        for line in axes.lines:
            assert all(left <= x <= right for x in line.get_xdata() if math.isfinite(x)), axes.get_title()


def test_subjects_have_rows_of_their_own_and_their_mean():
    figure = plot.scores(Scores(table(rows("subj01", value=0.7), rows("subj02", value=0.8))))
    assert points(figure.axes[0], "o") == {
        "zc, subj01": 0.7,
        "zc, subj02": 0.8,
        "zc, mean of 2 subjects": pytest.approx(0.75),
    }


def test_without_a_score_of_images_there_is_nothing_to_draw():
    features = rows(network="features", layer="")
    with raises_with(ShapeError, where="scores"):
        plot.scores(Scores(table(features)))
    only_pixels = plot.scores(Scores(pd.DataFrame(pixels(), columns=list(SCORE_COLUMNS))))
    assert [axes.get_title() for axes in only_pixels.axes] == ["Pixel correlation"]


@pytest.fixture(scope="module")
def maps():
    r = {side: np.linspace(0, 0.6, 10242) for side in ("lh", "rh")}
    significant = {side: np.where(values > 0.3, 1, 0) for side, values in r.items()}
    regions = {side: np.where(values < 0.4, 0, 1) for side, values in r.items()}
    return CorticalMaps({"r/z": r, "r/c": r}, {"z": significant}, {}, (), regions, ("early", "ventral"))


def test_the_flat_map_shows_the_significant_vertices_up_to_the_end_of_the_scale(maps):
    figure = plot.flat_map(maps, "z", vmin=0.1, vmax=0.6)
    axes, bar = figure.axes
    assert axes.get_title() == "Prediction accuracy of the encoding model z"
    assert {text.get_text() for text in axes.texts} == {"early", "ventral"}
    assert bar.get_xlim() == (0.1, 0.6)
    assert bar.get_xlabel() == "correlation r of predicted and measured responses"

    def coloured(figure):
        pixels = np.asarray(figure.axes[0].images[0].get_array()).astype(int)
        return int(((pixels[..., 3] > 0) & (np.ptp(pixels[..., :3], axis=-1) > 20)).sum())

    every = coloured(plot.flat_map(maps, "z", significant_only=False))
    assert 0.2 * every < coloured(figure) < 0.8 * every
    assert coloured(plot.flat_map(maps, "c")) == every
    assert plot.flat_map(maps, "c", title="mine").axes[0].get_title() == "mine"


def test_a_map_that_is_not_there_is_named_with_those_there_are(maps):
    with raises_with(ShapeError, where="name", expected=("z", "c"), found="zc"):
        plot.flat_map(maps, "zc")
    with raises_with(ShapeError, where="vmax", expected=0.2, found=0.1):
        plot.flat_map(maps, "z", vmin=0.2, vmax=0.1)


def test_a_figure_shows_itself_in_a_notebook_and_stays_unknown_to_pyplot():
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    figure = plot.denoising(ORIGINALS)
    assert isinstance(figure, matplotlib.figure.Figure)
    assert Image.open(io.BytesIO(figure._repr_png_())).format == "PNG"
    assert pyplot.get_fignums() == before


@pytest.mark.parametrize(
    ("draw", "arguments"),
    [
        (plot.images, (ORIGINALS, SAMPLES)),
        (plot.denoising, (ORIGINALS,)),
        (plot.scores, (Scores(FULL),)),
        (plot.penalties, (np.array([1.0, 10.0]),)),
        (plot.noise_ceilings, ({"early": np.linspace(0, 1, 9)},)),
        (plot.curves, ([plot.Curve("z", ("2", "all"), (0.8, 0.3), (0.7, 0.2), (0.9, 0.4), (0.5, 0.1))],)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_function_draws_into_given_axes_and_leaves_the_others_alone(draw, arguments):
    figure = matplotlib.figure.Figure(layout="constrained")
    left, right = figure.subplots(1, 2)
    assert draw(*arguments, ax=right) is figure
    assert right.has_data()
    assert not left.has_data()
    assert drawn(figure).std() > 0


def test_maps_are_drawn_into_given_axes(maps):
    figure = matplotlib.figure.Figure(layout="constrained")
    left, right = figure.subplots(1, 2)
    plot.flat_map(maps, "z", ax=right)
    assert (len(left.images), len(right.images)) == (0, 1)


def test_figure_5_has_a_panel_for_each_layer_of_each_network_and_the_limits_asked_for():
    both = table(rows(), rows(layer="early"), rows(network="image_encoder", value=0.6), pixels(value=0.2))
    figure = plot.scores(Scores(both), every_network=True, limits=(0.3, 0.9))
    titles = [axes.get_title().splitlines()[-1] for axes in figure.axes if axes.get_title()]
    assert titles == [
        "by the classifier, layer late",
        "by the classifier, layer early",
        "by the image encoder, layer late",
    ]
    assert all(axes.get_xlim() == (0.3, 0.9) for axes in figure.axes if axes.get_title())


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_equal_figures_are_written_as_equal_bytes(tmp_path, kind):
    for name in ("one", "two"):
        plot.save(plot.scores(Scores(FULL)), tmp_path / f"{name}.{kind}")
    first = (tmp_path / f"one.{kind}").read_bytes()
    assert len(first) > 5000
    assert first == (tmp_path / f"two.{kind}").read_bytes()
    with raises_with(ShapeError, where=tmp_path / "figure.gif", expected=("png", "svg", "pdf"), found="gif"):
        plot.save(plot.scores(Scores(FULL)), tmp_path / "figure.gif")


def test_svg_of_a_page_has_the_pages_colours_the_labels_words_and_titles_and_no_ids_of_another_chart():
    def svg(label):
        return page_svg(plot.penalties(np.array([1.0, 10.0, 10.0])), label)

    text = svg("Penalties <b>")
    assert text.startswith('<svg viewBox="0 0 316.8 108" role="img" aria-label="Penalties &lt;b&gt;">')
    root = ElementTree.fromstring(text.replace("xlink:", ""))
    assert [title.text for title in root.iter("title")] == [
        "alpha 1 (end of the grid): 1 targets",
        "alpha 10 (end of the grid): 2 targets",
    ]
    assert {"1", "10"} <= {words.text for words in root.iter("text")}
    assert "var(--edge)" in text
    assert not re.search("#[0-9a-f]{6}|url|http|font-family|clip-path", text)
    ids = [set(re.findall(r'id="([^"]*)"', page_svg(plot.scores(Scores(FULL)), label))) for label in "ab"]
    assert ids[0]
    assert not ids[0] & ids[1]
