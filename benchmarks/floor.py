"""The floor: a C++ kernel that only reads and writes, on torch's threads.

Over the arrays of rmsprop's own entry two ways to walk through memory are measured, one cursor per thread and two; the
floor is the faster one. Over some rows of a table there is one way, on one thread.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from torch import Tensor

from benchmarks.entry import Located
from rmsprop.threads import torch_parallel_for

SOURCE = Path(__file__).with_name("floor.cpp")
FLAGS = ("-std=c++20", "-O3", "-march=native", "-shared", "-fPIC")
FLOORS = {"floor-1": 1, "floor-2": 2}


class _Segment(ctypes.Structure):
    _fields_ = (("size", ctypes.c_int64), ("gradient", ctypes.c_void_p), ("written", ctypes.c_void_p * 4))


class Floor:
    """One pass over an entry's arrays.

    Args:
        name: A key of `FLOORS`.
        entry: Whose float32 arrays to stream over; they keep their values.
        arrays: Arrays per parameter, 3 or 5.
    """

    between = None

    def __init__(self, name: str, entry: Located, arrays: int) -> None:
        self.name = name
        self._entry = entry
        self._arrays = arrays
        self._segments = (_Segment * len(entry.arrays()))()

    def locate(self) -> None:
        """Look up where the arrays are now."""
        for segment, arrays in zip(self._segments, self._entry.arrays(), strict=True):
            written, gradient, *state = (array.ctypes.data for array in arrays)
            segment.size, segment.gradient = arrays[0].size, gradient
            segment.written = (ctypes.c_void_p * 4)(written, *state)

    def step(self) -> None:
        """Stream once."""
        cursors, count = FLOORS[self.name], len(self._segments)
        if _library().floor_pass(self._segments, count, self._arrays, cursors, 0.0, torch_parallel_for()):
            raise RuntimeError("the parallel region of the floor failed")


def pass_over_rows(rows: Tensor, places: Tensor, params: Tensor, averages: Tensor, gradients: Tensor) -> None:
    """Read and write rows of two tables of float32 once, which keep their values, and read their gradients once.

    Args:
        rows: The numbers of the rows, ascending.
        places: For each the number of its gradient.
        params: The one table.
        averages: The other.
        gradients: A gradient for each row.
    """
    tables = (params.data_ptr(), averages.data_ptr(), gradients.data_ptr())
    _library().floor_rows(rows.data_ptr(), places.data_ptr(), len(rows), params.shape[1], *tables, 0.0)


@cache
def _library() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "floor.so")
        compiler = os.environ.get("CXX", "c++")
        subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(library)], check=True)
        loaded = ctypes.CDLL(str(library))
    pointer, whole = ctypes.c_void_p, ctypes.c_int32
    loaded.floor_pass.argtypes = (pointer, ctypes.c_int64, whole, whole, ctypes.c_float, pointer)
    of_rows = (pointer, pointer, ctypes.c_int64, ctypes.c_int64, pointer, pointer, pointer, ctypes.c_float)
    loaded.floor_rows.argtypes, loaded.floor_rows.restype = of_rows, None
    return loaded
