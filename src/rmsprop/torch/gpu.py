"""The Triton kernel on GPU tensors: the tables that it reads, and its launches.

One launch updates all parameters that share a device, a storage type and the options that decide which code runs; with
``caution`` another one before it counts what agrees. Everything else, such as learning rates and weight decays, the
kernels read from tables on the device. Before each step the addresses and numbers are compared with those on the
device, and copied there if they differ, from pinned memory. Nothing in a step waits for the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import layout
from rmsprop.rule import Rule
from rmsprop.storage import Packing, Rounding
from rmsprop.update_numbers import shares

if TYPE_CHECKING:
    from rmsprop.torch.bucket import Bucket

_Words = np.ndarray[Any, Any]
_WORD_DTYPES = {4: torch.int32, 8: torch.int64}  # by their bytes
# Arguments of the update that counting has no use for.
_FOR_UPDATES_ALONE = ("MOMENTUM", "CAUTION", "PACKING")
# Programs of a launch, but for one more per tensor. They find their work in a table, which stays below 256 kB.
MOST_PROGRAMS = 65536


@cache
def kernels() -> Any:
    """Return the package of the Triton kernels."""
    from rmsprop.torch import triton  # at the first launch: Triton may be missing, and takes long to load

    return triton


@dataclass(frozen=True)
class Scaling:
    """What ``torch.amp.GradScaler`` hands to a step, and clipping, as far as the kernel reads it on the device.

    Args:
        grad_scale: What gradients are to be divided by. Default None: nothing.
        found_inf: Anything but 0 means that nothing may change. Default None: it may.
        factor: What gradients are multiplied with, beside that, so that they are clipped. Default None: nothing.
    """

    grad_scale: Tensor | None = None
    found_inf: Tensor | None = None
    factor: Tensor | None = None

    def counted(self, device: torch.device) -> Tensor:
        """Return by how much step counters on a device rise: 1 unless ``found_inf`` says that nothing may change."""
        assert self.found_inf is not None
        return self.found_inf.to(device, non_blocking=True).squeeze() == 0


NO_SCALING = Scaling()


class Stream:
    """The stream on which a step's work is put in line.

    Args:
        device: The device.
        kept: Where to put what a graph will read again, if the stream is being captured.
    """

    def __init__(self, device: torch.device, kept: list[Any]) -> None:
        on_gpu = device.type != "cpu"
        self.device = device
        self.number = torch.cuda.current_stream(device).cuda_stream if on_gpu else 0
        self.kept = kept if on_gpu and torch.cuda.is_current_stream_capturing() else None

    def room_for(self, words: _Words) -> Tensor:
        """Return memory from which a copy to the device can be made without waiting for it.

        torch's allocator hands pinned memory out again only after the copies that were put in line have been made.
        """
        return torch.empty(words.shape, dtype=_WORD_DTYPES[words.dtype.itemsize], pin_memory=self.device.type != "cpu")

    def send(self, words: _Words, room: Tensor | None = None) -> Tensor:
        """Copy an array to the device, by way of some memory that `room_for` has returned for one of its size."""
        host = (self.room_for(words) if room is None else room).copy_(torch.from_numpy(words))
        sent = host.to(self.device, non_blocking=True)
        self.keep(host, sent)
        return sent

    def keep(self, *tensors: Tensor) -> None:
        """Keep what a graph will read again, if the stream is being captured."""
        if self.kept is not None:
            self.kept += tensors


class WordTable:
    """Words for the kernel, and the copy of them on the device."""

    def __init__(self) -> None:
        self._words: _Words = np.zeros(0)
        self._sent: Tensor | None = None
        self._stream = 0
        self._room_in_capture: Tensor | None = None

    def on_device(self, words: _Words, stream: Stream) -> Tensor:
        """Return a copy on the device, a new one only if the words have changed.

        A copy that is captured is made when the graph runs, so no other step may rely on it. One made before is good
        enough for a graph, which then needs it forever. Elsewhere memory is used on the stream that it belongs to.

        Args:
            words: The words, which will not be changed. Always as many.
            stream: The stream of this step.
        """
        same = words is self._words or np.array_equal(words, self._words)
        sent = self._sent if same else None
        if stream.kept is not None:
            if sent is None:
                room, self._room_in_capture = self._room_in_capture, None
                return stream.send(words, room)
            stream.keep(sent)
            return sent
        if sent is None or stream.number != self._stream:
            self._words, self._stream = words, stream.number
            self._sent = sent = stream.send(words)
        if self._room_in_capture is None:
            # Taken while nothing is captured: PyTorch 2.10 looks for free pinned memory by asking for events, at which
            # a capture fails.
            self._room_in_capture = stream.room_for(words)
        return sent


class Launch:
    """Buckets that are updated together.

    Args:
        buckets: The buckets, bound, all of one device, one storage type and one `code`.
    """

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self._buckets = buckets
        self._device = buckets[0].device
        tables = kernels().tables
        self._options = {
            **tables.types(buckets[0].batch.dtype, buckets[0].batch.packing),
            **_code_of(buckets[0]),
            **block_options(self._device),
        }
        self._count = sum(len(bucket.params) for bucket in buckets)
        self._counts_agreements = buckets[0].has_caution
        self._takes_chances = takes_chances(buckets[0].batch.rounding, buckets[0].batch.packing)
        # Where steps are counted on the device, each tensor has numbers of its own: nobody knows which are equal.
        heights = [len(bucket.params) if _counts_there(bucket) else 1 for bucket in buckets]
        ends = np.cumsum(heights).tolist()
        self._places = [slice(end - height, end) for end, height in zip(ends, heights, strict=True)]
        self._rules = np.zeros((ends[-1], tables.WORDS_PER_RULE.value), dtype=np.int64)
        self._grads = [bucket.batch.column("grads") for bucket in buckets]
        self._compiled: set[Any] = set()
        self._layout: list[bytes] = []
        self._rows: _Words = np.zeros(0)
        self._owners: _Words = np.zeros(0)
        self._span = 1
        self._row_table, self._owner_table, self._moving_table = WordTable(), WordTable(), WordTable()

    @property
    def has_work(self) -> bool:
        """Whether some tensor takes part in the step."""
        return any(size != layout.RESTS for bucket in self._buckets for size in bucket.batch.sizes)

    def prepared(self, scaling: Scaling, kept: list[Any]) -> Callable[[], None]:
        """Return the update of all buckets, whose numbers are set, as a call that puts it in line.

        What may fail, because there is no memory or the kernel does not compile, fails here, where nothing has changed.

        Args:
            scaling: What the kernel reads on the device.
            kept: If the stream is being captured, what the graph will need is added here.

        Returns:
            The call, for the device's current stream.
        """
        update = kernels().kernel.update
        with current(self._device):
            stream = Stream(self._device, kept)
            stream.keep(*(copy for bucket in self._buckets for copy in bucket.dense_copies))
            self._place()
            rows = self._row_table.on_device(self._rows, stream)
            owners = self._owner_table.on_device(self._owners, stream)
            lrs = [here(bucket.device_lr, self._device) for bucket in self._buckets]
            moving = self._moving_table.on_device(self._moving_words(lrs), stream)
            rules, grads = moving[: self._rules.size], moving[self._rules.size :]
            steps = moving[-self._count :] if self._takes_chances else None
            scalars = [here(value, self._device) for value in (scaling.grad_scale, scaling.found_inf, scaling.factor)]
            grid, tables = (len(self._owners),), (rows, grads, rules, owners, self._span, *scalars)
            count, agreements = self._counting(tables, grid, stream)
            arguments = (*tables, agreements, steps)
            kind = tuple(None if value is None else value.dtype for value in scalars)
            if kind not in self._compiled:
                update.run(*arguments, grid=grid, warmup=True, **self._options)
                count(warmup=True)
                self._compiled.add(kind)

        def launch() -> None:
            with current(self._device):
                self._set_gains(rules)
                self._set_decays(rules, lrs)
                if len(self._owners):
                    count(warmup=False)
                    update[grid](*arguments, **self._options)
            lrs.clear()  # the kernel may read a copy, whose memory is free again once the launch is in line

        return launch

    def _counting(
        self, tables: tuple[Any, ...], grid: tuple[int], stream: Stream
    ) -> tuple[Callable[..., None], Tensor | None]:
        """Return what counts the steps that agree with their gradients, and where it puts the counts, one per tensor.

        Args:
            tables: What the kernel reads, as `update` does.
            grid: How many programs there are.
            stream: The stream of this step.
        """
        if not self._counts_agreements:
            return lambda warmup: None, None
        kernel = kernels().kernel.count_agreements
        agreements = torch.empty(self._count, dtype=torch.int64, device=self._device)
        stream.keep(agreements)
        options = {name: value for name, value in self._options.items() if name not in _FOR_UPDATES_ALONE}

        def count(warmup: bool) -> None:
            if warmup:
                kernel.run(*tables, agreements, grid=grid, warmup=True, **options)
            else:
                agreements.zero_()  # within a graph too, at every replay
                kernel[grid](*tables, agreements, **options)

        return count, agreements

    def _place(self) -> None:
        """Lay out the table of tensors and share the work among programs, if this is new or other tensors take part."""
        layout = [bucket.batch.sizes.tobytes() for bucket in self._buckets]
        if layout == self._layout:
            return
        self._layout = layout
        tables = kernels().tables
        rows = np.zeros((self._count, tables.WORDS_PER_TENSOR.value), dtype=np.int64)
        end = 0
        for place, bucket in zip(self._places, self._buckets, strict=True):
            begin, end = end, end + len(bucket.params)
            rows[begin:end, 0] = bucket.batch.column("params")
            for column, name in enumerate(("spreads", "means", "buffers"), 1):
                rows[begin:end, column] = bucket.batch.column(name)
            rows[begin:end, 4] = np.maximum(bucket.batch.sizes, 0)
            rows[begin:end, 6] = np.arange(place.start, place.stop)
            rows[begin:end, tables.LOST.value :] = bucket.words_for_rounding()
        blocks = -(rows[:, 4] // -tables.BLOCK)
        self._span = max(1, -(int(blocks.sum()) // -MOST_PROGRAMS))
        programs = -(blocks // -self._span)
        rows[:, 5] = np.cumsum(programs) - programs
        self._rows, self._owners = rows, np.repeat(np.arange(self._count, dtype=np.int32), programs)
        self._row_table, self._owner_table = WordTable(), WordTable()  # of other sizes

    def _moving_words(self, lrs: Sequence[Tensor | None]) -> _Words:
        """Return what may differ from step to step: numbers of rules, addresses of gradients, numbers of updates."""
        numbers = kernels().tables.LR_ADDRESS.value
        for place, bucket, lr in zip(self._places, self._buckets, lrs, strict=True):
            rows = self._rules[place]
            rows[:, :numbers] = bucket.batch.numbers
            rows[:, numbers:] = 0
            if lr is not None:
                rows[:, numbers : numbers + 2] = lr.data_ptr(), lr.element_size()
        words = [self._rules.reshape(-1), *self._grads]
        if self._takes_chances:
            pad = np.zeros(self._count % 2, dtype=np.int64)  # else another kernel would be compiled for odd counts
            words += [pad, *(bucket.next_steps() for bucket in self._buckets)]
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
        key = bucket.device, bucket.batch.dtype, *_code_of(bucket).values()
        together.setdefault(key, []).append(bucket)
    return [Launch(members) for members in together.values()]


def _code_of(bucket: Bucket) -> dict[str, bool | str]:
    return code(bucket.rule, bucket.batch.rounding, bucket.batch.packing)


def takes_chances(rounding: Rounding, packing: Packing | None) -> bool:
    """Whether anything is rounded by random bits."""
    return rounding == "stochastic" or packing is not None


def code(rule: Rule, rounding: Rounding, packing: Packing | None = None) -> dict[str, bool | str]:
    """Return the choices that the kernel is compiled for: which arrays there are, and how they are stored.

    Args:
        rule: The rule.
        rounding: How parameters of 16 bits are rounded.
        packing: What state is packed into. Default None: it is not.

    Returns:
        Values of arguments of the kernel, by their names.
    """
    return {
        "CENTERED": rule.centered,
        "MOMENTUM": rule.has_momentum,
        "CAUTION": rule.caution,
        "ROUNDING": rounding,
        "PACKING": packing or "none",
    }


def block_size() -> int:
    """Return how many elements a program works on at a time."""
    block: int = kernels().tables.BLOCK
    return block


def block_options(device: torch.device, most: int | None = None) -> dict[str, Any]:
    """Return what a kernel that reads blocks on a device is launched with.

    Args:
        device: The device.
        most: How many elements a program has at most. Default: as many as there are.
    """
    block, warp_size = block_size(), _warp_size(device)
    if most is not None:
        enough = 1 << max(0, most - 1).bit_length()
        block = min(block, max(enough, kernels().tables.least_block(warp_size)))
    return {"BLOCK": block, **kernels().tables.launch_options(warp_size, block)}


def stored_type(dtype: str) -> Any:
    """Return the type of gradients of a dtype, a key of `rmsprop.layout.DTYPES`, for a kernel."""
    return kernels().tables.types(dtype)["STORED"]


def _warp_size(device: torch.device) -> int:
    return 32 if device.type == "cpu" else int(torch.cuda.get_device_properties(device).warp_size)


def current(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which a device is the current one."""
    return nullcontext() if device.type == "cpu" else torch.cuda.device(device)


def here(value: Tensor | None, device: torch.device) -> Tensor | None:
    """Return a number on a device, in a type that the kernel reads; without waiting for it."""
    if value is None:
        return None
    dtype = value.dtype if value.dtype in (torch.float32, torch.float64) else torch.float32
    return value.to(device, dtype, non_blocking=True)
