"""Score images by protocols: pixel correlation, SSIM and activations of evaluation networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.errors import ShapeError
from reseen.evaluate.matrices import BATCH, DENSE, Correlations, Rows, check_space
from reseen.evaluate.scores import (
    Pool,
    Score,
    each_of,
    each_table,
    matrix_score,
    mean_score,
    pools,
    rows_of,
    table,
)
from reseen.metrics import Floats
from reseen.networks import Panel, prepare
from reseen.tables import IMAGE_LEVELS, PIXELS, is_retrieved

if TYPE_CHECKING:
    from pandas import DataFrame

    from reseen.recipe import EvaluateRecipe

Progress = Callable[[str, int, int], None]
Scorer = Callable[[Correlations], Score]


@dataclass(frozen=True)
class Views:
    """Pixels of a stack of images and activations of each layer, as one panel compares them."""

    pixels: Rows
    layers: Mapping[tuple[str, str], Rows]  # by names of network and layer

    @property
    def image_bytes(self) -> int:
        """Bytes that are kept of one image."""
        return sum(rows.row_bytes for rows in (self.pixels, *self.layers.values()))


@dataclass(frozen=True)
class _Compared:
    """Correlations of one stack of images with every original, and SSIM with the right one."""

    pixels: Correlations
    layers: Mapping[tuple[str, str], Correlations]
    ssim: Floats
    first_sample: Rows

    def correlations(self, key: tuple[str, str] | None) -> Correlations:
        """Return the correlations of a layer, by names of network and layer, or of pixels: None."""
        return self.pixels if key is None else self.layers[key]


def evaluate(
    subject: str,
    true_images: NDArray[np.uint8],
    stimulus_id: NDArray[np.int64],
    images: Mapping[tuple[str, str], NDArray[np.uint8]],
    panels: Sequence[Panel],
    subsets: Mapping[str, frozenset[int]],
    recipe: EvaluateRecipe,
    seed: int,
    progress: Progress | None = None,
    keep_each: Callable[[DataFrame], None] | None = None,
    size: tuple[int, int] | None = None,
) -> DataFrame:
    """Score one subject's images, by one protocol or several.

    The protocol defines the treatment of samples, ties and sizes (`reseen.protocols`). At level ``permuted`` each
    sample comes from its own permutation, and every protocol averages scores: images of one permutation share a bias.
    A subset is scored within its own pool: its items are compared with each other only. Pairs of one stimulus are
    dropped. Subsets of fewer than three stimuli have too few distractors and are left out.

    Parameters
    ----------
    subject
        Name, for the table.
    true_images
        Shape ``(n, H, W, 3)``: the presented images.
    stimulus_id
        Shape ``(n,)``; ids repeat where items are single trials.
    images
        ``(level, condition)`` -> ``(n, n_samples, H, W, 3)``. Levels: those of `reseen.tables.IMAGE_LEVELS`.
        Conditions: ``"z"``, ``"c"``, ``"zc"``, and `reseen.tables.retrieved_by` a feature for training images
        (`nearest_training`). Stacks are requested one by one, so that a mapping may read them from disk.
    panels
        Protocols, with the evaluation networks that compare the images.
    subsets
        Named sets of stimuli; ``"all"`` is added.
    recipe, seed
        Number of pairings and resamplings, and their seed.
    progress
        Called with ``("evaluate", done, total)``.
    keep_each
        Called with the scores of each image in the pool of all: a table of `reseen.tables.IMAGE_COLUMNS`.
    size
        Height and width at which images are compared where the protocol leaves it open; left out: those of the
        first stack, or of the first generated one.

    Returns
    -------
    A table of `COLUMNS`: each metric (``identification``, ``distance``, ``pixcorr``, ``ssim``) at its levels and, at
    level ``result``, ``<metric>_gap_closed`` (fraction of the way from mismatched to oracle),
    ``<metric>_null_sd`` (over mismatched pairings) and ``<metric>_p`` (over permutations of the stimuli, one-sided).
    ``low`` and ``high`` are the middle 95 % of resamplings of stimuli, for ``mismatched`` of mismatched pairings.

    Raises
    ------
    ShapeError
        If the arrays do not belong together or there are fewer than three stimuli.
    ResultsError
        If the temporary folder has too little space for the features of many images.
    """
    _check(true_images, stimulus_id, images)
    scored = pools(stimulus_id, subsets, recipe, seed)
    size = size or _first_size(images, len(stimulus_id))
    if len(stimulus_id) > DENSE:
        n_bytes = sum(view_images(true_images[:1], panel, size).image_bytes for panel in panels)
        check_space(len(stimulus_id), n_bytes, len(images))
    true_views = [view_images(true_images, panel, size) for panel in panels]
    compared: list[dict[str, dict[str, list[_Compared]]]] = [{} for _ in panels]  # condition -> level -> samples
    for done, (level, condition) in enumerate(images):
        stack = _stack(images, (level, condition), len(stimulus_id))
        for panel, true, found in zip(panels, true_views, compared, strict=True):
            apart = level == "permuted" or panel.protocol.samples == "each"
            alone = np.split(stack, stack.shape[1], axis=1) if apart else [stack]
            found.setdefault(condition, {})[level] = [_compare(true, part, panel, size) for part in alone]
        if progress is not None:
            progress("evaluate", done + 1, len(images))
    rows: list[dict[str, object]] = []
    each: list[DataFrame] = []
    for panel, true, found in zip(panels, true_views, compared, strict=True):
        for condition, levels in found.items():
            for pool in scored:
                named = {"subject": subject, "condition": condition, "protocol": panel.protocol.name}
                for where, scores in _image_scores(true, levels, panel, pool, recipe, seed):
                    fixed = {**named, "subset": pool.subset, **where}
                    rows += rows_of(fixed, scores, pool)
                    if pool.subset == "all":
                        each += each_of(fixed, scores, pool)
    if keep_each is not None:
        keep_each(each_table(each))
    return table(rows)


def _image_scores(
    true: Views,
    levels: Mapping[str, list[_Compared]],
    panel: Panel,
    pool: Pool,
    recipe: EvaluateRecipe,
    seed: int,
) -> Iterator[tuple[dict[str, str], dict[str, Score]]]:
    """Yield the words that identify each score of one condition, and its levels."""
    protocol, nowhere = panel.protocol, {"network": "", "layer": "", "direction": ""}
    distance: dict[str, Scorer] = {"": partial(_layer_score, panel=panel, pool=pool, direction="")}
    identified: dict[str, Scorer] = {
        direction: partial(_layer_score, panel=panel, pool=pool, direction=direction)
        for direction in protocol.directions
    }
    of_pixels = dict(identified) if "identification" in protocol.pixel_metrics else {}
    if "pixcorr" in protocol.pixel_metrics:
        of_pixels["pixcorr"] = partial(matrix_score, pool=pool, direction="")
    pixels = _score_levels(levels, None, of_pixels)
    if "pixcorr" in pixels:
        yield {"metric": "pixcorr", **nowhere}, pixels["pixcorr"]
    if "ssim" in protocol.pixel_metrics:
        scores = {k: _ssim_score(true, parts, panel, pool, recipe, seed, k) for k, parts in levels.items()}
        yield {"metric": "ssim", **nowhere}, scores
    for key in next(iter(levels.values()))[0].layers:
        metric = protocol.metric_of(key[0])
        ways = identified if metric == "identification" else distance
        found = _score_levels(levels, key, ways)
        for direction, scores in found.items():
            yield {"metric": metric, "network": key[0], "layer": key[1], "direction": direction}, scores
    for direction in protocol.directions if "identification" in protocol.pixel_metrics else ():
        yield {"metric": "identification", "network": PIXELS, "layer": "", "direction": direction}, pixels[direction]


def _score_levels(
    levels: Mapping[str, list[_Compared]], key: tuple[str, str] | None, ways: Mapping[str, Scorer]
) -> dict[str, dict[str, Score]]:
    """Score the correlations of a layer or of pixels at every level in each way: ``{way: {level: score}}``.

    One matrix is scored in all ways and then released: a large one takes long to compute, and gigabytes to keep.
    """
    found: dict[str, dict[str, Score]] = {way: {} for way in ways}
    for level, parts in levels.items():
        scores: dict[str, list[Score]] = {way: [] for way in ways}
        for compared in parts:
            correlations = compared.correlations(key)
            for way, score in ways.items():
                scores[way].append(score(correlations))
            correlations.release()
        for way in ways:
            found[way][level] = mean_score(scores[way])
    return found


def _layer_score(r: Correlations, panel: Panel, pool: Pool, direction: str) -> Score:
    """Score one layer's correlations: two-way, or without a direction the distance of the right pairs."""
    return matrix_score(r, pool, direction, panel.protocol.ties, distance=not direction)


def _ssim_score(
    true: Views, parts: list[_Compared], panel: Panel, pool: Pool, recipe: EvaluateRecipe, seed: int, level: str
) -> Score:
    values = np.mean([compared.ssim for compared in parts], axis=0)[pool.items]
    wrong = np.empty(0)
    if level == "result":
        wrong = _wrong_ssim(true.pixels, parts[0].first_sample, panel, pool, recipe, seed)
    return Score(float(values.mean()), statistics.bootstrap_mean(values, pool.weights), wrong, values, permuted=wrong)


def _wrong_ssim(true: Rows, images: Rows, panel: Panel, pool: Pool, recipe: EvaluateRecipe, seed: int) -> Floats:
    """Return SSIM against mismatched images, ``(n_derangements,)``, from about a thousand pairs of first samples.

    There is no matrix of SSIM, so each image is compared with a few mismatched images. Each wrong pairing takes one of
    them for each image at random.
    """
    n_items = len(pool.items)
    partners = pool.wrong_rows[: max(2, min(10, 1000 // n_items))]
    # (n_partners, n_items)
    known = np.stack([_ssim(true, pool.items[rows], images, pool.items, panel) for rows in partners])
    rng = np.random.default_rng([seed, 3])
    chosen = rng.integers(len(known), size=(recipe.n_derangements, n_items))
    wrong: Floats = known[chosen, np.arange(n_items)].mean(axis=1)
    return wrong


def _ssim(
    true: Rows, originals: NDArray[np.int64], images: Rows, reconstructions: NDArray[np.int64], panel: Panel
) -> NDArray[np.float64]:
    """Compute the SSIM of originals with reconstructions, both by row number, a batch at a time."""
    found = []
    for start in range(0, len(originals), BATCH):
        batch = slice(start, start + BATCH)
        a, b = true[originals[batch]], images[reconstructions[batch]]
        found.append(metrics.ssim(a, b, variant=panel.protocol.ssim))
    return np.concatenate(found)


def view_images(images: NDArray[np.uint8], panel: Panel, size: tuple[int, int]) -> Views:
    """Prepare images ``(n, H, W, 3)`` by a protocol and pass them through its networks, a batch at a time."""
    pixels = Rows(len(images))
    layers: dict[tuple[str, str], Rows] = {}
    for start in range(0, len(images), BATCH):
        shown = prepare(images[start : start + BATCH], panel.protocol.first, size=size)
        if panel.protocol.pixel_metrics:
            pixels.append(prepare(shown, panel.protocol.pixels))
        for network in panel.networks:
            for layer, found in network.activations(shown).items():
                layers.setdefault((network.name, layer), Rows(len(images))).append(found.reshape(len(found), -1))
    return Views(pixels, layers)


def _compare(true: Views, stack: NDArray[np.uint8], panel: Panel, size: tuple[int, int]) -> _Compared:
    """Correlate a stack ``(n, n_samples, H, W, 3)`` with every original, averaged over its samples."""
    n_items, n_samples = stack.shape[:2]
    every, ssim = np.arange(n_items), np.zeros(n_items)
    pixels = Correlations(true.pixels, n_items, n_samples)
    layers = {key: Correlations(rows, n_items, n_samples) for key, rows in true.layers.items()}
    first_sample = true.pixels
    for sample in range(n_samples):
        view = view_images(stack[:, sample], panel, size)
        first_sample = view.pixels if sample == 0 else first_sample
        if panel.protocol.pixel_metrics:
            pixels.add(view.pixels)
            ssim += _ssim(true.pixels, every, view.pixels, every, panel) / n_samples
        for key, rows in view.layers.items():
            layers[key].add(rows)
    return _Compared(pixels, layers, ssim, first_sample)


def _first_size(images: Mapping[tuple[str, str], NDArray[np.uint8]], n_items: int) -> tuple[int, int]:
    """Return the side lengths of generated images; retrieved ones may have another size."""
    generated = [key for key in images if not is_retrieved(key[1])] or list(images)
    height, width = _stack(images, generated[0], n_items).shape[2:4]
    return height, width


def _check(
    true_images: NDArray[np.uint8],
    stimulus_id: NDArray[np.int64],
    images: Mapping[tuple[str, str], NDArray[np.uint8]],
) -> None:
    n_items = len(stimulus_id)
    if true_images.ndim != 4 or len(true_images) != n_items or true_images.shape[3] != 3:
        raise ShapeError(
            f"{n_items} stimulus ids need images ({n_items}, H, W, 3); found {true_images.shape}.",
            where="true_images",
            expected=(n_items, "H", "W", 3),
            found=true_images.shape,
        )
    if not images:
        raise ShapeError("there are no images to score; reconstruct some first.", where="images")
    for level, _ in images:
        if level not in IMAGE_LEVELS:
            raise ShapeError(
                f"unknown level {level!r}; expected {', '.join(IMAGE_LEVELS)}.",
                where="images",
                expected=IMAGE_LEVELS,
                found=level,
            )


def _stack(
    images: Mapping[tuple[str, str], NDArray[np.uint8]], key: tuple[str, str], n_items: int
) -> NDArray[np.uint8]:
    stack = images[key]
    if stack.ndim != 5 or len(stack) != n_items or stack.shape[4] != 3 or stack.dtype != np.uint8:
        raise ShapeError(
            f"images of {'/'.join(key)} must be uint8 ({n_items}, n_samples, H, W, 3); "
            f"found {stack.dtype} {stack.shape}.",
            where="images",
            expected=("uint8", n_items, "n_samples", "H", "W", 3),
            found=(stack.dtype.name, *stack.shape),
        )
    return stack
