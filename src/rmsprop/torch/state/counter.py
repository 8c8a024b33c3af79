"""The counter of a parameter's steps: a tensor of one float, as torch keeps it."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop.storage import FLOAT32_IS_FULL

_DTYPES = (torch.float32, torch.float64)


def is_shared(tensor: Tensor) -> bool:
    """Whether other processes may work on a tensor's memory."""
    return tensor.device.type == "cpu" and tensor.is_shared()


def can_count(step: object, param: Tensor, on_device: bool) -> bool:
    """Whether a step counter can count on: a tensor with one float, where the parameter is if it must be there."""
    if not isinstance(step, Tensor) or step.numel() != 1 or step.dtype not in _DTYPES:
        return False
    if step.device.type != "cpu":
        return step.device == param.device
    if on_device and param.device.type != "cpu":
        return False
    return step.dtype == torch.float64 or type(step) is not Tensor or step.item() < FLOAT32_IS_FULL


def has_taken(step: object, count: int) -> bool:
    """Whether a step counter is known to have come so far; what is on a device would have to be waited for.

    Args:
        step: The counter: a tensor, a number, or None.
        count: How far.
    """
    if isinstance(step, Tensor):
        return type(step) is Tensor and step.device.type == "cpu" and step.numel() == 1 and step.item() >= count
    return isinstance(step, Real) and float(step) >= count


def checked(step: Any) -> Any:
    """Return a saved step counter, copied if it is a tensor.

    Args:
        step: A tensor or array of one element, a number, or None where nothing has been counted yet.

    Raises:
        ValueError: If it is something else, negative or not finite.
    """
    if isinstance(step, Tensor) and (step.device.type == "meta" or type(step) is not Tensor):
        return step.clone()  # has no value, or none that anybody may wait for
    shape = getattr(step, "shape", None)
    single = step.item() if isinstance(shape, tuple) and math.prod(shape) == 1 else step
    if single is not None and not (isinstance(single, Real) and 0 <= float(single) < math.inf):
        raise ValueError(
            f"loaded state has step {step!r}, but it counts updates: a number >= 0, or a tensor that holds one"
        )
    return step.clone() if isinstance(step, Tensor) else single


def new_counter(step: Any, param: Tensor, on_device: bool) -> Tensor:
    """Return a step counter as torch keeps one, which goes on from another one, a number, or None."""
    value = 0.0 if step is None else float(step)
    # Whether one on a device is full could be found out only by waiting for it.
    wide = torch.get_default_dtype() == torch.float64 or value >= FLOAT32_IS_FULL or (on_device and param.is_cuda)
    device = param.device if on_device else "cpu"
    return torch.full((), value, dtype=torch.float64 if wide else torch.float32, device=device)


def pinned(step: Any) -> tuple[Tensor, np.ndarray[Any, Any]] | None:
    """Return a copy of a counter in memory of its own, and that memory: it stays for as long as somebody holds it.

    A tensor alone does not hold on to its memory: ``share_memory_`` and ``.data = ...`` give it another.

    Args:
        step: The counter.

    Returns:
        None if it can't be had, as on an accelerator, or is not to be, as where processes share it.
    """
    if type(step) is not Tensor or step.dtype not in _DTYPES or step.device.type != "cpu" or step.is_shared():
        return None
    memory = step.detach().numpy().copy()
    return torch.from_numpy(memory), memory
