"""Householder's tridiagonal form of a symmetric matrix: half way to its eigenvectors, and enough to solve with.

``matrix = Q T Q'``. Where ``(matrix + alpha)`` is to be solved for many alphas, T serves as well as eigenvalues do: a
tridiagonal system costs a few operations a number. Eigenvectors take almost four times as long to find as T and Q
(1.34 against 0.36 s of one core at 2,000), and two threads hardly shorten that.

LAPACK is called as scipy exports it to other compilers (`scipy.linalg.cython_lapack`): scipy's own wrappers would let
no other thread of this process run meanwhile.

Source: Golub and Van Loan, Matrix Computations, section 8.3.1; LAPACK's ``dsytrd``, ``sormtr`` and ``dptsv``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import DataError
from reseen.ridge.device import Float32, Float64

WORK_PER_ROW = 64  # LAPACK's block size is half of it


@dataclass(frozen=True)
class Tridiagonal:
    """``T`` and the reflections whose product is ``Q``."""

    diagonal: Float64  # (n,)
    beside: Float64  # (n - 1,)
    reflectors: Float32  # (n, n) as LAPACK packs them
    scales: Float32  # (n - 1,)

    @classmethod
    def of(cls, matrix: Float64) -> Tridiagonal:
        """Bring a symmetric matrix, ``(n, n)``, to tridiagonal form."""
        n = len(matrix)
        packed = np.array(matrix, order="C")  # which is as good as by columns: the matrix is symmetric
        diagonal, beside, scales = np.empty(n), np.empty(n - 1), np.empty(n - 1)
        work = np.empty(WORK_PER_ROW * n)
        _call("dsytrd", "L", n, packed, n, diagonal, beside, scales, work, len(work))
        return cls(diagonal, beside, packed.astype(np.float32), scales.astype(np.float32))

    def turn(self, rows: Float32) -> Float32:
        """Return ``rows @ Q``, ``(n_rows, n)``, in single precision."""
        n = len(self.diagonal)
        turned = np.array(rows, dtype=np.float32, order="C")  # LAPACK takes it for (n, n_rows), by columns
        work = np.empty(WORK_PER_ROW * max(n, len(rows), 1), dtype=np.float32)
        reflections = (self.reflectors, n, self.scales)
        _call("sormtr", "L", "L", "T", n, len(rows), *reflections, turned, n, work, len(work))
        return turned

    def solve(self, alpha: float, rows: Float32) -> Float32:
        """Return ``rows @ inverse(T + alpha)``, ``(n_rows, n)``; solved in double precision.

        Raises
        ------
        DataError
            If alpha is so small that rounding leaves nothing to solve.
        """
        solved = np.array(rows, dtype=np.float64, order="C")
        n = len(self.diagonal)
        if _call("dptsv", n, len(rows), self.diagonal + alpha, self.beside.copy(), solved, n):
            raise DataError(f"a penalty of {alpha:g} is lost in the rounding of these betas; leave it out.")
        return solved.astype(np.float32)


def _call(name: str, *arguments: str | int | Float32 | Float64) -> int:
    """Call a routine of LAPACK, which changes arrays in place, and give its ``info``."""
    info = np.zeros(1, dtype=np.int32)
    held = [_by_reference(value) for value in arguments]
    _routine(name, len(held) + 1)(*(array.ctypes.data for array in (*held, info)))
    return int(info[0])


def _by_reference(value: Any) -> NDArray[Any]:
    if isinstance(value, str):
        return np.frombuffer(value.encode(), dtype=np.int8)
    return np.array([value], dtype=np.int32) if isinstance(value, int) else np.asarray(value)


@cache
def _routine(name: str, n_arguments: int) -> Callable[..., None]:
    """Find a routine of LAPACK, as a function of addresses that lets other threads run."""
    from scipy.linalg import cython_lapack

    capsule = cython_lapack.__pyx_capi__[name]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address = api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * n_arguments)(address)
