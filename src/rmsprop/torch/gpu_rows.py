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

from rmsprop.batch import Batch
from rmsprop.decays import Decays, Segments
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
        self._segments_shape: tuple[int, ...] = ()
        self._compiled: list[Any] = []

    def prepared(
        self, decays: Decays, now: int, grad: tuple[Tensor, Tensor] | None, *_: int | None
    ) -> Callable[[], int]:
        """Return a call that puts in line what brings averages to date, and updates rows.

        Args:
            decays: What the steps did to averages.
            now: The step to which averages are brought.
            grad: The numbers of the rows that have gradients, and their gradients, flat; they are then updated. None:
                all rows are brought to date, and nothing else happens.
            _: What the table of the CPU needs besides.

        Returns:
            A function that returns 0.
        """
        with gpu.current(self._last.device):
            stream = gpu.Stream(self._last.device, [])
            found = decays.segments(now)
            words = _words_of(found) if len(found.begins) else np.zeros((1, 1), np.int64)
            if words.shape != self._segments_shape:
                self._segments_shape, self._segment_table = words.shape, gpu.WordTable()
            segments = self._segment_table.on_device(words, stream)
            row = self._row_table.on_device(self._row, stream)
            known = self._last, segments, len(found.begins), now
            rest = *self._shape, self._per_unit
            rows = gpu.kernels().rows
            if grad is None:
                return self._launch(rows.settle_rows, len(self._last), (row, *known, *rest))
            if not len(grad[0]) or not self._shape[1]:
                return lambda: 0
            numbers, order = torch.sort(grad[0], stable=True)
            arguments = row, self._rule(stream), grad[1], numbers, order, *known, len(numbers), *rest
            return self._launch(rows.update_rows, len(numbers), arguments)

    def _rule(self, stream: gpu.Stream) -> Tensor:
        words = np.zeros(gpu.kernels().tables.WORDS_PER_RULE.value, np.int64)
        words[: len(self.batch.numbers)] = self.batch.numbers
        return self._rule_table.on_device(words, stream)

    def _launch(self, kernel: Any, programs: int, arguments: tuple[Any, ...]) -> Callable[[], int]:
        """Return a launch of a kernel, which is compiled now, while nothing has changed."""
        batch, device = self.batch, self._last.device
        choices = gpu.code(batch.rule, batch.rounding, batch.packing)
        choices |= gpu.kernels().tables.types(batch.dtype, batch.packing)
        options = {name: choice for name, choice in choices.items() if name in kernel.arg_names}
        # No more threads than a unit has elements for.
        options |= gpu.block_options(device, self._per_unit * self._shape[1])
        if kernel not in self._compiled:
            kernel.run(*arguments, grid=(programs,), warmup=True, **options)
            self._compiled.append(kernel)

        def launch() -> int:
            with gpu.current(device):
                kernel[(programs,)](*arguments, **options)
            return 0

        return launch


def _words_of(segments: Segments) -> np.ndarray[Any, Any]:
    """Return what the kernels read per segment."""
    numbers = [*segments.later, *segments.powers]
    words = np.column_stack([np.ascontiguousarray(part, np.float64).view(np.int64) for part in numbers])
    return np.column_stack([segments.begins, segments.corrected, words]).astype(np.int64)
