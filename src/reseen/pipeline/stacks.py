"""Stacks: the images of a subject in the results folder, read on demand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from reseen.conditions import is_denoised
from reseen.evaluate import nearest_training
from reseen.features import Features, find_rows
from reseen.pipeline.context import SubjectRun
from reseen.pipeline.controls import fold_image_id
from reseen.pipeline.reconstruct import Images, images_of
from reseen.results import ResultsFolder
from reseen.tables import retrieved_by

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Stacks(Mapping[tuple[str, str], "NDArray[np.uint8]"]):
    """Images of a subject, read on demand: ``(level, condition) -> (n_items, n_samples, H, W, 3)`` uint8.

    Conditions ``nearest_z`` and ``nearest_c`` of level ``result`` are the training images whose features are nearest
    to the decoded ones.

    Parameters
    ----------
    subject
        The subject.
    largest
        Maximum side of the images in pixels; larger ones are shrunk. Left out: no limit.
    """

    def __init__(self, subject: SubjectRun, *, largest: int | None = None) -> None:
        self._subject, self._largest = subject, largest
        self._sets: dict[tuple[str, str], Images] = {(p.level, p.condition): p for p in images_of(subject)}
        self.stimulus_id = next(iter(self._sets.values())).stimulus_id
        self._nearest = {("result", retrieved_by(name)): name for name in subject.run.decoded_names}
        noise = self._sets.pop(("chance_noise", "c"), None)
        if noise is not None:  # its images are the same for all conditions that are denoised
            for condition in subject.recipe.reconstruct.conditions:
                if is_denoised(condition):
                    self._sets["chance_noise", condition] = noise

    def __getitem__(self, key: tuple[str, str]) -> NDArray[np.uint8]:
        if key in self._nearest:
            return self._shrunk(self._retrieved(self._nearest[key]))
        images = self._sets[key]
        if images.level in ("result", "permuted"):
            rows = np.arange(len(self.stimulus_id))
        else:
            wanted = self._first_of_fold() if images.level == "chance_mean" else self.stimulus_id
            rows = find_rows(images.label, images.stimulus_id, wanted)
        return np.stack([self._shrunk(read_stack(self._subject.results, images.paths[row])) for row in rows])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a generated image, in pixels."""
        height, width, _ = self._subject.results.load_image(next(iter(self._sets.values())).paths[0][0]).shape
        return height, width

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter((*self._sets, *self._nearest))

    def __len__(self) -> int:
        return len(self._sets) + len(self._nearest)

    def _first_of_fold(self) -> NDArray[np.int64]:
        """Return for each item the id of its fold's image, which all items of the fold share."""
        split = self._subject.split
        decoded = self._subject.decoded(self._subject.run.decoded_names[0])
        first = self.stimulus_id.copy()
        for fold, (_, test) in enumerate(split.folds):
            first[decoded.of_fold(fold, test)] = fold_image_id(split, fold)
        return first

    def _retrieved(self, name: str) -> NDArray[np.uint8]:
        """Return the nearest training image of each item, as its only sample."""
        decoded, true = self._subject.decoded(name), self._subject.true(name)
        nearest = np.zeros(len(decoded), dtype=np.int64)
        for fold, (train, test) in enumerate(self._subject.split.folds):
            rows = decoded.of_fold(fold, test)
            part = Features(name, decoded.array[rows], decoded.stimulus_id[rows])
            trained = Features(name, true.rows(train), np.asarray(train, dtype=np.int64))
            nearest[rows] = nearest_training(part, trained)
        return self._subject.stimuli.images(nearest)[:, None]

    def _shrunk(self, stack: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._largest is None:
            return stack
        return shrink(stack, math.ceil(max(stack.shape[-3:-1]) / self._largest))


def read_stack(results: ResultsFolder, paths: tuple[object, ...]) -> NDArray[np.uint8]:
    """Read the samples of one item, ``(n_samples, height, width, 3)``."""
    return np.stack([results.load_image(path) for path in paths])  # type: ignore[arg-type]


def shrink(stack: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Average blocks of ``step`` by ``step`` pixels of images ``(..., height, width, 3)``, without incomplete ones."""
    if step <= 1:
        return stack
    height, width = (side // step for side in stack.shape[-3:-1])
    cut = stack[..., : height * step, : width * step, :]
    blocks = cut.reshape(*stack.shape[:-3], height, step, width, step, 3)
    small: NDArray[np.uint8] = blocks.mean(axis=(-4, -2)).round().astype(np.uint8)
    return small
