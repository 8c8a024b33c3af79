"""State dicts on their way out and in: as torch's optimizer has them, and without losing precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, StateDict

from rmsprop.codes import blocks
from rmsprop.torch.averaged import check_kind, is_averaged
from rmsprop.torch.callers import is_distributed_checkpoint
from rmsprop.torch.foreign import check_is_rmsprop, translated
from rmsprop.torch.groups import slimmed
from rmsprop.torch.local import is_dense, is_shard, is_uninitialized
from rmsprop.torch.rows.clock import ROW_AVERAGE, ROW_STEPS, as_held
from rmsprop.torch.state.counter import checked, is_shared
from rmsprop.torch.state.packing import ARRAYS, CODES, SCALES, pack, unpack, unpacked
from rmsprop.torch.state.param_state import ParamState
from rmsprop.torch.state.rounding import LOST, RoundingChoice, choice_of, state_dtype, wide
from rmsprop.torch.state.variance import is_told, rebuilt_square_avg, split_square_avg


class Saved:
    """A parameter's saved state, wrapped so that the base class does not cast it to the parameter's dtype.

    Args:
        state: The state.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state


def prepared_to_load(optimizer: Optimizer, state_dict: StateDict) -> StateDict:
    """Return a state dict for the base class to load: checked, translated, and with state that it leaves as it is.

    Args:
        optimizer: Who is to load it.
        state_dict: The state dict; left as it is.

    Raises:
        ValueError: If it looks like that of another optimizer, or names the parameters in another order.
    """
    check_kind(state_dict["param_groups"], is_averaged(optimizer.defaults))
    check_is_rmsprop(state_dict)
    goes_by_names = is_distributed_checkpoint("_load_optim_state_dict")
    if not goes_by_names:
        _check_order(state_dict["param_groups"], optimizer.param_groups)
    params = {key for group in state_dict["param_groups"] for key in group["params"]}
    wrapped = {key: Saved(value) if key in params else value for key, value in state_dict["state"].items()}
    groups = translated(state_dict["param_groups"], optimizer.param_groups)
    groups = [group | {"state_dtype": _as_held(group["state_dtype"])} for group in groups]
    if goes_by_names:  # and has put state in order, but not the names
        groups = [{key: group[key] for key in group if key != "param_names"} for group in groups]
    return {**state_dict, "state": wrapped, "param_groups": groups}


def adopt(states: dict[Tensor, Any], group: Mapping[str, Any]) -> None:
    """Keep what was saved of the parameters of a group.

    Args:
        states: The state of all parameters, `Saved` where it is to be kept; changed in place.
        group: The group.

    Raises:
        ValueError: If a saved tensor does not have its parameter's shape, or ``step`` is no count.
    """
    for param in group["params"]:
        if isinstance(saved := states.get(param), Saved):
            found = _adopted(saved.state, param, bool(group["centered"]), choice_of(group))
            states[param] = ParamState.copied(found)


def _adopted(saved: Mapping[str, Any], param: Tensor, centered: bool, rounding: RoundingChoice) -> dict[str, Any]:
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
        split_square_avg(state)
    if rounding.packing != "8bit":
        unpack(state)
    if rounding.packing is not None and not is_uninitialized(param):
        pack(state, rounding)
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


def _exported(state: Mapping[str, Any], is_packed: bool) -> dict[str, Any]:
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
        unpack(shown)
    if not is_packed:
        shown |= {name: wide(shown[name]) for name in ARRAYS if name in shown and shown[name].dtype == torch.bfloat16}
    if isinstance(state.get("step"), Tensor):
        shown["step"] = state["step"].clone()
    if "grad_var" in shown:
        shown["square_avg"] = rebuilt_square_avg(shown)
        if not is_shared(shown["grad_var"]) and is_told(shown):
            del shown["grad_var"]
    return shown


def as_torch_has_it(optimizer: Optimizer, state_dict: StateDict) -> StateDict:
    """Return a state dict of the base class as that of ``torch.optim.RMSprop`` would look.

    Args:
        optimizer: Whose it is.
        state_dict: The state dict; left as it is.
    """
    states = state_dict["state"].items()
    # A user's hook may have put something of another kind beside the parameters' states.
    packed = {
        key for group in state_dict["param_groups"] for key in group["params"] if group.get("state_dtype") is not None
    }
    shown = {key: _exported(s, key in packed) if isinstance(s, dict) else s for key, s in states}
    groups = [_in_plain_words(dict(slimmed(group))) for group in state_dict["param_groups"]]
    return {**state_dict, "state": shown, "param_groups": groups}


def _check_order(saved: list[dict[str, Any]], own: list[dict[str, Any]]) -> None:
    """Check that state, which is given out by number, comes to the parameters that it was saved of.

    Names that differ say nothing: a wrapper or a compiler adds to them.
    """
    theirs, ours = ([name for group in groups for name in group.get("param_names") or ()] for groups in (saved, own))
    if theirs == ours or sorted(theirs) != sorted(ours):
        return
    there, here = next(pair for pair in zip(theirs, ours, strict=True) if pair[0] != pair[1])
    raise ValueError(
        f"the state dict has parameter {there!r} where this optimizer has {here!r}, and the same names in another "
        "order: state would go to the wrong parameters; make the optimizer with its parameters in the order in which "
        "they were saved"
    )


def _as_held(state_dtype: Any) -> Any:
    return torch.bfloat16 if isinstance(state_dtype, str) and state_dtype == "bfloat16" else state_dtype


def _in_plain_words(group: dict[str, Any]) -> dict[str, Any]:
    """Return a group without a dtype in it, which torch's full state dicts refuse."""
    if group.get("state_dtype") == torch.bfloat16:
        group["state_dtype"] = "bfloat16"
    return group
