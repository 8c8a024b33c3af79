"""Tells the columns that name a row and say nothing about it: saved indexes, numbers of customers, codes, names."""

from __future__ import annotations

import re

import polars as pl

from rmsprop.lab.problems.table.understood import MOSTLY, share

# Fewer values may all differ by chance.
FEWEST = 10
# What programs call the index that they save with a table, in lower case and without spaces, points and underscores.
_SAVED = re.compile(r"unnamed:\d*(level\d+)?|indexlevel\d+|")
_INDEX = re.compile(r"index|idx|row|row(name|names|number|num|nr|no|id|index)|level\d+|c0|#")
# What else may be one, if it counts every row once.
_COUNTED = re.compile(r"no|nr|num|number|n|sn|s[rl]?no|serial(no)?|obs|observation|(record|case)(no)?|\d+")
# What an identifier is called, as one of the words of the column's name.
_IDENTIFIERS = frozenset(
    {"id", "ids", "pid", "uuid", "guid", "uid", "pk", "key", "identifier", "rowid", "recordid", "userid"}
)
_WHOSE = (
    "user|customer|client|order|patient|row|record|case|student|employee|product|item|account|session|transaction|"
    "member|passenger|loan|policy|sample|subject|participant|person|object|device|ticket|invoice|house|property"
)
# Such words may be dates or amounts in a notation that nobody told us, and so are refused where there are many.
_BEGINS_WITH_A_NUMBER = r"^(?:\P{L}{0,2}\d+[^\pL\d]|[^\pL\d]{1,2}\d+$)"
_JOINED = re.compile(rf"({_WHOSE})(id|no|nr|num|number|key|code)")


def needless(series: pl.Series) -> str:
    """Return why an input column says nothing about its rows, if it only names them.

    Args:
        series: The column, as `rmsprop.lab.problems.table.columns.typed` gave it.

    Returns:
        What it is, or nothing if it may be an input.

    Examples:
        >>> needless(pl.Series("Unnamed: 0", [float(row) for row in range(20)]))
        'the index that was saved with the table'
        >>> needless(pl.Series("income", [float(row) for row in range(20)]))
        ''
    """
    values, name = series.drop_nulls(), re.sub(r"[\s_.]+", "", series.name.lower())
    whole = values.dtype == pl.Float64 and bool((values == values.floor()).all())
    if _SAVED.fullmatch(name) and (whole or not series.name):
        return "the index that was saved with the table"
    if values.n_unique() < len(values) or len(values) < FEWEST or 2 * len(values) < len(series):
        return ""
    if values.dtype == pl.String:
        coded = names_rows(series.name) or share(values.str.contains(_BEGINS_WITH_A_NUMBER), values) <= MOSTLY
        return "an identifier, different in every row" if coded else ""
    if not whole:
        return ""
    if _INDEX.fullmatch(name) or (_COUNTED.fullmatch(name) and counts_rows(values.sort())):
        return "the index that was saved with the table"
    return "an identifier, different in every row" if names_rows(series.name) else ""


def counts_rows(series: pl.Series) -> bool:
    """Tell whether an input column is 1, 2, 3, ... and so may be an index with a name of its own.

    Args:
        series: The column, as for `needless`.

    Returns:
        Whether it is.

    Examples:
        >>> counts_rows(pl.Series([float(row) for row in range(20)]))
        True
    """
    if series.dtype != pl.Float64 or len(series) < FEWEST or series.null_count() or series[0] not in (0.0, 1.0):
        return False
    return bool((series.diff().drop_nulls() == 1.0).all())


def names_rows(name: str) -> bool:
    """Tell whether a column is called as identifiers are, so that its values needn't be numbers to be one.

    Args:
        name: The column's name.

    Returns:
        Whether it is.

    Examples:
        >>> names_rows("PassengerId"), names_rows("ID_code"), names_rows("paid")
        (True, True, False)
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    return not _IDENTIFIERS.isdisjoint(word.lower() for word in words) or bool(
        _JOINED.fullmatch(re.sub(r"[\W_]", "", name.lower()))
    )
