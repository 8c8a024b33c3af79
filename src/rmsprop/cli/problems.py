"""The options that name a problem, for the commands that take any."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, get_args

import click

from rmsprop.lab.problems.defaults import PROBLEMS, STANDARD_INPUT, Model, Task, is_function
from rmsprop.lab.problems.options import ABOUT_PROBLEM, FEWEST_CATEGORIES


def _widths(_: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    try:
        return None if value is None else tuple(int(width) for width in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of widths such as 64 or 64,32.", param=param) from error


def known(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return what a person gave for a problem; refuse at once what can be none.

    Args:
        value: The name, or None if there is none.

    Returns:
        The name.
    """
    if value is None or value in PROBLEMS or value == STANDARD_INPUT or "." in value or is_function(value):
        return value
    if not (value and os.path.exists(value)):  # Path.exists fails for a name that is too long
        raise click.UsageError(
            f"there is no problem {value!r}: choose one of {', '.join(PROBLEMS)}, or give a table such as FILE.csv, "
            "or package.module:function"
        )
    return value


_OPTIONS = (
    click.argument("problem", callback=known),
    click.option("--target", metavar="COLUMN", help="The column of FILE to predict (.npz: the array; default y)."),
    click.option("--task", type=click.Choice(get_args(Task)), help="What to do with the target.  [default: inferred]"),
    click.option("--drop", metavar="COLUMN", multiple=True, help="Leave out a column of FILE; may be repeated."),
    click.option("--dayfirst/--monthfirst", default=None, help="What 03/01/2024 is.  [default: the column shows it]"),
    click.option(
        "--max-categories",
        type=click.IntRange(min=FEWEST_CATEGORIES),
        metavar="N",
        help="Inputs per column of words; the rarest share one.  [default: one each]",
    ),
    click.option("--na", metavar="WORD", multiple=True, help="What else means missing in FILE; may be repeated."),
    click.option("--delimiter", metavar="CHAR", help="Between columns: ';', tab, ...  [default: the header shows it]"),
    click.option("--encoding", metavar="NAME", help="Encoding of FILE, such as cp1252.  [default: UTF-8]"),
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

    problem = load(given["problem"], **{name: given[name] for name in ABOUT_PROBLEM})
    for note in problem.notes:
        click.echo(f"note: {note}", err=True)
    changes = {name: given[name] for name in ("epochs", "batch_size") if given[name] is not None}
    return replace(problem, **changes)
