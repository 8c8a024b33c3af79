"""The numbers of an update: what a rule, a learning rate and a count come to, by the names that the kernels know."""

from __future__ import annotations

import math
from typing import Any

from rmsprop.layout import WEIGHT_DECAY_MODES
from rmsprop.rule import Rule

WITH_QUOTIENT = 4  # the mode of weight decay where the step is averaged


def numbers_of(
    rule: Rule,
    lr: float,
    step: int,
    *,
    maximize: bool = False,
    grad_scale: float = 1.0,
    max_grad: float = math.inf,
    limits_update: bool = False,
    averaged: tuple[float, float, float] | None = None,
) -> dict[str, Any]:
    """Return the numbers of an update, by their names in `NUMBERS`.

    Args:
        rule: What to compute.
        lr: The learning rate.
        step: The number of the update, counted from 1.
        maximize: Ascend instead of descend. Default False.
        grad_scale: What gradients are multiplied with first. Default 1.
        max_grad: What the magnitude of each of their elements is then limited to. Default: nothing.
        limits_update: Whether the quotients of a tensor are multiplied with a scale of its own. Default False.
        averaged: Where an iterate takes the step that its parameter averages: the share of it in the average, what the
            parameter moves by, and the weight decay there. Default None: the parameter takes the step.

    Returns:
        Name -> number.

    Examples:
        >>> numbers_of(Rule(decay=0.75), 0.1, 1)["gain"]
        0.25
    """
    share, average_lr, weight_decay = averaged or (0.0, 0.0, 0.0)
    of_average = {
        "has_momentum": True,  # which is what the table of iterates stands for
        "weight_decay": weight_decay,
        "weight_decay_mode": WITH_QUOTIENT if weight_decay else 0,
    }
    return {
        **shares(rule, step),
        "lr": lr,
        "grad_scale": -grad_scale if maximize else grad_scale,
        "eps_inside": rule.eps if rule.eps_inside_sqrt else 0.0,
        "eps_outside": 0.0 if rule.eps_inside_sqrt else rule.eps,
        "weight_decay": rule.weight_decay if rule.weight_decay_mode == "l2" else rule.decay_at(lr) * lr,
        "new_is_base": rule.decay < 0.5,
        "centered": rule.centered,
        "has_momentum": rule.has_momentum,
        "short_momentum": rule.momentum < 0.5,
        "nesterov": rule.nesterov,
        "lr_in_momentum": rule.has_momentum and rule.lr_in_momentum,
        "weight_decay_mode": WEIGHT_DECAY_MODES[rule.weight_decay_mode] if rule.weight_decay else 0,
        "max_grad": max_grad,
        "delayed": rule.delayed,
        "caution": rule.caution,
        "limits": max_grad < math.inf or limits_update or rule.delayed,
        "share": share,
        "average_lr": average_lr,
        "averages": averaged is not None,
        **(of_average if averaged else {}),
    }


def shares(rule: Rule, step: Any, xp: Any = math) -> dict[str, Any]:
    """Return the numbers of an update that may depend on how many there have been, by their names in `NUMBERS`.

    Args:
        rule: What to compute.
        step: The number of the update, counted from 1, or an array of such numbers.
        xp: The library of such an array. Default: ``math``.

    Returns:
        Name -> number; an array of them where it depends on the step.

    Examples:
        >>> found = shares(Rule(decay=0.75, momentum=0.5, delayed=True), 17)
        >>> found["gain"], found["momentum_gain"], found["max_quotient"]
        (0.25, 1.0, 2.0)
    """
    gain, keep = rule.gains(step, xp)
    taken, kept = rule.momentum_gains(step, xp)
    lost = taken if rule.averaged_momentum else 1.0 - kept
    return {
        "gain": gain,
        "keep": keep,
        "momentum": kept,
        "momentum_loss": lost,
        "momentum_gain": taken,
        "max_quotient": rule.largest_quotient(step),
        "is_first": rule.init_from_gradient and step == 1,
    }
