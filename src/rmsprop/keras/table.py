"""Variables in the tables that the kernel reads: where they, their gradients and their state are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rmsprop import layout, stretch_table
from rmsprop.batch import Batch
from rmsprop.keras.tensors import describe_function, is_plain, torch
from rmsprop.rule import Rule
from rmsprop.storage import NARROW_DTYPES
from rmsprop.threads import torch_threads


class Updatable(NamedTuple):
    """A variable that the optimizer can update.

    Args:
        name: What a warning calls it.
        value: Its tensor.
        state: The tensors of its state, by the names of `Rule.state_names`.
        rule: The number of the rule that it follows.
    """

    name: str
    value: Any
    state: Mapping[str, Any]
    rule: int

    def is_still(self, other: Updatable) -> bool:
        """Whether another target has the same tensors and the same rule."""
        return (
            self.value is other.value
            and self.rule == other.rule
            and self.state.keys() == other.state.keys()
            and all(self.state[name] is other.state[name] for name in self.state)
        )


class VariableTable:
    """Variables that the kernel takes together: of one rule and one dtype.

    Args:
        numbers: Their numbers among all variables of the optimizer.
        targets: The variables.
        rule: What to compute.
        dtype: The dtype in which they are updated, a key of `rmsprop.layout.DTYPES`.
        is_copied: Whether copies of them are updated, and copied back: of variables with gaps in memory, and of those
            whose gradient is wider than they are.
    """

    def __init__(
        self, numbers: Sequence[int], targets: Sequence[Updatable], rule: Rule, dtype: str, is_copied: bool
    ) -> None:
        self.numbers, self.rule = numbers, targets[0].rule
        self._values, self._is_copied = [target.value for target in targets], is_copied
        self._dtype = getattr(torch, dtype)
        self._memories = [
            torch.empty(value.shape, dtype=self._dtype, device=value.device) if is_copied else value
            for value in self._values
        ]
        self.batch = Batch(dtype, len(targets), rule)
        state = [[target.state[name] for target in targets] for name in self.batch.state_columns]
        # NumPy fills an array of objects several times faster than Python converts as many ids.
        self._objects = np.empty((self.batch.columns, len(targets)), dtype=object)
        self._address: int = self._objects.ctypes.data
        self._objects[0] = _row(self._memories)
        for column, row in enumerate(state, 2):
            self._objects[column] = _row(row)
        addresses = [_addresses(self._memories), [0] * len(targets), *map(_addresses, state)]
        self.batch.place([layout.RESTS] * len(targets), [each for row in addresses for each in row])
        self._places = self._places_of_originals()

    def _places_of_originals(self) -> list[Any]:
        values = self._values if self._is_copied else ()
        return [(value.data_ptr(), value.shape, value.stride()) for value in values]

    def bind(self, grads: Sequence[Any], written: stretch_table.Stretches) -> bool:
        """Look at every tensor as it is now; return whether the kernel can run on all of them.

        Args:
            grads: The gradient of each variable of the optimizer, or None.
            written: Where updates write.
        """
        own = [grads[number] for number in self.numbers]
        if self._places_of_originals() != self._places or not all(each is None or is_plain(each) for each in own):
            return False
        # The kernel does not see a minus sign that is still to be done.
        has_lazy = any(each is not None and each.is_neg() for each in own)
        return (not has_lazy and self._bind(own, written)) or self._bind(list(map(self._in_order, own)), written)

    def _bind(self, grads: Sequence[Any], written: stretch_table.Stretches) -> bool:
        self._objects[1] = _row(grads)
        try:
            return self.batch.bind(self._address, describe_function(), written) is None
        except (BufferError, RuntimeError):  # a gradient without plain memory
            return False

    def _in_order(self, grad: Any) -> Any:
        """Return a gradient as the kernel takes it, unless it would have to be rounded to 16 bits."""
        if grad is None or (grad.dtype != self._dtype and self.batch.dtype in NARROW_DTYPES):
            return grad
        return grad.to(self._dtype).resolve_neg().contiguous()

    def prepare(self, rule: Rule, lr: float, step: int) -> None:
        """Set what the update computes, fill the copies, and count the steps that agree with their gradients.

        Args:
            rule: What to compute.
            lr: The learning rate.
            step: The number of the update.
        """
        self.batch.set_numbers(lr, step, rule=rule)
        if self._is_copied:
            with torch.no_grad():
                for value, memory in self._active():
                    memory.copy_(value)
        if rule.caution:
            self.batch.count_agreements(*torch_threads())

    def finish(self) -> None:
        """Copy the copies back, and tell autograd that the variables have changed."""
        if self._is_copied:
            with torch.no_grad():
                for value, memory in self._active():
                    value.copy_(memory)
        else:  # copying raises it
            torch.autograd.graph.increment_version([value for value, _ in self._active()])

    def _active(self) -> Iterable[tuple[Any, Any]]:
        """Return the variables that take part, with what is updated for each."""
        pairs = zip(self._values, self._memories, self.batch.sizes, strict=True)
        return [(value, memory) for value, memory, size in pairs if size != layout.RESTS]

    def release(self) -> None:
        """Let go of the gradients, so that they can be freed."""
        self._objects[1] = None


def _row(objects: Sequence[object]) -> np.ndarray[Any, Any]:
    return np.fromiter(objects, dtype=object, count=len(objects))


def _addresses(tensors: Iterable[Any]) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]
