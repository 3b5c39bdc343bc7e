"""Time the features of the encoding analyses: ``python benchmarks/encode.py [--json FILE] [--quick] [--device cuda]``.

Five layers of the built-in model's U-Net at three stages each, for 1,000 pictures (``--quick``: 16), 20 steps,
guidance 5:

- recording_overhead: what recording all of them adds to the denoising that keeps only zc, in memory and to files
- one_pass_speedup: one pass for all layers against one pass for each layer, timed on a tenth of the pictures

On the CPU seconds are those of the processor, which other work on the machine does not lengthen.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

import reseen
from reseen import Features, LatentDiffusion
from reseen.analyses import FeatureName
from reseen.extract import harvest, plan_harvest, z_size
from reseen.ldm.recording import default_layers
from reseen.recipe import ExtractRecipe, ReconstructRecipe

STAGES = (0.2, 0.66, 1.0)
SAMPLING = ReconstructRecipe(n_steps=20, strength=0.8, guidance=5.0)
Figure = dict[str, Any]


def extraction_figures(ldm: LatentDiffusion, n_images: int, n_repeats: int) -> list[Figure]:
    """Compare recording with plain denoising, and one pass with one for each layer."""
    layers = default_layers(ldm)
    everything = ["zc", *_names(layers)]
    timed: dict[str, list[float]] = {"plain": [], "in memory": [], "to files": []}
    for _ in range(n_repeats):  # in turn, so that a change of the machine's pace meets all
        timed["plain"].append(seconds(ldm, ["zc"], n_images))
        timed["in memory"].append(seconds(ldm, everything, n_images))
        with tempfile.TemporaryDirectory() as folder:
            timed["to files"].append(seconds(ldm, everything, n_images, Path(folder)))
    plain, recorded, written = (min(spent) for spent in timed.values())
    n_few = max(n_images // 10, min(n_images, 16))
    one_by_one = sum(seconds(ldm, _names([layer]), n_few) for layer in layers) * n_images / n_few
    plan = plan_harvest(ldm, everything, recipe=SAMPLING)
    return [
        _figure("plain denoising", plan.n_evaluations(n_images) / plain, "U-Net evaluations a second", ""),
        _figure("recording_overhead", 100 * (recorded / plain - 1), "%", "under 20"),
        _figure("recording_overhead, to files", 100 * (written / plain - 1), "%", "under 20"),
        _figure("one_pass_speedup", one_by_one / recorded, "times", ""),
    ]


def seconds(ldm: LatentDiffusion, names: Sequence[str], n: int, folder: Path | None = None) -> float:
    """Give the time it takes to collect features of n stimuli; they are noise, which takes no other time."""
    rng = np.random.default_rng(0)
    side = z_size(ldm, ExtractRecipe()) // ldm.factor
    shapes = {"z": (ldm.latent_shape[0], side, side), "c": ldm.conditioning_shape}
    true = {
        name: Features(name, rng.standard_normal((n, *shape), dtype=np.float32), np.arange(n))
        for name, shape in shapes.items()
    }

    def write(block: int, ids: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
        for number, array in enumerate(arrays.values() if folder else ()):
            save_file({"array": array, "stimulus_id": ids}, str(folder / f"{number}-{block}"))

    plan = plan_harvest(ldm, names, recipe=SAMPLING)
    clock = time.process_time if ldm.device == "cpu" else time.perf_counter
    start = clock()
    harvest(plan, ldm, true["z"], true["c"], recipe=SAMPLING, seed=0, subject="subj01", write=write)
    return clock() - start


def _names(layers: Sequence[str]) -> list[str]:
    return [str(FeatureName("unet", layer, progress=stage)) for stage in STAGES for layer in layers]


def _figure(name: str, value: float, unit: str, goal: str) -> Figure:
    return {"name": name, "value": round(value, 2), "unit": unit, "goal": goal}


def main() -> None:
    """Time, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    ldm = reseen.load_ldm("builtin", device=arguments.device)
    seconds(ldm, ["zc"], 1)  # warms up
    n_images, n_repeats = (16, 3) if arguments.quick else (1000, 1)
    figures = extraction_figures(ldm, n_images, n_repeats)
    for figure in figures:
        goal = f" (goal: {figure['goal']})" if figure["goal"] else ""
        print(f"{figure['name']:30s} {figure['value']:10.2f} {figure['unit']}{goal}")
    if arguments.json:
        about = {"machine": platform.processor() or platform.machine(), "versions": {"torch": torch.__version__}}
        arguments.json.write_text(json.dumps({**about, "n_images": n_images, "figures": figures}, indent=2))


if __name__ == "__main__":
    main()
