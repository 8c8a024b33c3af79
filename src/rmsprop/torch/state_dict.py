"""State dicts on their way out and in: as torch's optimizer has them, and without losing precision."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.optimizer import Optimizer, StateDict

from rmsprop.torch.averaged import check_kind, is_averaged
from rmsprop.torch.callers import is_distributed_checkpoint
from rmsprop.torch.foreign import check_is_rmsprop, translated
from rmsprop.torch.groups import slimmed
from rmsprop.torch.state import exported


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
    shown = {key: exported(s, key in packed) if isinstance(s, dict) else s for key, s in states}
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
