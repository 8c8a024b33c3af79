"""What launches of the Triton kernels have in common: streams, tables on the device, and options.

Everything that differs from step to step, such as learning rates and addresses of gradients, the kernels read from
tables on the device. Before each step these are compared with those on the device, and copied there if they differ,
from pinned memory. Nothing waits for the GPU.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop.rule import Rule
from rmsprop.storage import Packing, Rounding

_Words = np.ndarray[Any, Any]
_WORD_DTYPES = {4: torch.int32, 8: torch.int64}  # by their bytes
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
        on_gpu = self.device.type != "cpu"
        return torch.empty(words.shape, dtype=_WORD_DTYPES[words.dtype.itemsize], device="cpu", pin_memory=on_gpu)

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


def takes_chances(rounding: Rounding, packing: Packing | None) -> bool:
    """Whether anything is rounded by random bits."""
    return rounding == "stochastic" or packing is not None


def code(
    rule: Rule, rounding: Rounding, packing: Packing | None = None, averages: bool = False
) -> dict[str, bool | str]:
    """Return the choices that the kernel is compiled for: which arrays there are, and how they are stored.

    Args:
        rule: The rule.
        rounding: How parameters of 16 bits are rounded.
        packing: What state is packed into. Default None: it is not.
        averages: Whether parameters average the iterates of the rule. Default False.

    Returns:
        Values of arguments of the kernel, by their names.
    """
    return {
        "CENTERED": rule.centered,
        "BUFFER": "iterate" if averages else "momentum" if rule.has_momentum else "none",
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
