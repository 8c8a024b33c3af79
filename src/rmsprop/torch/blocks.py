"""The update of CPU tensors by NumPy, block by block: what lies in between stays in the cache and in one place.

NumPy rounds every operation correctly, √ included, where torch's √ of float32 is often one unit in the last place off.
So the bits are those of `rmsprop.reference`, by construction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop.averaging import Updating, inner
from rmsprop.torch.averaged import apply
from rmsprop.torch.clipping.limits import Limits
from rmsprop.torch.clipping.update_rms import limiting
from rmsprop.torch.local import as_real, is_dense

# Elements of a block: its arrays and temporaries share a second-level cache. torch copies no more than this on one
# thread; a larger block would wake others for the copy, which then spin beside NumPy and double the processor time.
BLOCK = 1 << 15

Array = np.ndarray[Any, Any]


Updated = tuple[Tensor, Tensor, Mapping[str, Any]]  # a parameter, its gradient and its state


def update_in_blocks(rule: Updating, lr: Any, step: float, members: Sequence[Updated], limits: Limits) -> None:
    """Update CPU parameters and their states.

    Args:
        rule: What to compute.
        lr: The learning rate, or all numbers of an averaged step.
        step: The number of this update, counted from 1.
        members: The parameters, changed in place, their gradients and their states, changed in place; all with one
            dtype of state.
        limits: What gradients are multiplied with first, and what is limited then. To limit an update, or for
            ``caution``, all of a parameter is one block.
    """
    scale, max_grad = limits.scale, limits.max_grad

    def update(p: Tensor, g: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        """Return the new parameter and state of a block."""
        p_row, g_row, *rows = (_in_working_precision(row) for row in (p, g, *state))
        kept = dict(zip(rule.state_names, rows, strict=True))
        g_row = g_row if scale == 1.0 else g_row * p_row.dtype.type(scale)
        g_row = g_row if max_grad == math.inf else np.clip(g_row, -max_grad, max_grad)
        new_p, new = apply(rule, lr, step, p_row, g_row, kept, _NumPy, limiting(p, limits))
        return [torch.from_numpy(each) for each in (new_p, *(new[name] for name in rule.state_names))]

    with torch.no_grad(), np.errstate(all="ignore"):  # infinities and NaN follow IEEE rules, silently
        names = rule.state_names
        arrays = [[p, g, *(state[name] for name in names)] for p, g, state in members]
        arrays = [list(map(as_real, each)) if each[0].is_complex() else each for each in arrays]
        if limits.of_updates or inner(rule).caution:
            for each in arrays:
                _FlatParam(each).update(update, each[0].numel())
            return
        small, large = list(filter(_is_small, arrays)), [_FlatParam(each) for each in arrays if not _is_small(each)]
        for block in _blocks(small):
            _update_together(update, block)
        for rows in large:
            rows.update(update, BLOCK)


_Update = Callable[[Tensor, Tensor, Sequence[Tensor]], list[Tensor]]


def _is_small(tensors: list[Tensor]) -> bool:
    """Whether a parameter can share a block with others: all its elements in a row, each in its place."""
    return tensors[0].numel() <= BLOCK and all(tensor.ndim == 1 or tensor.is_contiguous() for tensor in tensors)


def _blocks(arrays: Iterable[list[Tensor]]) -> Iterator[list[list[Tensor]]]:
    """Yield small parameters, with their gradients and state, that share a block."""
    blocks: dict[Any, list[list[Tensor]]] = {}
    sizes: dict[Any, int] = {}
    for each in arrays:
        kind, size = (each[0].dtype, each[1].dtype), each[0].numel()
        if kind in blocks and sizes[kind] + size <= BLOCK:
            blocks[kind].append(each)
            sizes[kind] += size
            continue
        if kind in blocks:
            yield blocks[kind]
        blocks[kind], sizes[kind] = [each], size
    yield from blocks.values()


def _update_together(update: _Update, block: Sequence[list[Tensor]]) -> None:
    columns = [[t if t.ndim == 1 else t.view(-1) for t in column] for column in zip(*block, strict=True)]
    sizes = [tensor.numel() for tensor in columns[0]]
    p, g, *state = map(torch.cat, columns)
    for column, new in zip((columns[0], *columns[2:]), update(p, g, state), strict=True):
        torch._foreach_copy_(column, new.split(sizes))


class _FlatParam:
    """A large or odd parameter, its gradient and its state as rows of numbers, which blocks are cut from.

    In the order of their memory if all have the same, else in that of their indices; a tensor that has no such row in
    its memory, because of gaps, gets a copy.

    Args:
        tensors: The parameter, its gradient and its state, of real numbers.
    """

    def __init__(self, tensors: list[Tensor]) -> None:
        in_memory_order = len({tensor.stride() for tensor in tensors}) == 1 and is_dense(tensors[0])
        self._tensors = tensors
        self._rows = [t.as_strided((t.numel(),), (1,)) if in_memory_order else t.reshape(-1) for t in tensors]

    def update(self, update: _Update, size: int) -> None:
        """Update block by block, each of so many elements."""
        for start in range(0, self._rows[0].numel(), size or 1):
            p, g, *state = (row[start : start + size] for row in self._rows)
            for row, new in zip((p, *state), update(p, g, state), strict=True):
                row.copy_(new)
        self._write_back()

    def _write_back(self) -> None:
        """Write rows that are copies back to where they are from."""
        pairs = list(zip(self._tensors, self._rows, strict=True))
        for tensor, row in (pairs[0], *pairs[2:]):  # the gradient is only read
            if row.data_ptr() != tensor.data_ptr():
                tensor.copy_(row.view(tensor.shape))


def _in_working_precision(row: Tensor) -> Array:
    return row.to(torch.promote_types(row.dtype, torch.float32)).resolve_neg().numpy()


class _NumPy:
    """The functions of NumPy that `rmsprop.reference.apply` needs on real arrays.

    What holds for no element of a block is found out in one pass, and then costs nothing more.
    """

    sqrt = np.sqrt

    @staticmethod
    def isinf(x: Array) -> Any:
        """Return where an array is infinite, or False if it is nowhere."""
        return False if np.isfinite(x.sum()) else np.isinf(x)

    @staticmethod
    def where(condition: Any, a: Any, b: Array) -> Array:
        """Return the elements of one where a condition holds, of the other elsewhere."""
        return np.where(condition, a, b) if np.any(condition) else b

    @staticmethod
    def real(x: Array) -> Array:
        """Return what is real already."""
        return x

    conj = real
