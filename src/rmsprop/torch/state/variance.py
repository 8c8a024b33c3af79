"""The variance ``grad_var`` = v − m², which centered state holds in place of ``square_avg`` = v.

It is kept because the difference of the two large numbers can come out negative. ``square_avg`` is rebuilt where
somebody asks for it or a state dict leaves, and taken apart where one arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rmsprop.torch.local import as_real, is_shard
from rmsprop.torch.state.counter import is_shared
from rmsprop.torch.state.rounding import wide


def _squared(tensor: Tensor) -> Tensor:
    """Return the squares of the real numbers in a tensor: a complex one is two reals, as torch has it."""
    real = as_real(tensor)
    squares = real * real
    return torch.view_as_complex(squares) if tensor.is_complex() else squares


def rebuilt_square_avg(state: Mapping[str, Any]) -> Tensor:
    """Return v from the variance and the mean in a state."""
    grad_var, grad_avg = wide(state["grad_var"]), wide(state["grad_avg"])
    return grad_var + _squared(grad_avg)


def _difference(square_avg: Tensor, grad_avg: Tensor) -> Tensor:
    """Return v − m², element by element never below zero."""
    difference = as_real(square_avg - _squared(grad_avg)).clamp_(min=0.0)
    return torch.view_as_complex(difference) if square_avg.is_complex() else difference


def split_square_avg(state: dict[str, Any]) -> None:
    """Replace ``square_avg`` by ``grad_avg`` and ``grad_var``, element by element never below zero.

    A ``grad_var`` that came along is kept where it still belongs to ``square_avg``: torch carries it through untouched,
    and then only ``square_avg`` is up to date.
    """
    square_avg = state["square_avg"]
    if is_shared(square_avg):
        # Made and shared by the user's own code, as zeros. Another process may be ahead, and has the variance in it.
        state["grad_var"] = square_avg
        del state["square_avg"]
        return
    state.setdefault("grad_avg", torch.zeros_like(square_avg))
    difference = _difference(square_avg, state["grad_avg"])
    if isinstance(state.get("grad_var"), Tensor):
        rebuilt, given = as_real(rebuilt_square_avg(state)), as_real(square_avg)
        current = (rebuilt == given) | (rebuilt.isnan() & given.isnan())
        chosen = torch.where(current, as_real(state["grad_var"]), as_real(difference))
        difference = torch.view_as_complex(chosen) if square_avg.is_complex() else chosen
    state["grad_var"] = difference
    del state["square_avg"]  # last: what fails before has lost nothing


def is_told(state: Mapping[str, Any]) -> bool:
    """Whether a variance is what the two averages tell.

    Processes that may hold parts of one parameter, of a `DTensor` or of FSDP1's flat ones, must answer alike, or some
    would wait for what the others don't send; and none may wait for one that saves nothing. So there it is before the
    second step: before the first, distributed checkpoints look at what they are to load.
    """
    grad_var, square_avg = state["grad_var"], state["square_avg"]
    if is_shard(grad_var) or (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return bool(state["step"] <= 1)
    return grad_var.dtype == square_avg.dtype and torch.equal(_difference(square_avg, state["grad_avg"]), grad_var)
