"""Set the ridge beside its peers: ``python benchmarks/ridge.py [--json FILE] [--quick] [--true-size]``.

Same trials, targets, folds and penalties for all, float32, each contender in a process of its own. Sizes grow in
stimuli, voxels and targets; what would not fit into the time left (``--seconds``) prints ``not measured``, as do GPU
rows without a GPU.

- seconds: median of up to three fits
- peak: largest resident memory of the process, data included; on a GPU the most that torch had allocated there
- floor: share of that time which the float32 products of reseen's cheaper form would take at the rate of numpy's matrix
  product, measured in the same run; decompositions and float64 are not in the floor
- alphas: share of a sample of targets whose penalty is that of a float64 reference written without reseen
- error: largest difference of its predictions of 64 trials from the reference's, in standard deviations of the target's
  predictions, over all sampled targets, those of another penalty included

scikit-learn's RidgeCV chooses one penalty for all targets where folds are given, so that its ``alphas`` and ``error``
are empty. CUDA is started before the first fit. A second table makes voxels worse and worse conditioned, at a penalty
of a tenth of the smallest eigenvalue.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from figures import figure, machine, peak_memory, write

N_FOLDS, N_SAMPLE, N_SHOWN = 5, 256, 64
ALPHAS_PER_TRIAL = np.geomspace(0.01, 10, 7)
PACKAGES = ("numpy", "torch", "himalaya", "scikit-learn", "scipy")
Size = tuple[int, int, int, int]  # stimuli, trials, voxels, targets
HEADLINE: Size = (2000, 6000, 2000, 6400)
SIZES: tuple[Size, ...] = ((500, 1500, 500, 1600), HEADLINE, (2000, 6000, 2000, 25600), (1000, 3000, 7604, 6400))
QUICK: tuple[Size, ...] = ((40, 120, 30, 50),)
QUICK_CONTENDERS = ("reseen", "himalaya, torch")
TRUE: tuple[Size, ...] = ((8859, 24980, 5917, 6400), (8859, 24980, 5917, 59136), (8859, 24980, 7604, 59136))
CONTENDERS = (
    "reseen",
    "reseen, predictions only",
    "reseen, cuda",
    "himalaya, torch",
    "himalaya, numpy",
    "himalaya, torch_cuda",
    "scikit-learn",
)


class Targets:
    """Be a table of targets that is drawn when its columns are asked for: nothing of it lies in memory."""

    def __init__(self, code: np.ndarray, n_targets: int) -> None:
        self.code, self.shape = code, (len(code), n_targets)

    def __getitem__(self, key: tuple[slice, Any]) -> np.ndarray:
        """Give some columns; a column is the same whatever else is asked for. Some are noise, some hold little."""
        columns = np.arange(self.shape[1])[key[1]]
        drawn = np.empty((self.shape[0], len(columns)), dtype=np.float32)
        for j, column in enumerate(columns):
            rng = np.random.default_rng((1, column))
            weights = rng.standard_normal(self.code.shape[1], dtype=np.float32)
            signal = self.code @ (weights * np.float32(rng.uniform(0.02, 1.5)))
            drawn[:, j] = signal + rng.standard_normal(len(signal), dtype=np.float32) + 3
        return drawn[key[0]]


class Stored:
    """Be the same table in a file, column after column: read when asked for, and nothing of it lies in memory."""

    def __init__(self, table: Targets) -> None:
        self.file, self.shape = tempfile.NamedTemporaryFile(), table.shape  # noqa: SIM115 (gone with this object)
        for start in range(0, self.shape[1], 1000):
            self.file.write(np.ascontiguousarray(table[:, start : start + 1000].T))
        self.file.flush()

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        """Give all rows of some columns, which are a slice."""
        n, (start, stop, _) = self.shape[0], key[1].indices(self.shape[1])
        columns = np.fromfile(self.file.name, np.float32, n * (stop - start), offset=4 * n * start)
        return columns.reshape(stop - start, n).T[key[0]]


def draw(size: Size) -> tuple[np.ndarray, Targets, np.ndarray]:
    """Give betas, targets, and the stimulus of each trial: redundant voxels, repetitions unequal where they must be."""
    n_stimuli, n_trials, n_voxels, n_targets = size
    rng = np.random.default_rng(0)
    code = rng.standard_normal((n_stimuli, 100)).astype(np.float32) / np.sqrt(1 + np.arange(100, dtype=np.float32))
    row = np.concatenate([np.arange(n_stimuli), rng.permutation(np.repeat(np.arange(n_stimuli), 2))])[:n_trials]
    betas = (code @ rng.standard_normal((100, n_voxels), dtype=np.float32))[row]
    betas += 3 * rng.standard_normal(betas.shape, dtype=np.float32)
    return betas, Targets(code, n_targets), row


def reseen(size: Size, device: str = "numpy", *, keep: bool = True) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Give what fits, and what tells penalties and predictions of its fit."""
    from reseen.ridge import factor, fit_ridge, predict_blocks

    betas, table, row = draw(size)
    alphas = (ALPHAS_PER_TRIAL * len(row)).tolist()
    targets = table[:, :] if keep else Stored(table)

    def fit() -> Any:
        if keep:
            return fit_ridge(betas, targets, target_row=row, groups=row, alphas=alphas, n_folds=N_FOLDS, device=device)
        factored = factor(betas, table.shape, target_row=row, groups=row, alphas=alphas, n_folds=N_FOLDS, device=device)
        return [predicted for _, predicted in predict_blocks(factored, targets, betas[:N_SHOWN])]

    sample = sampled(size)
    if keep:
        return fit, lambda fitted: (fitted.alpha[sample], fitted.predict(betas[:N_SHOWN])[:, sample])
    return fit, lambda parts: (None, np.concatenate(parts, axis=1)[:, sample])


def himalaya(size: Size, backend: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Give the same for himalaya's RidgeCV."""
    from himalaya.backend import set_backend
    from himalaya.ridge import RidgeCV
    from himalaya.scoring import l2_neg_loss
    from sklearn.model_selection import PredefinedSplit

    there = set_backend(backend)
    betas, targets, row = standardised(size)
    solver = {"score_func": l2_neg_loss, "warn": False}
    folds = PredefinedSplit(fold_of(row))
    model = RidgeCV(ALPHAS_PER_TRIAL * len(row), fit_intercept=True, cv=folds, solver_params=solver)
    betas, targets, sample = there.asarray(betas), there.asarray(targets), sampled(size)

    def fit() -> Any:
        model.fit(betas, targets)
        there.to_numpy(model.best_alphas_)  # waits for the device
        return model

    return (
        fit,
        lambda fitted: (
            there.to_numpy(fitted.best_alphas_)[sample],
            there.to_numpy(fitted.predict(betas[:N_SHOWN]))[:, sample],
        ),
    )


def sklearn(size: Size) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Give the same for scikit-learn's RidgeCV, which has one penalty for all."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import PredefinedSplit

    betas, targets, row = standardised(size)
    folds = PredefinedSplit(fold_of(row))
    model = RidgeCV(ALPHAS_PER_TRIAL * len(row), scoring="neg_mean_squared_error", cv=folds)
    return lambda: model.fit(betas, targets), lambda _: (None, None)


def standardised(size: Size) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give what the peers need: standardised voxels, and targets repeated for every trial."""
    betas, targets, row = draw(size)
    return (betas - betas.mean(0)) / betas.std(0), targets[:, :][row], row


def fold_of(row: np.ndarray) -> np.ndarray:
    """Give the folds that reseen makes of these groups."""
    from reseen.ridge import assign_folds

    return assign_folds(row, len(row), N_FOLDS, 0)


def sampled(size: Size) -> np.ndarray:
    """Give the targets that are compared."""
    return np.unique(np.linspace(0, size[3] - 1, N_SAMPLE).astype(int))


def reference(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Give penalties and predictions of sampled targets in float64: one factor for each fold and penalty."""
    betas, table, row = draw(size)
    x = (betas - betas.mean(0, dtype=np.float64)) / betas.std(0, dtype=np.float64)
    y, alphas, fold = table[:, sampled(size)].astype(np.float64)[row], ALPHAS_PER_TRIAL * len(row), fold_of(row)
    error = np.zeros((len(alphas), y.shape[1]))
    for k in range(N_FOLDS):
        train, test = fold != k, fold == k
        mx, my = x[train].mean(0), y[train].mean(0)
        for i, weights in enumerate(solutions(x[train] - mx, y[train] - my, alphas)):
            error[i] += (((x[test] - mx) @ weights + my - y[test]) ** 2).sum(0)
    best = error.argmin(0)
    predicted = np.empty((N_SHOWN, y.shape[1]))
    for i, weights in enumerate(solutions(x, y - y.mean(0), alphas)):
        predicted[:, best == i] = x[:N_SHOWN] @ weights[:, best == i]
    return alphas[best], predicted + y.mean(0)


def solutions(a: np.ndarray, b: np.ndarray, alphas: np.ndarray) -> Iterator[np.ndarray]:
    """Give the weights, (n_voxels, n_targets), at each penalty."""
    from scipy.linalg import cho_factor, cho_solve

    dual = a.shape[1] > a.shape[0]
    gram, moments = (a @ a.T, b) if dual else (a.T @ a, a.T @ b)
    for alpha in alphas:
        solved = cho_solve(cho_factor(gram + alpha * np.eye(len(gram))), moments)
        yield a.T @ solved if dual else solved


def rate() -> float:
    """Measure float32 operations a second of a matrix product."""
    a = np.random.default_rng(0).standard_normal((2048, 2048), dtype=np.float32)
    spent = []
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        spent.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(spent)


def floor(size: Size) -> float:
    """Give the seconds that the float32 products of reseen's cheaper form take at the measured rate."""
    from reseen.ridge.heldout import Sides, products

    row = draw((size[0], size[1], 2, 1))[2]
    fold, rank = fold_of(row), min(size[1], size[2])
    sides = [Sides.of(row, fold == k, size[0]) for k in range(N_FOLDS)]
    kind = {"n_stimuli": size[0], "rank": rank, "n_alphas": len(ALPHAS_PER_TRIAL), "repeated": True}
    weights = size[3] * rank * (size[0] + size[2])
    return 2 * (min(products(sides, n_targets=size[3], **kind).values()) + weights) / rate()


def start_cuda() -> None:
    """Start CUDA and its libraries of products and decompositions, once a process: no fit is to pay for that."""
    import torch

    matrix = torch.eye(64, dtype=torch.float64, device="cuda")
    torch.linalg.eigh(matrix @ matrix)
    torch.linalg.qr(matrix.float() @ matrix.float())
    torch.cuda.synchronize()


def peak_on_gpu() -> float:
    """Give the most memory that torch had allocated on the GPU, in GiB."""
    import torch

    return float(torch.cuda.max_memory_allocated() / 2**30)


def run_one(name: str, size: Size, out: Path, seconds: float) -> None:
    """Fit up to three times in this process, and write figures, penalties and predictions to ``out``."""
    if name == "reference":
        start = time.perf_counter()
        best, predicted = reference(size)
        about = {"seconds": time.perf_counter() - start}
        np.savez(out, alpha=best, predicted=predicted, about=json.dumps(about))
        return
    makers: dict[str, Callable[[], tuple[Callable[[], Any], Callable[[Any], Any]]]] = {
        "reseen": lambda: reseen(size),
        "reseen, predictions only": lambda: reseen(size, keep=False),
        "reseen, cuda": lambda: reseen(size, "cuda"),
        "himalaya, torch": lambda: himalaya(size, "torch"),
        "himalaya, numpy": lambda: himalaya(size, "numpy"),
        "himalaya, torch_cuda": lambda: himalaya(size, "torch_cuda"),
        "scikit-learn": lambda: sklearn(size),
    }
    on_gpu = "cuda" in name
    if on_gpu:
        start_cuda()
    fit, tell = makers[name]()
    spent: list[float] = []
    while len(spent) < 3 and sum(spent) + max(spent, default=0) < seconds:
        start = time.perf_counter()
        fitted = fit()
        spent.append(time.perf_counter() - start)
    peak = peak_on_gpu() if on_gpu else peak_memory()
    alpha, predicted = tell(fitted)
    about = {"seconds": statistics.median(spent), "n": len(spent), "peak": peak}
    if name == "reseen":
        about["floor"] = floor(size)
    known = {key: value for key, value in {"alpha": alpha, "predicted": predicted}.items() if value is not None}
    np.savez(out, about=json.dumps(about), **known)


def work(size: Size) -> float:
    """Count the operations of a plain solution, by which a contender's time at the next size is guessed."""
    _, n, p, t = size
    rank = min(n, p)
    return float(n * rank**2 * 2 + len(ALPHAS_PER_TRIAL) * n * (0.8 * n * (p + t) / N_FOLDS + p * t / N_FOLDS))


def contend(name: str, size: Size, folder: Path, seconds: float) -> dict[str, np.ndarray] | None:
    """Run one contender in a process of its own; None if it failed or took too long."""
    out = folder / f"{name.replace(', ', '_').replace(' ', '_')}_{'x'.join(map(str, size))}.npz"
    one = ["--one", name, "--size", ",".join(map(str, size)), "--out", str(out), "--seconds", str(seconds / 3)]
    try:
        subprocess.run([sys.executable, __file__, *one], check=True, timeout=seconds, capture_output=True)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        print(
            f"{name}: {(getattr(error, 'stderr', b'') or b'too slow').decode().strip().splitlines()[-1]}",
            file=sys.stderr,
        )
        return None
    with np.load(out) as stored:
        return {key: stored[key] for key in stored.files}


def compare(
    sizes: tuple[Size, ...], names: Sequence[str], seconds: float, folder: Path
) -> dict[tuple[Size, str], dict[str, Any]]:
    """Run contenders at all sizes within the time, print a line for each, and give their figures."""
    import torch

    end, rows, spent = time.monotonic() + seconds, {}, {}
    columns = f"{'fits':>5s}{'seconds':>9s}{'peak GiB':>10s}{'floor':>8s}{'alphas':>9s}{'error':>10s}"
    print(f"{'pictures x trials, voxels, targets':36s}{'contender':26s}{columns}")
    for size in sizes:
        truth = None
        for name in ("reference", *names):
            left = end - time.monotonic()
            guess = spent.get(name, (0.0, 1.0))
            expected = guess[0] * work(size) / guess[1]
            needed = size == HEADLINE and name in ("reference", "reseen", "himalaya, torch")
            late = left < 1 or expected > (left if needed else left / 2)  # the others leave time for what follows
            if ("cuda" in name and not torch.cuda.is_available()) or late:
                why = "no GPU" if "cuda" in name else f"about {expected:.0f} s, {max(left, 0):.0f} s left"
                rows[size, name] = {"why": why}
            else:
                start = time.monotonic()
                found = contend(name, size, folder, left)
                about = {} if found is None else json.loads(str(found["about"]))
                spent[name] = (about.get("seconds", time.monotonic() - start), work(size))
                if name == "reference":
                    truth = found
                    continue
                rows[size, name] = {**about, **agreement(found, truth)} if found else {"why": "failed or too slow"}
            if name != "reference":
                show(size, name, rows[size, name], rows.get((size, "reseen"), {}))
    return rows


def agreement(found: dict[str, np.ndarray], truth: dict[str, np.ndarray] | None) -> dict[str, float]:
    """Compare penalties and predictions with the reference's."""
    if truth is None or "predicted" not in found:
        return {}
    difference = np.abs(found["predicted"] - truth["predicted"]).max(axis=0) / truth["predicted"].std(axis=0)
    error = {"error": float(difference.max())}
    if "alpha" not in found:
        return error
    return {"alphas": float(np.isclose(found["alpha"], truth["alpha"], rtol=1e-3).mean()), **error}


def show(size: Size, name: str, row: dict[str, Any], ours: dict[str, Any]) -> None:
    """Print one line of the table."""
    head = f"{size[0]:,} x {size[1]:,}, {size[2]:,}, {size[3]:,}"
    if "why" in row:
        print(f"{head:36s}{name:26s}not measured ({row['why']})", flush=True)
        return
    floor_share = f"{ours['floor'] / row['seconds']:.0%}" if "floor" in ours else ""
    alphas = f"{row['alphas']:.2%}" if "alphas" in row else ""
    error = f"{row['error']:.1e}" if "error" in row else ""
    print(
        f"{head:36s}{name:26s}{row['n']:5d}{row['seconds']:9.2f}{row['peak']:10.2f}{floor_share:>8s}{alphas:>9s}{error:>10s}",
        flush=True,
    )


def conditioning() -> list[dict[str, Any]]:
    """Print and give the error of float32 predictions, in standard deviations, as voxels grow badly conditioned."""
    from himalaya.backend import set_backend
    from himalaya.ridge import Ridge

    from reseen import fit_ridge

    there = set_backend("torch")
    print(f"\n{'largest / smallest eigenvalue':36s}{'reseen':>10s}{'himalaya':>10s}")
    figures = []
    for condition in (1e2, 1e4, 1e6, 1e8):
        rng = np.random.default_rng(0)
        u, v = (np.linalg.qr(rng.standard_normal((n, 100)))[0] for n in (600, 100))
        betas = (u * np.geomspace(1, condition**-0.5, 100) @ v.T).astype(np.float32)
        targets = (u @ rng.standard_normal((100, 200)) + 0.01 * rng.standard_normal((600, 200))).astype(np.float32)
        x = (betas - betas.mean(0, dtype=np.float64)) / betas.std(0, dtype=np.float64)
        y = targets.astype(np.float64)
        values = np.linalg.eigvalsh(x.T @ x)
        alpha = float(values[0] / 10)
        exact = x @ np.linalg.solve(x.T @ x + alpha * np.eye(100), x.T @ (y - y.mean(0))) + y.mean(0)
        ours = fit_ridge(betas, targets, alphas=[alpha], n_folds=1).predict(betas)
        single = there.asarray(x.astype(np.float32))
        theirs = there.to_numpy(Ridge(alpha, fit_intercept=True).fit(single, there.asarray(targets)).predict(single))
        errors = [float(np.abs(made - exact).max() / exact.std()) for made in (ours, theirs)]
        print(f"{values[-1] / values[0]:<36.0e}{errors[0]:10.1e}{errors[1]:10.1e}")
        label = f"error at condition {values[-1] / values[0]:.0e}"
        figures += [figure(f"{name}: {label}", e, "sd") for name, e in zip(("reseen", "himalaya"), errors, strict=True)]
    return figures


def headline(rows: dict[tuple[Size, str], dict[str, Any]], size: Size) -> list[dict[str, Any]]:
    """Give the three figures that have a goal."""
    ours, theirs = rows.get((size, "reseen"), {}), rows.get((size, "himalaya, torch"), {})
    measured = "seconds" in ours and "seconds" in theirs
    speedup = round(theirs["seconds"] / ours["seconds"], 2) if measured else "not measured"
    return [
        figure("speedup_vs_himalaya_torch", speedup, "times", "at least 8 on two cores at 2,000 x 3, 2,000, 6,400"),
        figure("same_alpha_share", ours.get("alphas", "not measured"), "share", "at least 0.999"),
        figure("max_relative_error", ours.get("error", "not measured"), "standard deviations", "at most 1e-3"),
    ]


def main() -> None:
    """Run, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="one small size, two contenders: to see that it runs")
    parser.add_argument("--true-size", action="store_true", help="also NSD's own size; hours on a CPU, give --seconds")
    parser.add_argument("--seconds", type=float, default=240.0, help="time for everything")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--size", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        n_stimuli, n_trials, n_voxels, n_targets = map(int, arguments.size.split(","))
        run_one(arguments.one, (n_stimuli, n_trials, n_voxels, n_targets), arguments.out, arguments.seconds)
        return
    print(machine())
    sizes = QUICK if arguments.quick else SIZES + (TRUE if arguments.true_size else ())
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(sizes, QUICK_CONTENDERS if arguments.quick else CONTENDERS, arguments.seconds, Path(folder))
    conditioned = conditioning()
    print()
    figures = headline(rows, QUICK[0] if arguments.quick else HEADLINE)
    for row in figures:
        print(f"{row['name']:28s}{row['value']} {row['unit']} (goal: {row['goal']})")
    for (size, name), row in rows.items():
        label = f"{name} at {'x'.join(map(str, size))}"
        for key, unit in (("seconds", "s"), ("peak", "GiB"), ("floor", "s"), ("alphas", "share"), ("error", "sd")):
            if key in row:
                figures.append(figure(f"{label}: {key}", row[key], unit))
        if "why" in row:
            figures.append(figure(f"{label}: seconds", "not measured", "s"))
    write(arguments.json, figures + conditioned, PACKAGES)


if __name__ == "__main__":
    main()
