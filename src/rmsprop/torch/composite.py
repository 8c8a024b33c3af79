"""The update in plain tensor operations: the path for everything the kernels can't do.

Differentiable steps, devices that have no kernel, parameters with gaps in memory. The arithmetic is
`rmsprop.reference.apply`, run on torch's tensors: on the CPU one by one, on other devices on many together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rmsprop.reference import apply
from rmsprop.rule import Rule
from rmsprop.torch.state import ParamState, as_real, state_dtype
from rmsprop.torch.together import Library, Together

# Devices on which a call costs little, so that parameters are updated one by one: then temporaries stay in the cache.
ONE_BY_ONE = {"cpu"}
# Elements that are updated together at most. A larger tensor keeps a device busy alone, and temporaries stay small.
MOST_TOGETHER = 1 << 22
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
    one_by_one = group["differentiable"] or torch.compiler.is_compiling()
    for batch in [[member] for member in members] if one_by_one else batches(members):
        param, grad, state = batch[0]
        step = int(state["step"].item()) if rule.bias_correction and waits else state["step"]
        if len(batch) > 1:
            update_together(rule, lr, step, batch, scale)
        else:
            update(rule, lr, step, param, grad, state, scale, group["differentiable"])


def batches(members: Sequence[Member]) -> list[list[Member]]:
    """Return which parameters are updated together: small ones that share a device, a precision and a step counter.

    Those of classes derived from tensors (distributed ones, say) may not know the operations on several tensors.

    Args:
        members: Parameters of a group.

    Returns:
        The same, in batches.
    """
    found: list[list[Member]] = []
    open_batches: dict[Any, tuple[list[Member], int]] = {}
    for member in members:
        param, _, state = member
        key = param.device, state_dtype(param), id(state["step"])
        batch, size = open_batches.get(key, ([], 0))
        alone = param.device.type in ONE_BY_ONE or type(param) not in (Tensor, torch.nn.Parameter)
        if not batch or alone or size + param.numel() > MOST_TOGETHER:
            batch, size = [], 0
            found.append(batch)
        batch.append(member)
        open_batches[key] = batch, size + param.numel()
    return found


def update_together(rule: Rule, lr: Any, step: Any, members: Sequence[Member], scale: float) -> None:
    """Update several parameters and their states with one call per operation.

    Args:
        rule: What to compute.
        lr: The learning rate, a number or a 0-d tensor.
        step: The number of this update, counted from 1, a number or a 0-d tensor.
        members: The parameters, changed in place, their gradients and their states, changed in place; all of one
            device and one dtype of state.
        scale: What gradients are multiplied with first.
    """
    states = [state for _, _, state in members]
    kept = {name: Together([as_real(state[name]) for state in states]) for name in rule.state_names}
    working = next(iter(kept.values())).tensors[0].dtype
    p = Together([as_real(param).to(working) for param, _, _ in members])
    g = Together([as_real(grad).to(working) for _, grad, _ in members])
    new_p, new_state = apply(rule, lr, step, p, g * scale, kept, Library)
    for name, values in new_state.items():
        _copy([state[name] for state in states], values)
    _copy([param for param, _, _ in members], new_p)


def _copy(targets: list[Tensor], values: Together) -> None:
    torch._foreach_copy_(targets, [_like(each, value) for each, value in zip(targets, values.tensors, strict=True)])


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
