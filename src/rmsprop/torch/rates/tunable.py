"""What a learning rate from gradients can't be had for: refused with the reason, because its derivative would be wrong.

A hypergradient is that of the step which is taken. Whatever makes another step of the same gradient (clipping, rounding
of weights, a scaled gradient) is refused by name, at first and at every step, since options of a group may change.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from rmsprop.averaging import inner
from rmsprop.hyperparameters import known_from
from rmsprop.rates import check_rule
from rmsprop.rule import Rule
from rmsprop.torch.checks import names_of
from rmsprop.torch.groups import as_groups, check_group
from rmsprop.torch.local import is_plain_class
from rmsprop.torch.optimizer import RMSprop

# Option of a group -> its value that leaves the derivative as it is, why another does not, and what to do instead.
_CLIPPING = "limits what a step makes of the gradient, which the hypergradient doesn't know of"
_OPTIONS: dict[str, tuple[Any, str, str]] = {
    "max_grad_value": (None, _CLIPPING, "clip the gradients before step(), or leave it out"),
    "max_grad_ratio": (None, _CLIPPING, "clip the gradients before step(), or leave it out"),
    "max_update_rms": (None, _CLIPPING, "leave it out"),
    "rounding": ("nearest", "rounds weights so that they don't move along the derivative", "train weights of float32"),
    "state_dtype": (None, "rounds v at random at every step", "leave it at None"),
    "differentiable": (False, "makes the step part of another graph", "differentiate through the step yourself"),
    "capturable": (False, "is for steps in a CUDA graph, which can't change a learning rate", "leave it at False"),
}
_DTYPES = (torch.float32, torch.float64)


def checked_rules(optimizer: RMSprop) -> list[Rule]:
    """Check that an optimizer's steps can be differentiated by its learning rates.

    Args:
        optimizer: The optimizer.

    Returns:
        The rule of each group.

    Raises:
        TypeError: If it is no `rmsprop.torch.RMSprop`, or a learning rate is a tensor.
        ValueError: If a learning rate is 0 or below.
        RuntimeError: If an option, a parameter or who takes the steps breaks the derivative.
    """
    if type(optimizer) is not RMSprop:  # a subclass may step otherwise, as schedule-free does
        raise TypeError(
            f"hypergradients need an rmsprop.torch.RMSprop, but this is {type(optimizer).__qualname__}, whose step has "
            "another derivative: make one (it has the arguments of torch.optim.RMSprop, and loads its state dict)"
        )
    if optimizer.max_grad_norm is not None:
        raise RuntimeError(f"max_grad_norm={optimizer.max_grad_norm} {_CLIPPING}: use clip_grad_norm_ before step()")
    if optimizer.in_backward is not None:
        raise RuntimeError(
            "step_in_backward frees each gradient before hypergradients could see it: let step() take the steps"
        )
    groups, names = as_groups(optimizer.param_groups), names_of(optimizer.param_groups)
    return [
        _checked(number, group, of_group) for number, (group, of_group) in enumerate(zip(groups, names, strict=True))
    ]


def _checked(number: int, group: dict[str, Any], names: list[str]) -> Rule:
    for option, (allowed, why, instead) in _OPTIONS.items():
        if group[option] != allowed:
            raise RuntimeError(f"{option}={group[option]!r} of group {number} {why}: {instead}")
    _check_lr(number, group["lr"])
    rule = inner(check_group(group))
    check_rule(rule)
    for name, param in zip(names, group["params"], strict=True):
        _check_param(name, param)
    return rule


def _check_lr(number: int, lr: Any) -> None:
    if isinstance(lr, Tensor):
        raise TypeError(f"the learning rate of group {number} is a tensor: hypergradients need a Python float there")
    if not (known_from(lr, 0.0) and 0.0 < lr < math.inf):
        raise ValueError(
            f"the learning rate of group {number} is {lr}: it must be finite and above 0, because it changes by factors"
        )


def _check_param(name: str, param: Tensor) -> None:
    if not is_plain_class(type(param)):
        raise RuntimeError(
            f"parameter {name} is a {type(param).__name__}: hypergradients are for plain tensors, because their sums "
            "would have to be added over processes"
        )
    if param.dtype not in _DTYPES:
        raise RuntimeError(
            f"parameter {name} has dtype {param.dtype}, in which small changes are lost or derivatives have two parts: "
            "hypergradients need weights of float32 or float64 (autocast may do the rest)"
        )


def check_gradients(optimizer: RMSprop) -> None:
    """Refuse gradients that hypergradients can't be made of.

    Args:
        optimizer: The optimizer, about to step.

    Raises:
        RuntimeError: If one is sparse or of another dtype than its parameter, or GradScaler left scaling to the step.
    """
    if getattr(optimizer, "grad_scale", None) is not None or getattr(optimizer, "found_inf", None) is not None:
        raise RuntimeError(
            "with fused=True GradScaler leaves unscaling to the step, which comes after the hypergradients: "
            "leave fused at None, or train in bfloat16, which needs no scaling"
        )
    for param in (param for group in optimizer.param_groups for param in group["params"]):
        grad = param.grad
        if grad is not None and (grad.layout != torch.strided or grad.dtype != param.dtype):
            raise RuntimeError(
                f"a gradient is {grad.layout} of {grad.dtype}, its parameter {param.dtype}: hypergradients need dense "
                "gradients of the parameter's dtype (sparse=False in an Embedding)"
            )
