"""A table of its own to test on: read as rows to predict are, with the targets understood as those of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.defaults import STANDARD_INPUT, TEXT_SUFFIXES, table_suffix
from rmsprop.lab.problems.table.columns import FARTHEST, Column, as_input
from rmsprop.lab.problems.table.encoding import Floats
from rmsprop.lab.problems.table.new_rows import inputs_of, values_of
from rmsprop.lab.problems.table.options import GROUP, TableOptions, composed
from rmsprop.lab.problems.table.places import Places
from rmsprop.lab.problems.table.tables import RawTable, read_table
from rmsprop.lab.problems.table.targets import class_name


@dataclass(frozen=True)
class Trained:
    """What the table that is trained on tells about another one.

    Args:
        frame: All its columns.
        answer: Its target, understood.
        classes: The names of its classes; none for numbers.
        mean: What is subtracted from numbers to predict.
        scale: What they are divided by.
        preparation: How each column became inputs.
    """

    frame: pl.DataFrame
    answer: Column
    classes: tuple[str, ...]
    mean: float
    scale: float
    preparation: Sequence[Mapping[str, Any]]


def held_out_rows(path: Path, options: TableOptions, trained: Trained) -> tuple[Floats, npt.NDArray[Any], list[str]]:
    """Read a table of its own to test on.

    Args:
        path: Its path.
        options: How to read it, and how the other table was split.
        trained: What that tells.

    Returns:
        Its inputs, its targets, and what a person should know, a sentence each.

    Raises:
        InputError: If it can't be read, lacks a column, or holds a value of another kind.
    """
    target = trained.answer.values.name
    if not _is_text(str(path)):
        options = replace(options, delimiter=None, encoding=None)
    table = read_table(path, target, options)
    try:
        values = _answers(table, trained.answer)
        there = values.is_not_null().arg_true()
        if there.is_empty():
            raise InputError(f"no row has a {target!r}: give a table with the target")
        table = replace(table, frame=table.frame[there], places=table.places.only(there.to_list()))
        inputs, notes = inputs_of(_without_unused(table.frame, trained), trained.preparation, target, table.places)
        labels = _labels(values.gather(there), trained, table.places)
    except InputError as error:
        raise InputError(f"--test {path}: {error}") from error
    if missing := len(values) - len(there):
        notes.insert(0, f"{target}: {missing} {'row' if missing == 1 else 'rows'} without a target left out")
    notes = [*table.notes, *notes, *_shared_groups(table.frame, trained.frame, options)]
    told = [f"--test {path}: {note}" for note in notes]
    return inputs, labels, [f"--test {path}: its {len(labels)} rows are what is tested on", *told]


def _is_text(path: str) -> bool:
    suffix = table_suffix(path)
    return path == STANDARD_INPUT or suffix is None or suffix.startswith(TEXT_SUFFIXES)


def _answers(table: RawTable, answer: Column) -> pl.Series:
    """Return the targets as the training table's were understood; null where one is missing."""
    series = table.frame[table.target]
    if answer.values.dtype != pl.String:
        values = values_of(series, answer.format, table.places)
        return values.fill_nan(None) if values.dtype.is_float() else values
    if not (series.dtype in (pl.String, pl.Categorical, pl.Enum) or series.dtype.is_integer()):
        raise InputError(f"column {series.name!r} holds {series.dtype}, and was words in training: give words")
    return series.cast(pl.String)


def _without_unused(frame: pl.DataFrame, trained: Trained) -> pl.DataFrame:
    """Return a frame without columns that the other table has too, but that are no inputs: of them enough is said."""
    used = {row["column"] for row in trained.preparation}
    return frame.drop([name for name in frame.columns if name in trained.frame.columns and name not in used])


def _labels(values: pl.Series, trained: Trained, places: Places) -> npt.NDArray[Any]:
    if trained.classes:
        names = [class_name(value) for value in values.to_numpy()]
        known = {name: index for index, name in enumerate(trained.classes)}
        stranger = next((row for row, name in enumerate(names) if name not in known), None)
        if stranger is not None:
            raise InputError(
                f"{places.of(stranger)} has the class {names[stranger]!r}, and the table that is trained on has "
                f"{', '.join(trained.classes[:12])}{', ...' * (len(trained.classes) > 12)} only: leave the row out"
            )
        return np.array([known[name] for name in names], dtype=np.int64)
    numbers = (as_input(values.cast(pl.Float64)).to_numpy() - trained.mean) / trained.scale
    far = ~(np.abs(numbers) <= FARTHEST)
    if far.any():
        place = places.of(int(far.argmax()))
        raise InputError(f"column {values.name!r} holds a value in {place} that is too far from training: correct it")
    return numbers.astype(np.float32)[:, None]


def _shared_groups(frame: pl.DataFrame, trained: pl.DataFrame, options: TableOptions) -> list[str]:
    kind, column = options.split_by
    name = composed(column.strip())
    if kind != GROUP or name not in frame.columns:
        return []
    both = set(frame[name].cast(pl.String)) & set(trained[name].cast(pl.String)) - {None}
    return [f"{len(both)} of its groups in {name!r} are in the other table too"] if both else []
