"""Pickled dicts of arrays are read without running the pickle."""

import os

import numpy as np
import pytest

from reseen.datasets.lab.pickled import read_pickled
from reseen.errors import DataError

CONTENT = {
    "columns": np.asfortranarray(np.arange(12000.0).reshape(3, 4000)),
    "shared": [np.arange(3)] * 2,
    "values": (1, 2**70, "text", b"bytes", None, True, 1.5, np.float32(2), np.int64(-4)),
    "objects": np.array([1, "a", None], dtype=object),
    "empty": np.zeros((0, 4)),
    "names": np.array(["ab", "c"]),
    "big endian": np.arange(3, dtype=">i4"),
    "nested": {"list": [[], [{}]]},
}


def same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        same(list(found.values()), list(expected.values()))
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_dict_is_read_as_numpy_reads_it(tmp_path, protocol):
    import pickle

    array = np.array(CONTENT, dtype=object)
    with (tmp_path / "dict.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        pickle.dump(array, file, protocol=protocol)
    same(read_pickled(tmp_path / "dict.npy"), CONTENT)


def test_what_numpy_saves_is_read(tmp_path):
    np.save(tmp_path / "dict.npy", CONTENT, allow_pickle=True)
    same(read_pickled(tmp_path / "dict.npy"), CONTENT)


def test_a_large_array_is_a_view_of_the_file(tmp_path):
    np.save(tmp_path / "dict.npy", {"betas": np.arange(10**5, dtype=np.float32)}, allow_pickle=True)
    betas = read_pickled(tmp_path / "dict.npy")["betas"]
    assert not betas.flags.owndata
    assert not betas.flags.writeable


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("made by the pickle",)


def test_a_function_is_neither_called_nor_admitted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("dict.npy", {"betas": Harmful()}, allow_pickle=True)
    with pytest.raises(DataError, match=r"posix\.mkdir"):
        read_pickled(tmp_path / "dict.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["dict.npy"]


def test_arrays_alone_and_lists_are_no_dict(tmp_path):
    np.save(tmp_path / "array.npy", np.arange(3.0))
    np.save(tmp_path / "list.npy", np.array([[1], None], dtype=object), allow_pickle=True)
    for name in ("array.npy", "list.npy"):
        with pytest.raises(DataError) as caught:
            read_pickled(tmp_path / name)
        assert caught.value.expected == "dict"


def test_a_truncated_and_damaged_file_is_refused_by_name(tmp_path):
    np.save(tmp_path / "dict.npy", CONTENT, allow_pickle=True)
    content = (tmp_path / "dict.npy").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content[: rng.integers(100, len(content))])
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        (tmp_path / "damaged.npy").write_bytes(damaged)
        with pytest.raises(DataError, match=r"damaged\.npy"):
            read_pickled(tmp_path / "damaged.npy")
