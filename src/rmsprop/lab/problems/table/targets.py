"""Decides what a target column is: a number to predict, or classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.defaults import Task
from rmsprop.lab.problems.table.columns import plainly

# Below this a fifth of the rows doesn't hold each class.
FEWEST_PER_CLASS = 5
# Whole numbers are taken for classes if there are at most so many, with so many rows each on average.
MOST_WHOLE_CLASSES, ROWS_PER_WHOLE_CLASS = 20, 5
MOST_CLASSES = 1000


def infer_task(goal: pl.Series) -> Task:
    """Return what to do with a target: words, truth values and few whole numbers are classes.

    Args:
        goal: The target, without missing values.

    Returns:
        The task.

    Examples:
        >>> infer_task(pl.Series([0.0, 1.0] * 10)), infer_task(pl.Series([0.5, 1.0] * 10))
        ('classification', 'regression')
    """
    if not goal.dtype.is_float():
        return "classification"
    distinct = goal.n_unique()
    few = distinct <= MOST_WHOLE_CLASSES and distinct * ROWS_PER_WHOLE_CLASS <= len(goal)
    return "classification" if few and (goal == goal.floor()).all() else "regression"


def labels_of(goal: pl.Series, task: Task) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Return a target as numbers and no classes, or as indices of classes and their names.

    Args:
        goal: The target, without missing values.
        task: What to do with it.

    Returns:
        The labels, and the names of the classes.

    Raises:
        InputError: If there is nothing to learn from it, or not enough of it.

    Examples:
        >>> labels_of(pl.Series(["no", "yes"] * 5), "classification")[1]
        ('no', 'yes')
    """
    if goal.dtype.is_temporal():
        raise InputError(f"the target {goal.name!r} is a date or time: turn it into a number or a class first")
    if goal.n_unique() == 1:
        what = "has one class only" if goal.dtype == pl.String else "is constant"
        raise InputError(f"the target {goal.name!r} {what} ({class_name(goal[0])}): there is nothing to learn from it")
    if task == "regression":
        if not (goal.dtype.is_float() or goal.dtype == pl.Boolean):
            raise InputError(f"--task regression needs numbers, and the target {goal.name!r} holds {goal[0]!r}")
        return goal.cast(pl.Float64).to_numpy(), ()
    classes, labels, sizes = np.unique(goal.to_numpy(), return_inverse=True, return_counts=True)
    if len(classes) > MOST_CLASSES or 2 * len(classes) > len(goal):
        advice = "add --task regression, or " if goal.dtype.is_float() else plainly(goal)
        raise InputError(
            f"the target {goal.name!r} has {len(classes):,} classes in {len(goal):,} rows, too many to learn (such as "
            f"{class_name(classes[0])}): {advice}choose another --target"
        )
    names = tuple(map(class_name, classes))
    counts = "add --task regression if these are counts or amounts, or " if goal.dtype.is_float() else ""
    if (fewest := int(sizes.min())) < FEWEST_PER_CLASS:
        raise InputError(
            f"class {names[sizes.argmin()]!r} of the target {goal.name!r} has {fewest} row{'s' * (fewest > 1)}: a "
            f"60/20/20 split needs {FEWEST_PER_CLASS} of each class: {counts}leave it out or merge it with another"
        )
    return labels.astype(np.int64), names


def task_note(goal: pl.Series, classes: Sequence[str], task: Task) -> str:
    """Return what a target was taken for, and how to decide otherwise.

    Args:
        goal: The target, without missing values.
        classes: The names of its classes; none for numbers.
        task: The task that was inferred.

    Returns:
        A sentence.
    """
    what = f"a class, one of {len(classes)}" if classes else "a number"
    if classes and goal.dtype.is_float() and len(classes) > 2:
        return f"{goal.name}: taken for {what}, so this is {task} (--task regression if these are counts or amounts)"
    return f"{goal.name}: taken for {what}, so this is {task} (--task decides otherwise)"


def class_name(value: object) -> str:
    """Return what a class is called.

    Args:
        value: A value of the target.

    Returns:
        Its name.

    Examples:
        >>> class_name(3.0), class_name("yes")
        ('3', 'yes')
    """
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 2.0**53 else f"{value:.15g}"
    return str(value)
