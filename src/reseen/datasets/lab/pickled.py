"""Read a pickled dict of numpy arrays, as `numpy.save` writes it, without running the pickle.

A pickle is a list of instructions. Those that build numbers, texts, lists, dicts, and numpy arrays, dtypes and scalars
are carried out here; a file with any other is refused. No function that a file names is ever called. Large arrays are
views of the file, which is mapped into memory, so that only the parts that are used are read.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from reseen.errors import DataError
from reseen.files import reading
from reseen.files.reading import shown

VIEW_BYTES = 4096
"""Minimum size of a value that stays in the file."""
_DTYPE = re.compile(r"[biufcmMSU?]\d*|O\d*")
_GLOBALS = {("numpy", "ndarray"): "array type", ("numpy", "dtype"): "dtype"}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # the names before and since numpy 2
    _GLOBALS[_module, "_reconstruct"] = "array"
    _GLOBALS[_module, "scalar"] = "scalar"


def read_pickled(path: Path) -> dict[str, Any]:
    """Read a dict from a ``.npy`` file.

    Parameters
    ----------
    path
        A file of `numpy.save` with one dict: of arrays, numbers, texts, lists and dicts.

    Raises
    ------
    DataError
        If the file is missing, damaged, or contains anything else.
    """
    with reading(path):
        offset, shape = _header(path)
        value = _Machine(path, offset).run()
    if shape == () and isinstance(value, np.ndarray) and value.dtype.kind == "O":
        value = value[()]
    if not isinstance(value, dict):
        raise DataError(
            f"{shown(path)} contains {type(value).__name__}; a dict of arrays is expected here.",
            where=path,
            expected="dict",
            found=type(value).__name__,
        )
    return value


def _header(path: Path) -> tuple[int, tuple[int, ...]]:
    """Return where the pickle starts, and the shape of the array that it contains."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if dtype.kind != "O":
            raise DataError(
                f"{shown(path)} is an array of {dtype} and shape {shape}; a dict of arrays is expected here.",
                where=path,
                expected="dict",
                found=str(dtype),
            )
        return file.tell(), shape


class _Mapped:
    """Reader of a file that is mapped into memory; large values are views of the file."""

    def __init__(self, path: Path, offset: int) -> None:
        self._content = np.memmap(path, dtype=np.uint8, mode="r")
        self._place = offset

    def read(self, size: int) -> bytes | memoryview:
        part = self._content[self._place : self._place + size]
        self._place += len(part)
        return part.tobytes() if size < VIEW_BYTES else part.data

    def readline(self) -> bytes:
        line, end, _ = self._content[self._place : self._place + VIEW_BYTES].tobytes().partition(b"\n")
        self._place += len(line) + len(end)
        return line + end


class _Unfinished:
    """Array or dtype whose state follows later in the pickle."""

    def __init__(self, finish: Callable[[Any], Any]) -> None:
        self.finish = finish
        self.keys: list[int] = []
        """Where it is stored in the memo."""


class _Machine:
    """Stack and memo of a pickle's instructions."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path = path
        self._file = _Mapped(path, offset)
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Carry out all instructions and return the value that they build."""
        for opcode, argument, _ in pickletools.genops(cast(IO[bytes], self._file)):
            name = opcode.name
            if name in _VALUES:
                self._stack.append(argument)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name]())
            elif name in _ACTIONS:
                _ACTIONS[name](self, argument)
            elif name not in ("PROTO", "FRAME", "STOP"):
                raise self._refused(f"the instruction {name}")
        (value,) = self._stack
        return value

    def mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def since_mark(self) -> list[Any]:
        first = self._marks.pop()
        values = self._stack[first:]
        del self._stack[first:]
        return values

    def last(self, number: int) -> list[Any]:
        if len(self._stack) < number:
            raise ValueError("a value is missing")
        values = self._stack[-number:]
        del self._stack[-number:]
        return values

    def tuple_of(self, values: list[Any]) -> None:
        self._stack.append(tuple(values))

    def append(self, values: list[Any]) -> None:
        self._need(self._stack[-1], list).extend(values)

    def set_items(self, values: list[Any]) -> None:
        self._need(self._stack[-1], dict).update(zip(values[::2], values[1::2], strict=True))

    def memoize(self, key: int | None) -> None:
        key, value = len(self._memo) if key is None else key, self._stack[-1]
        self._memo[key] = value
        if isinstance(value, _Unfinished):
            value.keys.append(key)

    def recall(self, key: int) -> None:
        self._stack.append(self._memo[key])

    def find(self, module: str, name: str) -> None:
        if (module, name) not in _GLOBALS:
            raise self._refused(f"{module}.{name}")
        self._stack.append(_Global(_GLOBALS[module, name]))

    def reduce(self, _: Any) -> None:
        function, arguments = self.last(2)
        name = self._need(function, _Global).name
        self._stack.append(_STARTED[name](*self._need(arguments, tuple)))

    def build(self, _: Any) -> None:
        (state,) = self.last(1)
        unfinished = self._need(self._stack[-1], _Unfinished)
        value = unfinished.finish(state)
        self._stack[-1] = value
        for key in unfinished.keys:
            self._memo[key] = value

    def _need(self, value: Any, expected: type[Any]) -> Any:
        if not isinstance(value, expected):
            raise self._refused(f"an object of another type than {expected.__name__.strip('_').lower()}")
        return value

    def _refused(self, what: str) -> DataError:
        return DataError(
            f"{shown(self._path)} contains {what}; only arrays, numbers, texts, lists and dicts are read from such a "
            "file. Save its arrays alone.",
            where=self._path,
            found=what,
        )


class _Global:
    """Name in a pickle of a type or function of numpy."""

    def __init__(self, name: str) -> None:
        self.name = name


def _start_dtype(text: str, *_: Any) -> _Unfinished:
    if not isinstance(text, str) or not _DTYPE.fullmatch(text):
        raise ValueError(f"{text!r} is no type of numbers or text")
    dtype = np.dtype(text)
    return _Unfinished(lambda state: dtype.newbyteorder(state[1]) if state[1] in "<>" else dtype)


def _start_array(*_: Any) -> _Unfinished:
    return _Unfinished(_finish_array)


def _finish_array(state: tuple[Any, ...]) -> NDArray[Any]:
    _, shape, dtype, in_fortran_order, content = state
    if dtype.kind == "O":
        values = np.empty(len(content), dtype=object)
        for number, value in enumerate(content):
            values[number] = value
    else:
        values = np.frombuffer(content, dtype=dtype) if math.prod(shape) else np.empty(0, dtype=dtype)
    return values.reshape(shape, order="F" if in_fortran_order else "C")


def _make_scalar(dtype: np.dtype[Any], content: bytes) -> Any:
    return np.frombuffer(content, dtype=dtype)[0]


def _no_function(*_: Any) -> Any:
    raise ValueError("a type of arrays is called")


_STARTED: Mapping[str, Callable[..., Any]] = {
    "array": _start_array,
    "array type": _no_function,
    "dtype": _start_dtype,
    "scalar": _make_scalar,
}
_VALUES = frozenset(
    [
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    ]
)
_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_ACTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "TUPLE": lambda machine, _: machine.tuple_of(machine.since_mark()),
    "TUPLE1": lambda machine, _: machine.tuple_of(machine.last(1)),
    "TUPLE2": lambda machine, _: machine.tuple_of(machine.last(2)),
    "TUPLE3": lambda machine, _: machine.tuple_of(machine.last(3)),
    "APPEND": lambda machine, _: machine.append(machine.last(1)),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "MEMOIZE": _Machine.memoize,
    "BINPUT": _Machine.memoize,
    "LONG_BINPUT": _Machine.memoize,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "GLOBAL": lambda machine, names: machine.find(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.find(*machine.last(2)),
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
