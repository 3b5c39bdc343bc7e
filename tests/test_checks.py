"""The table of checks: statuses, thresholds and sentences, by made-up tables of scores and diagnostics."""

import io
import string

import numpy as np
import pandas as pd
import pytest

from reseen.checks import CHECK_COLUMNS, CHECKS, STATUSES, Number, count_statuses
from reseen.evaluate import COLUMNS, DIAGNOSTIC_COLUMNS, evaluate, run_checks
from reseen.networks import Panel
from reseen.protocols import PROTOCOLS
from reseen.recipe import EvaluateRecipe


def headline_rows(
    condition, value, spread=0.02, subject="s", layer="late", subset="all", shuffled=0.51, protocol="builtin", half=0.06
):
    where = (subject, condition, protocol, "identification", "classifier", layer, "original", subset)
    return [
        (*where, "result", value, value - spread, value + spread, 100),
        (*where, "mismatched", 0.5, 0.44, 0.56, 100),
        (*where, "permuted", shuffled, max(shuffled - half, 0), min(shuffled + half, 1), 100),
        (*where[:3], "identification_null_sd", *where[4:], "result", 0.03, np.nan, np.nan, 100),
    ]


def table(*parts):
    return pd.DataFrame([row for part in parts for row in part], columns=list(COLUMNS))


def checked(*parts, **options):
    return run_checks(table(*parts), None, **({"stimuli": "scenes", "n_permutations": 3} | options))


def the(checks, check, setting=""):
    found = checks[(checks["check"] == check) & (checks["setting"] == setting)]
    assert len(found) == 1, (check, setting, checks[["check", "setting"]])
    return found.iloc[0]


CONDITIONS = (
    headline_rows("z", 0.6),
    headline_rows("c", 0.79),
    headline_rows("zc", 0.8),
    headline_rows("nearest_z", 0.55),
    headline_rows("nearest_c", 0.7),
    headline_rows("z", 0.9, layer="early"),
    headline_rows("zc", 0.8, layer="early"),
    headline_rows("zc", 0.85, subset="seen"),
    headline_rows("zc", 0.75, subset="novel"),
)


def test_every_check_has_a_question_and_its_texts_have_known_names():
    for name, check in CHECKS.items():
        assert check.question.endswith("?"), name
        for text in (check.measure, check.reference, *check.notes.values()):
            names = {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
            assert names <= {"setting", "count", "others", "ties", "between", "alone", "every", "random", "less"}, name
    for text in STATUSES:
        assert text in count_statuses([])


def test_the_checks_of_scores_compare_the_headline_with_all_that_it_has_to_exceed():
    found = checked(*CONDITIONS)
    assert tuple(found.columns) == CHECK_COLUMNS
    whole = the(found, "identification")
    assert (whole["status"], whole["value"], whole["chance"]) == ("pass", 0.8, 0.5)
    assert whole["threshold"] == pytest.approx(0.59)
    assert whole["n"] == 100
    assert whole["sentence"] == (
        "zc images (classifier, layer late): two-way identification is 80.0 % [78.0 %, 82.0 %], above chance (50.0 %)."
    )
    assert the(found, "one condition", "z")["status"] == "pass"
    level = the(found, "one condition", "c")
    assert level["status"] == "warn"
    assert level["sentence"].endswith("is 80.0 % [78.0 %, 82.0 %], level with c alone (79.0 %).")
    nearest = the(found, "retrieval", "c")  # the better one of the two
    assert nearest["status"] == "pass"
    assert "above the training images nearest to decoded c (70.0 %)" in nearest["sentence"]
    novel = the(found, "novel combinations")
    assert novel["status"] == "warn"
    assert (
        "of novel combinations is 75.0 % [73.0 %, 77.0 %], below images like the training images (85.0 %)"
        in (novel["sentence"])
    )
    assert {"of seen images", "of novel images"} <= set(found["setting"])
    permuted = the(found, "permuted labels", "classifier late")
    assert permuted["status"] == "pass"
    assert permuted["sentence"] == (
        "z images: two-way identification by classifier late, of decoders fitted on 3 permutations of the "
        "labels, is 51.0 % "
        "[45.0 %, 57.0 %], level with chance (50.0 %), as are all 7 identifications."
    )


@pytest.mark.parametrize(
    ("value", "status", "claim"),
    [
        (0.595, "pass", "above chance (50.0 %)."),
        (0.57, "warn", "hardly above chance (50.0 %); it passes from 59.0 %."),
        (0.52, "fail", "not above chance (50.0 %); it passes from 59.0 %."),
    ],
)
def test_no_check_claims_more_than_the_spread_at_chance_allows(value, status, claim):
    row = the(checked(headline_rows("zc", value)), "identification")
    assert row["status"] == status
    assert row["sentence"].endswith(f"], {claim}")


def test_a_number_without_a_spread_at_chance_never_passes():
    assert Number(0.9, 0.8, 1.0, 0.5, np.nan, 3).by_chance() == ("fail", "not above")
    assert Number(0.9, 0.8, 1.0, 0.5, 0.0, 3).by_chance() == ("fail", "not above")


def test_a_threshold_above_one_says_that_there_are_too_few_images():
    rows = [(*row[:8], *row[8:9], row[9] * 7 if "null_sd" in row[3] else row[9], *row[10:]) for row in CONDITIONS[2]]
    assert the(checked(rows), "identification")["sentence"].endswith("(50.0 %); 100 images are too few to pass.")


def test_worse_than_retrieval_fails():
    found = checked(headline_rows("zc", 0.6), headline_rows("nearest_z", 0.8), headline_rows("z", 0.8))
    assert the(found, "retrieval", "z")["status"] == the(found, "one condition", "z")["status"] == "fail"
    assert "below the training images nearest to decoded z (80.0 %)" in the(found, "retrieval", "z")["sentence"]


def test_a_permuted_level_above_chance_fails_as_a_leak():
    row = the(checked(headline_rows("zc", 0.8, shuffled=0.65)), "permuted labels", "classifier late")
    assert row["status"] == "fail"
    assert "of 3 permutations" not in row["sentence"]
    assert row["sentence"].endswith("is 65.0 % [59.0 %, 71.0 %], ABOVE chance (50.0 %): check for a leak.")


def test_a_permuted_level_below_chance_is_no_leak():
    row = the(checked(headline_rows("zc", 0.8, shuffled=0.2)), "permuted labels", "classifier late")
    assert row["status"] == "warn"
    assert row["sentence"].endswith("below chance (50.0 %).")


def test_where_a_tie_loses_the_check_says_why_images_that_are_alike_score_nothing():
    rows = headline_rows("zc", 0.8, shuffled=0.0, half=0.01, protocol="takagi2023")
    row = the(checked(rows), "permuted labels", "classifier late")
    assert row["sentence"].endswith(
        "is 0.0 % [0.0 %, 1.0 %], below chance (50.0 %), where ties lose and images that are all alike score 0."
    )


def test_every_layer_that_is_printed_is_compared_with_chance_and_named_where_it_differs():
    late, early = headline_rows("zc", 0.8), headline_rows("zc", 0.8, layer="early", shuffled=0.25)
    found = checked(late, early)
    found = found[found["check"] == "permuted labels"]
    assert list(found["setting"]) == ["classifier early"]
    assert found["status"].item() == "warn"


def test_permutations_that_disagree_pass_and_one_alone_warns():
    wide = the(
        checked(headline_rows("zc", 0.8, shuffled=0.35, half=0.4), n_permutations=2),
        "permuted labels",
        "classifier late",
    )
    assert (wide["status"], wide["value"]) == ("pass", 0.35)
    assert "as are all" not in wide["sentence"]
    one = the(
        checked(headline_rows("zc", 0.8, shuffled=0.35, half=np.nan), n_permutations=1),
        "permuted labels",
        "classifier late",
    )
    assert one["status"] == "warn"
    assert (
        "fitted on 1 permutation of the labels, is 35.0 %, not enough to distinguish a leak from chance"
        in (one["sentence"])
    )


def test_two_permutations_that_agree_by_chance_are_no_leak():
    near = checked(headline_rows("zc", 0.8, shuffled=0.54, half=0.001), n_permutations=2)
    assert the(near, "permuted labels", "classifier late")["status"] == "pass"
    far = checked(headline_rows("zc", 0.8, shuffled=0.57, half=0.001), n_permutations=2)
    assert the(far, "permuted labels", "classifier late")["status"] == "fail"


def test_an_oracle_at_chance_fails_since_the_gap_closed_is_undefined():
    rows = headline_rows("zc", 0.8)
    at_chance = the(checked([*rows, (*rows[0][:8], "oracle", 0.5, 0.4, 0.6, 100)]), "oracle")
    assert at_chance["status"] == "fail"
    assert at_chance["sentence"].endswith(
        "(oracle) is 50.0 %, not above chance (50.0 %), so that the gap closed is undefined; it passes from 59.0 %."
    )
    gap = (*rows[0][:3], "identification_gap_closed", *rows[0][4:8], "result", 0.7, 0.6, 0.8, 100)
    assert the(checked([*rows, (*rows[0][:8], "oracle", 0.9, 0.8, 1, 100), gap]), "oracle")["status"] == "pass"


def test_images_generated_without_responses_are_compared_by_the_best_of_them():
    rows = headline_rows("zc", 0.6)
    floors = {"chance_mean": 0.5, "chance_noise": 0.55, "chance_random": 0.59}
    levels = [(*rows[0][:8], level, value, np.nan, np.nan, 100) for level, value in floors.items()]
    found = checked([*rows, *levels])
    row = the(found, "without responses", "z and c of random training images")
    assert (row["status"], row["chance"]) == ("fail", 0.59)  # the interval begins at .58
    assert (
        "NOT above images generated without responses, from z and c of random training images (59.0 %)"
        in (row["sentence"])
    )
    assert the(checked([*rows, *levels[:2]]), "without responses", "noise without a caption")["status"] == "pass"


def test_pixel_scores_are_compared_with_one_image_for_all():
    where = ("s", "zc", "builtin", "pixcorr", "", "", "", "all")
    rows = [(*where, "result", 0.3, 0.25, 0.35, 100), (*where, "chance_mean", 0.32, np.nan, np.nan, 100)]
    row = the(checked(rows), "one image for all", "pixel correlation")
    assert row["status"] == "warn"
    assert row["sentence"] == (
        "zc images: pixel correlation is 0.30 [0.25, 0.35], by its interval NOT above one image for all, from the mean "
        "z and c (0.32)."
    )
    rows[1] = (*where, "chance_mean", 0.2, np.nan, np.nan, 100)
    assert the(checked(rows), "one image for all", "pixel correlation")["status"] == "pass"


def test_the_checks_are_of_every_subject_and_the_same_from_a_csv_file():
    scores = table(*CONDITIONS, headline_rows("zc", 0.7, subject="t"))
    found = run_checks(scores, None, stimuli="scenes", n_permutations=3)
    assert list(dict.fromkeys(found["subject"])) == ["s", "t"]
    again = pd.read_csv(io.StringIO(scores.to_csv(index=False)))
    pd.testing.assert_frame_equal(run_checks(again, None, stimuli="scenes", n_permutations=3), found)


class Projection:
    """Compute activations by a fixed random projection."""

    name, fingerprint, layers = "classifier", "none", ("late",)

    def activations(self, images):
        flat = images.reshape(len(images), -1).astype(np.float32) / 255
        weights = np.random.default_rng(1).normal(size=(flat.shape[1], 40)).astype(np.float32)
        return {"late": flat @ weights}


def test_one_image_for_all_stimuli_fails_without_a_nan_in_its_sentence():
    truth = np.random.default_rng(0).integers(0, 256, (14, 16, 16, 3), dtype=np.uint8)
    images = {("result", "zc"): np.full((14, 1, 16, 16, 3), 127, np.uint8), ("oracle", "zc"): truth[:, None]}
    few = EvaluateRecipe(n_derangements=60, n_bootstrap=80)
    panels = [Panel(PROTOCOLS["builtin"], (Projection(),))]
    found = run_checks(evaluate("s", truth, np.arange(14), images, panels, {}, few, 0), None)
    row = the(found, "identification")
    assert row["status"] == "fail"
    assert "is 50.0 % [50.0 %, 50.0 %], not above chance (50.0 %)" in row["sentence"]
    assert "nan" not in " ".join(found["sentence"])


def test_without_scores_and_without_diagnostics_there_are_no_checks():
    assert run_checks(None, None).empty
    assert run_checks(table(), pd.DataFrame(columns=list(DIAGNOSTIC_COLUMNS))).empty
    assert tuple(run_checks(None, None).columns) == CHECK_COLUMNS


# ------------------------------------------------------------------------------------------------ diagnostics


def of_diagnostics(rows, *, network="", feature="c", scores=None, **options):
    """Return the checks of diagnostics: (diagnostic, setting) -> value, low, high, chance, sd at chance."""
    listed = [("s", feature, network, *key, *numbers, 0.01, 20) for key, numbers in rows.items()]
    return run_checks(scores, pd.DataFrame(listed, columns=list(DIAGNOSTIC_COLUMNS)), **options)


def within(value, high):
    return {
        ("n_way", "2"): (0.9, 0.85, 0.95, 0.5, 0.04),
        ("pairs", "between scene"): (0.96, 0.9, 0.99, 0.5, 0.04),
        ("pairs", "within scene"): (value, 0.4, high, 0.5, 0.15),
        ("pairs", "scene alone"): (0.91, 0.85, 0.95, np.nan, np.nan),
    }


@pytest.mark.parametrize(
    ("value", "high", "status"),
    [(0.5, 0.6, "fail"), (0.7, 0.85, "warn"), (0.5, 0.74, "warn"), (0.9, 0.97, "warn"), (0.97, 0.99, "pass")],
)
def test_few_pairs_within_a_category_are_no_proof_that_nothing_is_there(value, high, status):
    row = the(of_diagnostics(within(value, high)), "within category", "scene")
    assert row["status"] == status
    assert ("the category, not the image, is decoded" in row["sentence"]) == (status == "fail")
    assert ("too little to show more than the category" in row["sentence"]) == (status == "warn")


def test_the_sentence_of_category_level_decoding_has_what_the_category_alone_would_give():
    sentence = the(of_diagnostics(within(0.5, 0.6)), "within category", "scene")["sentence"]
    assert sentence.startswith(
        "decoded c: two-way identification within a category (scene) is 50.0 % [40.0 %, 60.0 %], not above chance "
        "(50.0 %): the category, not the image, is decoded (between categories 96.0 %; the category alone would give "
        "91.0 % of all pairs, of which 90.0 % are identified)"
    )


@pytest.mark.parametrize(("value", "status"), [(0.05, "pass"), (0.1, "warn"), (0.49, "warn"), (0.5, "fail")])
def test_near_duplicates_of_training_images_warn_and_fail(value, status):
    row = the(of_diagnostics({("novelty", "near duplicates"): (value, 0, 1, np.nan, np.nan)}), "near duplicates")
    assert (row["status"], row["threshold"]) == (status, 0.1)
    assert ("is no reconstruction of new ones" in row["sentence"]) == (status != "pass")
    assert "nan" not in row["sentence"]


@pytest.mark.parametrize(("value", "status"), [(0.1, "pass"), (0.4, "warn"), (-0.4, "pass")])
def test_accuracy_that_follows_similarity_to_training_images_warns(value, status):
    row = the(of_diagnostics({("novelty", "accuracy"): (value, -1, 1, 0.01, 0.1)}), "training similarity")
    assert row["status"] == status
    assert f"is {value:.2f} [-1.00, 1.00]" in row["sentence"]
    assert of_diagnostics({("novelty", "accuracy"): (np.nan, np.nan, np.nan, 0, 0.1)}).empty


@pytest.mark.parametrize(
    ("clusters", "lost_low", "status", "said"),
    [
        (0.8, -0.1, "pass", "above chance (50.0 %), with as many images left out at random 82.0 %."),
        (0.8, 0.01, "warn", "above chance (50.0 %), less than with as many images left out at random 82.0 %"),
        (0.62, -0.1, "warn", "hardly above chance (50.0 %), with as many"),
        (0.5, 0.2, "fail", "not above chance (50.0 %), less than with as many"),
        (0.5, -0.1, "fail", "not above chance (50.0 %), with as many"),
    ],
)
def test_a_cluster_left_out_of_the_training_shows_whether_only_clusters_are_known(clusters, lost_low, status, said):
    rows = {
        ("left_out", "clusters"): (clusters, 0.4, 0.9, 0.5, 0.05),
        ("left_out", "at random"): (0.82, 0.7, 0.9, 0.5, 0.05),
        ("left_out", "lost"): (0.82 - clusters, lost_low, 0.5, np.nan, np.nan),
    }
    found = of_diagnostics(rows)
    assert list(found["check"]) == ["left-out cluster"]
    assert found["status"].item() == status
    assert said in found["sentence"].item()


def test_images_are_named_with_what_compared_them_and_the_headline_is_checked_once():
    rows = {("n_way", "2"): (0.8, 0.7, 0.9, 0.5, 0.03), ("n_way", "all"): (0.2, 0.1, 0.3, 0.01, 0.02)}
    rows[("samples", "one")] = (0.7, 0.6, 0.8, 0.5, 0.03)
    scores = table(headline_rows("zc", 0.8))
    options = {"feature": "zc images", "scores": scores, "stimuli": "scenes"}
    same = of_diagnostics(rows, network="classifier, layer late", **options)
    assert the(same, "identification")["value"] == 0.8
    assert the(same, "single sample")["sentence"].startswith(
        "zc images (classifier, layer late): two-way identification by one"
    )
    assert "identification among all test images is 20.0 % [" in the(same, "all test images")["sentence"]
    other = of_diagnostics(rows, network="pixel correlation", **options)
    own = other[(other["check"] == "identification") & (other["setting"] == "")]
    assert list(own["feature"]) == ["zc images (classifier, layer late)", "zc images (pixel correlation)"]
