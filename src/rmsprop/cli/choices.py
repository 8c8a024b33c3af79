"""The options that several commands have: those that make a rule or a problem, and the file that is drawn."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click

from rmsprop.cli import completion
from rmsprop.lab.folders import check_file
from rmsprop.lab.options import check_option, option, switch_off
from rmsprop.lab.problems.defaults import PROBLEMS, STANDARD_INPUT, ClassWeights, Model, Task, is_function
from rmsprop.lab.problems.table.options import ABOUT_PROBLEM, FEWEST_CATEGORIES
from rmsprop.rule import Rule

# Field of `Rule` -> what the help says. The field's type makes the option.
_HELP = {
    "decay": "Share of the old value that the averages keep.",
    "eps": "Epsilon in the denominator.",
    "eps_inside_sqrt": "Epsilon is added under the root, or to it.",
    "initial_square_avg": "What the average of squared gradients starts from.",
    "init_from_gradient": "It starts from the first gradient's square.",
    "delayed": "Divide by the average of before, limited as in ADOPT.",
    "centered": "Divide by the standard deviation of the gradient.",
    "momentum": "Share of the buffer that is kept.",
    "nesterov": "Nesterov momentum.",
    "lr_in_momentum": "The buffer collects lr·u, or u alone.",
    "averaged_momentum": "The buffer averages u instead of adding it up.",
    "caution": "Take no step against its gradient.",
    "bias_correction": "Divide the averages by 1 − ρᵗ.",
    "weight_decay": "Weight decay.",
    "weight_decay_mode": "Where it is applied.",
    "weight_decay_max_lr": "The largest learning rate, by which decay that isn't L2 is corrected.",
}


def _with(command: Callable[..., Any], options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """Give a command options, which its help lists in this order."""
    for give in reversed(options):
        command = give(command)
    return command


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each field of `Rule`; what isn't given is None, the dialect's default.

    Args:
        command: The function to decorate.

    Returns:
        The function.
    """
    return _with(command, [_option(field, kind) for field, kind in get_type_hints(Rule).items()])


def _option(field: str, kind: Any) -> Callable[..., Any]:
    name = option(field)
    if kind is bool:
        return click.option(f"{name}/{switch_off(field)}", default=None, help=_HELP[field])
    return click.option(name, type=click.Choice(get_args(kind)) if get_args(kind) else kind, help=_HELP[field])


cluster_option = click.option(
    "--cluster", metavar="ADDRESS", help="Train on the workers of a Dask scheduler, such as tcp://host:8786."
)


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


def out_option(kinds: Sequence[str], text: str, name: str = "--out") -> Callable[..., Any]:
    """Return the option that names the file, whose suffix says what is to be drawn; refuse at once what can be none.

    Args:
        kinds: The suffixes, such as ``.png``.
        text: What the help says.
        name: The option. Default ``--out``.

    Returns:
        The decorator of a command.
    """

    def check(_: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
        if value is None:
            return None
        if value.suffix.lower() not in kinds:
            raise click.BadParameter(f"{str(value)!r} ends in none of {', '.join(kinds)}.", param=param)
        check_file(value)
        return value

    text += " Its folder is made if it isn't there."
    return click.option(name, type=click.Path(path_type=Path), callback=check, help=text)


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


_TABLE_OPTIONS = (
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
    click.option("--split", metavar="HOW", help="random, time, time:COLUMN or group:COLUMN.  [default: random]"),
    click.option("--group-input", is_flag=True, default=None, help="Use the column of groups as an input, too."),
    click.option("--test", metavar="FILE", help="A table of its own to test on.  [default: a fifth of the rows]"),
    click.option("--model", type=click.Choice(get_args(Model)), help="The model.  [default: the problem's]"),
    click.option("--hidden", metavar="WIDTHS", callback=_widths, help="Widths of an mlp's hidden layers: 64,32."),
    click.option(
        "--class-weights",
        type=click.Choice(get_args(ClassWeights)),
        help="balanced: each class of a table counts alike in the loss.  [default: none]",
    ),
)
_OPTIONS = (
    *_TABLE_OPTIONS,
    click.option("--epochs", type=click.IntRange(min=1), help="How often to go through the training rows."),
    click.option("--batch-size", type=click.IntRange(min=1), help="Rows per step."),
)


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that shape a problem, `ABOUT_PROBLEM`, but not the problem itself.

    Args:
        command: The function to decorate.

    Returns:
        The function.
    """
    return _with(command, _TABLE_OPTIONS)


def problem_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the argument PROBLEM and the options that shape it.

    Args:
        command: The function to decorate.

    Returns:
        The function.
    """
    return _with(command, (problem_argument(), *_OPTIONS))


def problem_or(*others: str) -> Callable[..., Any]:
    """Return what gives a command the argument PROBLEM, which may be something else, and the options that shape it.

    Args:
        *others: What it may be besides a problem.

    Returns:
        The decorator of the command.
    """
    return lambda command: _with(command, (problem_argument(*others), *_OPTIONS))


def problem_argument(*others: str) -> Callable[..., Any]:
    """Return the argument PROBLEM, which may be something else; what can be neither is refused at once.

    Args:
        *others: What it may be besides a problem.

    Returns:
        The decorator of a command.
    """

    def checked(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
        return value if value in others else known(context, param, value)

    return click.argument("problem", callback=checked, shell_complete=completion.problem)


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
