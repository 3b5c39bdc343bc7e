"""Subject: the trials of one person, the images that were shown, and which of them are held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ShapeError
from reseen.split import Split
from reseen.stimuli import Stimuli
from reseen.trials import Trials


class Subject:
    """One subject: trials, stimuli and the split into training and test stimuli.

    Trials that are given as a function are read when they are first used.

    Parameters
    ----------
    trials
        Single trials, or a function without arguments that reads them.
    stimuli
        Images and captions of at least the stimuli that were shown.
    split
        Training and test stimuli. Left out: ``test`` decides.
    test
        Ids of the test stimuli; all others are training stimuli. Instead of ``split``.
    name
        Such as ``"subj01"``. Noise of reconstructions depends on it.
    columns
        Further columns of a lab's trial table, one text per trial; a run copies them into ``trials.csv``.

    Raises
    ------
    ShapeError
        If a stimulus that is used has no image, or nothing says how to split what is read later.

    Examples
    --------
    >>> import numpy as np
    >>> from reseen import Stimuli, Trials
    >>> rng = np.random.default_rng(0)
    >>> trials = Trials(rng.normal(size=(20, 30)), np.tile(np.arange(10), 2))
    >>> images = rng.integers(0, 256, size=(10, 64, 64, 3), dtype=np.uint8)
    >>> subject = Subject(trials, Stimuli(images), test=[7, 8, 9])
    >>> subject
    Subject: 7 training and 3 test stimuli
      Stimuli: 10 images without captions
      Trials: 20 trials of 10 stimuli, 30 voxels
    >>> len(subject.train), len(subject.test), subject.test_images.shape
    (14, 3, (3, 64, 64, 3))
    """

    def __init__(
        self,
        trials: Trials | Callable[[], Trials],
        stimuli: Stimuli,
        split: Split | None = None,
        *,
        test: ArrayLike | None = None,
        name: str | None = None,
        columns: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if split is not None and test is not None:
            raise ShapeError("split and test both say which stimuli are tested. Give one of them.")
        self._trials = trials
        self.stimuli = stimuli
        self.columns = dict(columns or {})
        if not isinstance(trials, Trials):
            if split is None:
                raise ShapeError("trials that are read later need a split.")
        elif test is not None:
            seen = np.unique(trials.stimulus_id)
            split = Split.fixed(np.setdiff1d(seen, test), test)
        self._split = split
        _check_shown(np.unique(trials.stimulus_id) if split is None else split.used, stimuli)  # type: ignore[union-attr]
        known_name = trials.subject if isinstance(trials, Trials) else ""
        self.name = known_name if name is None else name

    def __repr__(self) -> str:
        known = self._split if self._split is not None else "no test stimuli chosen"
        lines = [f"Subject{' ' * bool(self.name)}{self.name}: {str(known).removeprefix('Split: ')}", repr(self.stimuli)]
        read = isinstance(self._trials, Trials) or "trials" in vars(self)
        lines.append(repr(self.trials).splitlines()[0] if read else "Trials: read when they are first used")
        return "\n  ".join(lines)

    @cached_property
    def trials(self) -> Trials:
        """All single trials; they are read once."""
        return self._trials if isinstance(self._trials, Trials) else self._trials()

    @property
    def split(self) -> Split:
        """Training and test stimuli.

        Raises
        ------
        ShapeError
            If none were chosen.
        """
        if self._split is None:
            raise ShapeError(
                "which stimuli are held out? Give Subject the ids of test stimuli, test=[...], or folds: "
                "split=Split.leave_out(stimulus_id, n_folds=10, seed=0)."
            )
        return self._split

    @property
    def train(self) -> Trials:
        """Single trials of the training stimuli, where there is one fold."""
        self._only_fold()
        return self.trials.take(self.split.train_rows(0, self.trials.stimulus_id))

    @property
    def test(self) -> Trials:
        """Averages over the trials of each test stimulus, sorted by id, where there is one fold."""
        self._only_fold()
        return self.trials.take(self.split.test_rows(0, self.trials.stimulus_id)).average()

    @property
    def test_images(self) -> NDArray[np.uint8]:
        """Images of `test`, in its order, ``(n_test, side, side, 3)`` uint8."""
        self._only_fold()
        ids = self.trials.stimulus_id
        return self.stimuli.images(np.unique(ids[self.split.test_rows(0, ids)]))

    def only_used(self) -> Subject:
        """Return the subject with the stimuli of its split alone, of all those that a data set has."""
        return Subject(self._trials, self.stimuli.select(self.split.used), self.split, name=self.name)

    def folds(self) -> Iterator[Subject]:
        """Yield the subject once for each fold of the split, with that fold alone."""
        for fold in range(len(self.split.folds)):
            yield Subject(self.trials, self.stimuli, self.split.only(fold), name=self.name)

    def _only_fold(self) -> None:
        n_folds = len(self.split.folds)
        if n_folds > 1:
            raise ShapeError(
                f"the split has {n_folds} folds, each with training and test trials of its own. "
                "Use `for fold in subject.folds():` and take fold.train and fold.test."
            )


def _check_shown(used: NDArray[np.int64], stimuli: Stimuli) -> None:
    """Refuse stimuli without an image."""
    unknown = np.setdiff1d(used, stimuli.stimulus_id)
    if len(unknown):
        raise ShapeError(
            f"{len(unknown)} stimuli that were shown have no image (the first is {unknown[0]}); images have ids from "
            f"{stimuli.stimulus_id.min()} to {stimuli.stimulus_id.max()}. Check that ids count from 0."
        )
