"""What the update of each tensor is scaled by: to limit its root mean square, or for what ``caution`` leaves out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import clipping
from rmsprop.rule import agreement_scale
from rmsprop.torch.clipping.exact_sum import counts_here, home_of, squares_of, summed
from rmsprop.torch.clipping.limits import Limits
from rmsprop.torch.local import inside


def update_scales(params: Sequence[Tensor], words: np.ndarray[Any, Any], limits: Sequence[float]) -> list[float]:
    """Return what the quotients g/√v of each tensor are to be multiplied with.

    Args:
        params: The parameters, on every process in the same order.
        words: A row per parameter, the sum of the squares of this process' quotients.
        limits: The largest allowed root mean square of each.
    """
    sum_over_processes(params, words)
    scales: list[float] = clipping.update_scales(words, list(map(_size, params)), np.array(limits)).tolist()
    return scales


def sum_over_processes(params: Sequence[Tensor], rows: np.ndarray[Any, Any]) -> None:
    """Put the sums over all processes in the place of this process' whole numbers.

    Args:
        params: The parameters, on every process in the same order.
        rows: A row of whole numbers per parameter, changed in place where it is a `DTensor`.
    """
    homes = list(map(home_of, params))
    for mesh in dict.fromkeys(mesh for mesh, _ in homes if mesh is not None):
        here = [i for i, home in enumerate(homes) if home[0] == mesh]
        own = rows[here] * np.array([[counts_here(homes[i])] for i in here])
        rows[here] = summed(torch.from_numpy(own).to(mesh.device_type), mesh).cpu().numpy()


def agreement_scales(params: Sequence[Tensor], counts: np.ndarray[Any, Any]) -> list[float]:
    """Return what ``caution`` multiplies the steps of each tensor with that agree with their gradients.

    Args:
        params: The parameters, on every process in the same order.
        counts: A row per parameter with one number: how many elements agree on this process.
    """
    sum_over_processes(params, counts)
    return [agreement_scale(int(count), _size(param)) for (count,), param in zip(counts, params, strict=True)]


def limiting(param: Tensor, limits: Limits) -> Callable[[Any], Any] | None:
    """Return what makes of the quotients g/√v of a tensor what is used of them, or None if that is all.

    Args:
        param: The parameter.
        limits: The limits of its group.
    """
    if not limits.of_updates:
        return None
    return lambda quotients: quotients * update_scale(param, quotients, limits.max_update_rms)


def update_scale(param: Tensor, quotients: Any, max_rms: float) -> float:
    """Return what the quotients g/√v of a tensor are to be multiplied with.

    Args:
        param: The parameter.
        quotients: The quotients, placed as it is, in complex numbers as pairs of real ones; a tensor, or an array.
        max_rms: The largest allowed root mean square.
    """
    found = torch.from_numpy(quotients) if isinstance(quotients, np.ndarray) else quotients
    words = squares_of(inside(found)).cpu().numpy()
    return update_scales([param], words[None], [max_rms])[0]


def _size(param: Tensor) -> int:
    """Return of how many real numbers a parameter consists."""
    return param.numel() * (2 if param.is_complex() else 1)
