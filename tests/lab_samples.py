"""The folder of sample layouts, next to the clone, for tests that read them as a person does."""

from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "shared/samples"
with_samples = pytest.mark.skipif(not SAMPLES.exists(), reason="the samples of layouts are not next to this clone")
