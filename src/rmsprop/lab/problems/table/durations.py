"""Times of a day and durations as people write them: 12:30, 9:05 PM, 2h 30m, 1 days 02:03:04, PT1H30M."""

from __future__ import annotations

import polars as pl

from rmsprop.lab.problems.table.understood import MOSTLY, Notation, Understood, sampled, share

_NUMBER = r"\d+(?:[.,]\d+)?"
_MINUTES = r":(?<minute>[0-5]\d)(?::(?<second>[0-5]\d(?:[.,]\d+)?))?"
_TIME = rf"(?i)^(?<sign>[-−])?(?<clock>\d{{1,3}})(?:{_MINUTES})?\s*(?<half>[ap]\.?m\.?)?$"
_DURATION = (
    rf"(?i)^(?<sign>[-−])?p?(?:(?<weeks>{_NUMBER})\s*w(?:(?:ee)?ks?)?[,\s]*)?(?:(?<days>{_NUMBER})\s*d(?:ays?)?[,\s]*)?t?"
    rf"(?:(?:(?<hours>{_NUMBER})\s*h(?:(?:ou)?rs?)?[,\s]*)?(?:(?<minutes>{_NUMBER})\s*m(?:in(?:ute)?s?)?[,\s]*)?"
    rf"(?:(?<seconds>{_NUMBER})\s*s(?:ec(?:ond)?s?)?)?|\+?(?<clock>\d{{1,3}}){_MINUTES})$"
)
# What tells a time from a number.
_TELLING = ("minute", "half")
# How many hours each part counts.
_HOURS = {
    "weeks": 168.0,
    "days": 24.0,
    "hours": 1.0,
    "minutes": 1 / 60,
    "seconds": 1 / 3600,
    "clock": 1.0,
    "minute": 1 / 60,
    "second": 1 / 3600,
}


def read_times(text: pl.Series, _: Notation) -> Understood | None:
    """Read a column of times as on a clock, which may be times of a day or durations.

    Args:
        text: The column.

    Returns:
        Hours (Float64), or None if most of the column isn't times.

    Examples:
        >>> read_times(pl.Series(["12:30", "9:00 PM"]), Notation()).values.to_list()
        [12.5, 21.0]
    """
    return _read(text, _TIME, _TELLING, "a time")


def read_durations(text: pl.Series, _: Notation) -> Understood | None:
    """Read a column of durations whose parts are named, as people, pandas and ISO 8601 write them.

    Args:
        text: The column.

    Returns:
        Hours (Float64), or None if most of the column isn't durations.

    Examples:
        >>> read_durations(pl.Series(["1h 30min", "P1DT2H", "1 days 02:15:00"]), Notation()).values.to_list()
        [1.5, 26.0, 26.25]
    """
    return _read(text, _DURATION, tuple(_HOURS), "a duration")


def written_hours(text: pl.Series, kind: str) -> pl.Series:
    """Return the hours of a column for which it is known whether it holds times or durations.

    Args:
        text: The column.
        kind: ``time`` or ``duration``.

    Returns:
        Hours (Float64); null where a value is missing or is none.

    Examples:
        >>> written_hours(pl.Series(["12:30", "noon"]), "time").to_list()
        [12.5, None]
    """
    return _told_hours(text, *((_TIME, _TELLING) if kind == "time" else (_DURATION, tuple(_HOURS))))


def _read(text: pl.Series, pattern: str, telling: tuple[str, ...], what: str) -> Understood | None:
    sample = sampled(text)
    if share(sample.str.contains(pattern), sample) <= MOSTLY:
        return None
    hours = _told_hours(text, pattern, telling)
    if share(hours.is_not_null(), text) <= MOSTLY:
        return None
    row = int(hours.is_not_null().arg_max() or 0)
    return Understood(
        hours,
        f"{what} (as {text[row]!r})",
        {"kind": what.rpartition(" ")[2]},
        f"{what} ({text[row]!r} is {hours[row]:.4g}), read as a number of hours",
    )


def _told_hours(text: pl.Series, pattern: str, telling: tuple[str, ...]) -> pl.Series:
    """Return hours, null where a value doesn't match the pattern or has no part that tells what it is."""
    parts = text.str.extract_groups(pattern).struct.unnest()
    told = pl.any_horizontal(pl.col(telling).is_not_null())
    return parts.select(pl.when(told).then(_hours(parts.columns))).to_series().alias(text.name)


def _hours(groups: list[str]) -> pl.Expr:
    names = [name for name in groups if name in _HOURS]
    known = [pl.col(name).str.replace(",", ".", literal=True).cast(pl.Float64) for name in names]
    hours = pl.sum_horizontal(part * _HOURS[name] for name, part in zip(names, known, strict=True))
    if "half" in groups:
        half = pl.col("half").str.to_lowercase().str.slice(0, 1)
        hours -= pl.when(half.is_not_null() & (pl.col("clock") == "12")).then(12.0).otherwise(0.0)
        hours += pl.when(half == "p").then(12.0).otherwise(0.0)
    return pl.when(pl.col("sign").is_not_null()).then(-hours).otherwise(hours)
