"""What is kept per parameter: its precision, its counters, and its exchange with ``torch.optim.RMSprop``.

State is never kept in 16 bits: averages there stop moving. Centered state holds the variance ``grad_var`` = v − m²
instead of ``square_avg`` = v, because the difference of the two large numbers can come out negative; ``square_avg`` is
rebuilt where a state dict leaves, and taken apart where one arrives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rmsprop.rule import Rule

ParamState = dict[str, Any]
ARRAYS = ("square_avg", "grad_var", "grad_avg", "momentum_buffer")

_STATE_DTYPES = {
    torch.float64: torch.float64,
    torch.complex128: torch.complex128,
    torch.complex64: torch.complex64,
    torch.complex32: torch.complex64,
}


def state_dtype(param: Tensor) -> torch.dtype:
    """Return the dtype of a parameter's state: its own, but at least 32 bits."""
    return _STATE_DTYPES.get(param.dtype, torch.float32)


def as_real(tensor: Tensor) -> Tensor:
    """Return a complex tensor as pairs of real numbers (a view, unless it is a lazy conjugate), any other as it is."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def complete(state: ParamState, param: Tensor, rule: Rule) -> None:
    """Add what a rule needs and a parameter's state lacks: all at its first step, some when options are turned on.

    State whose dtype is not what the parameter needs any more (after ``model.double()``, say) is converted.

    Args:
        state: The parameter's state; changed in place.
        param: The parameter.
        rule: The rule of its group.
    """
    for name in ARRAYS:
        if name in state:
            state[name] = state[name].to(state_dtype(param))
    if "grad_var" in rule.state_names and "grad_var" not in state and "square_avg" in state:
        _split_square_avg(state)
    elif "square_avg" in rule.state_names and "square_avg" not in state and "grad_var" in state:
        state["square_avg"] = _rebuilt_square_avg(state)
        del state["grad_var"]  # it would grow stale, and be taken for current when centered again
    for name in rule.state_names:
        if name not in state:
            state[name] = torch.zeros_like(param, dtype=state_dtype(param), memory_format=torch.preserve_format)
            if start := rule.start(name):
                as_real(state[name]).fill_(start)


def _squared(tensor: Tensor) -> Tensor:
    """Return the squares of the real numbers in a tensor: a complex one is two reals, as torch has it."""
    real = as_real(tensor)
    squares = real * real
    return torch.view_as_complex(squares) if tensor.is_complex() else squares


def _rebuilt_square_avg(state: ParamState) -> Tensor:
    grad_var: Tensor = state["grad_var"]
    return grad_var + _squared(state["grad_avg"])


def _split_square_avg(state: ParamState) -> None:
    """Replace ``square_avg`` by ``grad_avg`` and ``grad_var``, element by element never below zero.

    A ``grad_var`` that came along is kept where it still belongs to ``square_avg``: torch carries it through untouched,
    and then only ``square_avg`` is up to date.
    """
    square_avg = state.pop("square_avg")
    state.setdefault("grad_avg", torch.zeros_like(square_avg))
    difference = as_real(square_avg - _squared(state["grad_avg"])).clamp_(min=0.0)
    if "grad_var" in state:
        current = as_real(_rebuilt_square_avg(state)) == as_real(square_avg)
        difference = torch.where(current, as_real(state["grad_var"]), difference)
    state["grad_var"] = torch.view_as_complex(difference) if square_avg.is_complex() else difference


def exported(state: ParamState) -> ParamState:
    """Return a parameter's state as a state dict shows it: as torch expects it.

    Args:
        state: The parameter's state; left as it is.

    Returns:
        The same tensors, a step counter of its own (torch would count a shared one once per parameter), and
        ``square_avg`` rebuilt if the state is centered.
    """
    own = {"step": state["step"].clone()} if isinstance(state.get("step"), Tensor) else {}
    rebuilt = {"square_avg": _rebuilt_square_avg(state)} if "grad_var" in state else {}
    return {**state, **own, **rebuilt}


def adopted(saved: ParamState, param: Tensor) -> ParamState:
    """Return the state to keep for a parameter from one that was saved, by this class or by torch's.

    Args:
        saved: The saved state; left as it is.
        param: The parameter it belongs to.

    Returns:
        Copies on the parameter's device, in the state's own dtype.

    Raises:
        ValueError: If a saved tensor does not have the parameter's shape.
    """
    state = {name: _adopted_value(name, value, param) for name, value in saved.items()}
    if "grad_var" in state and "square_avg" in state:
        _split_square_avg(state)
    return state


def _adopted_value(name: str, value: Any, param: Tensor) -> Any:
    if name == "step" or not isinstance(value, Tensor):
        return value
    if name not in ARRAYS:  # not this class's: somebody else keeps it here
        return value.to(param.device, copy=True)
    if value.shape != param.shape:
        raise ValueError(
            f"loaded state has {name} of shape {tuple(value.shape)} for a parameter of shape {tuple(param.shape)}: "
            "load a state dict that was saved for this model"
        )
    kept = torch.empty_like(param, dtype=state_dtype(param), memory_format=torch.preserve_format)
    return kept.copy_(value) if value.is_floating_point() or value.is_complex() else value.clone()


def new_counter(param: Tensor, capturable: bool, value: float = 0.0) -> Tensor:
    """Return a step counter as torch keeps one: a 0-d float tensor, on the device only if it must be captured."""
    dtype = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
    return torch.full((), value, dtype=dtype, device=param.device if capturable else "cpu")


def share_counters(params: Iterable[Tensor], states: dict[Tensor, ParamState], capturable: bool) -> None:
    """Give the parameters of a group that have taken equally many steps one counter in common.

    Counting then costs one addition per group and step, while ``state[p]["step"]`` still means what it does in torch.

    Args:
        params: The parameters of a group.
        states: The optimizer's state; changed in place.
        capturable: Whether the counters live on the parameters' device.
    """
    counters: dict[tuple[float, torch.device], Tensor] = {}
    for param in params:
        state = states.get(param)
        if state and "step" in state:
            key = float(state["step"]), param.device
            if key not in counters:
                counters[key] = new_counter(param, capturable, key[0])
            state["step"] = counters[key]


def is_on_device(counter: object) -> bool:
    """Whether a step counter is where reading it means waiting."""
    return isinstance(counter, Tensor) and counter.device.type != "cpu"


def holders(states: Mapping[Tensor, ParamState]) -> Counter[int]:
    """Return how many parameters of an optimizer hold each step counter, by the counter's id."""
    return Counter(id(state.get("step")) for state in states.values() if isinstance(state, dict))


def separate_counters(
    active: Sequence[Tensor], held: Counter[int], states: dict[Tensor, ParamState], on_device: bool
) -> None:
    """Part the counters of parameters that are about to step from all others', and start the missing ones.

    Args:
        active: The parameters of a group with a gradient.
        held: What `holders` returned for all parameters.
        states: The optimizer's state; changed in place.
        on_device: Whether the counters must live on the parameters' device.
    """
    own = Counter(id(states[param].get("step")) for param in active)
    replaced: dict[tuple[int, torch.device], Tensor] = {}
    for param in active:
        state = states[param]
        step = state.get("step")
        stays = isinstance(step, Tensor) and (step.device == param.device or not on_device)
        if stays and held[id(step)] <= own[id(step)]:
            continue
        key = id(step), param.device  # None, and so new together, for parameters at their first step
        if key not in replaced:
            replaced[key] = _parted(step, param, on_device)
        state["step"] = replaced[key]


def _parted(step: Any, param: Tensor, on_device: bool) -> Tensor:
    """Return a counter of its own for a parameter, which goes on from another one, or from None."""
    if on_device and isinstance(step, Tensor) and step.device == param.device:
        return step.clone()  # reading it would mean waiting for the device
    return new_counter(param, on_device, 0.0 if step is None else float(step))
