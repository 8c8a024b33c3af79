"""The input columns of a table: which there are, what a person should know of them, and their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.table.columns import FARTHEST, Column, as_input, leave_out, typed
from rmsprop.lab.problems.table.encoding import Floats, encode
from rmsprop.lab.problems.table.identifiers import counts_rows, names_rows, needless
from rmsprop.lab.problems.table.options import GROUP, TableOptions, composed
from rmsprop.lab.problems.table.places import Places
from rmsprop.lab.problems.table.understood import Notation


def without_groups(frame: pl.DataFrame, options: TableOptions) -> tuple[pl.DataFrame, list[str]]:
    """Return the input columns without that of the groups, which other rows don't share, and a note."""
    kind, column = options.split_by
    name = composed(column.strip())
    if kind != GROUP or options.group_input or name not in frame.columns:
        return frame, []
    return frame.drop(name), [f"{name}: tells the group of a row, so it is left out (--group-input keeps it)"]


def input_columns(
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


def standardised(
    columns: Sequence[Column], training: npt.NDArray[np.int64], options: TableOptions, places: Places
) -> tuple[Floats, tuple[str, ...], tuple[dict[str, Any], ...]]:
    """Return columns as numbers for the model, their names, and how they were made with what the training rows tell."""
    inputs = [as_input(column.values, options.max_categories) for column in columns]
    with np.errstate(over="ignore"):  # what is too large for a float32 is refused
        x, names, preparation = encode(inputs, training, options.max_categories)
    refuse_outliers(x, names, places)
    return x, names, _with_formats(preparation, columns)


def _with_formats(preparation: Sequence[dict[str, Any]], columns: Sequence[Column]) -> tuple[dict[str, Any], ...]:
    formats = {column.values.name: column.format for column in columns if column.format}
    return tuple(row | ({"format": formats[row["column"]]} if row["column"] in formats else {}) for row in preparation)


def refuse_outliers(values: Floats, names: Sequence[str], places: Places, remedy: str = "") -> None:
    """Refuse columns with a value too far from the training rows.

    Args:
        values: Rows by columns, standardised.
        names: The names of the columns.
        places: Where the rows stand in their file.
        remedy: What an error says to do instead. Default: leave the column out.
    """
    far = (values.max(axis=0) > FARTHEST) | (values.min(axis=0) < -FARTHEST)
    if far.any():
        column = int(far.argmax())
        row = int(np.abs(values[:, column]).argmax())
        raise InputError(
            f"column {names[column]!r} holds a value in {places.of(row)} that is over {FARTHEST:g} standard "
            f"deviations from the training rows: correct it, or {remedy or leave_out(names[column])}"
        )
