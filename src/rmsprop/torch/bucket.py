"""Parameters that a kernel takes together, as the tables that it reads.

A step must look at every tensor, because a user may replace any of them between two steps. It does so in C, through
DLPack's exchange interface, over tables that are built once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import chain, repeat
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import layout, native, stretch_table
from rmsprop.averaging import AveragedRule, AveragedStep, Updating, inner
from rmsprop.storage import KERNEL_DTYPES, NARROW_DTYPES
from rmsprop.threads import torch_threads
from rmsprop.torch.averaged import Rate
from rmsprop.torch.device import dlpack_device, is_on_gpu
from rmsprop.torch.limits import Limits
from rmsprop.torch.local import (
    as_real,
    dense_copy,
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
from rmsprop.torch.packing import CODES, SCALES, held
from rmsprop.torch.rounding import LOST, RoundingChoice, place_of, state_dtype
from rmsprop.torch.state import ParamState
from rmsprop.torch.units import CutUnits, cuts, units_of

DTYPES = {getattr(torch, name): stored for name, stored in KERNEL_DTYPES.items()}


_NARROW = {getattr(torch, name) for name in NARROW_DTYPES}


def copy_dtype(param: Tensor, state: Mapping[str, Any], rule: Updating) -> torch.dtype | None:
    """Return the dtype of the dense copy in which a kernel must update a parameter, or None if it needs none.

    It does if the parameter has gaps in memory or state in another memory order, and if its gradient is wider than
    itself, which must not be rounded before it is used.

    Args:
        param: The parameter.
        state: Its state, as far as there is any yet.
        rule: What decides which state is used.
    """
    memory, kept = (
        inside(param),
        [inside(held(state, name)) for name in rule.state_names if name in state or CODES[name] in state],
    )
    if param.grad is not None and param.grad.dtype != memory.dtype and memory.dtype in _NARROW:
        return state_dtype(param)
    has_other_order = len({_order(memory), *map(_order, kept)}) > 1
    return memory.dtype if has_other_order or is_odd(memory) else None


def _order(tensor: Tensor) -> tuple[int, ...]:
    return tuple(stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1)


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
        self.group, self.params, self.states, self.rule, self.numbers = group, params, states, inner(rule), numbers
        self.is_sharded = is_shard(params[0])
        self.on_gpu = is_on_gpu(params[0])
        self.copied = copied is not None
        self._alone = alone
        self._grads: Sequence[Any] = ()
        self.device_lr: Tensor | None = None  # a learning rate that the kernel reads on the device
        self.counts_on_device = self.on_gpu and counts_on_device
        self._inside = reader(self.is_sharded)
        self._some_rest = False
        # Where the count enters the update, counters are looked at every time, held by whomever.
        self._pins_counters = states[0].has_pinned_counter() and not rule.depends_on_step
        self._trusts_counters = False
        self._memories = [self._memory(param, state, copied) for param, state in zip(params, states, strict=True)]
        self._grad_copies = [torch.empty_like(each) for each in self._memories] if alone else []
        memory = self._memories[0]
        self.device = memory.device
        steps = None if self.counts_on_device else str(states[0].counter.dtype).removeprefix("torch.")
        self._keeps_lost, how = rounding.keeps_lost(memory.dtype), rounding.of(memory.dtype)
        self.batch = native.Batch(
            DTYPES[memory.dtype],
            len(params),
            self.rule,
            dlpack_device(memory.device),
            steps,
            how,
            rounding.seed,
            rounding.packing,
            averages=isinstance(rule, AveragedRule),
        )
        self._update_scales = self.batch.limit_updates() if limits_updates else None
        self._unit_scales = self._units() if clips_units else None
        self._limits = Limits(1.0)
        self._numbers: tuple[Any, ...] = ()
        self._seed, self._places = rounding.seed, []
        if how == "stochastic" or rounding.packing is not None:
            self._places = list(map(place_of, numbers, params))
            self.batch.number(self._places)
        # NumPy fills an array of objects several times faster than Python converts as many ids.
        self._objects = np.empty((self.batch.columns, len(params)), dtype=object)
        self._address: int = self._objects.ctypes.data
        # A complex gradient may be a lazy conjugate, a real one a lazily negated imaginary part; the latter's strides
        # are even, so that it gets past the check of strides only with a single element.
        self._may_be_lazy = [i for i, each in enumerate(self._memories) if each.is_complex() or each.numel() == 1]
        self._complex = [i for i, each in enumerate(self._memories) if each.is_complex()]
        self._place()

    def _memory(self, param: Tensor, state: ParamState, copied: torch.dtype | None) -> Tensor:
        memory: Tensor = self._inside(param)
        return (
            memory
            if copied is None
            else dense_copy(memory, self._inside(held(state, self.rule.state_names[0])), copied)
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
        self._originals = self._places_of_originals()

    @property
    def _kept_names(self) -> list[str]:
        """The names of what is kept beside parameters and changes with them, in the order of the kernel's tables."""
        arrays, lost = self.batch.state_columns, [LOST] if self._keeps_lost else []
        if self.batch.packing == "8bit":
            return [*map(CODES.__getitem__, arrays), *map(SCALES.__getitem__, arrays), *lost]
        return [*arrays, *lost]

    def _places_of_originals(self) -> list[Any]:
        """Return where the parameters are whose copies are updated."""
        originals = map(self._inside, self.params if self.copied else ())
        return [(each.data_ptr(), each.shape, each.stride()) for each in originals]

    @property
    def dense_copies(self) -> Sequence[Tensor]:
        """The copies that are updated in place of parameters, or read in place of gradients."""
        return [*(self._memories if self.copied else ()), *self._grad_copies]

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
            self._grads = grads
            return all(map(self._can_hold, self._memories, grads)) and self._bind(self._copies_of(grads), written)
        if not (self._may_be_lazy and self._some_are_lazy(grads)) and self._bind(grads, written):
            return True
        in_order = self._in_order(grads)
        replaced = [grad for grad, copy in zip(grads, in_order, strict=True) if copy is not grad]
        return bool(replaced) and not meets(written, replaced) and self._bind(in_order, written)

    @property
    def is_plain(self) -> bool:
        """Whether nothing but memory of plain tensors, whose step counters stay, must be looked at."""
        is_odd_one = (
            self.is_sharded
            or self.copied
            or self._alone
            or self.scales_updates
            or self.clips_units
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
            False if copies of the parameters are updated, or a GPU holds the tables. What has another shape or dtype
            now, `bind` notices.
        """
        if self.copied or self.on_gpu or not all(is_plain_class(type(self._inside(param))) for param in self.params):
            return False
        self._memories = list(map(self._inside, self.params))
        if any(map(is_odd, self._memories)):
            return False
        self._place()
        return True

    def _copies_of(self, grads: Sequence[Any]) -> list[Any]:
        return [None if grad is None else copy for grad, copy in zip(grads, self._grad_copies, strict=True)]

    def _can_hold(self, memory: Tensor, grad: Any) -> bool:
        """Whether a copy of a gradient can be made in the parameter's dtype without rounding it before it is used."""
        if grad is None:
            return True
        if grad.layout != torch.strided or grad.shape != memory.shape:
            return False
        return memory.dtype not in _NARROW or torch.promote_types(grad.dtype, memory.dtype) == memory.dtype

    def written(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return where the stretches of memory begin that the kernel writes, and where they end; empty ones too."""
        rows = [0, *range(2, 2 + len(self._kept_names))]
        begins = np.concatenate([self.batch.row(row) for row in rows])
        return begins, begins + np.array([tensor.nbytes for row in rows for tensor in self._objects[row]])

    def _originals_stay(self) -> bool:
        """Whether shards, and parameters whose copies are updated, are still where they were."""
        if self.copied:
            return self._places_of_originals() == self._originals
        return all(map(is_, map(read_local, self.params), self._memories))

    def _bind(self, grads: list[Any], written: stretch_table.Stretches) -> bool:
        self._objects[1] = np.fromiter(grads, dtype=object, count=len(grads))
        try:
            return self.batch.bind(self._address, describe(), written, self._trusts_counters) is None
        except (BufferError, RuntimeError):  # a gradient without plain memory, such as a sparse one
            return False

    def _in_order(self, grads: Sequence[Any]) -> list[Any]:
        """Return the gradients, copied into their parameter's memory order where they have another one."""

        def in_order(memory: Tensor, grad: Any) -> Any:
            if grad is None or not self._can_hold(memory, grad):
                return grad
            same = grad.dtype == memory.dtype and grad.stride() == memory.stride() and not is_odd(grad)
            return grad if same else torch.empty_like(memory).copy_(grad)

        return list(map(in_order, self._memories, grads))

    def copy_in(self) -> None:
        """Fill the copies of parameters that are about to be updated there, and of gradients."""
        with torch.no_grad():
            for i in self._copies():
                self._memories[i].copy_(self._inside(self.params[i]))
            for copy, grad in zip(self._grad_copies, self._grads, strict=False):
                if grad is not None:
                    copy.copy_(grad)

    def copies_out(self) -> list[Callable[[], Any]]:
        """Return the calls that write dense copies, once they are updated, back to their parameters."""
        return [partial(self._inside(self.params[i]).copy_, self._memories[i]) for i in self._copies()]

    def _copies(self) -> list[int]:
        return [i for i, size in enumerate(self.batch.sizes) if size != layout.RESTS] if self.copied else []

    def release(self) -> None:
        """Let go of the gradients, so that they can be freed."""
        self._objects[1] = None
        self._grads = ()

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
            self._limits = limits
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
    def limits(self) -> Limits:
        """What the gradients of the next update are multiplied with, and what is limited then."""
        return self._limits

    @property
    def clips_units(self) -> bool:
        """Whether gradients are clipped unit by unit."""
        return self._unit_scales is not None

    def _units(self) -> list[np.ndarray[Any, Any]]:
        counts = list(map(units_of, self._memories))
        sizes = [as_real(each).numel() // max(n, 1) for each, n in zip(self._memories, counts, strict=True)]
        return self.batch.part_units(counts, sizes)

    def scale_units(self) -> list[CutUnits]:
        """Set what clips the gradient of each unit; return what remains to be set because processes share units."""
        assert self._unit_scales is not None
        self.batch.scale_units(self._limits.max_grad_ratio, *torch_threads())
        rows = zip(self.numbers, self.params, self._unit_scales, self.batch.sizes, strict=True)
        return [
            CutUnits(number, param, scales, self._limits)
            for number, param, scales, size in rows
            if size != layout.RESTS and self.is_sharded and cuts(param)
        ]

    @property
    def scales_updates(self) -> bool:
        """Whether an update of a tensor depends on all of its elements."""
        return self.limits_updates or self.has_caution

    @property
    def has_caution(self) -> bool:
        """Whether no step is taken against its gradient."""
        return self.rule.caution

    def agreements(self) -> list[tuple[int, Tensor, int]]:
        """Return of each tensor its number, itself, and in how many elements its step agrees with its gradient."""
        counts = native.agreements(self.batch, *torch_threads())
        return list(zip(self.numbers, self.params, counts.tolist(), strict=True))

    def scale_agreements(self, scales: Mapping[int, float]) -> None:
        """Set what the steps that agree are multiplied with in each tensor, by its number."""
        self.batch.scale_agreements([scales[number] for number in self.numbers])

    @property
    def limits_updates(self) -> bool:
        """Whether the root mean square of each tensor's update is limited."""
        return self._update_scales is not None

    def measured_updates(self) -> list[tuple[int, Tensor, np.ndarray[Any, Any], float]]:
        """Return of each tensor its number, itself, the sum of the squares of its g/√v, and the limit to their RMS."""
        words = native.update_squares(self.batch, *torch_threads())
        return [(*each, self._limits.max_update_rms) for each in zip(self.numbers, self.params, words, strict=True)]

    def scale_updates(self, scales: Mapping[int, float]) -> None:
        """Set what g/√v of each tensor is multiplied with, by its number."""
        assert self._update_scales is not None
        self._update_scales[:] = [scales[number] for number in self.numbers]

    def count(self, counted: Tensor | None) -> None:
        """Count a step of every parameter that takes part, where no update of the compiled kernel does.

        Args:
            counted: What to add where it is known on the device alone, or None for 1.
        """
        if not self.counts_on_device:
            self.batch.count()
        elif steps := [state.counter for state in self.active_states()]:
            torch._foreach_add_(steps, 1.0 if counted is None else counted.to(steps[0].dtype))

    def words_for_rounding(self) -> np.ndarray[Any, Any]:
        """Return what the Triton kernel reads per tensor in order to store it, in the order of its table."""
        words = np.zeros((len(self.params), 11), dtype=np.int64)
        words[:, 0] = self.batch.column("lost")
        if self._places:
            words[:, 1] = np.uint64(self._seed).astype(np.int64)
            words[:, 2:6] = self._places
        if self._places and self.counts_on_device:
            words[:, 6] = [state.counter.data_ptr() for state in self.states]
            words[:, 7] = [state.counter.element_size() for state in self.states]
        for column, name in enumerate(("spread_scales", "mean_scales", "buffer_scales"), 8):
            words[:, column] = self.batch.column(name)
        return words

    def next_steps(self) -> np.ndarray[Any, Any]:
        """Return the number of each tensor's next update, 0 where a counter on the device will know it."""
        if self.counts_on_device:
            return np.zeros(len(self.params), dtype=np.int64)
        return np.array([state.counter.item() + 1 for state in self.states]).astype(np.int64)

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
