"""What a column of text turns out to hold, whichever notation it was written in."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from rmsprop.lab.problems.table.places import Places

# A column of which more than this share are numbers is meant to be numeric: the rest are typing errors.
MOSTLY = 0.5
_SAMPLE = 1000


@dataclass(frozen=True)
class Notation:
    """How the text of a table is to be understood.

    Args:
        places: Where its rows stand in the file.
        dayfirst: Whether the day stands before the month. Default None: the column has to show it.
        decimal: What the file writes before decimals, as far as its columns show it. Default a point.
    """

    places: Places = field(default_factory=Places)
    dayfirst: bool | None = None
    decimal: str = "."


@dataclass(frozen=True)
class Understood:
    """A column of text that was understood.

    Args:
        values: The values; null where one is missing or isn't of this kind.
        what: What the column is, for an error about a value that isn't.
        format: How its text is to be read, as plain values; empty if it stands as any program would write it.
        note: What a person should know about that; empty if nothing.
    """

    values: pl.Series
    what: str
    format: dict[str, str] = field(default_factory=dict)
    note: str = ""


def sampled(text: pl.Series) -> pl.Series:
    """Return about `_SAMPLE` values of a column, evenly spread: enough to see what it isn't.

    Args:
        text: The column.

    Returns:
        The values that are there.
    """
    there = text.drop_nulls()
    return there.gather_every(max(1, len(there) // _SAMPLE))


def share(mask: pl.Series, text: pl.Series) -> float:
    """Return the share of the values that are there for which a mask holds.

    Args:
        mask: True, false or null for each row.
        text: The column; null where a value is missing.

    Returns:
        The share, from 0 to 1.
    """
    return float(mask.fill_null(value=False).sum()) / max(len(text) - text.null_count(), 1)
