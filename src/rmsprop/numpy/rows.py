"""Gradients of some rows of an array, given as ``(rows, values)``: the update reads and writes these rows alone.

`rmsprop.rows` states what an update of rows is. Where that would not be the dense update to the last rounding (momentum
and weight decay move rows that have no gradient), a dense copy of the gradient serves: exact, at the cost of the whole
array.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from operator import call, setitem
from typing import Any, NamedTuple

import numpy as np

from rmsprop import native, reference
from rmsprop.batch import Batch
from rmsprop.decays import LAST_STEP, Decays, Shares
from rmsprop.numpy.memory import Array, Counter, Slot, as_array, check_held, check_unchanged
from rmsprop.numpy.operations import real_numbers
from rmsprop.row_table import RowTable
from rmsprop.rows import moves_at_rest, summed, up_to_date
from rmsprop.rule import Rule
from rmsprop.storage import real_dtype, working_dtype


class RowGradient(NamedTuple):
    """The gradients of some rows.

    Args:
        rows: The numbers of rows, int64; some may occur several times.
        values: Their gradients, in the array's dtype; both dense, and apart from what a step writes.
    """

    rows: Array
    values: Array


def checked(slot: Slot, grad: tuple[Any, ...], slots: Sequence[Slot]) -> RowGradient:
    """Return a gradient of rows as the kernel reads it.

    Args:
        slot: The array that it is of.
        grad: What was given.
        slots: All arrays: where the gradient lies in the memory of one, it is copied.

    Raises:
        TypeError: If it is not a pair of arrays, of integers and of what the array can hold.
        ValueError: If it has rows that the array hasn't, or values of another shape.
    """
    of_array = f"of the gradient of array {slot.name!r}"
    if len(grad) != 2:
        raise TypeError(
            f"the gradient of array {slot.name!r} is a tuple of {len(grad)}, but an array is needed, or the two of "
            "(rows, values): the numbers of rows and their gradients"
        )
    rows, values = grad[0], as_array(slot, grad[1], f"the second part {of_array}")
    if not slot.shape:
        raise ValueError(f"array {slot.name!r} has no axes, and so no rows: pass its gradient as an array")
    if not isinstance(rows, np.ndarray) or rows.ndim != 1 or rows.dtype.kind not in "iu":
        kind = f"of {rows.ndim} axes and {rows.dtype}" if isinstance(rows, np.ndarray) else f"a {type(rows).__name__}"
        raise TypeError(
            f"the rows {of_array} are {kind}, but an array of one axis and of integers is needed: "
            "convert them with np.asarray(rows, 'int64').ravel()"
        )
    if values.shape != (len(rows), *slot.shape[1:]):
        raise ValueError(
            f"the values {of_array} have shape {values.shape}, but its {len(rows)} rows have "
            f"{(len(rows), *slot.shape[1:])}: they must be equal"
        )
    check_held(slot, values)
    _check_range(slot, rows)
    check_unchanged(slot)
    parts = np.require(rows, np.int64, ["C", "A"]), np.require(values, slot.dtype, ["C", "A"])
    written = [array for each in slots for array in (each.memory, *each.state.values())]
    return RowGradient(
        *(part.copy() if any(np.may_share_memory(part, array) for array in written) else part for part in parts)
    )


def _check_range(slot: Slot, rows: Array) -> None:
    if len(rows) and (rows.min() < 0 or rows.max() >= slot.shape[0]):
        wrong = int(rows[(rows < 0) | (rows >= slot.shape[0])][0])
        raise ValueError(
            f"the gradient of array {slot.name!r} has row {wrong}, but the array has {slot.shape[0]} rows, counted "
            "from 0: leave out rows that are none"
        )


def unfit(slot: Slot, rule: Rule) -> str | None:
    """Return why a gradient of rows must become a dense one, or None if the rows can be updated alone.

    Args:
        slot: The array.
        rule: What to compute.

    Returns:
        A reason that completes "as ...".
    """
    if reason := moves_at_rest(rule):
        return reason
    if not slot.fills_memory or not np.asarray(slot.array).flags.c_contiguous:
        return "its rows don't follow each other in memory"
    return "it has taken 2³¹ steps" if slot.counter.value >= LAST_STEP else None


def dense(slot: Slot, grad: RowGradient) -> Array:
    """Return the gradient of a whole array.

    Args:
        slot: The array.
        grad: The gradients of its rows; those of one row are added up in the array's working precision.
    """
    rows, sums = summed(grad.rows, grad.values.astype(working_dtype(slot.dtype.name)))
    found = np.zeros(slot.shape, slot.dtype)
    with np.errstate(all="ignore"):  # a sum that is too large is infinite, silently
        found[rows] = sums
    return found


class ArrayRows:
    """The rows of an array, whose averages are each up to date to a step of its own.

    Args:
        slot: The array and its state; all its rows are up to date.
        rule: What to compute; one that leaves rows without a gradient where they are.
    """

    def __init__(self, slot: Slot, rule: Rule) -> None:
        self._slot, self._rule = slot, rule
        self._shape = slot.shape[0], math.prod(slot.shape[1:]) * (2 if slot.dtype.kind == "c" else 1)
        self._working = real_dtype(working_dtype(slot.dtype.name))
        self._last = np.full(self._shape[0], slot.counter.value, np.int32)
        self._decays = Decays(self._working)
        self._table = None if native.missing() else self._kernel_table()

    def _kernel_table(self) -> RowTable:
        batch = Batch(self._slot.kernel_dtype, 1, self._rule)
        state = [self._slot.state[name].ctypes.data for name in batch.state_columns]
        batch.place([self._slot.size], [self._slot.memory.ctypes.data, 0, *state])
        return RowTable(batch, self._shape, 1, self._last)

    def prepared(
        self, grad: RowGradient, lr: float, maximize: bool, grad_scale: float, threads: int
    ) -> list[Callable[[], Any]]:
        """Return what updates the rows and counts the step.

        Args:
            grad: Their gradients; to be kept until the update has been made.
            lr: The learning rate.
            maximize: Ascend instead of descend.
            grad_scale: What gradients are multiplied with first.
            threads: How many threads to use at most.

        Returns:
            Functions without arguments, in which no Python code runs. What one returns is true if there was no memory
            for it; then it changed nothing.
        """
        now = self._slot.counter.value
        counter = self._slot.counter = Counter(now)  # others don't count what these rows do
        self._decays.record(self._rule, now + 1)
        count = partial(setattr, counter, "value", now + 1)
        if self._table is None:
            return [*self._computed(grad, lr, -grad_scale if maximize else grad_scale), count]
        self._table.batch.set_numbers(lr, now + 1, maximize=maximize, grad_scale=grad_scale)
        where = len(grad.rows), grad.rows.ctypes.data, grad.values.ctypes.data
        return [self._table.prepared(self._decays, now, where, threads=threads), count]

    def _computed(self, grad: RowGradient, lr: float, scale: float) -> list[Callable[[], Any]]:
        """Do as the kernel does by NumPy's operations, with the same bits."""
        now, param, state = self._slot.counter.value, self._by_rows(self._slot.memory), self._state()
        values = real_numbers(grad.values).astype(self._working).reshape(len(grad.rows), self._shape[1])
        rows, sums = summed(grad.rows, values)
        kept = up_to_date({name: array[rows] for name, array in state.items()}, self._shares(rows, now))
        with np.errstate(all="ignore"):  # infinities and NaN follow IEEE rules, silently
            theta, g = param[rows].astype(self._working), sums * sums.dtype.type(scale)
            new, arrays = reference.apply(self._rule, lr, now + 1, theta, g, kept, np)
            writes = [partial(setitem, param, rows, new.astype(param.dtype))]
        writes += [partial(setitem, state[name], rows, array) for name, array in arrays.items()]
        return [*writes, partial(setitem, self._last, rows, now + 1)]

    def settle(self, threads: int) -> None:
        """Bring the averages of all rows up to date.

        Args:
            threads: How many threads to use at most.
        """
        now = self._slot.counter.value
        if not (self._last < now).any():
            return
        if self._table is not None:
            self._table.prepared(self._decays, now, None, threads=threads)()
            return
        state = self._state()
        moved = up_to_date(state, self._shares(np.arange(self._shape[0]), now))
        writes = [partial(setitem, state[name], ..., array) for name, array in moved.items()]
        # In one call into C, which no Ctrl-C can cut in two.
        deque(map(call, [*writes, partial(setitem, self._last, ..., now)]), maxlen=0)

    def _shares(self, rows: Array, now: int) -> Shares:
        found = self._decays.shares(self._last[rows], now)
        return Shares(found.kept[:, None], found.lost[:, None])

    def _state(self) -> dict[str, Array]:
        return {name: self._by_rows(array) for name, array in self._slot.state.items()}

    def _by_rows(self, array: Array) -> Array:
        return real_numbers(array).reshape(self._shape)
