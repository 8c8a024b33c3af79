"""Clipping on GPU tensors: the norm of the gradients stays on the device, and so does what is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rmsprop.clipping import LIMBS, WORDS
from rmsprop.torch import gpu

if TYPE_CHECKING:
    from rmsprop.torch.bucket import Bucket

_PLACES = 1 << (LIMBS - 1).bit_length()


@dataclass(frozen=True)
class Found:
    """What a step on a GPU knows of its gradients' norm, all on the device.

    Args:
        norm: The norm.
        factor: What gradients are multiplied with.
        found_inf: Anything but 0 if the step must not happen.
    """

    norm: Tensor
    factor: Tensor
    found_inf: Tensor


class SquaresLaunch:
    """The gradients of buckets that are read together.

    Args:
        buckets: The buckets, bound, all of one device and one storage type.
    """

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self._buckets = buckets
        self.device = buckets[0].device
        self._stored = gpu.stored_type(buckets[0].batch.dtype)
        self._row_table, self._owner_table, self._grad_table = gpu.WordTable(), gpu.WordTable(), gpu.WordTable()
        self._sizes: bytes = b""

    def add_to(self, words: Tensor, kept: list[Any]) -> None:
        """Add the squares of all gradients that take part in the step.

        Args:
            words: The sum.
            kept: If the stream is being captured, what the graph will need is added here.
        """
        stream = gpu.Stream(self.device, kept)
        self._share()
        if not len(self._owners):
            return
        rows = self._row_table.on_device(self._rows, stream)
        owners = self._owner_table.on_device(self._owners, stream)
        addresses = np.concatenate([bucket.batch.column("grads") for bucket in self._buckets])
        grads = self._grad_table.on_device(addresses, stream)
        gpu.kernels().norm.add_squares[(len(self._owners),)](
            rows, grads, owners, self._span, words, STORED=self._stored, **gpu.block_options(self.device)
        )

    def _share(self) -> None:
        """Share the work among programs, if this is new or other tensors take part."""
        sizes = b"".join(bucket.batch.sizes.tobytes() for bucket in self._buckets)
        if sizes == self._sizes:
            return
        self._sizes = sizes
        numbers = np.maximum(np.frombuffer(sizes, np.int64), 0)
        blocks = -(numbers // -gpu.block_size())
        # A program adds to the sum once: few programs that read much wait less for each other.
        self._span = max(_LEAST_SPAN, -(int(blocks.sum()) // -gpu.MOST_PROGRAMS))
        programs = -(blocks // -self._span)
        self._rows = np.stack([numbers, np.cumsum(programs) - programs], axis=1)
        self._owners = np.repeat(np.arange(len(numbers), dtype=np.int32), programs)
        self._row_table, self._owner_table = gpu.WordTable(), gpu.WordTable()


_LEAST_SPAN = 8


def launches(buckets: Sequence[Bucket]) -> list[SquaresLaunch]:
    """Return the launches that read the gradients of some buckets: as few as possible."""
    together: dict[Any, list[Bucket]] = {}
    for bucket in buckets:
        together.setdefault((bucket.device, bucket.batch.dtype), []).append(bucket)
    return [SquaresLaunch(alike) for alike in together.values()]


def squares(made: Sequence[SquaresLaunch], device: torch.device, kept: list[Any]) -> Tensor:
    """Return the sum of the squares of gradients on a device.

    Args:
        made: What `launches` returned for their buckets.
        device: The device.
        kept: If the stream is being captured, what the graph will need is added here.
    """
    with gpu.current(device):
        words = torch.zeros(WORDS, dtype=torch.int64, device=device)
        gpu.Stream(device, kept).keep(words)
        for launch in made:
            launch.add_to(words, kept)
    return words


def finish(
    words: Tensor, max_norm: float, scale: float, scaling: gpu.Scaling, skipped: Tensor, kept: list[Any]
) -> Found:
    """Return what a step needs to know of its gradients' norm.

    Args:
        words: The sum of their squares.
        max_norm: The largest norm that is left as it is.
        scale: What gradients are multiplied with, as far as the host knows it.
        scaling: What of that is known on the device.
        skipped: How many steps were skipped, counted on here.
        kept: If the stream is being captured, what the graph will need is added here.
    """
    device = words.device
    with gpu.current(device):
        numbers = torch.empty(2, dtype=torch.float64, device=device)
        found = torch.empty((), dtype=torch.float32, device=device)
        scalars = [gpu.here(value, device) for value in (scaling.grad_scale, scaling.found_inf)]
        gpu.Stream(device, kept).keep(words, numbers, found, skipped, *(each for each in scalars if each is not None))
        gpu.kernels().norm.finish[(1,)](
            words, _bits(max_norm), _bits(scale), *scalars, skipped, numbers, found, PLACES=_PLACES
        )
    return Found(numbers[0], numbers[1], found)


def _bits(number: float) -> int:
    return int(np.float64(number).view(np.int64))  # a number would arrive as float32
