"""Prepares rows of a new table for a model as those it was trained on were: the same kinds, formats and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.table.columns import FARTHEST, LARGEST, as_input, quoted
from rmsprop.lab.problems.table.dates import written_dates
from rmsprop.lab.problems.table.durations import written_hours
from rmsprop.lab.problems.table.encoding import Floats
from rmsprop.lab.problems.table.numerals import written_numbers
from rmsprop.lab.problems.table.places import Places
from rmsprop.lab.problems.table.targets import class_name

Facts = Mapping[str, Any]
_SHOWN = 12
# Of a number longer than any that a program writes, the first digits are enough.
_LONGEST = 30


def inputs_of(
    frame: pl.DataFrame, preparation: Sequence[Facts], target: str, places: Places | None = None
) -> tuple[Floats, list[str]]:
    """Return the inputs of new rows.

    Args:
        frame: The rows; text is as it stands in their file.
        preparation: How each column became inputs when the model was trained.
        target: The name of the column that is predicted, which isn't looked at.
        places: Where the rows stand in their file. Default None: they count from 1.

    Returns:
        The inputs (rows by inputs), and what a person should know about them, a sentence each.

    Raises:
        InputError: If columns are missing or a value isn't of its column's kind.

    Examples:
        >>> age = {"column": "age", "kind": "number", "missing": 30.0, "mean": 30.0, "scale": 10.0}
        >>> inputs_of(pl.DataFrame({"age": ["45", None]}), [age], "churn")[0].tolist()
        [[1.5], [0.0]]
    """
    names = [row["column"] for row in preparation]
    notes = _check_columns(frame, names, target)
    blocks = []
    for row in preparation:
        encode = _number if row["kind"] == "number" else _category
        block, told = encode(frame[row["column"]], row, places or Places())
        blocks.append(block)
        notes += told
    return np.concatenate(blocks, axis=1), notes


def targets_of(
    series: pl.Series, classes: Sequence[str], written: Mapping[str, str] | None, places: Places | None = None
) -> tuple[pl.Series, list[str]]:
    """Return the targets of new rows, where a table has them.

    Args:
        series: The target's column; text is as it stands in the file.
        classes: The names of the classes; none for numbers.
        written: How its text was to be read when the model was trained; None for words.
        places: Where the rows stand in their file. Default None: they count from 1.

    Returns:
        Numbers, or indices of classes, null where there is none; and what a person should know, a sentence each.

    Raises:
        InputError: If a value isn't of the target's kind.

    Examples:
        >>> targets_of(pl.Series("churn", ["yes", None, "no", "maybe"]), ("no", "yes"), None)[0].to_list()
        [1, None, 0, None]
    """
    if not (classes and written is None):
        series = values_of(series, written or {}, places or Places())
    if not classes:
        return series.cast(pl.Float64).fill_nan(None), []
    names = [None if value is None else class_name(value) for value in series.to_list()]
    index = {name: place for place, name in enumerate(classes)}
    strange = sorted({name for name in names if name is not None and name not in index})
    notes = [f"{series.name}: not scored are rows of a class that training didn't have: {_listed(strange)}"]
    targets = [None if name is None else index.get(name) for name in names]
    return pl.Series(series.name, targets, dtype=pl.Int64), notes if strange else []


def _check_columns(frame: pl.DataFrame, names: Sequence[str], target: str) -> list[str]:
    """Refuse a table without all columns, and return a note on those that aren't used."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InputError(
            f"the table lacks {_listed(missing)}, which the model was trained on: it has {_listed(frame.columns)}"
        )
    extra = [name for name in frame.columns if name and name not in {*names, target}]
    return [f"not used, as the model wasn't trained on it: {_listed(extra)}"] if extra else []


def _listed(names: Sequence[str]) -> str:
    return (", ".join(map(quoted, names[:_SHOWN])) or "none") + (", ..." if len(names) > _SHOWN else "")


def _number(series: pl.Series, row: Facts, places: Places) -> tuple[Floats, list[str]]:
    values = as_input(values_of(series, row.get("format", {}), places))
    values = values.fill_nan(None)
    _refuse(series, values.abs() > LARGEST, f"must be finite and at most {LARGEST:g}", places)
    notes = _missing(values, f"{row['missing']:.15g}, the median in training")
    scaled = (values.fill_null(row["missing"]) - row["mean"]) / row["scale"]
    _refuse(series, scaled.abs() > FARTHEST, f"must be within {FARTHEST:g} standard deviations of training", places)
    return scaled.to_numpy().astype(np.float32)[:, None], notes


def _refuse(series: pl.Series, bad: pl.Series, allowed: str, places: Places) -> None:
    if (index := bad.fill_null(value=False).arg_max()) is not None and bad[index]:
        value = str(series[index])
        shown = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
        raise InputError(f"column {series.name!r} holds {shown} in {places.of(index)}: values {allowed}: correct it")


def values_of(series: pl.Series, written: Mapping[str, str], places: Places) -> pl.Series:
    """Return a column's values: numbers, truth values or times; null where one is missing.

    Args:
        series: The column; text is as it stands in its file.
        written: The format of the column that was trained on.
        places: Where the rows stand in their file.

    Returns:
        The values.

    Raises:
        InputError: If one isn't of that kind.
    """
    if series.null_count() == len(series):
        return pl.Series(series.name, [None] * len(series), dtype=pl.Float64)
    kind = written.get("kind", "")
    what = f"{_KINDS[kind]}{_example(written)}"
    if series.dtype in (pl.Categorical, pl.Enum) or series.dtype.is_integer():
        series = series.cast(pl.String)
    if series.dtype == pl.String and kind in _READERS:
        values = _READERS[kind](series, written)
        _refuse_strays(series, values, f"was {what}", places)
        return values
    if not _fits(series.dtype, kind) or written.get("unit") == "%":  # where types are known, 12 % is 0.12
        raise InputError(f"column {series.name!r} holds {series.dtype}, and was {what} in training: give the same kind")
    return series


def _refuse_strays(series: pl.Series, values: pl.Series, was: str, places: Places) -> None:
    stray = values.is_null() & series.is_not_null()
    if stray.any():
        index = int(stray.arg_max() or 0)
        raise InputError(
            f"column {series.name!r} {was} in training, and {places.of(index)} holds {quoted(series[index])}: "
            "write it in the same way, or leave it empty"
        )


def _example(written: Mapping[str, str]) -> str:
    """Return how a value is written, as far as it isn't as any program would."""
    unit = f" in {written['unit']}" if written.get("unit") else ""
    decimal = " with a decimal comma" if written.get("decimal") == "," else ""
    order = f", {_ORDERS[written['order']]}" if "order" in written else ""
    return f"{unit}{decimal}{order}"


_ORDERS = {
    "YMD": "year first (2024-01-31)",
    "DMY": "day first (31/01/2024)",
    "MDY": "month first (01/31/2024)",
    "MY": "month first (01/2024)",
    "YM": "year first (2024-01)",
}
# The kind of a format -> what a column of it is; without a format it holds plain numbers.
_KINDS = {
    "": "numeric",
    "number": "numeric",
    "truth": "true or false",
    "date": "a date",
    "time": "a time",
    "duration": "a duration",
    "time of day": "a time of day",
    "span": "a duration",
}
_READERS: Mapping[str, Callable[[pl.Series, Mapping[str, str]], pl.Series]] = {
    "": lambda text, _: text.cast(pl.Float64, strict=False),
    "number": lambda text, written: written_numbers(text, written["decimal"], written["unit"]),
    "truth": lambda text, _: text.str.to_lowercase().replace_strict(
        {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
    ),
    "date": lambda text, written: written_dates(text, written["order"]),
    "time": lambda text, _: written_hours(text, "time"),
    "duration": lambda text, _: written_hours(text, "duration"),
}


def _fits(dtype: pl.DataType, kind: str) -> bool:
    """Tell whether values of a table that knows types may be in a column of a kind."""
    if kind in ("", "number"):
        return dtype.is_numeric()
    return dtype == pl.Boolean if kind == "truth" else dtype.base_type() in _TEMPORAL.get(kind, ())


_TEMPORAL: Mapping[str, tuple[object, ...]] = {
    "date": (pl.Date, pl.Datetime),
    "time of day": (pl.Time,),
    "span": (pl.Duration,),
}


def _category(series: pl.Series, row: Facts, _: Places) -> tuple[Floats, list[str]]:
    """Encode words one-hot; one without an input of its own is the rare ones', or all 0 if there are none."""
    if not (series.dtype in (pl.String, pl.Null, pl.Categorical, pl.Enum) or series.dtype.is_integer()):
        raise InputError(f"column {series.name!r} holds {series.dtype}, and was words in training: give words")
    words, categories = series.cast(pl.String), row["categories"]
    notes = _missing(words, f"{row['missing']!r}, the most frequent one in training")
    filled = words.fill_null(row["missing"])
    indices = filled.replace_strict(categories, range(len(categories)), default=len(categories), return_dtype=pl.Int64)
    notes += _unknown(filled.filter(indices == len(categories)), rare=bool(row.get("others")))
    width = len(categories) + bool(row.get("others"))
    return np.eye(len(categories) + 1, width, dtype=np.float32)[indices.to_numpy()], notes


def _missing(values: pl.Series, fill: str) -> list[str]:
    count = values.null_count()
    return [f"{values.name}: {count} missing, imputed with {fill}"] if count else []


def _unknown(words: pl.Series, *, rare: bool) -> list[str]:
    if words.is_empty():
        return []
    rows = f"{len(words)} row{'s' * (len(words) > 1)} with"
    what = f"{_listed(words.unique(maintain_order=True).to_list())}"
    if rare:
        return [f"{words.name}: {rows} a category that has no input of its own ({what}), taken for a rare one"]
    return [f"{words.name}: {rows} a category that no training row had ({what}), taken for none of the known ones"]
