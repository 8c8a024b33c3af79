"""The options that name a problem, for the commands that take any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from rmsprop.lab.problems.defaults import PROBLEMS, Model, Task, is_function

# What `problem_options` gives a command, by the names that `rmsprop.lab.problems.load` takes.
NAMES = ("target", "task", "drop", "model", "hidden")


def _widths(_: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    try:
        return None if value is None else tuple(int(width) for width in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of widths such as 64 or 64,32.", param=param) from error


def _known(_: click.Context, __: click.Parameter, value: str) -> str:
    if value not in PROBLEMS and "." not in value and not is_function(value) and not (value and Path(value).exists()):
        raise click.UsageError(
            f"there is no problem {value!r}: choose one of {', '.join(PROBLEMS)}, or give FILE.csv, .parquet or .npz, "
            "or package.module:function"
        )
    return value


_OPTIONS = (
    click.argument("problem", callback=_known),
    click.option("--target", metavar="COLUMN", help="The column of FILE to predict (.npz: the array; default y)."),
    click.option("--task", type=click.Choice(get_args(Task)), help="What to do with the target.  [default: inferred]"),
    click.option("--drop", metavar="COLUMN", multiple=True, help="Leave out a column of FILE; may be repeated."),
    click.option("--model", type=click.Choice(get_args(Model)), help="The model.  [default: the problem's]"),
    click.option("--hidden", metavar="WIDTHS", callback=_widths, help="Widths of an mlp's hidden layers: 64,32."),
    click.option("--epochs", type=click.IntRange(min=1), help="How often to go through the training rows."),
    click.option("--batch-size", type=click.IntRange(min=1), help="Rows per step."),
)


def problem_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the argument PROBLEM and the options that shape it.

    Args:
        command: The function to decorate.

    Returns:
        The function.
    """
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen_problem(given: dict[str, Any]) -> Any:
    """Return the problem of what `problem_options` gave.

    Args:
        given: The values of the argument and of all these options.

    Returns:
        The `rmsprop.lab.problems.Problem`.

    Raises:
        InputError: If there is none, or a choice doesn't apply to it.
    """
    from dataclasses import replace

    from rmsprop.lab.problems import load

    problem = load(given["problem"], **{name: given[name] for name in NAMES})
    changes = {name: given[name] for name in ("epochs", "batch_size") if given[name] is not None}
    return replace(problem, **changes)
