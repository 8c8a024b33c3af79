"""What no step can use: refused before anything changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import native
from rmsprop.torch.local import is_partial, is_shard, is_sparse, overlaps_itself
from rmsprop.torch.rows.clock import ROW_AVERAGE, ROW_STEPS, ROWS, RowClock, as_held
from rmsprop.torch.state.packing import ARRAYS, CODES
from rmsprop.torch.state.param_state import ParamState


def names_of(param_groups: list[dict[str, Any]]) -> list[list[str]]:
    """Return what the parameters of each group are called: their own names, else their numbers in a state dict."""
    names, first = [], 0
    for group in param_groups:
        count = len(group["params"])
        own = group.get("param_names", ())
        names.append(list(own) if len(own) == count else [str(first + i) for i in range(count)])
        first += count
    return names


def check_param(name: str, param: Tensor, state: Mapping[str, Any]) -> None:
    """Check that a parameter's gradient and state can be used.

    Args:
        name: What an error calls the parameter.
        param: The parameter, with a gradient.
        state: Its state, as far as it has any.

    Raises:
        RuntimeError: If its gradient is partial, of another shape or of rows that it hasn't, its dtype is no float or
            its layout not dense, its elements share memory, or a state tensor has another shape or device than it
            should.
    """
    grad = param.grad
    assert grad is not None
    if is_sparse(grad):
        check_rows(name, param)
    if reason := _unusable(param, grad):
        raise RuntimeError(f"parameter {name} {reason}")
    held = as_held(state)  # looking at an array must not bring all rows up to date
    for array in (*ARRAYS, *CODES.values()):
        if array in held:
            _check_state(name, array, held[array], param)
    for array in (ROW_AVERAGE, ROW_STEPS):
        if array in held and (held[array].shape, held[array].device) != (param.shape[:1], param.device):
            raise RuntimeError(
                f"state {array!r} of parameter {name} is {_described(held[array])}, but the parameter is "
                f"{_described(param)}, and there is one for each row: load the state with load_state_dict, or delete "
                "it to start it anew"
            )


def check_rows(name: str, param: Tensor) -> None:
    """Check a sparse gradient.

    Args:
        name: What an error calls the parameter.
        param: The parameter, with a gradient in coordinates.

    Raises:
        RuntimeError: If the parameter is a shard or not dense, the gradient of another shape, or a coordinate outside
            of it.
    """
    grad: Any = param.grad
    if is_shard(param) or is_shard(grad):
        raise RuntimeError(
            f"parameter {name} is a DTensor with a sparse gradient, whose rows can't be told from those of other "
            "shards: make the gradient dense (sparse=False in an Embedding)"
        )
    if reason := _unfit_layout(param):
        raise RuntimeError(f"parameter {name} {reason}")
    if grad.shape != param.shape:
        raise RuntimeError(
            f"parameter {name} has shape {tuple(param.shape)}, but its sparse gradient {tuple(grad.shape)}: call "
            "zero_grad() after resizing"
        )
    for dimension, places in enumerate(() if _are_in_range(grad) else grad._indices()):
        least, most = (int(place) for place in torch.aminmax(places))
        if least < 0 or most >= grad.shape[dimension]:
            raise RuntimeError(
                f"the sparse gradient of parameter {name} has index {least if least < 0 else most} in dimension "
                f"{dimension}, which goes from 0 to {grad.shape[dimension] - 1}"
            )


def _are_in_range(grad: Any) -> bool:
    """Whether a sparse gradient is known to have no coordinate outside of its shape, by a look that costs little."""
    places = grad._indices()
    dimensions, count = places.shape
    if not count:
        return True
    if places.device.type != "cpu" or not places.is_contiguous() or native.missing():
        return False
    begin = places.data_ptr()
    return all(native.are_rows(begin + 8 * count * k, count, grad.shape[k]) for k in range(dimensions))


def check_prepared(name: str, param: Tensor, state: Mapping[str, Any]) -> None:
    """Check that rows with a gradient were brought up to date before they were read.

    Args:
        name: What an error calls the parameter.
        param: The parameter, with a gradient of all rows; those of zeros nobody need have read.
        state: Its state, as far as it has any.

    Raises:
        RuntimeError: If one wasn't.
    """
    held = as_held(state)
    clock, grad = held.get(ROWS), param.grad
    if not isinstance(clock, RowClock) or clock.drift is None or grad is None or not grad.numel():
        return
    now = int(held["step"].item())
    if grad.shape != param.shape or not clock.follows(now):
        return
    is_behind = np.repeat(clock.last < now, clock.per_unit)[: clock.shape[0]].reshape(len(param), -1).any(1)
    if is_behind.any() and (found := is_behind & (grad.detach() != 0).reshape(len(param), -1).any(1).numpy()).any():
        raise RuntimeError(not_prepared(name, int(found.argmax())))


def not_prepared(name: str, row: int) -> str:
    """Return what to say of a row with a gradient that was not prepared.

    Args:
        name: What its parameter is called.
        row: Its number.
    """
    return (
        f"row {row} of parameter {name} has a gradient, but was not prepared: a forward that read it found it as it "
        "was some steps ago. Call prepare() of the optimizer before each forward, with all rows that are going to be "
        "read, those of other processes too"
    )


def _unusable(param: Tensor, grad: Any) -> str | None:
    """Return why no implementation can update a parameter, or None."""
    if not (param.is_floating_point() or param.is_complex()):
        return f"has dtype {param.dtype}: only floating point and complex parameters can be trained"
    if param.dtype.itemsize < 2:
        return f"has dtype {param.dtype}, in which PyTorch computes nothing: keep weights in bfloat16 or wider"
    if reason := _unfit_layout(param):
        return reason
    if grad.shape != param.shape:
        return f"has shape {tuple(param.shape)}, but its gradient {tuple(grad.shape)}: call zero_grad() after resizing"
    if is_partial(grad):
        return (
            f"has the placements {getattr(param, 'placements', ())}, but its gradient {grad.placements}: a Partial one "
            "is not summed over the processes yet, so redistribute it before the step"
        )
    if param.layout == torch.strided and not is_shard(param) and overlaps_itself(param):
        return "has elements that share their memory (it was expanded): make it a tensor of its own with clone()"
    return None


def _unfit_layout(param: Tensor) -> str | None:
    """Return why a parameter that isn't dense can't be updated, or None."""
    if param.layout in (torch.strided, torch.jagged):
        return None
    return f"has layout {param.layout}: only dense parameters can be trained, though their gradients may be sparse"


def _check_state(name: str, array: str, value: Tensor, param: Tensor) -> None:
    if (value.shape, value.device, value.is_complex()) != (param.shape, param.device, param.is_complex()):
        raise RuntimeError(
            f"state {array!r} of parameter {name} is {_described(value)}, but the parameter is {_described(param)}: "
            "load the state with load_state_dict, or delete it to start it anew"
        )


def _described(tensor: Tensor) -> str:
    return f"{tensor.dtype} of shape {tuple(tensor.shape)} on {tensor.device}"


def check_states_belong(param_groups: list[dict[str, Any]], states: Mapping[Any, ParamState]) -> None:
    """Check that every parameter with state is still in a group.

    Args:
        param_groups: The groups.
        states: The optimizer's state.

    Raises:
        RuntimeError: If a parameter was taken out of its group, or replaced there.
    """
    there = {id(param) for group in param_groups for param in group["params"]}
    lost = [param for param in states if isinstance(param, Tensor) and id(param) not in there]
    if not lost:
        return
    fresh = [
        name
        for names, group in zip(names_of(param_groups), param_groups, strict=True)
        for name, param in zip(names, group["params"], strict=True)
        if param not in states and param.shape == lost[0].shape
    ]
    replaced = f" (parameter {fresh[0]} seems to have taken its place)" if fresh else ""
    raise RuntimeError(
        f"there is state of a parameter of shape {tuple(lost[0].shape)} that is in no group any more{replaced}: "
        "delete its state, del optimizer.state[param], or move it to the parameter that replaced it"
    )
