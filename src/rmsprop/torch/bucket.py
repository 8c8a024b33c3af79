"""Parameters that a kernel takes together, as the tables that it reads.

A step must look at every tensor, because a user may replace any of them between two steps. It does so in C, through
DLPack's exchange interface, over tables that are built once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain, repeat
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import layout, native, stretch_table
from rmsprop.averaging import AveragedRule, AveragedStep, Updating, inner
from rmsprop.batch import Batch
from rmsprop.storage import KERNEL_DTYPES
from rmsprop.torch.averaged import Rate
from rmsprop.torch.batch_scales import BatchScales
from rmsprop.torch.clipping.limits import Limits
from rmsprop.torch.dense_copies import DenseCopies, in_order
from rmsprop.torch.device import dlpack_device, is_on_gpu
from rmsprop.torch.local import (
    inside,
    is_lazy,
    is_odd,
    is_plain_class,
    is_shard,
    read_local,
    reader,
    shards_of_gradients,
)
from rmsprop.torch.overlap import meets
from rmsprop.torch.state.packing import CODES, SCALES
from rmsprop.torch.state.param_state import ParamState
from rmsprop.torch.state.rounding import LOST, RoundingChoice, place_of

DTYPES = {getattr(torch, name): stored for name, stored in KERNEL_DTYPES.items()}


class Bucket:
    """Parameters of one group that a kernel takes together: of one device, one dtype, and all shards or none.

    Args:
        group: The number of their group.
        params: The parameters, with complete state.
        states: The state of each.
        rule: The rule of the group.
        counts_on_device: Whether step counters are where the parameters are, and nobody may wait for their values.
        copied: The dtype of the dense copies that are updated, and copied back; None if there are none.
        alone: Whether the kernel is to read copies of the gradients, made right before the update: they may lie where
            it writes, or where others have written since the step began.
        rounding: How parameters of 16 bits are rounded, and what state is packed into.
        limits_updates: Whether the root mean square of each tensor's update is limited.
        clips_units: Whether gradients are clipped unit by unit.
        numbers: The number of each parameter in the optimizer.
    """

    def __init__(
        self,
        group: int,
        params: Sequence[Tensor],
        states: Sequence[ParamState],
        rule: Updating,
        *,
        counts_on_device: bool,
        copied: torch.dtype | None,
        alone: bool,
        rounding: RoundingChoice,
        limits_updates: bool,
        clips_units: bool,
        numbers: Sequence[int],
    ) -> None:
        self.group, self.params, self.states, self.rule = group, params, states, inner(rule)
        self.is_sharded, self.on_gpu = is_shard(params[0]), is_on_gpu(params[0])
        self.counts_on_device = self.on_gpu and counts_on_device
        self.copied, self._alone = copied is not None, alone
        self._inside = reader(self.is_sharded)
        self.copies = DenseCopies(params, states, self.rule, dtype=copied, of_gradients=alone, read=self._inside)
        self._memories = self.copies.memories
        self.device = self._memories[0].device
        self._keeps_lost = rounding.keeps_lost(self._memories[0].dtype)
        self.batch = self._new_batch(rounding, averages=isinstance(rule, AveragedRule))
        self.limits = Limits(1.0)
        self.scales = BatchScales(self.batch, numbers, params, self._memories, limits_updates, clips_units)
        self.seed, self.places = rounding.seed, []
        if self.batch.rounding == "stochastic" or rounding.packing is not None:
            self.places = list(map(place_of, numbers, params))
            self.batch.number(self.places)
        self.device_lr: Tensor | None = None  # a learning rate that the kernel reads on the device
        self._numbers: tuple[Any, ...] = ()
        self._some_rest = False
        # Where the count enters the update, counters are looked at every time, held by whomever.
        self._pins_counters = states[0].has_pinned_counter() and not rule.depends_on_step
        self._trusts_counters = False
        # NumPy fills an array of objects several times faster than Python converts as many ids.
        self._objects = np.empty((self.batch.columns, len(params)), dtype=object)
        self._address: int = self._objects.ctypes.data
        # A complex gradient may be a lazy conjugate, a real one a lazily negated imaginary part; the latter's strides
        # are even, so that it gets past the check of strides only with a single element.
        self._may_be_lazy = [i for i, each in enumerate(self._memories) if each.is_complex() or each.numel() == 1]
        self._complex = [i for i, each in enumerate(self._memories) if each.is_complex()]
        self._place()

    def _new_batch(self, rounding: RoundingChoice, averages: bool) -> Batch:
        dtype, steps = self._memories[0].dtype, self.states[0].counter.dtype
        return Batch(
            DTYPES[dtype],
            len(self.params),
            self.rule,
            dlpack_device(self.device),
            None if self.counts_on_device else str(steps).removeprefix("torch."),
            rounding.of(dtype),
            rounding.seed,
            rounding.packing,
            averages=averages,
        )

    def _place(self) -> None:
        """Tell the kernel where everything but the gradients is, and keep the tensors that it must be found in."""
        # The scales of a shard's codes are no shards.
        state = [[inside(each[name]) for each in self.states] for name in self._kept_names]
        steps = [] if self.counts_on_device else [[each.counter for each in self.states]]
        self._objects[0] = _row(self._memories)
        for column, row in enumerate((*state, *steps), 2):
            self._objects[column] = _row(row)
        count = len(self.params)
        self.batch.place(
            [layout.RESTS] * count,
            [*_addresses(self._memories), *repeat(0, count), *chain.from_iterable(map(_addresses, (*state, *steps)))],
        )

    @property
    def _kept_names(self) -> list[str]:
        """The names of what is kept beside parameters and changes with them, in the order of the kernel's tables."""
        arrays, lost = self.batch.state_columns, [LOST] if self._keeps_lost else []
        if self.batch.packing == "8bit":
            return [*map(CODES.__getitem__, arrays), *map(SCALES.__getitem__, arrays), *lost]
        return [*arrays, *lost]

    @property
    def active(self) -> Sequence[Tensor]:
        """The parameters that take part in the step that is bound."""
        if not self._some_rest:
            return self.params
        return [param for param, size in zip(self.params, self.batch.sizes, strict=True) if size != layout.RESTS]

    def bind(self, written: stretch_table.Stretches, counters_stay: bool) -> bool:
        """Look at every tensor as it is now; return whether the kernel can run on all of them.

        Args:
            written: Where updates write.
            counters_stay: Whether no step counter was given other memory since the last time.

        Returns:
            False if something no longer fits: a gradient of another kind, a tensor whose shape, dtype, device or place
            in memory is another, or a step counter that is full.
        """
        self._trusts_counters = counters_stay and self._pins_counters
        grads: list[Any] = [param.grad for param in self.params]
        if self.is_sharded:
            shards = shards_of_gradients(self.params, grads)
            if shards is None:
                return False
            grads = shards
        classes = set(map(type, grads))
        self._some_rest = _NONE in classes
        if not classes <= _GRADIENT_CLASSES and not all(map(_is_gradient_class, classes)):
            return False
        if (self.is_sharded or self.copied) and not self._originals_stay():
            return False
        if self._complex and any(self._memories[i].is_conj() for i in self._complex):
            return False
        if self._alone:
            copied = self.copies.of_gradients(grads)
            return copied is not None and self._bind(copied, written)
        if not (self._may_be_lazy and self._some_are_lazy(grads)) and self._bind(grads, written):
            return True
        ordered = list(map(in_order, self._memories, grads))
        replaced = [grad for grad, copy in zip(grads, ordered, strict=True) if copy is not grad]
        return bool(replaced) and not meets(written, replaced) and self._bind(ordered, written)

    @property
    def is_plain(self) -> bool:
        """Whether nothing but memory of plain tensors, whose step counters stay, must be looked at."""
        is_odd_one = (
            self.is_sharded
            or self.copied
            or self._alone
            or self.scales.limits_updates
            or self.scales.clips_units
            or self.has_caution
            or bool(self._complex)
        )
        return not is_odd_one and not self.on_gpu and self._pins_counters

    def bind_plain(self, written: stretch_table.Stretches) -> bool:
        """Do as `bind` does, for a bucket that is plain and holds gradients of plain tensors."""
        grads = [param.grad for param in self.params]
        if not all(type(grad) is Tensor for grad in grads) or (self._may_be_lazy and self._some_are_lazy(grads)):
            return False
        self._objects[1] = np.fromiter(grads, dtype=object, count=len(grads))
        try:
            return self.batch.bind(self._address, describe(), written, True) is None
        except (BufferError, RuntimeError):
            return False

    def _some_are_lazy(self, grads: Sequence[Any]) -> bool:
        return any(grads[i] is not None and is_lazy(grads[i]) for i in self._may_be_lazy)

    def relocate(self) -> bool:
        """Look for parameters and state where they are now; return whether the bucket can serve them there.

        Returns:
            False if copies are worked on, or a GPU holds the tables. What has another shape or dtype now, `bind`
            notices.
        """
        if self.copies.all or self.on_gpu:
            return False
        if not all(is_plain_class(type(self._inside(param))) for param in self.params):
            return False
        self._memories = self.copies.memories = list(map(self._inside, self.params))
        if any(map(is_odd, self._memories)):
            return False
        self._place()
        return True

    def written(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return where the stretches of memory begin that the kernel writes, and where they end; empty ones too."""
        rows = [0, *range(2, 2 + len(self._kept_names))]
        begins = np.concatenate([self.batch.row(row) for row in rows])
        return begins, begins + np.array([tensor.nbytes for row in rows for tensor in self._objects[row]])

    def _originals_stay(self) -> bool:
        """Whether shards, and parameters whose copies are updated, are still where they were."""
        if self.copied:
            return self.copies.originals_stay()
        return all(map(is_, map(read_local, self.params), self._memories))

    def _bind(self, grads: list[Any], written: stretch_table.Stretches) -> bool:
        self._objects[1] = np.fromiter(grads, dtype=object, count=len(grads))
        try:
            return self.batch.bind(self._address, describe(), written, self._trusts_counters) is None
        except (BufferError, RuntimeError):  # a gradient without plain memory, such as a sparse one
            return False

    def release(self) -> None:
        """Let go of the gradients, so that they can be freed."""
        self._objects[1] = None
        if self._alone:
            self.copies.release()

    def set_numbers(self, rule: Updating, lr: Rate, maximize: bool, limits: Limits) -> None:
        """Set what the next update computes, if it changed.

        Args:
            rule: What to compute, with the same state as before.
            lr: The learning rate, a number or a tensor of one element, or all numbers of an averaged step.
            maximize: Ascend instead of descend.
            limits: What gradients are multiplied with first, and what is limited then.
        """
        self.device_lr = averaged = None
        if isinstance(lr, AveragedStep):
            averaged, lr = (lr.share, lr.average_lr, lr.weight_decay), lr.lr
        if isinstance(lr, Tensor):
            self.device_lr = lr if self.on_gpu and is_on_gpu(lr) else None
            lr = lr.item() if self.device_lr is None else 1.0  # float() of one that requires a gradient warns
        step = int(self.batch.struct.step) + 1 if self.batch.struct.equal_steps else 1
        self.rule = rule = inner(rule)
        numbers = rule, lr, step, maximize, limits, averaged
        if numbers != self._numbers:
            self._numbers = ()  # unknown, should a Ctrl-C come in between
            self.limits = limits
            self.batch.set_numbers(
                lr,
                step,
                maximize=maximize,
                grad_scale=limits.scale,
                max_grad=limits.max_grad,
                rule=rule,
                averaged=averaged,
            )
            self._numbers = numbers

    @property
    def has_caution(self) -> bool:
        """Whether no step is taken against its gradient."""
        return self.rule.caution

    def count(self, counted: Tensor | None) -> None:
        """Count a step of every parameter that takes part, where no update of the compiled kernel does.

        Args:
            counted: What to add where it is known on the device alone, or None for 1.
        """
        if not self.counts_on_device:
            self.batch.count()
        elif steps := [state.counter for state in self.active_states()]:
            torch._foreach_add_(steps, 1.0 if counted is None else counted.to(steps[0].dtype))

    def active_states(self) -> list[ParamState]:
        """Return the states of the parameters that take part in the step that is bound."""
        return [state for state, size in zip(self.states, self.batch.sizes, strict=True) if size != layout.RESTS]


_NONE = type(None)
_GRADIENT_CLASSES = {Tensor, _NONE}


def _is_gradient_class(cls: type) -> bool:
    return cls is _NONE or is_plain_class(cls)


def _row(objects: Sequence[object]) -> np.ndarray[Any, Any]:
    return np.fromiter(objects, dtype=object, count=len(objects))


def _addresses(tensors: Iterable[Tensor]) -> Iterable[int]:
    return map(Tensor.data_ptr, tensors)


@cache
def describe() -> int | None:
    """Return the address of torch's function that describes a tensor to C, or None if this torch has none."""
    return native.describe_function(Tensor)
