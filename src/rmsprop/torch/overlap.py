"""Memory that an update writes to and another one reads or writes: such parameters are updated one after the other.

torch's for-loop updates parameter by parameter, so that it matters only who comes first. A kernel updates all at once;
parameters that share memory with others, and those whose gradient lies in a parameter, are left out of that and follow
in the order of the for-loop.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from rmsprop import stretch_table
from rmsprop.torch.local import is_dense


class Memory(NamedTuple):
    """What the update of a parameter works on.

    Args:
        name: What an error calls the parameter.
        written: The parameter's memory and its state.
        grad: Its gradient, or None.
    """

    name: str
    written: Sequence[Tensor]
    grad: Tensor | None


def stretch(tensor: Tensor) -> tuple[int, int]:
    """Return where a tensor's memory begins and where it ends, in bytes; gaps inside count as its own."""
    begin = tensor.data_ptr()
    if tensor.is_contiguous():
        return begin, begin + tensor.nbytes
    reach = sum(stride * (size - 1) for stride, size in zip(tensor.stride(), tensor.shape, strict=True))
    return begin, begin + (reach + 1) * tensor.element_size()


def check_own(memory: Memory) -> None:
    """Check that the update of a parameter alone has a meaning.

    Args:
        memory: What it works on.

    Raises:
        RuntimeError: If its parameter and state share memory, or its gradient overlaps one of them, unless the gradient
            is the parameter itself, element by element.
    """
    written = memory.written
    if any(_meet(a, b) for i, a in enumerate(written) for b in written[:i]):
        raise RuntimeError(f"parameter {memory.name} and its state share memory: delete the state to start it anew")
    if memory.grad is None or _is_same(written[0], memory.grad):
        written = written[1:]
    if memory.grad is not None and any(_meet(memory.grad, other) for other in written):
        raise RuntimeError(
            f"the gradient of parameter {memory.name} lies in the memory that its update writes to: "
            "make it a tensor of its own with clone()"
        )


def _meet(a: Tensor, b: Tensor) -> bool:
    """Whether an element of one tensor lies in the memory of an element of the other."""
    (a_begin, a_end), (b_begin, b_end) = stretch(a), stretch(b)
    if a_begin >= b_end or b_begin >= a_end or not a.numel() or not b.numel():
        return False
    if is_dense(a) and is_dense(b):
        return True
    try:
        return np.shares_memory(_as_array(a), _as_array(b), _MOST_WORK)  # type: ignore[arg-type]  # says 0 and −1 only
    except np.exceptions.TooHardError:
        return True


# What NumPy may try to find out whether two views with gaps have an element in common; it raises if that takes longer.
_MOST_WORK = 1 << 20


def _as_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return an array over the same memory, which need not be where NumPy can read it: only addresses are compared."""
    begin, end = stretch(tensor)
    size = tensor.element_size()
    memory = (ctypes.c_char * (end - begin)).from_address(begin)
    strides = [stride * size for stride in tensor.stride()]
    return np.ndarray(tuple(tensor.shape), np.dtype((np.void, size)), memoryview(memory), strides=strides)


def _is_same(param: Tensor, grad: Tensor) -> bool:
    return param.data_ptr() == grad.data_ptr() and param.stride() == grad.stride()


def entangled(memories: Sequence[Memory]) -> set[int]:
    """Return which parameters can't be updated at the same time as all others.

    Args:
        memories: What the updates work on.

    Returns:
        Positions of those that write where another one writes or reads, or read where another one writes.
    """
    written = [(*stretch(x), i) for i, memory in enumerate(memories) for x in memory.written if x.numel()]
    grads = [(*stretch(m.grad), i) for i, m in enumerate(memories) if m.grad is not None and m.grad.numel()]
    found = stretch_table.entangled(written, grads)
    has_gaps = any(not is_dense(tensor) for i in found for tensor in memories[i].written)
    return _really_entangled(memories, found) if has_gaps else found


# How many pairs of tensors are looked at for elements in common: a tenth of a second.
_MOST_PAIRS = 1 << 15


def _really_entangled(memories: Sequence[Memory], found: set[int]) -> set[int]:
    """Return which of some parameters share elements, as the columns of a matrix don't, whose stretches overlap.

    Where that would take too long, all of them are returned.
    """
    tensors = [(i, tensor, True) for i in found for tensor in memories[i].written]
    tensors += [(i, m.grad, False) for i, m in ((i, memories[i]) for i in found) if m.grad is not None]
    rows = sorted(
        ((*stretch(x), i, x, is_written) for i, x, is_written in tensors if x.numel()), key=lambda row: row[:3]
    )
    really: set[int] = set()
    reaching: list[tuple[int, int, Tensor, bool]] = []
    pairs = 0
    for begin, end, i, tensor, is_written in rows:
        reaching = [other for other in reaching if other[0] > begin]
        pairs += len(reaching)
        if pairs > _MOST_PAIRS:
            return found
        for _, j, other, other_is_written in reaching:
            if i != j and (is_written or other_is_written) and _meet(tensor, other):
                really |= {i, j}
        reaching.append((end, i, tensor, is_written))
    return really


def meets(written: stretch_table.Stretches, tensors: Iterable[Tensor]) -> bool:
    """Return whether some tensors lie where updates write.

    Args:
        written: Where updates write.
        tensors: The tensors.
    """
    rows = np.array([stretch(tensor) for tensor in tensors], np.int64).reshape(-1, 2)
    begins, ends = rows[rows[:, 0] < rows[:, 1]].T
    places = np.searchsorted(written.ends, begins, side="right")
    inside = places < len(written.begins)
    return bool(np.any(written.begins[places[inside]] < ends[inside]))


def stretches(memories: Iterable[Memory]) -> stretch_table.Stretches:
    """Return where updates write.

    Args:
        memories: What they work on.

    Returns:
        The stretches, for `rmsprop.batch.Batch.bind`; of those that overlap, one ends where none before it ends later.
    """
    rows = [stretch(tensor) for memory in memories for tensor in memory.written if tensor.numel()]
    begins, ends = np.array(sorted(rows), np.int64).reshape(-1, 2).T
    return stretch_table.Stretches(begins, np.maximum.accumulate(ends))
