"""Dates as people write them. Which number is the day is shown by the column, said by the person, or asked for."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.table.understood import MOSTLY, Notation, Understood, sampled, share

_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_CLOCK = (
    r"(?<hour>\d{1,2})(?::?(?<minute>\d{2})(?::?(?<second>\d{2})(?:[.,](?<fraction>\d{1,9}))?)?)?"
    r"\s*(?<half>[ap]\.?m\.?)?\s*(?<zone>z|utc|gmt|[+−-]\d{2}(?::?\d{2})?(?:\[.*\])?)?"
)
_TIME = rf"(?:(?:\s*[t,:]\s*|\s+)(?:at\s+)?{_CLOCK})?"


@dataclass(frozen=True)
class DateLayout:
    """A way to write a date.

    Args:
        pattern: What it looks like, with a group for each number or name.
        orders: What the groups may be: D for the day, M for the month, Y for the year.
        time: What may follow. Default a time, behind something that parts them.
    """

    pattern: str
    orders: tuple[str, ...]
    time: str = _TIME


_LAYOUTS = (
    DateLayout(r"(\d{4})\s?[-/.年]\s?(\d{1,2})\s?[-/.月]\s?(\d{1,2})日?", ("YMD",)),
    DateLayout(r"(\d{1,2})\s?[-/.]\s?(\d{1,2})\s?[-/.]\s?(\d{4})", ("DMY", "MDY")),
    DateLayout(r"(\d{1,2})\s?[-/.]\s?(\d{1,2})\s?[-/.]\s?'?(\d{2})", ("DMY", "MDY", "YMD")),
    DateLayout(rf"{_DAY}(?:\s+of)?[-/.,\s]*{_MONTH}[-/.,\s]*'?(\d{{4}}|\d{{2}})", ("DMY",)),
    DateLayout(rf"{_MONTH}[-/.,\s]*{_DAY}[-/,\s]+'?(\d{{4}}|\d{{2}})", ("MDY",)),
    DateLayout(rf"(\d{{4}})[-/.,\s]*{_MONTH}[-/.,\s]*{_DAY}", ("YMD",)),
    DateLayout(rf"{_MONTH}\s+{_DAY}\s+{_CLOCK}\s+(\d{{4}})", ("MDY",), ""),  # as C's ctime
    DateLayout(rf"{_MONTH}[-/.,\s]*(\d{{4}})", ("MY",)),
    DateLayout(rf"{_MONTH}[-/\s]'?(\d{{2}})", ("MY",)),
    DateLayout(r"(\d{4})[-/](\d{1,2})", ("YM",)),
    DateLayout(r"(\d{1,2})/(\d{4})", ("MY",)),
    DateLayout(r"(0[1-9]|1[0-2])\.((?:19|20)\d{2})", ("MY",)),
    DateLayout(r"(\d{4})(\d{2})(\d{2})", ("YMD",)),
)
_WORDS = {
    "YMD": ("year first", "year-month-day"),
    "DMY": ("day first", "day/month/year"),
    "MDY": ("month first", "month/day/year"),
    "MY": ("month first", "month/year"),
    "YM": ("year first", "year-month"),
}


def read_dates(text: pl.Series, notation: Notation) -> Understood | None:
    """Read a column of dates, with or without times.

    Args:
        text: The column.
        notation: Whether days stand first, if that was said.

    Returns:
        Times (Datetime), in UTC where their offset is given, or None if most of the column isn't dates.

    Raises:
        InputError: If the day can't be told from the month.

    Examples:
        >>> read_dates(pl.Series(["31/01/2024", "01/02/2024"]), Notation()).values.dt.date().to_list()[1]
        datetime.date(2024, 2, 1)
    """
    sample = sampled(text)
    found = {layout: share(sample.str.contains(_whole(layout)), sample) for layout in _LAYOUTS}
    layout = max(found, key=found.__getitem__)
    if sum(found.values()) <= MOSTLY:  # a sum: of two ways to write dates in one column, one is to be named
        return None
    parts = text.str.extract_groups(_whole(layout)).struct.unnest()
    read = {order: _times(parts, order).alias(text.name) for order in layout.orders}
    if max(share(times.is_not_null(), text) for times in read.values()) <= MOSTLY * found[layout]:
        return None
    order = _order(text, read, parts, notation)
    return _told(text, read[order], order, zoned=parts["zone"].is_not_null().any())


def written_dates(text: pl.Series, order: str) -> pl.Series:
    """Return the dates of a column for which it is known which number is what.

    Args:
        text: The column.
        order: D for the day, M for the month and Y for the year, as they follow each other.

    Returns:
        Times (Datetime); null where a value is missing or isn't such a date.

    Examples:
        >>> written_dates(pl.Series(["03/01/2024", "2024-01-03"]), "DMY").dt.date().to_list()
        [datetime.date(2024, 1, 3), None]
    """
    layouts = [layout for layout in _LAYOUTS if order in layout.orders]
    parts = [text.str.extract_groups(_whole(layout)).struct.unnest() for layout in layouts]
    return pl.select(pl.coalesce(_times(each, order) for each in parts)).to_series().alias(text.name)


def _whole(layout: DateLayout) -> str:
    return rf"(?i)^{_WEEKDAY}{layout.pattern}{layout.time}$"


def _varies_last(parts: pl.DataFrame) -> bool:
    """Tell whether the last number varies more than the first, as days do in a few years."""
    return parts["3"].n_unique() > parts["1"].n_unique()


def _order(text: pl.Series, read: dict[str, pl.Series], parts: pl.DataFrame, notation: Notation) -> str:
    """Return the order that was said or that fits the most dates; refuse where two fit that differ."""
    if notation.dayfirst is not None and len(read) > 1:
        return "DMY" if notation.dayfirst else "MDY"
    fits = {order: int(times.is_not_null().sum()) for order, times in read.items()}
    best = [order for order, count in fits.items() if count == max(fits.values())]
    if len(best) > 1 and not _varies_last(parts):
        best = [order for order in best if order != "YMD"]  # of two digits: a year that varies more than its days
    for other in best[1:]:
        differs = (read[best[0]] != read[other]).fill_null(value=False)
        if differs.any():
            row = int(differs.arg_max() or 0)
            meanings = " or ".join(f"{read[order][row]:%Y-%m-%d}" for order in best)
            raise InputError(
                f"column {text.name!r} holds dates whose day can't be told from the month: {text[row]!r} "
                f"({notation.places.of(row)}) may be {meanings}: say --dayfirst or --monthfirst, or write dates as "
                f"2024-01-31"
            )
    return best[0]


def _times(parts: pl.DataFrame, order: str) -> pl.Series:
    """Return the times that the groups of a layout say in some order; null where no calendar has one."""
    groups = [name for name in parts.columns if name.isdigit()]  # the others are those of the time
    group = {letter: pl.col(name) for letter, name in zip(order, groups, strict=True)}
    year, month, day = _year(group["Y"]), _month(group["M"]), group.get("D", pl.lit("1"))
    date = pl.concat_str(year, month, day, separator="-").str.to_datetime("%Y-%m-%d", strict=False, time_unit="us")
    number = {name: pl.col(name).cast(pl.Int64, strict=False).fill_null(0) for name in ("hour", "minute", "second")}
    half = pl.col("half").str.to_lowercase().str.slice(0, 1)
    hour = number["hour"] - pl.when(half.is_not_null() & (number["hour"] == 12)).then(12).otherwise(0)
    hour += pl.when(half == "p").then(12).otherwise(0)
    fraction = ("0." + pl.col("fraction")).cast(pl.Float64, strict=False).fill_null(0.0)
    seconds = hour * 3600 + number["minute"] * 60 + number["second"] - _offset()
    proper = (hour <= 24) & (number["minute"] < 60) & (number["second"] <= 60)  # 24:00, and leap seconds
    time = date + pl.duration(microseconds=(seconds + fraction) * 1_000_000)
    return parts.select(pl.when(proper).then(time)).to_series()


def _year(text: pl.Expr) -> pl.Expr:
    """Return years with four digits; of two, those to 68 are in this century, as in C."""
    century = pl.when(text.cast(pl.Int64, strict=False) <= 68).then(pl.lit("20")).otherwise(pl.lit("19"))
    return pl.when(text.str.len_chars() == 2).then(century + text).otherwise(text)


def _month(text: pl.Expr) -> pl.Expr:
    names = {name: str(number) for number, name in enumerate(_MONTHS, 1)}
    return text.str.to_lowercase().str.slice(0, 3).replace(names)


def _offset() -> pl.Expr:
    """Return the seconds by which a time's offset says that it is ahead of UTC."""
    zone = pl.col("zone").str.extract_groups(r"^([+−-])(\d{2}):?(\d{2})?")
    hours, minutes = (zone.struct.field(name).cast(pl.Int64, strict=False).fill_null(0) for name in ("2", "3"))
    return (hours * 3600 + minutes * 60) * pl.when(zone.struct.field("1") == "+").then(1).otherwise(-1)


def _told(text: pl.Series, times: pl.Series, order: str, *, zoned: bool) -> Understood:
    day = times.dt.day()
    telling = (day > 12).fill_null(value=False)
    row = int((telling if telling.any() else times.is_not_null()).arg_max() or 0)
    first, written = _WORDS[order]
    shown = f"{text[row]!r} is {times[row]:%Y-%m-%d}{' in UTC' * zoned}"
    return Understood(
        times,
        f"a date, {first} (as {text[row]!r})",
        {"kind": "date", "order": order},
        f"dates, {first} ({written}: {shown}), read as a number of days",
    )
