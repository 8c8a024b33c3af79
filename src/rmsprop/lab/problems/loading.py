"""Finds the problem that a name stands for: a built-in one, a person's table, or a person's function."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.builtin.control import cartpole
from rmsprop.lab.problems.builtin.convex import least_squares, logistic
from rmsprop.lab.problems.builtin.images import digits_cnn
from rmsprop.lab.problems.builtin.ratings import ratings
from rmsprop.lab.problems.builtin.surface_problems import noisy_bowl, on_surface
from rmsprop.lab.problems.builtin.surfaces import SURFACES
from rmsprop.lab.problems.builtin.text import english
from rmsprop.lab.problems.builtin.words import words
from rmsprop.lab.problems.checks import check, said
from rmsprop.lab.problems.defaults import (
    PROBLEMS,
    ClassWeights,
    Model,
    Task,
    architecture,
    check_choices,
    is_function,
    row_of,
)
from rmsprop.lab.problems.problem import Problem
from rmsprop.lab.problems.table.datasets import Dataset, from_file
from rmsprop.lab.problems.table.options import TableOptions
from rmsprop.lab.problems.table.tabular import builtin_dataset, from_dataset

# The problems with a model of their own. All others are tables.
_MAKERS: Mapping[str, Callable[[], Problem]] = {
    "digits-cnn": digits_cnn,
    "logistic": logistic,
    "least-squares": least_squares,
    "english": english,
    "cartpole": cartpole,
    "ratings": ratings,
    "words": words,
    "bowl-noisy": noisy_bowl,
    **{name: partial(on_surface, name) for name in SURFACES},
}


def load(
    name: str | os.PathLike[str],
    *,
    target: str | None = None,
    task: Task | None = None,
    drop: Sequence[str] = (),
    model: Model | None = None,
    hidden: tuple[int, ...] | None = None,
    dayfirst: bool | None = None,
    max_categories: int | None = None,
    na: Sequence[str] = (),
    delimiter: str | None = None,
    encoding: str | None = None,
    split: str | None = None,
    group_input: bool | None = None,
    test: str | os.PathLike[str] | None = None,
    class_weights: ClassWeights | None = None,
    batch_norm: bool = False,
) -> Problem:
    """Return the problem that a name stands for.

    Args:
        name: A key of `rmsprop.lab.problems.defaults.PROBLEMS`, the path of a table (``.csv``, ``.tsv`` or ``.txt``,
            perhaps with ``.gz``; ``.xlsx``, ``.parquet`` or ``.npz``), ``-`` for one of text on standard input, or
            ``package.module:function``, which returns a `Problem`; it may be in the current directory.
        target: The table's column to predict. Default None: an ``.npz`` file's array ``y``.
        task: What to do with the target. Default None infers it.
        drop: Columns of the table to leave out, or one. Default none.
        model: The model of a table, or of a built-in problem that is one. Default None, the problem's.
        hidden: The widths of the hidden layers of an mlp. Default None, the problem's.
        dayfirst: Whether 03/01/2024 in a table is the 3rd of January, or March 1. Default None: the column shows it.
        max_categories: The most inputs that one column of words becomes; the rarest share one. Default None: one each.
        na: What stands for a missing value in the table besides the usual words, or one such word. Default nothing.
        delimiter: What separates the columns of a table of text. Default None: what splits its header.
        encoding: The encoding of a table of text. Default None: UTF-8, or what its first bytes say.
        split: How the table's rows are split: ``random``, ``time`` (by its only column of dates), ``time:COLUMN`` or
            ``group:COLUMN``. Default None: at random.
        group_input: Whether the column of groups is an input too. Default None: it isn't.
        test: A table of its own to test on, with the same columns. Default None: a fifth of the rows.
        class_weights: ``balanced`` lets each class of a table count alike in the loss, however rare. Default None: each
            row does.
        batch_norm: Whether the model of a function's problem may have batch norm. Default False: only
            `rmsprop train` can take it.

    Returns:
        The problem.

    Raises:
        InputError: If there is none of that name, it can't be used, or a choice doesn't apply to it.

    Examples:
        >>> len(load("wine").train), load("rosenbrock").optimum
        (107, 0.0)
    """
    name, drop, na = os.fspath(name), _several(drop), _several(na)
    reading: dict[str, Any] = {
        "dayfirst": dayfirst,
        "max_categories": max_categories,
        "na": na,
        "delimiter": delimiter,
        "encoding": encoding,
        "split": split,
        "group_input": group_input,
        "test": None if test is None else os.fspath(test),
    }
    about_table: dict[str, object] = {"target": target, "task": task, "drop": drop, **reading}
    about_model: dict[str, object] = {"model": model, "hidden": hidden, "class_weights": class_weights}
    if is_function(name):
        _refuse(f"for a table; {name} is a function", about_table | about_model)
        return from_function(name, batch_norm=batch_norm)
    if name in PROBLEMS:
        _refuse(f"for a table of your own; {name} is built in and needs none", about_table)
    if name in _MAKERS:
        _refuse(f"for a table; {name} has a model of its own", about_model)
        problem = _MAKERS[name]()
    else:
        check_choices(task, *architecture(name, model, hidden), class_weights)
        options = TableOptions(**reading)
        data = builtin_dataset(name) if name in PROBLEMS else from_file(Path(name), target, task, drop, options)
        problem = _perceptron(name, data, model, hidden, class_weights or "none")
    row = PROBLEMS.get(name)
    if row is None:
        return problem
    return replace(problem, name=name, about=row.about, epochs=row.epochs, batch_size=row.batch_size)


def _several(given: Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _perceptron(
    name: str, data: Dataset, model: Model | None, hidden: tuple[int, ...] | None, class_weights: ClassWeights
) -> Problem:
    model, hidden = architecture(name, model, hidden)
    assert model is not None
    _check_model(model, data)
    row = row_of(name)
    return replace(from_dataset(data, hidden, class_weights), epochs=row.epochs, batch_size=row.batch_size)


def from_function(name: str, *, batch_norm: bool = False) -> Problem:
    """Return the problem that a person's function returns.

    Args:
        name: ``package.module:function``; the current directory is searched too.
        batch_norm: Whether its model may have batch norm. Default False.

    Returns:
        The problem, checked.

    Raises:
        InputError: If it can't be imported or called, or doesn't return a problem that can be trained on.
    """
    module_name, _, function_name = name.rpartition(":")
    problem = _call(name, _attribute(_module(name, module_name), module_name, function_name))
    if not isinstance(problem, Problem):
        raise InputError(f"{name} returned a {type(problem).__name__}: it must return a rmsprop.lab.problems.Problem")
    check(problem, batch_norm=batch_norm)
    return problem


def _module(name: str, module: str) -> object:
    """Import a module, as `python -m` would find it."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    if not all(part.isidentifier() for part in module.split(".")):
        raise InputError(f"{name}: {module!r} is no name of a module: give package.module:function")
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise InputError(f"{name}: there is no module {error.name}, here or installed") from error
        raise InputError(f"{name}: importing {module} raised {said(error)}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"{name}: importing {module} raised {said(error)}") from error


def _attribute(module: object, module_name: str, function: str) -> Callable[[], object]:
    value = module
    for part in function.split("."):
        if not hasattr(value, part):
            close = get_close_matches(part, dir(value), n=1)
            meant = f"did you mean {close[0]!r}?" if close else "give package.module:function"
            raise InputError(f"{module_name} has no {function!r}: {meant}")
        value = getattr(value, part)
    if isinstance(value, Problem):
        return lambda: value
    if not callable(value):
        raise InputError(f"{module_name}:{function} is of type {type(value).__name__}: give a function")
    return value


def _call(name: str, function: Callable[[], object]) -> object:
    try:
        return function()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{name} is called without arguments and raised {said(error)}") from error


def _refuse(why: str, given: Mapping[str, object]) -> None:
    for option, value in given.items():
        if value not in (None, ()) and (option, value) != ("class_weights", "none"):
            raise InputError(f"--{option.replace('_', '-')} is {why}")


def _check_model(model: Model, dataset: Dataset) -> None:
    classes = len(dataset.classes)
    if dataset.task == "regression" and model in ("logistic", "softmax"):
        raise InputError(f"--model {model} is for classes, and {dataset.target!r} is a number: use linear or mlp")
    if dataset.task == "classification" and model == "linear":
        name = "logistic" if classes == 2 else "softmax"
        raise InputError(f"--model linear is for numbers, and {dataset.target!r} has {classes} classes: use {name}")
    if model == "logistic" and classes != 2:
        raise InputError(f"--model logistic is for two classes, and {dataset.target!r} has {classes}: use softmax")
