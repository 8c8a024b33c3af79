"""The options that make a rule, and the errors of those that don't."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import click

from rmsprop.dialects import get_dialect
from rmsprop.lab.errors import InputError
from rmsprop.rule import Rule, WeightDecayMode, check_number

_OPTIONS = (
    click.option("--decay", type=float, help="Share of the old value that the averages keep."),
    click.option("--eps", type=float, help="Epsilon in the denominator."),
    click.option(
        "--eps-inside-sqrt/--eps-outside-sqrt", default=None, help="Epsilon is added under the root, or to it."
    ),
    click.option("--initial-square-avg", type=float, help="What the average of squared gradients starts from."),
    click.option("--centered/--no-centered", default=None, help="Divide by the standard deviation of the gradient."),
    click.option("--momentum", type=float, help="Share of the buffer that is kept."),
    click.option("--nesterov/--no-nesterov", default=None, help="Nesterov momentum."),
    click.option("--lr-in-momentum/--lr-outside-momentum", default=None, help="The buffer collects lr·u, or u alone."),
    click.option("--bias-correction/--no-bias-correction", default=None, help="Divide the averages by 1 − ρᵗ."),
    click.option("--weight-decay", type=float, help="Weight decay."),
    click.option("--weight-decay-mode", type=click.Choice(get_args(WeightDecayMode)), help="Where it is applied."),
)


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each field of `Rule`; what isn't given is None, the dialect's default.

    Args:
        command: The function to decorate.

    Returns:
        The function.
    """
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen_rule(dialect: str, given: dict[str, Any]) -> Rule:
    """Return the rule of a dialect with the given options.

    Args:
        dialect: What the person typed.
        given: Field of `Rule` -> value or None.

    Returns:
        The rule.

    Raises:
        InputError: If the dialect is unknown or a value is out of range.
    """
    try:
        return get_dialect(dialect).rule_with(**given)
    except ValueError as error:
        raise InputError(str(error)) from error


def chosen_lr(lr: float | None) -> float | None:
    """Return a learning rate that was given, checked.

    Args:
        lr: What the person typed, or None.

    Returns:
        The same.

    Raises:
        InputError: If it is out of range.
    """
    try:
        return None if lr is None else check_number("lr", lr)
    except ValueError as error:
        raise InputError(str(error)) from error
