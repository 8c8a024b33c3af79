"""Makes a table ready to train on: the task, a fixed 60/20/20 split, and inputs prepared on the training rows only."""

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
from rmsprop.lab.problems.defaults import Task, short_name
from rmsprop.lab.problems.table.columns import Column, as_input, leave_out, typed
from rmsprop.lab.problems.table.encoding import Floats, encode, grouped
from rmsprop.lab.problems.table.identifiers import counts_rows, names_rows, needless
from rmsprop.lab.problems.table.numerals import file_decimal
from rmsprop.lab.problems.table.options import TableOptions, composed
from rmsprop.lab.problems.table.places import Places
from rmsprop.lab.problems.table.tables import read_table
from rmsprop.lab.problems.table.targets import infer_task, labels_of, task_note
from rmsprop.lab.problems.table.understood import Notation

# Below this a fifth of the rows is too few to judge anything by.
FEWEST_ROWS = 10
# A row that isn't trained on may be far from those that are; the square of a larger number may not be a float32.
FARTHEST = 1e12
_SPLIT_SEED = 0


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
        train: 60 % of the rows.
        validation: 20 % of the rows.
        test: 20 % of the rows, to be read once.
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
        frame.drop(drop),
        target,
        task,
        options=options,
        places=table.places,
        delimiter=table.delimiter,
    )
    return replace(read, notes=(*table.notes, *read.notes))


def prepare(
    name: str,
    frame: pl.DataFrame,
    target: str,
    task: Task | None,
    *,
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
        options: How to understand the columns. Default None leaves it to them.
        places: Where the rows stand in their file. Default None: they count from 1.
        delimiter: What separates the columns in their file. Default None: nothing.

    Returns:
        The data set.

    Raises:
        InputError: If the table can't be trained on.
    """
    options, places = options or TableOptions(), places or Places()
    text = [series for series in frame if series.dtype == pl.String]
    notation = Notation(places, options.dayfirst, file_decimal(text, delimiter))
    answer = typed(frame[target], "choose another --target", notation)
    notes = [f"{target}: {answer.note}"] if answer.note else []
    if missing := answer.values.null_count():
        notes.append(f"{target}: {missing} {'row' if missing == 1 else 'rows'} without a target left out")
    has_target = answer.values.is_not_null()
    goal = answer.values.drop_nulls()
    if len(goal) < FEWEST_ROWS:
        raise InputError(f"{name}: rows with a target: {len(goal)}, and a 60/20/20 split needs at least {FEWEST_ROWS}")
    inferred = infer_task(goal)
    labels, classes = labels_of(goal, task or inferred)
    if task is None:
        notes.append(task_note(goal, classes, inferred))
    task = task or inferred
    parts = _split(labels if task == "classification" else np.zeros(len(goal), np.int64))
    columns, told = _columns(frame.drop(target), has_target, target, notation)
    notes += told
    inputs = [as_input(column.values, options.max_categories) for column in columns]
    mean, scale = (0.0, 1.0) if classes else _standard(labels[parts[0]])
    with np.errstate(over="ignore"):  # what is too large for a float32 is refused below
        x, names, preparation = encode(inputs, parts[0], options.max_categories)
        y = labels if classes else ((labels - mean) / scale).astype(np.float32)[:, None]
    formats = {column.values.name: column.format for column in columns if column.format}
    preparation = tuple(
        row | ({"format": formats[row["column"]]} if row["column"] in formats else {}) for row in preparation
    )
    notes += grouped(preparation)
    rows = has_target.arg_true().to_numpy()
    _refuse_outliers(x, names, rows, places)
    if not classes:
        _refuse_outliers(y, (target,), rows, places, "choose another --target")
    train, validation, test = (Part(x[rows], y[rows]) for rows in parts)
    return Dataset(
        name,
        task,
        target,
        train,
        validation,
        test,
        names,
        classes,
        mean,
        scale,
        None if goal.dtype == pl.String else answer.format,
        preparation,
        tuple(notes),
    )


def _columns(
    frame: pl.DataFrame, has_target: pl.Series, target: str, notation: Notation
) -> tuple[list[Column], list[str]]:
    """Return the input columns in the rows that have a target, without those that only name a row; and notes."""
    columns, notes = [], []
    for series in frame:
        if not series.name and series.null_count() == len(series):  # what a delimiter at the end of each line makes
            continue
        is_code = series.dtype == pl.String and names_rows(series.name) and bool(needless(series))
        column = Column(series) if is_code else typed(series, leave_out(series.name), notation)
        column = replace(column, values=column.values.filter(has_target))
        if reason := needless(column.values):
            notes.append(f"{series.name or 'the column without a name'}: {reason}, so it is left out")
        else:
            columns.append(column)
            notes += _column_notes(column)
    if not columns:
        why = f" ({'; '.join(notes)})" if notes else ""
        raise InputError(f"no column is left to predict {target!r} from{why}: leave out fewer with --drop")
    constant = [column.values.name for column in columns if column.values.drop_nulls().n_unique() == 1]
    if constant:
        shown = ", ".join(constant[:5]) + (", ..." if len(constant) > 5 else "")
        notes.append(f"{shown}: always the same value, so it tells nothing")
    return columns, notes


def _column_notes(column: Column) -> list[str]:
    series = column.values
    notes = [f"{series.name}: {column.note}"] if column.note else []
    if missing := series.null_count():
        how = "the most frequent one" if series.dtype == pl.String else "the median"
        notes.append(f"{series.name}: {missing} missing, imputed with {how}")
    if counts_rows(series):
        notes.append(f"{series.name}: counts the rows; if it only numbers them, {leave_out(series.name)}")
    return notes


def _split(groups: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Split 60/20/20 within each group, always in the same way, and return the rows of each part in order."""
    # The legacy generator's stream is frozen, so the split outlives new versions of NumPy.
    random = np.random.RandomState(_SPLIT_SEED)
    parts: list[list[npt.NDArray[np.int64]]] = [[], [], []]
    for group in np.unique(groups):
        rows = random.permutation(np.flatnonzero(groups == group))
        cuts = [round(0.6 * len(rows)), round(0.8 * len(rows))]
        for part, chosen in zip(parts, np.split(rows, cuts), strict=True):
            part.append(chosen)
    return [np.sort(np.concatenate(part)) for part in parts]


def _refuse_outliers(
    values: Floats, names: Sequence[str], rows: npt.NDArray[Any], places: Places, remedy: str = ""
) -> None:
    far = (values.max(axis=0) > FARTHEST) | (values.min(axis=0) < -FARTHEST)
    if far.any():
        column = int(far.argmax())
        row = rows[np.abs(values[:, column]).argmax()]
        raise InputError(
            f"column {names[column]!r} holds a value in {places.of(int(row))} that is over {FARTHEST:g} standard "
            f"deviations from the training rows: correct it, or {remedy or leave_out(names[column])}"
        )


def _standard(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean and the standard deviation, or 1 where that is 0."""
    return float(values.mean()), float(values.std()) or 1.0
