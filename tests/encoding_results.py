"""Made-up encoding results over the simulated subject's true voxels, as the encoding stage writes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from reseen.datasets.nsd_facts import NsdFiles
from reseen.datasets.surface import OUTSIDE, Surface
from reseen.pipeline.context import SubjectRun
from reseen.plot import CorticalMaps
from reseen.recipe import Recipe, with_settings
from reseen.simulate.anatomy import STREAMS, Anatomy
from reseen.simulate.surfaces import surface_transforms
from reseen.tables import ENCODING_COLUMNS

LAYERS = ("down_blocks.0", "down_blocks.1", "mid_block", "up_blocks.1", "up_blocks.2")


def encoding_recipe(tree: Path) -> Recipe:
    """Recipe of a run on the simulated subject in a folder, which exports its maps."""
    return with_settings(Recipe(), [f"data.path={tree}", "data.kind=simulated", 'encode.export=["nifti", "gifti"]'])


def write_encoding(subject: SubjectRun) -> SubjectRun:
    """Write a subject's encoding results, as if its models had just been scored."""
    trials = subject.trials
    stream = np.sum([STREAMS[name] * mask for name, mask in trials.rois.items()], axis=0)
    voxels = made_up_voxels(stream) | {"alpha/z": np.ones(len(stream), dtype=np.float32)}
    arrays = {name: voxels[name] for name in ("r/z", "q/z", "alpha/z", "ceiling_r", "winner/progress=1")}
    arrays["voxel_index"] = trials.voxel_index
    subject.results.save_arrays(subject.results.encode_path("subj01"), arrays, {"layers": json.dumps(LAYERS)})
    return subject


def surface_of(anatomy: Anatomy) -> Surface:
    """The anatomy's way to fsaverage5, without files."""
    written = surface_transforms(anatomy, NsdFiles(Path(), "subj01", "func1pt8mm", ""))
    coordinates = {}
    for side in ("lh", "rh"):
        at = np.stack([array for name, array in written.items() if f"/{side}.func" in name])
        coordinates[side] = np.where((at == OUTSIDE).any(axis=2, keepdims=True), np.nan, at - 1)
    return Surface("subj01", anatomy.volume_shape, coordinates)


def made_up_voxels(stream: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """z is best in early voxels, c in ventral and lateral ones; zc lies between and leaves z as it continues."""
    rng = np.random.default_rng(seed)
    n = len(stream)
    early = np.where(stream == 1, 1.0, np.where(np.isin(stream, [2, 3, 4]), 0.5, 0.1))
    late = np.where(np.isin(stream, [5, 6]), 1.0, np.where(stream == 7, 0.4, 0.25))
    voxels = {"ceiling_r": (0.55 + 0.05 * rng.normal(size=n)).astype(np.float32)}
    base = {"z": 0.42 * early, "c": 0.4 * late, "zc": 0.36 * early + 0.08 * late}

    def add(name, r):
        voxels[f"r/{name}"] = (r + 0.05 * rng.normal(size=n)).astype(np.float32)
        voxels[f"q/{name}"] = np.where(voxels[f"r/{name}"] > 0.12, 0.01, 0.4).astype(np.float32)

    for name, r in base.items():
        add(name, r)
    for kind, amounts in (("strength", (0.2, 0.5, 0.8)), ("progress", (0.0, 0.44, 0.86))):
        for k, amount in enumerate(amounts):
            model = f"z+zc@{kind}={amount:g}"
            share = (k + 0.5) / 3
            first = (1 - share) * 0.3 * early + 0.02 * rng.normal(size=n)
            second = share * (0.25 * late + 0.1 * early) + 0.02 * rng.normal(size=n)
            add(f"zc@{kind}={amount:g}", first + second)
            add(model, first + second)
            voxels[f"split/{model}/z"] = first.astype(np.float32)
            voxels[f"split/{model}/zc@{kind}={amount:g}"] = second.astype(np.float32)
    for k, progress in enumerate(("0.2", "0.66", "1")):
        scores = np.stack([rng.normal(size=n) for _ in LAYERS])
        scores[2] += 2 - k
        scores[0] += k * 2 * early
        scores[4] += k * 1.2 * early
        scores[3] += k * 1.0 * late
        best = scores.argmax(axis=0)
        lost = (early + late) * rng.random(n) < 0.15
        voxels[f"winner/progress={progress}"] = np.where(lost, -1, best).astype(np.int64)
    return voxels


def made_up_table(stream: np.ndarray, voxels: dict[str, np.ndarray], subject: str = "subj01", n: int = 100):
    """The tidy table of these voxels."""
    rois = {"all": np.ones(len(stream), bool)} | {name: stream == label for name, label in STREAMS.items()}
    rows = []

    def put(analysis, model, feature, roi, statistic, value, spread=np.nan):
        mask = rois[roi]
        rows.append(
            (subject, analysis, model, feature, roi, mask.sum(), statistic, value, value - spread, value + spread, n)
        )

    for roi, mask in rois.items():
        for name in [name.removeprefix("r/") for name in voxels if name.startswith("r/")]:
            kind = "noise" if "strength" in name else "denoising" if "progress" in name else "features"
            put(kind, name, name, roi, "mean_r", voxels[f"r/{name}"][mask].mean(), 0.03)
            put(kind, name, name, roi, "share_significant", (voxels[f"q/{name}"][mask] <= 0.05).mean())
            put(kind, name, name, roi, "median_ceiling_r", np.median(voxels["ceiling_r"][mask]))
        for name in [name.removeprefix("split/") for name in voxels if name.startswith("split/")]:
            model, _, feature = name.partition("/")
            kind = "noise" if "strength" in model else "denoising"
            put(kind, model, feature, roi, "split_r", voxels[f"split/{name}"][mask].mean(), 0.02)
        for stage in [name.removeprefix("winner/") for name in voxels if name.startswith("winner/")]:
            won = voxels[f"winner/{stage}"][mask]
            for k, layer in enumerate(LAYERS):
                name = f"unet/{layer}@{stage}"
                share = float((won == k).sum() / (won >= 0).sum()) if (won >= 0).any() else np.nan
                put("layers", name, name, roi, "win_share", share)
    return pd.DataFrame(rows, columns=list(ENCODING_COLUMNS))


def made_up_maps(anatomy: Anatomy, surface: Surface, voxels: dict[str, np.ndarray]) -> CorticalMaps:
    """These voxels on fsaverage5."""
    index = anatomy.voxel_index
    return CorticalMaps(
        values={k: surface.values(v, index) for k, v in voxels.items() if k.startswith(("r/", "split/"))},
        significant={
            k.removeprefix("q/"): surface.labels((v <= 0.05).astype(int), index)
            for k, v in voxels.items()
            if k.startswith("q/")
        },
        winners={k.removeprefix("winner/"): surface.labels(v, index) for k, v in voxels.items() if "winner/" in k},
        layers=LAYERS,
        regions=surface.labels(anatomy.stream - 1, index),
        region_names=tuple(STREAMS),
    )
