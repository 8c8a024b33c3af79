"""The parameters of a group, each with what updates it: a kernel, or tensor operations and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any

import torch
from torch import Tensor

from rmsprop.averaging import ITERATE, AveragedRule, inner
from rmsprop.storage import FLOAT32_IS_FULL
from rmsprop.torch.averaged import check_stored
from rmsprop.torch.checks import check_param, check_prepared
from rmsprop.torch.clipping.limits import limits_of
from rmsprop.torch.device import missing
from rmsprop.torch.groups import FLAGS_OF_GROUP, check_group, read_options
from rmsprop.torch.local import is_uninitialized
from rmsprop.torch.obstacles import asked_for, unfit, unfit_caution, unfit_limit, unfit_state, unfit_units
from rmsprop.torch.rows.averages import complete_row_averages
from rmsprop.torch.rows.clock import is_on_rows, settle
from rmsprop.torch.state.completion import complete, is_complete
from rmsprop.torch.state.packing import held
from rmsprop.torch.state.param_state import Changes, ParamState
from rmsprop.torch.state.rounding import check_dtype, choice_of, unfit_rounding

States = dict[Tensor, ParamState]


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
