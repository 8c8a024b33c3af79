"""What the updates of whole tensors are scaled by on a GPU: measured, computed and read there, and nothing waits.

Adaptive clipping multiplies the gradient of each unit with a factor, ``max_update_rms`` the quotients g/√v of a tensor,
and ``caution`` those of its steps that agree with their gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import layout
from rmsprop.clipping import WORDS
from rmsprop.rule import agreement_scale
from rmsprop.torch import gpu
from rmsprop.torch.clipping.exact_sum import update_scales
from rmsprop.torch.clipping.units import factors, units_of
from rmsprop.torch.local import as_real, inside

if TYPE_CHECKING:
    from rmsprop.torch.bucket import Bucket

# Arguments of the update that measuring has no use for.
_FOR_UPDATES_ALONE = ("BUFFER", "PACKING")
Scales = tuple[Tensor | None, Tensor | None, Tensor | None]


class TensorScales:
    """What scales the updates of the tensors of a launch.

    Args:
        buckets: The buckets of the launch, scaled alike.
    """

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self._buckets, self._device = buckets, buckets[0].device
        self._has_caution, self._limits_updates = buckets[0].has_caution, buckets[0].scales.limits_updates
        self._units = UnitFactors(buckets) if buckets[0].scales.clips_units else None
        numbers = [as_real(inside(param)).numel() for bucket in buckets for param in bucket.params]
        self._sizes = np.maximum(np.array(numbers, np.float64), 1.0)
        self._size_table, self._limit_table = gpu.WordTable(), gpu.WordTable()

    def prepared(
        self, tables: tuple[Any, ...], grid: tuple[int], stream: gpu.Stream, options: dict[str, Any]
    ) -> Measuring:
        """Return what measures the tensors.

        Args:
            tables: What the kernels read, as the update does.
            grid: How many programs there are.
            stream: The stream of this step.
            options: What the update is launched with.
        """
        options = {name: value for name, value in options.items() if name not in _FOR_UPDATES_ALONE}
        found = Measuring(self._units, stream, tables, grid, options)
        if self._limits_updates:
            limits = [bucket.limits.max_update_rms for bucket in self._buckets]
            of_tensors = np.repeat(np.array(limits), [len(bucket.params) for bucket in self._buckets])
            found.limit_updates(self._on_device(self._limit_table, of_tensors, stream), self._sizes_there(stream))
        if self._has_caution:
            found.count_agreements(self._sizes_there(stream))
        return found

    def _sizes_there(self, stream: gpu.Stream) -> Tensor:
        return self._on_device(self._size_table, self._sizes, stream)

    def _on_device(self, table: gpu.WordTable, numbers: np.ndarray[Any, Any], stream: gpu.Stream) -> Tensor:
        return table.on_device(numbers.view(np.int64), stream).view(torch.float64)


class Measuring:
    """What a step measures of tensors before it updates them.

    Args:
        units: What the gradients of their units are multiplied with, or None.
        stream: The stream of the step.
        tables: What the kernels read.
        grid: How many programs there are.
        options: What they are launched with.
    """

    def __init__(
        self,
        units: UnitFactors | None,
        stream: gpu.Stream,
        tables: tuple[Any, ...],
        grid: tuple[int],
        options: dict[str, Any],
    ) -> None:
        self._units, self._stream, self._grid, self._options = units, stream, grid, options
        self._tables = *tables, None if units is None else units.table(stream)
        self._measures: list[tuple[Any, tuple[Any, ...], Callable[[], object]]] = []
        self._of_updates: Tensor | None = None
        self._of_steps: Tensor | None = None

    @property
    def scales(self) -> Scales:
        """What the update reads: of units, of quotients, and of steps."""
        return self._tables[-1], self._of_updates, self._of_steps

    def limit_updates(self, limits: Tensor, sizes: Tensor) -> None:
        """Measure what the quotients of each tensor are multiplied with, of so many numbers and with such a limit."""
        scales, words = self._numbers(sizes), self._words(sizes, WORDS)
        self._of_updates = scales
        finish = lambda: scales.copy_(update_scales(words, sizes, limits))  # noqa: E731
        self._measures.append((gpu.kernels().measures.measure_quotients, (words,), finish))

    def count_agreements(self, sizes: Tensor) -> None:
        """Measure what the steps of each tensor, of so many numbers, are multiplied with that agree."""
        scales, counts = self._numbers(sizes), self._words(sizes, 1)
        self._of_steps = scales
        finish = lambda: scales.copy_(agreement_scale(counts[:, 0].double(), sizes, torch))  # noqa: E731
        self._measures.append((gpu.kernels().measures.count_agreements, (self._of_updates, counts), finish))

    def _numbers(self, sizes: Tensor) -> Tensor:
        numbers = torch.empty_like(sizes)
        self._stream.keep(numbers)
        return numbers

    def _words(self, sizes: Tensor, width: int) -> Tensor:
        words = torch.empty(len(sizes), width, dtype=torch.int64, device=sizes.device)
        self._stream.keep(words)
        return words

    def compile(self) -> None:
        """Compile the kernels, so that nothing fails later."""
        for kernel, arguments, _ in self._measures:
            kernel.run(*self._tables, *arguments, grid=self._grid, warmup=True, **self._options)

    def run(self, scaling: gpu.Scaling) -> None:
        """Put everything in line.

        Args:
            scaling: What scales gradients on the device.
        """
        if self._units is not None:
            self._units.set(scaling)
        for kernel, arguments, finish in self._measures:
            arguments[-1].zero_()  # within a graph too, at every replay
            kernel[self._grid](*self._tables, *arguments, **self._options)
            finish()


class UnitFactors:
    """What the gradient of each unit of some tensors is multiplied with (`rmsprop.torch.clipping.units`).

    Args:
        buckets: The buckets of a launch.
    """

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self._buckets = buckets
        memories = [inside(param) for bucket in buckets for param in bucket.params]
        counts = list(map(units_of, memories))
        self._ranges = list(pairwise([0, *accumulate(counts)]))
        self._factors = torch.ones(sum(counts), dtype=torch.float64, device=buckets[0].device)
        sizes = [as_real(each).numel() // max(n, 1) for each, n in zip(memories, counts, strict=True)]
        words = [
            (self._factors.data_ptr() + 8 * first, size) for (first, _), size in zip(self._ranges, sizes, strict=True)
        ]
        self._words, self._table = np.array(words, np.int64), gpu.WordTable()

    def table(self, stream: gpu.Stream) -> Tensor:
        """Return per tensor the address of its factors and the size of its units, on the device."""
        stream.keep(self._factors)
        return self._table.on_device(self._words, stream)

    def set(self, scaling: gpu.Scaling) -> None:
        """Compute the factors of all tensors that take part in the step.

        Args:
            scaling: What scales gradients on the device, beside what the host knows of.
        """
        device, ranges = self._factors.device, iter(self._ranges)
        for bucket in self._buckets:
            scale: Any = bucket.limits.scale
            for value, is_divisor in ((scaling.grad_scale, True), (scaling.factor, False)):
                if value is not None:
                    number = value.to(device, torch.float64, non_blocking=True)
                    scale = scale * (1.0 / number if is_divisor else number)
            for param, size in zip(bucket.params, bucket.batch.sizes, strict=True):
                first, end = next(ranges)
                if size != layout.RESTS and param.grad is not None:
                    limits = bucket.limits._replace(scale=scale)
                    self._factors[first:end].copy_(factors(param, param.grad, limits))
