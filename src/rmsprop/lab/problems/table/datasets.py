"""Makes a table ready to train on: the task, a fixed split, and inputs prepared with what the training rows tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.defaults import STANDARD_INPUT, Task, short_name
from rmsprop.lab.problems.table.columns import Column, typed
from rmsprop.lab.problems.table.encoding import Floats, grouped
from rmsprop.lab.problems.table.held_out import Trained, held_out_rows
from rmsprop.lab.problems.table.inputs import input_columns, refuse_outliers, standardised, without_groups
from rmsprop.lab.problems.table.numerals import file_decimal
from rmsprop.lab.problems.table.options import TableOptions, composed
from rmsprop.lab.problems.table.places import Places
from rmsprop.lab.problems.table.splits import Rows, split
from rmsprop.lab.problems.table.tables import read_table
from rmsprop.lab.problems.table.targets import infer_task, labels_of, task_note
from rmsprop.lab.problems.table.understood import Notation

# Below this a fifth of the rows is too few to judge anything by.
FEWEST_ROWS = 10


@dataclass(frozen=True)
class Part:
    """One part of the split: inputs ``x`` (rows by inputs) and targets ``y`` (numbers, or indices of classes)."""

    x: Floats
    y: Floats | npt.NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """A table ready to train on.

    Args:
        name: What to call it.
        task: Regression or classification.
        target: The name of the target column.
        train: 60 % of the rows; 80 % if there is a table of its own to test on.
        validation: 20 % of the rows.
        test: 20 % of the rows, or that table; to be read once.
        inputs: The names of the columns of ``x``.
        classes: The names of the classes, in the order of their indices; empty for regression.
        target_mean: What was subtracted from a number to predict.
        target_scale: What it was divided by.
        target_format: How its text is to be read, as plain values; None for words.
        preparation: How each column becomes inputs, as plain values: enough to do it again elsewhere.
        notes: What a person should know about the preparation, a sentence each.
    """

    name: str
    task: Task
    target: str
    train: Part
    validation: Part
    test: Part
    inputs: tuple[str, ...]
    classes: tuple[str, ...] = ()
    target_mean: float = 0.0
    target_scale: float = 1.0
    target_format: dict[str, str] | None = None
    preparation: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The number of rows in all parts."""
        return sum(len(part.y) for part in (self.train, self.validation, self.test))

    def facts(self) -> dict[str, Any]:
        """Return what prepares a row for the model and reads its answer, as plain values for JSON."""
        return {
            "task": self.task,
            "target": self.target,
            "target_mean": self.target_mean,
            "target_scale": self.target_scale,
            "target_format": self.target_format,
            "classes": list(self.classes),
            "inputs": list(self.inputs),
            "preparation": list(self.preparation),
            "notes": list(self.notes),
        }


def from_file(
    path: Path,
    target: str | None,
    task: Task | None = None,
    drop: Sequence[str] = (),
    options: TableOptions | None = None,
) -> Dataset:
    """Read and prepare a table.

    Args:
        path: Its path.
        target: The column to predict; it may be None for an ``.npz`` file only.
        task: What to do with it. Default None infers it from the column.
        drop: Columns to leave out. Default none.
        options: How to read the table. Default None leaves it to the table.

    Returns:
        The data set.

    Raises:
        InputError: If the table can't be read, or not be trained on.
    """
    _check_test(path, options)
    table = read_table(path, target, options)
    frame, target = table.frame, table.target
    for column in (drop := list(map(composed, drop))):
        if column not in frame.columns or column == target:
            close = get_close_matches(column, [name for name in frame.columns if name != target], n=1)
            meant = f": did you mean {close[0]!r}?" if close else f": it has {', '.join(frame.columns[:12])}"
            why = "is the target" if column == target else f"is no column of {path}"
            raise InputError(f"--drop {column}: {column!r} {why}{'' if column == target else meant}")
    read = prepare(
        short_name(str(path)),
        frame,
        target,
        task,
        drop=drop,
        options=options,
        places=table.places,
        delimiter=table.delimiter,
    )
    return replace(read, notes=(*table.notes, *read.notes))


def _check_test(path: Path, options: TableOptions | None) -> None:
    """Refuse to test on the rows that are trained on."""
    if options is None or options.test is None:
        return
    test = Path(options.test)
    if (path.exists() and test.exists() and path.samefile(test)) or str(path) == options.test == STANDARD_INPUT:
        raise InputError(f"--test {options.test} is the table that is trained on: give another one, or leave it out")


def prepare(
    name: str,
    frame: pl.DataFrame,
    target: str,
    task: Task | None,
    *,
    drop: Sequence[str] = (),
    options: TableOptions | None = None,
    places: Places | None = None,
    delimiter: str | None = None,
) -> Dataset:
    """Make a table ready to train on.

    Args:
        name: What to call it.
        frame: The table.
        target: The column to predict.
        task: What to do with it; None infers it from the column.
        drop: Columns that are no inputs; rows may be split by them. Default none.
        options: How to understand the columns. Default None leaves it to them.
        places: Where the rows stand in their file. Default None: they count from 1.
        delimiter: What separates the columns in their file. Default None: nothing.

    Returns:
        The data set.

    Raises:
        InputError: If the table can't be trained on.
    """
    options, places = options or TableOptions(), places or Places()
    text = [series for series in frame if series.dtype == pl.String and series.name not in drop]
    notation = Notation(places, options.dayfirst, file_decimal(text, delimiter))
    answer = typed(frame[target], "choose another --target", notation)
    has_target = answer.values.is_not_null()
    there = replace(notation, places=places.only(has_target.arg_true().to_list()))
    task, labels, classes, told = _labels(name, answer, task, options)
    notes = [*_target_notes(answer, target), *told]
    parts, told = split(Rows(frame.filter(has_target), labels, classes, target, there), options)
    notes += told
    possible, told = without_groups(frame.drop([target, *drop]), options)
    notes += told
    columns, told = input_columns(possible, has_target, target, notation)
    notes += told
    x, names, preparation = standardised(columns, parts[0], options, there.places)
    notes += grouped(preparation)
    y, mean, scale = _targets(labels, classes, target, parts[0], there.places)
    three = [Part(x[rows], y[rows]) for rows in parts]
    if options.test:
        trained = Trained(frame, answer, classes, mean, scale, preparation)
        *part, told = held_out_rows(Path(options.test), options, trained)
        three.append(Part(*part))
        notes += told
    train, validation, test = three
    written = None if answer.values.dtype == pl.String else answer.format
    learnt = (names, classes, mean, scale, written, preparation)
    return Dataset(name, task, target, train, validation, test, *learnt, tuple(notes))


def _labels(
    name: str, answer: Column, task: Task | None, options: TableOptions
) -> tuple[Task, npt.NDArray[Any], tuple[str, ...], list[str]]:
    """Return the task, its numbers in the rows that have a target, the names of its classes, and notes."""
    goal = answer.values.drop_nulls()
    if len(goal) < FEWEST_ROWS:
        shares = "an 80/20 split" if options.test else "a 60/20/20 split"
        raise InputError(f"{name}: rows with a target: {len(goal)}, and {shares} needs at least {FEWEST_ROWS}")
    inferred = infer_task(goal)
    labels, classes = labels_of(goal, task or inferred)
    return task or inferred, labels, classes, [task_note(goal, classes, inferred)] if task is None else []


def _targets(
    labels: npt.NDArray[Any], classes: Sequence[str], target: str, training: npt.NDArray[np.int64], places: Places
) -> tuple[Floats | npt.NDArray[np.int64], float, float]:
    """Return what is to be predicted, and what was subtracted from a number and what it was divided by."""
    if classes:
        return labels, 0.0, 1.0
    mean, scale = _standard(labels[training])
    with np.errstate(over="ignore"):
        y: Floats = ((labels - mean) / scale).astype(np.float32)[:, None]
    refuse_outliers(y, (target,), places, "choose another --target")
    return y, mean, scale


def _target_notes(answer: Column, target: str) -> list[str]:
    """Return what a person should know about the target: how it was read, and the rows without one."""
    notes = [f"{target}: {answer.note}"] if answer.note else []
    if missing := answer.values.null_count():
        notes.append(f"{target}: {missing} {'row' if missing == 1 else 'rows'} without a target left out")
    return notes


def _standard(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean and the standard deviation, or 1 where that is 0."""
    return float(values.mean()), float(values.std()) or 1.0
