"""Encoding: what the maps, the bars and the sentence of each of the four analyses show, read from table and maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reseen.analyses import NAMES, layers_of, parse_feature, spaces_of, stage_of
from reseen.report import colours
from reseen.report.cortex import Cortex, Picture, View
from reseen.report.marks import number, percent, unique

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from reseen.recipe import EncodeRecipe

TIDY = ("analysis", "model", "feature", "roi", "statistic", "value", "n")
"""Columns that the table of encoding models needs."""
TITLES = {
    "features": "Which cortex each component resembles",
    "noise": "What z and zc bring as more noise is added",
    "denoising": "What z and zc bring as the denoising goes on",
    "layers": "Which U-Net layer each voxel resembles most",
}

Kind = Literal["one", "two", "layers"]
Painter = Callable[[View, str], colours.Floats]
"""Returns, for a view and a hemisphere, each pixel's red, green, blue and opacity."""


@dataclass(frozen=True)
class CorticalMaps:
    """Encoding numbers of voxels on fsaverage5.

    Every array is for one hemisphere (``"lh"``, ``"rh"``) and has shape ``(10242,)``.

    Parameters
    ----------
    values
        Name, such as ``"r/z"`` or ``"split/z+zc@strength=0.8/z"`` -> hemisphere -> numbers; NaN where no voxel was
        read.
    significant
        Model -> hemisphere -> 1 where its correlation is significant, 0 where not, -1 where no voxel was read.
    winners
        Stage, such as ``"progress=0.2"`` -> hemisphere -> number of the winning layer, -1 where there is none.
    layers
        U-Net layers by number, from the encoder's outermost to the decoder's.
    regions
        Hemisphere -> number of the region a vertex lies in, -1 where no voxel was read.
    region_names
        Regions by number.
    """

    values: Mapping[str, Mapping[str, NDArray[np.floating[Any]]]]
    significant: Mapping[str, Mapping[str, NDArray[np.int64]]]
    winners: Mapping[str, Mapping[str, NDArray[np.int64]]]
    layers: tuple[str, ...]
    regions: Mapping[str, NDArray[np.int64]]
    region_names: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One number of a bar: its feature, its value, its 95 % interval (NaN where there is none), its colour."""

    name: str
    value: float
    low: float
    high: float
    colour: str


@dataclass(frozen=True)
class Bar:
    """One row of a chart: its ROI, its label, its parts, and the noise ceiling or NaN."""

    roi: str
    label: str
    parts: tuple[Part, ...]
    ceiling: float = math.nan


@dataclass(frozen=True)
class Panel:
    """One map: its title, and the image ``(height, width, 4)``."""

    title: str
    picture: Picture


@dataclass(frozen=True)
class AnalysisReport:
    """Contents of one analysis of a subject.

    Parameters
    ----------
    name
        One of `reseen.analyses.NAMES`.
    kind
        How the maps are coloured: one number, two, or which layer wins.
    panels
        The maps; none where they could not be made.
    places
        Region -> where its name may stand on every map, in pixels.
    bars
        One row for each ROI and feature or stage.
    legend
        What the colours stand for: of the parts, and of the layers.
    about
        What is shown, n, threshold and null.
    reading
        What it comes to.
    """

    name: str
    kind: Kind
    panels: tuple[Panel, ...]
    places: Mapping[str, tuple[float, float]]
    bars: tuple[Bar, ...]
    legend: tuple[tuple[str, str], ...]
    about: str
    reading: str

    @property
    def title(self) -> str:
        """Heading."""
        return TITLES[self.name]


def analysis_reports(
    table: pd.DataFrame, maps: CorticalMaps | None, recipe: EncodeRecipe
) -> tuple[AnalysisReport, ...]:
    """Return the analyses that one subject has numbers of, in the order of `reseen.analyses.NAMES`.

    Parameters
    ----------
    table
        The subject's rows of the tidy table of encoding models; one that is not tidy holds no analysis.
    maps
        What is painted; left out where there is no cortex to paint on.
    recipe
        Threshold and null.
    """
    if not set(TIDY) <= set(table.columns):
        return ()
    cortex = Cortex(maps.regions, maps.region_names) if maps else None
    rows = {name: table[table["analysis"] == name].to_dict("records") for name in NAMES}
    return tuple(_analysis(name, found, maps, cortex, recipe) for name, found in rows.items() if found)


def _analysis(
    name: str,
    rows: Sequence[Mapping[Any, Any]],
    maps: CorticalMaps | None,
    cortex: Cortex | None,
    recipe: EncodeRecipe,
) -> AnalysisReport:
    kind: Kind = "one" if name == "features" else "layers" if name == "layers" else "two"
    bars = tuple({"one": _alone, "two": _together, "layers": _wins}[kind](rows))
    legend = {part.name: part.colour for bar in bars for part in bar.parts} if kind != "one" else {}
    panels: tuple[Panel, ...] = ()
    if maps and cortex:
        models = unique(str(row["model"]) for row in rows)
        panels = tuple(Panel(title, cortex.paint(colour)) for title, colour in _painters(kind, maps, models))
    return AnalysisReport(
        name=name,
        kind=kind,
        panels=panels,
        places=cortex.label_places() if cortex else {},
        bars=bars,
        legend=tuple(legend.items()),
        about=_about(kind, rows, recipe, mapped=bool(panels)),
        reading=_reading(kind, bars),
    )


# ------------------------------------------------------------------------------------------------------- maps


def _painters(kind: Kind, maps: CorticalMaps, models: Sequence[str]) -> Iterator[tuple[str, Painter]]:
    """Return for each map its title, and what colours it."""
    if kind == "layers":
        for stage in maps.winners:
            yield said_stage(stage), _paint_winner(maps, stage)
    for model in models:
        parts = [f"split/{model}/{space}" for space in spaces_of(model)]
        if kind == "one" and f"r/{model}" in maps.values:
            yield model, _paint_one(maps, model)
        if kind == "two" and len(parts) == 2 and set(parts) <= set(maps.values):
            yield said_stage(stage_of(model)), _paint_two(maps, model, parts)


def _paint_one(maps: CorticalMaps, model: str) -> Painter:
    return lambda view, side: colours.one(view.mean(_kept(maps, model, f"r/{model}", side)))


def _paint_two(maps: CorticalMaps, model: str, parts: Sequence[str]) -> Painter:
    first, second = parts
    return lambda view, side: colours.two(
        view.mean(_kept(maps, model, first, side)), view.mean(_kept(maps, model, second, side))
    )


def _paint_winner(maps: CorticalMaps, stage: str) -> Painter:
    palette = colours.layer_palette(maps.layers)
    return lambda view, side: colours.which(view.nearest(maps.winners[stage][side], -1), palette)


def _kept(maps: CorticalMaps, model: str, name: str, side: str) -> NDArray[np.floating[Any]]:
    """Keep the numbers of significant vertices."""
    values = maps.values[name][side]
    return np.where(maps.significant[model][side] == 1, values, np.nan) if model in maps.significant else values


# ------------------------------------------------------------------------------------------------------- bars


def _alone(rows: Sequence[Mapping[Any, Any]]) -> Iterator[Bar]:
    ceilings = {(row["roi"], row["model"]): number(row["value"]) for row in _only(rows, "median_ceiling_r")}
    for roi in unique(str(row["roi"]) for row in rows):
        for row in _only(rows, "mean_r"):
            if row["roi"] == roi:
                model = str(row["model"])
                part = _part(row, model, colours.OF_CONDITION.get(model, colours.OF_CONDITION["other"]))
                yield Bar(roi, model, (part,), ceilings.get((roi, model), math.nan))


def _together(rows: Sequence[Mapping[Any, Any]]) -> Iterator[Bar]:
    for roi in unique(str(row["roi"]) for row in rows):
        mine = [row for row in _only(rows, "split_r") if row["roi"] == roi]
        for model in unique(str(row["model"]) for row in mine):
            pair = [row for row in mine if row["model"] == model]
            parts = tuple(
                _part(row, parse_feature(str(row["feature"])).source, colour)
                for row, colour in zip(pair, (colours.FIRST, colours.SECOND), strict=False)
            )
            yield Bar(roi, said_stage(stage_of(model)), parts)


def _wins(rows: Sequence[Mapping[Any, Any]]) -> Iterator[Bar]:
    shares = _only(rows, "win_share")
    layers = unique(said_layer(str(row["feature"])) for row in shares)
    palette = dict(zip(layers, colours.layer_palette(layers), strict=True))
    for roi in unique(str(row["roi"]) for row in shares):
        for stage in unique(stage_of(str(row["feature"])) for row in shares):
            here = [row for row in shares if row["roi"] == roi and stage_of(str(row["feature"])) == stage]
            names = [said_layer(str(row["feature"])) for row in here]
            parts = tuple(_part(row, name, palette[name]) for row, name in zip(here, names, strict=True))
            yield Bar(roi, said_stage(stage), parts)


def _only(rows: Sequence[Mapping[Any, Any]], statistic: str) -> list[Mapping[Any, Any]]:
    return [row for row in rows if row["statistic"] == statistic]


def _part(row: Mapping[Any, Any], name: str, colour: str) -> Part:
    return Part(name, number(row["value"]), number(row.get("low")), number(row.get("high")), colour)


# ---------------------------------------------------------------------------------------------------- in words


def said_stage(stage: str) -> str:
    """Return ``"strength=0.2"`` as ``"strength 0.2"`` and ``"progress=0.44"`` as ``"44 % denoised"``."""
    kind, _, amount = stage.partition("=")
    try:
        number = float(amount)
    except ValueError:
        return stage
    return f"{percent(number)} denoised" if kind == "progress" else f"{kind} {number:g}"


def said_layer(name: str) -> str:
    """Return the module of a U-Net feature's name."""
    return layers_of([name])[0]


def said_r(value: float) -> str:
    """Print a correlation with two decimals and no zero in front."""
    return "–" if math.isnan(value) else f"{value:.2f}".replace("-", "−").replace("0.", ".", 1)


def _about(kind: Kind, rows: Sequence[Mapping[Any, Any]], recipe: EncodeRecipe, *, mapped: bool) -> str:
    n = int(number(next((row["n"] for row in rows), 0)))
    shown = {
        "one": "Correlation r of predicted with measured responses (Pearson; with folds: of deviations from each "
        "fold's training mean, without a further mean); bars: mean r over an ROI's voxels with its 95 % interval over "
        "pictures, the tick is the median noise ceiling",
        "two": "What each of two spaces brings to the r of their joint model (the parts add up to it); bars: mean "
        "voxel of an ROI with its 95 % interval over pictures",
        "layers": "The layer whose r is highest; bars: share of an ROI's voxels with a significant layer that "
        "each one wins",
    }[kind]
    null = {
        "parametric": "r of independent Gaussian vectors",
        "permutation": "r after pictures are permuted",
    }[recipe.null]
    threshold = f"q\u00a0≤\u00a0{said_r(recipe.fdr)} (false discovery rate over all voxels, one-sided, null: {null})"
    reached = [
        f"{row['model']} {percent(number(row['value']))}"
        for row in _only(rows, "share_significant")
        if row["roi"] == "all" and (kind == "one" or len(spaces_of(str(row["model"]))) > 1)
    ]
    share = f"; of all voxels {', '.join(reached)}" if reached and kind != "layers" else ""
    where = f" {'Coloured' if mapped else 'Significant'}: {threshold}{share}." if mapped or kind == "layers" else ""
    return f"{shown}; n\u00a0=\u00a0{n} held-out pictures.{where}"


def _reading(kind: Kind, bars: Sequence[Bar]) -> str:
    known = [(bar, part) for bar in bars for part in bar.parts if not math.isnan(part.value)]
    rois = [roi for roi in unique(bar.roi for bar, _ in known) if roi != "all"] or unique(bar.roi for bar, _ in known)
    if not known:
        return "There is no number to show here."
    if kind == "two":
        second = [(bar, part) for bar, part in known if bar.roi == known[0][0].roi and part.name == known[-1][1].name]
        (start, first), (end, last) = second[0], second[-1]
        return (
            f"Over {'all voxels' if start.roi == 'all' else start.roi}, the part of {last.name} goes from "
            f"{said_r(first.value)} ({start.label}) to {said_r(last.value)} ({end.label})."
        )
    said = []
    for roi in rois:
        mine = [(bar, part) for bar, part in known if bar.roi == roi]
        bar, best = max(mine, key=lambda each: each[1].value)
        amount = said_r(best.value) if kind == "one" else f"{percent(best.value)}, {bar.label}"
        said.append(f"{roi} {best.name} ({amount})")
    return f"{'Highest' if kind == 'one' else 'Most often the best'}: {', '.join(said)}."
