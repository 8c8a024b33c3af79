"""What is kept beside averages whose rows are up to date to different steps, and how all are brought to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import native
from rmsprop.decays import Decays, Shares
from rmsprop.row_table import RowTable, rows_per_unit
from rmsprop.rows import up_to_date
from rmsprop.rule import Rule
from rmsprop.storage import Packing
from rmsprop.threads import torch_threads
from rmsprop.torch.device import is_on_gpu
from rmsprop.torch.gpu_rows import RowLaunch
from rmsprop.torch.stored_rows import StoredRows

ROWS = "rows"  # the name of the clock in a parameter's state

_CHUNK = 1 << 16  # numbers that NumPy brings to date at a time


class RowClock:
    """The step to which the averages of each row of a parameter are up to date.

    Rows that share scales of packed state are a unit with one step.

    Args:
        shape: How many rows there are, and how many real numbers in each.
        working: The precision in which updates work.
        packing: What state is packed into.
        seed: Chooses the random bits with which it is rounded.
        number: The number of the parameter in the optimizer.
        now: The step to which all rows are up to date.
        is_lazy: Whether rows without a gradient stay as they are.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        working: str,
        packing: Packing | None,
        seed: int,
        number: int,
        now: int,
        is_lazy: bool = False,
    ) -> None:
        self.is_lazy = is_lazy
        self.shape, self.working, self.packing, self.seed, self.number = shape, working, packing, seed, number
        self.per_unit = rows_per_unit(shape[1], packing)
        self.last: Any = np.full(-(-shape[0] // self.per_unit), now, np.int32)
        self.decays = Decays(working)

    def move_to(self, param: Tensor) -> None:
        """Keep the steps where the kernel that updates the parameter reads them."""
        if is_on_gpu(param):
            self.last = torch.from_numpy(self.last).to(param.device)

    def settle(self, state: dict[str, Any], now: int) -> None:
        """Bring the averages of all rows to a step.

        Args:
            state: The parameter's state, whose arrays are changed in place.
            now: The step.
        """
        if not self.is_lazy and (self.last < now).any():
            by = self._by_numpy if native.missing() else self._by_kernel  # which rows on a GPU always have
            by(state, now)

    def _by_kernel(self, state: dict[str, Any], now: int) -> None:
        stored = StoredRows(as_held(state), self.packing)
        steps = np.array([now - 1.0])  # random bits are those of the step that has been taken
        packed = self.packing is not None
        batch = native.Batch(
            self.working,
            1,
            Rule(centered="grad_var" in stored.names),
            steps="float64" if packed else None,
            seed=self.seed,
            packing=self.packing,
        )
        arrays = [array.data_ptr() for array in stored.in_columns(batch.state_columns)]
        batch.place([self.shape[0] * self.shape[1]], [0, 0, *arrays, *([steps.ctypes.data] if packed else [])])
        batch.number([(self.number, 0, 2**62, 0)])
        table = table_of(batch, self.shape, self.per_unit, self.last, self.number)
        if status := table.prepared(self.decays, now, None, *torch_threads())():
            raise RuntimeError(f"the parallel region of the kernel failed with status {status}")

    def _by_numpy(self, state: dict[str, Any], now: int) -> None:
        stored, per_unit = StoredRows(as_held(state), self.packing), self.per_unit * self.shape[1]
        behind = np.flatnonzero(self.last < now)
        for units in np.array_split(behind, max(1, len(behind) * per_unit // _CHUNK)):
            index, owner = self.numbers_of(units)
            shares = self.decays.shares(self.last[units], now)
            averages = {name: array for name, array in stored.read(index).items() if name != "momentum_buffer"}
            moved = up_to_date(averages, Shares(shares.kept[owner], shares.lost[owner]))
            stored.write(moved, index, self.seed, now, self.number)
        self.last[behind] = now

    def numbers_of(self, units: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return the places of all numbers of some units, and for each the position of its unit.

        Args:
            units: The units, ascending.
        """
        size = self.per_unit * self.shape[1]
        index = (units[:, None] * size + np.arange(size)).ravel()
        is_there = index < self.shape[0] * self.shape[1]  # the last unit may be shorter
        return index[is_there], np.repeat(np.arange(len(units)), size)[is_there]


def table_of(batch: native.Batch, shape: tuple[int, int], per_unit: int, last: Any, number: int) -> Any:
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
