"""The tables of the compiled kernel, kept from step to step, and the checks of the gradients.

A step must look at every gradient, because it may be a new array each time. Looking is done by C loops (`map`) as far
as possible: for a small array it costs as much as the update.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice, repeat
from operator import attrgetter, call, setitem
from typing import Any

import numpy as np

from rmsprop import native
from rmsprop.batch import Batch
from rmsprop.numpy import operations
from rmsprop.numpy.memory import Array, Counter, Slot, as_array, check_held, check_unchanged
from rmsprop.rule import Rule

_signature = attrgetter("dtype", "shape", "strides")
_is_writeable = attrgetter("flags.writeable")


class ArrayPlan:
    """What a step does for the arrays that have a gradient; it serves as long as those are the same ones.

    Args:
        slots: All arrays.
        present: Which of them have a gradient.
        rule: What to compute.

    Attributes:
        reason: Why NumPy's operations update the arrays, or None if the kernel does.
    """

    def __init__(self, slots: Sequence[Slot], present: Sequence[bool], rule: Rule) -> None:
        self.present = present
        self.reason = native.missing()
        groups: dict[tuple[str, int], list[int]] = {}
        for i, slot in enumerate(slots):
            if present[i]:
                groups.setdefault((slot.kernel_dtype, slot.counter.value), []).append(i)
        self._order = [i for group in groups.values() for i in group]
        self._slots = [slots[i] for i in self._order]
        self._arrays = [slot.array for slot in self._slots]
        self._signatures = [(slot.dtype, slot.shape, slot.strides) for slot in self._slots]
        self.buckets = [ArrayBucket([slots[i] for i in group], rule) for group in groups.values()]
        self._expected = [
            # Of an axis that runs backward the first element is not at the front of the memory.
            None if slot.order.turns else _signature(slot.order.restored(slot.memory))
            for slot in self._slots
        ]
        copied = [slot for slot in self._slots if not slot.fills_memory]
        self._laid: list[Any] = [slot.laid for slot in copied]
        self._copies = [slot.memory for slot in copied]
        self._write_back = [partial(setitem, *row) for row in zip(self._laid, repeat(...), self._copies, strict=False)]
        self._written = _Stretches(self._slots, slots)

    def bind(self, given: Sequence[Any]) -> list[Array]:
        """Check gradients and tell the kernel where they are.

        Args:
            given: All gradients; None where `present` says so.

        Returns:
            The gradients as the kernel reads them: to be kept until it has.

        Raises:
            TypeError: If one is not an array, or of a dtype that its array's can't hold.
            ValueError: If one has another shape than its array, or an array has become read-only.
        """
        if list(map(_signature, self._arrays)) != self._signatures or not all(map(_is_writeable, self._arrays)):
            for slot in self._slots:
                check_unchanged(slot)
        originals = [given[i] for i in self._order]
        grads = originals
        if set(map(type, grads)) != {np.ndarray} or list(map(_signature, grads)) != self._expected:
            grads = list(map(_in_order, self._slots, originals))
        addresses = np.array(_addresses(grads), np.uintp)
        if unfit := np.flatnonzero(self._written.clash(addresses)).tolist():
            grads = list(grads)
            for i in unfit:
                grads[i] = _in_order(self._slots[i], originals[i], copy=True)
                addresses[i] = grads[i].ctypes.data
        begin = 0
        for bucket in self.buckets:
            end = begin + len(bucket.slots)
            bucket.batch.place_grads(addresses[begin:end].tolist())
            begin = end
        return grads

    def run(self, grads: Sequence[Array], threads: int, on_rows: Sequence[Callable[[], Any]] = ()) -> None:
        """Update everything in one parallel region.

        Args:
            grads: What `bind` returned.
            threads: How many threads to use at most.
            on_rows: What `ArrayRows.prepared` returned for arrays that have gradients of rows. Default: none.

        Raises:
            MemoryError: If there is no memory for the sums of the gradients of rows.
        """
        for copy, laid in zip(self._copies, self._laid, strict=True):
            copy[...] = laid
        if self.reason is None:
            for bucket in self.buckets:
                if bucket.batch.rule.caution:
                    bucket.batch.count_agreements(None, threads)
            updates = [native.prepared([bucket.batch for bucket in self.buckets], threads=threads)]
        else:
            updates = self._computed(grads)
        count = [partial(setattr, bucket.counter, "value", bucket.counter.value + 1) for bucket in self.buckets]
        # In one call into C, which no Ctrl-C can cut in two: it comes before everything or after everything.
        calls: list[Callable[[], Any]] = [*on_rows, *updates, *count, *self._write_back]
        if any(map(call, calls)):
            raise MemoryError("there is no memory for the sums of the gradients of rows")

    def _computed(self, grads: Sequence[Array]) -> list[Callable[[], Any]]:
        """Return what makes the update by NumPy's operations."""
        rest = iter(grads)
        return [write for bucket in self.buckets for write in bucket.computed(list(islice(rest, len(bucket.slots))))]


class ArrayBucket:
    """Arrays that the kernel takes together: one dtype and one step counter, which they share from now on.

    Args:
        slots: The arrays, of which all have taken equally many updates.
        rule: What to compute.
    """

    def __init__(self, slots: Sequence[Slot], rule: Rule) -> None:
        self.slots = slots
        self.counter = Counter(slots[0].counter.value)
        for slot in slots:
            slot.counter = self.counter
        self.batch = Batch(slots[0].kernel_dtype, len(slots), rule)
        params = [slot.memory.ctypes.data for slot in slots]
        state = [slot.state[name].ctypes.data for name in self.batch.state_columns for slot in slots]
        self.batch.place([slot.size for slot in slots], [*params, *repeat(0, len(slots)), *state])
        self._numbers = 0.0, False, 1.0

    def set_numbers(self, lr: float, maximize: bool, grad_scale: float) -> None:
        """Set what the next update computes, if it changed.

        Args:
            lr: The learning rate.
            maximize: Ascend instead of descend.
            grad_scale: What gradients are multiplied with first.
        """
        step = self.counter.value + 1 if self.batch.rule.depends_on_step else 1
        self.batch.set_numbers(lr, step, maximize=maximize, grad_scale=grad_scale)
        self._numbers = lr, maximize, grad_scale

    def computed(self, grads: Sequence[Array]) -> list[Callable[[], Any]]:
        """Return what makes the next update by NumPy's operations: functions that write it.

        Args:
            grads: The gradient of each array, as `ArrayPlan.bind` returned it.
        """
        lr, maximize, grad_scale = self._numbers
        step = self.counter.value + 1
        return operations.computed(self.batch.rule, lr, step, self.slots, grads, maximize, grad_scale)


class _Stretches:
    """The stretches of memory that the kernel writes.

    A gradient in one of them would change while it is read: of a·b, the gradients are b and a themselves.

    Args:
        slots: The arrays whose gradients are looked at.
        all_slots: All arrays: some may be updated by rows.
    """

    def __init__(self, slots: Sequence[Slot], all_slots: Sequence[Slot]) -> None:
        written = [array for slot in all_slots for array in (slot.memory, *slot.state.values()) if array.size]
        bounds = sorted(np.lib.array_utils.byte_bounds(array) for array in written)
        infinity = np.iinfo(np.uintp).max
        self._begins = np.array([*(begin for begin, _ in bounds), infinity], np.uintp)
        self._ends = np.array([end for _, end in bounds], np.uintp)
        self._sizes = np.array([slot.memory.nbytes for slot in slots], np.uintp)
        self._alignments = np.array([slot.dtype.alignment for slot in slots], np.uintp)

    def clash(self, addresses: Array) -> Array:
        """Return which gradients the kernel can't read where they are: in these stretches, or not aligned.

        Args:
            addresses: Where they begin.
        """
        first_that_ends_later = np.searchsorted(self._ends, addresses, side="right")
        begins_inside = self._begins[first_that_ends_later] < addresses + self._sizes
        return begins_inside | (addresses % self._alignments != 0)  # type: ignore[no-any-return]


def _in_order(slot: Slot, grad: Any, copy: bool = False) -> Array:
    """Return a gradient, checked, dense and in its array's memory order: itself if possible, unless a copy is due."""
    grad = as_array(slot, grad, f"the gradient of array {slot.name!r}")
    if grad.shape != slot.shape:
        raise ValueError(
            f"the gradient of array {slot.name!r} has shape {grad.shape}, but the array has {slot.shape}: "
            "they must be equal"
        )
    check_held(slot, grad)
    laid = slot.order.laid(grad)
    return np.array(laid, slot.dtype, order="C") if copy else np.require(laid, slot.dtype, ["C", "A"])


def _addresses(arrays: Sequence[Any]) -> list[int]:
    """Return where arrays begin. Writable arrays in C order tell it six times faster through the buffer protocol."""
    try:
        return list(map(ctypes.addressof, map(ctypes.c_char.from_buffer, arrays)))
    except (TypeError, ValueError, BufferError):
        return [array.ctypes.data for array in arrays]
