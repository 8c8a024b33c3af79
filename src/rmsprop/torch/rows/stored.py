"""Some of the numbers of a parameter and its state on the CPU, read and written by NumPy however they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop.codes import BLOCK
from rmsprop.storage import STREAMS, Packing, decode, encode, noise, round_stochastically, split, state_noise
from rmsprop.torch.state.packing import CODES, SCALES
from rmsprop.torch.state.rounding import LOST, RoundingChoice

Array = np.ndarray[Any, Any]


def flat(tensor: Tensor) -> Tensor:
    """Return the real numbers of a contiguous tensor in a row, in the memory where they are."""
    tensor = tensor.detach()
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).view(-1)


class StoredRows:
    """The arrays of the state of a parameter.

    Args:
        state: The state as it is held; its arrays are contiguous.
        packing: What they are packed into.
    """

    def __init__(self, state: Mapping[str, Any], packing: Packing | None) -> None:
        self.names = tuple(name for name in STREAMS if name in state or CODES[name] in state)
        self._packing = packing
        keys = {name: (CODES[name], SCALES[name]) if packing == "8bit" else (name,) for name in self.names}
        self._parts = {name: [flat(state[key]) for key in keys[name]] for name in self.names}

    def in_columns(self, names: Iterable[str]) -> list[Tensor]:
        """Return what is held of arrays in the order of the kernel's tables: all arrays, then the scales of all."""
        columns = zip(*(self._parts[name] for name in names), strict=True)
        return [tensor for column in columns for tensor in column]

    def read(self, index: Array) -> dict[str, Array]:
        """Return numbers in the working precision.

        Args:
            index: Their places, ascending; in codes of 8 bits all of a block.
        """
        if self._packing is None:
            return {name: parts[0].numpy()[index] for name, parts in self._parts.items()}
        if self._packing == "bfloat16":
            return {name: _taken(parts[0], index).float().numpy() for name, parts in self._parts.items()}
        blocks = index[::BLOCK] // BLOCK
        return {
            name: decode(name, (codes.numpy()[index], scales.numpy()[blocks].view(np.uint16)), "8bit")
            for name, (codes, scales) in self._parts.items()
        }

    def write(self, arrays: Mapping[str, Array], index: Array, seed: int, step: int, number: int) -> None:
        """Store new numbers.

        Args:
            arrays: Some of what `read` returned, with other numbers in it.
            index: Their places.
            seed: Chooses the random bits.
            step: The number of the update, counted from 1.
            number: The number of the parameter in the optimizer.
        """
        for name, values in arrays.items():
            if self._packing is None:
                self._parts[name][0].numpy()[index] = values
                continue
            stored = encode(name, values, state_noise(seed, step, number, name, index), self._packing)
            for part, places, bits in zip(self._parts[name], (index, index[::BLOCK] // BLOCK), stored, strict=False):
                _put(part, places, bits)


class StoredParam:
    """The numbers of a parameter.

    Args:
        param: The parameter, contiguous.
        state: Its state as it is held.
        choice: How it is rounded.
    """

    def __init__(self, param: Tensor, state: Mapping[str, Any], choice: RoundingChoice) -> None:
        self._flat, self._seed, self._rounding = flat(param), choice.seed, choice.of(param.dtype)
        self._lost = flat(state[LOST]) if choice.keeps_lost(param.dtype) else None

    def read(self, index: Array) -> Array:
        """Return numbers in the working precision."""
        values = _taken(self._flat, index)
        values = values if values.dtype == torch.float64 else values.float()
        return values.numpy() if self._lost is None else (values + _taken(self._lost, index).float()).numpy()

    def write(self, values: Array, index: Array, step: int, number: int) -> None:
        """Store new numbers, rounded by the bits of an update of the parameter of a number."""
        dtype = str(self._flat.dtype).removeprefix("torch.")
        if self._lost is not None:
            high, low = split(values, dtype)
            _put(self._lost, index, low)
            _put(self._flat, index, high)
        elif self._rounding == "stochastic":
            bits = noise(self._seed, step, number, index)
            _put(self._flat, index, round_stochastically(values, bits, dtype))
        else:
            self._flat[torch.from_numpy(index)] = torch.from_numpy(values).to(self._flat.dtype)


def _taken(tensor: Tensor, index: Array) -> Tensor:
    return tensor[torch.from_numpy(index)]


def _put(tensor: Tensor, index: Array, bits: Array) -> None:
    """Store numbers by their bits."""
    numbers = torch.from_numpy(bits.view(np.int16) if bits.dtype == np.uint16 else bits).view(tensor.dtype)
    tensor[torch.from_numpy(index)] = numbers
