"""Images: originals, reconstructions and denoising sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ShapeError
from reseen.plot.figure import axes_of
from reseen.plot.wording import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_IMAGES = 8
"""Rows of images, or frames of a denoising sequence, that a figure shows by default."""
_SIDE = 1.25  # inches of an image
_GAP = 0.06  # between images, as a proportion of the side


def images(
    originals: ArrayLike,
    reconstructions: ArrayLike | Mapping[str, ArrayLike],
    *,
    rows: Sequence[int] | None = None,
    n_samples: int = 3,
    titles: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw originals and their reconstructions, one row for each original; by subject, it is the paper's Figure 4.

    Parameters
    ----------
    originals
        Shape ``(n, H, W, 3)``, uint8.
    reconstructions
        Shape ``(n, H, W, 3)`` or ``(n, n_samples, H, W, 3)``, uint8, or a dict of such arrays by condition or subject.
    rows
        Numbers of the originals to draw; left out: the first eight.
    n_samples
        Number of samples to draw of each condition, from the first one on.
    titles
        Title of each row drawn; left out: ``"image <row>"``.
    ax
        Axes to draw in; left out: a new figure.

    Raises
    ------
    ShapeError
        If the arrays do not belong together, or there is no such row.

    Examples
    --------
    >>> import numpy as np, reseen
    >>> originals = np.zeros((3, 16, 16, 3), dtype=np.uint8)
    >>> figure = reseen.plot.images(originals, {"z": originals, "zc": originals[:, None]}, rows=[0, 2])
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['original', 'z', 'zc']
    """
    truth = _images(originals, "originals", (4,))
    named = reconstructions if isinstance(reconstructions, Mapping) else {"reconstruction": reconstructions}
    stacks = {name: _images(array, f"reconstructions {name}", (4, 5)) for name, array in named.items()}
    for name, stack in stacks.items():
        if len(stack) != len(truth):
            message = f"reconstructions {name}: expected {len(truth)} images, as originals; found {len(stack)}."
            raise ShapeError(message, where=f"reconstructions {name}", expected=len(truth), found=len(stack))
    chosen = list(range(min(len(truth), MOST_IMAGES))) if rows is None else list(rows)
    if not chosen or min(chosen) < 0 or max(chosen) >= len(truth):
        message = f"rows: expected numbers from 0 to {len(truth) - 1}; found {chosen}."
        raise ShapeError(message, where="rows", expected=len(truth) - 1, found=chosen)
    names = [f"image {row}" for row in chosen] if titles is None else list(titles)
    if len(names) != len(chosen):
        message = f"titles: expected {len(chosen)}, one for each row drawn; found {len(names)}."
        raise ShapeError(message, where="titles", expected=len(chosen), found=len(names))
    columns = [("original", truth)]
    for name, stack in stacks.items():
        samples = stack[:, None] if stack.ndim == 4 else stack[:, : max(n_samples, 1)]
        for k in range(samples.shape[1]):
            title = words(name) if samples.shape[1] == 1 else f"{words(name)},\nsample {k}"
            columns.append((title, samples[:, k]))
    titles_above, of_column = zip(*columns, strict=True)
    grid = []
    for row in chosen:
        grid.append([stack[row] for stack in of_column])
    return _grid(grid, list(titles_above), names, ax)


def denoising(
    frames: ArrayLike, *, original: ArrayLike | None = None, n_frames: int = MOST_IMAGES, ax: Axes | None = None
) -> Figure:
    """Draw a denoising sequence in a row.

    Parameters
    ----------
    frames
        Shape ``(n_frames, H, W, 3)``, uint8: the image before the first step, and after each step; of
        `reseen.reconstruction.denoising_sequence`.
    original
        Shape ``(H, W, 3)``: the original image, drawn first; left out: it is not drawn.
    n_frames
        Number of frames to draw, at least two: the first one, the last one and those evenly spaced between them.
    ax
        Axes to draw in; left out: a new figure.

    Raises
    ------
    ShapeError
        If the arrays are not images, or there are fewer than two frames.

    Examples
    --------
    >>> import numpy as np, reseen
    >>> figure = reseen.plot.denoising(np.zeros((5, 16, 16, 3), dtype=np.uint8), n_frames=3)
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['start', '50 % denoised', 'result']
    """
    sequence = _images(frames, "frames", (4,))
    if min(len(sequence), n_frames) < 2:
        n_shown = min(len(sequence), n_frames)
        message = f"a denoising sequence needs two frames or more; found {n_shown}."
        raise ShapeError(message, where="frames", expected=2, found=n_shown)
    places = np.unique(np.linspace(0, len(sequence) - 1, min(n_frames, len(sequence))).round().astype(int))
    shown = [(f"{100 * place / (len(sequence) - 1):.0f} % denoised", sequence[place]) for place in places]
    shown[0], shown[-1] = ("start", sequence[0]), ("result", sequence[-1])
    if original is not None:
        shown.insert(0, ("original", _images(np.asarray(original)[None], "original", (4,))[0]))
    return _grid([[image for _, image in shown]], [title for title, _ in shown], [""], ax)


def _images(array: ArrayLike, what: str, n_axes: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return images as an array, after checking them."""
    found: NDArray[Any] = np.asarray(array)
    if found.dtype != np.uint8 or found.ndim not in n_axes or found.shape[-1] != 3 or 0 in found.shape:
        shapes = " or ".join("(n, n_samples, H, W, 3)" if n == 5 else "(n, H, W, 3)" for n in n_axes)
        message = f"{what}: expected uint8 images {shapes}; found {found.dtype} {found.shape}."
        raise ShapeError(message, where=what, expected=shapes, found=(found.dtype.name, *found.shape))
    return found


def _grid(
    images: Sequence[Sequence[NDArray[np.uint8]]], columns: Sequence[str], rows: Sequence[str], ax: Axes | None
) -> Figure:
    """Draw rows of images in one pair of axes, all as large as the first one."""
    tall = images[0][0].shape[0] / images[0][0].shape[1]
    widest = 0.075 * max(map(len, rows)) + 0.1
    figure, axes = axes_of(ax, widest + _SIDE * len(columns), 0.45 + _SIDE * tall * len(rows))
    step = tall + _GAP
    for y, row in enumerate(images):
        for x, image in enumerate(row):
            left, top = x * (1 + _GAP), y * step
            smooth = "nearest" if max(image.shape[:2]) < 100 else "antialiased"
            axes.imshow(image, extent=(left, left + 1, top + tall, top), interpolation=smooth)
    axes.set(xlim=(0, len(columns) * (1 + _GAP) - _GAP), ylim=(len(rows) * step - _GAP, 0), aspect="equal")
    axes.set_xticks(np.arange(len(columns)) * (1 + _GAP) + 0.5, columns, size=8)
    axes.set_yticks(np.arange(len(rows)) * step + tall / 2, rows, size=8)
    axes.tick_params(top=False, bottom=False, left=False, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    return figure
