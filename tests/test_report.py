"""The report, made from made-up images and scores."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from fields import raises_with

from reseen.errors import ShapeError
from reseen.evaluate import run_checks
from reseen.plot.decoders import count_penalties
from reseen.plot.wording import penalty
from reseen.recipe import Recipe
from reseen.report import DenoisingSequence, ReportInput, SubjectReport, declared_sample, examples, report
from reseen.report.embed import evenly, image_uri, sprite_uri
from reseen.report.encoding import AnalysisReport
from reseen.report.gallery import sequence_strip
from reseen.report.marks import read_marks, reading
from reseen.tables import DIAGNOSTIC_COLUMNS, RETRIEVAL_COLUMNS, SCORE_COLUMNS

N = 12
BAR_COLUMNS = ("roi", "row", "part", "value", "low", "high", "ceiling", "colour")
VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """Read a page, and complain where a tag is not closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).replace("\u00a0", " ").split())


def images(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 8, 8, 3), dtype=np.uint8)


def subject(name="subj01", **changes):
    made = {("result", c): images(k, N, 1 if c == "z" else 2) for k, c in enumerate(("z", "c", "zc"))}
    made |= {("oracle", "zc"): images(5, N, 2), ("permuted", "zc"): images(6, N, 2)}
    grid = np.logspace(1, 5, 5)
    whole = SubjectReport(
        subject=name,
        stimulus_id=np.arange(100, 100 + N),
        presented=images(9, N),
        images=made,
        score=np.linspace(0, 1, N),
        alphas={"z": np.repeat(grid, [1, 1, 1, 1, 6])},
        alpha_grid={"z": grid},
        roi_sizes={"early": 650, "ventral": 820},
        noise_ceiling={"early": np.linspace(0, 0.9, 50), "ventral": np.full(5, np.nan)},
        sequences=(DenoisingSequence(103, images(7, 11)),),
    )
    return replace(whole, **changes)


def scores(subjects=("subj01",), *, value=0.8):
    rows = [
        (
            name,
            condition,
            "builtin",
            "identification",
            "classifier",
            layer,
            "original",
            subset,
            level,
            level_value,
            0.7,
            0.9,
            N,
        )
        for name in subjects
        for condition in ("z", "c", "zc")
        for layer in ("late", "early")
        for subset in ("all", "novel")
        for level, level_value in (("result", value), ("mismatched", 0.5), ("oracle", 0.95))
    ]
    rows += [(*row[:3], "identification_gap_closed", *row[4:8], "result", 2 / 3, *row[10:]) for row in rows[::3]]
    rows += [(name, "zc", "builtin", "pixcorr", "", "", "", "all", "result", 0.4, 0.3, 0.5, N) for name in subjects]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def contents(*subjects, **changes):
    subjects = subjects or (subject(),)
    whole = ReportInput(
        recipe=Recipe(name="made up"),
        scores=scores([s.subject for s in subjects]),
        subjects=subjects,
        provenance={
            "warnings": ["alpha at the edge"],
            "versions": {"reseen": "0.1.0"},
            "started": "today",
        },
    )
    return replace(whole, **changes)


def test_the_page_needs_nothing_outside_itself():
    html = report(contents(subject(), subject("subj02")))
    page = Page(html)
    assert not re.search(r"https?://|@import|url\(", html)
    assert not page.all("script")
    assert not page.all("link")
    for _, attributes in page.tags:
        assert str(attributes.get("src", "data:")).startswith("data:")
        assert str(attributes.get("href", "#")).startswith("#")


def test_every_image_says_what_it_is():
    images = Page(report(contents())).all("img")
    assert images
    assert all(image["alt"].strip() for image in images)


def test_links_lead_to_sections():
    page = Page(report(contents(subject(), subject("subj02"))))
    there = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= there
    assert {label["for"] for label in page.all("label")} <= there


def test_the_same_contents_give_the_same_page():
    assert report(contents()) == report(contents())


def test_the_verdict_and_the_warnings_come_before_everything_else():
    words = Page(report(contents())).words
    verdict = words.index("zc images are identified in 80.0 % of the pairs by classifier, layer late (")
    assert verdict < words.index("alpha at the edge") < words.index("Presented and reconstructed images")


def test_verdict_table_and_images_stand_open_and_everything_else_is_folded_away():
    table = pd.DataFrame({"voxel": [1], "r": [0.1]})
    html = report(contents(encoding=table, diagnostics=readings(), checks=checks()))
    before, *folded = re.split('<section><details class="fold">', html)
    assert [re.search("<h2>(.*?)</h2>", part).group(1) for part in folded] == [
        "Denoising sequences",
        "Scores, chance levels and oracle",
        "Diagnostics: image-specific or category-level?",
        "Decoders",
        "Encoding: from features to voxels",
        "Settings and versions",
    ]
    assert before.index("identified in 80.0") < before.index(">warn</span>") < before.index('class="headline"')
    assert before.index('class="headline"') < before.index('id="images"')
    assert "<details open" not in before
    assert all(part.count("<details") + 1 == part.count("</details>") for part in folded)


def test_each_of_several_subjects_has_a_headline_and_its_checks_folded_away():
    both = {"diagnostics": readings(("subj01", "subj02")), "checks": checks(("subj01", "subj02"))}
    html = report(contents(subject(), subject("subj02"), **both))
    assert "<b>mean of 2 subjects</b>: zc images are identified in 80.0" in html
    assert "<b>subj01</b>: zc images are identified in 80.0" in html
    assert "<summary>Checks of subj02: 4 pass, 2 warn, 2 fail</summary>" in html


def test_chance_levels_without_responses_have_a_table_and_images():
    table = scores()
    levels = {"chance_mean": 0.51, "chance_noise": 0.52, "chance_random": 0.53}
    result = table[(table["level"] == "result") & (table["condition"] == "zc")]
    table = pd.concat([table, *(result.assign(level=level, value=value) for level, value in levels.items())])
    made = {(level, "zc"): images(20 + k, N, 2) for k, level in enumerate(levels)}
    html = report(contents(subject(images=subject().images | made), scores=table))
    words = Page(html).words
    assert "two-way identification, late zc 50 % – 51 % 52 % 53 % 80 % 95 %" in words
    assert "The same items without responses (chance levels), subj01" in words
    assert all(image_uri(stack[N - 1, 0]) in html for stack in made.values())
    assert "without responses" not in Page(report(contents())).words


def test_what_comes_from_outside_is_escaped():
    nasty = "<script>alert('x')</script>\"&"
    table = scores([nasty])
    table["network"] = nasty
    table["metric"] = nasty
    odd = subject(
        nasty,
        no_maps=nasty,
        encoding=(
            AnalysisReport(
                "noise",
                pd.DataFrame([[nasty, nasty, nasty, 0.1, 0.0, 0.2, 0.3, "#000000"]], columns=list(BAR_COLUMNS)),
                {nasty: np.zeros((4, 4, 4), dtype=np.uint8)},
                {nasty: (1.0, 1.0)},
                nasty,
                nasty,
            ),
        ),
        alphas={nasty: np.ones(3)},
        roi_sizes={nasty: 3},
        noise_ceiling={nasty: np.ones(3)},
        images={("result", nasty): images(0, N, 1)},
    )
    html = report(
        contents(
            odd,
            recipe=Recipe(name=nasty.replace("/", "")),
            scores=table,
            provenance={"warnings": [nasty], "versions": {nasty: nasty}, nasty: nasty},
            encoding=pd.DataFrame({"subject": [nasty], "feature": [nasty], "roi": [nasty], "value": [0.1], nasty: 1}),
            recipe_text=nasty,
        )
    )
    page = Page(html)
    assert not page.all("script")
    assert "<script" not in html
    assert page.words.count("<script>alert('x')</script>") > 10


def test_the_sample_is_best_median_worst_and_random():
    sample = declared_sample(np.array([0.1, 0.9, 0.5, 0.7, 0.3, 0.8, 0.2, 0.6, 0.4, 1.0]), n_random=4, seed=3)
    assert sample.best == (9, 1, 5)
    assert sample.median == (3, 7, 2)
    assert sample.worst == (4, 6, 0)
    assert len(set(sample.random)) == 4
    assert "3 best" in sample.rule("luck")
    assert "4 are selected at random from all 10 (seed 3)" in sample.rule("luck")


def test_the_random_images_do_not_depend_on_the_scores():
    one, other = (declared_sample(np.random.default_rng(k).random(30), n_random=6, seed=1) for k in range(2))
    assert one.random == other.random
    assert one.best != other.best
    assert declared_sample(np.zeros(30), n_random=6, seed=2).random != one.random


def test_ties_are_ranked_in_the_order_of_the_items():
    assert declared_sample(np.zeros(9), n_random=0).best == (0, 1, 2)


def test_images_without_a_score_are_not_ranked():
    sample = declared_sample(np.array([np.nan, 0.5, 0.1, np.nan, 0.9]), n_random=9)
    assert (sample.best, sample.median, sample.worst) == ((4,), (1,), (2,))
    assert sample.random == (0, 1, 2, 3, 4)
    assert "2 without a score are not ranked" in sample.rule("luck")


@pytest.mark.parametrize("score", [np.array([]), np.array([0.5]), np.full(4, np.nan)])
def test_too_few_scores_leave_only_random_images(score):
    sample = declared_sample(score, n_random=2)
    assert sample.best == sample.worst == ()
    assert len(sample.random) == min(2, len(score))
    assert "Too few" in sample.rule("luck")


def test_the_gallery_shows_sample_0_and_the_others_only_in_the_list_of_all_samples():
    one = subject()
    html = report(contents(one))
    gallery = html[html.index('id="images"') : html.index("Every sample of zc")]
    assert image_uri(one.images["result", "zc"][N - 1, 0]) in gallery
    assert image_uri(one.images["result", "zc"][N - 1, 1]) not in gallery
    assert image_uri(one.images["result", "zc"][N - 1, 1]) in html
    assert "Sample 0 of each is shown" in Page(html).words


def test_several_subjects_stand_side_by_side_for_the_images_they_share():
    other = subject("subj02", stimulus_id=np.arange(105, 105 + N))
    words = Page(report(contents(subject(), other))).words
    assert "The same image, reconstructed from each subject's responses" in words
    assert "from all 7 (seed 0)" in words
    apart = subject("subj02", stimulus_id=np.arange(500, 500 + N))
    assert "reconstructed from each subject" not in Page(report(contents(subject(), apart))).words


def test_examples_for_print_are_those_of_the_page_by_subject_or_by_condition():
    def shown(figure):
        axes = figure.axes[0]
        columns, rows = (
            [text.get_text() for text in texts] for texts in (axes.get_xticklabels(), axes.get_yticklabels())
        )
        return columns, rows, [image.get_array() for image in axes.images]

    one, other = subject(), subject("subj02", stimulus_id=np.arange(105, 105 + N))
    columns, rows, images = shown(examples(contents(one, other)))
    assert columns == ["original", "subj01", "subj02"]
    # they share 105 to 111, scores rise with the number, and the best image is selected at random too
    assert rows[0] == "best, random,\nstimulus 111"
    place = int(rows[0].split()[-1])
    expected = (one.presented[place - 100], one.images["result", "zc"][place - 100, 0])
    np.testing.assert_array_equal(images[:2], expected)
    np.testing.assert_array_equal(images[2], other.images["result", "zc"][place - 105, 0])
    columns, rows, _ = shown(examples(contents(one)))
    assert columns == ["original", "z", "c", "zc"]
    assert rows[:3] == ["best,\nstimulus 111", "median,\nstimulus 106", "worst,\nstimulus 100"]
    assert examples(contents(subject(images={}))) is None


def test_examples_show_no_stimulus_twice():
    of_trials = subject(stimulus_id=np.repeat(np.arange(100, 100 + N // 2), 2))
    rows = [text.get_text() for text in examples(contents(of_trials)).axes[0].get_yticklabels()]
    stimuli = [text.split()[-1] for text in rows]
    assert len(set(stimuli)) == len(stimuli)
    groups = [name for text in rows for name in text.partition(",\n")[0].split(", ")]
    assert sorted(groups) == ["best", "median", "random", "random", "random", "random", "worst"]


def test_one_subject_without_sequences_encoding_or_decoders_makes_a_page():
    bare = subject(sequences=(), alphas={}, alpha_grid={}, roi_sizes={}, noise_ceiling={})
    words = Page(report(contents(bare, provenance={}))).words
    for absent in ("Denoising sequences", "Encoding:", "Chosen ridge penalties", "ROIs and their", "Warning"):
        assert absent not in words


@pytest.mark.parametrize("kept", [[], [("result", "z")], [("result", "c"), ("oracle", "z")], [("permuted", "zc")]])
def test_missing_conditions_leave_out_their_columns(kept):
    whole = subject()
    some = subject(images={key: whole.images.get(key, whole.images["result", "z"]) for key in kept})
    Page(report(contents(some, subject("subj02"))))


def test_single_trials_of_one_stimulus_have_different_names():
    words = Page(report(contents(subject(stimulus_id=np.repeat(np.arange(4), 3))))).words
    assert "stimulus 3, trial 11" in words


def test_no_scores_at_all_make_a_page():
    empty = pd.DataFrame(columns=list(SCORE_COLUMNS))
    words = Page(report(contents(subject(score=np.full(N, np.nan)), scores=empty))).words
    assert "There are no scores." in words
    assert "Too few images have a score" in words


def test_scores_that_are_nan_are_shown_as_missing():
    html = report(contents(scores=scores(value=math.nan)))
    words = Page(html).words
    assert "There is no score to show here." in words
    assert "nan" not in words.lower()
    assert '"nan"' not in html.lower()


def test_empty_cells_of_a_csv_file_are_read_as_empty(tmp_path):
    scores().to_csv(tmp_path / "scores.csv", index=False)
    table = pd.read_csv(tmp_path / "scores.csv")
    assert repr(read_marks(table)) == repr(read_marks(scores()))
    assert report(contents(scores=table)) == report(contents())


def test_numbers_about_a_score_are_not_taken_for_scores():
    table = scores()
    about = table[~table.metric.str.endswith("_gap_closed")]
    about = about.assign(metric=about.metric + "_p", value=0.123)
    assert repr(read_marks(pd.concat([table, about]))) == repr(read_marks(table))


def test_a_chart_reads_as_one_sentence_with_n_interval_and_null():
    marks = [mark for mark in read_marks(scores()) if mark.key.subset == "all" and mark.key.network]
    assert reading(marks).replace("\u00a0", " ") == (
        "Two-way identification of zc at the late layer is 80 % (95 % interval 70 to 90 %, n = 12, chance 50 %, "
        "mismatched 50 %, oracle 95 %); highest: z (early), z (late)."
    )


def test_of_distances_the_smallest_is_the_best():
    table = scores().assign(network="swav", protocol="mindeye2")
    table.loc[table["level"] == "mismatched", "value"] = 0.9
    table.loc[table["level"] == "oracle", "value"] = 0.5
    table = table[~table["metric"].str.endswith("_gap_closed")].assign(metric="distance")
    table.loc[(table["level"] == "result") & (table["condition"] == "z"), "value"] = 0.6
    marks = [mark for mark in read_marks(table) if mark.key.subset == "all" and mark.key.layer]
    assert "nearest: z (early), z (late)" in reading(marks)


def test_of_several_protocols_reseens_own_is_on_top_and_the_others_have_charts_of_their_own():
    other = scores(value=0.6).assign(protocol="takagi2023", network="alexnet")
    both = report(contents(scores=pd.concat([other, scores()], ignore_index=True), stimuli="scenes"))
    words = Page(both).words
    assert "Two-way identification by the classifier; for each" in words
    assert "Two-way identification by alexnet, presented image held fixed, protocol takagi2023" in words
    assert "Pixel scores, protocol takagi2023" in words


def test_the_gap_closed_is_the_one_of_the_table():
    words = Page(report(contents())).words
    assert "67 %" in words  # as the table has it


def test_recipe_and_versions_are_on_the_page():
    words = Page(report(contents())).words
    for there in (
        "guidance = 5.0",
        "reseen 0.1.0",
        "today",
    ):
        assert there in words


def test_alphas_at_the_edge_of_the_grid_are_counted():
    assert "70 % of 10 choices are at the edge of the grid (10 to 1e5)" in Page(report(contents())).words


def test_a_chosen_alpha_counts_for_the_nearest_of_the_grid():
    assert count_penalties(np.array([10000.001, 0.999, 1, np.nan]), np.array([1.0, 1e4])).tolist() == [2, 1]


@pytest.mark.parametrize(
    ("alpha", "text"), [(0.0, "0"), (0.05, "0.05"), (46.4, "46.4"), (2154.4, "2154"), (1e5, "1e5"), (2.2e-6, "2.2e−6")]
)
def test_alphas_print_in_few_characters(alpha, text):
    assert penalty(alpha) == text


def test_encoding_models_that_have_no_figure_are_listed_in_a_table():
    page = Page(report(contents(encoding=pd.DataFrame({"voxel": range(300), "r": 0.1}))))
    assert "The first 200 of 300 rows." in page.words
    assert not [image for image in page.all("img") if "cortex" in image["alt"]]
    assert "Encoding:" not in Page(report(contents(encoding=pd.DataFrame({"r": []})))).words


def test_a_film_becomes_a_strip_and_an_animation_that_can_rest():
    html = report(contents())
    page = Page(html)
    assert "prefers-reduced-motion" in html
    assert "denoising steps" in next(i["alt"] for i in page.all("img") if "sequence" in i["alt"])
    strip = html[html.index('id="sequences"') : html.index('id="scores"')]
    assert re.findall(r"<figcaption>(.*?)</figcaption>", strip) == [
        *("presented", "start", "step 1", "step 3", "step 4", "step 6", "step 7", "step 9", "result")
    ]


def test_a_film_shows_what_was_presented_and_not_its_own_last_frame():
    mine = subject()
    strip = sequence_strip(mine, DenoisingSequence(103, images(7, 11)))
    row = int(np.flatnonzero(mine.stimulus_id == 103)[0])
    assert strip["presented"]["uri"] == image_uri(mine.presented[row])
    assert strip["presented"]["uri"] != strip["strip"][-1]["uri"]


def test_a_film_of_one_frame_and_of_floats_makes_a_page():
    still = DenoisingSequence(1, np.full((1, 8, 8, 3), 0.5, dtype=np.float32))
    Page(report(contents(subject(sequences=(still,)))))


def test_steps_are_spaced_evenly_from_first_to_last():
    assert evenly(41, 8) == (0, 6, 11, 17, 23, 29, 34, 40)
    assert evenly(3, 8) == (0, 1, 2)
    assert evenly(1, 8) == (0,)


def test_a_long_film_keeps_its_first_and_last_frame_within_bounds():
    _, n_frames = sprite_uri(np.zeros((200, 4, 4, 3), dtype=np.uint8))
    assert n_frames == 60


def test_large_images_are_shrunk():
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    uri = image_uri(noise)
    assert uri.startswith("data:image/webp")
    assert len(uri) < 80_000


def test_arrays_that_do_not_belong_together_are_refused():
    with raises_with(ShapeError, where="score", expected=N, found=3):
        subject(score=np.zeros(3))
    with raises_with(ShapeError, where="images of result z", found=(N, 8, 8, 3)):
        subject(images={("result", "z"): images(0, N)})
    with raises_with(ShapeError, where="frames", found=(8, 8, 3)):
        DenoisingSequence(4, np.zeros((8, 8, 3)))
    with raises_with(ShapeError, where="scores", expected="n"):
        contents(scores=scores().drop(columns="n"))


def readings(subjects=("subj01",)):
    rows = [
        (name, feature, "", *what, 0.8, 0.7, 0.9, null, 0.02, 0.01, N)
        for name in subjects
        for feature in ("z", "c")
        for *what, null in (
            ("n_way", "2", 0.5),
            ("n_way", "10", 0.1),
            ("n_way", "all", 1 / N),
            ("pairs", "nearest 10", 0.5),
            ("pairs", "within background", 0.5),
            ("pairs", "between background", 0.5),
            ("pairs", "background alone", math.nan),
            ("novelty", "accuracy", 0.0),
            ("novelty", "near duplicates", math.nan),
            ("dimensions", "decoded", math.nan),
            ("bottleneck", "1", math.nan),
            ("bottleneck", "all", math.nan),
        )
    ]
    return pd.DataFrame(rows, columns=list(DIAGNOSTIC_COLUMNS))


def checks(subjects=("subj01",)):
    table = readings(subjects)
    return run_checks(None, table[table["diagnostic"].isin(["pairs", "novelty"])].query("setting != 'nearest 10'"))


def test_the_page_has_all_checks_with_their_sentences_folded_away():
    two = ("subj01", "subj02")
    html = report(contents(subject(), subject("subj02"), diagnostics=readings(two), checks=checks(two)))
    words = Page(html).words
    assert "Diagnostics: image-specific or category-level?" in words
    for said in (
        "subj02",
        "within category decoded z: two-way identification within a category (background) is 80.0 % [70.0 %, 90.0 %], "
        "above chance (50.0 %).",
        "training similarity decoded c: the rank correlation of accuracy with similarity",
        "All 24 numbers",
    ):
        assert said in words
    section = html[html.index('id="diagnostics"') : html.index('id="decoders"')]
    assert section.count("<details>") == 4
    assert section.count("<svg") == 4
    assert "z: 2 80" in section  # a chart says its numbers to those who do not see it
    assert 'href="#diagnostics"' in html


def test_without_diagnostics_there_is_no_such_section():
    for nothing in (None, readings().iloc[:0]):
        assert "Diagnostics:" not in Page(report(contents(diagnostics=nothing))).words


def test_captions_that_a_prior_found_probable_stand_below_their_image():
    probable = tuple(((0.625, f"a <red> boat {k}"), (0.25, "a tree")) for k in range(N))
    page = report(contents(subject(probable=probable)))
    assert "Most probable captions: <b>0.62</b> a &lt;red&gt; boat" in page
    assert "Most probable captions" not in report(contents())
    with raises_with(ShapeError, where="probable", expected=N, found=1):
        subject(probable=probable[:1])


def test_the_page_allows_neither_scripts_nor_anything_from_elsewhere():
    page = report(contents())
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert "<script" not in page


def retrieval_table(*, value=0.5, low=0.3, size=N, permuted=0.1):
    compared = (
        ("z", "features", "", ("decoded", "true")),
        ("zc", "classifier", "late", ("reconstruction", "original")),
    )
    numbers = value, low, 0.7, 1 / size, permuted, N
    rows = [
        ("subj01", name, protocol, network, layer, f"top1@{size}", *sides, *numbers)
        for name, network, layer, named in compared
        for protocol in ("builtin", "mindeye2")
        for sides in (named, named[::-1])
    ]
    return pd.DataFrame(rows, columns=list(RETRIEVAL_COLUMNS))


def test_retrieval_is_next_to_chance_and_the_permuted_level_and_says_how_large_the_gallery_is():
    table = retrieval_table()
    table.loc[(table["protocol"] == "mindeye2") & (table["query"] == "original"), "value"] = 0.6125
    section = Page(report(contents(retrieval=table))).words.partition("top-1 accuracy in galleries of 12")[2]
    assert (
        "the most similar of 12 in 50 % of cases (95 % interval 30 % to 70 %). This is above chance (8 %)." in section
    )
    assert "permuted labels reach 10 %." in section
    assert "Here a gallery has all 12 test stimuli, and its accuracy cannot be compared with theirs." in section
    assert "Chance: 1 / 12 = 8 %" in section
    *others, last = re.findall(r"\.\d\d .30 to .70 · permuted .10", section)
    assert [last[:3], {each[:3] for each in others}, len(others)] == [".61", {".50"}, 7]  # in the last of four columns
    assert "the classifier late" in section


def test_retrieval_says_what_is_not_known_and_what_is_not_above_chance():
    table = retrieval_table(low=0.0, size=300, permuted=np.nan)
    words = Page(report(contents(retrieval=table))).words
    assert "not different from chance" in words
    assert "permuted, the same" not in words
    assert "cannot be compared" not in words
    assert "top-1 accuracy" not in Page(report(contents())).words
