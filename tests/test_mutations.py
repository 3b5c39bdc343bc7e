"""Mutated files of every kind are read, or refused by one of reseen's errors: `tools/mutate.py` at a small size."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mutate
import numpy as np
import pytest
import torch
from mutation_kinds import Kind, write_kinds
from mutation_samples import write_samples
from mutations import flip_bit
from threadpoolctl import threadpool_limits

from reseen.errors import DataError
from reseen.files import read_text

N_CASES = 150
SAMPLES = Path(os.environ.get("RESEEN_SAMPLES", Path(__file__).parents[2] / "shared" / "samples"))
SLOW = ("NSD, checked", "NSD, fsaverage", "model, .ckpt", "model, .safetensors")
SLOW += ("network of a protocol", "results, resumed")
"""Kinds that are slow to read: here they are read once, unchanged."""


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mutate.Cases]:
    """Small inputs of the quick kinds, and a worker that reads them."""
    n_threads = torch.get_num_threads()
    folder = tmp_path_factory.mktemp("mutations")
    with threadpool_limits(1):
        mutate.prepare()
        found = mutate.Cases(folder, write_kinds(folder), seed=7)
        yield found
        found.close()
    torch.set_num_threads(n_threads)


def test_mutated_files_are_read_or_refused_and_nothing_else(cases: mutate.Cases) -> None:
    found = list(mutate.run_cases(cases, N_CASES, leave_out=SLOW))
    assert [case for case in found if case.outcome in mutate.FAULTS] == []
    quick = {kind.name for kind in cases.kinds} - {*SLOW}
    assert {case.kind for case in found} == quick
    assert {case.kind for case in found if case.outcome == "refused"} == quick


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not next to the repository")
def test_mutated_samples_of_labs_are_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    """`tools/mutate.py --samples FOLDER` at a small size."""
    n_threads = torch.get_num_threads()
    with threadpool_limits(1):
        mutate.prepare()
        kinds = write_samples(tmp_path, SAMPLES)
        found = mutate.Cases(tmp_path, kinds, seed=7)
        cases = list(mutate.run_cases(found, 3 * len(kinds)))
        found.close()
    torch.set_num_threads(n_threads)
    assert [case for case in cases if case.outcome in mutate.FAULTS] == []
    assert {case.kind for case in cases if case.outcome == "refused"} == {kind.name for kind in kinds}


def test_kinds_that_are_slow_to_read_are_read_too(cases: mutate.Cases) -> None:
    for place, kind in enumerate(cases.kinds):
        if kind.name in SLOW:
            assert len(cases.read_unchanged(place)) == 64  # the digest of its values


def test_a_flipped_bit_in_arrays_images_and_tables_of_a_results_folder_is_noticed(cases: mutate.Cases) -> None:
    place = [kind.name for kind in cases.kinds].index("results")
    files = [path for path in cases.kinds[place].files if path.suffix in (".safetensors", ".png", ".csv")]
    files = [path for number, path in enumerate(files) if path.suffix != ".png" or number % 4 == 0]
    assert {path.suffix for path in files} == {".safetensors", ".png", ".csv"}
    rng = random.Random(0)

    def flip(path: Path) -> str:
        content = flip_bit(path.read_bytes(), rng)
        assert content is not None
        path.write_bytes(content)
        return "a bit flipped"

    found = [cases.read_changed(place, path, flip) for path in files]
    assert [case.file for case in found if case.outcome != "refused"] == []


def test_a_file_of_20_gb_that_holds_little_is_refused_at_once(cases: mutate.Cases) -> None:
    """It starts as the file did; who reads all of it takes minutes or all memory."""

    def stretch(path: Path) -> str:
        os.truncate(path, 20 * 10**9)
        return "a sparse end"

    found = []
    for place, kind in enumerate(cases.kinds):
        if kind.name in SLOW:
            continue
        files = {path.suffix: path for path in kind.files if path.name != "log.txt"}  # a file of each type
        found += [cases.read_changed(place, path, stretch) for path in files.values()]
    assert len(found) > 30
    assert [case.file for case in found if case.outcome not in ("refused", "same")] == []


def hang() -> None:
    time.sleep(60)


def crash() -> None:
    os._exit(3)


def allocate() -> int:
    return int(np.ones(10**8, np.uint8).sum())


def fail() -> None:
    raise KeyError("a foreign error")


def refuse() -> None:
    raise DataError("a file is damaged.")


def advise() -> None:
    raise DataError("set weights_only=False.")


READERS: dict[str, Callable[[], Any]] = {
    "HANG": hang,
    "CRASH": crash,
    "MEMORY": allocate,
    "TRACEBACK": fail,
    "refused": refuse,
    "a message that does harm": advise,
}


@pytest.mark.parametrize("expected", READERS)
def test_what_becomes_of_a_case_is_told(expected: str, tmp_path: Path) -> None:
    """Each reader does what its name says once the file is changed; a new worker reads the unchanged file again."""
    path = tmp_path / "file"
    path.write_bytes(b"as it was")
    kind = Kind("kind", (path,), lambda: "values" if path.read_bytes() == b"as it was" else READERS[expected]())
    seconds = 1.0 if expected == "HANG" else 20.0
    cases = mutate.Cases(tmp_path, [kind], seed=0, seconds=seconds, memory=5 * 10**7)
    found = cases.read_changed(0, path, lambda file: str(file.write_bytes(b"changed")))
    again = cases.read_changed(0, path, lambda _: "nothing")
    cases.close()
    assert expected in (found.outcome, found.detail.partition(":")[0])
    assert (found.outcome in mutate.FAULTS) == (expected != "refused")
    assert again.outcome == "same"


def test_a_case_is_the_same_each_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one line\nand another\n" * 10)
    other = tmp_path / "other"
    other.write_bytes(bytes(range(200)))
    kinds = [Kind("kind", (path,), lambda: read_text(path)), Kind("other", (other,), other.read_bytes)]
    one, two = (mutate.Cases(tmp_path, kinds, seed=3) for _ in range(2))
    found = [(one.run(0, number), two.run(0, number)) for number in range(30)]
    one.close()
    two.close()
    assert [a.detail for a, _ in found] == [b.detail for _, b in found]
    assert {a.outcome for a, _ in found} == {"same", "other", "refused"}
