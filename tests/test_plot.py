"""What figures show: axes, titles, limits, colours."""

import io
import math

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_scores import FULL, pixels, rows, table

from reseen import plot
from reseen.errors import ShapeError
from reseen.report import CorticalMaps
from reseen.scores import Scores
from reseen.tables import SCORE_COLUMNS

RNG = np.random.default_rng(0)
ORIGINALS = RNG.integers(0, 256, (10, 12, 16, 3), dtype=np.uint8)
SAMPLES = RNG.integers(0, 256, (10, 4, 12, 16, 3), dtype=np.uint8)


def shown(axes):
    """Return the image of axes."""
    return axes.images[0].get_array()


def drawn(figure):
    """Return a figure as pixels; also what overlaps or is cut off would raise here."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))


def test_images_stand_in_rows_of_original_and_samples_under_titles_in_words():
    figure = plot.images(ORIGINALS, {"z": SAMPLES[:, 0], "nearest_c": SAMPLES}, rows=[7, 2], n_samples=2)
    titles = ["original", "z", "nearest by c,\nsample 0", "nearest by c,\nsample 1"]
    assert [axes.get_title() for axes in figure.axes] == titles + [""] * 4
    expected = [image for row in (7, 2) for image in (ORIGINALS[row], SAMPLES[row, 0], *SAMPLES[row, :2])]
    for axes, image in zip(figure.axes, expected, strict=True):
        np.testing.assert_array_equal(shown(axes), image)
    assert [axes.get_ylabel() for axes in figure.axes[::4]] == ["image 7", "image 2"]
    assert drawn(figure).std() > 0


def test_of_many_images_the_first_eight_are_drawn():
    figure = plot.images(ORIGINALS, SAMPLES[:, 0], titles=[f"cat {k}" for k in range(8)])
    assert len(figure.axes) == 8 * 2
    assert figure.axes[0].get_ylabel() == "cat 0"
    assert figure.axes[1].get_title() == "reconstruction"


@pytest.mark.parametrize(
    ("given", "options", "says"),
    [
        ((ORIGINALS / 255, SAMPLES), {}, r"originals: expected uint8 images \(n, H, W, 3\); found float64"),
        ((SAMPLES, SAMPLES), {}, r"originals: .*found uint8 \(10, 4, 12, 16, 3\)"),
        ((ORIGINALS, {"z": SAMPLES[:9]}), {}, "reconstructions z: expected 10 images.*found 9"),
        ((ORIGINALS, SAMPLES), {"rows": [10]}, r"rows: expected numbers from 0 to 9; found \[10\]"),
        ((ORIGINALS, SAMPLES), {"rows": []}, "rows: expected numbers"),
        ((ORIGINALS, SAMPLES), {"titles": ["a"]}, "titles: expected 8, one for each row drawn; found 1"),
    ],
)
def test_images_that_do_not_fit_are_refused(given, options, says):
    with pytest.raises(ShapeError, match=says):
        plot.images(*given, **options)


def test_a_denoising_sequence_starts_and_ends_with_its_ends():
    figure = plot.denoising(ORIGINALS, original=SAMPLES[0, 0], n_frames=4)
    assert [axes.get_title() for axes in figure.axes] == [
        "original",
        "start",
        "33 % denoised",
        "67 % denoised",
        "result",
    ]
    for axes, image in zip(figure.axes, (SAMPLES[0, 0], *ORIGINALS[[0, 3, 6, 9]]), strict=True):
        np.testing.assert_array_equal(shown(axes), image)
    assert len(plot.denoising(ORIGINALS[:3]).axes) == 3
    with pytest.raises(ShapeError, match="two frames or more; found 1"):
        plot.denoising(ORIGINALS[:1])
    with pytest.raises(ShapeError, match="two frames or more; found 1"):
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
    assert first.get_title() == "Two-way identification\nby the judge, layer late"
    assert points(first, "o") == {"zc": 0.8, "z": 0.6, "nearest by z": 0.55}
    assert points(first, "|") == {"zc": 0.5, "z": 0.5, "nearest by z": 0.5}
    assert points(first, "x") == {"zc": 0.51}
    bounds = [line.get_xdata().tolist() for line in first.lines if line.get_color() == "black"]
    assert bounds == [[0.95, 0.95]]
    intervals = [list(line.get_xdata()) for line in first.lines if line.get_linewidth() == 2.5]
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
    low = table(rows(value=0.12), rows(condition="z", value=0.88, ceiling=1.0), pixels(value=-0.2))
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
    features = rows(observer="features", layer="")
    with pytest.raises(ShapeError, match="no score of images"):
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
    figure = plot.flat_map(maps, "z", top=0.6)
    axes, bar = figure.axes
    assert axes.get_title() == "Prediction accuracy of the encoding model z"
    assert {text.get_text() for text in axes.texts} == {"early", "ventral"}
    assert bar.get_xlim() == (0, 0.6)
    assert bar.get_xlabel() == "correlation r of predicted and measured responses"

    def coloured(figure):
        pixels = np.asarray(figure.axes[0].images[0].get_array()).astype(int)
        return int(((pixels[..., 3] > 0) & (np.ptp(pixels[..., :3], axis=-1) > 20)).sum())

    every = coloured(plot.flat_map(maps, "z", significant_only=False))
    assert 0.2 * every < coloured(figure) < 0.8 * every
    assert coloured(plot.flat_map(maps, "c")) == every
    assert plot.flat_map(maps, "c", title="mine").axes[0].get_title() == "mine"


def test_a_map_that_is_not_there_is_named_with_those_there_are(maps):
    with pytest.raises(ShapeError, match="no correlations of a model 'zc'; there are those of z, c"):
        plot.flat_map(maps, "zc")
    with pytest.raises(ShapeError, match="top: expected a correlation above 0; found 0"):
        plot.flat_map(maps, "z", top=0)


def test_a_figure_shows_itself_in_a_notebook_and_stays_unknown_to_pyplot():
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    figure = plot.denoising(ORIGINALS)
    assert isinstance(figure, matplotlib.figure.Figure)
    assert Image.open(io.BytesIO(figure._repr_png_())).format == "PNG"
    assert pyplot.get_fignums() == before
