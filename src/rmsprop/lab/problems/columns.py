"""Decides what each column of a table is: numbers, or categories. Whatever is neither is one clear line."""

from __future__ import annotations

import shlex
from typing import Any

import polars as pl

from rmsprop.lab.errors import InputError

# A text column of which more than this share are numbers is meant to be numeric: the rest are typing errors.
MOSTLY = 0.5
# Every category is an input of its own. More than MANY are too many in a table of any size; more than FEW are too many
# where half of the rows have one of their own, as names and identifiers do.
MANY, FEW = 200, 20
# Above this the square that standardising needs overflows a float64.
LARGEST = 1e150


def typed(series: pl.Series, remedy: str) -> pl.Series:
    """Return a column as numbers (Float64), truth values (Boolean), times (temporal) or text (String).

    Args:
        series: A column as it was read.
        remedy: What an error says to do instead.

    Returns:
        The column; missing values and NaN are null.

    Raises:
        InputError: If it holds nothing, lists and the like, infinities, or numbers with stray text among them.

    Examples:
        >>> typed(pl.Series("age", ["31", None, "45"]), "leave it out").to_list()
        [31.0, None, 45.0]
    """
    if series.null_count() == len(series):
        raise InputError(f"column {series.name!r} has no values at all: {remedy}")
    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    if series.dtype == pl.String:
        return _typed_text(series, remedy)
    if series.dtype.is_numeric():
        return _numbers(series, remedy)
    if series.dtype == pl.Boolean or series.dtype.is_temporal():
        return series
    raise InputError(
        f"column {series.name!r} holds {series.dtype}: a value must be a number, a word, a truth value or "
        f"a date: {remedy}"
    )


def _typed_text(series: pl.Series, remedy: str) -> pl.Series:
    numbers = series.cast(pl.Float64, strict=False)
    stray = numbers.is_null() & series.is_not_null()
    if not stray.any():
        return _numbers(numbers, remedy)
    share = 1.0 - int(stray.sum()) / (len(series) - series.null_count())
    if share > MOSTLY:
        row = int(stray.arg_max() or 0)
        raise InputError(
            f"column {series.name!r} is numeric, but row {row + 1} holds {_quoted(series[row])}: "
            f"correct the value, or {remedy}"
        )
    return _truth_or_time(series)


def _truth_or_time(series: pl.Series) -> pl.Series:
    words = series.str.to_lowercase()
    if words.drop_nulls().is_in(["true", "false"]).all():
        return (words == "true").alias(series.name)
    if not series.str.contains(r"^(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})\b").all():
        return series
    for kind in (pl.Date, pl.Datetime):
        try:
            return series.str.strptime(kind)
        except pl.exceptions.PolarsError:
            continue
    return series


def _numbers(series: pl.Series, remedy: str) -> pl.Series:
    numbers = series.cast(pl.Float64).fill_nan(None)
    if numbers.null_count() == len(numbers):
        raise InputError(f"column {series.name!r} has no values at all: {remedy}")
    large = (numbers.abs() > LARGEST).fill_null(value=False)
    if large.any():
        row = int(large.arg_max() or 0)
        raise InputError(
            f"column {series.name!r} holds {numbers[row]:g} in row {row + 1}: "
            f"values must be finite and at most {LARGEST:g}: correct it, or {remedy}"
        )
    return numbers


def as_input(series: pl.Series) -> pl.Series:
    """Return an input column as numbers (Float64) or categories (String).

    Truth values become 0 and 1, times the number of days since 1970 (of a day since midnight).

    Args:
        series: A column as `typed` gave it.

    Returns:
        The column; missing values are null.

    Raises:
        InputError: If it has too many categories.

    Examples:
        >>> as_input(pl.Series("member", [True, False])).to_list()
        [1.0, 0.0]
    """
    if series.dtype.is_temporal():
        return _days(series)
    if series.dtype != pl.String:
        return series.cast(pl.Float64)
    count, rows = series.drop_nulls().n_unique(), len(series)
    if count > MANY or (count > FEW and 2 * count > rows):
        raise InputError(
            f"column {series.name!r} has {count:,} categories in {rows:,} rows, too many to encode each as an "
            f"input: {plainly(series)}{leave_out(series.name)}"
        )
    return series


def plainly(series: pl.Series) -> str:
    """Return how numbers and dates are to be written, if that is what a text column seems to hold.

    Args:
        series: A text column.

    Returns:
        The beginning of a piece of advice, or nothing.

    Example:
        >>> plainly(pl.Series(["1,000", "$5.00", "12 %"]))
        'write numbers as 1234.5 and dates as 2024-01-31, or '
    """
    share: Any = series.drop_nulls().str.contains(r"^\P{L}*\d\P{L}*$").mean()
    return "write numbers as 1234.5 and dates as 2024-01-31, or " if share and share > MOSTLY else ""


def _days(series: pl.Series) -> pl.Series:
    if series.dtype == pl.Date:
        return series.to_physical().cast(pl.Float64)
    if series.dtype == pl.Time:
        return series.to_physical().cast(pl.Float64) / 86_400e9  # nanoseconds
    return series.dt.cast_time_unit("us").to_physical().cast(pl.Float64) / 86_400e6


def leave_out(column: str) -> str:
    """Return how to leave out a column on the command line.

    Examples:
        >>> leave_out("id")
        'leave it out with --drop id'
    """
    return f"leave it out with --drop {shlex.quote(column)}"


def _quoted(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else text[:37] + "...")
