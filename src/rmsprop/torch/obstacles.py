"""What keeps a kernel from updating a parameter: each a reason that completes "the parameter ..."."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rmsprop.averaging import Updating, inner
from rmsprop.torch.bucket import DTYPES, describe
from rmsprop.torch.clipping.units import are_in_a_row, cuts
from rmsprop.torch.device import is_on_gpu, missing
from rmsprop.torch.local import are_placed_alike, inside, is_plain_class, is_shard, is_uninitialized
from rmsprop.torch.state.packing import CODES, held
from rmsprop.torch.state.rounding import RoundingChoice, kept_dtype


def unfit(param: Tensor) -> str | None:
    """Return why no kernel can update a parameter, or None if one can.

    Args:
        param: The parameter.

    Returns:
        A reason that completes "the parameter ...".
    """
    if describe() is None:
        return f"belongs to PyTorch {torch.__version__}; the kernels need 2.10 or newer, with DLPack 1"
    if is_uninitialized(param):
        return "has no shape before the first forward"
    memory = inside(param)
    if not is_plain_class(type(memory)):
        return f"is a {type(memory).__name__}, which is no plain tensor underneath"
    if reason := missing(memory.device):
        return reason
    if memory.layout != torch.strided:
        return f"has layout {memory.layout}; the kernels take strided tensors"
    if memory.dtype not in DTYPES:
        return f"has dtype {memory.dtype}; the kernels take {', '.join(map(str, DTYPES))}"
    return None if param.grad is None else _unfit_gradient(param, param.grad)


def _unfit_gradient(param: Tensor, grad: Tensor) -> str | None:
    if is_shard(param) != is_shard(grad) or not (is_shard(grad) or is_plain_class(type(grad))):
        return f"is a {type(param).__name__}, but its gradient a {type(grad).__name__}"
    if is_shard(param) and not are_placed_alike(param, grad):
        return "is placed on the processes in another way than its gradient"
    if grad.is_complex() != param.is_complex():
        return f"has dtype {param.dtype}, but its gradient {grad.dtype}"
    return None


def unfit_state(param: Tensor, state: Mapping[str, Any], rule: Updating, choice: RoundingChoice) -> str | None:
    """Return why no kernel can work on a parameter's state, or None if one can.

    Args:
        param: The parameter.
        state: Its state, as far as there is any yet.
        rule: What decides which of it is used.
        choice: What its group packs it into.

    Returns:
        A reason that completes "the parameter ...".
    """
    for array in (held(state, name) for name in rule.state_names if name in state or CODES[name] in state):
        if array.dtype != kept_dtype(param, choice):
            return f"has state in {array.dtype} that processes share: make it with share_memory() of the optimizer"
        if is_shard(param) != is_shard(array) or not is_plain_class(type(inside(array))):
            return f"is a {type(param).__name__}, but its state a {type(array).__name__}"
    return None


def unfit_limit(param: Tensor, limits_updates: bool, choice: RoundingChoice) -> str | None:
    """Return why no kernel can limit the update of a parameter, or None if one can.

    Args:
        param: The parameter.
        limits_updates: Whether its group has ``max_update_rms``.
        choice: What its group packs state into.

    Returns:
        A reason that completes "the parameter ...".
    """
    if not limits_updates:
        return None
    if is_on_gpu(param):
        reason = "has max_update_rms and is a DTensor, whose processes' sums the Triton kernel doesn't add up"
        return reason if is_shard(param) else None
    if choice.packing is not None:
        return "has max_update_rms, which the compiled kernel doesn't measure with packed state (state_dtype)"
    return None


def unfit_units(
    param: Tensor, state: Mapping[str, Any], clips_units: bool, rule: Updating, choice: RoundingChoice
) -> str | None:
    """Return why no kernel can clip the gradient of a parameter unit by unit, or None if one can.

    Args:
        param: The parameter.
        state: Its state, as far as there is any yet.
        clips_units: Whether its group has ``max_grad_ratio``.
        rule: What its group computes.
        choice: What its group packs state into.

    Returns:
        A reason that completes "the parameter ...".
    """
    if not clips_units:
        return None
    if is_on_gpu(param) and cuts(param):
        return "has max_grad_ratio and rows that processes share, whose sums the Triton kernel doesn't add up"
    if choice.packing == "8bit" and not is_on_gpu(param):
        return "has max_grad_ratio, whose rows cut through the blocks of state in 8 bits"
    name = rule.state_names[0]
    alike = held(state, name) if name in state else param
    return None if are_in_a_row(inside(alike)) else "has max_grad_ratio, and rows that don't lie in a piece of memory"


def unfit_caution(param: Tensor, rule: Updating) -> str | None:
    """Return why no kernel can leave out steps against the gradient, or None if one can, as `unfit` does."""
    is_cut = inner(rule).caution and is_shard(param) and is_on_gpu(param)
    return "has caution and is a DTensor, whose processes' counts the Triton kernel doesn't add up" if is_cut else None


def asked_for(group: Mapping[str, Any]) -> str | None:
    """Return which option of a group asks for tensor operations, or None."""
    if group["differentiable"]:
        return "differentiable=True was asked for"
    if group["fused"] is False or group["foreach"] is False:
        return f"{'fused' if group['fused'] is False else 'foreach'}=False was asked for"
    return None
