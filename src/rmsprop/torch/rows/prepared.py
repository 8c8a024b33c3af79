"""Rows that are brought up to date before they are read: what `prepare` of the optimizer does.

Momentum and decoupled weight decay move rows that have no gradient. Where the rows that a forward is going to read are
named first, they alone need be moved, and no step has to go through the whole table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rmsprop.averaging import AveragedRule
from rmsprop.torch.checks import names_of
from rmsprop.torch.groups import as_groups, rule_of
from rmsprop.torch.rows.clock import ROWS, RowClock, as_held, settle
from rmsprop.torch.rows.sparse import moves_rows, new_clock, unfit_table
from rmsprop.torch.state.completion import complete, is_complete
from rmsprop.torch.state.param_state import ParamState
from rmsprop.torch.state.rounding import choice_of

Array = np.ndarray[Any, Any]


class NamedParam(NamedTuple):
    """A parameter of an optimizer.

    Args:
        name: What it is called.
        number: Its number in the optimizer.
        param: The parameter.
        group: Its group.
    """

    name: str
    number: int
    param: Tensor
    group: Mapping[str, Any]


def prepare(param_groups: list[dict[str, Any]], states: dict[Tensor, ParamState], rows: Any) -> bool:
    """Bring rows up to date.

    Args:
        param_groups: The parameter groups of an optimizer.
        states: Its state.
        rows: Which rows of its parameter, or a mapping from parameters to rows; None: all that ever were prepared.

    Returns:
        Whether there is state that steps didn't know of.

    Raises:
        TypeError: If rows are no integers.
        ValueError: If a parameter is not the optimizer's, or hasn't such rows.
        RuntimeError: If its rows can't be told apart.
    """
    tables = _tables(param_groups)
    if rows is None:
        for table in tables:
            clock = as_held(states.get(table.param, {})).get(ROWS)
            if isinstance(clock, RowClock) and clock.drift is not None:
                clock.settle(as_held(states[table.param]), _now(states[table.param]))
                if not clock.follows(_now(states[table.param])):
                    settle(states[table.param])
        return False
    chosen = [(table, _places(table, of_table)) for table, of_table in _chosen(tables, rows)]
    news = [_prepare(table, places, states) for table, places in chosen]
    return any(news)


def _tables(param_groups: list[dict[str, Any]]) -> list[NamedParam]:
    numbers, groups = count(), as_groups(param_groups)
    return [
        NamedParam(name, next(numbers), param, group)
        for group, names in zip(groups, names_of(param_groups), strict=True)
        for name, param in zip(names, group["params"], strict=True)
    ]


def _chosen(tables: list[NamedParam], rows: Any) -> Iterable[tuple[NamedParam, Any]]:
    """Return parameters and the rows that were named of each."""
    if not isinstance(rows, Mapping):
        if len(tables) != 1:
            raise ValueError(
                f"the optimizer has {len(tables)} parameters: say whose rows these are, prepare({{weight: rows}})"
            )
        return [(tables[0], rows)]
    by_param = {id(table.param): table for table in tables}
    for param in rows:
        if id(param) not in by_param:
            raise ValueError(f"prepare was given rows of {_described(param)}, which is no parameter of the optimizer")
    return [(by_param[id(param)], of_param) for param, of_param in rows.items()]


def _described(param: Any) -> str:
    return f"a tensor of shape {tuple(param.shape)}" if isinstance(param, Tensor) else repr(param)


def _places(table: NamedParam, rows: Any) -> Array:
    """Return the numbers of rows, checked."""
    try:
        tensor = rows if isinstance(rows, Tensor) else torch.as_tensor(rows, device="cpu")
    except (OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            f"rows of parameter {table.name} must be integers, in one tensor, array or list, but this "
            f"{type(rows).__name__} can't be read as such: {error}"
        ) from error
    if tensor.layout != torch.strided:
        raise TypeError(f"rows of parameter {table.name} must be a dense tensor of integers, but are {tensor.layout}")
    if tensor.numel() == 0:
        return np.empty(0, np.int64)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"rows of parameter {table.name} must be integers, but are of {tensor.dtype}")
    if table.param.ndim == 0:
        raise ValueError(f"parameter {table.name} has no rows: it is a single number")
    tensor = tensor.detach().to(torch.int64)  # of unsigned ones torch knows no least
    least, most = (int(place) for place in torch.aminmax(tensor))
    if least < 0 or most >= len(table.param):
        wrong = least if least < 0 else most
        raise ValueError(f"row {wrong} of parameter {table.name} was named, which has rows 0 to {len(table.param) - 1}")
    return tensor.reshape(-1).cpu().numpy()


def _prepare(table: NamedParam, rows: Array, states: dict[Tensor, ParamState]) -> bool:
    param, group = table.param, table.group
    rule, state = rule_of(group), _state_of(states, param)
    if isinstance(rule, AveragedRule):
        raise RuntimeError(
            f"ScheduleFreeRMSprop does not support sparse gradients, and can't prepare rows of parameter {table.name}: "
            "the average moves all rows at every step"
        )
    clock = as_held(state).get(ROWS)
    if isinstance(clock, RowClock) and not clock.follows(_now(state)):
        settle(state)
        clock = None
    if not isinstance(clock, RowClock) or clock.drift is None:
        if not moves_rows(group) or unfit_table(param, state, group, is_prepared=True):
            return False  # rows rest, or the step says why it goes through the whole table
        choice = choice_of(group)
        if not is_complete(state, param, rule, False, choice):
            state = complete(states, param, rule, count_on_device=False, rounding=choice)
        settle(state)
        width = math.prod(param.shape[1:]) * (2 if param.is_complex() else 1)
        clock = new_clock(param, (len(param), width), group, True, table.number, _now(state))
        dict.__setitem__(state, ROWS, clock)
    is_new, state.is_prepared = not state.is_prepared, True
    clock.catch_up(as_held(state), clock.units_of(rows, len(param)), _now(state))
    return is_new


def _state_of(states: dict[Tensor, ParamState], param: Tensor) -> ParamState:
    """Return the state of a parameter, an empty one where there is none."""
    state = states.get(param)
    return state if isinstance(state, ParamState) else ParamState(state)


def _now(state: ParamState) -> int:
    return int(state.counter.item())
