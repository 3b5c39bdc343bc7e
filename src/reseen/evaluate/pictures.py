"""Score pictures: pixels, SSIM and what observers see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.errors import ShapeError
from reseen.evaluate.scores import DIRECTIONS, Pool, Score, matrix_score, mean_score, pools, rows_of, table
from reseen.metrics import Floats
from reseen.tables import PICTURE_LEVELS, is_retrieved

if TYPE_CHECKING:
    from pandas import DataFrame

    from reseen.observers import Observer
    from reseen.recipe import EvaluateRecipe

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Seen:
    """Hold what one stack of pictures scores against every truth: matrices ``[original, reconstruction]``, and SSIM."""

    pixels: Floats
    layers: Mapping[tuple[str, str], Floats]
    ssim: Floats
    first_draw: NDArray[np.uint8]


def evaluate(
    subject: str,
    truth_images: NDArray[np.uint8],
    stimulus_id: NDArray[np.int64],
    pictures: Mapping[tuple[str, str], NDArray[np.uint8]],
    observers: Sequence[Observer],
    subsets: Mapping[str, frozenset[int]],
    recipe: EvaluateRecipe,
    seed: int,
    progress: Progress | None = None,
) -> DataFrame:
    """Score one subject's pictures.

    A correlation is averaged over a picture's draws before items are compared (Takagi & Nishimoto's
    ``identification.py``), and so are pixel correlation and SSIM. At the shuffled floor each draw comes from a shuffle
    of its own, and it is scores that are averaged: one shuffle's pictures lean to one side or the other. A subset is
    scored within its own pool: its items are compared with each other only. Pairs of one stimulus are dropped.
    Subsets of fewer than three stimuli are left out, for want of distractors.

    Parameters
    ----------
    subject
        Name, for the table.
    truth_images
        Shape ``(n, H, W, 3)``: what was shown; resized (LANCZOS) to the size of the generated pictures.
    stimulus_id
        Shape ``(n,)``; ids repeat where items are single trials.
    pictures
        ``(level, condition)`` -> ``(n, n_draws, H, W, 3)``. Levels: those of `reseen.tables.PICTURE_LEVELS`.
        Conditions: ``"z"``, ``"c"``, ``"zc"``, and `reseen.tables.retrieved_by` a feature for training pictures
        (`nearest_training`). Each stack is asked for when its turn comes, the first generated one once
        more, so that a mapping may read them from disk.
    observers
        Networks that look at the pictures.
    subsets
        Named sets of stimuli; ``"all"`` is added.
    recipe, seed
        How many wrong pairings and resamplings, and their seed.
    progress
        Called with ``("evaluate", done, total)``.

    Returns
    -------
    A table of `COLUMNS`. Beside each metric (``identification``, ``pixcorr``, ``ssim``) at its levels stand, at level
    ``result``, ``<metric>_gap_closed`` (share of the way from re-paired floor to ceiling), ``<metric>_null_sd`` and
    ``<metric>_p`` (over wrong pairings). ``low`` and ``high`` are the middle 95 % of resamplings of stimuli, for
    ``floor_repaired`` of wrong pairings.

    Raises
    ------
    ShapeError
        If the arrays do not fit each other or there are fewer than three stimuli.
    """
    _check(truth_images, stimulus_id, pictures)
    scored = pools(stimulus_id, subsets, recipe, seed)
    size = _scored_size(pictures, len(stimulus_id))
    truth = _resized(truth_images, size)
    truth_seen = {observer.name: observer.look(truth) for observer in observers}
    seen: dict[str, dict[str, list[_Seen]]] = {}
    for done, (level, condition) in enumerate(pictures):
        stack = _resized(_stack(pictures, (level, condition), len(stimulus_id)), size)
        alone = np.split(stack, stack.shape[1], axis=1) if level == "floor_shuffled" else [stack]
        seen.setdefault(condition, {})[level] = [_look(truth, part, observers, truth_seen) for part in alone]
        if progress is not None:
            progress("evaluate", done + 1, len(pictures))
    rows = []
    for condition, levels in seen.items():
        for pool in scored:
            for where, scores in _picture_scores(truth, levels, pool, recipe, seed):
                fixed = {"subject": subject, "condition": condition, "subset": pool.subset, **where}
                rows += rows_of(fixed, scores, len(pool.items))
    return table(rows)


def _picture_scores(
    truth: NDArray[np.uint8], levels: Mapping[str, list[_Seen]], pool: Pool, recipe: EvaluateRecipe, seed: int
) -> Iterator[tuple[dict[str, str], dict[str, Score]]]:
    pixel = {"observer": "", "layer": "", "direction": ""}
    yield (
        {"metric": "pixcorr", **pixel},
        {k: mean_score([matrix_score(seen.pixels, pool, "") for seen in parts]) for k, parts in levels.items()},
    )
    scores = {}
    for level, parts in levels.items():
        values = np.mean([seen.ssim for seen in parts], axis=0)[pool.items]
        wrong = _wrong_ssim(truth, parts[0].first_draw, pool, recipe, seed) if level == "result" else np.empty(0)
        scores[level] = Score(float(values.mean()), statistics.bootstrap_mean(values, pool.weights), wrong)
    yield {"metric": "ssim", **pixel}, scores
    for observer, layer in next(iter(levels.values()))[0].layers:
        for direction in DIRECTIONS:
            where = {"metric": "identification", "observer": observer, "layer": layer, "direction": direction}
            yield (
                where,
                {
                    k: mean_score([matrix_score(seen.layers[observer, layer], pool, direction) for seen in parts])
                    for k, parts in levels.items()
                },
            )


def _wrong_ssim(
    truth: NDArray[np.uint8], pictures: NDArray[np.uint8], pool: Pool, recipe: EvaluateRecipe, seed: int
) -> Floats:
    """Give SSIM against wrong truths, ``(n_derangements,)``, from about a thousand pairs of first draws.

    SSIM has no matrix to be read off, so each picture meets only a few wrong truths, and a wrong pairing takes one of
    them for each picture by chance.
    """
    n_items = len(pool.items)
    partners = pool.wrong_rows[: max(2, min(10, 1000 // n_items))]
    shown = truth[pool.items]
    met = np.stack([metrics.ssim(shown[rows], pictures[pool.items]) for rows in partners])
    rng = np.random.default_rng([seed, 3])
    chosen = rng.integers(len(met), size=(recipe.n_derangements, n_items))
    wrong: Floats = met[chosen, np.arange(n_items)].mean(axis=1)
    return wrong


def _look(
    truth: NDArray[np.uint8],
    stack: NDArray[np.uint8],
    observers: Sequence[Observer],
    truth_seen: Mapping[str, Mapping[str, NDArray[np.float32]]],
) -> _Seen:
    n_items, n_draws = stack.shape[:2]
    pixels, ssim = np.zeros((n_items, n_items)), np.zeros(n_items)
    layers: dict[tuple[str, str], Floats] = {}
    for draw in range(n_draws):
        pictures = stack[:, draw]
        pixels += metrics.correlation_matrix(truth.reshape(n_items, -1), pictures.reshape(n_items, -1)) / n_draws
        ssim += metrics.ssim(truth, pictures) / n_draws
        for observer in observers:
            looked = observer.look(pictures)
            for layer in observer.layers:
                r = metrics.correlation_matrix(_flat(truth_seen[observer.name][layer]), _flat(looked[layer])) / n_draws
                key = observer.name, layer
                layers[key] = layers[key] + r if key in layers else r
    return _Seen(pixels, layers, ssim, stack[:, 0])


def _flat(features: NDArray[np.float32]) -> NDArray[np.float32]:
    return features.reshape(len(features), -1)


def _scored_size(pictures: Mapping[tuple[str, str], NDArray[np.uint8]], n_items: int) -> tuple[int, int]:
    """Give the side lengths of generated pictures; retrieved ones may have another size."""
    made = [key for key in pictures if not is_retrieved(key[1])] or list(pictures)
    height, width = _stack(pictures, made[0], n_items).shape[2:4]
    return height, width


def _resized(images: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize pictures ``(..., H, W, 3)`` to ``(height, width)`` by LANCZOS where they differ from it."""
    if images.shape[-3:-1] == size:
        return images
    from PIL import Image

    flat = images.reshape(-1, *images.shape[-3:])
    small = [np.asarray(Image.fromarray(i).resize((size[1], size[0]), Image.Resampling.LANCZOS)) for i in flat]
    return np.stack(small).reshape(*images.shape[:-3], *size, 3)


def _check(
    truth_images: NDArray[np.uint8],
    stimulus_id: NDArray[np.int64],
    pictures: Mapping[tuple[str, str], NDArray[np.uint8]],
) -> None:
    n_items = len(stimulus_id)
    if truth_images.ndim != 4 or len(truth_images) != n_items or truth_images.shape[3] != 3:
        raise ShapeError(f"{n_items} stimulus ids need pictures ({n_items}, H, W, 3); found {truth_images.shape}.")
    if not pictures:
        raise ShapeError("there are no pictures to score; reconstruct some first.")
    for level, _ in pictures:
        if level not in PICTURE_LEVELS:
            raise ShapeError(f"unknown level {level!r}; pictures are of {', '.join(PICTURE_LEVELS)}.")


def _stack(
    pictures: Mapping[tuple[str, str], NDArray[np.uint8]], key: tuple[str, str], n_items: int
) -> NDArray[np.uint8]:
    stack = pictures[key]
    if stack.ndim != 5 or len(stack) != n_items or stack.shape[4] != 3 or stack.dtype != np.uint8:
        raise ShapeError(
            f"pictures of {'/'.join(key)} must be uint8 ({n_items}, n_draws, H, W, 3); "
            f"found {stack.dtype} {stack.shape}."
        )
    return stack
