"""The state of a parameter whose rows have one average of squares each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rmsprop.rule import Rule
from rmsprop.torch.local import as_real
from rmsprop.torch.rows.clock import ROW_AVERAGE, ROW_STEPS, settle
from rmsprop.torch.state.completion import complete, keep_lost
from rmsprop.torch.state.counter import can_count, new_counter
from rmsprop.torch.state.param_state import Changes, ParamState
from rmsprop.torch.state.rounding import RoundingChoice, choice_of, state_dtype


def complete_row_averages(
    states: dict[Tensor, Any], param: Tensor, rule: Rule, group: Mapping[str, Any], changes: Changes | None
) -> ParamState:
    """Add what rows with one average each need and a parameter's state lacks.

    Averages of single numbers, from before the group had such rows, become the mean of their row.

    Args:
        states: The state of all parameters; changed in place.
        param: The parameter.
        rule: The rule of its group.
        group: Its group.
        changes: Where the state is to tell of later changes; None: nowhere.

    Returns:
        The parameter's state.
    """
    state = ParamState.of(states, param, changes)
    settle(state)
    choice, dtype = choice_of(group), state_dtype(param).to_real()
    if ROW_AVERAGE not in state and _has_averages(state):
        complete(states, param, rule, count_on_device=False, changes=changes, rounding=_unpacked(choice))
        state[ROW_AVERAGE] = _means(state["square_avg"])
        del state["square_avg"]
    if not can_count(state.get("step"), param, on_device=False):
        state.set_counter(new_counter(state.get("step"), param, False))
    if ROW_AVERAGE not in state:
        state[ROW_AVERAGE] = torch.full(param.shape[:1], rule.start("square_avg"), dtype=dtype, device="cpu")
    elif state[ROW_AVERAGE].dtype != dtype or not state[ROW_AVERAGE].is_contiguous():
        state[ROW_AVERAGE] = state[ROW_AVERAGE].to(dtype).contiguous()
    if not group["staleness_decay"]:
        state.pop(ROW_STEPS, None)  # it would grow stale
    elif ROW_STEPS not in state:
        state[ROW_STEPS] = torch.zeros(param.shape[:1], dtype=torch.int32, device="cpu")
    elif state[ROW_STEPS].dtype != torch.int32 or not state[ROW_STEPS].is_contiguous():
        state[ROW_STEPS] = state[ROW_STEPS].to(torch.int32).contiguous()
    keep_lost(state, param, choice)
    return state


def _has_averages(state: Mapping[str, Any]) -> bool:
    names = {"square_avg", "grad_var", "square_avg_codes", "grad_var_codes"}
    return any(name in state for name in names)


def _unpacked(choice: RoundingChoice) -> RoundingChoice:
    return RoundingChoice(rounding=choice.rounding, seed=choice.seed)


def _means(square_avg: Tensor) -> Tensor:
    real = as_real(square_avg)
    return real.reshape(real.shape[0], math.prod(real.shape[1:])).double().mean(1).to(real.dtype)
