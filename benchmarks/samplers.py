"""Scores against network evaluations of the samplers: ``python benchmarks/samplers.py --out FOLDER [--json FILE]``.

The held-out images of the validation subject of ``tuning.py`` are reconstructed from decoded z and c (condition zc) by
DDIM and by DPM-Solver++(2M) in fewer and fewer steps. Every run noises to the same timestep (``noise_index =
"fixed"``) with the same noise. Each score is compared with that of DDIM in 50 steps image by image: the mean
difference, with a 95 % bootstrap interval over images. An evaluation is one pass of the U-Net; a guided step has two.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from figures import figure, write
from tuning import prepare

import reseen
from reseen import statistics
from reseen.datasets import open_subject
from reseen.ldm.sampling import sampling_schedule
from reseen.recipe import ReconstructRecipe, with_settings
from reseen.reconstruction import generate

RUNS = [(sampler, n_steps) for n_steps in (50, 25, 20, 15, 10) for sampler in ("ddim", "dpmpp")]
SCORES = {"early": "identification", "late": "identification", "pixcorr": "pixcorr"}
"""Name of a score: layer of the classifier, or pixels -> metric."""


def reconstruct(
    ldm: reseen.LatentDiffusion,
    z: reseen.Features,
    c: reseen.Features,
    recipe: ReconstructRecipe,
    seed: int,
    subject: str,
) -> np.ndarray:
    """Return the images ``(n, n_samples, height, width, 3)`` of one run."""
    made = np.zeros((len(z), recipe.n_samples, ldm.image_size, ldm.image_size, 3), dtype=np.uint8)

    def keep(item: int, sample: int, image: np.ndarray) -> None:
        made[item, sample] = image

    generate(ldm, "zc", {"z": z, "c": c}, recipe=recipe, seed=seed, subject=subject, write=keep)
    return made


def each_score(originals: np.ndarray, images: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Return the scores of each image, ``{run: {score: (n,)}}``; the samples of an image are averaged."""
    each = reseen.score(images, originals, networks="classifier", n_bootstrap=10, n_pairings=10).each
    each = each[(each["level"] == "result") & each["direction"].isin(["", "original"])]
    found: dict[str, dict[str, np.ndarray]] = {run: {} for run in images}
    for run, scores in found.items():
        for name, metric in SCORES.items():
            rows = each[(each["condition"] == run) & (each["metric"] == metric)]
            if metric == "identification":
                rows = rows[rows["layer"] == name]
            scores[name] = rows.groupby("stimulus_id")["value"].mean().sort_index().to_numpy(np.float64)
    return found


def main() -> None:
    """Run every sampler, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/samplers"))
    parser.add_argument("--n", type=int, default=100, help="held-out images")
    parser.add_argument("--samples", type=int, default=1, help="samples of each image")
    parser.add_argument("--quick", action="store_true", help="a small subject, few steps: to see that it runs")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    runs = [("ddim", 4), ("dpmpp", 4)] if arguments.quick else RUNS
    folder, n_test = (out / "quick", 4) if arguments.quick else (out, arguments.n)
    base, results = prepare(folder, n_test, quick=arguments.quick)
    subject = base.data.subjects[0]
    ldm = reseen.load_model("builtin")
    z, c = (results.load_features(results.decode_path(subject, name)) for name in ("z", "c"))
    images: dict[str, np.ndarray] = {}
    spent: dict[str, tuple[int, int, float]] = {}
    for sampler, n_steps in runs:
        settings = [f"n_steps={n_steps}", f'sampler="{sampler}"', f"n_samples={arguments.samples}"]
        settings = [f"reconstruct.{setting}" for setting in (*settings, 'noise_index="fixed"', "batch_size=64")]
        recipe = with_settings(base, settings).reconstruct
        schedule = sampling_schedule(ldm, sampler)
        noised, timesteps = schedule.partial_timesteps(n_steps, recipe.strength, recipe.noise_index)
        start = time.process_time()
        name = f"{sampler}_{n_steps}"
        images[name] = reconstruct(ldm, z, c, recipe, base.seed, subject)
        spent[name] = noised, 2 * len(timesteps), time.process_time() - start
        print(f"{name}: {spent[name][2]:.0f} s of the processor", flush=True)
    originals = open_subject(base.data, subject).stimuli.images(z.stimulus_id)
    scores = each_score(originals, images)
    weights = statistics.bootstrap_weights(np.arange(len(z)), 2000, seed=0)
    reference = scores[next(iter(scores))]
    figures = []
    print("run          noised to  evaluations  seconds  " + "".join(f"{name:>34s}" for name in SCORES))
    for run, found in scores.items():
        noised, n_evaluations, seconds = spent[run]
        line = f"{run:12s} {noised:9d} {n_evaluations:12d} {seconds:8.0f}  "
        figures += [
            figure(f"{run}: evaluations", n_evaluations, "evaluations/image"),
            figure(f"{run}: time", round(seconds, 1), "s"),
        ]
        for name, values in found.items():
            difference = values - reference[name]
            low, high = statistics.interval(statistics.bootstrap_mean(difference, weights))
            line += f"{values.mean():10.3f} {difference.mean():+.3f} ({low:+.3f} to {high:+.3f})"
            figures += [
                figure(f"{run}: {name}", round(float(values.mean()), 4)),
                figure(f"{run}: {name}, difference", round(float(difference.mean()), 4)),
                figure(f"{run}: {name}, difference, lowest", round(low, 4)),
                figure(f"{run}: {name}, difference, highest", round(high, 4)),
            ]
        print(line)
    write(arguments.json, figures)


if __name__ == "__main__":
    main()
