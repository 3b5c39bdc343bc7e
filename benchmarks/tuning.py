"""Weigh strength and guidance on a validation subject: ``python benchmarks/tuning.py --out FOLDER [--json FILE]``.

The subject is simulated from a seed of its own: other images and another brain than any that results are reported
of. Its decoders are those of the recipe ``reseen``; its held-out images are reconstructed (zc, one sample) under every
setting of the grid. Printed: two-way identification by the classifier, original fixed, and pixel correlation.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
from figures import figure, write

import reseen
from reseen import pipeline
from reseen.datasets import open_subject
from reseen.evaluate import evaluate
from reseen.networks import Panel, load_builtin_network
from reseen.protocols import PROTOCOLS
from reseen.recipe import Recipe, load_recipe, with_settings
from reseen.reconstruction import generate
from reseen.results import ResultsFolder
from reseen.simulate import write_data_set

SEED = 7000
STRENGTHS = (0.5, 0.6, 0.8)
GUIDANCES = (2.0, 3.5, 5.0)
COLUMNS = ("early", "middle", "late", "pixcorr")


def prepare(out: Path, n_test: int, *, quick: bool) -> tuple[Recipe, ResultsFolder]:
    """Simulate the validation subject and decode its held-out images."""
    size = "tiny" if quick else "simulated"
    simulated = with_settings(load_recipe(size), [f"simulate.seed={SEED}", "simulate.n_subjects=1"])
    if not (out / "data").exists():
        write_data_set(simulated, out / "data")
    changes = [f"data.path={out / 'data'}", "model.name=builtin", "evaluate.n_permutations=0", f"data.n_test={n_test}"]
    if quick:
        changes += ["reconstruct.n_steps=4", "evaluate.n_bootstrap=5", "evaluate.n_derangements=5", "data.sessions="]
    recipe = with_settings(load_recipe("reseen"), changes)
    return recipe, pipeline.run(recipe, out / "results", until="decode")


def score(recipe: Recipe, results: ResultsFolder) -> dict[str, float]:
    """Reconstruct every held-out image once and score the images."""
    subject = recipe.data.subjects[0]
    ldm = reseen.load_model("builtin")
    z, c = (results.load_features(results.decode_path(subject, name)) for name in ("z", "c"))
    made = np.zeros((len(z), 1, ldm.image_size, ldm.image_size, 3), dtype=np.uint8)

    def keep(item: int, sample: int, image: np.ndarray) -> None:
        made[item, sample] = image

    jobs = [(item, 0) for item in range(len(z))]
    features = {"z": z, "c": c}
    generate(ldm, "zc", features, recipe=recipe.reconstruct, seed=recipe.seed, subject=subject, write=keep, jobs=jobs)
    stimuli = open_subject(recipe.data, subject).stimuli
    table = evaluate(
        subject,
        stimuli.images(z.stimulus_id),
        z.stimulus_id,
        {("result", "zc"): made},
        [Panel(PROTOCOLS["builtin"], (load_builtin_network("classifier"),))],
        {},
        recipe.evaluate,
        recipe.seed,
    )
    table = table[(table["level"] == "result") & table["direction"].isin(["", "original"])]
    by_layer = table[table["metric"] == "identification"].set_index("layer")["value"]
    pixels = table.loc[table["metric"] == "pixcorr", "value"].item()
    return {**{layer: float(by_layer[layer]) for layer in COLUMNS[:3]}, "pixcorr": float(pixels)}


def main() -> None:
    """Run the grid, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/tuning"))
    parser.add_argument("--n", type=int, default=50, help="held-out images")
    parser.add_argument("--quick", action="store_true", help="a small subject, one setting: to see that it runs")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    grid = list(itertools.product(STRENGTHS, GUIDANCES))[: 1 if arguments.quick else None]
    out = arguments.out.resolve()
    base, results = prepare(
        out / "quick" if arguments.quick else out, 4 if arguments.quick else arguments.n, quick=arguments.quick
    )
    figures = []
    print("strength guidance " + " ".join(f"{name:>8s}" for name in COLUMNS) + "  seconds")
    for strength, guidance in grid:
        start = time.monotonic()
        recipe = with_settings(base, [f"reconstruct.strength={strength}", f"reconstruct.guidance={guidance}"])
        found = score(recipe, results)
        numbers = " ".join(f"{found[name]:8.3f}" for name in COLUMNS)
        print(f"{strength:8.1f} {guidance:8.1f} {numbers} {time.monotonic() - start:8.0f}", flush=True)
        for name in COLUMNS:
            label = f"{name}_strength{strength}_guidance{guidance}"
            figures.append(figure(label, round(found[name], 4), "share"))
    write(arguments.json, figures)


if __name__ == "__main__":
    main()
