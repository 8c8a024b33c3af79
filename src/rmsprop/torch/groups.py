"""From a parameter group to a rule and a learning rate, checked wherever they arrive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from operator import itemgetter
from typing import Any

from torch import Tensor

from rmsprop.keywords import TORCH
from rmsprop.rule import Rule, check_number

# Field of `Rule` -> key of a parameter group.
KEYS = {field.name: TORCH.get(field.name, field.name) for field in fields(Rule)}
# What decides how a group takes its steps; a change between two steps is noticed by comparing these values.
read_options = itemgetter(*KEYS.values(), "fused", "foreach", "differentiable", "capturable")


def rule_of(group: Mapping[str, Any]) -> Rule:
    """Return the rule that a parameter group describes.

    Args:
        group: A parameter group of `rmsprop.torch.RMSprop`.

    Returns:
        The rule.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is out of range, in torch's words where torch has them.
    """
    check_number("decay", group["alpha"], "alpha value")
    flags = ("eps_inside_sqrt", "centered", "nesterov", "lr_in_momentum", "bias_correction")
    values = {field: group[key] for field, key in KEYS.items()}
    return Rule(**{**values, **{flag: bool(values[flag]) for flag in flags}}).known()


def lr_of(group: Mapping[str, Any]) -> float | Tensor:
    """Return a group's learning rate, checked unless that would mean waiting for an accelerator.

    Args:
        group: A parameter group of `rmsprop.torch.RMSprop`.

    Returns:
        A number, or the tensor with one element that it was given as.

    Raises:
        TypeError: If it is neither.
        ValueError: If it is negative, infinite or NaN, or a tensor of more than one element.
    """
    lr = group["lr"]
    if not isinstance(lr, Tensor):
        return 0.0 if _ended_at_zero(lr, group) else check_number("lr", lr)
    if lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if lr.device.type == "cpu" and not _ended_at_zero(lr.item(), group):
        check_number("lr", lr.item())
    return lr


def _ended_at_zero(lr: Any, group: Mapping[str, Any]) -> bool:
    """Whether a scheduler that decays to zero rounded to the other side of it, as torch's LinearLR does."""
    return isinstance(lr, float) and -1e-12 * float(group.get("initial_lr", 0.0)) <= lr < 0.0


def check_group(group: Mapping[str, Any]) -> Rule:
    """Check all options of a group and return the rule that they describe.

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
    check_implementation(group)
    return rule_of(group)


def check_implementation(group: Mapping[str, Any]) -> None:
    """Check that a group does not ask for two implementations at once.

    Args:
        group: A parameter group of `rmsprop.torch.RMSprop`.

    Raises:
        RuntimeError: If ``fused`` is combined with ``foreach`` or ``differentiable``, in torch's words.
    """
    if group["fused"] and group["foreach"]:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if group["fused"] and group["differentiable"]:
        raise RuntimeError("`fused` does not support `differentiable`")
