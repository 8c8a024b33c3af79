"""Makes a table ready to train on: the task, a fixed 60/20/20 split, and inputs prepared on the training rows only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.columns import as_input, leave_out, plainly, typed
from rmsprop.lab.problems.defaults import Task
from rmsprop.lab.problems.tables import read_table

Floats = npt.NDArray[np.float32]
# Below this a fifth of the rows is too few to judge anything by, or to hold each class.
FEWEST_ROWS, FEWEST_PER_CLASS = 10, 5
# Whole numbers are taken for classes if there are at most so many, with so many rows each on average.
MOST_WHOLE_CLASSES, ROWS_PER_WHOLE_CLASS = 20, 5
MOST_CLASSES = 1000
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
            "classes": list(self.classes),
            "inputs": list(self.inputs),
            "preparation": list(self.preparation),
            "notes": list(self.notes),
        }


def from_file(path: Path, target: str | None, task: Task | None = None, drop: Sequence[str] = ()) -> Dataset:
    """Read and prepare a table.

    Args:
        path: Its path.
        target: The column to predict; it may be None for an ``.npz`` file only.
        task: What to do with it. Default None infers it from the column.
        drop: Columns to leave out. Default none.

    Returns:
        The data set.

    Raises:
        InputError: If the table can't be read, or not be trained on.
    """
    frame, target = read_table(path, target)
    for column in drop:
        if column not in frame.columns or column == target:
            close = get_close_matches(column, [name for name in frame.columns if name != target], n=1)
            meant = f": did you mean {close[0]!r}?" if close else f": it has {', '.join(frame.columns[:12])}"
            why = "is the target" if column == target else f"is no column of {path}"
            raise InputError(f"--drop {column}: {column!r} {why}{'' if column == target else meant}")
    return prepare(path.stem, frame.drop(drop), target, task)


def prepare(name: str, frame: pl.DataFrame, target: str, task: Task | None) -> Dataset:
    """Make a table ready to train on.

    Args:
        name: What to call it.
        frame: The table.
        target: The column to predict.
        task: What to do with it; None infers it from the column.

    Returns:
        The data set.

    Raises:
        InputError: If the table can't be trained on.
    """
    goal = typed(frame[target], "choose another --target")
    notes = []
    if missing := goal.null_count():
        notes.append(f"{target}: {missing} {'row' if missing == 1 else 'rows'} without a target left out")
    has_target = goal.is_not_null()
    goal = goal.drop_nulls()
    if len(goal) < FEWEST_ROWS:
        raise InputError(f"{name}: rows with a target: {len(goal)}, and a 60/20/20 split needs at least {FEWEST_ROWS}")
    inferred = _infer_task(goal)
    labels, classes = _labels(goal, task or inferred)
    if task is None:
        what = f"a class, one of {len(classes)}" if classes else "a number"
        notes.append(f"{target}: taken for {what}, so this is {inferred} (--task decides otherwise)")
    task = task or inferred
    parts = _split(labels if task == "classification" else np.zeros(len(goal), np.int64))
    if frame.width < 2:
        raise InputError(f"no column is left to predict {target!r} from: leave out fewer with --drop")
    columns = [typed(series, leave_out(series.name)).filter(has_target) for series in frame.drop(target)]
    notes += _column_notes(columns)
    inputs = [as_input(series) for series in columns]
    mean, scale = (0.0, 1.0) if classes else _standard(labels[parts[0]])
    with np.errstate(over="ignore"):  # what is too large for a float32 is refused below
        x, names, preparation = _encode(inputs, parts[0])
        y = labels if classes else ((labels - mean) / scale).astype(np.float32)[:, None]
    rows = has_target.arg_true().to_numpy()
    _refuse_outliers(x, names, rows)
    if not classes:
        _refuse_outliers(y, (target,), rows, "choose another --target")
    train, validation, test = (Part(x[rows], y[rows]) for rows in parts)
    return Dataset(name, task, target, train, validation, test, names, classes, mean, scale, preparation, tuple(notes))


def _infer_task(goal: pl.Series) -> Task:
    if not goal.dtype.is_float():
        return "classification"
    distinct = goal.n_unique()
    few = distinct <= MOST_WHOLE_CLASSES and distinct * ROWS_PER_WHOLE_CLASS <= len(goal)
    return "classification" if few and (goal == goal.floor()).all() else "regression"


def _labels(goal: pl.Series, task: Task) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Return the target as numbers and no classes, or as indices of classes and their names."""
    if goal.dtype.is_temporal():
        raise InputError(f"the target {goal.name!r} is a date or time: turn it into a number or a class first")
    if goal.n_unique() == 1:
        what = "has one class only" if goal.dtype == pl.String else "is constant"
        raise InputError(f"the target {goal.name!r} {what} ({_shown(goal[0])}): there is nothing to learn from it")
    if task == "regression":
        if not (goal.dtype.is_float() or goal.dtype == pl.Boolean):
            raise InputError(f"--task regression needs numbers, and the target {goal.name!r} holds {goal[0]!r}")
        return goal.cast(pl.Float64).to_numpy(), ()
    classes, labels, sizes = np.unique(goal.to_numpy(), return_inverse=True, return_counts=True)
    if len(classes) > MOST_CLASSES or 2 * len(classes) > len(goal):
        advice = plainly(goal) if goal.dtype == pl.String else "add --task regression, or "
        raise InputError(
            f"the target {goal.name!r} has {len(classes):,} classes in {len(goal):,} rows, too many to learn: "
            f"{advice}choose another --target"
        )
    names = tuple(map(_shown, classes))
    if (fewest := int(sizes.min())) < FEWEST_PER_CLASS:
        raise InputError(
            f"class {names[sizes.argmin()]!r} of the target {goal.name!r} has {fewest} row{'s' * (fewest > 1)}: a "
            f"60/20/20 split needs {FEWEST_PER_CLASS} of each class: leave it out or merge it with another"
        )
    return labels.astype(np.int64), names


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


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


def _column_notes(columns: Sequence[pl.Series]) -> list[str]:
    notes = []
    for series in columns:
        if missing := series.null_count():
            how = "the most frequent one" if series.dtype == pl.String else "the median"
            notes.append(f"{series.name}: {missing} missing, imputed with {how}")
        if series.dtype.is_temporal():
            notes.append(f"{series.name}: a date or time, read as a number of days")
    constant = [series.name for series in columns if series.drop_nulls().n_unique() == 1]
    if constant:
        shown = ", ".join(constant[:5]) + (", ..." if len(constant) > 5 else "")
        notes.append(f"{shown}: always the same value, so it tells nothing")
    return notes


def _encode(
    inputs: Sequence[pl.Series], train: npt.NDArray[np.int64]
) -> tuple[Floats, tuple[str, ...], tuple[dict[str, Any], ...]]:
    """Return all rows as inputs, prepared with what the training rows tell: the numbers first, then the categories."""
    for series in inputs:
        if series.gather(train).null_count() == len(train):
            raise InputError(f"column {series.name!r} has no value in any training row: {leave_out(series.name)}")
    numbers = [series for series in inputs if series.dtype != pl.String]
    words = [series for series in inputs if series.dtype == pl.String]
    blocks = [block(columns, train) for block, columns in ((_numbers, numbers), (_words, words)) if columns]
    x = np.concatenate([block[0] for block in blocks], axis=1)
    names = tuple(name for block in blocks for name in block[1])
    return x, names, tuple(row for block in blocks for row in block[2])


def _numbers(
    columns: Sequence[pl.Series], train: npt.NDArray[np.int64]
) -> tuple[Floats, list[str], list[dict[str, Any]]]:
    """Impute with the median, then standardise."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    table = np.column_stack([series.to_numpy() for series in columns])
    imputer = SimpleImputer(strategy="median").fit(table[train])
    table = imputer.transform(table)
    scaler = StandardScaler().fit(table[train])
    names = [series.name for series in columns]
    fitted = zip(names, imputer.statistics_.tolist(), scaler.mean_.tolist(), scaler.scale_.tolist(), strict=True)
    preparation = [{"column": c, "kind": "number", "missing": f, "mean": m, "scale": s} for c, f, m, s in fitted]
    return scaler.transform(table).astype(np.float32), names, preparation


def _words(
    columns: Sequence[pl.Series], train: npt.NDArray[np.int64]
) -> tuple[Floats, list[str], list[dict[str, Any]]]:
    """Impute with the most frequent category, then encode one-hot; a category not among the training rows is all 0."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    table = np.column_stack([series.to_numpy().astype(object) for series in columns])
    imputer = SimpleImputer(strategy="most_frequent", missing_values=None).fit(table[train])
    table = imputer.transform(table)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32).fit(table[train])
    fitted = [
        {"column": series.name, "kind": "category", "missing": fill, "categories": categories.tolist()}
        for series, fill, categories in zip(columns, imputer.statistics_.tolist(), encoder.categories_, strict=True)
    ]
    names = [f"{row['column']}={category}" for row in fitted for category in row["categories"]]
    return encoder.transform(table), names, fitted


def _refuse_outliers(values: Floats, names: Sequence[str], rows: npt.NDArray[Any], remedy: str = "") -> None:
    far = (values.max(axis=0) > FARTHEST) | (values.min(axis=0) < -FARTHEST)
    if far.any():
        column = int(far.argmax())
        row = rows[np.abs(values[:, column]).argmax()]
        raise InputError(
            f"column {names[column]!r} holds a value in row {row + 1} that is over {FARTHEST:g} standard deviations "
            f"from the training rows: correct it, or {remedy or leave_out(names[column])}"
        )


def _standard(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean and the standard deviation, or 1 where that is 0."""
    return float(values.mean()), float(values.std()) or 1.0
