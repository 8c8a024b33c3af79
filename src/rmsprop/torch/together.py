"""Lists of tensors that are computed with as if they were one: arithmetic on them calls torch's foreach operations.

`rmsprop.reference.apply` then updates many parameters with one call per operation, which spares a device that has no
kernel of its own many launches. It stays the only place where the update is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class Together:
    """Tensors under one name. Numbers and 0-d tensors that they meet meet each of them.

    Args:
        tensors: The tensors, of one device and one dtype.

    Examples:
        >>> (2.0 * Together([torch.ones(1), torch.ones(2)]) + 1.0).tensors
        [tensor([3.]), tensor([3., 3.])]
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = list(tensors)

    def __add__(self, other: Any) -> Together:
        """Return the sums."""
        return Together(torch._foreach_add(self.tensors, _inside(other)))

    def __mul__(self, other: Any) -> Together:
        """Return the products."""
        return Together(torch._foreach_mul(self.tensors, _inside(other)))

    __radd__, __rmul__ = __add__, __mul__

    def __sub__(self, other: Together) -> Together:
        """Return the differences."""
        return Together(torch._foreach_sub(self.tensors, other.tensors))

    def __truediv__(self, other: Together) -> Together:
        """Return the quotients."""
        return Together(torch._foreach_div(self.tensors, other.tensors))

    # torch has no foreach operations for what follows.

    def __eq__(self, other: Any) -> Together:  # type: ignore[override]
        """Return where the elements are equal to a number."""
        return Together([torch.eq(tensor, other) for tensor in self.tensors])

    def __and__(self, other: Together) -> Together:
        """Return where both hold."""
        return Together([a & b for a, b in zip(self.tensors, other.tensors, strict=True)])

    __hash__ = None  # type: ignore[assignment]


def _inside(value: Any) -> Any:
    return value.tensors if isinstance(value, Together) else value


class Library:
    """The functions of ``torch`` that `rmsprop.reference.apply` needs, on `Together`, numbers and 0-d tensors."""

    log, maximum, expm1 = torch.log, torch.maximum, torch.expm1

    @staticmethod
    def sqrt(x: Together) -> Together:
        """Return the square roots."""
        return Together(torch._foreach_sqrt(x.tensors))

    @staticmethod
    def isinf(x: Together) -> Together:
        """Return where the elements are infinite."""
        return Together([torch.isinf(tensor) for tensor in x.tensors])

    @staticmethod
    def where(condition: Together, a: Any, b: Any) -> Together:
        """Return the elements of one where a condition holds, of the other elsewhere."""
        count = len(condition.tensors)
        choices = zip(condition.tensors, _spread(a, count), _spread(b, count), strict=True)
        return Together([torch.where(*choice) for choice in choices])

    @staticmethod
    def real(x: Together) -> Together:
        """Return what is real already."""
        return x

    conj: Callable[[Together], Together] = real


def _spread(value: Any, count: int) -> Sequence[Any]:
    return value.tensors if isinstance(value, Together) else [value] * count
