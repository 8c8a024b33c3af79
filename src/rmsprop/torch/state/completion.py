"""State that a rule needs and a parameter lacks: made at its first step, or when options are turned on later.

State is not made in 16 bits unless its group asks for it: averages that are rounded to the nearest there stop moving.
(What a user shared between processes in 16 bits stays so.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from rmsprop.averaging import ITERATE, Updating
from rmsprop.torch.local import as_real, is_lazy
from rmsprop.torch.rows.clock import ROW_AVERAGE, ROW_STEPS, ROWS, as_held
from rmsprop.torch.state.counter import can_count, is_shared, new_counter
from rmsprop.torch.state.packing import ARRAYS, CODES, is_held, pack, unpack, zeros
from rmsprop.torch.state.param_state import Changes, ParamState
from rmsprop.torch.state.rounding import LOST, TO_NEAREST, RoundingChoice, kept_dtype, state_dtype
from rmsprop.torch.state.variance import rebuilt_square_avg, split_square_avg


def complete(
    states: dict[Tensor, Any],
    param: Tensor,
    rule: Updating,
    count_on_device: bool,
    changes: Changes | None = None,
    rounding: RoundingChoice = TO_NEAREST,
) -> ParamState:
    """Add what a rule needs and a parameter's state lacks: all at its first step, some when options are turned on.

    State whose dtype is not what the parameter needs any more (after ``model.double()``, say) is converted, unless
    other processes work on it.

    Args:
        states: The state of all parameters; changed in place.
        param: The parameter.
        rule: The rule of its group.
        count_on_device: Whether the counter must live where the parameter does.
        changes: Where the state is to tell of later changes. Default None: nowhere.
        rounding: How its group rounds, and what it packs state into. Default: to the nearest, and into nothing.

    Returns:
        The parameter's state.
    """
    state = ParamState.of(states, param, changes)
    if not can_count(state.get("step"), param, count_on_device):
        state.set_counter(new_counter(state.get("step"), param, count_on_device))
    if ROW_AVERAGE in state:
        _spread_out(state, param)
    is_other_rules = is_held(state, "square_avg") if rule.centered else not is_held(state, "square_avg")
    if is_other_rules or rounding.packing != "8bit":
        unpack(state)
    wanted = kept_dtype(param, RoundingChoice() if is_other_rules or rounding.packing == "8bit" else rounding)
    for name in ARRAYS:
        if name in state and state[name].dtype != wanted and not is_shared(state[name]):
            state[name] = state[name].to(wanted)
        if name in state and is_lazy(state[name]):
            state[name] = state[name].resolve_conj().resolve_neg()
    if rule.centered and "square_avg" in state:  # from another rule, or assigned by somebody
        split_square_avg(state)
    elif not rule.centered and "square_avg" not in state and "grad_var" in state:
        state["square_avg"] = rebuilt_square_avg(state)
        del state["grad_var"]  # it would grow stale, and be taken for current when centered again
    for name in rule.state_names:
        if not is_held(state, name):
            state.update(_new_array(name, param, rule.start(name), rounding))
    if rounding.packing is not None:
        pack(state, rounding)
    keep_lost(state, param, rounding)
    return state


def share(states: dict[Tensor, Any], params: Iterable[Tensor], rule: Updating, rounding: RoundingChoice) -> None:
    """Move the state of parameters into memory that processes share, and make what there is none of yet.

    Frozen parameters get theirs too, since one may wake in any of the processes.

    Args:
        states: The state of all parameters; changed in place.
        params: The parameters of a group.
        rule: The rule of the group.
        rounding: As for `complete`.
    """
    for param in params:
        if param.is_floating_point() or param.is_complex():
            state = complete(states, param, rule, count_on_device=False, rounding=rounding)
            for value in state.values():
                if isinstance(value, Tensor):
                    value.share_memory_()


def _spread_out(state: ParamState, param: Tensor) -> None:
    """Give each number of a row an average of its own: its row's."""
    array = torch.empty_like(param, dtype=state_dtype(param), memory_format=torch.preserve_format)
    real, average = as_real(array), state[ROW_AVERAGE]
    real.copy_(average.reshape(-1, *(1 for _ in real.shape[1:])).expand(real.shape))
    state["square_avg"] = array
    for name in (ROW_AVERAGE, ROW_STEPS):
        state.pop(name, None)


def is_complete(state: Any, param: Tensor, rule: Updating, count_on_device: bool, rounding: RoundingChoice) -> bool:
    """Whether `complete` would leave a state of rows as it is; looking at it doesn't bring them up to date."""
    if not isinstance(state, ParamState) or ROWS not in state:
        return False
    held, is_coded = as_held(state), rounding.packing == "8bit"
    arrays = [held.get(CODES[name] if is_coded else name) for name in rule.state_names]
    wanted = torch.uint8 if is_coded else kept_dtype(param, rounding)
    fits = all(array is not None and array.dtype == wanted for array in arrays)
    return (
        fits
        and can_count(held.get("step"), param, count_on_device)
        and (held[LOST].dtype if LOST in held else None) == (param.dtype if rounding.keeps_lost(param.dtype) else None)
    )


def _new_array(name: str, param: Tensor, start: float, rounding: RoundingChoice) -> dict[str, Tensor]:
    """Return an array of state before the first step, by the names that it is held under."""
    if name == ITERATE:
        iterate = torch.empty_like(param, dtype=state_dtype(param), memory_format=torch.preserve_format)
        return {name: iterate.copy_(param.detach())}
    if rounding.packing == "8bit" and not start:
        return zeros(name, param)
    wanted = state_dtype(param) if rounding.packing == "8bit" else kept_dtype(param, rounding)
    array = torch.zeros_like(param, dtype=wanted, memory_format=torch.preserve_format)
    if start:
        as_real(array).fill_(start)
    return {name: array}


def keep_lost(state: ParamState, param: Tensor, rounding: RoundingChoice) -> None:
    """Keep what rounding takes off a parameter, if its group does; otherwise what there is would grow stale."""
    wanted = rounding.keeps_lost(param.dtype)
    fits = LOST in state and state[LOST].dtype == param.dtype and state[LOST].shape == param.shape
    if LOST in state and not (wanted and fits):
        del state[LOST]
    if wanted and not fits:
        state[LOST] = torch.zeros_like(param, memory_format=torch.preserve_format)
