"""Sparse gradients: which are applied row by row, and which become dense ones.

`rmsprop.rows` states what an update of rows is. Where that would not be the dense update to the last rounding (momentum
and weight decay move rows that have no gradient), a step works on a dense copy of the gradient: exact, at the cost of
the whole table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from rmsprop import native
from rmsprop.averaging import AveragedRule
from rmsprop.rows import moves_at_rest, needs_all_rows
from rmsprop.rule import Rule
from rmsprop.storage import KERNEL_DTYPES
from rmsprop.torch.checks import check_rows
from rmsprop.torch.counter import is_shared
from rmsprop.torch.device import is_on_gpu, missing
from rmsprop.torch.groups import rule_of
from rmsprop.torch.local import is_lazy, is_plain_class, is_sparse
from rmsprop.torch.members import asked_for
from rmsprop.torch.packing import CODES
from rmsprop.torch.rounding import RoundingChoice, choice_of
from rmsprop.torch.row_clock import ROWS, as_held
from rmsprop.torch.state import ParamState, kept_dtype

Group = Mapping[str, Any]
ON_ROWS = "tensor operations on rows"  # which no compiler traces


def unfit_rows(param: Tensor, state: Mapping[str, Any], group: Group) -> str | None:
    """Return why a sparse gradient must become a dense one, or None if its rows can be updated alone.

    Args:
        param: The parameter, with a sparse gradient or one that rests.
        state: Its state, as far as there is any yet.
        group: Its group.

    Returns:
        A reason that completes "as ...".
    """
    rule, choice, grad = rule_of(group), choice_of(group), param.grad
    if isinstance(rule, AveragedRule):
        return "the average moves all rows"
    if reason := needs_all_rows(rule) if group["sparse"] == "lazy" else moves_at_rest(rule):
        return reason
    for option in ("max_grad_ratio", "max_update_rms", "differentiable", "capturable"):
        if group[option]:
            return f"{option} is for all of a tensor"
    if reason := _unfit_device(param, group):
        return reason
    if str(param.dtype).removeprefix("torch.") not in KERNEL_DTYPES or not is_plain_class(type(param)):
        return f"it is a {type(param).__name__} of {param.dtype}"
    if not param.is_contiguous() or is_lazy(param):
        return "its rows don't follow each other in memory"
    if grad is not None and (grad.dtype != param.dtype or not is_sparse(grad) or grad.sparse_dim() == 0):
        return f"its gradient is of {grad.dtype}" if grad.dtype != param.dtype else "its gradient has no rows"
    return _unfit_state(param, state, rule, choice)


def _unfit_device(param: Tensor, group: Group) -> str | None:
    if not is_on_gpu(param):
        return None if param.device.type == "cpu" else f"it is on {param.device}, where no kernel updates rows"
    if group["sparse"] not in ("exact", "lazy"):
        return f"it is on {param.device}, whose kernel doesn't know sparse={group['sparse']!r}"
    if reason := asked_for(group):
        return f"it is on {param.device}, and {reason}"
    return (reason := missing(param.device)) and f"it {reason}"


def _unfit_state(param: Tensor, state: Mapping[str, Any], rule: Rule, choice: RoundingChoice) -> str | None:
    held = as_held(state)
    for name in rule.state_names:
        array = held.get(CODES[name] if choice.packing == "8bit" else name)
        if array is None:
            continue
        if is_shared(array):
            return "processes share its state"
        if not array.is_contiguous() or (array.dtype != kept_dtype(param, choice) and choice.packing != "8bit"):
            return "its state is stored in another way"
    return None


class DenseSweeps:
    """The sparse gradients that become dense ones while a step lasts."""

    def __init__(self) -> None:
        self._params: list[tuple[Tensor, Group]] = []
        self._sparse: list[tuple[Tensor, Tensor]] = []
        self.has_warned = False

    def forget(self) -> None:
        """Look for such gradients anew at the next step."""
        self._params = []

    @contextmanager
    def during_a_step(self, states: Mapping[Tensor, ParamState]) -> Iterator[None]:
        """Return a context in which parameters that had such gradients before have dense ones.

        Args:
            states: The optimizer's state.
        """
        try:
            self._sweep(self._params, states)
            yield
        finally:
            for param, grad in self._sparse:
                param.grad = grad
            self._sparse = []

    def find(self, named: Iterable[tuple[str, Tensor, Group]], states: Mapping[Tensor, ParamState]) -> str | None:
        """Look for such gradients, and make them dense.

        Args:
            named: The names of parameters, the parameters and their groups.
            states: The optimizer's state.

        Returns:
            Of the first that is found, what to warn of; None if there is none or somebody was told.
        """
        found = [(name, param, group) for name, param, group in named if is_sparse(param.grad)]
        for name, param, group in found:
            if isinstance(rule_of(group), AveragedRule):
                raise RuntimeError(
                    f"ScheduleFreeRMSprop does not support sparse gradients, but parameter {name} has one: the average "
                    "moves all rows at every step, so make it dense (sparse=False in an Embedding)"
                )
            check_rows(name, param)
            if group["sparse"] == "lazy" and (reason := unfit_rows(param, states.get(param, {}), group)):
                raise RuntimeError(
                    f"sparse='lazy' can't update some rows of parameter {name} alone, as {reason}: use sparse='exact'"
                )
        swept = self._sweep([(param, group) for _, param, group in found], states)
        known = {id(param) for param, _ in self._params}
        self._params += [(param, group) for param, group, _ in swept if id(param) not in known]
        if not swept or self.has_warned:
            return None
        self.has_warned = True
        names = {id(param): name for name, param, _ in found}
        return (
            f"rmsprop makes the sparse gradient of parameter {names[id(swept[0][0])]} dense at every step, as "
            f"{swept[0][2]}: the step is exact, but costs as much as one of the whole table"
        )

    def _sweep(
        self, params: Iterable[tuple[Tensor, Group]], states: Mapping[Tensor, ParamState]
    ) -> list[tuple[Tensor, Group, str]]:
        swept = []
        for param, group in params:
            grad: Any = param.grad
            if is_sparse(grad) and (reason := unfit_rows(param, states.get(param, {}), group)):
                swept.append((param, group, reason))
                with torch.no_grad():
                    dense = grad.to_dense()
                self._sparse.append((param, grad))
                param.grad = dense
        return swept


def path_on_rows(param: Tensor, state: Mapping[str, Any], group: Group) -> str | None:
    """Return what updates a parameter with a sparse gradient, or one whose rows are up to date to different steps.

    Args:
        param: The parameter.
        state: Its state.
        group: Its group.

    Returns:
        The words of `paths`; None if it has no sparse gradient or becomes a dense one.
    """
    is_resting = param.grad is None and ROWS in as_held(state)
    if not (is_resting or is_sparse(param.grad)) or unfit_rows(param, state, group):
        return None
    lazily = ", lazily" * (group["sparse"] == "lazy")
    if reason := asked_for(group) or native.missing():
        return f"{ON_ROWS}{lazily}: {reason}"
    return f"kernel on rows{lazily} ({'triton' if is_on_gpu(param) else native.instruction_set()})"
