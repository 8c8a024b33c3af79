"""The compiled kernel: loads the C library, hands it rules and tables of memory.

The library knows no framework. A front end gives it either tensor objects, which it reads through DLPack's C exchange
(`Batch.bind`), or addresses (`Batch.place`).
"""

from __future__ import annotations

import ctypes
import os
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from rmsprop.rule import Rule

INSTRUCTION_SET_VARIABLE = "RMSPROP_INSTRUCTION_SET"
INSTRUCTION_SETS = ("avx512", "avx2", "baseline")

# These numbers and structures mirror native/rmsprop.h.
DTYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}
CPU = (1, 0)  # a device as DLPack has it: its type and its number
_WEIGHT_DECAY_MODES = {"l2": 1, "decoupled": 2}
_BOUND, _NOT_DESCRIBED = -1, -2
_TABLES = ("params", "grads", "spreads", "means", "buffers")
_STATE_TABLES = {"square_avg": "spreads", "grad_var": "spreads", "grad_avg": "means", "momentum_buffer": "buffers"}


class _Numbers(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_double) for name in ("lr", "grad_scale", "gain", "keep", "eps_inside", "eps_outside")),
        *((name, ctypes.c_double) for name in ("momentum", "momentum_loss", "weight_decay")),
        *((name, ctypes.c_int32) for name in ("new_is_base", "centered", "momentum_mode", "weight_decay_mode")),
    )


class _Batch(ctypes.Structure):
    _fields_ = (
        ("rule", _Numbers),
        ("dtype", ctypes.c_int32),
        *((name, ctypes.c_int32) for name in ("device_type", "device_id")),
        ("count", ctypes.c_int64),
        ("sizes", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in _TABLES),
    )


def _numbers(rule: Rule, lr: float, step: int, maximize: bool, grad_scale: float) -> _Numbers:
    gain, keep = rule.gains(step)
    momentum_mode = 0 if not rule.momentum else 1 + rule.lr_in_momentum + 2 * rule.nesterov
    return _Numbers(
        lr=lr,
        grad_scale=-grad_scale if maximize else grad_scale,
        gain=gain,
        keep=keep,
        eps_inside=rule.eps if rule.eps_inside_sqrt else 0.0,
        eps_outside=0.0 if rule.eps_inside_sqrt else rule.eps,
        momentum=rule.momentum,
        momentum_loss=1.0 - rule.momentum,
        weight_decay=rule.weight_decay * (lr if rule.weight_decay_mode == "decoupled" else 1.0),
        new_is_base=rule.decay < 0.5,
        centered=rule.centered,
        momentum_mode=momentum_mode,
        weight_decay_mode=_WEIGHT_DECAY_MODES[rule.weight_decay_mode] if rule.weight_decay else 0,
    )


class Batch:
    """Tensors that share a device, a rule and a storage type, as the tables that the kernel reads.

    Args:
        dtype: What parameters and gradients are stored as, a key of `DTYPES`. State is float64 for float64 and
            float32 for the others.
        count: The number of tensors.
        rule: What to compute; it decides which state arrays there are (`Rule.state_names`).
        device: DLPack's type and number of the device that `bind` is to find the tensors on. `update` takes batches on
            the CPU alone. Default: the CPU.

    Examples:
        >>> Batch("float32", 0, Rule(momentum=0.9)).columns
        4
    """

    def __init__(self, dtype: str, count: int, rule: Rule, device: tuple[int, int] = CPU) -> None:
        self.rule = rule
        self.columns = 2 + len(rule.state_names)
        self.sizes = array("q", bytes(8 * count))
        self._tables = array("Q", bytes(8 * count * self.columns))
        start, bytes_per_table = self._tables.buffer_info()[0], 8 * count
        self.dtype = dtype
        self.struct = _Batch(
            dtype=DTYPES[dtype],
            device_type=device[0],
            device_id=device[1],
            count=count,
            sizes=self.sizes.buffer_info()[0],
        )
        self.set_numbers(0.0, 1)  # the options among them decide which tables are read
        for position, name in enumerate(self._column_names()):
            setattr(self.struct, name, start + position * bytes_per_table)

    @property
    def state_columns(self) -> tuple[str, ...]:
        """The names of the state arrays in the order in which the kernel takes them, after parameter and gradient."""
        return tuple(name for name in _STATE_TABLES if name in self.rule.state_names)

    def _column_names(self) -> tuple[str, ...]:
        return "params", "grads", *(_STATE_TABLES[name] for name in self.state_columns)

    def set_numbers(self, lr: float, step: int, *, maximize: bool = False, grad_scale: float = 1.0) -> None:
        """Set what the next update computes.

        Args:
            lr: The learning rate.
            step: The number of the update, counted from 1.
            maximize: Ascend instead of descend. Default False.
            grad_scale: What gradients are multiplied with first. Default 1.
        """
        self.struct.rule = _numbers(self.rule, lr, step, maximize, grad_scale)

    def bind(self, objects: int, describe: int) -> int | None:
        """Read the addresses of tensor objects, checking each against what the kernel can do.

        Args:
            objects: The address of a table of references to Python objects, in rows: the parameters, their
                gradients, ``square_avg`` or ``grad_var``, ``grad_avg`` and ``momentum_buffer``, as far as the rule
                has them.
            describe: The address of the framework's DLPack function ``dltensor_from_py_object_no_sync``.

        Returns:
            None if all fit, else the position in ``objects`` of the first that does not.

        Raises:
            Exception: Whatever the framework raises for an object that DLPack cannot describe.
        """
        found: int = _libraries()[1].rmsprop_bind(self.struct, objects, describe)
        if found == _NOT_DESCRIBED:
            raise BufferError("a tensor has no memory that DLPack can describe")
        return None if found == _BOUND else found

    def place(self, sizes: Iterable[int], addresses: Iterable[int]) -> None:
        """Set the tables from addresses; the caller answers for them.

        Args:
            sizes: The number of elements of each tensor.
            addresses: The addresses, in the order of `bind`'s objects.

        Raises:
            ValueError: If there are not as many as the batch was made for.
        """
        new_sizes, new_tables = array("q", sizes), array("Q", addresses)
        if (len(new_sizes), len(new_tables)) != (len(self.sizes), len(self._tables)):
            raise ValueError(
                f"{len(new_sizes)} sizes and {len(new_tables)} addresses were given to a batch of {len(self.sizes)} "
                f"tensors, which takes {len(self._tables)} addresses"
            )
        self.sizes[:], self._tables[:] = new_sizes, new_tables

    def place_grads(self, addresses: Iterable[int]) -> None:
        """Set where the gradients are, after `place` has set the rest; the caller answers for them.

        Args:
            addresses: The addresses, one per tensor.

        Raises:
            ValueError: If there are not as many as the batch was made for.
        """
        new, count = array("Q", addresses), len(self.sizes)
        if len(new) != count:
            raise ValueError(f"{len(new)} addresses were given to a batch of {count} tensors")
        self._tables[count : 2 * count] = new

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """Return the addresses in one of the tables, one per tensor, as they are now and will be.

        Args:
            name: ``"params"``, ``"grads"``, ``"spreads"`` (square_avg or grad_var), ``"means"`` (grad_avg) or
                ``"buffers"`` (momentum_buffer).

        Returns:
            A view of them, or zeros if the rule has no such array.
        """
        count = len(self.sizes)
        if name not in self._column_names():
            return np.zeros(count, dtype=np.int64)
        begin = count * self._column_names().index(name)
        return np.frombuffer(self._tables, np.int64, count, 8 * begin)

    @property
    def numbers(self) -> np.ndarray[Any, Any]:
        """The numbers of the next update, the struct `rmsprop_rule` of native/rmsprop.h, in words of 8 bytes."""
        return np.frombuffer(memoryview(self.struct), dtype=np.int64, count=ctypes.sizeof(_Numbers) // 8)

    @property
    def state_addresses(self) -> bytes:
        """The addresses of the state, to be compared with those of another time."""
        return self._tables[2 * len(self.sizes) :].tobytes()

    @property
    def param_addresses(self) -> bytes:
        """The addresses of the parameters, to be compared with those of another time."""
        return self._tables[: len(self.sizes)].tobytes()


def update(batches: Sequence[Batch], parallel_for: Any = None, threads: int = 1) -> None:
    """Run the kernel over all batches in one parallel region.

    Args:
        batches: What to update.
        parallel_for: A C function with the signature of ``torch_parallel_for``, or None for the library's own threads.
        threads: How many own threads to use at most. Default 1.

    Raises:
        RuntimeError: If ``parallel_for`` fails.
    """
    if status := prepared(batches, parallel_for, threads)():
        raise RuntimeError(f"the parallel region of the kernel failed with status {status}")


def prepared(batches: Sequence[Batch], parallel_for: Any = None, threads: int = 1) -> Callable[[], int]:
    """Return `update` as a call into C that is ready to go: no Python code runs in it, so no Ctrl-C cuts it in two.

    Args:
        batches: As for `update`; they must stay as they are until the call.
        parallel_for: As for `update`.
        threads: As for `update`.

    Returns:
        A function without arguments that returns 0, or what ``parallel_for`` returned.
    """
    structs = (_Batch * len(batches))(*(batch.struct for batch in batches))
    return partial(_libraries()[0].rmsprop_update, structs, len(batches), parallel_for, threads)


def instruction_set() -> str:
    """Return the instruction set in use: ``"avx512"``, ``"avx2"`` or ``"baseline"`` (SSE2, NEON)."""
    name: bytes = _libraries()[0].rmsprop_instruction_set()
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
    _use(_libraries()[0], name)


def _use(library: ctypes.CDLL, name: str) -> None:
    if library.rmsprop_use_instruction_set(name.encode()):
        raise ValueError(
            f"this machine has no instruction set {name!r} (known: {', '.join(INSTRUCTION_SETS)}): "
            f"choose another, or unset {INSTRUCTION_SET_VARIABLE}"
        )


@cache
def _libraries() -> tuple[ctypes.CDLL, ctypes.PyDLL]:
    """Load the library twice: once to run without the interpreter lock, once to read objects under it."""
    found = sorted(Path(__file__).parent.glob("rmsprop_native.*"))
    if not found:
        raise RuntimeError("rmsprop's compiled kernel is missing from this installation: reinstall rmsprop")
    free, locked = ctypes.CDLL(str(found[0])), ctypes.PyDLL(str(found[0]))
    free.rmsprop_update.argtypes = (ctypes.POINTER(_Batch), ctypes.c_int64, ctypes.c_void_p, ctypes.c_int32)
    free.rmsprop_instruction_set.restype = ctypes.c_char_p
    locked.rmsprop_bind.argtypes = (ctypes.POINTER(_Batch), ctypes.c_void_p, ctypes.c_void_p)
    locked.rmsprop_bind.restype = ctypes.c_int64
    if name := os.environ.get(INSTRUCTION_SET_VARIABLE):
        _use(free, name)
    return free, locked
