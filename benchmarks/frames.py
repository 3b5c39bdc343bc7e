"""Count function calls from the command to the computations: ``python benchmarks/frames.py [--json FILE] [--quick]``.

`reseen run tiny` runs in a process of its own with ``OMP_NUM_THREADS=1``, so that one stack has the complete chain. At
each call of a computation (`COMPUTATIONS`), the frames of reseen on the stack are recorded; those of other libraries do
not count. Printed are the smallest and the largest number of frames, and the longest chain.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figures import figure, write

PACKAGE = str(Path(importlib.import_module("reseen").__file__ or "").parent)
COMPUTATIONS = {
    "ridge": ("reseen.ridge.gram.eigenvectors", "reseen.ridge.factored.score"),
    "U-Net": ("diffusers.UNet2DConditionModel.forward",),
    "evaluation network": ("reseen.networks.builtin.BuiltinNetwork._outputs",),
    "metric": ("reseen.metrics.scores.correlation_matrix", "reseen.metrics.scores.ssim"),
}
"""Functions that a chain ends at: the factorisation and the scores of the ridge, a forward pass, a metric."""
QUICK = ("evaluate.n_permutations=0", "reconstruct.n_samples=1", "simulate.n_test=4", 'reconstruct.conditions=["zc"]')
GOAL = 8


def record(path: str, chains: set[tuple[str, ...]]) -> None:
    """Replace a function or method, wherever reseen has imported it, by one that records the chain of its calls."""
    owner, name = path.rsplit(".", 1)
    try:
        parent: Any = importlib.import_module(owner)
    except ModuleNotFoundError:
        module, class_name = owner.rsplit(".", 1)
        parent = getattr(importlib.import_module(module), class_name)
    function: Callable[..., Any] = getattr(parent, name)

    @functools.wraps(function)
    def recording(*args: Any, **kwargs: Any) -> Any:
        codes = [frame.f_code for frame, _ in traceback.walk_stack(sys._getframe(1))]
        chain = [code.co_name for code in reversed(codes) if code.co_filename.startswith(PACKAGE)]
        own = [function.__name__] if function.__code__.co_filename.startswith(PACKAGE) else []
        chains.add((*chain, *own))
        return function(*args, **kwargs)

    setattr(parent, name, recording)
    for module in [module for key, module in sys.modules.items() if key.startswith("reseen")]:
        for known in [known for known, value in vars(module).items() if value is function]:
            setattr(module, known, recording)


def run(out: Path, *, quick: bool) -> None:
    """Run the recipe in this process, and write the chains of each computation into ``out``."""
    from reseen import cli
    from reseen.imports import hide_broken_torchvision

    hide_broken_torchvision()  # as before any import of diffusers
    importlib.import_module("reseen.pipeline")  # functions are replaced where they have been imported
    found: dict[str, set[tuple[str, ...]]] = {name: set() for name in COMPUTATIONS}
    for name, paths in COMPUTATIONS.items():
        for path in paths:
            record(path, found[name])
    settings = [f"--set={setting}" for setting in QUICK if quick]
    sys.argv = ["reseen", "run", "tiny", "--out", str(out / "run"), *settings]
    try:
        cli.main()
    finally:
        written = {name: sorted(chains, key=len) for name, chains in found.items()}
        (out / "chains.json").write_text(json.dumps(written), encoding="utf-8")


def measure(*, quick: bool) -> dict[str, list[list[str]]]:
    """Return the chains of each computation, the shortest first; the run has a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--run", folder, *(["--quick"] if quick else [])]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        found: dict[str, list[list[str]]] = json.loads(Path(folder, "chains.json").read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Run, print the chains and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer images: to see that it runs")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        run(options.run, quick=options.quick)
        return
    figures = []
    for name, chains in measure(quick=options.quick).items():
        print(f"{name}: {len(chains[0])} to {len(chains[-1])} frames (goal: {GOAL})")
        print("   " + " > ".join(chains[-1]))
        for end, chain in (("fewest", chains[0]), ("most", chains[-1])):
            figures.append(figure(f"{name}: {end}", len(chain), "frames", f"at most {GOAL}"))
    write(options.json, figures, packages=())


if __name__ == "__main__":
    main()
