"""The launches of a step on GPU tensors, and the table of tensors that they read.

One launch updates all parameters that share a device, a storage type and the options that decide which code runs. What
has to be known of whole tensors, `gpu_scales` measures before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import layout
from rmsprop.averaging import ITERATE
from rmsprop.torch import gpu
from rmsprop.torch.gpu_scales import TensorScales
from rmsprop.update_numbers import shares

if TYPE_CHECKING:
    from rmsprop.torch.bucket import Bucket

Words = np.ndarray[Any, Any]


class Launch:
    """Buckets that are updated together.

    Args:
        buckets: The buckets, bound, all of one device, one storage type and one `gpu.code`, and scaled alike.
    """

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self._buckets = buckets
        self._device = buckets[0].device
        tables = gpu.kernels().tables
        self._options = {
            **tables.types(buckets[0].batch.dtype, buckets[0].batch.packing),
            **_code_of(buckets[0]),
            **gpu.block_options(self._device),
        }
        self._count = sum(len(bucket.params) for bucket in buckets)
        self._scales = TensorScales(buckets)
        self._takes_chances = gpu.takes_chances(buckets[0].batch.rounding, buckets[0].batch.packing)
        # Where steps are counted on the device, each tensor has numbers of its own: nobody knows which are equal.
        heights = [len(bucket.params) if _counts_there(bucket) else 1 for bucket in buckets]
        ends = np.cumsum(heights).tolist()
        self._places = [slice(end - height, end) for end, height in zip(ends, heights, strict=True)]
        self._rules = np.zeros((ends[-1], tables.WORDS_PER_RULE.value), dtype=np.int64)
        self._grads = [bucket.batch.column("grads") for bucket in buckets]
        self._compiled: set[Any] = set()
        self._layout: list[bytes] = []
        self._rows: Words = np.zeros(0)
        self._owners: Words = np.zeros(0)
        self._span = 1
        self._row_table, self._owner_table, self._moving_table = gpu.WordTable(), gpu.WordTable(), gpu.WordTable()

    @property
    def has_work(self) -> bool:
        """Whether some tensor takes part in the step."""
        return any(size != layout.RESTS for bucket in self._buckets for size in bucket.batch.sizes)

    def prepared(self, scaling: gpu.Scaling, kept: list[Any]) -> Callable[[], None]:
        """Return the update of all buckets, whose numbers are set, as a call that puts it in line.

        What may fail, because there is no memory or the kernel does not compile, fails here, where nothing has changed.

        Args:
            scaling: What the kernel reads on the device.
            kept: If the stream is being captured, what the graph will need is added here.

        Returns:
            The call, for the device's current stream.
        """
        update = gpu.kernels().kernel.update
        with gpu.current(self._device):
            stream = gpu.Stream(self._device, kept)
            stream.keep(*(copy for bucket in self._buckets for copy in bucket.copies.all))
            self._place()
            rows = self._row_table.on_device(self._rows, stream)
            owners = self._owner_table.on_device(self._owners, stream)
            lrs = [gpu.here(bucket.device_lr, self._device) for bucket in self._buckets]
            moving = self._moving_table.on_device(self._moving_words(lrs), stream)
            rules, grads = moving[: self._rules.size], moving[self._rules.size :]
            steps = moving[-self._count :] if self._takes_chances else None
            scalars = [
                gpu.here(value, self._device) for value in (scaling.grad_scale, scaling.found_inf, scaling.factor)
            ]
            grid, tables = (len(self._owners),), (rows, grads, rules, owners, self._span, *scalars)
            measuring = self._scales.prepared(tables, grid, stream, self._options)
            arguments = (*tables, *measuring.scales, steps)
            kind = tuple(None if value is None else value.dtype for value in scalars)
            if kind not in self._compiled:
                update.run(*arguments, grid=grid, warmup=True, **self._options)
                measuring.compile()
                self._compiled.add(kind)

        def launch() -> None:
            with gpu.current(self._device):
                self._set_gains(rules)
                self._set_decays(rules, lrs)
                if len(self._owners):
                    measuring.run(scaling)
                    update[grid](*arguments, **self._options)
            lrs.clear()  # the kernel may read a copy, whose memory is free again once the launch is in line

        return launch

    def _place(self) -> None:
        """Lay out the table of tensors and share the work among programs, if this is new or other tensors take part."""
        layout = [bucket.batch.sizes.tobytes() for bucket in self._buckets]
        if layout == self._layout:
            return
        self._layout = layout
        tables = gpu.kernels().tables
        rows = np.zeros((self._count, tables.WORDS_PER_TENSOR.value), dtype=np.int64)
        end = 0
        for place, bucket in zip(self._places, self._buckets, strict=True):
            begin, end = end, end + len(bucket.params)
            rows[begin:end, 0] = bucket.batch.column("params")
            for column, name in enumerate(("spreads", "means", "buffers"), 1):
                rows[begin:end, column] = bucket.batch.column(name)
            rows[begin:end, 4] = np.maximum(bucket.batch.sizes, 0)
            rows[begin:end, 6] = np.arange(place.start, place.stop)
            rows[begin:end, tables.LOST.value :] = _words_for_rounding(bucket)
        blocks = -(rows[:, 4] // -tables.BLOCK)
        self._span = max(1, -(int(blocks.sum()) // -gpu.MOST_PROGRAMS))
        programs = -(blocks // -self._span)
        rows[:, 5] = np.cumsum(programs) - programs
        self._rows, self._owners = rows, np.repeat(np.arange(self._count, dtype=np.int32), programs)
        self._row_table, self._owner_table = gpu.WordTable(), gpu.WordTable()  # of other sizes

    def _moving_words(self, lrs: Sequence[Tensor | None]) -> Words:
        """Return what may differ from step to step: numbers of rules, addresses of gradients, numbers of updates."""
        numbers = gpu.kernels().tables.LR_ADDRESS.value
        for place, bucket, lr in zip(self._places, self._buckets, lrs, strict=True):
            rows = self._rules[place]
            rows[:, :numbers] = bucket.batch.numbers
            rows[:, numbers:] = 0
            if lr is not None:
                rows[:, numbers : numbers + 2] = lr.data_ptr(), lr.element_size()
        words = [self._rules.reshape(-1), *self._grads]
        if self._takes_chances:
            pad = np.zeros(self._count % 2, dtype=np.int64)  # else another kernel would be compiled for odd counts
            words += [pad, *(_next_steps(bucket) for bucket in self._buckets)]
        return np.concatenate(words)

    def _set_gains(self, rules: Tensor) -> None:
        """Compute the numbers that depend on counts that are on the device."""
        numbers = rules.view(torch.float64).view(len(self._rules), -1)
        for place, bucket in zip(self._places, self._buckets, strict=True):
            if _counts_there(bucket):
                counts = torch.stack([state.counter for state in bucket.states]).double().flatten()
                for number, share in shares(bucket.rule, counts, torch).items():
                    if isinstance(share, Tensor):
                        numbers[place, layout.offset(number) // 8].copy_(share)

    def _set_decays(self, rules: Tensor, lrs: Sequence[Tensor | None]) -> None:
        """Compute weight decays that depend on learning rates that are on the device."""
        numbers = rules.view(torch.float64).view(len(self._rules), -1)
        for place, bucket, lr in zip(self._places, self._buckets, lrs, strict=True):
            if lr is not None and bucket.rule.corrects_decay:
                numbers[place, layout.offset("weight_decay") // 8] = bucket.rule.decay_at(lr.squeeze().double())


def _words_for_rounding(bucket: Bucket) -> Words:
    """Return what the kernel reads per tensor in order to store it, in the order of its table."""
    words = np.zeros((len(bucket.params), 11), dtype=np.int64)
    words[:, 0] = bucket.batch.column("lost")
    if bucket.places:
        words[:, 1] = np.uint64(bucket.seed).astype(np.int64)
        words[:, 2:6] = bucket.places
    if bucket.places and bucket.counts_on_device:
        words[:, 6] = [state.counter.data_ptr() for state in bucket.states]
        words[:, 7] = [state.counter.element_size() for state in bucket.states]
    for column, name in enumerate(("spread_scales", "mean_scales", "buffer_scales"), 8):
        words[:, column] = bucket.batch.column(name)
    return words


def _next_steps(bucket: Bucket) -> Words:
    """Return the number of each tensor's next update, 0 where a counter on the device will know it."""
    if bucket.counts_on_device:
        return np.zeros(len(bucket.params), dtype=np.int64)
    return np.array([state.counter.item() + 1 for state in bucket.states]).astype(np.int64)


def _counts_there(bucket: Bucket) -> bool:
    return bucket.rule.depends_on_step and bucket.counts_on_device


def launches(buckets: Iterable[Bucket]) -> list[Launch]:
    """Return the launches that update some buckets: as few as possible.

    Args:
        buckets: The buckets, bound.

    Returns:
        The launches.
    """
    together: dict[Any, list[Bucket]] = {}
    for bucket in buckets:
        scaled = bucket.has_caution, bucket.scales.limits_updates, bucket.scales.clips_units
        key = bucket.device, bucket.batch.dtype, *scaled, *_code_of(bucket).values()
        together.setdefault(key, []).append(bucket)
    return [Launch(members) for members in together.values()]


def _code_of(bucket: Bucket) -> dict[str, bool | str]:
    averages = ITERATE in bucket.batch.state_columns
    return gpu.code(bucket.rule, bucket.batch.rounding, bucket.batch.packing, averages)
