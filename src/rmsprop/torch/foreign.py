"""State dicts that another class made: told apart from those of an RMSProp, and timm's choices put into our words."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from rmsprop.torch.groups import EXTRA

# What tells other optimizers by a key of their groups or of their state -> what it looks like.
_GROUP_KEYS = {
    "dampening": "SGD",
    "betas": "Adam or one of its kind",
    "lr_decay": "Adagrad",
    "rho": "Adadelta",
    "beta2_decay": "Adafactor",
    "etas": "Rprop",
    "lambd": "ASGD",
    "tolerance_grad": "LBFGS",
    "ns_steps": "Muon",
}
_STATE_KEYS = {
    "state1": "an optimizer of bitsandbytes (rmsprop convert --from bitsandbytes translates its RMSprop)",
    "__bnb_optimizer_quant_state__": "an optimizer of bitsandbytes (rmsprop convert --from bitsandbytes translates its "
    "RMSprop)",
    "exp_avg": "Adam or one of its kind",
    "acc_delta": "Adadelta",
    "sum": "Adagrad",
    "prev": "Rprop",
    "ax": "ASGD",
    "row_var": "Adafactor",
}
_TIMM = "decoupled_decay"  # a key that timm's groups alone have
_TIMMS_RULE = {"eps_inside_sqrt": True, "initial_square_avg": 1.0}
# Its keys that mean something else here, or nothing.
_TIMMS_KEYS = {_TIMM, "caution", "corrected_weight_decay", "max_lr_snapshot"}


def check_is_rmsprop(state_dict: Mapping[str, Any]) -> None:
    """Check that a state dict was made by an RMSProp.

    Args:
        state_dict: The state dict.

    Raises:
        ValueError: If it looks like that of another optimizer.
    """
    groups, states = state_dict["param_groups"], state_dict["state"]
    of_params = [states.get(key) for group in groups for key in group["params"]]
    in_states = {str(key) for state in of_params if isinstance(state, Mapping) for key in state}
    in_groups = {key for group in groups for key in group}
    if not groups or ("alpha" in in_groups and not in_groups & {"lambd"} and "state1" not in in_states):
        return  # whatever else a user keeps there
    found = next((name for key, name in _STATE_KEYS.items() if key in in_states), None)
    found = found or next((name for key, name in _GROUP_KEYS.items() if key in in_groups), None)
    if found is None:
        found = "SGD" if "momentum_buffer" in in_states else "no RMSprop: its groups have no alpha"
    if found:
        raise ValueError(
            f"the state dict looks like that of {found}; an RMSprop's is needed: load one that was saved by "
            "rmsprop.torch.RMSprop, torch.optim.RMSprop, timm or Stable-Baselines3"
        )


def translated(saved: Sequence[dict[str, Any]], own: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return groups of a state dict with every choice that their optimizer made without saying so.

    Args:
        saved: The groups that were saved; left as they are.
        own: The groups that they are to replace.

    Returns:
        The groups, with all keys that torch's groups don't have: in one of timm's as timm does, in one of torch's as
        torch does. A group of Stable-Baselines3 (or of an old torch) can't be told from its keys: what it lacks stays
        as it is. What state is kept in stays so everywhere, unless a group says otherwise.
    """
    groups = []
    for number, group in enumerate(saved):
        if number < len(own):
            group = _completed(group, {"state_dtype": own[number]["state_dtype"]})
        if _TIMM in group:
            groups.append(_from_timm(group))
        elif "foreach" in group or number >= len(own):
            groups.append(_completed(group, EXTRA))
        else:
            groups.append(_completed(group, {key: own[number][key] for key in (*EXTRA, *_FLAGS)}))
    return groups


# What torch's groups have had since they can be computed in several ways.
_FLAGS = ("capturable", "foreach", "maximize", "differentiable")


def _completed(group: dict[str, Any], missing: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group with what it lacks, behind what it has: equal groups are to be saved in equal order."""
    return group | {key: value for key, value in missing.items() if key not in group}


def _from_timm(group: dict[str, Any]) -> dict[str, Any]:
    ours = {key: value for key, value in group.items() if key not in _TIMMS_KEYS}
    return _completed(ours, {**EXTRA, **_TIMMS_RULE, **timms_choices(group)})


def timms_choices(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a group of timm's RMSpropTF says in words of its own, by the fields of `rmsprop.Rule`.

    Args:
        group: The group, of a state dict. One that was saved before timm 1.0.31 doesn't say which learning rate was the
            largest; a scheduler's ``initial_lr`` then stands for it, or else the learning rate, and a warning says so.

    Returns:
        Field -> choice. What has no effect there (caution without momentum, a correction of L2 decay) is off.
    """
    corrected = bool(group.get(_TIMM) and group.get("corrected_weight_decay"))
    max_lr = float(group.get("max_lr_snapshot", group.get("initial_lr", group["lr"]))) if corrected else 0.0
    if corrected and "max_lr_snapshot" not in group:
        warnings.warn(
            "the state dict of timm has corrected_weight_decay=True, but doesn't say by which learning rate "
            f"(max_lr_snapshot): {max_lr:g} is taken; set weight_decay_max_lr in the groups if it was another",
            UserWarning,
            stacklevel=2,
        )
    return {
        "weight_decay_mode": "decoupled" if group.get(_TIMM) else "l2",
        "weight_decay_max_lr": max_lr,
        "caution": bool(group.get("caution")) and group["momentum"] > 0,
    }
