"""What is kept beside averages whose rows are up to date to different steps, and how all are brought to one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import native
from rmsprop.batch import Batch
from rmsprop.decays import Decays, Shares
from rmsprop.drift import Drift, DriftShares, drifted
from rmsprop.row_table import RowTable, rows_per_unit
from rmsprop.rows import up_to_date
from rmsprop.rule import Rule
from rmsprop.storage import KERNEL_DTYPES, working_dtype
from rmsprop.threads import torch_threads
from rmsprop.torch.device import is_on_gpu
from rmsprop.torch.gpu_rows import RowLaunch
from rmsprop.torch.local import is_sparse
from rmsprop.torch.rows.stored import StoredParam, StoredRows
from rmsprop.torch.state.rounding import LOST, RoundingChoice

Array = np.ndarray[Any, Any]

ROWS = "rows"  # the name of the clock in a parameter's state
# Those of one average of squares per row, and of the steps at which rows were touched last.
ROW_AVERAGE, ROW_STEPS = "row_square_avg", "row_steps"

_CHUNK = 1 << 16  # numbers that NumPy brings to date at a time


class RowClock:
    """The step to which the averages of each row of a parameter are up to date.

    Rows that share scales of packed state are a unit with one step.

    Args:
        shape: How many rows there are, and how many real numbers in each.
        working: The precision in which updates work.
        choice: How the parameter is rounded, and what its state is packed into.
        number: The number of the parameter in the optimizer.
        now: The step to which all rows are up to date.
        is_lazy: Whether rows without a gradient stay as they are. Default False.
        moving: The parameter, where rows without a gradient move. Default None: they don't.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        working: str,
        choice: RoundingChoice,
        number: int,
        now: int,
        is_lazy: bool = False,
        moving: Tensor | None = None,
    ) -> None:
        self.is_lazy, self._choice = is_lazy, choice
        self.shape, self.working, self.packing, self.number = shape, working, choice.packing, number
        self.per_unit = rows_per_unit(shape[1], self.packing)
        self.last: Any = np.full(-(-shape[0] // self.per_unit), now, np.int32)
        self.decays, self._noted = Decays(working), now
        self._param, self.drift = moving, None if moving is None else Drift(working, now)
        self._table: Any = None
        self._looks: tuple[Any, ...] = ()  # the parameter's dtype and the names of the arrays that it is a view of
        self._addresses: list[int] = []  # and where they are
        self._counted = np.zeros(1)

    @property
    def is_full(self) -> bool:
        """Whether all rows should be brought up to date, so that another clock can begin."""
        return self.decays.is_full or (self.drift is not None and self.drift.is_full)

    def note(self, rule: Rule, lr: float, step: int) -> None:
        """Take note of a step that is about to be taken.

        Args:
            rule: The rule of the step.
            lr: Its learning rate.
            step: Its number, counted from 1.
        """
        self._noted = step
        if not self.is_lazy:
            self.decays.record(rule, step)
        if self.drift is not None:
            self.drift.record(rule, lr, step)

    def follows(self, now: int) -> bool:
        """Whether the steps noted are those that were counted; if not, somebody set the counter, and rows begin anew.

        Args:
            now: What the counter shows.
        """
        return self._noted - 1 <= now <= self._noted  # the last one may have failed

    def units_of(self, rows: Array, count: int) -> Array:
        """Return the units that rows lie in.

        Args:
            rows: The numbers of rows along the first axis of the parameter.
            count: How many of them there are; a gradient of several sparse dimensions has more.
        """
        parts = self.shape[0] // count if count else 1
        places = rows if parts == 1 else (rows[:, None] * parts + np.arange(parts)).ravel()
        return places // self.per_unit if self.per_unit > 1 else places

    def move_to(self, param: Tensor) -> None:
        """Keep the steps where the kernel that updates the parameter reads them."""
        if is_on_gpu(param):
            self.last = torch.from_numpy(self.last).to(param.device)

    def settle(self, state: dict[str, Any], now: int) -> None:
        """Bring all rows to a step.

        Args:
            state: The parameter's state, whose arrays are changed in place.
            now: The step.
        """
        if not self.is_lazy:
            self._bring(state, None, now)

    def catch_up(self, state: dict[str, Any], units: Array, now: int) -> None:
        """Bring some rows to a step.

        Args:
            state: As for `settle`.
            units: The units that they lie in.
            now: The step.
        """
        behind = np.sort(units[self.last[units] < now])  # faster than np.unique, which hashes
        if len(behind):
            is_first = np.append(True, behind[1:] != behind[:-1])
            self._bring(state, behind[is_first], now)

    def _bring(self, state: dict[str, Any], units: Array | None, now: int) -> None:
        now = now if self.follows(now) else self._noted
        if units is None and not (self.last < now).any():
            return
        by = self._by_numpy if native.missing() or self._is_elsewhere() else self._by_kernel
        by(state, units, now)
        if self._param is not None:
            torch.autograd.graph.increment_version(self._param)

    def _is_elsewhere(self) -> bool:
        """Whether the parameter isn't stored any more as its state is: after ``model.double()``, say.

        Raises:
            RuntimeError: If it has another number of elements, so that nobody knows which are its rows.
        """
        param = self._param
        if param is None:
            return False
        numbers = param.numel() * (2 if param.is_complex() else 1)
        if numbers != math.prod(self.shape):
            raise RuntimeError(
                f"a parameter has shape {tuple(param.shape)} now, but rows of its state wait to be brought up to date, "
                f"which are {self.shape[0]} of {self.shape[1]} numbers: call prepare() before its shape is changed"
            )
        dtype = KERNEL_DTYPES.get(str(param.dtype).removeprefix("torch."))
        return (
            param.device.type != "cpu" or not param.is_contiguous() or not dtype or working_dtype(dtype) != self.working
        )

    def _by_kernel(self, state: dict[str, Any], units: Array | None, now: int) -> None:
        table = self._kernel_table(as_held(state))
        self._counted[0] = now - 1.0  # random bits are those of the step that has been taken
        if units is not None or self.drift is not None:
            table.settle(units, self.drift, now)
        if status := table.prepared(self.decays, now, None, *torch_threads())():
            raise RuntimeError(f"the parallel region of the kernel failed with status {status}")

    def _kernel_table(self, held: dict[str, Any]) -> Any:
        """Return the kernel's view of the arrays, that of the last time if they lie where they did."""
        param, stored = self._param, StoredRows(held, self.packing)
        choice = self._choice if param is None else self._choice_of(param, held)
        looks = None if param is None else param.dtype, choice, *stored.names
        if looks != self._looks:
            self._table, self._looks = None, looks
        batch = self._new_batch(stored.names, choice) if self._table is None else self._table.batch
        arrays = stored.in_columns(batch.state_columns)
        if param is not None and choice.keeps_lost(param.dtype):
            arrays.append(held[LOST])
        counts = self.packing is not None or param is not None
        addresses = [0 if param is None else param.data_ptr(), 0, *(array.data_ptr() for array in arrays)]
        addresses += [self._counted.ctypes.data] * counts
        if self._table is None or addresses != self._addresses:
            batch.place([self.shape[0] * self.shape[1]], addresses)
            batch.number([(self.number, 0, 2**62, 0)])
            self._table, self._addresses = table_of(batch, self.shape, self.per_unit, self.last, self.number), addresses
        return self._table

    def _choice_of(self, param: Tensor, held: Mapping[str, Any]) -> RoundingChoice:
        """Return how the parameter is rounded; to the nearest where what was kept beside it is of another dtype."""
        choice = self._choice
        fits = LOST in held and held[LOST].dtype == param.dtype
        return replace(choice, rounding="nearest") if choice.keeps_lost(param.dtype) and not fits else choice

    def _new_batch(self, names: tuple[str, ...], choice: RoundingChoice) -> Batch:
        param = self._param
        moves_buffer = param is not None and "momentum_buffer" in names
        return Batch(
            self.working if param is None else KERNEL_DTYPES[str(param.dtype).removeprefix("torch.")],
            1,
            Rule(centered="grad_var" in names, momentum=0.9 if moves_buffer else 0.0),
            steps="float64" if self.packing is not None or param is not None else None,
            rounding="nearest" if param is None else choice.of(param.dtype),
            seed=choice.seed,
            packing=self.packing,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle or a copy keeps: not the kernel's view of arrays that will be others."""
        return {**self.__dict__, "_table": None}

    def _by_numpy(self, state: dict[str, Any], chosen: Array | None, now: int) -> None:
        stored, per_unit = StoredRows(as_held(state), self.packing), self.per_unit * self.shape[1]
        own = self._param
        moved_param = None if own is None else own.detach().cpu().contiguous()
        copy = None if own is None or moved_param is None or moved_param.data_ptr() == own.data_ptr() else moved_param
        held = as_held(state)
        param = None if moved_param is None else StoredParam(moved_param, held, self._choice_of(moved_param, held))
        behind = np.flatnonzero(self.last < now) if chosen is None else chosen
        for units in np.array_split(behind, max(1, len(behind) * per_unit // _CHUNK)):
            index, owner = self.numbers_of(units)
            shares = self.decays.shares(self.last[units], now)
            arrays = stored.read(index)
            buffer = arrays.pop("momentum_buffer", None)
            moved = up_to_date(arrays, Shares(shares.kept[owner], shares.lost[owner]))
            if param is not None and self.drift is not None:
                drift = self.drift.shares(self.last[units], now)
                new, buffer = drifted(param.read(index), buffer, DriftShares(*(share[owner] for share in drift)))
                param.write(new, index, now, self.number)
                moved |= {} if buffer is None else {"momentum_buffer": buffer}
            stored.write(moved, index, self._choice.seed, now, self.number)
            if copy is None:
                self.last[units] = now  # at once: after an interruption the rest alone is left to do
        if own is not None and copy is not None:
            own.detach().copy_(copy)
        self.last[behind] = now

    def numbers_of(self, units: Array) -> tuple[Array, Array]:
        """Return the places of all numbers of some units, and for each the position of its unit.

        Args:
            units: The units, ascending.
        """
        size = self.per_unit * self.shape[1]
        index = (units[:, None] * size + np.arange(size)).ravel()
        is_there = index < self.shape[0] * self.shape[1]  # the last unit may be shorter
        return index[is_there], np.repeat(np.arange(len(units)), size)[is_there]


def table_of(batch: Batch, shape: tuple[int, int], per_unit: int, last: Any, number: int) -> Any:
    """Return what brings averages of a parameter to date and updates rows: compiled for the CPU, or in Triton.

    Args:
        batch: The batch of the parameter.
        shape: How many rows there are, and how many numbers in each.
        per_unit: How many rows share one step to which they are up to date.
        last: That step per unit; an array, or a tensor where Triton serves.
        number: The number of the parameter in the optimizer.
    """
    if isinstance(last, Tensor):
        return RowLaunch(batch, shape, per_unit, last, number)
    return RowTable(batch, shape, per_unit, last)


def as_held(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a state holds, without bringing it up to date."""
    return dict(dict.items(state))  # type: ignore[arg-type]


def is_on_rows(param: Tensor, state: Mapping[str, Any], group: Mapping[str, Any]) -> bool:
    """Whether a parameter is updated row by row: by a sparse gradient, or because its state is one of rows.

    Args:
        param: The parameter.
        state: Its state, as far as there is any yet.
        group: Its group.
    """
    held = as_held(state)
    has_row_averages = group["sparse"] == "rowwise" and ROW_AVERAGE in held
    return is_sparse(param.grad) or has_row_averages or (param.grad is None and ROWS in held)


def settle(state: dict[str, Any]) -> None:
    """Bring all averages of a parameter up to date, and forget that they weren't.

    Args:
        state: The parameter's state, changed in place.
    """
    clock = dict.get(state, ROWS)
    if not isinstance(clock, RowClock):
        return
    step = dict.get(state, "step")
    clock.settle(state, int(step.item()) if isinstance(step, Tensor) else int(step or 0))
    dict.pop(state, ROWS)
