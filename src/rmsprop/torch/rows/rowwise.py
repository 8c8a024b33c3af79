"""The update of rows that have one average of squares each, by the kernel or by NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import rowwise
from rmsprop.batch import Batch
from rmsprop.row_table import RowTable
from rmsprop.rows import summed
from rmsprop.rule import Rule
from rmsprop.storage import KERNEL_DTYPES
from rmsprop.threads import torch_threads
from rmsprop.torch.clipping.limits import Limits
from rmsprop.torch.members import Member, Members
from rmsprop.torch.rows.clock import ROW_AVERAGE, ROW_STEPS, as_held
from rmsprop.torch.rows.stored import StoredParam
from rmsprop.torch.rows.update import RowUpdate
from rmsprop.torch.state.param_state import ParamState
from rmsprop.torch.state.rounding import LOST, place_of


def update_of(member: Member, group: Mapping[str, Any], members: Members, state: ParamState) -> RowUpdate:
    """Return the update of those rows of a parameter that have gradients, as its group wants it.

    Args:
        member: The parameter; its reason is why no kernel updates it, if none does.
        group: Its group.
        members: What a plan knows of the group.
        state: Its state, complete.
    """
    kind = RowwiseUpdate if group["sparse"] == "rowwise" else RowUpdate
    return kind(member, group, members, state)


class RowwiseUpdate(RowUpdate):
    """The update of those rows of a parameter that have gradients, where each has one average of squares.

    A gradient of the whole parameter is one of all rows.
    """

    takes_dense = True

    def _note(self, rule: Rule, lr: float, now: int) -> None:
        """Leave the count of steps to the update: nothing happens to a row that rests."""

    def _by_kernel(self, table: Any, lr: float, now: int, rows: Tensor, values: Tensor) -> Callable[[], int]:
        """Return what updates rows, and counts the step."""
        grad = rows.numel(), rows.data_ptr(), values.data_ptr()
        stale_decay = lr * self._group["staleness_decay"]
        call: Callable[[], int] = table.prepared_rowwise(now, stale_decay, grad, *torch_threads())
        return call

    def _last(self) -> Any:
        steps = as_held(self._state).get(ROW_STEPS)
        return None if steps is None else steps.numpy()

    def _kernel_table(self, rule: Rule) -> Any:
        if self._table is None:
            param, held, choice = self.member.param, as_held(self._state), self._choice
            assert self._shape is not None
            batch = Batch(
                KERNEL_DTYPES[str(param.dtype).removeprefix("torch.")],
                1,
                rule,
                steps=str(self._state.counter.dtype).removeprefix("torch."),
                rounding=choice.of(param.dtype),
                seed=choice.seed,
            )
            lost = [held[LOST]] if choice.keeps_lost(param.dtype) else []
            addresses = [tensor.data_ptr() for tensor in (held[ROW_AVERAGE], *lost, self._state.counter)]
            batch.place([math.prod(self._shape)], [param.data_ptr(), 0, *addresses])
            batch.number([place_of(self.member.number, param)])
            self._table = RowTable(batch, self._shape, 1, self._last())
        return self._table

    def _by_numpy(self, rule: Rule, lr: float, step: int, grad: tuple[Any, Tensor], limits: Limits) -> int:
        """Do as the kernel does, with the same bits."""
        assert self._shape is not None
        held, width = as_held(self._state), self._shape[1]
        values = grad[1] if grad[1].dtype == torch.float64 else grad[1].float()
        rows, g = summed(grad[0], values.numpy().reshape(len(grad[0]), width))
        param, index = StoredParam(self.member.param, held, self._choice), (rows[:, None] * width + np.arange(width))
        average, last = held[ROW_AVERAGE].numpy(), self._last()
        rate = lr * self._group["staleness_decay"]
        decay = np.zeros(len(rows)) if last is None else rowwise.stale_decay(rate, step, last[rows])
        with np.errstate(all="ignore"):  # infinities and NaN follow IEEE rules, silently
            g = g * g.dtype.type(limits.scale)
            g = g if limits.max_grad == math.inf else np.clip(g, -limits.max_grad, limits.max_grad)
            old = param.read(index.ravel()).reshape(g.shape)
            new, average[rows] = rowwise.updated(rule, lr, step, old, g, average[rows], decay)
        param.write(new.ravel(), index.ravel(), step, self.member.number)
        if last is not None:
            last[rows] = step
        self._state.counter.add_(1.0)
        return 0
