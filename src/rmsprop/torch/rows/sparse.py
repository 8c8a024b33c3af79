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

from rmsprop import native, rowwise
from rmsprop.averaging import AveragedRule
from rmsprop.decays import LAST_STEP
from rmsprop.drift import drifts
from rmsprop.rows import moves_at_rest, needs_all_rows
from rmsprop.rule import Rule
from rmsprop.storage import KERNEL_DTYPES, working_dtype
from rmsprop.torch.checks import check_rows
from rmsprop.torch.device import is_on_gpu, missing
from rmsprop.torch.groups import rule_of
from rmsprop.torch.local import is_lazy, is_plain_class, is_sparse
from rmsprop.torch.obstacles import asked_for
from rmsprop.torch.rows.clock import ROWS, RowClock, as_held, is_on_rows
from rmsprop.torch.state.counter import has_taken, is_shared
from rmsprop.torch.state.packing import CODES
from rmsprop.torch.state.param_state import ParamState
from rmsprop.torch.state.rounding import RoundingChoice, choice_of, kept_dtype

Group = Mapping[str, Any]
ON_ROWS = "tensor operations on rows"  # which no compiler traces
# Why a rule can't update rows alone, by the value of `sparse`.
_UNFIT_RULE = {"exact": moves_at_rest, "lazy": needs_all_rows, "rowwise": rowwise.unfit_rule}
_WORDS = {"exact": "", "lazy": ", lazily", "rowwise": ", one average each"}


def unfit_rows(param: Tensor, state: Mapping[str, Any], group: Group, is_prepared: bool | None = None) -> str | None:
    """Return why a sparse gradient must become a dense one, or None if its rows can be updated alone.

    Args:
        param: The parameter, with a sparse gradient or one that rests.
        state: Its state, as far as there is any yet.
        group: Its group.
        is_prepared: Whether rows that move without a gradient are brought up to date before they are read. Default
            None: its state tells.

    Returns:
        A reason that completes "as ...".
    """
    if reason := unfit_table(param, state, group, _is_prepared(state) if is_prepared is None else is_prepared):
        return reason
    grad = param.grad
    if grad is not None and grad.dtype != param.dtype:
        return f"its gradient is of {grad.dtype}"
    return None if grad is None or _has_rows(grad, group) else "its gradient has no rows"


def unfit_table(param: Tensor, state: Mapping[str, Any], group: Group, is_prepared: bool) -> str | None:
    """Return why no sparse gradient of a parameter could be applied row by row, or None if one could.

    Args:
        param: The parameter.
        state: Its state, as far as there is any yet.
        group: Its group.
        is_prepared: Whether rows that move without a gradient are brought up to date before they are read.

    Returns:
        As `unfit_rows`.
    """
    rule = rule_of(group)
    if isinstance(rule, AveragedRule):
        return "the average moves all rows"
    catches_up = is_prepared and param.device.type == "cpu" and not is_on_gpu(param) and moves_rows(group)
    if not catches_up and (reason := _UNFIT_RULE[group["sparse"]](rule)):
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
    if has_taken(as_held(state).get("step"), LAST_STEP):
        return "it has taken 2³¹ steps"
    if group["sparse"] == "rowwise":
        return _unfit_for_row_averages(param, state, choice_of(group))
    return _unfit_state(param, state, rule, choice_of(group))


def moves_rows(group: Group) -> bool:
    """Whether rows without a gradient move in a group, all by one map, and exactly."""
    rule = rule_of(group)
    return group["sparse"] == "exact" and not isinstance(rule, AveragedRule) and drifts(rule)


def new_clock(param: Tensor, shape: tuple[int, int], group: Group, moves: bool, number: int, now: int) -> RowClock:
    """Return the steps of the rows of a parameter that are all up to date.

    Args:
        param: The parameter.
        shape: How many rows there are, and how many real numbers in each.
        group: Its group.
        moves: Whether rows without a gradient move.
        number: Its number in the optimizer.
        now: The step to which they are.
    """
    working = working_dtype(KERNEL_DTYPES[str(param.dtype).removeprefix("torch.")])
    is_lazy = group["sparse"] == "lazy"
    return RowClock(shape, working, choice_of(group), number, now, is_lazy, param if moves else None)


def _has_rows(grad: Tensor, group: Group) -> bool:
    """Whether a gradient is one of rows; where each has one average, that of the whole parameter is."""
    return grad.sparse_dim() > 0 if is_sparse(grad) else group["sparse"] == "rowwise"


def _is_prepared(state: Mapping[str, Any]) -> bool:
    """Whether somebody brings rows that move without a gradient up to date before they are read."""
    clock = as_held(state).get(ROWS)  # in a copy of the state the clock alone tells
    is_moving = isinstance(clock, RowClock) and clock.drift is not None
    return is_moving or (isinstance(state, ParamState) and state.is_prepared)


def _unfit_for_row_averages(param: Tensor, state: Mapping[str, Any], choice: RoundingChoice) -> str | None:
    if choice.packing is not None:
        return f"{choice.words} packs averages of single numbers, and a row has one of float32 here"
    grad: Any = param.grad
    if grad is not None and is_sparse(grad) and grad.sparse_dim() != 1:
        return f"its gradient has {grad.sparse_dim()} sparse dimensions, and each row along the first has one average"
    arrays = (value for name, value in as_held(state).items() if name != "step" and isinstance(value, Tensor))
    return "processes share its state" if any(map(is_shared, arrays)) else None


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


def check_fit(name: str, param: Tensor, state: Mapping[str, Any], group: Group) -> None:
    """Check that rows can be updated alone where a dense copy of the gradient would be something else.

    Args:
        name: What an error calls the parameter.
        param: The parameter, with a gradient of rows.
        state: Its state, as far as there is any yet.
        group: Its group.

    Raises:
        RuntimeError: If they can't.
    """
    sparse = group["sparse"]
    if sparse != "exact" and (reason := unfit_rows(param, state, group)):
        raise RuntimeError(
            f"sparse={sparse!r} can't update some rows of parameter {name} alone, as {reason}: use sparse='exact'"
        )


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
            check_fit(name, param, states.get(param, {}), group)
        is_spared = {
            id(param): unfit_rows(param, states.get(param, {}), group, is_prepared=True) is None
            for _, param, group in found
        }
        swept = self._sweep([(param, group) for _, param, group in found], states)
        known = {id(param) for param, _ in self._params}
        self._params += [(param, group) for param, group, _ in swept if id(param) not in known]
        if not swept or self.has_warned:
            return None
        self.has_warned = True
        names = {id(param): name for name, param, _ in found}
        remedy = ". prepare() of the optimizer with the rows, before each forward, spares that"
        remedy *= is_spared[id(swept[0][0])]
        return (
            f"rmsprop makes the sparse gradient of parameter {names[id(swept[0][0])]} dense at every step, as "
            f"{swept[0][2]}: the step is exact, but costs as much as one of the whole table{remedy}"
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
    if not is_on_rows(param, state, group) or unfit_rows(param, state, group):
        return None
    words = _WORDS[group["sparse"]]
    if reason := asked_for(group) or native.missing():
        return f"{ON_ROWS}{words}: {reason}"
    return f"kernel on rows{words} ({'triton' if is_on_gpu(param) else native.instruction_set()})"
