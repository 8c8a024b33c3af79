"""Adaptive clipping: a gradient's norm is limited by that of its parameters, unit by unit.

A unit is what shares a leading index: what makes one output of a linear layer or a convolution. A vector or a number is
one unit. `rmsprop.clipping.unit_factors` states what a unit's gradient is multiplied with.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rmsprop import clipping
from rmsprop.torch.clipping.exact_sum import norms_of_rows
from rmsprop.torch.clipping.limits import Limits
from rmsprop.torch.local import as_real, inside, is_dense, is_shard


def units_of(memory: Tensor) -> int:
    """Return how many units this process' part of a parameter has."""
    return memory.shape[0] if memory.ndim > 1 else 1


def are_in_a_row(memory: Tensor) -> bool:
    """Whether each unit lies in one stretch of memory, one behind the other, in a tensor or a dense copy of it."""
    if memory.ndim < 2 or memory.shape[0] < 2 or not memory.numel() or not is_dense(memory):
        return True
    return memory.stride(0) * memory.shape[0] == memory.numel()


def cuts(param: Any) -> list[Any]:
    """Return the groups of processes that share units of a parameter: none unless it is a `DTensor` cut inside them."""
    if not is_shard(param):
        return []
    return [
        param.device_mesh.get_group(dimension)
        for dimension, placement in enumerate(param.placements)
        if not placement.is_replicate() and (placement.dim > 0 or param.ndim < 2)
    ]


def factors(param: Tensor, grad: Tensor, limits: Limits) -> Tensor:
    """Return what the gradient of each unit is multiplied with beside its scale, in float64.

    Args:
        param: The parameter.
        grad: Its gradient, placed as it is.
        limits: What gradients are multiplied with first, and what clips them.
    """
    memories, groups = (inside(param), inside(grad)), cuts(param)
    if not groups and memories[0].device.type != "cpu":
        param_norms, grad_norms = (norms_of_rows(_rows(memory)) for memory in memories)
    else:
        sums = torch.stack([_squares(memory) for memory in memories])
        for group in groups:
            torch.distributed.all_reduce(sums, group=group)
        param_norms, grad_norms = map(_norms, sums)
    return clipping.unit_factors(grad_norms * abs(limits.scale), param_norms, limits.max_grad_ratio, torch)  # type: ignore[no-any-return]


def scaled(param: Tensor, grad: Any, limits: Limits) -> Any:
    """Return a gradient in working precision, multiplied with its scale, and clipped unit by unit.

    Args:
        param: The parameter.
        grad: Its gradient, placed as it is; left as it is.
        limits: What it is multiplied with, and what clips it.
    """
    with torch.no_grad():
        local = inside(grad)
        rows = _rows(local)
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        scales = (factors(param, grad, limits) * limits.scale).to(rows.dtype)
        real = (rows * scales[:, None]).view(as_real(local).shape)
        found = torch.view_as_complex(real) if local.is_complex() else real
    if not is_shard(grad):
        return found
    placed = sys.modules["torch.distributed.tensor"].DTensor.from_local
    return placed(found, grad.device_mesh, grad.placements, shape=grad.shape, stride=grad.stride())


def _rows(local: Tensor) -> Tensor:
    """Return the real numbers of each unit in a row."""
    real, units = as_real(local.detach()), units_of(local)
    return real.reshape(units, real.numel() // units if units else 0)


def _squares(local: Tensor) -> Tensor:
    """Return a row per unit, which added over processes are its sum of squares: exact on the CPU, else in float64."""
    rows = _rows(local)
    if rows.device.type != "cpu":
        return rows.double().square().sum(1, keepdim=True)
    wide = rows.to(torch.promote_types(rows.dtype, torch.float32)).resolve_neg()
    return torch.from_numpy(clipping.row_squares(wide.numpy()))


def _norms(sums: Tensor) -> Tensor:
    if sums.device.type != "cpu":
        return sums[:, 0].sqrt()
    return torch.from_numpy(clipping.norms(sums.numpy()))


class CutUnits(NamedTuple):
    """A parameter whose units processes share.

    Args:
        number: Its number in the optimizer.
        param: The parameter.
        scales: Where it goes what clips the gradient of each unit.
        limits: What clips them.
    """

    number: int
    param: Tensor
    scales: np.ndarray[Any, Any]
    limits: Limits


def scale_cut_units(members: Iterable[CutUnits]) -> None:
    """Set what clips the gradients of units that processes share, in an order that all processes have."""
    for number, param, scales, limits in sorted(members, key=lambda member: member.number):
        assert param.grad is not None, f"parameter {number} takes part in the step"
        scales[:] = factors(param, param.grad, limits).numpy()
