"""The parameters of a group, each with what updates it: a kernel, or tensor operations and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any

import torch
from torch import Tensor

from rmsprop.averaging import ITERATE, AveragedRule, Updating, inner
from rmsprop.storage import FLOAT32_IS_FULL
from rmsprop.torch.averaged import check_stored
from rmsprop.torch.bucket import DTYPES, describe
from rmsprop.torch.checks import check_param, check_prepared
from rmsprop.torch.device import is_on_gpu, missing
from rmsprop.torch.groups import FLAGS_OF_GROUP, check_group, read_options
from rmsprop.torch.limits import limits_of
from rmsprop.torch.local import are_placed_alike, inside, is_plain_class, is_shard, is_uninitialized
from rmsprop.torch.packing import CODES, held
from rmsprop.torch.rounding import RoundingChoice, check_dtype, choice_of, unfit_rounding
from rmsprop.torch.row_averages import complete_row_averages
from rmsprop.torch.row_clock import is_on_rows, settle
from rmsprop.torch.state import Changes, ParamState, complete, is_complete, kept_dtype
from rmsprop.torch.units import are_in_a_row, cuts

States = dict[Tensor, ParamState]


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


@dataclass(frozen=True, slots=True)
class Member:
    """A parameter that has state.

    Args:
        group: The number of its group.
        name: What it is called.
        number: Its number in the optimizer.
        param: The parameter.
        reason: Why no kernel updates it, or None if one does.
    """

    group: int
    name: str
    number: int
    param: Tensor
    reason: str | None


class Members:
    """The parameters of one group. Those with a gradient get the state that they lack.

    Args:
        number: The number of the group.
        group: The parameter group.
        names: What its parameters are called.
        numbers: The number of each in the optimizer.
        on_device: Whether steps must be counted where the parameters are.
        kernel: Whether kernels may be used.
    """

    def __init__(
        self,
        number: int,
        group: Mapping[str, Any],
        names: Sequence[str],
        numbers: Sequence[int],
        on_device: bool,
        kernel: bool,
    ) -> None:
        self.options = read_options(group)
        self.rule, self.rounding = check_group(group), choice_of(group)
        self._may_change_unseen = any(isinstance(option, Tensor) for option in self.options)
        self.params: list[Tensor] = list(group["params"])
        self.on_device = on_device or bool(group["capturable"])
        self._number, self._names, self._numbers = number, names, numbers
        self.limits = limits_of(group, 1.0)
        self.limits_updates, self.clips_units = self.limits.of_updates, self.limits.of_units
        self.asked = asked_for(group) if kernel else "a compiler traces the step"
        self.all: list[Member] = []
        self.on_rows: list[Member] = []
        self._may_use_kernels, self._group = kernel, group
        self._composite: list[tuple[Tensor, ParamState, torch.dtype]] = []
        self._until_full = FLOAT32_IS_FULL  # how often the narrowest counter among those can be raised
        self._waiting: list[Tensor] = []

    def named(self) -> Iterable[tuple[str, Tensor]]:
        """Return the names of the parameters, and the parameters."""
        return zip(self._names, self.params, strict=True)

    def check(self, group: Mapping[str, Any], states: States) -> None:
        """Check what a step would use of every parameter with a gradient.

        Args:
            group: The parameter group.
            states: The optimizer's state.

        Raises:
            RuntimeError: If something can't be used, or ``fused=True`` meets what the kernels can't do.
        """
        for name, param in self.named():
            if param.grad is None:
                continue
            check_param(name, param, states.get(param, {}))
            check_dtype(name, param, self.rounding)
            check_stored(name, param, self.rule, self.rounding.rounding)
            if group["fused"] and (
                reason := unfit(param)
                or unfit_rounding(param, self.rounding)
                or unfit_limit(param, self.limits_updates, self.rounding)
                or unfit_units(param, states.get(param, {}), self.clips_units, self.rule, self.rounding)
                or unfit_caution(param, self.rule)
            ):
                raise RuntimeError(
                    "`fused=True` requires all the params to be floating point Tensors that a kernel takes, but "
                    f"parameter {name} {reason}: use fused=None"
                )

    def sort(self, states: States, changes: Changes) -> None:
        """Complete the state of the parameters and choose what updates each.

        Args:
            states: The optimizer's state; completed in place.
            changes: Where the states are to tell of later changes.
        """
        self._changes = changes
        for number, (name, param) in zip(self._numbers, self.named(), strict=True):
            if param.grad is None and (is_uninitialized(param) or not states.get(param)):
                self._waiting.append(param)
                continue
            if self._may_use_kernels and is_on_rows(param, states.get(param, {}), self._group):
                self._complete_rows(states, param)
                self.on_rows.append(Member(self._number, name, number, param, self.asked or missing(param.device)))
                continue
            sparse = self._group["sparse"]
            if sparse != "exact" and is_on_rows(param, states.get(param, {}), self._group):
                raise RuntimeError(
                    f"sparse={sparse!r} updates rows of parameter {name}, but a compiler traces the step and knows of "
                    "all rows alone: leave the step out of torch.compile, or use sparse='exact'"
                )
            check_prepared(name, param, states.get(param, {}))
            settle(states.get(param, {}))  # a dense gradient moves all rows
            state = complete(states, param, self.rule, self.on_device, self._changes, self.rounding)
            if isinstance(self.rule, AveragedRule) and not self._group["k"]:
                state[ITERATE].copy_(param.detach())  # weights may have been loaded since the state was made
            reason = self.asked or self._unfit(param, state)
            self.all.append(Member(self._number, name, number, param, reason))
        self._composite = [(m.param, states[m.param], m.param.dtype) for m in self.all if m.reason]
        counters = (kept.counter for _, kept, _ in self._composite)
        narrow = (step for step in counters if step.dtype == torch.float32 and type(step) is Tensor and step.is_cpu)
        self._until_full = min((FLOAT32_IS_FULL - int(step.item()) for step in narrow), default=FLOAT32_IS_FULL)

    def _complete_rows(self, states: States, param: Tensor) -> None:
        if self._group["sparse"] == "rowwise":
            complete_row_averages(states, param, inner(self.rule), self._group, self._changes)
        elif is_complete(states.get(param), param, self.rule, self.on_device, self.rounding):
            states[param].tell(self._changes)
        else:
            complete(states, param, self.rule, self.on_device, self._changes, self.rounding)

    def _unfit(self, param: Tensor, state: ParamState) -> str | None:
        return (
            unfit(param)
            or unfit_rounding(param, self.rounding)
            or unfit_limit(param, self.limits_updates, self.rounding)
            or unfit_units(param, state, self.clips_units, self.rule, self.rounding)
            or unfit_caution(param, self.rule)
            or unfit_state(param, state, self.rule, self.rounding)
        )

    def refresh(self, group: Mapping[str, Any]) -> bool:
        """Take over the options of a group as they are now; return whether its parameters are still sorted right.

        Args:
            group: The parameter group.

        Returns:
            False if parameters were added, removed or replaced, if one of those without state has a gradient now, or if
            an option was changed that decides which arrays of state there are or what updates parameters.
        """
        params = group["params"]
        if len(params) != len(self.params) or not all(map(is_, params, self.params)):
            return False
        if self._waiting and not all(param.grad is None for param in self._waiting):
            return False
        options = read_options(group)
        if not self._may_change_unseen and _are_equal(options, self.options):
            return True
        rule, flags = check_group(group), slice(-len(FLAGS_OF_GROUP), None)
        same = (rule.state_names, rule.depends_on_step) == (self.rule.state_names, self.rule.depends_on_step)
        same = same and inner(rule).caution == inner(self.rule).caution
        same = same and options[flags] == self.options[flags]
        self.options, self.rule, self.limits = options, rule, limits_of(group, 1.0)
        same = same and (self.limits.of_updates, self.limits.of_units) == (self.limits_updates, self.clips_units)
        self._may_change_unseen = any(isinstance(option, Tensor) for option in options)
        return same

    def recheck(self) -> bool:
        """Return whether members that no kernel updates are still such, and fit their gradients and state."""
        self._until_full -= 1
        names = self.rule.state_names
        for param, kept, dtype in self._composite:
            grad = param.grad
            if grad is None:
                continue
            shape = param.shape
            if grad.shape != shape or grad.layout != torch.strided or param.dtype != dtype:
                return False
            if any(held(kept, name).shape != shape for name in names):
                return False
            if not (self.asked or self._unfit(param, kept)):
                return False
        return self._until_full > 0


def _are_equal(options: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    try:
        return options == others
    except RuntimeError:  # a tensor of several elements, which is refused elsewhere
        return False
