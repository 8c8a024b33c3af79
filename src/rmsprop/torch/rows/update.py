"""The update of the rows of a parameter that a sparse gradient has, by the kernel or by NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import native, reference
from rmsprop.averaging import Updating, inner
from rmsprop.batch import Batch
from rmsprop.decays import LAST_STEP, Shares
from rmsprop.rows import summed, up_to_date
from rmsprop.rule import Rule
from rmsprop.storage import FLOAT32_IS_FULL, KERNEL_DTYPES
from rmsprop.threads import torch_threads
from rmsprop.torch.checks import check_rows, not_prepared
from rmsprop.torch.clipping.limits import Limits
from rmsprop.torch.device import is_on_gpu
from rmsprop.torch.local import is_sparse
from rmsprop.torch.members import Member, Members
from rmsprop.torch.overlap import stretch
from rmsprop.torch.rows.clock import ROWS, RowClock, as_held, settle, table_of
from rmsprop.torch.rows.sparse import moves_rows, new_clock, unfit_rows
from rmsprop.torch.rows.stored import StoredParam, StoredRows, flat
from rmsprop.torch.state.param_state import ParamState
from rmsprop.torch.state.rounding import LOST, place_of


class RowUpdate:
    """The update of those rows of a parameter that have gradients.

    Args:
        member: The parameter; its reason is why no kernel updates it, if none does.
        group: Its group.
        members: What a plan knows of the group.
        state: Its state, complete.
    """

    takes_dense = False  # whether a gradient of the whole parameter is one of all rows

    def __init__(self, member: Member, group: Mapping[str, Any], members: Members, state: ParamState) -> None:
        self.member, self._group, self._state, self._choice = member, group, state, members.rounding
        self._members = members
        self._options: tuple[Any, ...] | None = None
        self._moves = False  # whether rows without a gradient do
        self._rows: Tensor | None = None
        self._values: Tensor | None = None
        self._shape: tuple[int, int] | None = None
        self._call: Callable[[], int] | None = None
        held = (value for name, value in as_held(state).items() if name != "step")
        self._tensors = [member.param, state.counter, *(value for value in held if isinstance(value, Tensor))]
        self._places, self._written = self._addresses(), [stretch(tensor) for tensor in self._tensors]
        self._clock: Any = None
        self._table: Any = None
        self._table_of: RowClock | None = None  # which `prepare` of the optimizer may begin anew

    def bind(self) -> bool:
        """Look at the parameter, its state and its gradient as they are now; return whether its rows can be updated.

        Raises:
            RuntimeError: If the gradient has rows that the parameter hasn't.
        """
        param, grad = self.member.param, self.member.param.grad
        if grad is None:
            return True
        if not (is_sparse(grad) or self.takes_dense) or grad.dtype != param.dtype or self._addresses() != self._places:
            return False
        if self._members.options is not self._options:  # looked at only then: it takes a third of a small step
            if unfit_rows(param, self._state, self._group):
                return False
            self._options, self._moves = self._members.options, moves_rows(self._group)
        counter = self._state.counter
        if counter.item() >= (FLOAT32_IS_FULL if counter.dtype == torch.float32 else LAST_STEP):
            return False
        if not is_sparse(grad):
            grad = _of_all_rows(grad)
        else:
            check_rows(self.member.name, param)
        shape = _shape_of(grad)
        if self._shape not in (None, shape):
            return False
        self._shape = shape
        self._rows, self._values = _row_numbers(grad), self._apart(_values_of(grad))
        return True

    def _apart(self, values: Tensor) -> Tensor:
        """Return the values of a gradient: a copy, where they lie in memory that the update writes to."""
        begin = values.data_ptr()
        end = begin + values.nbytes
        for first, last in self._written:
            if begin < last and first < end:
                return values.clone()
        return values

    def _addresses(self) -> list[Any]:
        param = self.member.param
        return [param.dtype, param.shape, param.stride(), *map(Tensor.data_ptr, self._tensors)]

    def prepare(self, updating: Updating, lr: Any, maximize: bool, limits: Limits) -> None:
        """Do what may fail while nothing has changed.

        Args:
            updating: What to compute.
            lr: The learning rate, a number or a tensor of one element.
            maximize: Ascend instead of descend.
            limits: What gradients are multiplied with first, and what they are limited to.
        """
        if self._rows is None or self._values is None:
            return
        rule, rows, values = inner(updating), self._rows, self._values
        lr = lr.item() if isinstance(lr, Tensor) else lr
        now = int(self._state.counter.item())
        self._note(rule, lr, now)
        if self.member.reason:
            limits = limits.negated() if maximize else limits
            self._call = lambda: self._by_numpy(rule, lr, now + 1, (rows.numpy(), flat(values)), limits)
            return
        table = self._kernel_table(rule)
        step = now + 1 if rule.depends_on_step else 1
        table.batch.set_numbers(
            lr, step, maximize=maximize, grad_scale=limits.scale, max_grad=limits.max_grad, rule=rule
        )
        self._call = self._by_kernel(table, lr, now, rows, values)

    def _note(self, rule: Rule, lr: float, now: int) -> None:
        """Take note of a step that is about to be taken."""
        self._clock = self._current_clock(now)
        self._clock.note(rule, lr, now + 1)

    def _by_kernel(self, table: Any, lr: float, now: int, rows: Tensor, values: Tensor) -> Callable[[], int]:
        """Return what updates rows, and counts the step."""
        if is_on_gpu(self.member.param):
            launch = table.prepared(self._clock.decays, now, (rows, flat(values)))
            return lambda: self._counted(launch)
        grad = rows.numel(), rows.data_ptr(), values.data_ptr()
        call: Callable[[], int] = table.prepared(self._clock.decays, now, grad, *torch_threads())
        return call

    def _current_clock(self, now: int) -> RowClock:
        """Return the steps of the rows, begun anew where they are other rows now.

        Raises:
            RuntimeError: If a row with a gradient was not brought up to date before it was read.
        """
        clock = dict.get(self._state, ROWS)
        is_lazy = self._group["sparse"] == "lazy"
        if clock is not None:
            self._check_prepared(clock, now)
            has_changed = (clock.shape, clock.is_lazy, clock.drift is not None) != (self._shape, is_lazy, self._moves)
            if has_changed or clock.is_full or not clock.follows(now):
                settle(self._state)
                clock = None
        if clock is None:
            assert self._shape is not None
            clock = new_clock(self.member.param, self._shape, self._group, self._moves, self.member.number, now)
            clock.move_to(self.member.param)
            dict.__setitem__(self._state, ROWS, clock)
        return clock

    def _check_prepared(self, clock: RowClock, now: int) -> None:
        assert self._rows is not None
        assert self._shape is not None
        count = len(self.member.param)
        if clock.drift is None or not clock.follows(now) or not count:
            return
        numbers = self._rows.numpy()
        rows = numbers // (self._shape[0] // count)  # along the first axis
        if clock.shape == self._shape:
            is_behind = clock.last[numbers // clock.per_unit] < now
        else:
            is_behind = (clock.last[clock.units_of(rows, count)] < now).reshape(len(rows), -1).any(1)
        if is_behind.any():
            raise RuntimeError(not_prepared(self.member.name, rows[is_behind][0]))

    def _kernel_table(self, rule: Rule) -> Any:
        clock = self._clock
        if self._table is None or self._table_of is not clock:
            self._table_of = None  # unknown, should a Ctrl-C come in between
            param, state, choice = self.member.param, self._state, self._choice
            batch = Batch(
                KERNEL_DTYPES[str(param.dtype).removeprefix("torch.")],
                1,
                rule,
                steps=str(state.counter.dtype).removeprefix("torch."),
                rounding=choice.of(param.dtype),
                seed=choice.seed,
                packing=choice.packing,
            )
            stored = StoredRows(as_held(state), choice.packing).in_columns(batch.state_columns)
            lost = [as_held(state)[LOST]] if choice.keeps_lost(param.dtype) else []
            addresses = [tensor.data_ptr() for tensor in (*stored, *lost, state.counter)]
            batch.place([clock.shape[0] * clock.shape[1]], [param.data_ptr(), 0, *addresses])
            batch.number([place_of(self.member.number, param)])
            self._table = table_of(batch, clock.shape, clock.per_unit, clock.last, self.member.number)
            self._table_of = clock
        return self._table

    def _by_numpy(self, rule: Rule, lr: float, step: int, grad: tuple[Any, Tensor], limits: Limits) -> int:
        """Do as the kernel does, with the same bits."""
        clock = self._clock
        param, width = StoredParam(self.member.param, as_held(self._state), self._choice), clock.shape[1]
        stored, number = StoredRows(as_held(self._state), clock.packing), self.member.number
        values = grad[1] if grad[1].dtype == torch.float64 else grad[1].float()
        rows, sums = summed(grad[0], values.numpy().reshape(len(grad[0]), width))
        units = np.unique(rows // clock.per_unit)
        index, owner = clock.numbers_of(units)
        whole = np.zeros((len(units) * clock.per_unit, width), sums.dtype)
        places = np.searchsorted(units, rows // clock.per_unit) * clock.per_unit + rows % clock.per_unit
        whole[places] = sums if clock.per_unit == 1 else sums + 0.0
        g = whole.reshape(-1)[: len(index)]
        shares = clock.decays.shares(clock.last[units], step - 1)
        with np.errstate(all="ignore"):  # infinities and NaN follow IEEE rules, silently
            g = g * g.dtype.type(limits.scale)
            g = g if limits.max_grad == math.inf else np.clip(g, -limits.max_grad, limits.max_grad)
            kept = up_to_date(stored.read(index), Shares(shares.kept[owner], shares.lost[owner]))
            new, arrays = reference.apply(rule, lr, step, param.read(index), g, kept, np)
        param.write(new, index, step, number)
        stored.write(arrays, index, self._choice.seed, step, number)
        clock.last[units] = step
        self._state.counter.add_(1.0)
        return 0

    def _counted(self, launch: Callable[[], int]) -> int:
        """Update rows by a kernel that doesn't count the step, and count it."""
        status = launch()
        self._state.counter.add_(1.0)
        return status

    def run(self) -> None:
        """Update the rows and count the step.

        Raises:
            MemoryError: If there is no memory for the sums.
            RuntimeError: If torch's threads can't be used.
        """
        call, self._call = self._call, None
        if call is None:
            return
        if status := call():
            if status == native.NO_MEMORY:
                raise MemoryError("there is no memory for the sums of the gradients of rows")
            raise RuntimeError(f"the parallel region of the kernel failed with status {status}")
        torch.autograd.graph.increment_version(self.member.param)

    def release(self) -> None:
        """Let go of the gradient, so that it can be freed."""
        self._rows = self._values = self._call = None


def _shape_of(grad: Tensor) -> tuple[int, int]:
    """Return how many rows a gradient is of, and how many real numbers are in each."""
    dims = grad.sparse_dim()
    width = math.prod(grad.shape[dims:]) * (2 if grad.is_complex() else 1)
    return math.prod(grad.shape[:dims]), width


def _of_all_rows(grad: Tensor) -> Tensor:
    """Return a gradient of a whole parameter as one in coordinates of all its rows."""
    places = torch.arange(len(grad), device=grad.device)[None]
    return torch.sparse_coo_tensor(places, grad.detach(), grad.shape, is_coalesced=True, check_invariants=False)


def _row_numbers(grad: Tensor) -> Tensor:
    """Return the rows that a gradient has entries for; several sparse dimensions are numbered in row-major order."""
    indices, dims = grad._indices(), grad.sparse_dim()
    if dims == 1:
        return indices.view(-1) if indices.is_contiguous() else indices[0].contiguous()
    strides = [math.prod(grad.shape[d + 1 : dims]) for d in range(dims)]
    return (indices * torch.tensor(strides, device=indices.device).unsqueeze(1)).sum(0)


def _values_of(grad: Tensor) -> Tensor:
    """Return the values of a gradient's entries as they are stored, one behind the other."""
    values = grad._values()
    if values.is_conj() or values.is_neg():
        values = values.resolve_conj().resolve_neg()
    return values.contiguous()
