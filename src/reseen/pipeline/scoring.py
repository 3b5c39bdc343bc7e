"""Scoring: from decoded features and pictures to scores.csv."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from reseen.decode import permuted_stimuli, shuffled
from reseen.evaluate import (
    diagnose_features,
    diagnose_images,
    diagnose_left_out,
    diagnose_repetitions,
    evaluate,
    evaluate_features,
    nearest_training,
    training_mean,
)
from reseen.features import Features, find_rows
from reseen.headline import STIMULI_OF, Headline, choose, kind_of, stimuli_of
from reseen.observers import Panel, load_evaluation_network, load_panel, prepare
from reseen.pipeline.controls import left_out, repetitions
from reseen.pipeline.job import Job
from reseen.pipeline.picturing import Pictures, pictures_of
from reseen.pipeline.stages import tabulate
from reseen.protocols import PROTOCOLS
from reseen.results import SCORED_SIZE_OF, TEST_PICTURES_OF, Results
from reseen.stimuli import picture_digest
from reseen.tables import BUILTIN, DIAGNOSTIC_COLUMNS, PICTURE_COLUMNS, PIXELS, SCORE_COLUMNS, retrieved_by

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


_AGAIN = "to add them later, delete scores.csv here and in each subject's folder and run the recipe again."


def evaluate_stage(job: Job) -> bool:
    """Score every subject's decoded features and pictures, and compute the diagnostics."""
    if not job.results.has_table("scores", SCORE_COLUMNS):
        (job.results.path / "pictures.csv").unlink(missing_ok=True)  # scoring makes its parts anew
        every = job.recipe.data.subjects
        if not any(job.results.has_table(f"{subject}/scores", SCORE_COLUMNS) for subject in every):
            job.results.drop_warnings(_AGAIN)  # what is still missing is warned of once more
    scored = tabulate(job, "scores", _score, SCORE_COLUMNS)
    scored = tabulate(job, "pictures", _each_picture, PICTURE_COLUMNS) or scored
    return tabulate(job, "diagnostics", _diagnose, DIAGNOSTIC_COLUMNS) or scored


def claim_observers(job: Job) -> None:
    """Compare the evaluation networks with those that the results were started with."""
    for name in job.recipe.evaluate.observers:
        job.results.claim(f"observer {name}", load_evaluation_network(name).fingerprint)


def _score(job: Job, subject: str) -> pd.DataFrame:
    import pandas as pd

    def keep(each: pd.DataFrame) -> None:
        job.results.save_table(f"{subject}/pictures", each)

    return pd.concat([_score_features(job, subject), _score_pictures(job, subject, keep)], ignore_index=True)


def _each_picture(job: Job, subject: str) -> pd.DataFrame:
    """Score each picture again, where a folder has the scores alone."""
    kept: list[pd.DataFrame] = []
    _score_pictures(job, subject, kept.append)
    return kept[0]


def _score_features(job: Job, subject: str) -> pd.DataFrame:
    """Score decoded features; the training mean is taken away fold by fold, since it differs between folds."""
    import pandas as pd

    _, stimuli, split = job.facts(subject)
    tables = []
    for name in job.decoded_names:
        decoded, true = job.decoded(subject, name), job.true(subject, name)
        mean = training_mean(decoded.stimulus_id, true, split.folds)
        shuffles = range(job.recipe.n_permuted)
        job.tell(f"score decoded {name} of {subject}", 0, 1)
        table = evaluate_features(
            subject,
            name,
            decoded.flat,
            true.rows(decoded.stimulus_id).reshape(len(decoded), -1),
            mean,
            stimulus_id=decoded.stimulus_id,
            subsets=stimuli.subsets,
            recipe=job.recipe.evaluate,
            seed=job.recipe.seed,
            shuffled=[_permuted(job, subject, name, shuffle, mean) for shuffle in shuffles],
        )
        job.tell(f"score decoded {name} of {subject}", 1, 1)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _permuted(job: Job, subject: str, name: str, shuffle: int, mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Read what decoders fitted on permuted labels predict, moved from their training mean to that of the result.

    With a fixed test set the two means are the same. Where stimuli are left out in turn, the permuted features of a
    fold are not those of its stimuli.
    """
    trials, _, split = job.facts(subject)
    found, true = job.decoded(subject, name, shuffle=shuffle), job.true(subject, name)
    permuted = permuted_stimuli(split, trials.stimulus_id)
    if permuted is None:
        return found.flat
    seed = job.recipe.seed
    known = ((np.intersect1d(train, trials.stimulus_id), test) for train, test in split.folds)
    folds = [(shuffled(train, permuted, seed, shuffle), test) for train, test in known]
    return found.flat - training_mean(found.stimulus_id, true, folds) + mean


def _diagnose(job: Job, subject: str) -> pd.DataFrame:
    import pandas as pd

    tables: list[pd.DataFrame] = []
    for name in job.decoded_names:
        job.tell(f"diagnose decoded {name} of {subject}", 0, 1)
        tables += _diagnose_features(job, subject, name)
        job.tell(f"diagnose decoded {name} of {subject}", 1, 1)
    tables.append(_diagnose_images(job, subject))
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def _diagnose_features(job: Job, subject: str, name: str) -> Iterator[pd.DataFrame]:
    _, stimuli, split = job.facts(subject)
    true, recipe, seed = job.true(subject, name), job.recipe.evaluate, job.recipe.seed
    decoded = job.decoded(subject, name)
    yield diagnose_features(
        subject, decoded, true, split.folds, categories=stimuli.categories, recipe=recipe, seed=seed
    )
    if job.keeps_decoder(name):
        first, others = repetitions(job, subject, name)
        yield diagnose_repetitions(subject, first, others, true, split.folds, recipe=recipe, seed=seed)
    if recipe.full and job.recipe.decode.elsewhere(name) is None:
        tested = {how: (features, part.folds) for how, (features, part) in left_out(job, subject, name).items()}
        yield diagnose_left_out(subject, tested, true, recipe=recipe, seed=seed)


def headline_of(job: Job) -> Headline | None:
    """Choose the headline of a run's scores; while stages work on one subject, of that subject's."""
    name = "scores" if job.only is None else f"{job.only}/scores"
    return choose(job.results.load_table(name), stimuli_of(job.results.provenance, job.subjects))


def _diagnose_images(job: Job, subject: str) -> pd.DataFrame:
    """Compute the diagnostics of the images, by the network of this subject's headline at the size of the scores."""
    _, stimuli, _ = job.facts(subject)
    stacks, condition = Stacks(job, subject), job.main_condition
    head = headline_of(job)
    look = _looking(job, head, stacks.size)
    made = stacks["result", condition]
    return diagnose_images(
        subject,
        condition,
        "pixel correlation" if head is None else head.network,
        np.stack([look(made[:, draw]) for draw in range(made.shape[1])], axis=1),
        look(stimuli.images(stacks.stimulus_id)),
        stacks.stimulus_id,
        categories=stimuli.categories,
        recipe=job.recipe.evaluate,
        seed=job.recipe.seed,
    )


def _looking(
    job: Job, head: Headline | None, size: tuple[int, int]
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return what turns images into what the headline compares, ``(n, n_features)``.

    Without a headline, where no image was identified, that is pixels.
    """
    name = BUILTIN if head is None else head.protocol
    protocol = next(known for known in PROTOCOLS.values() if known.name == name)
    by_pixels = head is None or head.observer == PIXELS
    panel = None if by_pixels else next(panel for panel in _panels(job) if panel.protocol.name == name)

    def look(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        shown = prepare(images, protocol.first, size=size)
        if panel is None or head is None:
            return prepare(shown, protocol.pixels).reshape(len(images), -1).astype(np.float32)
        observer = next(observer for observer in panel.observers if observer.name == head.observer)
        return observer.look(shown)[head.layer].reshape(len(images), -1)

    return look


def _score_pictures(job: Job, subject: str, keep_each: Callable[[pd.DataFrame], None]) -> pd.DataFrame:
    _, stimuli, _ = job.facts(subject)
    stacks = Stacks(job, subject)
    truth = stimuli.images(stacks.stimulus_id)
    job.results.claim(TEST_PICTURES_OF + subject, picture_digest(stacks.stimulus_id, truth))
    job.results.claim(STIMULI_OF + subject, kind_of(truth, drawn=stimuli.drawn))
    height, width = stacks.size
    job.results.claim(SCORED_SIZE_OF + subject, f"{width} x {height}")
    return evaluate(
        subject,
        truth,
        stacks.stimulus_id,
        stacks,
        _panels(job),
        stimuli.subsets,
        job.recipe.evaluate,
        job.recipe.seed,
        progress=lambda _, done, total: job.tell(f"score pictures of {subject}", done, total),
        keep_each=keep_each,
        size=(height, width),
    )


def _panels(job: Job) -> list[Panel]:
    """Load what the recipe's protocols look through, once; what is missing is warned of, and its scores left out."""

    def load() -> list[Panel]:
        builtin = [load_evaluation_network(name) for name in job.recipe.evaluate.observers]
        panels = []
        with job.noting_warnings():
            for name in job.recipe.evaluate.protocols:
                panel, missing = load_panel(PROTOCOLS[name], builtin, device=job.device)
                panels.append(panel)
                for why in missing:
                    warnings.warn(f"{why}. These scores are left out; {_AGAIN}", stacklevel=2)
                for observer in panel.observers if panel.protocol.looks else ():
                    job.results.claim(f"observer {observer.name} of {name}", observer.fingerprint)
        return panels

    return job.keep("panels", job.recipe.evaluate.protocols, load)


class Stacks(Mapping[tuple[str, str], "NDArray[np.uint8]"]):
    """Read a subject's pictures as they are asked for: ``(level, condition) -> (n_items, n_draws, H, W, 3)``.

    Beside the pictures made stand, under the conditions ``nearest_z`` and ``nearest_c``, the training pictures whose
    features are nearest to those decoded.

    Parameters
    ----------
    job, subject
        Whose.
    largest
        Shrink pictures to at most this side; left out: as they are.
    """

    def __init__(self, job: Job, subject: str, *, largest: int | None = None) -> None:
        self._job, self._subject, self._largest = job, subject, largest
        self._sets: dict[tuple[str, str], Pictures] = {(p.level, p.condition): p for p in pictures_of(job, subject)}
        self.stimulus_id = next(iter(self._sets.values())).stimulus_id
        self._nearest = {("result", retrieved_by(name)): name for name in job.decoded_names}
        noise = self._sets.pop(("floor_noise", "c"), None)  # the same pictures, whatever else a condition is made from
        if noise is not None:
            conditions = [condition for condition in job.recipe.reconstruct.conditions if "c" in condition]
            self._sets |= {("floor_noise", condition): noise for condition in conditions}

    def __getitem__(self, key: tuple[str, str]) -> NDArray[np.uint8]:
        if key in self._nearest:
            return self._shrunk(self._retrieved(self._nearest[key]))
        pictures = self._sets[key]
        wanted = self._stands_for() if pictures.level == "floor_mean" else self.stimulus_id
        rows = np.arange(len(self.stimulus_id))
        if pictures.level not in ("result", "floor_shuffled"):
            rows = find_rows(pictures.label, pictures.stimulus_id, wanted)
        return np.stack([self._shrunk(read_stack(self._job.results, pictures.paths[row])) for row in rows])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a generated picture, in pixels."""
        height, width, _ = self._job.results.load_picture(next(iter(self._sets.values())).paths[0][0]).shape
        return height, width

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter((*self._sets, *self._nearest))

    def __len__(self) -> int:
        return len(self._sets) + len(self._nearest)

    def _stands_for(self) -> NDArray[np.int64]:
        """Return for each item the stimulus of its fold that stands for all of them."""
        _, _, split = self._job.facts(self._subject)
        first = self.stimulus_id.copy()
        for _, test in split.folds:
            first[np.isin(self.stimulus_id, test)] = test[0]
        return first

    def _retrieved(self, name: str) -> NDArray[np.uint8]:
        _, stimuli, split = self._job.facts(self._subject)
        decoded, true = self._job.decoded(self._subject, name), self._job.true(self._subject, name)
        found = np.zeros(len(decoded), dtype=np.int64)
        for train, test in split.folds:
            rows = np.isin(decoded.stimulus_id, test)
            part = Features(name, decoded.array[rows], decoded.stimulus_id[rows])
            found[rows] = nearest_training(part, Features(name, true.rows(train), np.asarray(train, dtype=np.int64)))
        return stimuli.images(found)[:, None]

    def _shrunk(self, stack: NDArray[np.uint8]) -> NDArray[np.uint8]:
        step = 1 if self._largest is None else -(-max(stack.shape[-3:-1]) // self._largest)
        return shrink(stack, step)


def read_stack(results: Results, paths: tuple[object, ...]) -> NDArray[np.uint8]:
    """Read the draws of one item, ``(n_draws, height, width, 3)``."""
    return np.stack([results.load_picture(path) for path in paths])  # type: ignore[arg-type]


def shrink(stack: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Average blocks of ``step`` by ``step`` pixels of pictures ``(..., height, width, 3)``; odd rims are cut off."""
    if step <= 1:
        return stack
    height, width = (side // step for side in stack.shape[-3:-1])
    cut = stack[..., : height * step, : width * step, :]
    blocks = cut.reshape(*stack.shape[:-3], height, step, width, step, 3)
    small: NDArray[np.uint8] = blocks.mean(axis=(-4, -2)).round().astype(np.uint8)
    return small
