import base64
import dataclasses
import io
import json
import os
import re
import warnings
from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from browser import Browser, find_chromium
from fields import raises_with
from PIL import Image

from reseen import cli, pipeline
from reseen.errors import DataError, RecipeError, ResultsError
from reseen.raters import CATCH, PRESENTED, Answers, Design, draw_design, page, read_answers, score_answers
from reseen.raters.page import shown

CONDITIONS = ("z", "c", "zc")
REQUIRED = os.environ.get("RESEEN_BROWSER") == "required"


def some_design(n_images=9, n_raters=6, n_catch=3, seed=0, subjects=("subj01",), conditions=CONDITIONS):
    stimuli = {subject: 10 * np.arange(1, n_images + 1) for subject in subjects}
    options = {"n_raters": n_raters, "n_catch": n_catch, "seed": seed, "results": "run", "images": "sha"}
    return draw_design(stimuli, conditions, **options)


def answered(design, rater, right):
    """Answer a sheet; ``right`` says of a question whether the rater gets it right."""
    other = {"left": "right", "right": "left"}
    sides = [q.side if right(q) else other[q.side] for q in design.sheets[rater - 1]]
    return {
        "format": "reseen raters 1",
        "design": design.fingerprint,
        "rater": rater,
        "answers": [{"side": side, "seconds": 1.5} for side in sides],
    }


def saved(path, answers):
    path.write_text(json.dumps(answers), encoding="utf-8")
    return path


def chosen(design, rater, right):
    """The same as `answered`, as it is read back."""
    answers = answered(design, rater, right)["answers"]
    return Answers(None, rater, tuple(a["side"] for a in answers), tuple(a["seconds"] for a in answers))


def every_time(_question):
    return True


def table_row(table, **words):
    for column, word in words.items():
        table = table[table[column] == word]
    assert len(table) == 1
    return table.iloc[0]


class TestDesign:
    @pytest.mark.parametrize("subjects", [("subj01",), ("subj01", "subj02")])
    @pytest.mark.parametrize("n_images", [2, 9, 20])
    def test_every_image_is_once_the_original_and_once_the_distractor(self, n_images, subjects):
        ids = 10 * np.arange(1, n_images + 1)
        for sheet in some_design(n_images, subjects=subjects).sheets:
            assert len(sheet) == n_images * 3 * len(subjects) + 3
            for cell in {(q.subject, q.condition) for q in sheet} - {(s, CATCH) for s in subjects}:
                asked = [q for q in sheet if (q.subject, q.condition) == cell]
                assert sorted(q.stimulus_id for q in asked) == ids.tolist()
                assert sorted(q.distractor for q in asked) == ids.tolist()
                assert abs(sum(1 if q.side == "left" else -1 for q in asked)) <= 1
            assert all(q.stimulus_id != q.distractor for q in sheet)

    def test_an_original_comes_back_only_after_the_others_and_with_conditions_mixed(self):
        for sheet in some_design(12, n_raters=20, n_catch=0).sheets:
            for start in range(0, 36, 12):
                turn = sheet[start : start + 12]
                assert len({q.stimulus_id for q in turn}) == 12
                assert set(Counter(q.condition for q in turn).values()) == {4}
            assert all(a.stimulus_id != b.stimulus_id for a, b in pairwise(sheet))

    def test_sides_and_orders_are_balanced_over_raters(self):
        sheets = some_design(10, n_raters=200, n_catch=4).sheets
        lefts = np.mean([[q.side == "left" for q in sheet] for sheet in sheets], axis=0)
        assert np.abs(lefts - 0.5).max() < 0.2  # at every place of the order; the standard deviation is .035
        first = Counter(sheet[0].condition for sheet in sheets)
        assert min(first.values()) > 40

    def test_a_seed_gives_one_design_and_another_seed_another(self):
        assert some_design() == some_design()
        assert some_design().fingerprint != some_design(seed=1).fingerprint
        assert len({str(sheet) for sheet in some_design().sheets}) == 6

    def test_the_fingerprint_depends_on_the_run_and_on_the_images(self):
        design = some_design()
        other = [dataclasses.replace(design, **change) for change in ({"results": "x"}, {"images": "x"})]
        assert len({design.fingerprint, *(one.fingerprint for one in other)}) == 3

    def test_it_is_read_back_as_it_was_saved_and_not_written_over(self, tmp_path):
        path = tmp_path / "raters/design.json"
        some_design().save(path)
        assert some_design().save(path) == Design.load(path) == some_design()
        with raises_with(
            ResultsError, where=path, expected=some_design().fingerprint, found=some_design(seed=1).fingerprint
        ):
            some_design(seed=1).save(path)

    def test_the_same_questions_are_the_same_test_after_the_folder_was_scored(self, tmp_path):
        path = tmp_path / "raters/design.json"
        first = some_design().save(path)
        assert dataclasses.replace(first, results="scored since").save(path) == first == Design.load(path)
        with raises_with(ResultsError, where=path, expected=first.fingerprint):
            dataclasses.replace(first, images="others").save(path)

    def test_one_that_is_missing_or_changed_is_refused(self, tmp_path):
        path = tmp_path / "out/raters/design.json"
        with pytest.raises(ResultsError, match=f"reseen raters {tmp_path / 'out'}"):
            Design.load(path)
        some_design().save(path)
        path.write_text(path.read_text().replace('"left"', '"right"', 1))
        with pytest.raises(DataError, match="was changed") as refused:
            Design.load(path)
        assert (refused.value.where, refused.value.expected) == (path, some_design().fingerprint)
        path.write_text("{}")
        with pytest.raises(DataError, match=r"does not contain the expected JSON.*again from the same seed"):
            Design.load(path)


class TestScores:
    def test_planted_raters_get_their_accuracies(self):
        design = some_design(12)
        given = [chosen(design, rater, lambda q: q.condition in ("zc", CATCH)) for rater in (1, 2, 5)]
        table = score_answers(design, given)
        for condition, value in (("z", 0), ("c", 0), ("zc", 1)):
            row = table_row(table, statistic="accuracy", condition=condition)
            assert (row[["value", "low", "high"]] == value).all()
            assert (row["n_raters"], row["n_images"]) == (3, 12)
            assert row["p"] == pytest.approx(2 / 2**12)
            assert row["p_holm"] == pytest.approx(6 / 2**12)
        assert table_row(table, statistic="difference", condition="zc", against="z")["value"] == 1
        assert table_row(table, statistic="difference", condition="c", against="z")["p"] == 1
        assert table_row(table, statistic="rater_accuracy", rater=5)["value"] == pytest.approx(1 / 3)
        assert table_row(table, statistic="rater_catch", rater=2)["value"] == 1
        assert table_row(table, statistic="rater_seconds", rater=1)["value"] == 1.5

    def test_the_signed_rank_test_is_scipys_over_images(self):
        from scipy.stats import PermutationMethod, wilcoxon

        design, rng = some_design(12), np.random.default_rng(0)
        right = {rater: {q: rng.random() < {"z": 0.55, "c": 0.7, "zc": 0.8}.get(q.condition, 1) for q in sheet}
                 for rater, sheet in enumerate(design.sheets, start=1)}  # fmt: skip
        table = score_answers(design, [chosen(design, rater, known.get) for rater, known in right.items()])
        each = pd.DataFrame(
            [(q.condition, q.stimulus_id, ok) for known in right.values() for q, ok in known.items()],
            columns=["condition", "image", "right"],
        )
        means = each.groupby(["condition", "image"])["right"].mean().unstack("condition")
        row = table_row(table, statistic="difference", condition="zc", against="z")
        assert row["value"] == pytest.approx((means["zc"] - means["z"]).mean())
        every = PermutationMethod(n_resamples=2**12)  # with ties, scipy's own exact table does not hold
        expected = wilcoxon((means["zc"] - means["z"]).round(9), method=every).pvalue
        assert row["p"] == pytest.approx(expected)
        assert row["low"] < row["value"] < row["high"]

    def test_raters_who_guess_are_at_chance(self):
        rng = np.random.default_rng(3)
        found = []
        for seed in range(40):
            design = some_design(12, n_raters=4, seed=seed)
            given = [chosen(design, rater, lambda _q: rng.random() < 0.5) for rater in range(1, 5)]
            found.append(table_row(score_answers(design, given, n_bootstrap=200), statistic="accuracy", condition="z"))
        table = pd.DataFrame(found)
        assert table["value"].mean() == pytest.approx(0.5, abs=3 * np.sqrt(0.25 / 48 / 40))
        assert np.mean((table["low"] <= 0.5) & (table["high"] >= 0.5)) > 0.85
        assert np.mean(table["p"] < 0.05) < 0.15

    def test_p_is_valid_if_four_subjects_saw_the_same_images(self):
        """Some images are easy and some mislead, in all subjects alike: for all images there is nothing to find."""
        rng = np.random.default_rng(1)
        design = some_design(10, n_raters=2, n_catch=0, subjects=("a", "b", "c", "d"), conditions=("z", "zc"))
        found = []
        for _ in range(100):
            ease = {(cell, which): rng.choice([0.1, 0.9]) for cell in ("z", "zc") for which in range(10, 101, 10)}
            right = lambda q: rng.random() < ease[q.condition, q.stimulus_id]  # noqa: B023, E731
            table = score_answers(design, [chosen(design, rater, right) for rater in (1, 2)], n_bootstrap=2)
            found.append(table[table["p"].notna()].set_index("statistic"))
        table = pd.concat(found)
        limit = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)
        assert np.mean(table.query("condition == 'z'")["p"] <= 0.05) < limit
        assert np.mean(table.loc["difference", "p"] <= 0.05) < limit
        assert set(table["n_images"]) == {10}

    def test_subjects_are_also_compared(self):
        design = some_design(6, subjects=("subj01", "subj02"))
        table = score_answers(design, [chosen(design, 1, lambda q: q.subject == "subj02")])
        rows = table[(table["statistic"] == "accuracy") & (table["condition"] == "zc")].set_index("subject")["value"]
        assert rows.to_dict() == {"all": 0.5, "subj01": 0, "subj02": 1}


class TestAnswers:
    def test_files_are_read_in_the_order_of_raters(self, tmp_path):
        design = some_design()
        files = [saved(tmp_path / f"{rater}.json", answered(design, rater, every_time)) for rater in (4, 2)]
        found = read_answers(design, files)
        assert [answers.rater for answers in found] == [2, 4]
        assert found[0].sides == tuple(q.side for q in design.sheets[1])

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"format": "something else"}, "at format: input should be 'reseen raters 1'"),
            ({"rater": "one"}, "at rater: input should be a valid integer"),
            ({"rater": True}, "at rater"),
            ({"answers": [{"side": "up", "seconds": 1}] * 30}, "0 -> side: input should be 'left' or 'right'"),
            ({"answers": [{"side": ["left"], "seconds": 1}] * 30}, "one.json does not contain .*answers -> 0 -> side"),
            ({"answers": [{"seconds": 1}] * 30}, "answers -> 0 -> side: field required"),
            ({"answers": ["left"] * 30}, "at answers -> 0"),
            ({"answers": None}, "at answers: input should be a valid array"),
            *(
                ({"answers": [{"side": "left", "seconds": seconds}] * 30}, "answers -> 0 -> seconds")
                for seconds in (float("nan"), float("inf"), -1, 10**400, True, "2", None)
            ),
        ],
    )
    def test_a_file_of_another_form_is_refused(self, tmp_path, change, says):
        design = some_design()
        file = saved(tmp_path / "one.json", answered(design, 1, every_time) | change)
        with pytest.raises(DataError, match=says):
            read_answers(design, [file])

    @pytest.mark.parametrize(
        ("change", "expected", "found"),
        [
            ({"design": "0" * 64}, some_design().fingerprint, "0" * 64),
            ({"rater": 7}, 6, 7),
            ({"answers": [{"side": "left", "seconds": 1}] * 4}, 30, 4),
        ],
    )
    def test_answers_to_another_test_and_incomplete_answers_are_refused(self, tmp_path, change, expected, found):
        design = some_design()
        file = saved(tmp_path / "one.json", answered(design, 1, every_time) | change)
        with raises_with(DataError, where=file, expected=expected, found=found):
            read_answers(design, [file])

    def test_files_that_are_missing_incomplete_or_twice_of_one_rater_are_named(self, tmp_path):
        design = some_design()
        complete = answered(design, 1, every_time)
        first, second = (saved(tmp_path / name, complete) for name in ("a.json", "b.json"))
        with pytest.raises(DataError, match=r"a\.json and .*b\.json are both of rater 1"):
            read_answers(design, [first, second])
        first.write_text(first.read_text()[:200])
        with pytest.raises(DataError, match=r"a\.json does not contain the expected JSON.*saved, unchanged"):
            read_answers(design, [first])
        with pytest.raises(DataError, match=r"nosuch is missing"):
            read_answers(design, [tmp_path / "nosuch"])
        with raises_with(DataError, where="paths"):
            read_answers(design, [])


@pytest.fixture
def reseen(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["reseen", "raters", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as left:
            return left.code or 0, "".join(capsys.readouterr())
        return 0, "".join(capsys.readouterr())

    return call


# ------------------------------------------------------------------------------------------------ the page


def uri(colour):
    """An image of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def coloured(design):
    """Give each original a colour, its zc nearly the same, and every z one grey."""
    colours = {which: (which * 47 % 256, which * 89 % 256, which * 151 % 256) for which in range(60)}
    made = {
        PRESENTED: lambda c: c,
        "zc": lambda c: tuple(255 * (v + 9) // 270 for v in c),
        "z": lambda _c: (90, 90, 90),
    }
    every = {image for sheet in design.sheets for question in sheet for image in shown(question)}
    return {image: uri(made[image[1]](colours[image[2]])) for image in every}


@pytest.fixture
def folder(tmp_path):
    """A folder with a page for two raters: four images, of which zc tells and z does not, and one catch question."""
    design = some_design(4, n_raters=2, n_catch=1, conditions=("z", "zc"))
    design.save(tmp_path / "out/raters/design.json")
    html = page(design, coloured(design), title="a recipe")
    (tmp_path / "out/raters/index.html").write_text(html, encoding="utf-8")
    return tmp_path / "out"


def test_the_page_is_self_contained_and_has_no_answers(folder):
    html = (folder / "raters/index.html").read_text()
    assert re.findall(r"(?:https?:)?//[a-z]|\b(?:src|href)=", html) == []
    assert "default-src 'none'" in html
    held = json.loads(re.search(r'application/json">(.*)</script>', html).group(1))
    design = Design.load(folder / "raters/design.json")
    assert held["design"] == design.fingerprint
    assert set(held) == {"design", "title", "images", "sheets"}
    assert held["images"] == sorted(held["images"])
    assert [len(sheet) for sheet in held["sheets"]] == [9, 9]


EYE = """(() => {
  const look = (image) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.drawImage(image, 0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const images = ["#original", "#left img", "#right img"].map((name) => document.querySelector(name));
  const [above, left, right] = images.map(look);
  const far = (colour) => above.reduce((sum, value, k) => sum + (value - colour[k]) ** 2, 0);
  return far(left) <= far(right) ? "left" : "right";
})()"""
"""See what is on the page and nothing else: the colour nearer to the one above, and left where both are as near."""


@pytest.fixture
def browser(tmp_path):
    program = find_chromium()
    if program is None:
        say = pytest.fail if REQUIRED else pytest.skip
        say("there is no Chromium here; .ci/run installs it from Debian's packages")
    with Browser(program, tmp_path / "browser") as found:
        yield found


def test_a_rater_with_a_keyboard_answers_breaks_off_goes_on_and_is_scored(folder, browser, reseen):
    """The page in a real browser, driven by keys; its file is scored by the command line."""
    answer = {"left": ("ArrowLeft", "KeyF"), "right": ("ArrowRight", "KeyJ")}
    n_answers = "JSON.parse(localStorage.getItem(place(2))).answers.length"

    def ready(number):
        browser.wait_for(f"(asked !== null || seen('done')) && kept.answers.length === {number}")

    browser.open((folder / "raters/index.html").as_uri())
    browser.press("Digit2")  # the number field has the focus
    browser.press("Enter")
    browser.press("ArrowLeft")  # too early: no image is there yet
    ready(0)
    browser.press("ArrowLeft", held=True)  # a key that was never let go of
    for number in range(9):
        if number == 2:
            browser.press("Escape")
            assert browser.run("seen('pause') && part('so-far').textContent") == "2 of 9 questions are answered."
            browser.press("ArrowLeft")  # no answer in a break
            browser.press("Escape")
            ready(2)
        if number == 3:
            browser.reload()
            assert browser.run("part('number').value") == ""
            browser.press("Digit2")
            assert browser.run("part('progress-note').textContent") == "3 of 9 questions are answered already."
            browser.press("Enter")
            ready(3)
            assert browser.run("part('where').textContent") == "4 of 9"
        if number == 5:
            browser.click("#right" if browser.run(EYE) == "right" else "#left")
        else:
            browser.press(answer[browser.run(EYE)][number % 2])
        ready(number + 1)
        assert browser.run(n_answers) == number + 1
    file = browser.downloaded("*.json")
    assert re.fullmatch(r"reseen-raters-a-recipe-[0-9a-f]{8}-02\.json", file.name)
    assert browser.requests <= {"file", "data", "blob"}
    assert browser.errors == []

    answers = json.loads(file.read_text())
    assert all(0 < given["seconds"] < 60 for given in answers["answers"])
    assert answers["started"] < answers["saved"]
    code, out = reseen("score", folder, file)
    assert code == 0, out
    assert "Chance is one half" in out
    table = pd.read_csv(folder / "raters/raters.csv")
    assert table_row(table, statistic="accuracy", condition="zc")["value"] == 1
    assert table_row(table, statistic="accuracy", condition="z")["value"] == 0.5  # always left, and sides are balanced
    assert table_row(table, statistic="rater_catch", rater=2)["value"] == 1


def test_a_part_that_was_saved_is_named_as_incomplete(folder, browser):
    browser.open((folder / "raters/index.html").as_uri() + "?rater=1")
    browser.press("Enter")
    browser.wait_for("asked !== null")
    browser.click("#left")
    browser.wait_for("asked !== null && kept.answers.length === 1")
    browser.click("#break")
    browser.click("#save-part")
    with raises_with(DataError, expected=9, found=1):
        read_answers(Design.load(folder / "raters/design.json"), [browser.downloaded("*.json")])


# ------------------------------------------------------------------------------------------------ from a results folder


@pytest.fixture(scope="module")
def run(small_recipe, tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipeline.run(small_recipe, tmp_path_factory.mktemp("run"), until="reconstruct")


def test_the_command_page_may_be_left_out(run, reseen):
    code, out = reseen(run.path, "--images", 3, "--raters", 2, "--catch", 1)
    assert code == 0, out
    assert "10 questions per rater" in out
    html = (run.path / "raters/index.html").read_bytes()
    assert Design.load(run.path / "raters/design.json").results == run.fingerprint
    run.claim("network classifier", "as `evaluate` records it")
    assert reseen("page", run.path, "--images", 3, "--raters", 2, "--catch", 1)[0] == 0
    assert (run.path / "raters/index.html").read_bytes() == html
    code, out = reseen(run.path, "--images", 3, "--raters", 2, "--catch", 2)
    assert code == 1
    assert "contains another test" in out


def test_the_page_has_the_first_sample_of_each_image(run, tmp_path):
    html = (run.path / "raters/index.html").read_text()
    held = json.loads(re.search(r'application/json">(.*)</script>', html).group(1))
    design = Design.load(run.path / "raters/design.json")
    for question, places in zip(design.sheets[0], held["sheets"][0], strict=True):
        right = places[1 if question.side == "left" else 2]
        if question.condition == CATCH:
            assert right == places[0]
            continue
        found = Image.open(io.BytesIO(base64.b64decode(held["images"][right].partition(",")[2])))
        made = run.image_path("subj01", "result", question.condition, question.stimulus_id, 0)
        assert (np.asarray(found.convert("RGB")) == run.load_image(made)).all()


@pytest.mark.parametrize(
    ("options", "where", "expected", "found"),
    [
        ({"conditions": ["zz"]}, "conditions", ("z", "c", "zc"), "zz"),
        ({"n_images": 1}, "n_images", 2, 1),
        ({"n_raters": 0}, "n_raters", 1, 0),
        ({"data": None, "n_catch": -1}, "n_catch", 0, -1),
    ],
)
def test_a_test_with_impossible_numbers_is_refused(run, options, where, expected, found):
    with pytest.raises(RecipeError) as raised:
        pipeline.write_page(run, **options)
    error = raised.value
    assert (error.where, error.expected, error.found) == (where, expected, found)


def test_missing_images_are_named(small_recipe, tmp_path, reseen):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.run(small_recipe, tmp_path, until="decode")
    code, out = reseen(tmp_path)
    assert code == 1
    assert re.search(r"00000_0\.png does not exist yet", out)


def test_a_folder_without_results_is_refused(reseen, tmp_path):
    assert reseen(tmp_path) == (1, f"error: {tmp_path} is no results folder: it has no recipe.toml. "
                                   "Run a recipe into it first.\n")  # fmt: skip
    code, out = reseen("score", tmp_path, tmp_path / "a.json")
    assert code == 1
    assert "Write the page for raters first" in out
    assert reseen()[0] == 2
    assert "score" in reseen("--help")[1]
