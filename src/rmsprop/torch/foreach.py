"""Lists of tensors that are computed with as if they were one: arithmetic on them calls torch's foreach operations.

`rmsprop.reference.apply` then updates many parameters with one call per operation, which spares a device that has no
kernel of its own many launches. It stays the only place where the update is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class TensorList:
    """Tensors under one name. Numbers and 0-d tensors that they meet meet each of them.

    Args:
        tensors: The tensors, of one device and one dtype.

    Examples:
        >>> (2.0 * TensorList([torch.ones(1), torch.ones(2)]) + 1.0).tensors
        [tensor([3.]), tensor([3., 3.])]
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = list(tensors)

    def __add__(self, other: Any) -> TensorList:
        """Return the sums."""
        return TensorList(torch._foreach_add(self.tensors, _inside(other)))

    def __mul__(self, other: Any) -> TensorList:
        """Return the products."""
        return TensorList(torch._foreach_mul(self.tensors, _inside(other)))

    __radd__, __rmul__ = __add__, __mul__

    def __sub__(self, other: TensorList) -> TensorList:
        """Return the differences."""
        return TensorList(torch._foreach_sub(self.tensors, other.tensors))

    def __truediv__(self, other: TensorList) -> TensorList:
        """Return the quotients."""
        return TensorList(torch._foreach_div(self.tensors, other.tensors))

    # torch has no foreach operations for conditions: they are those of all elements in a row.

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        """Return where the elements, in a row, are equal to a number."""
        return torch.eq(self.in_a_row(), other)

    def __lt__(self, other: Any) -> Tensor:
        """Return where the elements, in a row, are smaller than a number."""
        return torch.lt(self.in_a_row(), other)

    def __gt__(self, other: Any) -> Tensor:
        """Return where the elements, in a row, are larger than a number."""
        return torch.gt(self.in_a_row(), other)

    def in_a_row(self) -> Tensor:
        """Return all elements of all tensors, one after the other."""
        return torch.cat([tensor.reshape(-1) for tensor in self.tensors])

    def shaped(self, row: Tensor) -> TensorList:
        """Return elements that stand in a row as tensors of the shapes of these.

        Args:
            row: As many elements as these tensors have.

        Returns:
            The tensors, which share the row's memory.
        """
        parts = torch.split(row, [tensor.numel() for tensor in self.tensors])
        return TensorList([part.view(tensor.shape) for part, tensor in zip(parts, self.tensors, strict=True)])

    __hash__ = None  # type: ignore[assignment]


def _inside(value: Any) -> Any:
    return value.tensors if isinstance(value, TensorList) else value


class Library:
    """The functions of ``torch`` that `rmsprop.reference.apply` needs, on `TensorList`, numbers and 0-d tensors."""

    log, maximum, expm1 = torch.log, torch.maximum, torch.expm1

    @staticmethod
    def sqrt(x: TensorList) -> TensorList:
        """Return the square roots."""
        return TensorList(torch._foreach_sqrt(x.tensors))

    @staticmethod
    def isinf(x: TensorList) -> Tensor:
        """Return where the elements, in a row, are infinite."""
        return torch.isinf(x.in_a_row())

    @staticmethod
    def where(condition: Tensor, a: Any, b: TensorList) -> TensorList:
        """Return the elements of one where a condition holds, which is that of all in a row, of the other elsewhere."""
        row = a.in_a_row() if isinstance(a, TensorList) else a
        return b.shaped(torch.where(condition, row, b.in_a_row()))

    @staticmethod
    def real(x: TensorList) -> TensorList:
        """Return what is real already."""
        return x

    conj: Callable[[TensorList], TensorList] = real
