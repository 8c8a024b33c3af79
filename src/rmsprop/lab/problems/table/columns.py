"""Decides what each column of a table is: numbers, or categories. Whatever is neither is one clear line."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.table.dates import read_dates
from rmsprop.lab.problems.table.durations import read_durations, read_times
from rmsprop.lab.problems.table.numerals import read_numbers
from rmsprop.lab.problems.table.understood import MOSTLY, Notation, Understood, share

# Every category is an input of its own. More than MANY are too many in a table of any size; more than FEW are too many
# where half of the rows have one of their own, as names do.
MANY, FEW = 200, 20
# Above this the square that standardising needs overflows a float64.
LARGEST = 1e150
# A row that isn't trained on may be far from those that are; the square of a larger number may not be a float32.
FARTHEST = 1e12
# Whole numbers from here on aren't all float64, so that two of them may become one.
_FIRST_INEXACT = 2.0**53
# What whole numbers are if they are dates without anything between year, month and day.
_COMPACT_DATES = (19_000_101, 21_001_231)
# How text would be read that says what such a column holds; the last two are in days, which text isn't.
_TEMPORAL: Mapping[object, dict[str, str]] = {
    pl.Date: {"kind": "date", "order": "YMD"},
    pl.Datetime: {"kind": "date", "order": "YMD"},
    pl.Time: {"kind": "time of day"},
    pl.Duration: {"kind": "span"},
}


@dataclass(frozen=True)
class Column:
    """A column of a table, and how it was read.

    Args:
        values: Numbers (Float64), truth values (Boolean), times (temporal) or text (String).
        format: How its text is to be read, as plain values; empty if it stands as any program would write it.
        note: What a person should know about that; empty if nothing.
    """

    values: pl.Series
    format: dict[str, str] = field(default_factory=dict)
    note: str = ""


def typed(series: pl.Series, remedy: str, notation: Notation | None = None) -> Column:
    """Return a column with its values understood.

    Args:
        series: A column as it was read.
        remedy: What an error says to do instead.
        notation: How its text is to be understood. Default None leaves it to the text.

    Returns:
        The column; missing values and NaN are null.

    Raises:
        InputError: If it holds nothing, lists and the like, infinities, or numbers or dates with stray text among them.

    Examples:
        >>> typed(pl.Series("age", ["31", None, "45"]), "leave it out").values.to_list()
        [31.0, None, 45.0]
    """
    notation = notation or Notation()
    if series.null_count() == len(series):
        raise InputError(f"column {series.name!r} has no values at all: {remedy}")
    if series.dtype in (pl.Categorical, pl.Enum) or series.dtype.is_integer():
        series = series.cast(pl.String)
    if series.dtype == pl.String:
        return _understood(series, remedy, notation)
    if series.dtype.is_numeric():
        return Column(_finite(series, remedy, notation))
    if series.dtype.is_temporal():
        return Column(series, _TEMPORAL[series.dtype.base_type()], "a date or time, read as a number of days")
    if series.dtype == pl.Boolean:
        return Column(series, {"kind": "truth"})
    raise InputError(
        f"column {series.name!r} holds {series.dtype}: a value must be a number, a word, a truth value or "
        f"a date: {remedy}"
    )


def _understood(text: pl.Series, remedy: str, notation: Notation) -> Column:
    """Return a column of text in the first notation that most of it is in, or as words."""
    for read in _NOTATIONS:
        if (found := read(text, notation)) is None:
            continue
        stray = found.values.is_null() & text.is_not_null()
        if stray.any():
            raise _stray(text, int(stray.arg_max() or 0), found.what, remedy, notation)
        values = _finite(found.values, remedy, notation) if found.values.dtype == pl.Float64 else found.values
        return Column(values, found.format, found.note)
    numbered = text.str.contains(r"^\P{L}{0,2}\d")
    example = text.filter(numbered).first()
    note = f"read as words, though most begin with a number ({example!r})" if share(numbered, text) > MOSTLY else ""
    return Column(text, note=note)


def _plain(text: pl.Series, _: Notation) -> Understood | None:
    """Read what any program would take for numbers, if all of it is."""
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() > text.null_count():
        return None
    large = (numbers.abs() > _FIRST_INEXACT) & text.str.contains(r"^[+-]?\d+$")
    if share(large, text) > MOSTLY:
        digits = max(text.drop_nulls().str.len_chars())
        return Understood(text, "", note=f"whole numbers of {digits} digits, more than a number keeps, read as words")
    padded = (text.str.contains(r"^0\d+$") & (text.str.len_chars() == text.str.len_chars().max())).fill_null(
        value=False
    )
    if padded.any():  # as in postal codes
        row = int(padded.arg_max() or 0)
        return Understood(numbers, "numeric", note=f"{text[row]!r} is read as the number {numbers[row]:.15g}")
    return Understood(numbers, "numeric")


def _compact_dates(text: pl.Series, notation: Notation) -> Understood | None:
    """Read 20240131 and 01.2024, if all of the column is such a date."""
    numbers = text.cast(pl.Int64, strict=False)
    days = numbers.null_count() == text.null_count() and numbers.drop_nulls().is_between(*_COMPACT_DATES).all()
    if not (days or text.drop_nulls().str.contains(r"^(0[1-9]|1[0-2])\.(19|20)\d\d$").all()):
        return None
    found = read_dates(text, notation)
    return found if found and found.values.null_count() == text.null_count() else None


def _truths(text: pl.Series, _: Notation) -> Understood | None:
    words = text.str.to_lowercase()
    if not words.drop_nulls().is_in(["true", "false"]).all():
        return None
    return Understood((words == "true").alias(text.name), "", {"kind": "truth"})


# In this order: what comes first is the narrower one.
_NOTATIONS: tuple[Callable[[pl.Series, Notation], Understood | None], ...] = (
    _compact_dates,
    _plain,
    _truths,
    read_dates,
    read_times,
    read_numbers,
    read_durations,
)


def _stray(text: pl.Series, row: int, what: str, remedy: str, notation: Notation) -> InputError:
    value = str(text[row])
    missing = "" if any(map(str.isdigit, value)) else f"say --na {shlex.quote(value)} if it stands for a missing one, "
    return InputError(
        f"column {text.name!r} is {what}, but {notation.places.of(row)} holds {quoted(value)}: "
        f"correct the value, {missing if len(value) <= _SHOWN else ''}or {remedy}"
    )


def _finite(series: pl.Series, remedy: str, notation: Notation) -> pl.Series:
    numbers = series.cast(pl.Float64).fill_nan(None)
    if numbers.null_count() == len(numbers):
        raise InputError(f"column {series.name!r} has no values at all: {remedy}")
    large = (numbers.abs() > LARGEST).fill_null(value=False)
    if large.any():
        row = int(large.arg_max() or 0)
        raise InputError(
            f"column {series.name!r} holds {numbers[row]:g} in {notation.places.of(row)}: "
            f"values must be finite and at most {LARGEST:g}: correct it, or {remedy}"
        )
    return numbers


def as_input(series: pl.Series, max_categories: int | None = None) -> pl.Series:
    """Return an input column as numbers (Float64) or categories (String).

    Truth values become 0 and 1, times the number of days since 1970 (of a day since midnight).

    Args:
        series: A column as `typed` gave it.
        max_categories: How many inputs it may become, if its rarest categories may share one.

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
    if max_categories is None and (count > MANY or (count > FEW and 2 * count > rows)):
        raise InputError(
            f"column {series.name!r} has {count:,} categories in {rows:,} rows, too many to encode each as an "
            f"input: {plainly(series)}group the rare ones with --max-categories {FEW}, or {leave_out(series.name)}"
        )
    return series


def plainly(series: pl.Series) -> str:
    """Return how numbers and dates are to be written, if that is what a text column seems to hold.

    Args:
        series: A text column.

    Returns:
        The beginning of a piece of advice, or nothing.

    Example:
        >>> plainly(pl.Series(["1/2", "3/4"]))
        'write numbers as 1234.5 and dates as 2024-01-31, or '
    """
    disguised = series.str.contains(r"^\P{L}*\d\P{L}*$") & ~series.str.contains(r"^\d+$")
    return "write numbers as 1234.5 and dates as 2024-01-31, or " if share(disguised, series) > MOSTLY else ""


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


_SHOWN = 40


def quoted(text: str) -> str:
    """Return a value as a message shows it.

    Args:
        text: The value.

    Returns:
        Its text in quotes, cut short if it is long.

    Examples:
        >>> quoted("7 apples"), len(quoted("7" * 1000))
        ("'7 apples'", 42)
    """
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")
