"""Outline of a subject: trials, split and stimuli, without betas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reseen.split import Split
from reseen.stimuli import Stimuli
from reseen.subject import Subject
from reseen.trials import Trials


@dataclass(frozen=True, eq=False)
class Outline:
    """Trials, split and stimuli of one subject, without responses.

    Parameters
    ----------
    stimulus_id
        Shape ``(n_trials,)``, 0-based: the stimulus of each trial of the sessions that are read.
    split
        Training and test stimuli.
    n_voxels
        Number of voxels of each ROI that is read.
    n_read
        Number of voxels of their union.
    volume_shape
        Shape of the voxels' volume (of fsaverage ``(2, 163842, 1)``); None if they have none.
    stimuli
        The images and captions; None if they are not drawn yet.
    space, affine
        Name of the voxels' space, and ``(4, 4)`` from voxels to millimetres, as in `reseen.Trials`.
    sample
        Function that reads some voxels of all trials; it returns None if that takes as long as reading all voxels. None
        for data whose labels are checked when they are loaded, or that are not simulated yet.
    note
        Counts of the trials that the recipe chooses, for `reseen check`; empty if it takes all.
    """

    stimulus_id: NDArray[np.int64]
    split: Split
    n_voxels: Mapping[str, int]
    n_read: int
    volume_shape: tuple[int, int, int] | None
    stimuli: Stimuli | None
    sample: Callable[[], Trials | None] | None = None
    note: str = ""
    space: str = ""
    affine: NDArray[np.float64] | None = None

    @property
    def used(self) -> NDArray[np.int64]:
        """Ids of the training and test stimuli, ascending."""
        return self.split.used


class Overview(NamedTuple):
    """Own data of one subject that were opened once: for their check, and for the run that follows.

    Parameters
    ----------
    describe
        Function that returns the contents of the data in words, for `reseen check`.
    open
        Function that returns the subject and its outline. It raises a RecipeError if the split is impossible.
    is_read
        Whether the responses were read. Responses that take long to estimate are not.
    """

    describe: Callable[[], str]
    open: Callable[[], tuple[Subject, Outline]]
    is_read: bool = True


def outline_read(subject: Subject) -> Outline:
    """Return the outline of a subject whose responses are read, now if not before."""
    trials = subject.trials
    return Outline(
        trials.stimulus_id,
        subject.split,
        {roi: int(mask.sum()) for roi, mask in trials.rois.items()},
        trials.betas.shape[1],
        trials.volume_shape,
        subject.stimuli,
        space=trials.space,
        affine=trials.affine,
    )
