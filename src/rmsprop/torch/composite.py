"""The update in plain tensor operations: the path for everything the compiled kernel can't do.

Differentiable steps, ``torch.compile``, devices other than the CPU, parameters with gaps in memory. The arithmetic is
`rmsprop.reference.apply`, run on torch's tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rmsprop.reference import apply
from rmsprop.rule import Rule
from rmsprop.torch.state import ParamState, as_real

# A parameter, its gradient and its state. A compiler that has to look them up itself compiles anew for every gradient.
Member = tuple[Tensor, Any, ParamState]


def update_group(
    rule: Rule,
    lr: Any,
    members: Sequence[Member],
    group: Mapping[str, Any],
    scale: float,
) -> None:
    """Update parameters of a group whose step counters already count this step.

    Args:
        rule: What to compute.
        lr: The learning rate, a number or a tensor of one element.
        members: The parameters, changed in place, their gradients and their states, which are changed.
        group: The options of their group.
        scale: What gradients are multiplied with first.
    """
    lr = lr.squeeze() if isinstance(lr, Tensor) else lr
    scale = -scale if group["maximize"] else scale
    waits = not (group["capturable"] or torch.compiler.is_compiling())
    for param, grad, state in members:
        step = int(state["step"].item()) if rule.bias_correction and waits else state["step"]
        update(rule, lr, step, param, grad, state, scale, group["differentiable"])


def update(
    rule: Rule, lr: Any, step: Any, param: Tensor, grad: Any, state: ParamState, scale: float, differentiable: bool
) -> None:
    """Update a parameter and its state.

    Args:
        rule: What to compute.
        lr: The learning rate, a number or a 0-d tensor.
        step: The number of this update, counted from 1, a number or a 0-d tensor.
        param: The parameter, of any shape; changed in place.
        grad: Its gradient, of the same shape; left as it is.
        state: Its state. Changed in place, but replaced by new tensors if ``differentiable``.
        scale: What the gradient is multiplied with first.
        differentiable: Keep the step part of the autograd graph.
    """
    p, g = as_real(param), as_real(grad)
    kept = {name: as_real(state[name]) for name in rule.state_names}
    working = next(iter(kept.values())).dtype
    g = g.to(working) * scale
    p = p.to(working, copy=differentiable)  # what the graph keeps of it must not be overwritten below
    new_p, new_state = apply(rule, lr, step, p, g, kept, torch)
    for name, value in new_state.items():
        value = _like(param, value)
        state[name] = value if differentiable else state[name].copy_(value)
    param.copy_(_like(param, new_p))


def _like(param: Tensor, value: Tensor) -> Tensor:
    return torch.view_as_complex(value) if param.is_complex() else value
