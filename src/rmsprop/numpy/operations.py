"""The update by NumPy's own operations, where there is no compiled kernel: the same bits, in more time and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import setitem
from typing import Any

from rmsprop import reference
from rmsprop.numpy.memory import Array, Slot
from rmsprop.rule import Rule
from rmsprop.storage import real_dtype


def computed(
    rule: Rule, lr: float, step: int, slots: Sequence[Slot], grads: Sequence[Array], maximize: bool, grad_scale: float
) -> list[Callable[[], Any]]:
    """Compute an update of arrays without making it.

    Args:
        rule: What to compute.
        lr: The learning rate.
        step: The number of the update.
        slots: The arrays and their state.
        grads: The gradient of each, dense and in its memory order.
        maximize: Ascend instead of descend.
        grad_scale: What gradients are multiplied with first.

    Returns:
        Functions without arguments that write the new numbers. No Python code runs in them.
    """
    writes: list[Callable[[], Any]] = []
    for slot, grad in zip(slots, grads, strict=True):
        param, state = real_numbers(slot.memory), {name: real_numbers(array) for name, array in slot.state.items()}
        new_param, new_state = reference.update(
            rule, lr, step, param, real_numbers(grad), state, maximize=maximize, grad_scale=grad_scale
        )
        writes.append(partial(setitem, param, ..., new_param))
        writes += [partial(setitem, state[name], ..., value) for name, value in new_state.items()]
    return writes


def real_numbers(array: Array) -> Array:
    """Return the real numbers of a dense array in one row: a view, in which a complex number is two.

    Args:
        array: The array.
    """
    row: Array = array.reshape(-1)
    return row.view(real_dtype(row.dtype.name)) if row.dtype.kind == "c" else row
