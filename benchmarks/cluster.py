"""Time the same units of work on one worker and on two: ``python benchmarks/cluster.py [--json FILE] [--quick]``.

Local Dask workers of one thread each, started before the clock. The fit is a decoder of synthetic betas, eight blocks
of targets; the sampling is the stage ``reconstruct`` of a digital subject with the built-in model, the model's loading
included. Median of three. Two idle cores are needed: what else runs on the machine shows in the figures.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from figures import figure, write

from reseen import Features, Split, Trials, decode, load_recipe, run
from reseen.executor import Executor, open_executor
from reseen.recipe import DecodeRecipe, with_settings

GOAL = "at least 1.7"
N_TARGETS = 8 * decode.TARGETS_AT_ONCE


def brain(n_stimuli: int, n_voxels: int) -> tuple[Trials, Features, Split]:
    """Make three trials of each stimulus whose betas answer to the first targets."""
    rng = np.random.default_rng(0)
    targets = rng.standard_normal((n_stimuli, N_TARGETS), dtype=np.float32)
    stimulus_id = np.tile(np.arange(n_stimuli), 3)
    signal = targets[:, :50] @ rng.standard_normal((50, n_voxels), dtype=np.float32)
    betas = signal[stimulus_id] + 5 * rng.standard_normal((len(stimulus_id), n_voxels), dtype=np.float32)
    zeros, ones = np.zeros_like(stimulus_id), np.ones_like(stimulus_id)
    trials = Trials("subj01", betas, stimulus_id, zeros, {"all": np.ones(n_voxels, dtype=bool)}, ones)
    n_test = n_stimuli // 10
    return trials, Features("c", targets, np.arange(n_stimuli)), Split.fixed(range(n_test, n_stimuli), range(n_test))


def fitting(quick: bool) -> Callable[[Executor], object]:
    """Give the job of fitting decoders."""
    trials, feature, split = brain(*((200, 100) if quick else (1000, 1000)))
    recipe = DecodeRecipe(alphas=tuple(np.geomspace(1, 1e6, 7)))
    return lambda executor: decode.decode(
        trials, split, feature, rois=["all"], recipe=recipe, seed=0, executor=executor
    )


def sampling(quick: bool, folder: Path) -> Callable[[Executor], object]:
    """Give the job of sampling; data, features and decoders are there before."""
    settings = ["reconstruct.conditions=['zc']", "reconstruct.batch_size=16"]
    settings += [f"reconstruct.n_draws={4 if quick else 8}", f"reconstruct.n_steps={4 if quick else 20}"]
    recipe = with_settings(load_recipe("tiny"), settings)
    run(recipe, folder, until="decode")

    def sample(executor: Executor) -> None:
        shutil.rmtree(folder / "subj01/pictures", ignore_errors=True)
        run(recipe, folder, until="reconstruct", executor=executor)

    return sample


def seconds(job: Callable[[Executor], object], n_workers: int, repeats: int) -> float:
    """Give the median time of a job on so many workers that have done it once before."""
    spent = []
    with open_executor("dask", n_workers=n_workers) as executor:
        job(executor)
        for _ in range(repeats):
            start = time.perf_counter()
            job(executor)
            spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def main() -> None:
    """Time, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="small jobs, once: to see that it runs")
    arguments = parser.parse_args()
    repeats = 1 if arguments.quick else 3
    warnings.simplefilter("ignore", UserWarning)  # most targets are noise, and want the largest penalty
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for name, job in (("ridge", fitting(arguments.quick)), ("sampling", sampling(arguments.quick, Path(folder)))):
            spent = [seconds(job, n_workers, repeats) for n_workers in (1, 2)]
            for n_workers, value in enumerate(spent, start=1):
                figures.append(figure(f"{name}_workers_{n_workers}", round(value, 2), "s"))
            figures.append(figure(f"speedup_{name}", round(spent[0] / spent[1], 2), "times", GOAL))
    for row in figures:
        print(f"{row['name']:20s} {row['value']:8.2f} {row['unit']}  {row['goal']}")
    write(arguments.json, figures, packages=("numpy", "torch", "distributed"))


if __name__ == "__main__":
    main()
