"""The update in array operations: the path for everything the kernels can't do, and for who asks for it.

The arithmetic is `rmsprop.reference.apply`: on plain CPU tensors over NumPy's views of them, block by block; on other
devices on many tensors together; one tensor at a time where autograd or a compiler watches, or where a tensor is of a
class of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rmsprop.averaging import Updating, inner
from rmsprop.torch.averaged import apply
from rmsprop.torch.blocks import update_in_blocks
from rmsprop.torch.clipping.limits import Limits
from rmsprop.torch.clipping.units import scaled
from rmsprop.torch.clipping.update_rms import limiting
from rmsprop.torch.foreach import Library, TensorList
from rmsprop.torch.local import as_real, is_lazy, is_plain_class, is_sparse
from rmsprop.torch.members import Member
from rmsprop.torch.state.packing import PackedState
from rmsprop.torch.state.param_state import ParamState
from rmsprop.torch.state.rounding import LOST, Rounder, RoundingChoice, state_dtype

# Elements that are updated together at most. A larger tensor keeps a device busy alone, and temporaries stay small.
MOST_TOGETHER = 1 << 22
# A parameter, its gradient and its state. A compiler that has to look them up itself compiles anew for every gradient.
Gathered = tuple[Tensor, Any, ParamState]


def gathered(members: Iterable[Member], states: Mapping[Tensor, ParamState]) -> list[Gathered]:
    """Return parameters with their gradients, those that have one, and their states."""
    return [(m.param, _dense(m.param.grad), states[m.param]) for m in members if m.param.grad is not None]


def _dense(grad: Tensor) -> Tensor:
    """Return a gradient as it is, or of all rows: a compiler that traces the step knows no others."""
    return grad.to_dense() if is_sparse(grad) else grad


def check_rounding(member: Member, choice: RoundingChoice, is_traced: bool) -> None:
    """Refuse what tensor operations can't store as a group chooses.

    Args:
        member: What they update.
        choice: What its group chooses.
        is_traced: Whether a compiler traces the step.

    Raises:
        RuntimeError: If it isn't stored as torch has it, and no plain CPU tensor, or the step is traced.
    """
    is_plain = member.param.device.type == "cpu" and is_plain_class(type(member.param))
    if not choice.is_plain(member.param.dtype) and (is_traced or not is_plain):
        instead = "rounding='nearest'" if choice.packing is None else "state_dtype=None"
        raise RuntimeError(
            f"parameter {member.name} {member.reason}, so that tensor operations update it, which do "
            f"{choice.words} on plain CPU tensors alone: use {instead} in its group"
        )


def update_group(
    rule: Updating, lr: Any, members: Sequence[Gathered], group: Mapping[str, Any], limits: Limits
) -> None:
    """Count a step of parameters of a group and update them.

    Args:
        rule: What to compute.
        lr: The learning rate, a number or a tensor of one element.
        members: The parameters, changed in place, their gradients and their states, which are changed.
        group: The options of their group.
        limits: What gradients are multiplied with first, and what is limited then.
    """
    lr = lr.squeeze() if isinstance(lr, Tensor) else lr
    limits = limits.negated() if group["maximize"] else limits
    is_traced = torch.compiler.is_compiling()
    _count([state.counter for _, _, state in members])
    if group["differentiable"] or is_traced:
        for param, grad, state in members:
            step = state.counter
            step = step if is_traced or group["capturable"] or type(step) is not Tensor else step.item()
            update(rule, lr, step, param, grad, state, limits, group["differentiable"])
        return
    for kind, alike in _by_kind(rule, members, bool(group["capturable"])).items():
        if not limits.of_units:
            _update_alike(kind, rule, lr, alike, limits)
            continue
        for param, grad, state in alike:
            _update_alike(kind, rule, lr, [(param, scaled(param, grad, limits), state)], limits.once_scaled())


def update_rounded(
    rule: Updating,
    lr: Any,
    members: Sequence[Member],
    states: Mapping[Tensor, ParamState],
    group: Mapping[str, Any],
    limits: Limits,
    choice: RoundingChoice,
) -> None:
    """Count a step of plain CPU parameters that are not stored as torch has them, and update them one by one.

    Args:
        rule: What to compute.
        lr: The learning rate, a number or a tensor of one element.
        members: The parameters, with gradients, changed in place.
        states: Their states, which are changed.
        group: The options of their group.
        limits: What gradients are multiplied with first, and what is limited then.
        choice: How they are rounded, and what their state is packed into.
    """
    lr = lr.item() if isinstance(lr, Tensor) else lr
    limits = limits.negated() if group["maximize"] else limits
    _count([states[member.param].counter for member in members])
    for member, (param, grad, state) in zip(members, gathered(members, states), strict=True):
        step = int(state.counter.item())
        rounder = (
            None
            if choice.of(param.dtype) == "nearest"
            else Rounder(choice, member.number, step, param, state.get(LOST))
        )
        packed = choice.packing and PackedState(state, rule.state_names, choice.packing)
        values, arrays = rounder.read() if rounder else param, packed.read() if packed else state
        if limits.of_units:
            grad = scaled(param, grad, limits)
        update_in_blocks(rule, lr, step, [(values, grad, arrays)], limits.once_scaled() if limits.of_units else limits)
        if rounder:
            rounder.write(values)
        if packed:
            packed.write(arrays, choice.seed, step, member.number)


def _count(steps: list[Tensor]) -> None:
    """Count one more in each counter."""
    if all(step.device.type == "cpu" for step in steps):
        # a number would become a tensor once per counter
        torch._foreach_add_(steps, torch.tensor(1.0, device="cpu"), alpha=1.0)
    else:
        torch._foreach_add_(steps, 1.0)


class _Kind(NamedTuple):
    """What parameters that are updated alike have in common.

    Args:
        device: Where they are.
        dtype: That of their state.
        is_plain: Whether other operations than torch's may see their memory.
        step: The number of the update if it matters, else 1. None if it is on a device, where reading it means waiting.
        counter: What tells counters apart that can't be read, else 0.
    """

    device: torch.device
    dtype: torch.dtype
    is_plain: bool
    step: float | None
    counter: int


def _by_kind(rule: Updating, members: Sequence[Gathered], capturable: bool) -> dict[_Kind, list[Gathered]]:
    """Return parameters by what decides how they are updated."""
    if not rule.depends_on_step and (only := _only_kind(members)):
        return {only: list(members)}
    kinds: dict[_Kind, list[Gathered]] = {}
    for member in members:
        param, grad, state = member
        is_plain = is_plain_class(type(param)) and is_plain_class(type(grad)) and not is_lazy(param)
        number: float | None = 1.0
        counter = 0
        if rule.depends_on_step:
            step = state.counter
            waits = (capturable and step.device.type != "cpu") or type(step) is not Tensor  # a fake one has no value
            number, counter = (None, id(step)) if waits else (step.item(), 0)
        kinds.setdefault(_Kind(param.device, state_dtype(param), is_plain, number, counter), []).append(member)
    return kinds


def _only_kind(members: Sequence[Gathered]) -> _Kind | None:
    """Return the kind of parameters that are obviously all of one; asking each would take as long as updating it."""
    params, grads, _ = zip(*members, strict=True)
    places = {(param.device, param.dtype) for param in params}
    is_plain = all(map(is_plain_class, {*map(type, params), *map(type, grads)})) and not any(map(is_lazy, params))
    return _Kind(params[0].device, state_dtype(params[0]), True, 1.0, 0) if len(places) == 1 and is_plain else None


def _update_alike(kind: _Kind, rule: Updating, lr: Any, members: Sequence[Gathered], limits: Limits) -> None:
    """Update parameters of one kind."""
    step = members[0][2].counter if kind.step is None else kind.step
    in_blocks = kind.is_plain and kind.device.type in IN_BLOCKS
    if in_blocks:
        update_in_blocks(rule, lr.item() if isinstance(lr, Tensor) else lr, step, members, limits)
    elif kind.is_plain and not (limits.of_updates or inner(rule).caution):
        for batch in batches(members):
            update_together(rule, lr, step, batch, limits)
    else:
        for each in members:
            update(rule, lr, step, *each, limits, differentiable=False)


# Devices whose tensors NumPy can see.
IN_BLOCKS = {"cpu"}


def batches(members: Sequence[Gathered]) -> list[list[Gathered]]:
    """Return members in lists of no more elements than are updated together.

    Args:
        members: Parameters of one kind.
    """
    found: list[list[Gathered]] = [[]]
    size = 0
    for member in members:
        if found[-1] and size + member[0].numel() > MOST_TOGETHER:
            found.append([])
            size = 0
        found[-1].append(member)
        size += member[0].numel()
    return found


def update_together(rule: Updating, lr: Any, step: Any, members: Sequence[Gathered], limits: Limits) -> None:
    """Update several parameters and their states with one call per operation.

    Args:
        rule: What to compute.
        lr: The learning rate, a number or a 0-d tensor.
        step: The number of this update, counted from 1, a number or a 0-d tensor.
        members: The parameters, changed in place, their gradients and their states, changed in place; all of one
            device and one dtype of state.
        limits: What gradients are multiplied with first, and what their elements are limited to then.
    """
    states = [state for _, _, state in members]
    kept = {name: TensorList([as_real(state[name]) for state in states]) for name in rule.state_names}
    working = next(iter(kept.values())).tensors[0].dtype
    p = TensorList([as_real(param).to(working) for param, _, _ in members])
    g = TensorList([as_real(grad).to(working) for _, grad, _ in members])
    g = g * limits.scale
    if limits.max_grad < math.inf:
        g = TensorList([grad.clamp(-limits.max_grad, limits.max_grad) for grad in g.tensors])
    new_p, new_state = apply(rule, lr, step, p, g, kept, Library)
    for name, values in new_state.items():
        _copy([state[name] for state in states], values)
    _copy([param for param, _, _ in members], new_p)


def _copy(targets: list[Tensor], values: TensorList) -> None:
    torch._foreach_copy_(targets, [_like(each, value) for each, value in zip(targets, values.tensors, strict=True)])


def update(
    rule: Updating,
    lr: Any,
    step: Any,
    param: Tensor,
    grad: Any,
    state: ParamState,
    limits: Limits,
    differentiable: bool,
) -> None:
    """Update a parameter and its state.

    Args:
        rule: What to compute.
        lr: The learning rate, a number or a 0-d tensor.
        step: The number of this update, counted from 1, a number or a 0-d tensor.
        param: The parameter, of any shape; changed in place.
        grad: Its gradient, of the same shape; left as it is.
        state: Its state. Changed in place, but replaced by new tensors if ``differentiable``.
        limits: What the gradient is multiplied with first, and what is limited then.
        differentiable: Keep the step part of the autograd graph.
    """
    p, g = as_real(param), as_real(grad)
    kept = {name: as_real(state[name]) for name in rule.state_names}
    working = next(iter(kept.values())).dtype
    working = torch.promote_types(working, torch.float32)
    g = g.to(working) * limits.scale
    g = g if limits.max_grad == math.inf else g.clamp(-limits.max_grad, limits.max_grad)
    p = p.to(working, copy=differentiable)  # what the graph keeps of it must not be overwritten below
    kept = {name: value.to(working) for name, value in kept.items()}
    new_p, new_state = apply(rule, lr, step, p, g, kept, torch, limiting(param, limits))
    for name, value in new_state.items():
        value = _like(param, value)
        if differentiable:
            state[name] = value
        else:
            state[name].copy_(value)
    param.copy_(_like(param, new_p))


def _like(param: Tensor, value: Tensor) -> Tensor:
    return torch.view_as_complex(value) if param.is_complex() else value
