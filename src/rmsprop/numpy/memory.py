"""Which arrays are taken, and the way from their axes to their memory.

The kernel runs over memory from front to back. An array that fills its memory, in whatever order its axes are, is
updated where it is, with state in the same order; any other goes through a dense copy and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmsprop.rule import Rule
from rmsprop.storage import KERNEL_DTYPES, working_dtype

Array = np.ndarray[Any, Any]


class Order:
    """The way from an array's axes to those of its memory: backward axes turned around, the longest stride first.

    Args:
        array: Any array.

    Examples:
        >>> backward = np.arange(6).reshape(2, 3)[:, ::-1].T
        >>> Order(backward).laid(backward)
        array([[0, 1, 2],
               [3, 4, 5]])
    """

    def __init__(self, array: Array) -> None:
        self.turns = any(stride < 0 for stride in array.strides)
        # The ellipsis keeps an array without axes an array.
        self._flips: tuple[Any, ...] = (..., *(slice(None, None, -1 if stride < 0 else 1) for stride in array.strides))
        self._axes = tuple(sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis])))
        self._back = tuple(sorted(range(array.ndim), key=self._axes.__getitem__))

    def laid(self, array: Array) -> Array:
        """Return a view of an array of the same shape with its axes in this order."""
        view: Array = array[self._flips]
        return view.transpose(self._axes)

    def restored(self, laid: Array) -> Array:
        """Return a view with the axes as they were before `laid`."""
        view: Array = laid.transpose(self._back)[self._flips]
        return view


class Counter:
    """How many updates arrays have taken; those that have always been updated together share one.

    Args:
        value: The number.
    """

    __slots__ = ("value",)

    def __init__(self, value: int = 0) -> None:
        self.value = value


class Slot:
    """An array, its state, and where the kernel finds both.

    Args:
        name: Its name.
        array: The array, checked.
        rule: What to compute; it decides which state there is.
        count: How many updates it has taken. Default 0.

    Attributes:
        laid: The array in the order of its memory.
        memory: What the kernel updates: ``laid``, or a dense copy of it where it has gaps in memory.
        state: Name -> array in the order of ``memory``.
    """

    def __init__(self, name: str, array: Array, rule: Rule, count: int = 0) -> None:
        self.name = name
        self.array = array
        self.counter = Counter(count)
        view = np.asarray(array)  # of a plain array, whatever its subclass
        self.dtype, self.shape, self.strides = view.dtype, view.shape, view.strides
        self.order = Order(view)
        self.laid = self.order.laid(view)
        self.fills_memory = self.laid.flags.c_contiguous and self.laid.flags.aligned
        self.memory = self.laid if self.fills_memory else np.empty(self.laid.shape, self.dtype)
        self.state = {name: self._initial(name, rule) for name in rule.state_names}

    def _initial(self, name: str, rule: Rule) -> Array:
        dtype = np.dtype(working_dtype(self.dtype.name))
        start = rule.start(name)
        if not start:
            return np.zeros(self.memory.shape, dtype)
        return np.full(self.memory.shape, complex(start, start) if dtype.kind == "c" else start, dtype)

    def shown(self) -> dict[str, Array]:
        """Return the state as views with the array's own axes."""
        return {name: self.order.restored(array) for name, array in self.state.items()}

    @property
    def kernel_dtype(self) -> str:
        """What the kernel is told that the array's numbers are."""
        return KERNEL_DTYPES[self.dtype.name]

    @property
    def size(self) -> int:
        """How many real numbers there are."""
        return self.memory.size * (2 if self.dtype.kind == "c" else 1)


def named(arrays: Any) -> dict[str, Array]:
    """Return arrays by name, checked: all can be updated in place, none shares memory with another.

    Args:
        arrays: A list or tuple of arrays, which get the names "0", "1", ..., or a mapping from names to arrays.

    Returns:
        Name -> array, in the order given.

    Raises:
        TypeError: If it is something else, or an array is not a NumPy array of floating-point or complex numbers.
        ValueError: If there is none, one is read-only, or memory is shared.

    Examples:
        >>> list(named([np.zeros(2), np.zeros(3)]))
        ['0', '1']
    """
    if isinstance(arrays, np.ndarray):
        raise TypeError("arrays is a single array, but a list or dict is needed: put it in a list, RMSprop([array])")
    if not isinstance(arrays, (list, tuple, Mapping)):
        raise TypeError(f"arrays is a {type(arrays).__name__}, but a list, tuple or dict of NumPy arrays is needed")
    pairs = arrays.items() if isinstance(arrays, Mapping) else ((str(i), a) for i, a in enumerate(arrays))
    result = dict(pairs)
    if not result:
        raise ValueError("arrays is empty: pass at least one array")
    for name, array in result.items():
        if not isinstance(name, str):
            raise TypeError(f"the key {name!r} of arrays is a {type(name).__name__}, but a name must be a string")
        check_array(name, array)
    _check_disjoint(result)
    return result


def check_array(name: str, array: Any) -> None:
    """Check that an array can be updated in place.

    Args:
        name: Its name.
        array: What was given.

    Raises:
        TypeError: If it is not a NumPy array of floating-point or complex numbers.
        ValueError: If it is read-only, or an element of it stands in the memory of another.
    """
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"array {name!r} is a {type(array).__name__}, but only a NumPy array can be updated in place: "
            "make one with np.array, and keep it"
        )
    if array.dtype.name not in KERNEL_DTYPES or not array.dtype.isnative:
        raise TypeError(
            f"array {name!r} has dtype {array.dtype} (allowed: {', '.join(KERNEL_DTYPES)}, in native byte order): "
            "convert it with array.astype, and keep the result"
        )
    if not array.flags.writeable:
        raise ValueError(f"array {name!r} is read-only, but is to be updated in place: pass a copy, array.copy()")
    if _overlaps_itself(array):
        raise ValueError(
            f"array {name!r} is a view whose elements share memory (broadcast, or overlapping windows), so they can't "
            "be updated one by one: pass a copy, array.copy()"
        )


def check_unchanged(slot: Slot) -> None:
    """Check that an array can still be updated where it was found.

    Args:
        slot: The array.

    Raises:
        ValueError: If it is laid out in another way than it was, or read-only.
    """
    array = slot.array
    if (array.dtype, array.shape, array.strides) != (slot.dtype, slot.shape, slot.strides):
        raise ValueError(
            "dtype, shape or strides of an array were changed since the optimizer was made: make another optimizer"
        )
    if not array.flags.writeable:
        raise ValueError(f"array {slot.name!r} has become read-only: make it writeable, or pass None for it")


def as_array(slot: Slot, grad: Any, what: str) -> Array:
    """Return a gradient or a part of one as a plain array.

    Args:
        slot: The array that it is of.
        grad: What was given.
        what: What that is, for the error.

    Raises:
        TypeError: If it is not a NumPy array.
    """
    if not isinstance(grad, (np.ndarray, np.generic)) or isinstance(grad, np.ma.MaskedArray):
        asked = "grad.filled(0)" if isinstance(grad, np.ma.MaskedArray) else f"np.asarray(grad, {slot.dtype.name!r})"
        remedy = f"convert it with {asked}"
        if any(hasattr(grad, name) for name in ("toarray", "todense")) or getattr(grad, "is_sparse", False):
            remedy = "make it dense, or give some rows of it as (rows, values)"
        raise TypeError(f"{what} is a {type(grad).__name__}, but a NumPy array is needed: {remedy}")
    return np.asarray(grad)


def check_held(slot: Slot, grad: Array) -> None:
    """Check that an array can hold any number of a gradient's dtype.

    Args:
        slot: The array.
        grad: The gradient, or values of one.

    Raises:
        TypeError: If some would be rounded.
    """
    # NumPy calls integers of 64 bits safe in a float64, which has 53.
    if grad.dtype.name in ("int64", "uint64") or not np.can_cast(grad.dtype, slot.dtype, "safe"):
        real = (
            ".real" if grad.dtype.kind == "c" and slot.dtype.kind != "c" else ""
        )  # astype would drop the rest unasked
        raise TypeError(
            f"the gradient of array {slot.name!r} has dtype {grad.dtype}, which the array's {slot.dtype} can't hold: "
            f"convert it with grad{real}.astype({slot.dtype.name!r})"
        )


def _overlaps_itself(array: Array) -> bool:
    """Whether some stride is too short to step over everything inside it."""
    reach = array.itemsize
    for stride, size in sorted((abs(stride), size) for stride, size in zip(array.strides, array.shape, strict=True)):
        if size > 1:
            if stride < reach:
                return array.size > 0
            reach += stride * (size - 1)
    return False


def _check_disjoint(arrays: Mapping[str, Array]) -> None:
    """Compare each array with those whose stretch of memory reaches beyond its beginning."""
    stretches = sorted((*np.lib.array_utils.byte_bounds(array), name) for name, array in arrays.items() if array.size)
    reaching: list[tuple[int, str]] = []
    for low, high, name in stretches:
        reaching = [(end, other) for end, other in reaching if end > low]
        for _, other in reaching:
            if np.shares_memory(arrays[name], arrays[other]):
                raise ValueError(
                    f"arrays {other!r} and {name!r} share memory, so a step would update it twice: "
                    "pass each array once, or a copy"
                )
        reaching.append((high, name))
