"""Hyperparameters under the names of their command-line options, which errors use too. Imports no framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rmsprop.dialects import get_dialect
from rmsprop.lab.errors import InputError
from rmsprop.rule import NUMBERS, Rule, check_number


def option(name: str) -> str:
    """Return the command-line option of a setting: ``batch_size`` is ``--batch-size``.

    Args:
        name: The setting.

    Returns:
        The option.

    Examples:
        >>> option("batch_size")
        '--batch-size'
    """
    return "--" + name.replace("_", "-")


def check_option(name: str, value: float) -> float:
    """Return a hyperparameter that was given as an option, if it can be one.

    Args:
        name: ``"lr"`` or the name of a numeric field of `Rule`.
        value: What was given.

    Returns:
        The value.

    Raises:
        InputError: If it is out of range.

    Examples:
        >>> check_option("eps", -1.0)
        Traceback (most recent call last):
        rmsprop.lab.errors.InputError: Invalid --eps: -1.0 (allowed: a finite number >= 0)
    """
    try:
        return check_number(name, value, option(name))
    except ValueError as error:
        raise InputError(str(error)) from error


def rule_of_options(dialect: str, given: Mapping[str, Any]) -> Rule:
    """Return the rule of a dialect with the given options.

    Args:
        dialect: A key of `rmsprop.DIALECTS`.
        given: Field of `Rule` -> value, or None for the dialect's.

    Returns:
        The rule.

    Raises:
        InputError: If the dialect is unknown, a value is out of range, or two contradict each other.

    Examples:
        >>> rule_of_options("torch", {"decay": 0.9, "eps": None}).decay
        0.9
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in chosen.keys() & NUMBERS:
        check_option(name, chosen[name])
    try:
        known = get_dialect(dialect)
        fields = {**known.defaults(chosen), **chosen}
        if fields["nesterov"] and not fields["momentum"]:
            raise InputError("--nesterov needs a momentum: give --momentum 0.9, too, or leave --nesterov out")
        if fields["bias_correction"] and fields["decay"] == 1.0:
            raise InputError("--bias-correction needs a --decay below 1: at 1 it would divide by zero")
        return known.rule_with(**chosen)
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error
