"""State in 16 and 8 bits: how it is held beside a parameter, and how it is read and written where no kernel does it.

In bfloat16 an array of state is held under its own name. In 8 bits there are codes of the parameter's shape, and the
scales of their blocks, which follow each other in the order of the codes' memory. Of a `DTensor` each process has
blocks of its own: those of its shard, with scales that are a plain tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop.averaging import ITERATE
from rmsprop.codes import blocks
from rmsprop.storage import STREAMS, Packing, decode, encode, encode_again, state_noise
from rmsprop.torch.local import inside, is_shard, shard_like
from rmsprop.torch.state.counter import is_shared
from rmsprop.torch.state.rounding import RoundingChoice

ARRAYS = (*STREAMS, ITERATE)  # the names of the arrays of state
# Array of state -> the names of what is held of it in 8 bits.
CODES: Mapping[str, str] = MappingProxyType({name: f"{name}_codes" for name in ARRAYS})
SCALES: Mapping[str, str] = MappingProxyType({name: f"{name}_scales" for name in STREAMS})

_Row = np.ndarray[Any, Any]


def held(state: Mapping[str, Any], name: str) -> Tensor:
    """Return what is held of an array of state with its shape: the array, or its codes.

    Args:
        state: The state of a parameter.
        name: The name of the array.
    """
    tensor: Tensor = state[CODES[name] if CODES[name] in state.keys() else name]  # noqa: SIM118  `in` asks for less
    return tensor


def is_held(state: Mapping[str, Any], name: str) -> bool:
    """Whether a state has an array, in whatever form."""
    return name in state or CODES[name] in state


def unpacked(name: str, codes: Tensor, scales: Tensor) -> Tensor:
    """Return the numbers of an array in 8 bits.

    Args:
        name: The name of the array.
        codes: Its codes, dense.
        scales: The scales of their blocks.

    Returns:
        float32, in the codes' memory order and on their device.
    """
    here = inside(codes)
    numbers = decode(name, (_row(here), _row(scales).view(np.uint16)), "8bit")
    filled = _filled(torch.empty_like(here, dtype=torch.float32), numbers)
    return shard_like(filled, codes) if is_shard(codes) else filled


def packed(name: str, values: Tensor) -> dict[str, Tensor]:
    """Return an array in 8 bits: as it was, if it was in 8 bits before, else each number rounded to the nearest code.

    Args:
        name: The name of the array.
        values: Its numbers, float32.

    Returns:
        The codes and the scales, by the names that they are held under.
    """
    here = inside(values)
    here = torch.empty_like(here, memory_format=torch.preserve_format).copy_(here)  # dense
    codes, scales = encode_again(name, _row(here))
    filled = _filled(torch.empty_like(here, dtype=torch.uint8), codes)
    return {
        CODES[name]: shard_like(filled, values) if is_shard(values) else filled,
        SCALES[name]: torch.from_numpy(scales.view(np.int16)).to(here.device),
    }


def zeros(name: str, param: Tensor) -> dict[str, Tensor]:
    """Return an array of zeros in 8 bits for a parameter, as `packed` does."""
    codes = torch.zeros_like(param, dtype=torch.uint8, memory_format=torch.preserve_format)
    scales = torch.zeros(blocks(inside(codes).numel()), dtype=torch.int16, device=param.device)
    return {CODES[name]: codes, SCALES[name]: scales}


def unpack(state: dict[str, Any]) -> None:
    """Hold arrays of 8 bits in float32."""
    for name in ARRAYS:
        if CODES[name] in state:
            state[name] = unpacked(name, state[CODES[name]], state[SCALES[name]])
            del state[CODES[name]], state[SCALES[name]]


def pack(state: dict[str, Any], rounding: RoundingChoice) -> None:
    """Hold arrays in 16 or 8 bits, rounded to the nearest, but those that other processes work on."""
    for name in ARRAYS:
        if name not in state or is_shared(state[name]):
            continue
        if rounding.packing == "8bit":
            state.update(packed(name, state[name].float()))
            del state[name]
        elif state[name].dtype != torch.bfloat16:
            state[name] = state[name].to(torch.bfloat16)


class PackedState:
    """The packed state of a parameter on the CPU, read and written by NumPy.

    Args:
        state: The state, in 16 or 8 bits.
        names: The names of its arrays.
        packing: Which of the two.
    """

    def __init__(self, state: Mapping[str, Any], names: tuple[str, ...], packing: Packing) -> None:
        self._state, self._names, self._packing = state, names, packing

    def read(self) -> dict[str, Tensor]:
        """Return the arrays in float32."""
        if self._packing == "bfloat16":
            return {name: self._state[name].detach().float() for name in self._names}
        return {name: unpacked(name, *self._parts(name)) for name in self._names}

    def write(self, arrays: Mapping[str, Tensor], seed: int, step: int, number: int) -> None:
        """Keep new numbers.

        Args:
            arrays: What `read` returned, with other numbers in it.
            seed: Chooses the random bits.
            step: The number of the update, counted from 1.
            number: The number of the parameter in the optimizer.
        """
        for name, values in arrays.items():
            row = _row(values)
            bits = state_noise(seed, step, number, name, np.arange(row.size))
            for part, stored in zip(self._parts(name), encode(name, row, bits, self._packing), strict=True):
                _filled(part, stored)

    def _parts(self, name: str) -> list[Tensor]:
        keys = (name,) if self._packing == "bfloat16" else (CODES[name], SCALES[name])
        return [self._state[key].detach() for key in keys]


def _row(tensor: Tensor) -> _Row:
    """Return the numbers of a dense tensor in the order of its memory."""
    return tensor.detach().cpu().as_strided((tensor.numel(),), (1,)).numpy()


def _filled(tensor: Tensor, row: _Row) -> Tensor:
    """Return a dense tensor, filled in the order of its memory with numbers, or their bits, of its width."""
    numbers = torch.from_numpy(row.view(np.int16) if row.dtype == np.uint16 else row)
    tensor.as_strided((tensor.numel(),), (1,)).copy_(numbers.view(tensor.dtype))
    return tensor
