"""How many rows run together: as many as fit, fewer where memory runs out."""

from __future__ import annotations

import warnings

import pytest
import torch
from fields import raises_with

from reseen.errors import ModelError, ShapeError
from reseen.ldm.batching import Batching, MemoryWarning, power_of_two, rows_that_fit


class Scarce:
    """A network, twice its input, whose device holds so many rows."""

    def __init__(self, holds: int, error: RuntimeError | None = None) -> None:
        self.holds, self.calls = holds, []
        self.error = error or torch.OutOfMemoryError("CUDA out of memory (planted)")

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(rows))
        if len(rows) > self.holds:
            raise self.error
        return 2 * rows


ROWS = torch.arange(40.0)[:, None]


def test_rows_halve_where_memory_runs_out_and_the_work_goes_on() -> None:
    batching, network = Batching("some model", "cpu", small=True), Scarce(5)
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        assert torch.equal(batching.run("unet", network, [ROWS]), 2 * ROWS)
    assert network.calls == [16, 8, *[4] * 10]
    assert len({str(warning.message) for warning in noted}) == 1  # noted once in the results, however often it halves
    assert all(warning.category is MemoryWarning for warning in noted)
    network.calls.clear()
    batching.run("unet", network, [ROWS[:9]])
    assert network.calls == [4, 4, 4]  # it stays so, and the last batch is filled up


def test_another_network_or_shape_begins_anew() -> None:
    batching = Batching("some model", "cpu", small=True)
    with pytest.warns(MemoryWarning, match="the memory of cpu ran out; fewer images of some model"):
        batching.run("unet", Scarce(5), [ROWS])
    for kind, rows in (("decode", ROWS), ("unet", ROWS.repeat(1, 3))):
        network = Scarce(99)
        batching.run(kind, network, [rows])
        assert network.calls == [16, 16, 16]


def test_memory_that_holds_no_row_at_all_is_an_error_that_says_what_to_do() -> None:
    with (
        pytest.warns(MemoryWarning),
        pytest.raises(ModelError, match=r"not even for one image. Set model.precision to 'fp16'"),
    ):
        Batching("some model", "cpu", small=True).run("unet", Scarce(0), [ROWS])


def test_apples_gpus_say_it_in_words_and_other_errors_are_not_taken_for_it() -> None:
    batching = Batching("some model", "cpu", small=True)
    with pytest.warns(MemoryWarning):
        batching.run("unet", Scarce(8, RuntimeError("MPS backend out of memory")), [ROWS])
    with pytest.raises(RuntimeError, match="shapes"):
        batching.run("decode", Scarce(8, RuntimeError("shapes do not match")), [ROWS])


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "Invalid buffer size: 4.00 GiB",
    ],
)
def test_the_driver_and_its_libraries_say_it_in_words_too(said: str) -> None:
    network = Scarce(8, RuntimeError(said))
    with pytest.warns(MemoryWarning):
        Batching("some model", "cpu", small=True).run("unet", network, [ROWS])
    assert network.calls == [16, *[8] * 5]


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_gpus_cache_is_freed_before_fewer_rows_run(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[str] = []
    for kind in ("cuda", "mps"):
        monkeypatch.setattr(getattr(torch, kind), "empty_cache", lambda kind=kind: freed.append(kind))
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_, **__: tensor)
    batching = Batching("some model", device, small=True, rows={("unet", 1): 16})
    with pytest.warns(MemoryWarning):
        batching.run("unet", Scarce(8), [ROWS])
    assert freed == [device]


def test_no_row_is_refused() -> None:
    with raises_with(ShapeError, where="inputs", found=0):
        Batching("some model", "cpu", small=True).run("unet", Scarce(1), [ROWS[:0]])


def test_a_gpu_begins_with_one_row_measures_it_and_fills_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reseen.ldm.batching._begin_measuring", lambda _device: 0)
    monkeypatch.setattr("reseen.ldm.batching._measured", lambda _device, _before: (1000, 90))
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_, **__: tensor)
    batching, network = Batching("some model", "cuda", small=False), Scarce(99)
    assert torch.equal(batching.run("unet", network, [ROWS]), 2 * ROWS)
    assert network.calls == [1, 8, 8, 8, 8, 8]  # of the 39 left the last 7 are filled up to a power of two
    network.calls.clear()
    batching.run("unet", network, [ROWS[:3]])
    assert network.calls == [4]


@pytest.mark.parametrize(
    ("free", "for_one", "rows"), [(1000, 90, 8), (1000, 800, 1), (10, 800, 1), (10**12, 1, 64), (1000, 0, 64)]
)
def test_rows_take_four_fifths_of_what_is_free(free: int, for_one: int, rows: int) -> None:
    assert rows_that_fit(free, for_one, 64) == rows


def test_powers_of_two() -> None:
    assert [power_of_two(n) for n in (1, 2, 3, 7, 8)] == [1, 2, 2, 4, 8]
    assert [power_of_two(n, up=True) for n in (1, 2, 3, 7, 8, 9)] == [1, 2, 4, 8, 8, 16]
