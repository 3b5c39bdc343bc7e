"""Scoring: scores from reconstructions and originals, without a recipe."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ModelError, RecipeError, ShapeError
from reseen.evaluate import evaluate
from reseen.evaluate.folders import read_folders
from reseen.headline import stimuli_category
from reseen.networks import EvaluationNetwork, Panel, evaluation_networks, load_panel
from reseen.protocols import PROTOCOL_NAMES, PROTOCOLS, ProtocolName
from reseen.recipe import EvaluateRecipe
from reseen.scores import Scores
from reseen.tables import BUILTIN_NETWORKS

if TYPE_CHECKING:
    import pandas as pd

    from reseen.networks.own import Activations, Named

Images = ArrayLike | Mapping[str, ArrayLike]
Levels = dict[tuple[str, str], NDArray[np.uint8]]


def score(
    reconstructions: Images | Path | str,
    originals: ArrayLike | Path | str,
    *,
    stimulus_id: ArrayLike | None = None,
    protocol: str | Sequence[str] = "builtin",
    networks: Named | Sequence[Named] | Mapping[str, Activations] | None = None,
    oracle: Images | None = None,
    condition: str = "",
    subject: str = "",
    stimuli: str = "",
    subsets: Mapping[str, frozenset[int]] | None = None,
    seed: int = 0,
    n_bootstrap: int = 1000,
    n_pairings: int = 1000,
    device: str = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> Scores:
    """Score reconstructions against the original images.

    The numbers are those of ``reseen evaluate --images DIR --truth DIR`` for the same images.

    Parameters
    ----------
    reconstructions
        Array ``(n, H, W, 3)``, or ``(n, n_samples, H, W, 3)`` for several samples of each, uint8; a dict of such
        arrays by condition; or a folder of ``<id>.png`` or ``<id>_<sample>.png``.
    originals
        Array ``(n, H, W, 3)`` uint8, in the same order; or a folder of ``<id>.png``. Their size may differ from that
        of the reconstructions.
    stimulus_id
        Shape ``(n,)``, integers: id of the original of each row, if originals repeat; left out: all differ. Not for
        folders, where file names contain it.
    protocol
        Name of one of `reseen.protocols.PROTOCOLS`, or several. Missing evaluation networks cause a warning,
        and their scores are left out.
    networks
        Networks of the protocol ``builtin``: ``"classifier"``, ``"image_encoder"``, ``"module:name"`` of
        an importable callable, a callable, a list of these, or a dict of callables by name. A callable takes images
        ``(n, H, W, 3)`` uint8, at most 256 at a time, and returns activations ``(n, ...)``. Left out: both built-in
        networks, which were trained on drawn scenes.
    oracle
        Reconstructions from the true latents, for the upper bound: as ``reconstructions``, but no folder.
    condition
        Name of the condition, where ``reconstructions`` is not a dict.
    subject
        Name of the subject in the table.
    stimuli
        Category of the originals, which decides about the headline: ``"scenes"`` for the drawn scenes of a simulated
        subject, ``"figures"`` or ``"images"``; left out: figures if there are at most 16 colours, else images.
    subsets
        Name -> ids of ``stimulus_id``: originals that are also scored by themselves, if there are three or more.
    seed, n_bootstrap, n_pairings
        Seed of all resampling; number of resamplings behind each interval, and of pairings behind each chance level
        and p.
    device
        Device of the evaluation networks of published protocols.
    progress
        Called with a description, the number of completed parts and their total.

    Returns
    -------
    The scores; `Scores.each` has those of each image.

    Raises
    ------
    ShapeError
        If images are not uint8 or not in colour, arrays do not belong together, or there are fewer than three
        originals.
    DataError
        If a folder or the partner of a file is missing, or images cannot be read, are transparent or differ in size.
    RecipeError
        If there is no such protocol, or a callable cannot be imported or used.
    ModelError
        If no network of a protocol is available, or a network returns anything but activations.

    Examples
    --------
    >>> import numpy as np, reseen
    >>> rng = np.random.default_rng(0)
    >>> originals = rng.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    >>> scores = reseen.score(originals, originals, networks=lambda images: images.mean(axis=(1, 2)))
    >>> scores.headline().value
    1.0
    """
    if isinstance(originals, (str, Path)) or isinstance(reconstructions, (str, Path)):
        stacks, true, ids = _folders(reconstructions, originals, stimulus_id, condition)
    else:
        true = _images(originals, "originals", samples=False)
        ids = _ids(stimulus_id, len(true))
        stacks = _stacks(reconstructions, "result", condition)
    stacks |= {} if oracle is None else _stacks(oracle, "oracle", condition)
    _check_together(stacks, true)
    names = [protocol] if isinstance(protocol, str) else list(dict.fromkeys(protocol))
    if networks is not None and "builtin" not in names:
        raise RecipeError(
            f"networks are those of the protocol builtin; {', '.join(names)} has its own. Leave one out.",
            where="networks",
            found=tuple(names),
        )
    builtin = []
    if "builtin" in names:
        builtin = evaluation_networks(BUILTIN_NETWORKS if networks is None else networks)
    each: list[pd.DataFrame] = []
    table = evaluate(
        subject,
        true,
        ids,
        stacks,
        [_panel(name, builtin, device) for name in names],
        subsets or {},
        EvaluateRecipe(n_derangements=n_pairings, n_bootstrap=n_bootstrap),
        seed,
        progress=lambda _, done, total: progress("score images", done, total) if progress else None,
        keep_each=each.append,
    )
    return Scores(table, each[0], stimuli=stimuli or stimuli_category(true, drawn=False))


def _folders(
    reconstructions: object, originals: object, stimulus_id: object, condition: str
) -> tuple[Levels, NDArray[np.uint8], NDArray[np.int64]]:
    """Read two folders."""
    if not isinstance(reconstructions, (str, Path)) or not isinstance(originals, (str, Path)):
        raise ShapeError("reconstructions and originals must both be folders, or both be arrays.")
    if stimulus_id is not None:
        message = "stimulus_id is for arrays; the files of two folders are joined by name."
        raise ShapeError(message, where="stimulus_id")
    images, true, ids = read_folders(Path(reconstructions), Path(originals))
    return {("result", condition): images}, true, ids


def _stacks(images: Images, level: str, condition: str) -> Levels:
    """Return stacks of images ``(n, n_samples, H, W, 3)`` by level and condition."""
    by_condition = images if isinstance(images, Mapping) else {condition: images}
    found = {}
    for name, array in by_condition.items():
        where = "oracle" if level == "oracle" else "reconstructions"
        stack = _images(array, f"{where} of {name}" if name else where, samples=True)
        found[level, name] = stack[:, None] if stack.ndim == 4 else stack
    return found


def _images(array: ArrayLike, what: str, *, samples: bool) -> NDArray[np.uint8]:
    """Return images as an array.

    Raises
    ------
    ShapeError
        If they are not uint8 or have another shape.
    """
    found: NDArray[Any] = np.asarray(array)
    shapes = "(n, H, W, 3) or (n, n_samples, H, W, 3)" if samples else "(n, H, W, 3)"
    if found.dtype != np.uint8:
        hint = "Convert values in 0...1 by (255 * images).round().astype('uint8')." * (found.dtype.kind == "f")
        message = f"{what}: expected uint8 values from 0 to 255; found {found.dtype}. {hint}".rstrip()
        raise ShapeError(message, where=what, expected="uint8", found=found.dtype.name)
    right_axes = found.ndim == 4 or (samples and found.ndim == 5)
    if not right_axes or found.shape[-1] != 3 or 0 in found.shape:
        hint = "Move the axis of the colours to the end." * (found.ndim > 3 and found.shape[-3] == 3)
        message = f"{what}: expected the shape {shapes}; found {found.shape}. {hint}".rstrip()
        raise ShapeError(message, where=what, expected=shapes, found=found.shape)
    return found


def _ids(stimulus_id: ArrayLike | None, n_items: int) -> NDArray[np.int64]:
    """Return the stimulus id of each item, ``(n_items,)``."""
    if stimulus_id is None:
        return np.arange(n_items)
    found = np.asarray(stimulus_id)
    if found.shape != (n_items,) or found.dtype.kind not in "iu":
        raise ShapeError(
            f"stimulus_id: expected {n_items} integers, one for each original; found {found.dtype} {found.shape}.",
            where="stimulus_id",
            expected=(n_items,),
            found=found.shape,
        )
    return found.astype(np.int64)


def _check_together(stacks: Levels, true: NDArray[np.uint8]) -> None:
    """Refuse reconstructions that differ in number from the originals, or in size from each other."""
    sizes = {}
    for (level, condition), stack in stacks.items():
        name = " ".join(word for word in ("oracle" if level == "oracle" else "reconstructions", condition) if word)
        sizes[stack.shape[2:4]] = name
        if len(stack) != len(true):
            raise ShapeError(
                f"{name}: {len(stack)} images; expected {len(true)}, one for each original in the same order.",
                where=name,
                expected=len(true),
                found=len(stack),
            )
    if len(sizes) > 1:
        found = ", ".join(f"{height} x {width} ({name})" for (height, width), name in sizes.items())
        message = f"reconstructions must be of one size; found {found}. Resize them first."
        raise ShapeError(message, where="reconstructions", found=tuple(sizes))


def _panel(name: str, builtin: Sequence[EvaluationNetwork], device: str) -> Panel:
    """Load the evaluation networks of a protocol, and warn of those that are missing."""
    if name not in PROTOCOL_NAMES:
        raise RecipeError(
            f"there is no protocol {name!r}; reseen has {', '.join(PROTOCOL_NAMES)}.",
            where="protocol",
            expected=PROTOCOL_NAMES,
            found=name,
        )
    known: ProtocolName = name
    panel, missing = load_panel(PROTOCOLS[known], builtin, device=device)
    if not panel.networks and not panel.protocol.pixel_metrics:
        raise ModelError("; ".join(missing))
    for why in missing:
        warnings.warn(f"{why}. These scores are left out.", stacklevel=3)
    return panel
