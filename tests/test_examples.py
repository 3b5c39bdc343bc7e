"""The examples in docstrings run."""

import doctest
import inspect

import pytest

import reseen
from reseen import plot

WITH_EXAMPLES = [reseen.Scores, reseen.score, plot.images, plot.denoising, plot.scores, plot.flat_map]
"""Objects that must have an example; others are run where they have one."""


def examples(found):
    """Return the doctests of an object and of what it defines."""
    return [test for test in doctest.DocTestFinder().find(found) if test.examples]


def public_objects():
    for name in reseen.__all__:
        found = getattr(reseen, name)
        if inspect.ismodule(found):
            yield from (each for _, each in inspect.getmembers(found) if inspect.getmodule(each) is found)
        else:
            yield found


TESTS = [test for found in public_objects() if inspect.isclass(found) or callable(found) for test in examples(found)]


@pytest.mark.parametrize("found", WITH_EXAMPLES, ids=lambda found: found.__qualname__)
def test_what_users_call_has_an_example(found):
    assert examples(found)


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.name)
def test_the_examples_of_every_public_name_run(test, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert runner.run(test, out=said.append).failed == 0, "".join(said)
