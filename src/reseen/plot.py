"""Plot: figures of images, scores, denoising sequences and maps of the cortex, drawn by matplotlib.

Each function returns a matplotlib ``Figure`` that shows itself in a notebook and is saved by ``figure.savefig(path)``.
None of them uses ``pyplot``, so that nothing stays open.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ShapeError
from reseen.headline import Headline
from reseen.report import CorticalMaps, colours, words
from reseen.report.cortex import Cortex

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_IMAGES = 8
"""Rows of images, or frames of a denoising sequence, that a figure shows unless it is asked for others."""
_SIDE = 1.25  # inches of an image
_DOTS_PER_INCH = 110
_MARKERS = {
    "chance_mismatched": ("|", "mismatched"),
    "chance_permuted": ("x", "permuted"),
    "chance_mean": ("v", "mean features"),
    "chance_noise": ("1", "noise"),
    "chance_random": ("*", "random image"),
}
"""Marker and name of each chance level."""
_AXES = {
    "identification": "identification accuracy",
    "pixcorr": "pixel correlation r",
    "ssim": "SSIM",
    "distance": "distance (lower is better)",
}


class _HasScores(Protocol):
    """Scores, as `scores` uses them."""

    def wide(self) -> pd.DataFrame:
        """Return one row for each score."""

    def headline(self, condition: str | None = None) -> Any:
        """Return the score that sums up the table."""


def images(
    originals: ArrayLike,
    reconstructions: ArrayLike | Mapping[str, ArrayLike],
    *,
    rows: Sequence[int] | None = None,
    n_samples: int = 3,
    titles: Sequence[str] | None = None,
) -> Figure:
    """Draw originals and their reconstructions, one row for each original.

    Parameters
    ----------
    originals
        Shape ``(n, H, W, 3)``, uint8.
    reconstructions
        Shape ``(n, H, W, 3)`` or ``(n, n_samples, H, W, 3)``, uint8, or a dict of such arrays by condition.
    rows
        Numbers of the originals to draw; left out: the first eight.
    n_samples
        Number of samples to draw of each condition, from the first one on.
    titles
        Title of each row drawn; left out: ``"image <row>"``.

    Raises
    ------
    ShapeError
        If the arrays do not belong together, or there is no such row.

    Examples
    --------
    >>> import numpy as np, reseen
    >>> originals = np.zeros((3, 16, 16, 3), dtype=np.uint8)
    >>> figure = reseen.plot.images(originals, {"z": originals, "zc": originals[:, None]}, rows=[0, 2])
    >>> [axes.get_title() for axes in figure.axes[:3]]
    ['original', 'z', 'zc']
    """
    truth = _images(originals, "originals", (4,))
    named = reconstructions if isinstance(reconstructions, Mapping) else {"reconstruction": reconstructions}
    stacks = {name: _images(array, f"reconstructions {name}", (4, 5)) for name, array in named.items()}
    for name, stack in stacks.items():
        if len(stack) != len(truth):
            raise ShapeError(f"reconstructions {name}: expected {len(truth)} images, as originals; found {len(stack)}.")
    chosen = list(range(min(len(truth), MOST_IMAGES))) if rows is None else list(rows)
    if not chosen or min(chosen) < 0 or max(chosen) >= len(truth):
        raise ShapeError(f"rows: expected numbers from 0 to {len(truth) - 1}; found {chosen}.")
    names = [f"image {row}" for row in chosen] if titles is None else list(titles)
    if len(names) != len(chosen):
        raise ShapeError(f"titles: expected {len(chosen)}, one for each row drawn; found {len(names)}.")
    columns = [("original", truth)]
    for name, stack in stacks.items():
        samples = stack[:, None] if stack.ndim == 4 else stack[:, : max(n_samples, 1)]
        endings = [f",\nsample {k}" for k in range(samples.shape[1])] if samples.shape[1] > 1 else [""]
        columns += [(words(name) + ending, samples[:, k]) for k, ending in enumerate(endings)]
    figure = _figure(0.9 + _SIDE * len(columns), 0.5 + _SIDE * len(chosen))
    grid = figure.subplots(len(chosen), len(columns), squeeze=False)
    for place, row in enumerate(chosen):
        for column, (title, stack) in enumerate(columns):
            axes = grid[place, column]
            _show(axes, stack[row])
            if place == 0:
                axes.set_title(title, fontsize=8)
        grid[place, 0].set_ylabel(names[place], fontsize=8, rotation=0, ha="right", va="center")
    return figure


def denoising(frames: ArrayLike, *, original: ArrayLike | None = None, n_frames: int = MOST_IMAGES) -> Figure:
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

    Raises
    ------
    ShapeError
        If the arrays are no images, or fewer than two frames are there or asked for.

    Examples
    --------
    >>> import numpy as np, reseen
    >>> figure = reseen.plot.denoising(np.zeros((5, 16, 16, 3), dtype=np.uint8), n_frames=3)
    >>> [axes.get_title() for axes in figure.axes]
    ['start', '50 % denoised', 'result']
    """
    sequence = _images(frames, "frames", (4,))
    if min(len(sequence), n_frames) < 2:
        raise ShapeError(f"a denoising sequence needs two frames or more; found {min(len(sequence), n_frames)}.")
    places = np.unique(np.linspace(0, len(sequence) - 1, min(n_frames, len(sequence))).round().astype(int))
    shown = [(f"{100 * place / (len(sequence) - 1):.0f} % denoised", sequence[place]) for place in places]
    shown[0], shown[-1] = ("start", sequence[0]), ("result", sequence[-1])
    if original is not None:
        shown.insert(0, ("original", _images(np.asarray(original)[None], "original", (4,))[0]))
    figure = _figure(0.1 + _SIDE * len(shown), _SIDE + 0.15)
    for axes, (title, image) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        _show(axes, image)
        axes.set_title(title, fontsize=8)
    return figure


def scores(scores: _HasScores) -> Figure:
    """Draw the headline, the same network's other layers and the pixel scores between chance level and upper bound.

    One panel for each score, one row for each condition and subject. A dot is the result with its 95 % interval, a
    vertical bar is the upper bound, the dashed line is an identification accuracy of one half. The other markers are
    chance levels.

    Parameters
    ----------
    scores
        `reseen.Scores`.

    Raises
    ------
    ShapeError
        If there is no score of images.

    Examples
    --------
    >>> import numpy as np, reseen
    >>> originals = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    >>> figure = reseen.plot.scores(reseen.score(originals, originals, networks="judge"))
    >>> figure.axes[0].get_title().splitlines()[0]
    'Two-way identification'
    """
    wide = scores.wide().reset_index()
    wide = wide[(wide["subset"] == "all") & wide["result"].notna()]
    head = scores.headline()
    panels = _panels(wide, None if head is None else head.rule)
    if not panels:
        raise ShapeError("there is no score of images to draw.")
    labels = list(dict.fromkeys(label for _, rows in panels for label in _labels(rows)))
    n_columns = min(len(panels), 3)
    n_rows = math.ceil(len(panels) / n_columns)
    widest = 0.075 * max(map(len, labels))
    height = 0.9 + 0.32 * len(labels)
    figure = _figure(widest + 3.1 * n_columns, n_rows * height + 0.75)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place < len(panels):
            _panel(axes, *panels[place], labels, named=place % n_columns == 0)
        else:
            axes.set_axis_off()
    _same_limits([axes for axes in grid.flat if axes.get_xlabel() == _AXES["identification"]])
    _legend(figure, wide)
    return figure


def flat_map(
    maps: CorticalMaps, model: str, *, top: float = colours.R_TOP, significant_only: bool = True, title: str = ""
) -> Figure:
    """Draw the prediction accuracy of an encoding model on the flattened and the inflated cortex of fsaverage.

    Parameters
    ----------
    maps
        Numbers of each voxel on the 10,242 vertices of each hemisphere; ``maps.values["r/<model>"]`` is drawn.
    model
        Name of the model, such as ``"z"``.
    top
        Correlation at which the colour scale ends.
    significant_only
        Whether only significant vertices are coloured, where ``maps.significant`` has the model.
    title
        Title of the figure; left out: one of the model's name.

    Raises
    ------
    ShapeError
        If there are no correlations of the model, or ``top`` is not above 0.

    Examples
    --------
    >>> import numpy as np, reseen
    >>> from reseen.report import CorticalMaps
    >>> r = {side: np.linspace(0, 0.6, 10242) for side in ("lh", "rh")}
    >>> regions = {side: np.zeros(10242, dtype=np.int64) for side in ("lh", "rh")}
    >>> maps = CorticalMaps({"r/z": r}, {}, {}, (), regions, ("early",))
    >>> figure = reseen.plot.flat_map(maps, "z", top=0.6)
    >>> figure.axes[0].get_title()
    'Prediction accuracy of the encoding model z'
    """
    name = f"r/{model}"
    if name not in maps.values:
        known = ", ".join(key.removeprefix("r/") for key in maps.values if key.startswith("r/")) or "none"
        raise ShapeError(f"there are no correlations of a model {model!r}; there are those of {known}.")
    if not top > 0:
        raise ShapeError(f"top: expected a correlation above 0; found {top}.")
    kept = {side: np.asarray(values, dtype=np.float64) for side, values in maps.values[name].items()}
    if significant_only and model in maps.significant:
        kept = {side: np.where(maps.significant[model][side] == 1, values, np.nan) for side, values in kept.items()}
    cortex = Cortex(maps.regions, maps.region_names)
    painted = cortex.paint(lambda view, side: colours.one(view.mean(kept[side]), top))
    width, height = cortex.size
    figure = _figure(9.0, 9.0 * height / width + 0.9)
    axes = figure.subplots()
    axes.imshow(painted, interpolation="none")
    axes.set_title(title or f"Prediction accuracy of the encoding model {words(model)}", fontsize=11)
    axes.set_axis_off()
    _name_regions(axes, cortex)
    _colour_bar(figure, axes, top)
    return figure


# ------------------------------------------------------------------------------------------------ parts of figures


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure that a notebook shows."""
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A figure that is not known to pyplot and shows itself in a notebook as PNG."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    return NotebookFigure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained")


def _images(array: ArrayLike, what: str, n_axes: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return images as an array, after checking them."""
    found: NDArray[Any] = np.asarray(array)
    if found.dtype != np.uint8 or found.ndim not in n_axes or found.shape[-1] != 3 or 0 in found.shape:
        shapes = " or ".join("(n, n_samples, H, W, 3)" if n == 5 else "(n, H, W, 3)" for n in n_axes)
        raise ShapeError(f"{what}: expected uint8 images {shapes}; found {found.dtype} {found.shape}.")
    return found


def _show(axes: Axes, image: NDArray[np.uint8]) -> None:
    axes.imshow(image, interpolation="nearest" if max(image.shape[:2]) < 100 else "antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _panels(wide: pd.DataFrame, rule: Headline | None) -> list[tuple[str, pd.DataFrame]]:
    """Return the title and the rows of each panel: the headline's layers, the last one first, and pixel scores."""
    found = []
    if rule is not None:
        same = wide[(wide["metric"] == "identification") & (wide["protocol"] == rule.protocol)]
        same = same[(same["observer"] == rule.observer) & (same["direction"] == rule.direction)]
        layers = [rule.layer, *(layer for layer in dict.fromkeys(same["layer"]) if layer != rule.layer)]
        by = f"by {words(rule.observer)}"
        for layer in layers:
            where = f", layer {layer}" if layer else ""
            found.append((f"Two-way identification\n{by}{where}", same[same["layer"] == layer]))
    protocol = rule.protocol if rule is not None else next(iter(wide["protocol"]), "")
    for metric, title in (("pixcorr", "Pixel correlation"), ("ssim", "Structural similarity (SSIM)")):
        rows = wide[(wide["metric"] == metric) & (wide["protocol"] == protocol)]
        if len(rows):
            found.append((title, rows))
    return found


def _labels(rows: pd.DataFrame) -> list[str]:
    several = rows["subject"].nunique() > 1
    return [
        ", ".join(part for part in (words(condition), subject if several else "") if part) or "reconstructions"
        for condition, subject in zip(rows["condition"], rows["subject"], strict=True)
    ]


def _panel(axes: Axes, title: str, rows: pd.DataFrame, labels: Sequence[str], *, named: bool) -> None:
    metric = str(rows["metric"].iloc[0])
    for label, row in zip(_labels(rows), rows.to_dict("records"), strict=True):
        y = labels.index(label)
        colour = colours.OF_CONDITION.get(str(row["condition"]), colours.OF_CONDITION["other"])
        if math.isfinite(row["low"]):
            axes.plot([row["low"], row["high"]], [y, y], color=colour, lw=2.5, solid_capstyle="round")
        axes.plot(row["result"], y, "o", color=colour, ms=6)
        for column, (marker, _) in _MARKERS.items():
            if math.isfinite(row[column]):
                axes.plot(row[column], y, marker, color="0.35", ms=8, mew=1.8, zorder=3)
        if math.isfinite(row["upper_bound"]):
            axes.plot([row["upper_bound"]] * 2, [y - 0.3, y + 0.3], color="black", lw=2.2)
    if metric == "identification":
        axes.axvline(0.5, color="0.5", lw=1, ls="--", zorder=0)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlabel(_AXES[metric], fontsize=8)
    axes.set_title(title, fontsize=9)
    axes.set_yticks(range(len(labels)), labels if named else [""] * len(labels), fontsize=8)
    axes.locator_params(axis="x", nbins=6)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.9", lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _same_limits(panels: Sequence[Axes]) -> None:
    """Set the same limits for all panels of identification accuracy, so that they can be compared."""
    left = min([0.4, *(axes.get_xlim()[0] for axes in panels)])
    for axes in panels:
        axes.set_xlim(left, 1.02)


def _legend(figure: Figure, wide: pd.DataFrame) -> None:
    """Explain the markers that are drawn, below the panels."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color="0.2", marker="o", lw=2.5, label="result, 95 % interval")]
    for column, (marker, name) in _MARKERS.items():
        if wide[column].notna().any():
            label = f"chance level: {name}"
            handles.append(Line2D([], [], color="0.35", marker=marker, ls="", ms=7, mew=1.5, label=label))
    if wide["upper_bound"].notna().any():
        handles.append(Line2D([], [], color="black", marker="|", ls="", ms=10, mew=2.2, label="upper bound (oracle)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)


def _name_regions(axes: Axes, cortex: Cortex) -> None:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2, foreground="white")]
    for name, (x, y) in cortex.label_places().items():
        axes.text(x, y, name, fontsize=7, ha="center", va="center", color="black", path_effects=halo)


def _colour_bar(figure: Figure, axes: Axes, top: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(0, top), cmap="cividis")
    bar = figure.colorbar(scale, ax=axes, orientation="horizontal", shrink=0.3, aspect=25, pad=0.02)
    bar.set_label("correlation r of predicted and measured responses", fontsize=8)
    bar.ax.tick_params(labelsize=8)
