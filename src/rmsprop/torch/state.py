"""What is kept per parameter: its precision, its counter, and its exchange with ``torch.optim.RMSprop``.

State is not made in 16 bits unless its group asks for it: averages that are rounded to the nearest there stop moving.
(What a user shared between processes in 16 bits stays so.)
Centered state holds the variance ``grad_var`` = v − m² instead of ``square_avg`` = v, because the difference of the two
large numbers can come out negative; ``square_avg`` is rebuilt where somebody asks for it or a state dict leaves, and
taken apart where one arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, KeysView, Mapping
from functools import cache, wraps
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from rmsprop.averaging import ITERATE, Updating
from rmsprop.codes import blocks
from rmsprop.storage import working_dtype
from rmsprop.torch.counter import can_count, checked, is_shared, new_counter, pinned
from rmsprop.torch.local import is_dense, is_lazy, is_shard, is_uninitialized
from rmsprop.torch.packing import CODES, SCALES, packed, unpacked, zeros
from rmsprop.torch.rounding import LOST, TO_NEAREST, RoundingChoice
from rmsprop.torch.row_clock import ROW_AVERAGE, ROW_STEPS, ROWS, as_held, settle

ARRAYS = ("square_avg", "grad_var", "grad_avg", "momentum_buffer", ITERATE)


# What is brought up to date when it is read.
_AVERAGES = {*ARRAYS, *CODES.values(), *SCALES.values()}


class Changes:
    """What somebody has done to the states of an optimizer since this was last looked at.

    Attributes:
        seen: Whether anything was put into one.
        counters_shown: Whether a step counter was handed out, which may have been given other memory since.
    """

    def __init__(self) -> None:
        self.seen, self.counters_shown = False, True


class ParamState(dict[str, Any]):
    """The state of a parameter: a dict that tells when it is changed, so that a step need not look.

    Where it is centered it can be read as torch's: ``square_avg`` is rebuilt when it is asked for.

    Args:
        content: What it holds at first.

    Attributes:
        is_prepared: Whether somebody brings rows that move without a gradient up to date before they are read.

    Examples:
        >>> ParamState({"grad_var": torch.tensor(1.0), "grad_avg": torch.tensor(2.0)})["square_avg"]
        tensor(5.)
    """

    def __init__(self, content: Mapping[str, Any] | None = None) -> None:
        super().__init__(content or {})
        self.is_prepared = False
        self._changes: Changes | None = None
        self._counter_memory: np.ndarray[Any, Any] | None = None

    @classmethod
    def copied(cls, content: Mapping[str, Any]) -> Self:
        """Return a state that nobody else holds tensors of."""
        state = cls(content)
        if "step" in state:
            state.set_counter(state["step"])
        return state

    def set_counter(self, step: Any) -> None:
        """Keep a copy of a step counter, in memory that stays with this state where that can be had."""
        made = pinned(step)
        self["step"], self._counter_memory = made or (step, None)

    @property
    def counter(self) -> Any:
        """The step counter, for whoever leaves its memory as it is."""
        return super().__getitem__("step")

    def has_pinned_counter(self) -> bool:
        """Whether the step counter is in memory that stays with this state."""
        memory = self._counter_memory
        return memory is not None and self.counter.data_ptr() == memory.ctypes.data

    def tell(self, changes: Changes | None) -> None:
        """Tell of changes from now on.

        Args:
            changes: Where; None: nowhere.
        """
        if self._changes is not None and self._changes is not changes:
            self._changes.seen = True  # two optimizers share this state, or another plan is made for it
        self._changes = changes

    def __reduce__(self) -> Any:
        """Return what a pickle or a copy keeps: what is held, not whom it tells."""
        return type(self).copied, (as_held(self),)

    def __copy__(self) -> Self:
        """Return a state of the same tensors."""
        return type(self)(as_held(self))

    def __getitem__(self, key: str) -> Any:
        """Return what is held or can be rebuilt."""
        if key == "step":
            self._shows_counter()
        elif key in _AVERAGES:
            settle(self)
        return super().__getitem__(key)

    def _shows_counter(self) -> None:
        if self._changes is not None:
            self._changes.counters_shown = True

    def get(self, key: str, default: Any = None) -> Any:
        """Return what is held or can be rebuilt, else a default."""
        try:
            return self[key]
        except KeyError:
            return default

    def __missing__(self, key: str) -> Tensor:
        """Return an array that is held in 8 bits, or ``square_avg``."""
        if key in CODES and CODES[key] in self:
            return unpacked(key, self[CODES[key]], self[SCALES[key]])
        if key == "square_avg" and _holds(self, "grad_var") and _holds(self, "grad_avg"):
            return _rebuilt_square_avg(self)
        raise KeyError(key)

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        """Return the names of what is held, all up to date."""
        settle(self)
        return super().keys()

    def __iter__(self) -> Iterator[str]:
        """Yield the names, ``square_avg`` among them: torch's distributed checkpoints load what they find here."""
        numbers = {name for name in CODES if CODES[name] in self and is_shard(dict.__getitem__(self, CODES[name]))}
        codes = {held[name] for name in numbers for held in (CODES, SCALES)}
        yield from (name for name in self.keys() if name not in codes)
        yield from numbers
        if ("grad_var" in self or "grad_var" in numbers) and "square_avg" not in self:
            yield "square_avg"


def _holds(state: Mapping[str, Any], name: str) -> bool:
    """Whether a state has an array, in whatever form."""
    return name in state or CODES[name] in state


_WATCHED = {"step", *ARRAYS, *CODES.values(), *SCALES.values(), LOST, ROW_AVERAGE, ROW_STEPS}


def _telling(name: str) -> Callable[..., Any]:
    """Return a method of dict that tells of the change it makes."""
    change = getattr(dict, name)

    @wraps(change)
    def method(self: ParamState, *args: Any, **kwargs: Any) -> Any:
        changes = self._changes
        if changes is not None and not (args and isinstance(args[0], str) and args[0] not in _WATCHED):
            changes.seen = True  # not of what a user keeps beside
        return change(self, *args, **kwargs)

    return method


def _showing(name: str) -> Callable[..., Any]:
    """Return a method of dict that hands out everything, up to date."""
    show = getattr(dict, name)

    @wraps(show)
    def method(self: ParamState, *args: Any) -> Any:
        self._shows_counter()
        settle(self)
        return show(self, *args)

    return method


for _name in ("items", "values", "copy", "__or__", "__ror__"):
    setattr(ParamState, _name, _showing(_name))
# All that change a dict; written out they would be eight times the same two lines.
for _name in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
    setattr(ParamState, _name, _telling(_name))


def state_dtype(param: Tensor) -> torch.dtype:
    """Return the dtype of a parameter's state: its own, but at least 32 bits."""
    return _state_dtype(param.dtype)


def kept_dtype(param: Tensor, choice: RoundingChoice) -> torch.dtype:
    """Return the dtype of what is held of each array of a parameter's state."""
    if choice.packing is None:
        return state_dtype(param)
    return torch.bfloat16 if choice.packing == "bfloat16" else torch.uint8


@cache
def _state_dtype(dtype: torch.dtype) -> torch.dtype:
    kept: torch.dtype = getattr(torch, working_dtype(str(dtype).removeprefix("torch.")))
    return kept


def as_real(tensor: Tensor) -> Tensor:
    """Return a complex tensor as pairs of real numbers (a view, unless it is a lazy conjugate), any other as it is."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


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
    state = states[param]
    if not isinstance(state, ParamState):
        state = states[param] = ParamState(state)
    state.tell(changes)
    if not can_count(state.get("step"), param, count_on_device):
        state.set_counter(new_counter(state.get("step"), param, count_on_device))
    if ROW_AVERAGE in state:
        _spread_out(state, param)
    is_other_rules = _holds(state, "square_avg") if rule.centered else not _holds(state, "square_avg")
    if is_other_rules or rounding.packing != "8bit":
        _unpack(state)
    wanted = kept_dtype(param, RoundingChoice() if is_other_rules or rounding.packing == "8bit" else rounding)
    for name in ARRAYS:
        if name in state and state[name].dtype != wanted and not is_shared(state[name]):
            state[name] = state[name].to(wanted)
        if name in state and is_lazy(state[name]):
            state[name] = state[name].resolve_conj().resolve_neg()
    if rule.centered and "square_avg" in state:  # from another rule, or assigned by somebody
        _split_square_avg(state)
    elif not rule.centered and "square_avg" not in state and "grad_var" in state:
        state["square_avg"] = _rebuilt_square_avg(state)
        del state["grad_var"]  # it would grow stale, and be taken for current when centered again
    for name in rule.state_names:
        if not _holds(state, name):
            state.update(_new_array(name, param, rule.start(name), rounding))
    if rounding.packing is not None:
        _pack(state, rounding)
    keep_lost(state, param, rounding)
    return state


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


def _unpack(state: dict[str, Any]) -> None:
    """Hold arrays of 8 bits in float32."""
    for name in ARRAYS:
        if CODES[name] in state:
            state[name] = unpacked(name, state[CODES[name]], state[SCALES[name]])
            del state[CODES[name]], state[SCALES[name]]


def _pack(state: dict[str, Any], rounding: RoundingChoice) -> None:
    """Hold arrays in 16 or 8 bits, rounded to the nearest, but those that other processes work on."""
    for name in ARRAYS:
        if name not in state or is_shared(state[name]):
            continue
        if rounding.packing == "8bit":
            state.update(packed(name, state[name].float()))
            del state[name]
        elif state[name].dtype != torch.bfloat16:
            state[name] = state[name].to(torch.bfloat16)


def keep_lost(state: ParamState, param: Tensor, rounding: RoundingChoice) -> None:
    """Keep what rounding takes off a parameter, if its group does; otherwise what there is would grow stale."""
    wanted = rounding.keeps_lost(param.dtype)
    fits = LOST in state and state[LOST].dtype == param.dtype and state[LOST].shape == param.shape
    if LOST in state and not (wanted and fits):
        del state[LOST]
    if wanted and not fits:
        state[LOST] = torch.zeros_like(param, memory_format=torch.preserve_format)


def _squared(tensor: Tensor) -> Tensor:
    """Return the squares of the real numbers in a tensor: a complex one is two reals, as torch has it."""
    real = as_real(tensor)
    squares = real * real
    return torch.view_as_complex(squares) if tensor.is_complex() else squares


def _rebuilt_square_avg(state: Mapping[str, Any]) -> Tensor:
    grad_var, grad_avg = _wide(state["grad_var"]), _wide(state["grad_avg"])
    return grad_var + _squared(grad_avg)


def _wide(tensor: Tensor) -> Tensor:
    """Return a tensor in the precision in which updates work."""
    return tensor.to(_state_dtype(tensor.dtype))


def _difference(square_avg: Tensor, grad_avg: Tensor) -> Tensor:
    """Return v − m², element by element never below zero."""
    difference = as_real(square_avg - _squared(grad_avg)).clamp_(min=0.0)
    return torch.view_as_complex(difference) if square_avg.is_complex() else difference


def _split_square_avg(state: dict[str, Any]) -> None:
    """Replace ``square_avg`` by ``grad_avg`` and ``grad_var``, element by element never below zero.

    A ``grad_var`` that came along is kept where it still belongs to ``square_avg``: torch carries it through untouched,
    and then only ``square_avg`` is up to date.
    """
    square_avg = state["square_avg"]
    if is_shared(square_avg):
        # Made and shared by the user's own code, as zeros. Another process may be ahead, and has the variance in it.
        state["grad_var"] = square_avg
        del state["square_avg"]
        return
    state.setdefault("grad_avg", torch.zeros_like(square_avg))
    difference = _difference(square_avg, state["grad_avg"])
    if isinstance(state.get("grad_var"), Tensor):
        rebuilt, given = as_real(_rebuilt_square_avg(state)), as_real(square_avg)
        current = (rebuilt == given) | (rebuilt.isnan() & given.isnan())
        chosen = torch.where(current, as_real(state["grad_var"]), as_real(difference))
        difference = torch.view_as_complex(chosen) if square_avg.is_complex() else chosen
    state["grad_var"] = difference
    del state["square_avg"]  # last: what fails before has lost nothing


def exported(state: Mapping[str, Any], is_packed: bool) -> dict[str, Any]:
    """Return a parameter's state as a state dict shows it: as torch expects it, unless it is held in 8 bits.

    Codes of a `DTensor` are shown as numbers, because another mesh cuts it into other blocks.

    Args:
        state: The parameter's state; left as it is.
        is_packed: Whether its group keeps state in 16 or 8 bits. If not, what is still held so is shown in float32.

    Returns:
        The same tensors, with a step counter of its own. If the state is centered, ``square_avg`` is rebuilt, and
        ``grad_var`` is there only where the two averages don't tell it to the last bit.
    """
    shown = dict(state.items())  # brings rows up to date where they are: a resumed run has the bits of one that goes on
    if not is_packed or any(is_shard(shown.get(codes)) for codes in CODES.values()):
        _unpack(shown)
    if not is_packed:
        shown |= {name: _wide(shown[name]) for name in ARRAYS if name in shown and shown[name].dtype == torch.bfloat16}
    if isinstance(state.get("step"), Tensor):
        shown["step"] = state["step"].clone()
    if "grad_var" in shown:
        shown["square_avg"] = _rebuilt_square_avg(shown)
        if not is_shared(shown["grad_var"]) and _is_told(shown):
            del shown["grad_var"]
    return shown


def _is_told(state: Mapping[str, Any]) -> bool:
    """Whether a variance is what the two averages tell.

    Processes that may hold parts of one parameter, of a `DTensor` or of FSDP1's flat ones, must answer alike, or some
    would wait for what the others don't send; and none may wait for one that saves nothing. So there it is before the
    second step: before the first, distributed checkpoints look at what they are to load.
    """
    grad_var, square_avg = state["grad_var"], state["square_avg"]
    if is_shard(grad_var) or (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return bool(state["step"] <= 1)
    return grad_var.dtype == square_avg.dtype and torch.equal(_difference(square_avg, state["grad_avg"]), grad_var)


def adopted(saved: Mapping[str, Any], param: Tensor, centered: bool, rounding: RoundingChoice) -> dict[str, Any]:
    """Return the state to keep for a parameter from one that was saved, by this class or by torch's.

    Args:
        saved: The saved state; left as it is.
        param: The parameter it belongs to.
        centered: Whether its group is.
        rounding: What its group packs state into.

    Returns:
        Copies on the parameter's device, in the state's own dtype, or packed.

    Raises:
        ValueError: If a saved tensor does not have the parameter's shape, or ``step`` is no count.
    """
    saved = _in_order(saved, param)
    state = {name: _adopted_value(name, value, param) for name, value in saved.items()}
    if not isinstance(state.get("grad_var"), Tensor):
        state.pop("grad_var", None)  # a flattened distributed checkpoint without it fills its place with nothing
    if (centered or "grad_var" in state) and "square_avg" in state:
        _split_square_avg(state)
    if rounding.packing != "8bit":
        _unpack(state)
    if rounding.packing is not None and not is_uninitialized(param):
        _pack(state, rounding)
    return state


def _in_order(saved: Mapping[str, Any], param: Tensor) -> dict[str, Any]:
    """Return saved state in which codes of 8 bits have the memory order of their parameter, which scales go by."""
    state = dict(saved)
    for name in ARRAYS:
        if CODES[name] not in state or is_uninitialized(param):
            continue
        codes, scales = state[CODES[name]], state.get(SCALES[name])
        _check_shape(CODES[name], codes, param)
        if not isinstance(scales, Tensor) or scales.shape != (blocks(codes.numel()),):
            raise ValueError(
                f"loaded state has {CODES[name]}, but no {SCALES[name]} with one number for every 128 of them: load a "
                "state dict as it was saved"
            )
        if codes.stride() != torch.empty_like(param, memory_format=torch.preserve_format, device="meta").stride():
            state[name] = unpacked(name, codes.contiguous() if not is_dense(codes) else codes, scales)
            del state[CODES[name]], state[SCALES[name]]
    return state


def _adopted_value(name: str, value: Any, param: Tensor) -> Any:
    if name == "step":
        return checked(value)
    if not isinstance(value, Tensor):
        return value
    if name == LOST and value.shape == param.shape:
        return torch.empty_like(param, memory_format=torch.preserve_format).copy_(value)
    if name in (ROW_AVERAGE, ROW_STEPS) and value.shape != param.shape[:1] and not is_uninitialized(param):
        raise ValueError(
            f"loaded state has {name} of shape {tuple(value.shape)} for a parameter of shape {tuple(param.shape)}, "
            "which has one for each row: load a state dict that was saved for this model"
        )
    if name not in ARRAYS:  # codes of 8 bits and their scales, or what somebody else keeps here
        return value.to(param.device, copy=True)
    if is_uninitialized(param):
        return value.clone()  # its shape will be known at the first forward
    _check_shape(name, value, param)
    kept = torch.empty_like(param, dtype=state_dtype(param), memory_format=torch.preserve_format)
    return kept.copy_(value) if value.is_floating_point() or value.is_complex() else value.clone()


def _check_shape(name: str, value: Tensor, param: Tensor) -> None:
    if value.shape != param.shape:
        raise ValueError(
            f"loaded state has {name} of shape {tuple(value.shape)} for a parameter of shape {tuple(param.shape)}: "
            "load a state dict that was saved for this model"
        )


def keep_shared(before: Mapping[Any, Any], states: Mapping[Any, Any]) -> None:
    """Put loaded state where other processes look for it: into the memory that they share.

    Args:
        before: The state of all parameters before the load.
        states: The state that was loaded; what was shared before takes its place, with its numbers.
    """
    for param, state in states.items():
        # As it is held: bringing it up to date would move rows of a parameter that may have been loaded already.
        for name, old in as_held(before.get(param, {})).items() if isinstance(param, Tensor) else ():
            new = state.get(name)
            if isinstance(old, Tensor) and isinstance(new, Tensor) and is_shared(old) and old.numel() == new.numel():
                state[name] = old.copy_(new.reshape(old.shape))
