"""Time the same units of work on one worker and on two: ``python benchmarks/cluster.py [--json FILE] [--quick]``.

Local Dask workers of one thread each. Their start is timed apart, up to a first unit of nothing on each; then comes a
small job, for what a worker imports, and then the work itself. The fit is the decoders of a synthetic brain, true and
three times shuffled, eight blocks of targets each; every worker factors the brain's rows anew. The sampling is the
stage ``reconstruct`` of a simulated subject with the built-in model, the model's loading included. Two minutes on two
idle cores, which are needed: what else runs on the machine shows in the figures.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from figures import figure, write

from reseen import Features, Split, Trials, decode, load_recipe, run
from reseen.decode.tasks import TARGETS_AT_ONCE
from reseen.executor import Executor, open_executor
from reseen.recipe import DecodeRecipe, with_settings

GOAL = "at least 1.7"
N_BLOCKS = 8
Job = Callable[[Executor], None]


def brain(n_stimuli: int, n_voxels: int, n_blocks: int) -> tuple[Trials, Features, Split]:
    """Make three trials of each stimulus whose betas answer to the first targets."""
    rng = np.random.default_rng(0)
    targets = rng.standard_normal((n_stimuli, n_blocks * TARGETS_AT_ONCE), dtype=np.float32)
    stimulus_id = np.tile(np.arange(n_stimuli), 3)
    signal = targets[:, :50] @ rng.standard_normal((50, n_voxels), dtype=np.float32)
    betas = signal[stimulus_id] + 5 * rng.standard_normal((len(stimulus_id), n_voxels), dtype=np.float32)
    trials = Trials(betas, stimulus_id)
    n_test = n_stimuli // 10
    return trials, Features("c", targets, np.arange(n_stimuli)), Split.fixed(range(n_test, n_stimuli), range(n_test))


def fitting(n_stimuli: int, n_voxels: int, n_blocks: int) -> Job:
    """Give the job of fitting decoders."""
    trials, feature, split = brain(n_stimuli, n_voxels, n_blocks)
    recipe = DecodeRecipe(alphas=tuple(np.geomspace(1, 1e6, 7)))

    def fit(executor: Executor) -> None:
        decoding = decode.Decoding(trials, split, feature, rois=["all"], recipe=recipe, seed=0)
        for permutation in (None, 0, 1, 2):
            decoding.run(permutation=permutation, executor=executor)

    return fit


def sampling(folder: Path, n_samples: int, n_steps: int, *, levels: bool) -> Job:
    """Return the job of sampling after data and decoders; ``levels``: permuted levels and oracle too."""
    settings = ["reconstruct.conditions=['zc']", "reconstruct.batch_size=8"]
    settings += [f"reconstruct.n_samples={n_samples}", f"reconstruct.n_steps={n_steps}"]
    settings += [] if levels else ["evaluate.n_permutations=0", "evaluate.oracle=false"]
    recipe = with_settings(load_recipe("tiny"), settings)
    run(recipe, folder, until="decode")

    def sample(executor: Executor) -> None:
        shutil.rmtree(folder / "subj01/images", ignore_errors=True)
        run(recipe, folder, until="reconstruct", executor=executor)

    return sample


class Nothing:
    """Context without data."""

    needs_gpu = False

    def share(self, _folder: Path) -> Callable[[], Nothing]:
        """Return a function that makes the same."""
        return Nothing


def rest(_context: Nothing, _unit: int) -> None:
    """Do nothing, long enough that every worker gets a task."""
    time.sleep(0.2)


def seconds(jobs: dict[str, Job], small: dict[str, Job], n_workers: int) -> tuple[float, dict[str, float]]:
    """Return the seconds in which so many workers start, and those of each job on them after a small one."""
    spent = {}
    started = time.perf_counter()
    with open_executor("dask", n_workers=n_workers) as executor:
        list(executor.run(rest, range(n_workers), Nothing()))
        started = time.perf_counter() - started
        for name, job in jobs.items():
            if job is not small[name]:
                small[name](executor)
            started = time.perf_counter()
            job(executor)
            spent[name] = time.perf_counter() - started
    return started, spent


def main() -> None:
    """Time, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="small jobs, once: to see that it runs")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # most targets are noise, and want the largest penalty
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        n_small = 1 if arguments.quick else N_BLOCKS
        small = {"ridge": fitting(200, 100, n_small), "sampling": sampling(Path(folder) / "small", 1, 2, levels=False)}
        jobs = small
        if not arguments.quick:
            jobs = {
                "ridge": fitting(1000, 1000, N_BLOCKS),
                "sampling": sampling(Path(folder) / "job", 8, 10, levels=True),
            }
        spent = {}
        for n_workers in (1, 2):
            started, spent[n_workers] = seconds(jobs, small, n_workers)
            figures.append(figure(f"start_{n_workers}", round(started, 2), "s"))
        for name in jobs:
            figures += [figure(f"{name}_workers_{n}", round(each[name], 2), "s") for n, each in spent.items()]
            figures.append(figure(f"speedup_{name}", round(spent[1][name] / spent[2][name], 2), "times", GOAL))
    for row in figures:
        print(f"{row['name']:20s} {row['value']:8.2f} {row['unit']}  {row['goal']}")
    write(arguments.json, figures, packages=("numpy", "torch", "distributed"))


if __name__ == "__main__":
    main()
