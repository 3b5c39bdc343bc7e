"""Maps and figures of encoding models, from made-up results over the simulated subject's true voxels."""

import math
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from encoding_results import LAYERS, encoding_recipe, made_up_maps, made_up_table, made_up_voxels, write_encoding
from test_report import Page, contents, subject

from reseen import plot, report
from reseen.datasets.fsaverage import load_points
from reseen.pipeline import maps as mapping
from reseen.pipeline.context import Run
from reseen.plot import colours, wording
from reseen.plot.analysis_figures import draw_bars
from reseen.plot.cortex_views import LETTER, LINE, SMALL_WIDTH, Cortex
from reseen.plot.figure import page_svg
from reseen.recipe import EncodeRecipe, with_settings
from reseen.results import ResultsFolder
from reseen.simulate.anatomy import STREAMS


@pytest.fixture(scope="module")
def voxels(anatomy):
    return made_up_voxels(anatomy.stream)


@pytest.fixture(scope="module")
def maps(anatomy, surface, voxels):
    return made_up_maps(anatomy, surface, voxels)


@pytest.fixture(scope="module")
def table(anatomy, voxels):
    return made_up_table(anatomy.stream, voxels)


@pytest.fixture(scope="module")
def found(table, maps):
    return report.analysis_reports(table, maps, EncodeRecipe())


@pytest.fixture(scope="module")
def cortex(maps):
    return Cortex(maps.regions, maps.region_names)


def solid(colour):
    """Paint every vertex with a value in one colour."""
    return lambda values: (
        lambda view, side: np.where(np.isfinite(view.mean(values[side]))[..., None], np.array([*colour, 1.0]), 0.0)
    )


def test_a_colour_lies_where_its_voxels_are_and_nowhere_else(cortex, anatomy, surface):
    red = solid((1.0, 0.0, 0.0))
    right = anatomy.where("early") & (anatomy.position[:, 0] > 3)
    values = surface.values(np.where(right, 1.0, np.nan), anatomy.voxel_index)
    image = cortex.paint(red(values)).astype(int)
    is_red = (image[..., 0] > 200) & (image[..., 1] < 60) & (image[..., 3] > 200)
    width = image.shape[1]
    assert is_red[:, width // 2 :].sum() > 2000
    assert is_red[:, : width // 2].sum() < 0.02 * is_red.sum()
    flat = is_red[:, width // 2 : width // 2 + 200]
    assert flat[:, :100].sum() > 20 * flat[:, 100:].sum()  # the back end lies in the middle of the image


def test_the_image_has_the_size_it_says_and_is_transparent_around_the_cortex(cortex):
    image = cortex.paint(lambda view, _: np.zeros((*view.there.shape, 4)))
    assert (image.shape[1], image.shape[0]) == cortex.size
    assert image.shape[2] == 4
    assert image[0, 0, 3] == 0
    grey = image[image[..., 3] == 255][:, :3].astype(int)
    assert np.ptp(grey, axis=1).max() <= 1


def test_names_of_regions_stand_inside_of_them(cortex, maps):
    values = {side: np.where(labels >= 0, labels, np.nan) for side, labels in maps.regions.items()}
    seen = cortex.paint(
        lambda view, side: (
            np.repeat(np.nan_to_num(view.mean(values[side]) / 10)[..., None], 4, axis=2) * [1, 0, 0, 0] + [0, 0, 0, 1]
        )
    )
    places = cortex.label_places()
    assert list(places) == list(STREAMS)
    for number, (x, y) in enumerate(places.values()):
        around = seen[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2, 0]
        assert abs(np.median(around) / 25.5 - number) < 0.3


def test_names_of_small_neighbouring_regions_do_not_overlap(maps):
    used = np.flatnonzero(maps.regions["lh"] >= 0)
    x, y = load_points("flat", "lh")[used, :2].T
    near = used[np.hypot(x - np.median(x), y - np.median(y)).argsort()[:210]]
    small = {side: np.where(maps.regions[side] >= 0, 7, -1) for side in maps.regions}
    small["lh"][near] = np.arange(210) // 30  # seven rings
    places = np.array(list(Cortex(small, [f"ring {k}" for k in range(8)]).label_places().values()))
    assert len(places) == 8
    for k, (x, y) in enumerate(places):
        others = np.delete(places, k, axis=0)
        assert np.all((abs(others[:, 0] - x) >= 6 * LETTER) | (abs(others[:, 1] - y) >= LINE))


def test_every_view_of_the_inflated_cortex_shows_its_side(cortex, anatomy, surface):
    voxels = {"early": "medial", "lateral": "lateral", "ventral": "ventral"}
    blue = solid((0.0, 0.0, 1.0))
    width = SMALL_WIDTH
    for roi, best in voxels.items():
        values = surface.values(np.where(anatomy.where(roi), 1.0, np.nan), anatomy.voxel_index)
        image = cortex.paint(blue(values)).astype(int)[:, :width]
        shown = (image[..., 2] > 200) & (image[..., 0] < 60) & (image[..., 3] > 200)
        rows = np.flatnonzero((image[..., 3] > 0).any(axis=1))
        gaps = np.flatnonzero(np.diff(rows) > 1)
        parts = np.split(rows, gaps + 1)
        counts = dict(zip(("lateral", "medial", "ventral"), (shown[part].sum() for part in parts), strict=True))
        assert max(counts, key=counts.get) == best, (roi, counts)


def test_only_significant_voxels_are_coloured(table, maps, found):
    silent = {side: np.zeros_like(labels) for side, labels in maps.significant["z"].items()}
    alone = table[(table.analysis == "features") & (table.model == "z")]
    empty = report.analysis_reports(alone, replace(maps, significant={"z": silent}), EncodeRecipe())
    grey = empty[0].panels["z"][..., :3].astype(int)
    assert np.ptp(grey, axis=2).max() <= 1
    assert np.ptp(found[0].panels["z"][..., :3].astype(int), axis=2).max() > 100


def test_one_number_is_coloured_from_dark_to_light():
    shown = colours.one(np.array([0.0, 0.25, 0.5, 0.9, np.nan]), 0, 0.5)
    light = shown[:, :3] @ [0.299, 0.587, 0.114]
    assert light[0] < light[1] < light[2]
    assert np.array_equal(shown[2], shown[3])  # beyond the end of the scale
    assert shown[:, 3].tolist() == [1, 1, 1, 1, 0]


def test_two_numbers_are_told_apart_by_colour_blind_eyes():
    corners = colours.two(np.array([0.0, 0.3, 0.0, 0.3]), np.array([0.0, 0.0, 0.3, 0.3]), 0, 0.3)[:, :3]
    deuteranope = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])  # Machado 2009
    seen = np.clip(corners @ deuteranope.T, 0, 1)
    gaps = [np.linalg.norm(seen[i] - seen[j]) for i in range(4) for j in range(i)]
    assert min(gaps) > 0.3
    assert colours.two(np.array([np.nan]), np.array([0.1]), 0, 0.3)[0, 3] == 0


def test_layers_are_coloured_by_side_and_depth_of_the_unet():
    palette = colours.layer_palette(LAYERS)
    assert len(set(palette)) == len(LAYERS)
    blue = [colours.rgb(colour)[2] > colours.rgb(colour)[0] for colour in palette]
    assert blue == [True, True, True, False, False]
    assert colours.layer_palette(["mid_block.attentions.0.group_norm"]) == [palette[2]]
    assert colours.which(np.array([-1, 0]), palette)[:, 3].tolist() == [0, 1]


def test_the_four_analyses_are_found_in_their_order_with_a_map_for_each_model_or_stage(found):
    assert [analysis.name for analysis in found] == ["features", "noise", "denoising", "layers"]
    assert [[title.replace("\u00a0", " ") for title in analysis.panels] for analysis in found] == [
        ["z", "c", "zc"],
        ["strength 0.2", "strength 0.5", "strength 0.8"],
        ["0 % denoised", "44 % denoised", "86 % denoised"],
        ["20 % denoised", "66 % denoised", "100 % denoised"],
    ]
    assert len(found[0].bars) == 3 * (1 + len(STREAMS))


def test_each_analysis_says_n_threshold_and_null(found, table):
    for analysis in found:
        said = analysis.about.replace("\u00a0", " ")
        assert "n = 100 held-out images" in said
        assert "q ≤ .05" in said
        assert "independent Gaussian" in said
    assert re.search(r"of all voxels z \d+ %, c \d+ %, zc \d+ %", found[0].about.replace("\u00a0", " "))
    assert re.search(r"of all voxels z\+zc@strength=0.2 \d+ %", found[1].about.replace("\u00a0", " "))
    permuted = report.analysis_reports(table, None, EncodeRecipe(null="permutation", fdr=0.01))
    assert "Coloured" not in permuted[0].about
    assert "q ≤ .01" in permuted[3].about.replace("\u00a0", " ")
    assert "after images are permuted" in permuted[3].about


def test_each_analysis_says_what_it_comes_to(found):
    assert "early z (.4" in found[0].reading
    assert "ventral c (.4" in found[0].reading
    assert re.search(r"the part of zc goes from \.0\d \(strength 0.2\) to \.1\d \(strength 0.8\)", found[1].reading)
    assert "early down_blocks.0" in found[3].reading


def test_bars_hold_the_tables_numbers(found, table):
    bar = found[0].bars.query("roi == 'ventral' and row == 'c'").iloc[0]
    row = table[(table.roi == "ventral") & (table.feature == "c") & (table.statistic == "mean_r")].iloc[0]
    assert (bar.value, bar.low, bar.high) == (row.value, row.low, row.high)
    assert bar.ceiling == pytest.approx(0.55, abs=0.02)
    split = found[1].bars.query("roi == 'early' and row == 'strength 0.2'")
    assert list(split["part"]) == ["z", "zc"]
    first = found[3].bars.groupby(["roi", "row"], sort=False)["value"].sum()
    assert first.iloc[0] == pytest.approx(1)


def test_a_table_without_maps_still_makes_bars_and_one_that_is_not_tidy_nothing(table):
    bare = report.analysis_reports(table, None, EncodeRecipe())
    assert [len(analysis.panels) for analysis in bare] == [0, 0, 0, 0]
    assert len(bare[1].bars)
    assert report.analysis_reports(pd.DataFrame({"feature": ["z"], "median_r": [0.1]}), None, EncodeRecipe()) == ()


def test_numbers_that_are_missing_are_left_out(table):
    empty = report.analysis_reports(table.assign(value=math.nan, low=math.nan, high=math.nan), None, EncodeRecipe())
    for analysis in empty:
        assert analysis.reading == "There are no values to show."
        chart = page_svg(draw_bars(analysis.bars, analysis.kind), "empty")
        assert "nan" not in chart.lower()
    empty[0].draw("subj01")


def test_axes_span_intervals_and_ceilings_and_have_few_ticks(table):
    low, high = plot.encoding(table, "features").axes[0].get_xlim()
    assert low <= 0
    assert high >= 0.55
    assert plot.encoding(table, "layers").axes[0].get_xlim() == (0.0, 1.0)
    for ends in ((0, 0.1), (-0.1, 0.65), (0, 1)):
        axes = plot.encoding(table, "noise", limits=ends).axes[0]
        assert axes.get_xlim() == ends
        assert 2 <= len([tick for tick in axes.get_xticks() if ends[0] <= tick <= ends[1]]) <= 8


def test_figures_for_print_are_the_same_bytes_and_hold_their_words(found, tmp_path):
    figure = found[1].draw("subj01")
    words = " ".join(text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text")))
    assert "subj01: Contributions of z and zc as more noise is added" in words
    assert "strength 0.8" in words
    assert "q ≤ .05" in words
    figure.savefig(tmp_path / "figure.png", dpi=40)
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_the_page_shows_the_maps_of_the_first_subject_and_folds_the_others(found, table):
    html = report.report(contents(subject(encoding=found), subject("subj02", encoding=found[:1]), encoding=table))
    page = Page(html)
    shown = [image for image in page.all("img") if "surface: fsaverage5" in image["alt"]]
    assert len(shown) == 3 * 4 + 3
    assert max(len(image["src"]) for image in shown) < 200_000
    assert "The maps of subj02" in page.words
    assert found[0].reading in page.words
    section = html[html.index('id="encoding"') :]
    assert section.index("down_blocks.0") < section.index("The maps of subj02")


def test_the_page_says_why_there_are_no_maps(table):
    bare = report.analysis_reports(table, None, EncodeRecipe())
    words = Page(report.report(contents(subject(encoding=bare, no_maps="No way to fsaverage."), encoding=table))).words
    assert "No way to fsaverage." in words


def test_stages_layers_and_correlations_print_as_people_say_them():
    assert wording.stage("progress=0.44").replace("\u00a0", " ") == "44 % denoised"
    assert wording.stage("strength=0.8") == "strength 0.8"
    assert wording.stage("odd") == "odd"
    assert wording.layer("unet/mid_block@progress=1") == "mid_block"
    printed = [wording.correlation(value) for value in (0.314, -0.05, math.nan, 1.0)]
    assert printed == [".31", "−.05", "–", "1.00"]


# ------------------------------------------------------------------------------------------ in a results folder


@pytest.fixture
def mapped(simulated_tree, tmp_path):
    """A simulated subject's results folder in which the encoding models have just been scored."""
    with ResultsFolder.open(tmp_path / "results", encoding_recipe(simulated_tree)) as results:
        yield write_encoding(Run(results.recipe, results).subject("subj01"))


def test_a_subjects_numbers_are_carried_to_the_cortex_and_drawn(mapped, table):
    maps, reason = mapping.maps_to_report(mapped)
    assert reason == ""
    assert maps.layers == LAYERS
    assert maps.region_names == tuple(STREAMS)
    assert set(maps.values) == {"r/z"}
    assert set(maps.winners) == {"progress=1"}
    for side in ("lh", "rh"):
        seen = np.isfinite(maps.values["r/z"][side])
        assert np.array_equal(np.unique(maps.regions[side][seen & (maps.regions[side] >= 0)]), np.arange(len(STREAMS)))
        assert set(np.unique(maps.significant["z"][side])) == {-1, 0, 1}
    alone = table[(table.analysis == "features") & (table.model == "z")]
    mapping.write_figures(mapped, report.analysis_reports(alone, maps, EncodeRecipe()))
    path = mapped.results.figure_path("subj01_features", "svg")
    first = path.read_bytes()
    mapping.write_figures(mapped, report.analysis_reports(alone, maps, EncodeRecipe()))
    assert path.read_bytes() == first
    assert b"Prediction accuracy of each feature" in first
    assert path.with_suffix(".png").stat().st_size < 2_000_000


def test_without_transform_files_a_sentence_says_what_to_fetch(mapped, simulated_tree, tmp_path):
    shutil.copytree(simulated_tree, tmp_path / "tree", ignore=shutil.ignore_patterns("transforms"))
    recipe = with_settings(mapped.recipe, [f"data.path={tmp_path / 'tree'}"])
    maps, reason = mapping.maps_to_report(Run(recipe, mapped.results).subject("subj01"))
    assert maps is None
    assert "There are no maps:" in reason
    assert "aws s3 cp" in reason


def test_voxels_without_a_place_in_a_volume_have_no_maps(mapped, monkeypatch):
    nowhere = replace(mapped.trials, voxel_index=None)
    monkeypatch.setattr(type(mapped), "facts", nowhere)
    assert "no place in a volume" in mapping.maps_to_report(mapped)[1]


def test_maps_are_exported_once_where_the_recipe_asks_for_them(mapped):
    assert mapping.export_maps(mapped)
    folder = mapped.results.path / "derivatives"
    names = sorted(path.name for path in folder.rglob("*statmap*") if path.suffix != ".json")
    assert len(names) == 4 * 3  # r, q, ceiling and winner: a volume and two hemispheres each
    assert "sub-01_hemi-L_space-fsaverage_den-164k_stat-r_desc-z_statmap.func.gii" in names
    assert "sub-01_space-func1pt8mm_stat-winner_desc-progress1_statmap.nii.gz" in names
    assert (folder / "dataset_description.json").is_file()
    assert not mapping.export_maps(mapped)
    recipe = with_settings(mapped.recipe, ["encode.export=[]"])
    assert not mapping.export_maps(Run(recipe, mapped.results).subject("subj01"))
