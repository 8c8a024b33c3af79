"""The compiled kernel: what the C library does with batches, and which instruction set it uses."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from rmsprop.batch import Batch
from rmsprop.clipping import WORDS
from rmsprop.layout import BatchStruct, RowsStruct
from rmsprop.library import INSTRUCTION_SETS, libraries, use

__all__ = ["INSTRUCTION_SETS", "instruction_set", "use_instruction_set"]

NO_MEMORY = -3  # what a call returns that found none, and changed nothing
_DLPACK_MAJOR = 1  # of DLPack's versions, the first number of its exchange table


def update(batches: Sequence[Batch], parallel_for: int | None = None, threads: int = 1) -> None:
    """Run the kernel over all batches in one parallel region.

    Args:
        batches: What to update.
        parallel_for: The address of a C function with the signature of ``torch_parallel_for``, or None for the
            library's own threads.
        threads: How many own threads to use at most. Default 1.

    Raises:
        RuntimeError: If ``parallel_for`` fails.
    """
    if status := prepared(batches, parallel_for, threads)():
        raise RuntimeError(f"the parallel region of the kernel failed with status {status}")


def prepared(batches: Sequence[Batch], parallel_for: Any = None, threads: int = 1) -> Callable[[], int]:
    """Return `update` as a call into C that is ready to go: no Python code runs in it, so no Ctrl-C cuts it in two.

    Args:
        batches: As for `update`. What is set in them later holds for the call.
        parallel_for: As for `update`.
        threads: As for `update`.

    Returns:
        A function without arguments that returns 0, or what ``parallel_for`` returned.
    """
    return partial(libraries()[0].rmsprop_update, _pointers(batches), len(batches), parallel_for, threads)


def _pointers(batches: Sequence[Batch]) -> Any:
    return (ctypes.POINTER(BatchStruct) * len(batches))(*(ctypes.pointer(batch.struct) for batch in batches))


def squares(batches: Sequence[Batch], words: np.ndarray[Any, Any]) -> Callable[[int | None, int], int]:
    """Return a call that adds the squares of the gradients of some batches to a sum.

    Args:
        batches: Whose gradients. Where they are when it is called is what counts.
        words: The sum, as `rmsprop.clipping.squares` has it, added to in place.

    Returns:
        A function of ``parallel_for`` and ``threads``, as for `update`, which returns 0, or what ``parallel_for``
        returned.
    """
    add, address = libraries()[0].rmsprop_add_squares, words.ctypes.data
    structs, count = _pointers(batches), len(batches)

    def call(parallel_for: int | None, threads: int) -> int:
        status: int = add(structs, count, parallel_for, threads, address)
        return status

    return call


def update_squares(batch: Batch, parallel_for: int | None, threads: int) -> np.ndarray[Any, Any]:
    """Return the sums of squares of the quotients g / denominator that an update of a batch would compute.

    Args:
        batch: The batch, with the numbers of the update; changed by nothing.
        parallel_for: As for `update`.
        threads: As for `update`.

    Returns:
        A row per tensor, a sum as `rmsprop.clipping.squares` returns it.

    Raises:
        RuntimeError: If ``parallel_for`` fails.
    """
    words = np.zeros((len(batch.sizes), WORDS), np.int64)
    status = libraries()[0].rmsprop_measure_updates(
        ctypes.pointer(batch.struct), parallel_for, threads, words.ctypes.data
    )
    if status:
        raise RuntimeError(f"the parallel region of the kernel failed with status {status}")
    return words


def prepared_rows(
    batch: Batch, rows: RowsStruct, settles: bool, parallel_for: Any = None, threads: int = 1
) -> Callable[[], int]:
    """Return a call into C that updates rows of the one tensor of a batch, or brings all rows to date.

    Args:
        batch: The batch; its gradient is the values of the rows' gradients.
        rows: Which rows, and what happened to them. What the struct points to must stay where it is.
        settles: Whether all rows are brought to date, and none is updated.
        parallel_for: As for `update`.
        threads: As for `update`.

    Returns:
        A function without arguments that returns 0, or what went wrong before anything was changed.
    """
    free = libraries()[0]
    call = free.rmsprop_settle_rows if settles else free.rmsprop_update_rows
    return partial(call, ctypes.pointer(batch.struct), ctypes.pointer(rows), parallel_for, threads)


def are_rows(numbers: int, count: int, rows: int) -> bool:
    """Whether numbers are all those of rows of a table.

    Args:
        numbers: The address of the numbers, int64, one behind the other.
        count: How many they are.
        rows: The rows of the table, which are numbered from 0.
    """
    return bool(libraries()[0].rmsprop_are_rows(numbers, count, rows))


def instruction_set() -> str:
    """Return the instruction set in use: ``"avx512"``, ``"avx2"`` or ``"baseline"`` (SSE2, NEON)."""
    name: bytes = libraries()[0].rmsprop_instruction_set()
    return name.decode()


def use_instruction_set(name: str) -> None:
    """Choose the instruction set; all give the same bits.

    Args:
        name: ``"avx512"``, ``"avx2"`` or ``"baseline"``.

    Raises:
        ValueError: If this machine or this build has none of that name.

    Examples:
        >>> before = instruction_set(); use_instruction_set("baseline"); instruction_set()
        'baseline'
        >>> use_instruction_set(before)
    """
    use(libraries()[0], name)


@cache
def missing() -> str | None:
    """Return why the library can't be used on this machine, in a sentence, or None if it can."""
    try:
        libraries()
    except RuntimeError as error:
        return str(error)
    return None


def describe_function(tensor_class: Any) -> int | None:
    """Return the address of the C function that describes a framework's tensors (DLPack's exchange table).

    Args:
        tensor_class: The class of the tensors.

    Returns:
        The address, or None if the framework has no such table, or one of another DLPack.
    """
    capsule = getattr(tensor_class, "__dlpack_c_exchange_api__", None)
    if capsule is None:
        return None
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table: int = get(capsule, b"dlpack_exchange_api")
    if ctypes.c_uint32.from_address(table).value != _DLPACK_MAJOR:
        return None
    header_and_three_functions = 16 + 3 * 8
    return ctypes.c_void_p.from_address(table + header_and_three_functions).value
