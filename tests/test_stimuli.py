"""Images and captions by stimulus id."""

import numpy as np
import pytest

from reseen.errors import DataError
from reseen.stimuli import Stimuli


def make_stimuli(asked: list[int] | None = None) -> Stimuli:
    def read_image(stimulus_id: int) -> np.ndarray:
        if asked is not None:
            asked.append(stimulus_id)
        return np.full((4, 6, 3), stimulus_id, dtype=np.uint8)

    return Stimuli(read_image, lambda i: [f"number {i}"] * (i % 2), [2, 5, 9], subsets={"novel": frozenset({9})})


def test_images_come_in_the_order_asked_for_and_may_repeat() -> None:
    found = make_stimuli().images([9, 2, 9])
    assert found.shape == (3, 4, 4, 3)  # the middle square
    assert found[:, 0, 0, 0].tolist() == [9, 2, 9]


def test_nothing_is_read_before_it_is_asked_for() -> None:
    asked: list[int] = []
    stimuli = make_stimuli(asked)
    stimuli.captions(5)
    assert asked == []
    stimuli.image(5)
    assert asked == [5]


def test_captions_are_a_tuple_and_may_be_none() -> None:
    assert make_stimuli().captions(5) == ("number 5",)
    assert make_stimuli().captions(2) == ()


def test_numpy_ids_are_ids() -> None:
    assert make_stimuli().image(np.int64(5)).max() == 5


@pytest.mark.parametrize("wanted", [0, 3, 10, -1])
def test_unknown_stimulus_is_refused(wanted: int) -> None:
    with pytest.raises(DataError, match=rf"no stimulus {wanted}; this data set contains 3 images .* from 2 to 9"):
        make_stimuli().image(wanted)
    with pytest.raises(DataError, match="no stimulus"):
        make_stimuli().captions(wanted)
