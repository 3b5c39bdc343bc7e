"""Compare the ridge with its peers: ``python benchmarks/ridge.py [--json FILE] [--quick] [--sizes nsd]``.

Same trials, targets, folds and penalties for all, float32, each contender in a process of its own, one after the other.
Sizes grow in stimuli, voxels and targets; a contender that would exceed the time left (``--seconds``) prints
``not measured``, as GPU rows do without a GPU. ``--sizes headline`` takes 6,000 trials x 2,000 voxels and
6,400 targets alone; ``--sizes nsd`` NSD's shape: 24,980 trials x 7,604 voxels, 6,400 targets of z and a slice of 4,096
targets of c; ``--sizes half`` half of that in each direction.

- seconds: median of up to three fits, and the processor seconds of that process beside it, which depend less on what
  else the machine does
- peak: largest resident memory of the process, data included; on a GPU the most that torch had allocated there
- alphas: proportion of a sample of targets whose penalty is that of a float64 reference written without reseen
- error: largest difference of its predictions of 64 trials from the reference's, in standard deviations of the target's
  predictions, over all sampled targets, those of another penalty included

The plain ridge is thirty lines of numpy: one Gram matrix and one eigendecomposition a fold, all in float32.
scikit-learn's RidgeCV chooses one penalty for all targets where folds are given, so that its ``alphas`` and ``error``
are empty. CUDA is started before the first fit. With ``--himalaya-folds 1`` himalaya holds out one fold of the five,
whose seconds are counted five times; its ``alphas`` and ``error`` are then empty. A second table makes voxels worse and
worse conditioned, at a penalty of a tenth of the smallest eigenvalue; NSD's shape comes without it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from figures import figure, machine, peak_memory, write

N_FOLDS, N_SAMPLE, N_SHOWN = 5, 256, 64
ALPHAS_PER_TRIAL = np.geomspace(0.01, 10, 7)
PACKAGES = ("numpy", "torch", "himalaya", "scikit-learn", "scipy")
Size = tuple[int, int, int, int]  # stimuli, trials, voxels, targets
Contender = tuple[Callable[[], Any], Callable[[Any], Any], Callable[[], Any]]
"""A function that fits; one that returns penalties and predictions of its fit; one that returns the seconds to add."""
HEADLINE: Size = (2000, 6000, 2000, 6400)
SIZES: tuple[Size, ...] = ((500, 1500, 500, 1600), HEADLINE, (2000, 6000, 2000, 25600), (1000, 3000, 7604, 6400))
QUICK: tuple[Size, ...] = ((40, 120, 30, 50),)
TRUE: tuple[Size, ...] = ((8859, 24980, 7604, 6400), (8859, 24980, 7604, 4096))
HALF: Size = (4430, 12490, 3802, 3200)
PEERS = ("reseen", "plain", "himalaya, torch")
CONTENDERS = (
    "reseen",
    "reseen, predictions only",
    "reseen, cuda",
    "plain",
    "himalaya, torch",
    "himalaya, numpy",
    "himalaya, torch_cuda",
    "scikit-learn",
)


class Targets:
    """Table of targets that are generated when columns are asked for; none of it is in memory."""

    def __init__(self, code: np.ndarray, n_targets: int) -> None:
        self.code, self.shape = code, (len(code), n_targets)

    def __getitem__(self, key: tuple[slice, Any]) -> np.ndarray:
        """Return some columns; a column does not depend on the others. Some are noise, some contain little signal."""
        columns = np.arange(self.shape[1])[key[1]]
        table = np.empty((self.shape[0], len(columns)), dtype=np.float32)
        for j, column in enumerate(columns):
            rng = np.random.default_rng((1, column))
            weights = rng.standard_normal(self.code.shape[1], dtype=np.float32)
            signal = self.code @ (weights * np.float32(rng.uniform(0.02, 1.5)))
            table[:, j] = signal + rng.standard_normal(len(signal), dtype=np.float32) + 3
        return table[key[0]]


class Stored:
    """The same table in a file, column after column; none of it is in memory."""

    def __init__(self, table: Targets) -> None:
        self.file, self.shape = tempfile.NamedTemporaryFile(), table.shape  # noqa: SIM115 (gone with this object)
        for start in range(0, self.shape[1], 1000):
            self.file.write(np.ascontiguousarray(table[:, start : start + 1000].T))
        self.file.flush()

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        """Return all rows of a slice of columns."""
        n, (start, stop, _) = self.shape[0], key[1].indices(self.shape[1])
        columns = np.fromfile(self.file.name, np.float32, n * (stop - start), offset=4 * n * start)
        return columns.reshape(stop - start, n).T[key[0]]


def generate(size: Size) -> tuple[np.ndarray, Targets, np.ndarray]:
    """Return betas, targets and the stimulus of each trial; voxels are redundant, repetitions unequal where needed."""
    n_stimuli, n_trials, n_voxels, n_targets = size
    rng = np.random.default_rng(0)
    code = rng.standard_normal((n_stimuli, 100)).astype(np.float32) / np.sqrt(1 + np.arange(100, dtype=np.float32))
    row = np.concatenate([np.arange(n_stimuli), rng.permutation(np.repeat(np.arange(n_stimuli), 2))])[:n_trials]
    betas = (code @ rng.standard_normal((100, n_voxels), dtype=np.float32))[row]
    betas += 3 * rng.standard_normal(betas.shape, dtype=np.float32)
    return betas, Targets(code, n_targets), row


def reseen(size: Size, device: str = "numpy", *, keep: bool = True) -> Contender:
    """Return a function that fits, and one that returns penalties and predictions of its fit."""
    from reseen.ridge import RidgeMap, factor, fit_blocks, fit_ridge

    betas, table, row = generate(size)
    alphas = (ALPHAS_PER_TRIAL * len(row)).tolist()
    targets = table[:, :] if keep else Stored(table)

    def fit() -> Any:
        if keep:
            return fit_ridge(betas, targets, target_row=row, groups=row, alphas=alphas, n_folds=N_FOLDS, device=device)
        factored = factor(
            betas, table.shape[0], target_row=row, groups=row, alphas=alphas, n_folds=N_FOLDS, device=device
        )
        predict = partial(RidgeMap.predict, betas=betas[:N_SHOWN])
        return [predicted for _, predicted in fit_blocks(factored, targets, use=predict)]

    sample = sampled(size)
    if keep:
        return fit, lambda fitted: (fitted.alpha[sample], fitted.predict(betas[:N_SHOWN])[:, sample]), nothing
    return fit, lambda parts: (None, np.concatenate(parts, axis=1)[:, sample]), nothing


def nothing() -> np.ndarray:
    """Return that no seconds are to be added."""
    return np.zeros(2)


def plain(size: Size) -> Contender:
    """Return the same for the plain Gram ridge."""
    x, y, row = standardised(size)
    alphas, fold, sample = ALPHAS_PER_TRIAL.astype(np.float32) * len(row), fold_of(row), sampled(size)
    return (
        lambda: plain_ridge(x, y, fold, alphas),
        lambda fitted: (fitted[0][sample], x[:N_SHOWN] @ fitted[1][:, sample] + y.mean(0)[sample]),
        nothing,
    )


def plain_ridge(x: np.ndarray, y: np.ndarray, fold: np.ndarray, alphas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit a ridge with the best penalty for each target in thirty lines, the yardstick of `reseen.ridge`.

    Returns
    -------
    alpha
        Shape ``(n_targets,)``.
    weights
        Shape ``(n_voxels, n_targets)``.
    """
    error = np.zeros((len(alphas), y.shape[1]))
    for k in range(fold.max() + 1):
        train, test = fold != k, fold == k
        x_mean, y_mean = x[train].mean(0), y[train].mean(0)
        values, vectors, moments = decomposed(x[train] - x_mean, y[train] - y_mean)
        probe = (x[test] - x_mean) @ vectors
        truth = y[test] - y_mean
        for i, alpha in enumerate(alphas):
            error[i] += ((probe @ (moments / (values + alpha)[:, None]) - truth) ** 2).sum(0)
    best = alphas[error.argmin(0)]
    values, vectors, moments = decomposed(x - x.mean(0), y - y.mean(0))
    return best, vectors @ (moments / (values[:, None] + best))


def decomposed(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return eigenvalues and eigenvectors of the Gram matrix, and the targets' components."""
    values, vectors = np.linalg.eigh(x.T @ x)
    return values, vectors, vectors.T @ (x.T @ y)


class TimedFolds:
    """First few of the five folds, and the seconds that himalaya spends on them.

    Parameters
    ----------
    fold
        Shape ``(n_trials,)``.
    n_timed
        How many folds are held out in turn.
    """

    def __init__(self, fold: np.ndarray, n_timed: int) -> None:
        self.fold, self.n_timed, self.seconds = fold, n_timed, np.zeros(2)

    def get_n_splits(self, *_: Any) -> int:
        """Return the number of folds."""
        return self.n_timed

    def split(self, *_: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield training and held-out rows, and time what is done with them."""
        start = clocks()
        for k in range(self.n_timed):
            yield np.flatnonzero(self.fold != k), np.flatnonzero(self.fold == k)
        self.seconds = clocks() - start

    def missing(self) -> np.ndarray:
        """Return the wall-clock and processor seconds that the other folds would take."""
        return self.seconds * (N_FOLDS / self.n_timed - 1)


def clocks() -> np.ndarray:
    """Return wall-clock and processor seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def himalaya(size: Size, backend: str, n_timed: int) -> Contender:
    """Return the same for himalaya's RidgeCV, which may hold out fewer than the five folds."""
    from himalaya.backend import set_backend
    from himalaya.ridge import RidgeCV
    from himalaya.scoring import l2_neg_loss

    there = set_backend(backend)
    betas, targets, row = standardised(size)
    # one penalty at a time at NSD's size: the matrix of a penalty takes 608 MB
    solver = {"score_func": l2_neg_loss, "warn": False, "n_alphas_batch": 1 if size in TRUE else None}
    folds = TimedFolds(fold_of(row), n_timed)
    model = RidgeCV(ALPHAS_PER_TRIAL * len(row), fit_intercept=True, cv=folds, solver_params=solver)
    betas, targets, sample = there.asarray(betas), there.asarray(targets), sampled(size)

    def fit() -> Any:
        model.fit(betas, targets)
        there.to_numpy(model.best_alphas_)  # waits for the device
        return model

    def tell(fitted: Any) -> tuple[Any, Any]:
        if n_timed < N_FOLDS:
            return None, None
        predicted = there.to_numpy(fitted.predict(betas[:N_SHOWN]))[:, sample]
        return there.to_numpy(fitted.best_alphas_)[sample], predicted

    return fit, tell, folds.missing


def sklearn(size: Size) -> Contender:
    """Return the same for scikit-learn's RidgeCV, which has one penalty for all."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import PredefinedSplit

    betas, targets, row = standardised(size)
    folds = PredefinedSplit(fold_of(row))
    model = RidgeCV(ALPHAS_PER_TRIAL * len(row), scoring="neg_mean_squared_error", cv=folds)
    return lambda: model.fit(betas, targets), lambda _: (None, None), nothing


def standardised(size: Size) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the peers need: standardised voxels, and targets repeated for every trial."""
    betas, targets, row = generate(size)
    return (betas - betas.mean(0)) / betas.std(0), targets[:, :][row], row


def fold_of(row: np.ndarray) -> np.ndarray:
    """Return the folds that reseen makes of these groups."""
    from reseen.ridge import assign_folds

    return assign_folds(row, len(row), N_FOLDS, 0)


def sampled(size: Size) -> np.ndarray:
    """Return the targets that are compared; the same ones at both of NSD's sizes."""
    return np.unique(np.linspace(0, min(size[3], 4096) - 1, N_SAMPLE).astype(int))


def reference(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return penalties and predictions of sampled targets in float64: one factor for each fold and penalty."""
    betas, table, row = generate(size)
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
    """Yield the weights, (n_voxels, n_targets), at each penalty."""
    from scipy.linalg import cho_factor, cho_solve

    dual = a.shape[1] > a.shape[0]
    gram, moments = (a @ a.T, b) if dual else (a.T @ a, a.T @ b)
    for alpha in alphas:
        solved = cho_solve(cho_factor(gram + alpha * np.eye(len(gram))), moments)
        yield a.T @ solved if dual else solved


def start_cuda() -> None:
    """Start CUDA and its libraries of products and decompositions, once a process: no fit is to pay for that."""
    import torch

    matrix = torch.eye(64, dtype=torch.float64, device="cuda")
    torch.linalg.eigh(matrix @ matrix)
    torch.linalg.qr(matrix.float() @ matrix.float())
    torch.cuda.synchronize()


def peak_on_gpu() -> float:
    """Return the most memory that torch had allocated on the GPU, in GiB."""
    import torch

    return float(torch.cuda.max_memory_allocated() / 2**30)


def run_one(name: str, size: Size, out: Path, arguments: argparse.Namespace) -> None:
    """Fit up to ``--fits`` times in this process, and write figures, penalties and predictions to ``out``."""
    if name == "reference":
        start = time.perf_counter()
        best, predicted = reference(size)
        about = {"seconds": time.perf_counter() - start}
        np.savez(out, alpha=best, predicted=predicted, about=json.dumps(about))
        return
    makers: dict[str, Callable[[], Contender]] = {
        "reseen": lambda: reseen(size),
        "reseen, predictions only": lambda: reseen(size, keep=False),
        "reseen, cuda": lambda: reseen(size, "cuda"),
        "plain": lambda: plain(size),
        "himalaya, torch": lambda: himalaya(size, "torch", arguments.himalaya_folds),
        "himalaya, numpy": lambda: himalaya(size, "numpy", arguments.himalaya_folds),
        "himalaya, torch_cuda": lambda: himalaya(size, "torch_cuda", arguments.himalaya_folds),
        "scikit-learn": lambda: sklearn(size),
    }
    on_gpu = "cuda" in name
    if on_gpu:
        start_cuda()
    fit, tell, more = makers[name]()
    spent: list[np.ndarray] = []  # wall-clock and processor seconds of each fit
    while (
        len(spent) < arguments.fits
        and sum(s[0] for s in spent) + max((s[0] for s in spent), default=0) < arguments.seconds
    ):
        start = clocks()
        fitted = fit()
        spent.append(clocks() - start + more())
    peak = peak_on_gpu() if on_gpu else peak_memory()
    alpha, predicted = tell(fitted)
    seconds, processor = np.median(spent, axis=0).tolist()
    about = {"seconds": seconds, "processor": processor, "n": len(spent), "peak": peak}
    known = {key: value for key, value in {"alpha": alpha, "predicted": predicted}.items() if value is not None}
    np.savez(out, about=json.dumps(about), **known)


def work(size: Size) -> float:
    """Count the operations of a plain solution, by which a contender's time at the next size is guessed."""
    _, n, p, t = size
    rank = min(n, p)
    return float(n * rank**2 * 2 + len(ALPHAS_PER_TRIAL) * n * (0.8 * n * (p + t) / N_FOLDS + p * t / N_FOLDS))


def contend(
    name: str, size: Size, folder: Path, seconds: float, options: Sequence[str]
) -> dict[str, np.ndarray] | None:
    """Run one contender in a process of its own; None if it failed or took too long."""
    out = folder / f"{name.replace(', ', '_').replace(' ', '_')}_{'x'.join(map(str, size))}.npz"
    one = [
        "--one",
        name,
        "--size",
        ",".join(map(str, size)),
        "--out",
        str(out),
        "--seconds",
        str(seconds / 3),
        *options,
    ]
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
    sizes: tuple[Size, ...], names: Sequence[str], seconds: float, folder: Path, options: Sequence[str]
) -> dict[tuple[Size, str], dict[str, Any]]:
    """Run contenders at all sizes within the time, print a line for each, and give their figures."""
    import torch

    end, rows, spent = time.monotonic() + seconds, {}, {}
    columns = f"{'fits':>5s}{'seconds':>9s}{'processor':>11s}{'peak GiB':>10s}{'alphas':>9s}{'error':>10s}"
    print(f"{'stimuli x trials, voxels, targets':36s}{'contender':26s}{columns}")
    truths: dict[tuple[int, ...], Any] = {}  # by stimuli, trials and voxels
    for size in sizes:
        truth = truths.get(size[:3]) if size in TRUE else None
        for name in ("reference", *names) if truth is None else names:
            left = end - time.monotonic()
            guess = spent.get(name, (0.0, 1.0))
            expected = guess[0] * work(size) / guess[1]
            needed = size in TRUE or (size == HEADLINE and name in ("reference", "reseen", "himalaya, torch"))
            late = left < 1 or expected > (left if needed else left / 2)  # the others leave time for what follows
            if ("cuda" in name and not torch.cuda.is_available()) or late:
                why = "no GPU" if "cuda" in name else f"about {expected:.0f} s, {max(left, 0):.0f} s left"
                rows[size, name] = {"why": why}
            else:
                start = time.monotonic()
                found = contend(name, size, folder, left, options)
                about = {} if found is None else json.loads(str(found["about"]))
                spent[name] = (about.get("seconds", time.monotonic() - start), work(size))
                if name == "reference":
                    truth = truths[size[:3]] = found
                    continue
                rows[size, name] = {**about, **agreement(found, truth)} if found else {"why": "failed or too slow"}
            if name != "reference":
                show(size, name, rows[size, name])
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


def show(size: Size, name: str, row: dict[str, Any]) -> None:
    """Print one line of the table."""
    head = f"{size[0]:,} x {size[1]:,}, {size[2]:,}, {size[3]:,}"
    if "why" in row:
        print(f"{head:36s}{name:26s}not measured ({row['why']})", flush=True)
        return
    alphas = f"{row['alphas']:.2%}" if "alphas" in row else ""
    error = f"{row['error']:.1e}" if "error" in row else ""
    print(
        f"{head:36s}{name:26s}{row['n']:5d}{row['seconds']:9.2f}{row['processor']:11.1f}{row['peak']:10.2f}"
        f"{alphas:>9s}{error:>10s}",
        flush=True,
    )


def conditioning() -> list[dict[str, Any]]:
    """Print and return the error of float32 predictions, in standard deviations, as voxels grow badly conditioned."""
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
    """Return the figures that have a goal."""
    ours, plain, theirs = (rows.get((size, name), {}) for name in ("reseen", "plain", "himalaya, torch"))

    def speedup(peer: dict[str, Any]) -> Any:
        measured = "seconds" in ours and "seconds" in peer
        return round(peer["seconds"] / ours["seconds"], 2) if measured else "not measured"

    return [
        figure("speedup_vs_himalaya_torch", speedup(theirs), "times", "at least 4 at NSD's shape"),
        figure("speedup_vs_plain_ridge", speedup(plain), "times", "at least 1 at NSD's shape"),
        figure("same_alpha_share", ours.get("alphas", "not measured"), "share", "at least 0.999"),
        figure("max_relative_error", ours.get("error", "not measured"), "standard deviations", "at most 1e-3"),
    ]


def main() -> None:
    """Run, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="one small size, two contenders: to see that it runs")
    sizes = "growing", "headline", "half", "nsd"
    parser.add_argument("--sizes", choices=sizes, default=sizes[0], help="nsd: an hour or two; give --seconds")
    parser.add_argument("--seconds", type=float, default=240.0, help="time for everything")
    parser.add_argument("--fits", type=int, default=3, help="at most so many fits of each contender")
    parser.add_argument("--himalaya-folds", type=int, default=N_FOLDS, help="fewer are counted as if they were five")
    parser.add_argument("--contenders", help="which, separated by semicolons; left out: all")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--size", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        n_stimuli, n_trials, n_voxels, n_targets = map(int, arguments.size.split(","))
        run_one(arguments.one, (n_stimuli, n_trials, n_voxels, n_targets), arguments.out, arguments)
        return
    print(machine())
    chosen = {"growing": SIZES, "headline": (HEADLINE,), "half": (HALF,), "nsd": TRUE}[arguments.sizes]
    few = arguments.quick or arguments.sizes != "growing"
    names = tuple(arguments.contenders.split(";")) if arguments.contenders else PEERS if few else CONTENDERS
    chosen = QUICK if arguments.quick else chosen
    options = ["--fits", str(arguments.fits), "--himalaya-folds", str(arguments.himalaya_folds)]
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(chosen, names, arguments.seconds, Path(folder), options)
    conditioned = conditioning() if arguments.sizes == "growing" else []
    print()
    figures = headline(rows, HEADLINE if HEADLINE in chosen else chosen[0])
    for row in figures:
        print(f"{row['name']:28s}{row['value']} {row['unit']} (goal: {row['goal']})")
    for (size, name), row in rows.items():
        label = f"{name} at {'x'.join(map(str, size))}"
        for key, unit in (("seconds", "s"), ("processor", "s"), ("peak", "GiB"), ("alphas", "share"), ("error", "sd")):
            if key in row:
                figures.append(figure(f"{label}: {key}", row[key], unit))
        if "why" in row:
            figures.append(figure(f"{label}: seconds", "not measured", "s"))
    write(arguments.json, figures + conditioned, PACKAGES)


if __name__ == "__main__":
    main()
