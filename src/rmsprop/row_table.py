"""The compiled update of rows: `rmsprop.rows` in the terms of the C library."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rmsprop.batch import Batch
from rmsprop.codes import BLOCK
from rmsprop.decays import Decays, Segments
from rmsprop.drift import Drift
from rmsprop.layout import RowsStruct
from rmsprop.native import prepared_rows
from rmsprop.storage import Packing

Array = np.ndarray[Any, Any]


def rows_per_unit(width: int, packing: Packing | None) -> int:
    """Return how many rows share one step to which they are up to date: those that codes with one scale lie in.

    Args:
        width: Numbers in a row.
        packing: What state is packed into.

    Examples:
        >>> [rows_per_unit(width, "8bit") for width in (1, 64, 96, 128, 300)], rows_per_unit(1, None)
        ([128, 2, 4, 1, 32], 1)
    """
    return BLOCK // math.gcd(BLOCK, width) if packing == "8bit" and width else 1


class RowTable:
    """A table of a batch of one tensor, some of whose rows have gradients.

    Args:
        batch: The batch, placed but for its gradient.
        shape: How many rows there are, and how many numbers in each.
        per_unit: As `rows_per_unit` returns it.
        last: Per unit the step to which its averages are up to date, int32; changed in place. With one average per row,
            the step at which it was touched last, or None where nobody counts.
    """

    def __init__(self, batch: Batch, shape: tuple[int, int], per_unit: int, last: Array | None) -> None:
        self.batch, self._last = batch, last
        self._segments: Segments | None = None
        self._call: Callable[[], int] = int
        self._how: tuple[Any, ...] = ()  # the call is made: what is done, on which threads
        memory = None if last is None else last.ctypes.data
        self.struct = RowsStruct(count=shape[0], width=shape[1], per_unit=per_unit, last=memory, chosen=-1)

    def prepared(
        self,
        decays: Decays,
        now: int,
        grad: tuple[int, int, int] | None,
        parallel_for: int | None = None,
        threads: int = 1,
    ) -> Callable[[], int]:
        """Return a call into C that brings averages to date, and updates rows.

        Args:
            decays: What the steps did to averages.
            now: The step to which averages are brought.
            grad: How many rows have gradients, and the addresses of their numbers and of their gradients; they are then
                updated. None: all rows are brought to date, and nothing else happens.
            parallel_for: As for `rmsprop.native.update`.
            threads: As for `rmsprop.native.update`.

        Returns:
            A function without arguments that returns 0, or what went wrong before anything was changed.
        """
        self._set_decays(decays, now)
        if grad is not None:
            self._set_gradients(grad)
        return self._prepared(grad is None, parallel_for, threads)

    def settle(self, units: Array | None, drift: Drift | None, now: int) -> None:
        """Choose what `prepared` brings to date.

        Args:
            units: The numbers of units, int64, no two alike. None: all.
            drift: What the steps did to parameters and momentum. None: nothing.
            now: The step to which they are brought.
        """
        self._units = units  # kept: C reads their memory
        self.struct.chosen = -1 if units is None else len(units)
        self.struct.units = None if units is None else units.ctypes.data
        if drift is not None:
            self.struct.drift_begin, self._tables = drift.tables(now)
            kept, taken, left = (array.ctypes.data for array in self._tables)
            self.struct.drift_kept, self.struct.drift_taken, self.struct.drift_left = kept, taken, left

    def prepared_rowwise(
        self,
        now: int,
        stale_decay: float,
        grad: tuple[int, int, int],
        parallel_for: int | None = None,
        threads: int = 1,
    ) -> Callable[[], int]:
        """Return a call into C that updates rows that have one average of squares each (`rmsprop.rowwise`).

        Args:
            now: How many steps there have been.
            stale_decay: What a row that is touched loses of itself for each step since the last time.
            grad: As for `prepared`.
            parallel_for: As for `rmsprop.native.update`.
            threads: As for `rmsprop.native.update`.

        Returns:
            As `prepared`.
        """
        self.struct.now, self.struct.rowwise, self.struct.stale_decay = now, True, stale_decay
        self._set_gradients(grad)
        return self._prepared(False, parallel_for, threads)

    def _prepared(self, *how: Any) -> Callable[[], int]:
        """Return the call into C, that of the last time if it is made likewise."""
        if how != self._how:
            self._call, self._how = prepared_rows(self.batch, self.struct, *how), how
        return self._call

    def _set_gradients(self, grad: tuple[int, int, int]) -> None:
        self.struct.entries, self.struct.indices, values = grad
        self.batch.place_grads([values])

    def _set_decays(self, decays: Decays, now: int) -> None:
        self.struct.now, found = now, decays.segments(now)
        if found is self._segments:
            return
        self._segments = None  # unknown, should a Ctrl-C come in between
        self.struct.segments = len(found.begins)
        self.struct.begins, self.struct.corrected = found.begins.ctypes.data, found.corrected.ctypes.data
        self.struct.kept, self.struct.lost = (share.ctypes.data for share in found.powers)
        self.struct.later_kept, self.struct.later_lost = (share.ctypes.data for share in found.later)
        self._segments = found  # kept: C reads their memory
