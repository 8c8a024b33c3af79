"""Hyperparameters under the names of their command-line options, which errors use too. Imports no framework."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from rmsprop.dialects import get_dialect
from rmsprop.hyperparameters import check_number
from rmsprop.lab.errors import InputError
from rmsprop.rule import FLAGS, NUMBERS, Rule

# What switches a choice off where ``--no-...`` would not say what comes instead.
_OFF = {
    "eps_inside_sqrt": "--eps-outside-sqrt",
    "lr_in_momentum": "--lr-outside-momentum",
    "dayfirst": "--monthfirst",
}
# Settings whose option is given once per value.
_REPEATED = ("drop", "na")


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


def switch_off(name: str) -> str:
    """Return the option that switches a choice off: ``centered`` is ``--no-centered``.

    Args:
        name: A field of `Rule` that is on or off.

    Returns:
        The option.

    Examples:
        >>> switch_off("centered"), switch_off("eps_inside_sqrt")
        ('--no-centered', '--eps-outside-sqrt')
    """
    return _OFF.get(name, f"--no-{option(name).removeprefix('--')}")


def train_command(settings: Mapping[str, Any]) -> str:
    """Return the `rmsprop train` of some settings, to be pasted into a shell.

    Args:
        settings: Setting -> value, ``problem`` among them; what is None or empty is left out.

    Returns:
        The command, quoted where a shell needs it.

    Examples:
        >>> train_command({"problem": "my table.csv", "target": "y", "drop": ("a", "b"), "hidden": (4, 3), "lr": 1e-3})
        "rmsprop train 'my table.csv' --target y --drop a --drop b --hidden 4,3 --lr 0.001"
    """
    words = [word for name, value in settings.items() if name != "problem" for word in _typed(name, value)]
    return shlex.join(["rmsprop", "train", str(settings["problem"]), *words])


def _typed(name: str, value: Any) -> list[str]:
    if value is None or value in ((), []):
        return []
    if isinstance(value, bool):
        off = [switch_off(name)] if name in FLAGS or name in _OFF else []
        return [option(name)] if value else off
    if name in _REPEATED:
        return [word for one in value for word in (option(name), str(one))]
    return [option(name), ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)]


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
        if fields["averaged_momentum"] and fields["momentum"] == 1.0:
            raise InputError("--averaged-momentum needs a --momentum below 1: at 1 the average would stay at 0")
        return known.rule_with(**chosen)
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error
