"""Time the encoding analyses: ``python benchmarks/encode.py [--json FILE] [--quick] [--device cuda]``.

Five layers of the built-in model's U-Net at three stages each, 20 steps, guidance 5, 1,000 images and 2,500 voxels:

- recording_overhead: what recording all of them adds to the denoising that keeps only zc, in memory and to files
- one_pass_speedup: one pass for all layers against one pass for each layer
- fit_speedup_vs_himalaya: all fifteen models by reseen, and one by one by himalaya's KernelRidgeCV
- speedup_vs_himalaya: both together, features and fits, one pass and reseen against a pass for each layer and himalaya

Denoising is timed on 48 of the images, since every image takes as long. On the CPU its seconds are those of
the processor, which other work on the machine does not lengthen.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from encode_fits import compare
from figures import figure, write

import reseen
from reseen import Features, LatentDiffusion
from reseen.analyses import FeatureName
from reseen.files import write_tensors
from reseen.ldm.denoised_features import record_features
from reseen.ldm.extraction import z_size
from reseen.ldm.recording import default_layers
from reseen.ldm.recording_plan import plan_recording
from reseen.recipe import ExtractRecipe, ReconstructRecipe

STAGES = (0.2, 0.66, 1.0)
SAMPLING = ReconstructRecipe(n_steps=20, strength=0.8, guidance=5.0)
Figure = dict[str, Any]


def time_extraction(
    ldm: LatentDiffusion, n_images: int, n_repeats: int, sampling: ReconstructRecipe
) -> dict[str, float]:
    """Give the seconds for so many images: plain, with all layers recorded, written too, and layer by layer."""
    layers = default_layers(ldm)
    everything = ["zc", *_names(layers)]
    timed: dict[str, list[float]] = {"plain": [], "recorded": [], "written": []}
    for _ in range(n_repeats):  # in turn, so that a change of the machine's pace meets all
        timed["plain"].append(seconds(ldm, ["zc"], n_images, sampling))
        timed["recorded"].append(seconds(ldm, everything, n_images, sampling))
        with tempfile.TemporaryDirectory() as folder:
            timed["written"].append(seconds(ldm, everything, n_images, sampling, Path(folder)))
    layer_by_layer = sum(seconds(ldm, _names([layer]), n_images, sampling) for layer in layers)
    return {**{name: min(spent) for name, spent in timed.items()}, "layer by layer": layer_by_layer}


def measure(ldm: LatentDiffusion, *, quick: bool) -> list[Figure]:
    """Time features and fits, and give the figures."""
    n_timed, n_images, n_voxels, n_spaces, n_rounds = (1, 60, 40, 1, 1) if quick else (48, 1000, 2500, 15, 3)
    sampling = SAMPLING.model_copy(update={"n_steps": 5}) if quick else SAMPLING
    took = time_extraction(ldm, n_timed, 1 if quick else 3, sampling)
    fits, differ = compare(n_images, n_voxels, n_spaces, n_rounds)
    plan = plan_recording(ldm, ["zc", *_names(default_layers(ldm))], recipe=sampling)
    all_images = n_images / n_timed
    theirs = took["layer by layer"] * all_images + fits["himalaya"]
    ours = took["recorded"] * all_images + fits["reseen"]
    return [
        figure("plain denoising", plan.n_evaluations(n_timed) / took["plain"], "U-Net evaluations a second"),
        figure("recording_overhead", 100 * (took["recorded"] / took["plain"] - 1), "%", "under 20"),
        figure("recording_overhead_to_files", 100 * (took["written"] / took["plain"] - 1), "%", "under 20"),
        figure("one_pass_speedup", took["layer by layer"] / took["recorded"], "times"),
        figure("fit_seconds_reseen", fits["reseen"], "s"),
        figure("fit_seconds_himalaya", fits["himalaya"], "s"),
        figure("fit_speedup_vs_himalaya", fits["himalaya"] / fits["reseen"], "times"),
        figure("largest_difference_of_r", differ, "r", "rounding"),
        figure("speedup_vs_himalaya", theirs / ours, "times", "at least 5"),
    ]


def seconds(
    ldm: LatentDiffusion, names: Sequence[str], n: int, sampling: ReconstructRecipe, folder: Path | None = None
) -> float:
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
            write_tensors(folder / f"{number}-{block}", {"array": array, "stimulus_id": ids}, {})

    plan = plan_recording(ldm, names, recipe=sampling)
    clock = time.process_time if ldm.device == "cpu" else time.perf_counter
    start = clock()
    record_features(plan, ldm, true["z"], true["c"], recipe=sampling, seed=0, subject="subj01", write=write)
    return clock() - start


def _names(layers: Sequence[str]) -> list[str]:
    return [str(FeatureName("unet", layer, progress=stage)) for stage in STAGES for layer in layers]


def main() -> None:
    """Time, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="one image and one space: to see that it runs")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    ldm = reseen.load_model("builtin", device=arguments.device)
    if not arguments.quick:
        seconds(ldm, ["zc"], 1, SAMPLING)  # warms up
    figures = measure(ldm, quick=arguments.quick)
    for row in figures:
        goal = f" (goal: {row['goal']})" if row["goal"] else ""
        print(f"{row['name']:30s} {row['value']:12.4g} {row['unit']}{goal}")
    write(arguments.json, figures, packages=("torch", "himalaya"))


if __name__ == "__main__":
    main()
