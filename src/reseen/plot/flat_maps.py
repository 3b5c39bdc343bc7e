"""Maps: numbers of each voxel on the flattened and the inflated cortex, or in slices of a volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from reseen.analyses import spaces_of, stage_of
from reseen.datasets.mapping import Volume
from reseen.datasets.meshes import Meshes
from reseen.errors import ShapeError
from reseen.plot import colours, wording
from reseen.plot.cortex_views import Cortex, View
from reseen.plot.figure import axes_of
from reseen.plot.mosaic import Mosaic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["one", "two", "layers"]
"""Type of a map: one number, the parts of two features, or the best layer."""
TOP = {"one": 0.5, "two": 0.3}
"""Ends of the scales of the paper's maps: a correlation (Figure 6), a feature's part of it (Figures 7 and 8)."""
R_OF = "correlation r of predicted and measured responses"


@dataclass(frozen=True)
class CorticalMaps:
    """Encoding numbers of voxels on a surface, or in a volume.

    Every array is for one hemisphere (``"lh"``, ``"rh"``) and has shape ``(n_vertices,)``: 10242 on fsaverage5. In a
    volume, there is one array (``"volume"``) of shape ``(X * Y * Z,)``, in C order.

    Parameters
    ----------
    values
        Name, such as ``"r/z"`` or ``"split/z+zc@strength=0.8/z"`` -> hemisphere -> numbers; NaN where there is no
        voxel.
    significant
        Model -> hemisphere -> 1 where its correlation is significant, 0 where not, -1 where there is no voxel.
    winners
        Stage, such as ``"progress=0.2"`` -> hemisphere -> number of the best layer, -1 where there is none.
    layers
        U-Net layers by number, from the encoder's outermost to the decoder's.
    regions
        Hemisphere -> number of the region of a vertex, -1 where there is no voxel.
    region_names
        Regions by number.
    on
        Surfaces, or the volume, to draw on; left out: fsaverage5.
    note
        Sentence about the maps, for their legend.

    Examples
    --------
    >>> import numpy as np, reseen
    >>> r = {side: np.linspace(0, 0.6, 10242) for side in ("lh", "rh")}
    >>> regions = {side: np.zeros(10242, dtype=np.int64) for side in ("lh", "rh")}
    >>> reseen.plot.CorticalMaps({"r/z": r}, {}, {}, (), regions, ("early",)).names
    ('z',)
    """

    values: Mapping[str, Mapping[str, NDArray[np.floating[Any]]]]
    significant: Mapping[str, Mapping[str, NDArray[np.int64]]]
    winners: Mapping[str, Mapping[str, NDArray[np.int64]]]
    layers: tuple[str, ...]
    regions: Mapping[str, NDArray[np.int64]]
    region_names: tuple[str, ...]
    on: Meshes | Volume | None = None
    note: str = ""

    def canvas(self) -> Cortex | Mosaic:
        """Return what these maps are painted on."""
        if isinstance(self.on, Volume):
            return Mosaic(self.regions, self.region_names, self.on)
        return Cortex(self.regions, self.region_names, self.on)

    @property
    def names(self) -> tuple[str, ...]:
        """Models and stages that `reseen.plot.flat_map` draws."""
        models = {name.split("/")[1]: None for name in self.values}
        return (*(model for model in models if self.kind_of(model) is not None), *self.winners)

    def kind_of(self, name: str) -> Kind | None:
        """Return the type of the map of a model or a stage; ``None`` if there is no such map."""
        if name in self.winners:
            return "layers"
        parts = [f"split/{name}/{space}" for space in spaces_of(name)]
        if len(parts) == 2 and set(parts) <= set(self.values):
            return "two"
        return "one" if f"r/{name}" in self.values else None


def flat_map(
    maps: CorticalMaps,
    name: str,
    *,
    vmin: float = 0.0,
    vmax: float | None = None,
    significant_only: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw a map of the flattened and the inflated cortex, as in the paper's Figures 6 to 9, or of slices.

    Parameters
    ----------
    maps
        Numbers of each voxel, and what they are drawn on.
    name
        A model, such as ``"z"``: its correlation (Figure 6); a joint model, such as ``"z+zc@strength=0.8"``: the
        parts of its two features (Figures 7 and 8); a stage, such as ``"progress=0.2"``: the best layer (Figure 9).
    vmin, vmax
        Ends of the colour scale; left out: 0, and 0.5 for a correlation or 0.3 for parts of one.
    significant_only
        Whether only significant vertices are coloured, where ``maps.significant`` has the model.
    title
        Title; left out: a description of the map.
    ax
        Axes to draw in; left out: a new figure.

    Raises
    ------
    ShapeError
        If there is no such map, or ``vmax`` is not above ``vmin``.

    Examples
    --------
    >>> import numpy as np, reseen
    >>> r = {side: np.linspace(0, 0.6, 10242) for side in ("lh", "rh")}
    >>> regions = {side: np.zeros(10242, dtype=np.int64) for side in ("lh", "rh")}
    >>> maps = reseen.plot.CorticalMaps({"r/z": r}, {}, {}, (), regions, ("early",))
    >>> figure = reseen.plot.flat_map(maps, "z", vmax=0.6)
    >>> figure.axes[0].get_title()
    'Prediction accuracy of the encoding model z'
    """
    kind = maps.kind_of(name)
    if kind is None:
        message = f"there is no map {name!r}; there are those of {', '.join(maps.names) or 'none'}."
        raise ShapeError(message, where="name", expected=maps.names, found=name)
    high = TOP.get(kind, 1.0) if vmax is None else vmax
    if not high > vmin:
        message = f"vmax: expected a number above vmin, {vmin:g}; found {high:g}."
        raise ShapeError(message, where="vmax", expected=vmin, found=high)
    cortex = maps.canvas()
    width, height = cortex.size
    figure, axes = axes_of(ax, 9.0, 9.0 * height / width + (1.9 if kind == "two" else 1.1))
    features = [_short(space) for space in spaces_of(name)]
    named = {
        "one": f"Prediction accuracy of the encoding model {wording.words(name)}",
        "two": f"Parts of the prediction accuracy of {' and '.join(features)}, {wording.stage(stage_of(name))}",
        "layers": f"U-Net layer that predicts best, {wording.stage(name)}",
    }
    draw_map(axes, paint(cortex, maps, name, vmin, high, significant_only=significant_only), cortex.label_places())
    axes.set_title(title or named[kind], fontsize=11)
    legend = dict(zip(maps.layers, colours.layer_palette(maps.layers), strict=True))
    draw_key(figure, [axes], kind, spaces_of(name) if kind == "two" else legend, vmin, high)
    return figure


def paint(
    cortex: Cortex | Mosaic, maps: CorticalMaps, name: str, low: float, high: float, *, significant_only: bool = True
) -> NDArray[np.uint8]:
    """Paint the map of a model or a stage, ``(height, width, 4)``, transparent around the cortex."""
    if name in maps.winners:
        palette = colours.layer_palette(maps.layers)
        return cortex.paint(lambda view, side: colours.which(view.nearest(maps.winners[name][side], -1), palette))

    def mean(view: View, side: str, key: str) -> NDArray[np.floating[Any]]:
        values = np.asarray(maps.values[key][side], dtype=np.float64)
        if significant_only and name in maps.significant:
            values = np.where(maps.significant[name][side] == 1, values, np.nan)
        return view.mean(values)

    if maps.kind_of(name) == "one":
        return cortex.paint(lambda view, side: colours.one(mean(view, side, f"r/{name}"), low, high))
    first, second = (f"split/{name}/{space}" for space in spaces_of(name))
    return cortex.paint(lambda view, side: colours.two(mean(view, side, first), mean(view, side, second), low, high))


def draw_map(axes: Axes, painted: NDArray[np.uint8], places: Mapping[str, tuple[float, float]]) -> None:
    """Draw a painted map with the names of its regions."""
    from matplotlib.patheffects import withStroke

    axes.imshow(painted, interpolation="none")
    axes.set_axis_off()
    for name, (x, y) in places.items():
        halo = [withStroke(linewidth=2, foreground="white")]
        axes.text(x, y, name, fontsize=7, ha="center", va="center", color="black", path_effects=halo)


def draw_key(
    figure: Figure, axes: Sequence[Axes], kind: Kind, names: Sequence[str] | Mapping[str, str], low: float, high: float
) -> None:
    """Draw the colour key of maps, below the last one.

    ``names`` are the two features, or the layers with their colours.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Patch

    if kind == "one":
        scale = ScalarMappable(Normalize(low, high), cmap="cividis")
        bar = figure.colorbar(scale, ax=list(axes), orientation="horizontal", shrink=0.3, aspect=25, pad=0.02)
        bar.set_label(R_OF, fontsize=8)
        bar.ax.tick_params(labelsize=8)
    elif kind == "two":
        key = axes[-1].inset_axes((0.455, -0.24, 0.1, 0.2))
        first, second = np.meshgrid(*[np.linspace(low, high, 48)] * 2)
        ends = (low, high, low, high)
        key.imshow(colours.two(first, second, low, high), origin="lower", aspect="auto", extent=ends)
        key.set_xticks([low, high])
        key.set_yticks([low, high])
        key.tick_params(labelsize=7, length=2, pad=1.5)
        key.set_xlabel(f"part of {_short(next(iter(names)))}", fontsize=7.5, labelpad=1)
        key.set_ylabel(f"part of {_short(list(names)[-1])}", fontsize=7.5, labelpad=1)
    else:
        assert isinstance(names, Mapping)
        patches = [Patch(color=colour, label=name) for name, colour in names.items()]
        axes[-1].legend(
            handles=patches, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, frameon=False, fontsize=8
        )


def _short(space: str) -> str:
    """Return the feature of a space without its stage."""
    return space.partition("@")[0]
