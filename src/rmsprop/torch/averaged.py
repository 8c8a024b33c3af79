"""Schedule-free averaging in a parameter group: its options, how far it has come, and the numbers of a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from rmsprop import reference
from rmsprop.averaging import ITERATE, AveragedRule, AveragedStep, AverageProgress, Averaging, Updating, inner, moved
from rmsprop.hyperparameters import check_number
from rmsprop.rule import Rule

# What moves a group's parameters in a step: its learning rate, or more where they are averaged.
Rate = float | Tensor | AveragedStep
# The keys that only such groups have: the options of an average, whether parameters hold y (or x), and its progress.
OPTIONS = ("beta", "warmup_steps", "r", "weight_lr_power")
KEYS_OF_AVERAGE = (*OPTIONS, "train_mode", "k", "lr_max", "weight_sum")
NO_SCHEDULE = (
    "ScheduleFreeRMSprop, whose average does what a falling rate would do, and is weighed by the rate: leave "
    "group['lr'] as it is (a scheduler may keep it constant); warmup_steps is its warm-up"
)
_NARROW = (torch.bfloat16, torch.float16)


def is_averaged(group: Mapping[str, Any]) -> bool:
    """Whether a group is one of `rmsprop.torch.ScheduleFreeRMSprop`."""
    return group.get("beta") is not None


def check_kind(groups: Iterable[Mapping[str, Any]], averaged: bool) -> None:
    """Check that groups are for the optimizer that is to have them.

    Args:
        groups: Groups, of a state dict or a user.
        averaged: Whether it is a schedule-free one.

    Raises:
        ValueError: If they are not.
    """
    kinds = {is_averaged(group) for group in groups}
    if True in kinds and not averaged:
        raise ValueError(
            "a parameter group has beta, so it is ScheduleFreeRMSprop's, whose parameters are averages: RMSprop would "
            "go on from the wrong ones; use rmsprop.torch.ScheduleFreeRMSprop"
        )
    if False in kinds and averaged:
        raise ValueError(
            "a parameter group has no beta, so it is not ScheduleFreeRMSprop's: it averages from the model's "
            "parameters on, and loads what it saved itself; leave the state dict of another optimizer out"
        )


def averaging_of(group: Mapping[str, Any]) -> Averaging:
    """Return how a group's parameters are averaged.

    Raises:
        TypeError: If an option is of the wrong type.
        ValueError: If one is out of range.
    """
    return Averaging(**{name: group[name] for name in OPTIONS}, weight_decay=group["weight_decay"])


def averaged_rule(group: Mapping[str, Any], values: Mapping[str, Any]) -> AveragedRule:
    """Return the rule of a group whose parameters are averaged.

    Args:
        group: The parameter group.
        values: Its options of the rule, by the fields of `Rule`.

    Raises:
        TypeError: If an option is of the wrong type.
        ValueError: If one is out of range, or leaves no place for an average.
        RuntimeError: If the step can't be what it must be for it.
    """
    for name in ("capturable", "differentiable"):
        if group[name]:
            raise RuntimeError(
                f"{name}=True can't serve ScheduleFreeRMSprop, whose steps are counted in Python: use False"
            )
    if group["state_dtype"] is not None:
        raise RuntimeError(
            "state_dtype can't serve ScheduleFreeRMSprop: its z is weights, whose small steps few bits don't hold; "
            "use state_dtype=None"
        )
    if values["weight_decay_mode"] != "l2":
        raise ValueError(
            f"Invalid weight_decay_mode value: {values['weight_decay_mode']!r} (ScheduleFreeRMSprop has one way: "
            "weight_decay times y is added to the update)"
        )
    averaging_of(group)
    check_number("weight_decay", values["weight_decay"])
    return AveragedRule(Rule(**{**values, "weight_decay": 0.0}).known())


def next_step(group: Mapping[str, Any], lr: float | Tensor) -> AveragedStep:
    """Return the numbers of a group's next step.

    Args:
        group: The parameter group, one that is averaged.
        lr: Its learning rate, checked.

    Raises:
        ValueError: If the learning rate is below 0.
        RuntimeError: If it is another one than before, or parameters are not where gradients belong.
    """
    if not group["train_mode"]:
        raise RuntimeError(
            "step() was called in eval mode, in which parameters are the average x and gradients belong elsewhere: "
            "call optimizer.train() before training, and optimizer.eval() before evaluating or saving weights"
        )
    lr, averaging = check_number("lr", lr.item() if isinstance(lr, Tensor) else lr), averaging_of(group)
    done = AverageProgress(group["k"], group["lr_max"], group["weight_sum"])
    if done.k and averaging.warmed(lr, done.k - 1) != done.lr_max:
        raise RuntimeError(
            f"the learning rate was changed to {lr:g} after step {done.k}, whose was {done.lr_max:g}, which can't "
            f"serve {NO_SCHEDULE}"
        )
    _check_start(group, lr)
    return averaging.step(lr, done)


def _check_start(group: Mapping[str, Any], lr: float) -> None:
    """Check that a scheduler, which leaves the rate that it found in the group, didn't change it when it was made."""
    found = float(group.get("initial_lr", lr))
    if not math.isclose(found, lr, rel_tol=1e-9):  # OneCycleLR rounds on the way to where it begins
        raise RuntimeError(
            f"the learning rate is {lr:g} where its scheduler found {found:g}, which can't serve {NO_SCHEDULE}"
        )


def count(group: dict[str, Any], rate: Rate) -> None:
    """Tell a group, if it is averaged, that its step was taken."""
    if isinstance(rate, AveragedStep):
        group.update(rate.after._asdict())


def check_stored(name: str, param: Tensor, rule: Updating, rounding: str) -> None:
    """Check that a parameter is stored precisely enough to be an average.

    Raises:
        RuntimeError: If it has 16 bits and is rounded to the nearest.
    """
    if isinstance(rule, AveragedRule) and param.dtype in _NARROW and rounding == "nearest":
        raise RuntimeError(
            f"parameter {name} has dtype {param.dtype}, in which rounding='nearest' loses an average: after some "
            "hundred steps all that an iterate adds is below half a unit in the last place; use rounding='kahan' or "
            "'stochastic'"
        )


def apply(
    rule: Updating,
    rate: Any,
    step: Any,
    p: Any,
    g: Any,
    state: Mapping[str, Any],
    xp: Any,
    limited: Callable[[Any], Any] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Return new parameter and state, as `rmsprop.reference.apply` does, averaged where the rule is.

    Args:
        rule: What to compute.
        rate: The learning rate, or all numbers of the step.
        step: The number t of this update, counted from 1.
        p: The parameter, in the working precision.
        g: The gradient, likewise, already scaled and negated.
        state: Arrays named as the rule says.
        xp: The library of these arrays.
        limited: What is made of g/√v before it is used. Default None: nothing.
    """
    if not isinstance(rate, AveragedStep):
        return reference.apply(inner(rule), rate, step, p, g, state, xp, limited)
    u, new_state = reference.change(inner(rule), 1.0, step, g, state, xp, limited)
    y, z = moved(rate, p, state[ITERATE], u)
    return y, {**new_state, ITERATE: z}
