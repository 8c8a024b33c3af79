"""The update of rows on a GPU: `rmsprop.row_table` in the terms of the Triton kernels.

What of a step is the same as in the last one stays on the device. A step asks for no number of the device, but for
those that tell whether the rows of a gradient exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop.decays import Decays, Segments
from rmsprop.native import Batch
from rmsprop.torch import gpu


class RowLaunch:
    """The launches for a parameter, some of whose rows have gradients.

    Args:
        batch: The batch of it, placed but for its gradient.
        shape: How many rows there are, and how many numbers in each.
        per_unit: How many rows share one step to which they are up to date.
        last: Per unit that step, int32, on the device; changed in place.
        number: The number of the parameter in the optimizer.
    """

    def __init__(self, batch: Batch, shape: tuple[int, int], per_unit: int, last: Tensor, number: int) -> None:
        self.batch, self._shape, self._per_unit, self._last = batch, shape, per_unit, last
        tables = gpu.kernels().tables
        row = np.zeros(tables.WORDS_PER_TENSOR.value, np.int64)
        columns = ("params", "spreads", "means", "buffers")
        row[: len(columns)] = [batch.column(name)[0] for name in columns]
        row[tables.LOST.value] = batch.column("lost")[0]
        row[tables.SEED.value], row[tables.NUMBER.value] = np.uint64(batch.struct.seed).astype(np.int64), number
        scales = tables.SPREAD_SCALES.value
        row[scales:] = [batch.column(f"{name}_scales")[0] for name in ("spread", "mean", "buffer")]
        self._row, self._row_table = row, gpu.WordTable()
        self._rule_table, self._segment_table = gpu.WordTable(), gpu.WordTable()
        self._segments: Segments | None = None

    def prepared(
        self, decays: Decays, now: int, grad: tuple[Tensor, Tensor] | None, *_: int | None
    ) -> Callable[[], int]:
        """Return a call that puts in line what brings averages to date, and updates rows.

        Args:
            decays: What the steps did to averages.
            now: The step to which averages are brought.
            grad: The numbers of the rows that have gradients, and their gradients, flat; they are then updated. None:
                all rows are brought to date, and nothing else happens.

        Returns:
            A function that returns 0.
        """
        with gpu.current(self._last.device):
            stream = gpu.Stream(self._last.device, [])
            found = decays.segments(now)
            words = _words_of(found) if len(found.begins) else np.zeros((1, 1), np.int64)
            if self._segments is None or len(self._segments.begins) != len(found.begins):
                self._segment_table = gpu.WordTable()  # of another size
            self._segments = found
            row = self._row_table.on_device(self._row, stream)
            known = self._last, self._segment_table.on_device(words, stream), len(found.begins), now
            return self._settling(row, known) if grad is None else self._updating(row, known, grad, stream)

    def _settling(self, row: Tensor, known: tuple[Any, ...]) -> Callable[[], int]:
        types = gpu.kernels().tables.types(self.batch.dtype, self.batch.packing)
        kernel = gpu.kernels().rows.settle_rows[(len(self._last),)]
        options = {"KEPT": types["KEPT"], "WORKING": types["WORKING"], "CENTERED": self.batch.rule.centered}

        def settle() -> int:
            with gpu.current(self._last.device):
                kernel(row, *known, *self._shape, self._per_unit, **options, **self._block_options())
            return 0

        return settle

    def _updating(
        self, row: Tensor, known: tuple[Any, ...], grad: tuple[Tensor, Tensor], stream: gpu.Stream
    ) -> Callable[[], int]:
        rows, order = torch.sort(grad[0], stable=True)
        if not len(rows) or not self._shape[1]:
            return lambda: 0
        tables = gpu.kernels().tables
        numbers = np.zeros(tables.WORDS_PER_RULE.value, np.int64)
        numbers[: len(self.batch.numbers)] = self.batch.numbers
        rule = self._rule_table.on_device(numbers, stream)
        kernel = gpu.kernels().rows.update_rows[(len(rows),)]
        code = gpu.code(self.batch.rule, self.batch.rounding, self.batch.packing)
        options = {
            **tables.types(self.batch.dtype, self.batch.packing),
            **{name: code[name] for name in ("CENTERED", "BUFFER", "ROUNDING")},
        }

        def update() -> int:
            with gpu.current(self._last.device):
                arguments = row, rule, grad[1], rows, order, *known, len(rows), *self._shape, self._per_unit
                kernel(*arguments, **options, **self._block_options())
            return 0

        return update

    def _block_options(self) -> dict[str, Any]:
        """Return what a kernel is launched with whose programs work on units: no more threads than a unit has for."""
        return gpu.block_options(self._last.device, self._per_unit * self._shape[1])


def _words_of(segments: Segments) -> np.ndarray[Any, Any]:
    """Return what the kernels read per segment."""
    numbers = [*segments.later, *segments.powers]
    words = np.column_stack([np.ascontiguousarray(part, np.float64).view(np.int64) for part in numbers])
    return np.column_stack([segments.begins, segments.corrected, words]).astype(np.int64)
