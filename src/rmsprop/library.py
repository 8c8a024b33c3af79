"""The compiled library: found however the package was installed, loaded, and refused where it is of another version."""

from __future__ import annotations

import ctypes
import sys
from atexit import register
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path

from rmsprop.layout import layout

INSTRUCTION_SET_VARIABLE = "RMSPROP_INSTRUCTION_SET"
INSTRUCTION_SETS = ("avx512", "avx2", "baseline")


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
        raise RuntimeError("rmsprop's compiled kernel belongs to another version of rmsprop: reinstall rmsprop")
    library.rmsprop_layout.restype = ctypes.c_char_p
    if (its := library.rmsprop_layout().decode()) != layout():
        raise RuntimeError(
            f"rmsprop's compiled kernel belongs to another version of rmsprop (it has {its}, but {layout()} is "
            "needed): reinstall rmsprop"
        )


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
