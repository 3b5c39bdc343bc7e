"""Read thousands of mutated files of every kind that reseen reads, and count what becomes of them.

    python tools/mutate.py --cases 10000 --seed 0

Small valid inputs of every kind are written to a temporary folder. Each case changes one file (see `mutations`) and
reads the input by reseen's public functions (see `mutation_kinds`) in a worker process with limits on time and memory.
A case is read as before ("same"), read as other values ("other"), refused by one of reseen's errors ("refused"), or it
is a fault: an error of another type or a message that does harm ("TRACEBACK"), no end ("HANG"), a dead process
("CRASH") or too much memory ("MEMORY"). The exit status is 1 if there is a fault. Linux only.

    python tools/mutate.py --only "results, resumed" --case 12

reads one case in this process and shows its traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mutation_kinds import Kind, digest, write_kinds
from mutation_samples import write_samples
from mutations import mutate

SECONDS = 20.0
"""A case that takes longer hangs."""
MEMORY = 2 * 10**9
"""Bytes that a case may take beyond what the process had before it."""
OUTCOMES = ("same", "other", "refused", "TRACEBACK", "HANG", "CRASH", "MEMORY")
FAULTS = OUTCOMES[3:]
HARMFUL = ("allow_pickle", "weights_only=False", "trust_remote_code")
"""Advice of libraries to load a file unsafely, which no message may pass on."""
_LOOK = 0.05  # seconds between two looks at a worker's memory


@dataclass(frozen=True)
class Case:
    """One case and what became of it.

    Parameters
    ----------
    kind, number
        They and the seed decide which file is changed and how.
    file
        The changed file, below the folder of its kind.
    mutation
        Name of the change.
    outcome
        One of `OUTCOMES`.
    detail
        Error message, or type, place and message of a foreign error.
    seconds, peak
        Time, and memory beyond that before the case in bytes.
    """

    kind: str
    number: int
    file: str
    mutation: str
    outcome: str
    detail: str
    seconds: float
    peak: int


# ------------------------------------------------------------------------------------------------ reading


def attempt(kind: Kind) -> tuple[str, str]:
    """Read an input; return ``"read"`` and a digest of its values, or an outcome and a message."""
    from reseen.errors import ReseenError

    try:
        return "read", digest(kind.read())
    except ReseenError as error:
        message = str(error)
        harmful = not message.replace("\n", "").isprintable() or any(advice in message for advice in HARMFUL)
        return ("TRACEBACK", f"a message that does harm: {message[:300]!r}") if harmful else ("refused", message[:300])
    except BaseException as error:  # a panic of a Rust library is no Exception
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/reseen/" in frame.filename] or list(frames)
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        said = (str(error).splitlines() or [""])[0][:200]
        return "TRACEBACK", f"{type(error).__name__} at {place}: {said}"


class Worker:
    """Process that reads inputs one after the other; another takes its place after a crash or when a case has no end.

    Parameters
    ----------
    kinds
        Everything that it may be asked to read.
    seconds, memory
        Limits of a case.
    """

    def __init__(self, kinds: Sequence[Kind], seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._kinds, self._seconds, self._memory = kinds, seconds, memory
        self._process: Any = None
        self._pipe: Any = None

    def read(self, number: int, *, patience: float = 1.0) -> tuple[str, str, float, int]:
        """Read one of the kinds; return outcome, detail, seconds and bytes of memory beyond those before.

        ``patience`` multiplies the limit on time.
        """
        if self._process is None:
            self._start()
        before = _memory(self._process.pid, "VmRSS")
        start = time.monotonic()
        self._pipe.send(number)
        peak = 0
        while True:
            if self._pipe.poll(_LOOK):
                break
            peak = max(peak, _memory(self._process.pid, "VmRSS") - before)
            if peak > 2 * self._memory or time.monotonic() - start > patience * self._seconds:
                outcome = "MEMORY" if peak > self._memory else "HANG"
                self.close()
                return outcome, f"ended after {time.monotonic() - start:.0f} s", time.monotonic() - start, peak
        seconds = time.monotonic() - start
        try:
            outcome, detail, peak = self._pipe.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self.close()
            return "CRASH", f"exit code {code}", seconds, peak
        return "MEMORY" if peak > self._memory else outcome, detail, seconds, peak

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None

    def _start(self) -> None:
        import multiprocessing

        context = multiprocessing.get_context("fork")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=self._work, args=(other,), daemon=True)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # Python 3.12 warns of threads, which the child never uses
            self._process.start()
        other.close()

    def _work(self, pipe: Any) -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        warnings.simplefilter("ignore")
        while True:
            try:
                number = pipe.recv()
            except EOFError:
                return
            Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
            before = _memory("self", "VmRSS")
            outcome, detail = attempt(self._kinds[number])
            pipe.send((outcome, detail, max(0, _memory("self", "VmHWM") - before)))


def _memory(process: int | str, which: str) -> int:
    """Return a process's memory in bytes, or its peak; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{which}:")), 0)


# ------------------------------------------------------------------------------------------------ cases


class Cases:
    """Cases over some kinds, each decided by the seed, the kind and its number.

    Parameters
    ----------
    folder
        Everything is below it.
    kinds
        What is read. Files of all of them may take the place of a file.
    seed
        Of the changes.
    seconds, memory
        Limits of a case.
    """

    def __init__(
        self, folder: Path, kinds: Sequence[Kind], seed: int, seconds: float = SECONDS, memory: int = MEMORY
    ) -> None:
        self._folder, self.kinds, self.seed = folder, tuple(kinds), seed
        self._worker = Worker(self.kinds, seconds, memory)
        self._unchanged: dict[int, str] = {}

    def run(self, place: int, number: int) -> Case:
        """Change one file of a kind, read it in the worker, and put it back."""
        kind = self.kinds[place]
        rng, path = self._choose(kind, number)
        return self.read_changed(place, path, lambda file: mutate(file, rng, self._others(kind)), number)

    def read_changed(self, place: int, path: Path, change: Callable[[Path], str], number: int = 0) -> Case:
        """Change a file of a kind by a function that returns what it did, read it in the worker, and put it back."""
        kind, unchanged = self.kinds[place], self.read_unchanged(place)
        with _put_back(kind, path):
            mutation = change(path)
            outcome, detail, seconds, peak = self._worker.read(place)
        if outcome == "read":
            outcome = "same" if detail == unchanged else "other"
        return Case(kind.name, number, self._named(path), mutation, outcome, detail, seconds, peak)

    def repeat(self, place: int, number: int) -> None:
        """Read a case in this process, and print the file, the change and the traceback."""
        kind, unchanged = self.kinds[place], self.read_unchanged(place)
        rng, path = self._choose(kind, number)
        with _put_back(kind, path):
            mutation = mutate(path, rng, self._others(kind))
            print(f"{path}: {mutation}", file=sys.stderr)
            try:
                print(f"read; values are the same: {digest(kind.read()) == unchanged}")
            except BaseException:
                traceback.print_exc()

    def close(self) -> None:
        """End the worker."""
        self._worker.close()

    def _choose(self, kind: Kind, number: int) -> tuple[random.Random, Path]:
        rng = random.Random(f"{self.seed} {kind.name} {number}")
        return rng, rng.choice(kind.files)

    def read_unchanged(self, place: int) -> str:
        """Return the digest of a kind's values as they are; it is read once, and has more time for that.

        Raises
        ------
        RuntimeError
            If the kind cannot be read.
        """
        if place not in self._unchanged:
            kind = self.kinds[place]
            with _put_back(kind, None):
                outcome, detail, _, _ = self._worker.read(place, patience=10)
            if outcome != "read":
                raise RuntimeError(f"{kind.name}: an unchanged input is not read ({outcome}: {detail}).")
            self._unchanged[place] = detail
        return self._unchanged[place]

    def _others(self, kind: Kind) -> list[Path]:
        """Return a small file of each ending of other kinds."""
        files = [path for other in self.kinds if other is not kind for path in other.files]
        return list({path.suffix: path for path in files if path.stat().st_size < 10**6}.values())

    def _named(self, path: Path) -> str:
        """Return a file's path below the folder of all kinds."""
        return path.relative_to(self._folder).as_posix()


class _put_back:  # noqa: N801 (used as a function)
    """Put a file, or all of a folder, back as it was."""

    def __init__(self, kind: Kind, path: Path | None) -> None:
        self._root = kind.root
        files = [file for file in kind.root.rglob("*") if file.is_file()] if kind.root else [path] if path else []
        self._content = {file: (file.read_bytes(), file.stat()) for file in files}

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: object) -> None:
        if self._root is not None:
            for path in [path for path in self._root.rglob("*") if path.is_symlink() or not path.is_dir()]:
                if path not in self._content:
                    path.unlink()
        for path, (content, before) in self._content.items():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            if os.path.lexists(path):
                now = path.lstat()
                if path.is_file() and (now.st_mtime_ns, now.st_ino) == (before.st_mtime_ns, before.st_ino):
                    continue
                path.unlink()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def run_cases(cases: Cases, n_cases: int, only: str = "", leave_out: Collection[str] = ()) -> Iterator[Case]:
    """Run cases of the kinds whose names start with ``only``, in turn; each takes as many turns as it weighs."""
    named = [place for place, kind in enumerate(cases.kinds) if kind.name.startswith(only)]
    chosen = [place for place in named if cases.kinds[place].name not in leave_out]
    turns = [place for place in chosen for _ in range(cases.kinds[place].weight)]
    random.Random(cases.seed).shuffle(turns)
    numbers: Counter[int] = Counter()
    for turn in range(n_cases):
        place = turns[turn % len(turns)]
        yield cases.run(place, numbers[place])
        numbers[place] += 1


# ------------------------------------------------------------------------------------------------ the report


def noticed(found: Sequence[Case], kind: str = "results") -> tuple[float, Counter[str]]:
    """Return the proportion of changes that were refused, of those not read as before; and the files of the others."""
    of_kind = [case for case in found if case.kind == kind and case.outcome in ("other", "refused")]
    others = Counter(case.file for case in of_kind if case.outcome == "other")
    return 1 - others.total() / max(1, len(of_kind)), others


def summarise(found: Sequence[Case]) -> str:
    """Return the table of kinds and outcomes, every fault once with what repeats it, and the peak of memory."""
    kinds = list(dict.fromkeys(case.kind for case in found))
    counts = Counter((case.kind, case.outcome) for case in found)
    width = max(map(len, [*kinds, "all"]))
    lines = [f"{'kind':<{width}}" + "".join(f"{outcome:>10}" for outcome in (*OUTCOMES, "all"))]
    for kind in sorted(kinds):
        row = [counts[kind, outcome] for outcome in OUTCOMES]
        lines.append(f"{kind:<{width}}" + "".join(f"{n:>10,}" for n in (*row, sum(row))))
    total = [sum(counts[kind, outcome] for kind in kinds) for outcome in OUTCOMES]
    lines.append(f"{'all':<{width}}" + "".join(f"{n:>10,}" for n in (*total, sum(total))))
    faults: dict[tuple[str, str, str], list[Case]] = {}
    for case in found:
        if case.outcome in FAULTS:
            key = case.detail if case.outcome == "TRACEBACK" else case.file
            faults.setdefault((case.outcome, case.kind, key), []).append(case)
    for (outcome, kind, _), alike in faults.items():
        one = alike[0]
        lines += [
            f"{outcome} ({len(alike)}): {one.detail}",
            f'    {one.file}: {one.mutation}; --only "{kind}" --case {one.number}',
        ]
    largest, slowest = max(found, key=lambda case: case.peak), max(found, key=lambda case: case.seconds)
    lines.append(f"peak memory {largest.peak / 1e9:.2f} GB: {largest.file}, {largest.mutation}")
    lines.append(f"longest case {slowest.seconds:.1f} s: {slowest.file}, {slowest.mutation}")
    for kind in [kind for kind in kinds if kind.startswith("results")]:
        proportion, others = noticed(found, kind)
        lines.append(f"{kind}: {proportion:.1%} of the changes that changed a value were noticed; the others:")
        lines += [f"    {n} {file}" for file, n in others.most_common()]
    return "\n".join(lines)


def main() -> None:
    """Run the cases and print what was found."""
    about, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the changes")
    parser.add_argument("--only", metavar="KIND", default="", help="a kind, or the start of the names of some")
    parser.add_argument("--case", type=int, metavar="N", help="with --only: read this case in this process")
    parser.add_argument(
        "--samples", type=Path, metavar="FOLDER", help="read samples of a lab's own layouts instead (mutation_samples)"
    )
    parser.add_argument("--limit", type=float, default=SECONDS, metavar="SECONDS", help="longest time of a case")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every case to this file")
    given = parser.parse_args()
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1")
    prepare()
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        root = Path(folder)
        kinds = write_kinds(root) if given.samples is None else write_samples(root, given.samples.resolve())
        cases = Cases(root, kinds, given.seed, given.limit)
        names = [kind.name for kind in cases.kinds]
        if not any(name.startswith(given.only) for name in names):
            parser.error(f"there is no kind {given.only!r}; there are {', '.join(names)}.")
        if given.case is not None:
            cases.repeat(next(place for place, name in enumerate(names) if name.startswith(given.only)), given.case)
            return
        found = []
        for number, case in enumerate(run_cases(cases, given.cases, given.only), start=1):
            found.append(case)
            if case.outcome in FAULTS:
                print(
                    f"{case.outcome} {case.kind} {case.number} {case.file}: {case.mutation}: {case.detail}",
                    file=sys.stderr,
                )
            if number % 500 == 0:
                print(f"{number:,} cases: {dict(Counter(case.outcome for case in found))}", file=sys.stderr)
        cases.close()
    print(summarise(found))
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(case) for case in found], indent=1), encoding="utf-8")
    sys.exit(any(case.outcome in FAULTS for case in found))


def prepare() -> None:
    """Import what every reader needs, so that each worker has it from its start, and compute on one thread."""
    from reseen.imports import hide_broken_torchvision

    hide_broken_torchvision()
    use_one_thread()
    import diffusers  # noqa: F401
    import h5py  # noqa: F401
    import nibabel  # noqa: F401
    import pandas  # noqa: F401
    import transformers  # noqa: F401


def use_one_thread() -> None:
    """Let libraries compute on one thread: a forked process has lost all others, and would wait for them."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)


if __name__ == "__main__":
    main()
