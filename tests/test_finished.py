"""A finished run is read from Python: scores, images, decoded features and decoders."""

import numpy as np
import pytest

import reseen
from reseen import pipeline
from reseen.datasets import open_subject
from reseen.errors import ResultsError
from reseen.finished import Results
from reseen.recipe import with_changes
from reseen.results import ResultsFolder
from reseen.tables import IMAGE_LEVELS

pytestmark = pytest.mark.filterwarnings("ignore")


def facts(read):
    """Return the fields of the error that is raised."""
    with pytest.raises(ResultsError) as raised:
        read()
    return raised.value.where, raised.value.expected, raised.value.found


def test_images_are_those_of_the_files_in_the_order_of_the_decoded_features(finished, small_recipe):
    results = reseen.Results.read(finished)
    images, ids = results.images("c"), results.decoded("c").stimulus_id
    assert images.shape[:2] == (len(ids), small_recipe.reconstruct.n_samples)
    for item in (0, len(ids) - 1):
        path = results.image_path("subj01", "result", "c", int(ids[item]), 1)
        np.testing.assert_array_equal(images[item, 1], ResultsFolder.read(finished).load_image(path))
    assert results.images("z").shape[1] == 1
    np.testing.assert_array_equal(results.images(), results.images("zc"))


def test_a_decoder_of_a_run_predicts_the_features_that_the_run_decoded(finished, small_recipe):
    results = Results.read(finished)
    subject = open_subject(small_recipe.data, "subj01")
    found = results.decoder("z").predict(subject.test)
    np.testing.assert_allclose(found.array, results.decoded("z").array, atol=1e-6)
    assert results.decoder("z").feature_ == "z"
    one = subject.trials.select(found.stimulus_id[:1]).take(np.array([0]))
    assert results.decoder("z").predict(one).array.shape == (1, *found.array.shape[1:])


def test_the_scores_of_a_run_have_the_headline_of_its_report(finished):
    results = Results.read(finished)
    assert f"{results.scores.headline('zc').value:.3f}"
    assert len(repr(results).splitlines()) <= 6
    assert "report.html" in results._repr_html_()
    assert (results == results) is True
    assert isinstance(hash(results), int)


def test_results_that_a_run_did_not_write_are_named(finished, small_recipe, tmp_path):
    results = Results.read(finished)
    assert facts(lambda: results.images("cz")) == ("condition", ("z", "c", "zc"), "cz")
    assert facts(lambda: results.decoded("z", "subj09")) == ("subject", ("subj01",), "subj09")
    assert facts(lambda: results.images("z", level="nosuch")) == ("level", IMAGE_LEVELS, "nosuch")
    assert facts(lambda: results.images("z", level="chance_mean")) == ("level", None, "chance_mean")
    where, *_ = facts(lambda: results.decoder("z", fold=7))
    assert where == results.decode_path("subj01", "z_fold7")
    pipeline.run(with_changes(small_recipe, {"data.subjects": ["subj01"]}), tmp_path, until="extract")
    assert facts(lambda: Results.read(tmp_path).decoded("z")) == ("feature", None, "z")
