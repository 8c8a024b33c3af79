"""The layers of a model, and the few coordinates of each that stand for all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# So many coordinates place the median of a layer within 2 % of its rank; more would only cost time.
COORDINATES = 512


def as_real(tensor: Tensor) -> Tensor:
    """Return a tensor without its graph, a complex one as pairs of real numbers."""
    detached = tensor.detach()
    return torch.view_as_real(detached.resolve_conj()) if detached.is_complex() else detached


def parameter_names(optimizer: Optimizer, model: nn.Module | Iterable[tuple[str, Tensor]] | None) -> list[str]:
    """Return the names of an optimizer's parameters, in order.

    Args:
        optimizer: The optimizer.
        model: The model or its named parameters. Without it the names are those that the optimizer was given, or
            numbers.

    Returns:
        The names.

    Examples:
        >>> model = nn.Linear(2, 1)
        >>> parameter_names(torch.optim.SGD(model.parameters()), None)
        ['parameter0', 'parameter1']
        >>> parameter_names(torch.optim.SGD(model.parameters()), model)
        ['weight', 'bias']
    """
    named = model.named_parameters() if isinstance(model, nn.Module) else model or ()
    known = {id(parameter): name for name, parameter in named}
    names: list[str] = []
    for group in optimizer.param_groups:
        given = group.get("param_names") or [f"parameter{len(names) + i}" for i in range(len(group["params"]))]
        names += [known.get(id(parameter), name) for parameter, name in zip(group["params"], given, strict=True)]
    return names


def members(optimizer: Optimizer) -> list[tuple[dict[str, Any], Tensor]]:
    """Return an optimizer's parameters with their groups, in order."""
    return [(group, parameter) for group in optimizer.param_groups for parameter in group["params"]]


@dataclass(frozen=True)
class Layer:
    """Parameters that belong together: the weight and the bias of a linear layer, say.

    Args:
        name: Its name in the model; of a parameter without a module, the parameter's.
        size: The number of its parameters, in real numbers.
        dtype: Of which kind they are, such as ``"float32"``.
        weights: Whether one of its tensors has two dimensions or more.
    """

    name: str
    size: int
    dtype: str
    weights: bool


class Sampling:
    """Evenly spaced coordinates of all parameters of an optimizer, as a matrix with a row per layer.

    Short rows are filled up with NaN. No tensor of the model is kept.

    Args:
        parameters: The parameters.
        names: A name for each.
    """

    def __init__(self, parameters: Sequence[Tensor], names: Sequence[str]) -> None:
        """See the class."""
        self.shape = shape_of(parameters)
        owners = [name.rpartition(".")[0] or name for name in names]
        layers = list(dict.fromkeys(owners))
        self.layer_of = [layers.index(owner) for owner in owners]
        self.are_weights = [parameter.ndim > 1 for parameter in parameters]
        sizes = [_size(parameter) for parameter in parameters]
        total = [0] * len(layers)
        for size, of in zip(sizes, self.layer_of, strict=True):
            total[of] += size
        self._strides = [_stride(size, total[of]) for size, of in zip(sizes, self.layer_of, strict=True)]
        self.counts = [-(-size // stride) for size, stride in zip(sizes, self._strides, strict=True)]
        self._index = _index(self.counts, self.layer_of, len(layers))
        self.layers = [
            Layer(
                name,
                total[i],
                ", ".join(dict.fromkeys(str(p.dtype)[6:] for p, of in self._with_layer(parameters) if of == i)),
                any(weights for weights, of in zip(self.are_weights, self.layer_of, strict=True) if of == i),
            )
            for i, name in enumerate(layers)
        ]

    def _with_layer(self, parameters: Sequence[Tensor]) -> list[tuple[Tensor, int]]:
        return list(zip(parameters, self.layer_of, strict=True))

    def take(self, tensors: Sequence[Tensor | None]) -> Tensor:
        """Return the coordinates of one tensor per parameter.

        Args:
            tensors: Tensors like the parameters; None, and sparse ones, have no coordinates.

        Returns:
            A vector, in the order of the parameters, with NaN for what there is not; on the CPU if they are on
            several devices.
        """
        pieces = [
            None if tensor is None or tensor.layout != torch.strided else as_real(tensor).reshape(-1)[::stride]
            for tensor, stride in zip(tensors, self._strides, strict=True)
        ]
        devices = {piece.device for piece in pieces if piece is not None}
        device = devices.pop() if len(devices) == 1 else torch.device("cpu")
        dtype = torch.float32 if device.type == "mps" else torch.float64  # where there is none of 64 bits
        filled = (
            torch.full((count,), math.nan, dtype=dtype, device=device) if piece is None else piece.to(device, dtype)
            for piece, count in zip(pieces, self.counts, strict=True)
        )
        return torch.cat(list(filled))

    def spread(self, values: Sequence[float], like: Tensor) -> Tensor:
        """Return a vector of coordinates from one number per parameter.

        Args:
            values: The numbers.
            like: A vector that `take` returned.

        Returns:
            The vector.
        """
        each = torch.tensor(values, dtype=like.dtype, device="cpu")
        return each.repeat_interleave(torch.tensor(self.counts, device="cpu")).to(like.device)

    def by_layer(self, vectors: Sequence[Tensor]) -> Tensor:
        """Return vectors of coordinates as matrices with a row per layer.

        Args:
            vectors: The vectors.

        Returns:
            The matrices, their rows filled up with NaN.
        """
        stacked = torch.stack(list(vectors))
        filled = torch.cat([stacked, stacked.new_full((len(stacked), 1), math.nan)], dim=1)
        return filled[:, self._index.to(filled.device)]


def shape_of(parameters: Sequence[Tensor]) -> tuple[object, ...]:
    """Return what tells whether a sampling still fits: how many parameters there are, and how large they are."""
    return tuple(parameter.shape for parameter in parameters)


def _size(parameter: Tensor) -> int:
    return parameter.numel() * (2 if parameter.is_complex() else 1)


def _stride(size: int, layer_size: int) -> int:
    """Return a stride without a common divisor with the size, lest it takes the same column of every row."""
    stride = max(1, math.ceil(layer_size / COORDINATES))
    while stride > 1 and math.gcd(stride, size) > 1:
        stride += 1
    return stride


def _index(counts: Sequence[int], layer_of: Sequence[int], layers: int) -> Tensor:
    rows: list[list[int]] = [[] for _ in range(layers)]
    start = 0
    for count, of in zip(counts, layer_of, strict=True):
        rows[of] += range(start, start + count)
        start += count
    width = max((len(row) for row in rows), default=0)
    return torch.tensor([row + [start] * (width - len(row)) for row in rows], device="cpu")
