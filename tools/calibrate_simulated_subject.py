"""Print properties of simulated responses: ``python tools/calibrate_simulated_subject.py --seed S --n-subjects N``.

Everything is on the brain's side: nothing here decodes, and no image is reconstructed or scored.
docs/simulated_subject.md holds the tables beside what is known of real brains, and says how certain that is.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from reseen.recipe import SimulateRecipe
from reseen.simulate import SimulatedSubject, simulated_subjects
from reseen.simulate.anatomy import STREAMS, Anatomy
from reseen.simulate.voxels import PROPERTIES

DISTANCES = ((0, 5), (5, 10), (10, 20), (20, 40), (40, 200))
ECCENTRICITIES = ((0.0, 1.0), (1.0, 2.0), (2.0, 4.0))


def residuals(subject: SimulatedSubject) -> NDArray[np.float32]:
    """Give each trial's response, z-scored by session, without the mean of its image, (n_trials, n_voxels)."""
    scaled = np.concatenate([(part - part.mean(axis=0)) / part.std(axis=0) for part in subject.betas])
    _, row, count = np.unique(np.concatenate(subject.stimulus_id), return_inverse=True, return_counts=True)
    total = np.zeros((len(count), scaled.shape[1]))
    np.add.at(total, row, scaled)
    rest = (scaled - (total / count[:, None])[row]) * np.sqrt(count / np.maximum(count - 1, 1))[row, None]
    return rest[count[row] > 1].astype(np.float32)


def participation_ratio(variance: NDArray[np.floating]) -> float:
    """Give the effective number of dimensions of a spectrum."""
    return float(variance.sum() ** 2 / np.sum(variance**2))


def spectrum(responses: NDArray[np.floating]) -> NDArray[np.floating]:
    """Give the variance along each principal dimension of (n, n_voxels), largest first."""
    return np.linalg.svd(responses - responses.mean(axis=0), compute_uv=False) ** 2 / len(responses)


def slope(variance: NDArray[np.floating], first: int = 3, last: int = 80) -> float:
    """Give the exponent of the power law through some of a spectrum's dimensions."""
    rank = np.arange(first, min(last, len(variance)))
    return float(np.polyfit(np.log(rank), np.log(variance[rank - 1]), 1)[0])


def print_streams(subject: SimulatedSubject, anatomy: Anatomy) -> None:
    """Print noise ceilings, dimensionality and the share of categories, a row a stream."""
    share = subject.responses.category_proportion()
    print("| stream | voxels | ncsnr aimed at | ncsnr measured | dimensions | slope | category share |")
    print("|---|---|---|---|---|---|---|")
    rows = [*((name, anatomy.where(name)) for name in STREAMS), ("all", np.ones(len(anatomy), dtype=bool))]
    for name, voxels in rows:
        variance = spectrum(subject.responses.signal[:, voxels])
        aim, found, categories = (
            " / ".join(f"{q:.2f}" for q in np.percentile(values[voxels], wanted))
            for values, wanted in (
                (subject.scanner.ncsnr, (25, 50, 75)),
                (subject.ncsnr, (25, 50, 75)),
                (share, (50, 100)),
            )
        )
        dimensions = f"{participation_ratio(variance):.1f} | {slope(variance):.2f}"
        print(f"| {name} | {voxels.sum()} | {aim} | {found} | {dimensions} | {categories} |")


def print_fields(subject: SimulatedSubject, anatomy: Anatomy) -> None:
    """Print the median receptive field size against eccentricity."""
    cortex = subject.cortex
    eccentricity = np.hypot(cortex.x, cortex.y)
    print("| area | " + " | ".join(f"{low:g}-{high:g}°" for low, high in ECCENTRICITIES) + " |")
    print("|---|" + "---|" * len(ECCENTRICITIES))
    areas = [(f"V{a}", anatomy.area == a) for a in (1, 2, 3)]
    for name, voxels in areas + [(name, anatomy.where(name)) for name in PROPERTIES if name != "early"]:
        inside = [voxels & (eccentricity >= low) & (eccentricity < high) for low, high in ECCENTRICITIES]
        print(f"| {name} | " + " | ".join(f"{np.median(cortex.size[rows]):.2f}°" for rows in inside) + " |")


def print_noise(subject: SimulatedSubject, anatomy: Anatomy) -> None:
    """Print how noise correlates with distance, and how much of it lies along the signal's leading dimensions."""
    rest = residuals(subject)
    scaled = (rest - rest.mean(axis=0)) / rest.std(axis=0)
    correlation = scaled.T @ scaled / len(scaled)
    distance = np.linalg.norm(anatomy.position[:, None] - anatomy.position, axis=2)
    signal = subject.responses.signal - subject.responses.signal.mean(axis=0)
    alike = np.corrcoef(signal.T)
    pairs = np.triu(np.ones_like(distance, dtype=bool), 1)
    print("| pairs of voxels | noise correlation | signal correlation |")
    print("|---|---|---|")
    for low, high in DISTANCES:
        rows = pairs & (distance >= low) & (distance < high)
        print(f"| {low}-{high} mm | {correlation[rows].mean():.3f} | {alike[rows].mean():.3f} |")
    for name, rows in (("signals alike (r > .5)", alike > 0.5), ("signals opposed (r < -.5)", alike < -0.5)):
        print(f"| {name}, over 40 mm | {correlation[pairs & rows & (distance > 40)].mean():.3f} | |")
    directions = np.linalg.svd(signal / signal.std(axis=0), full_matrices=False)[2][:20]
    share = np.sum((scaled @ directions.T) ** 2) / np.sum(scaled**2)
    print(f"\nNoise variance along the signal's 20 leading dimensions: {share:.3f}; by chance {20 / len(anatomy):.3f}.")
    together = participation_ratio(spectrum(scaled))
    print(f"Effective dimensions of the noise: {together:.0f}, of {len(anatomy)} voxels.")


def main(seed: int, n_subjects: int) -> None:
    """Print the tables of some simulated subjects."""
    anatomy, _, subjects = simulated_subjects(SimulateRecipe(seed=seed, n_subjects=n_subjects))
    for subject in subjects:
        print(f"\n## {subject.name}, seed {seed}\n")
        print_streams(subject, anatomy)
        print()
        print_fields(subject, anatomy)
        print()
        print_noise(subject, anatomy)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n-subjects", type=int, default=1)
    arguments = parser.parse_args()
    main(arguments.seed, arguments.n_subjects)
