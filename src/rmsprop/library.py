"""The compiled library: found however the package was installed, loaded, and refused where it is of another version."""

from __future__ import annotations

import ctypes
import os
import sys
from atexit import register
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from rmsprop.layout import BatchStruct, RowsStruct, StretchStruct, layout

INSTRUCTION_SET_VARIABLE = "RMSPROP_INSTRUCTION_SET"
INSTRUCTION_SETS = ("avx512", "avx2", "baseline")

_BATCH, _ROWS, _ADDRESS = ctypes.POINTER(BatchStruct), ctypes.POINTER(RowsStruct), ctypes.c_void_p
_THREADS = (_ADDRESS, ctypes.c_int32)  # parallel_for, and how many of the library's own serve without one
# What the functions take; all return int32, but for those named below.
_FREE: dict[str, tuple[Any, ...]] = {
    "rmsprop_update": (_ADDRESS, ctypes.c_int64, *_THREADS),
    "rmsprop_add_squares": (_ADDRESS, ctypes.c_int64, *_THREADS, _ADDRESS),
    "rmsprop_measure_updates": (_BATCH, *_THREADS, _ADDRESS),
    "rmsprop_count_agreements": (_BATCH, *_THREADS, _ADDRESS),
    "rmsprop_scale_units": (_BATCH, ctypes.c_double, *_THREADS),
    "rmsprop_update_rows": (_BATCH, _ROWS, *_THREADS),
    "rmsprop_settle_rows": (_BATCH, _ROWS, *_THREADS),
    "rmsprop_are_rows": (_ADDRESS, ctypes.c_int64, ctypes.c_int64),
    "rmsprop_count": (_BATCH,),
    "rmsprop_instruction_set": (),
    "rmsprop_use_instruction_set": (ctypes.c_char_p,),
}
_LOCKED: dict[str, tuple[Any, ...]] = {
    "rmsprop_bind": (_BATCH, *(_ADDRESS,) * 3, ctypes.POINTER(StretchStruct), ctypes.c_int32),
}
_RETURNS = {"rmsprop_instruction_set": ctypes.c_char_p, "rmsprop_bind": ctypes.c_int64, "rmsprop_count": None}
_ANOTHER = "rmsprop's compiled kernel belongs to another version of rmsprop"


@cache
def libraries() -> tuple[ctypes.CDLL, ctypes.PyDLL]:
    """Return what `load` does, loaded once, with the instruction set that the environment asks for.

    Raises:
        RuntimeError: As `load`.
        ValueError: If this machine or this build has no such instruction set.
    """
    free, locked = load()
    if name := os.environ.get(INSTRUCTION_SET_VARIABLE):
        use(free, name)
    return free, locked


def load() -> tuple[ctypes.CDLL, ctypes.PyDLL]:
    """Load the first library that can be loaded and is of this version; a stale one may lie in front of it.

    Returns:
        The library twice: to run without the interpreter lock, and to read Python's objects under it.

    Raises:
        RuntimeError: If there is none: why, and what to do.
    """
    failed = RuntimeError(
        "rmsprop's compiled kernel is missing from this installation: install the wheel of this platform, or build it "
        "with a C++20 compiler (pip install --no-binary rmsprop rmsprop)"
    )
    for path in places():
        try:
            free, locked = ctypes.CDLL(path), ctypes.PyDLL(path)
            check_layout(free)
            declare(free, _FREE)
            declare(locked, _LOCKED)
        except OSError as error:
            failed = RuntimeError(f"rmsprop's compiled kernel can't be loaded ({error}): reinstall rmsprop")
        except RuntimeError as error:
            failed = error
        else:
            return free, locked
    raise failed


def places() -> Iterator[str]:
    """Yield where the library is: beside these sources, elsewhere on an editable package's path, or in an archive."""
    package = sys.modules[__package__]
    for folder in map(Path, package.__path__):
        yield from map(str, sorted(folder.glob("rmsprop_native.*")))
    for entry in files(package).iterdir():
        if entry.name.startswith("rmsprop_native."):
            unpacked = ExitStack()
            register(unpacked.close)
            yield str(unpacked.enter_context(as_file(entry)))


def check_layout(library: ctypes.CDLL) -> None:
    """Compare where the library has the fields of its structs with where this package has them.

    Args:
        library: The library.

    Raises:
        RuntimeError: If they are elsewhere, or the library can't tell.
    """
    if not hasattr(library, "rmsprop_layout"):
        raise RuntimeError(f"{_ANOTHER}: reinstall rmsprop")
    library.rmsprop_layout.restype = ctypes.c_char_p
    if (its := library.rmsprop_layout().decode()) != layout():
        raise RuntimeError(f"{_ANOTHER} (it has {its}, but {layout()} is needed): reinstall rmsprop")


def declare(library: ctypes.CDLL, functions: dict[str, tuple[Any, ...]]) -> None:
    """Declare what functions of the library take and return.

    Args:
        library: The library.
        functions: Their names, and the types of their arguments.

    Raises:
        RuntimeError: If the library has no function of such a name.
    """
    for name, types in functions.items():
        if not hasattr(library, name):
            raise RuntimeError(f"{_ANOTHER} (it has no {name}): reinstall rmsprop")
        function = getattr(library, name)
        function.argtypes, function.restype = types, _RETURNS.get(name, ctypes.c_int32)


def use(library: ctypes.CDLL, name: str) -> None:
    """Choose the instruction set of a library.

    Args:
        library: The library.
        name: One of `INSTRUCTION_SETS`.

    Raises:
        ValueError: If this machine or this build has none of that name.
    """
    if library.rmsprop_use_instruction_set(name.encode()):
        raise ValueError(
            f"this machine has no instruction set {name!r} (known: {', '.join(INSTRUCTION_SETS)}): "
            f"choose another, or unset {INSTRUCTION_SET_VARIABLE}"
        )
