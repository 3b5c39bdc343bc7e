"""Maps of a finished run are those of its report."""

from dataclasses import replace

import numpy as np
import pytest
from encoding_results import encoding_recipe, write_encoding

from reseen.cortical import cortical_maps
from reseen.errors import DataError, ResultsError
from reseen.finished import Results
from reseen.pipeline.context import Run
from reseen.pipeline.maps import maps_to_report
from reseen.results import ResultsFolder


@pytest.fixture
def mapped(simulated_tree, tmp_path):
    """A simulated subject's part of a run whose encoding models have just been scored."""
    with ResultsFolder.open(tmp_path / "results", encoding_recipe(simulated_tree)) as results:
        yield write_encoding(Run(results.recipe, results).subject("subj01"))


def test_the_maps_of_a_finished_run_are_those_of_its_report(mapped):
    reported, _ = maps_to_report(mapped)
    found = Results.read(mapped.results.path).maps()
    assert (found.names, found.layers, found.region_names) == (reported.names, reported.layers, reported.region_names)
    for quantity in ("values", "significant", "winners"):
        expected = getattr(reported, quantity)
        assert set(getattr(found, quantity)) == set(expected)
        for name, sides in getattr(found, quantity).items():
            assert all(np.array_equal(sides[side], expected[name][side], equal_nan=True) for side in ("lh", "rh"))


def test_a_run_without_encoding_models_has_no_maps(mapped):
    mapped.results.encode_path("subj01").unlink()
    with pytest.raises(ResultsError, match="has no encoding models of subj01"):
        Results.read(mapped.results.path).maps()


def test_voxels_without_a_place_are_refused(mapped):
    nowhere = replace(mapped.trials, voxel_index=None, volume_shape=None)
    with pytest.raises(DataError, match="no place in a volume"):
        cortical_maps(mapped.results, "subj01", mapped.run.data, nowhere)
