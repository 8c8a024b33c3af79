"""From a parameter group to a rule and a learning rate, checked wherever they arrive.

A group holds torch's keys, and of the others only those in which it differs from torch: a state dict then looks like
torch's to everything that reads one, distributed checkpoints included. A key that a group lacks means what torch does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from torch import Tensor

from rmsprop.averaging import Updating
from rmsprop.hyperparameters import check_number, check_step_lr
from rmsprop.keywords import TORCH
from rmsprop.rule import Rule
from rmsprop.torch.averaged import KEYS_OF_AVERAGE, Rate, averaged_rule, is_averaged, next_step
from rmsprop.torch.clipping.limits import LIMITS, check_limits
from rmsprop.torch.state.rounding import choice_of

# Field of `Rule` -> key of a parameter group.
KEYS = {field.name: TORCH.get(field.name, field.name) for field in fields(Rule)}
_TORCHS_RULE = {"decay", "eps", "momentum", "centered", "weight_decay"}
# The keys that torch's groups don't have -> what torch does.
EXTRA: Mapping[str, Any] = MappingProxyType(
    {
        "fused": None,
        "rounding": "nearest",
        "seed": 0,
        "state_dtype": None,
        "max_grad_ratio": None,
        "sparse": "exact",
        "staleness_decay": 0.0,
        "max_grad_value": None,
        "max_update_rms": None,
    }
    | {KEYS[field.name]: field.default for field in fields(Rule) if field.name not in _TORCHS_RULE}
)
_MEANING = {
    **{KEYS[field.name]: field.default for field in fields(Rule)},
    **EXTRA,
    "lr": 1e-2,
    "capturable": False,
    "foreach": None,
    "maximize": False,
    "differentiable": False,
    **dict.fromkeys(KEYS_OF_AVERAGE),
}
# What decides who updates a parameter, and what state it needs beside that of the rule.
FLAGS_OF_GROUP = (
    *("fused", "foreach", "differentiable", "capturable", "rounding", "seed", "state_dtype"),
    *("sparse", "staleness_decay"),
)
_OPTIONS = (*KEYS.values(), *LIMITS, *FLAGS_OF_GROUP)


class ParamGroup(dict[str, Any]):
    """A parameter group; asked for an option that it lacks, it says what torch does.

    Examples:
        >>> ParamGroup(lr=0.1)["nesterov"]
        False
    """

    def __missing__(self, key: str) -> Any:
        """Return what the lack of an option means."""
        return _MEANING[key]


def as_groups(param_groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the parameter groups of an optimizer, after putting a `ParamGroup` in the place of each plain dict.

    Args:
        param_groups: The list that the optimizer holds.
    """
    for number, group in enumerate(param_groups):
        if not isinstance(group, ParamGroup):
            param_groups[number] = ParamGroup(group)
    return param_groups


def slimmed(group: Mapping[str, Any]) -> ParamGroup:
    """Return a group without the keys that torch's groups don't have and that mean what torch does."""
    return ParamGroup({key: value for key, value in group.items() if not (key in EXTRA and _same(value, EXTRA[key]))})


def _same(value: object, meaning: object) -> bool:
    # Of the meaning's own type, or 0 for 0.0; True is equal to 1.0, but no number.
    return type(value) in (type(meaning), int) and value == meaning


def read_options(group: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what decides how a group takes its steps, the learning rate aside, to be compared with later."""
    return tuple(map(group.get, _OPTIONS))


def rule_of(group: Mapping[str, Any]) -> Updating:
    """Return the rule that a parameter group describes.

    Args:
        group: A parameter group.

    Returns:
        The rule.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is out of range, in torch's words where torch has them.
    """
    values = {field: _without_axes(group[key]) for field, key in KEYS.items()}
    check_number("decay", values["decay"], "alpha value")
    values["centered"] = bool(values["centered"])  # torch takes anything there; the other flags are our own
    return averaged_rule(group, values) if is_averaged(group) else Rule(**values).known()


def _without_axes(value: Any) -> Any:
    """Return a tensor of one element as one without axes, anything else as it is."""
    return value.squeeze() if isinstance(value, Tensor) and value.numel() == 1 else value


def lr_of(group: Mapping[str, Any]) -> float | Tensor:
    """Return the learning rate of a step, checked unless that would mean waiting for an accelerator.

    A schedule may take it below zero, by a rounding or by going on past its end: that is a step in the other direction.

    Args:
        group: A parameter group of `rmsprop.torch.RMSprop`.

    Returns:
        A number, or the tensor with one element that it was given as.

    Raises:
        TypeError: If it is neither.
        ValueError: If it is infinite or NaN, or a tensor of more than one element.
    """
    lr = group["lr"]
    if not isinstance(lr, Tensor):
        return check_step_lr(lr)
    if lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if lr.device.type == "cpu" and not is_fake(lr):
        check_step_lr(lr.item())
    return lr


def rate_of(group: Mapping[str, Any]) -> Rate:
    """Return what moves a group's parameters in a step: its learning rate, or more where they are averaged.

    Args:
        group: A parameter group.

    Raises:
        TypeError: As `lr_of`.
        ValueError: As `lr_of`.
        RuntimeError: If the learning rate was changed where it can't be.
    """
    lr = lr_of(group)
    return next_step(group, lr) if is_averaged(group) else lr


def is_fake(tensor: Tensor) -> bool:
    """Whether a tensor has no numbers, as under ``FakeTensorMode``."""
    return type(tensor).__name__ == "FakeTensor"


def check_group(group: Mapping[str, Any]) -> Updating:
    """Check all options of a group that may take steps and return the rule that they describe.

    Args:
        group: A parameter group of `rmsprop.torch.RMSprop`.

    Returns:
        The rule.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is out of range.
        RuntimeError: If two implementations are asked for at once.
    """
    lr_of(group)
    if group["fused"] and group["foreach"]:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if group["fused"] and group["differentiable"]:
        raise RuntimeError("`fused` does not support `differentiable`")
    _check_sparse(group["sparse"], group["staleness_decay"])
    choice_of(group)
    check_limits(group)
    return rule_of(group)


def _check_sparse(sparse: Any, staleness_decay: Any) -> None:
    """Check what becomes of rows that a sparse gradient hasn't."""
    if sparse not in ("exact", "lazy", "rowwise"):
        hint = "; Keras 3's is 'exact', but for the square of a row that repeats" * (sparse == "keras")
        raise ValueError(f"Invalid sparse: {sparse!r} (allowed: 'exact', 'lazy' or 'rowwise'{hint})")
    check_number("staleness_decay", staleness_decay)
    if staleness_decay and sparse != "rowwise":
        raise ValueError(
            f"staleness_decay={staleness_decay!r} belongs to sparse='rowwise', but sparse is {sparse!r}: leave one of "
            "them out"
        )


def check_new_group(group: Mapping[str, Any]) -> None:
    """Check all options that a group starts with: unlike a schedule, nobody means a learning rate below zero.

    Args:
        group: A parameter group of `rmsprop.torch.RMSprop`.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is out of range.
        RuntimeError: If two implementations are asked for at once.
    """
    lr = group["lr"]
    if not isinstance(lr, Tensor):
        check_number("lr", lr)
    elif lr.numel() == 1 and lr.device.type == "cpu" and not is_fake(lr):
        check_number("lr", lr.item())
    check_group(group)
