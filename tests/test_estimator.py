"""scikit-learn's contract, kept without it."""

import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge

from reseen.estimator import Estimator


class Two(Estimator):
    def __init__(self, first=1, *, inner=None):
        self.first = first
        self.inner = inner


def test_parameters_are_the_arguments_and_those_of_inner_estimators():
    own = Two(3, inner=Ridge(alpha=2.0))
    assert own.get_params(deep=False) == {"first": 3, "inner": own.inner}
    assert own.get_params()["inner__alpha"] == 2.0
    assert own.set_params(first=5, inner__alpha=7.0) is own
    assert (own.first, own.inner.alpha) == (5, 7.0)
    with pytest.raises(ValueError, match="no parameter 'second'; it has first, inner"):
        own.set_params(second=1)


def test_scikit_learn_clones_it():
    own = Two(3, inner=Ridge(alpha=2.0))
    copy = clone(own)
    assert copy is not own
    assert copy.inner is not own.inner
    assert copy.inner.alpha == 2.0
