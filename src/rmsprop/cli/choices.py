"""The options that make a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import click

from rmsprop.lab.options import check_option, option, switch_off
from rmsprop.rule import Rule

# Field of `Rule` -> what the help says. The field's type makes the option.
_HELP = {
    "decay": "Share of the old value that the averages keep.",
    "eps": "Epsilon in the denominator.",
    "eps_inside_sqrt": "Epsilon is added under the root, or to it.",
    "initial_square_avg": "What the average of squared gradients starts from.",
    "centered": "Divide by the standard deviation of the gradient.",
    "momentum": "Share of the buffer that is kept.",
    "nesterov": "Nesterov momentum.",
    "lr_in_momentum": "The buffer collects lr·u, or u alone.",
    "bias_correction": "Divide the averages by 1 − ρᵗ.",
    "weight_decay": "Weight decay.",
    "weight_decay_mode": "Where it is applied.",
}


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each field of `Rule`; what isn't given is None, the dialect's default.

    Args:
        command: The function to decorate.

    Returns:
        The function.
    """
    for field, kind in reversed(get_type_hints(Rule).items()):
        command = _option(field, kind)(command)
    return command


def _option(field: str, kind: Any) -> Callable[..., Any]:
    name = option(field)
    if kind is bool:
        return click.option(f"{name}/{switch_off(field)}", default=None, help=_HELP[field])
    return click.option(name, type=click.Choice(get_args(kind)) if get_args(kind) else kind, help=_HELP[field])


def chosen_lr(lr: float | None) -> float | None:
    """Return a learning rate that was given, checked.

    Args:
        lr: What the person typed, or None.

    Returns:
        The same.

    Raises:
        InputError: If it is out of range.
    """
    return None if lr is None else check_option("lr", lr)
