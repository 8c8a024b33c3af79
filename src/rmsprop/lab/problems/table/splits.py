"""Splits a table's rows into parts to train on, to validate and to test on: at random, by time, or by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.table.columns import as_input, typed
from rmsprop.lab.problems.table.options import GROUP, TIME, TableOptions, composed
from rmsprop.lab.problems.table.understood import Notation

Indices = npt.NDArray[np.int64]
# The shares of the rows after which a part ends, without and with a table of its own to test on.
_CUTS, _CUTS_WITH_TEST = (0.6, 0.8), (0.8,)
_USES = ("are trained on", "validate", "test")
# A fifth of the fewest rows that a table may have.
_FEWEST_PER_PART = 2
_SEED = 0


@dataclass(frozen=True)
class Rows:
    """The rows of a table that have a target.

    Args:
        frame: All columns, also those that are no inputs; as they were read.
        labels: Numbers to predict, or indices of classes.
        classes: The names of the classes; none for numbers.
        target: The name of the target column.
        notation: How text is to be understood; its places are those of these rows.
    """

    frame: pl.DataFrame
    labels: npt.NDArray[np.float64] | Indices
    classes: tuple[str, ...]
    target: str
    notation: Notation


def split(rows: Rows, options: TableOptions) -> tuple[list[Indices], list[str]]:
    """Split rows, always in the same way.

    Args:
        rows: The rows.
        options: How, and whether another table is tested on.

    Returns:
        The indices of the rows of each part, in order: training, validation and, without such a table, test. And what a
        person should know about it, a sentence each.

    Raises:
        InputError: If the rows can't be split like this.
    """
    cuts = _CUTS_WITH_TEST if options.test else _CUTS
    kind, column = options.split_by
    if kind == TIME:
        parts, notes = _by_time(rows, column, cuts)
    elif kind == GROUP:
        parts, notes = _by_group(rows, _column(rows, column, options), cuts)
    else:
        strata = rows.labels if rows.classes else np.zeros(len(rows.labels))
        return _at_random(strata.astype(np.int64), cuts), []
    _check_training(rows, parts[0], options)
    return parts, notes + _absent(rows, parts)


def _at_random(strata: npt.NDArray[np.int64], cuts: Sequence[float]) -> list[Indices]:
    """Split within each stratum."""
    # The legacy generator's stream is frozen, so the split outlives new versions of NumPy.
    random = np.random.RandomState(_SEED)
    parts: list[list[Indices]] = [[] for _ in range(len(cuts) + 1)]
    for stratum in np.unique(strata):
        rows = random.permutation(np.flatnonzero(strata == stratum))
        for part, chosen in zip(parts, np.split(rows, _ends(cuts, len(rows))), strict=True):
            part.append(chosen)
    return [np.sort(np.concatenate(part)) for part in parts]


def _ends(cuts: Sequence[float], count: int) -> list[int]:
    return [round(cut * count) for cut in cuts]


def _by_time(rows: Rows, column: str, cuts: Sequence[float]) -> tuple[list[Indices], list[str]]:
    times = _times(rows, column)
    order = np.arange(len(rows.frame))
    if times is None:
        note = "split by the order of the rows, as no column holds dates"
    else:
        order = np.argsort(as_input(times).to_numpy(), kind="stable")
        note = f"split by time, as {times.name!r} tells it"
    parts = np.split(order, _ends(cuts, len(order)))
    told = [f"{len(part)} rows{_until(times, part)} {use}" for part, use in zip(parts, _USES, strict=False)]
    notes = [f"{note}: the first {', the next '.join(told)}"]
    if times is not None and any(times[int(a[-1])] == times[int(b[0])] for a, b in pairwise(parts)):
        notes.append(f"{times.name}: rows of one and the same time are on both sides of a cut, in the table's order")
    return [np.sort(part) for part in parts], notes


def _until(times: pl.Series | None, part: Indices) -> str:
    if times is None:
        return ""
    last = times[int(part[-1])]
    shown = f"{last:.15g}" if isinstance(last, float) else str(last).removesuffix(" 00:00:00")
    return f" (to {shown})"


def _times(rows: Rows, column: str) -> pl.Series | None:
    """Return the column that tells the time: that which was named, or the only one of dates; None without one."""
    if column:
        return _ordered(rows, _named(rows, column, TIME))
    dates = [name for name in rows.frame.columns if name != rows.target and _holds_dates(rows, name)]
    if len(dates) > 1:
        shown = ", ".join(map(repr, dates))
        raise InputError(f"--split time: {shown} hold dates: say which one, as in --split 'time:{dates[0]}'")
    return _ordered(rows, dates[0]) if dates else None


def _holds_dates(rows: Rows, name: str) -> bool:
    try:
        values = typed(rows.frame[name], "leave it out", rows.notation).values
    except InputError:  # what is an input is refused where inputs are read
        return False
    return values.dtype in (pl.Date, pl.Datetime)


def _ordered(rows: Rows, name: str) -> pl.Series:
    values = typed(rows.frame[name], "name another column, as in --split time:COLUMN", rows.notation).values
    if values.dtype in (pl.String, pl.Boolean):
        raise InputError(f"--split time:{name}: {name!r} holds no dates and no numbers: name another column")
    _refuse_missing(rows, values, f"--split time:{name}", "a time")
    return values


def _by_group(rows: Rows, groups: pl.Series, cuts: Sequence[float]) -> tuple[list[Indices], list[str]]:
    """Split with all rows of a group on one side: the shares are those of the groups."""
    from sklearn.model_selection import GroupShuffleSplit

    option, count = f"--split group:{groups.name}", groups.n_unique()
    if count <= len(cuts):
        raise InputError(
            f"{option}: {groups.name!r} has {count} group{'s' * (count > 1)}, and a split into {len(cuts) + 1} parts "
            f"needs {len(cuts) + 1}: name another column"
        )
    codes = groups.rank("dense").to_numpy().astype(np.int64)
    left, parts = np.arange(len(codes)), []
    for cut in reversed(cuts):  # test, then validation from what is left
        ends = GroupShuffleSplit(n_splits=1, train_size=None, test_size=_share(cuts, cut), random_state=_SEED)
        rest, part = next(ends.split(left, groups=codes[left]))
        parts.append(left[part])
        left = left[rest]
    parts = [left, *reversed(parts)]
    for part, name in zip(parts, ("training", "validation", "test"), strict=False):
        if len(part) < _FEWEST_PER_PART:
            raise InputError(
                f"{option} leaves {len(part)} row for {name}, as {groups.name!r} has {count} groups in {len(codes)} "
                f"rows: name another column"
            )
    sizes = [f"{len(np.unique(codes[part]))} groups ({len(part)} rows)" for part in parts]
    told = [f"{size} {use}" for size, use in zip(sizes, _USES, strict=False)]
    return parts, [f"split by {groups.name!r}, each group on one side: {', '.join(told)}"]


def _share(cuts: Sequence[float], cut: float) -> float:
    """Return which share of what is left is behind a cut: a fifth of all, then a quarter of the rest."""
    ends = (*cuts[cuts.index(cut) + 1 :], 1.0)
    return round((ends[0] - cut) / ends[0], 6)


def _column(rows: Rows, column: str, options: TableOptions) -> pl.Series:
    name = _named(rows, column, GROUP)
    values = rows.frame[name]
    values = values.fill_nan(None) if values.dtype.is_float() else values
    if values.dtype.is_nested():
        raise InputError(f"--split {options.split}: {name!r} holds {values.dtype}: name a column of words or numbers")
    values = values.cast(pl.String) if values.dtype in (pl.Categorical, pl.Enum) else values
    _refuse_missing(rows, values, f"--split {options.split}", "a group")
    return values


def _named(rows: Rows, column: str, kind: str) -> str:
    name = composed(column.strip())
    others = [other for other in rows.frame.columns if other != rows.target]
    if name == rows.target:
        raise InputError(f"--split {kind}:{column}: {name!r} is the target: name another column")
    if name not in others:
        close = get_close_matches(name, others, n=1)
        meant = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(others[:12])}"
        raise InputError(f"--split {kind}:{column}: the table has no column {name!r}: {meant}")
    return name


def _refuse_missing(rows: Rows, values: pl.Series, option: str, what: str) -> None:
    if values.null_count():
        place = rows.notation.places.of(int(values.is_null().arg_max() or 0))
        raise InputError(f"{option}: {values.name!r} is missing in {place}, and each row needs {what}: fill it in")


def _check_training(rows: Rows, train: Indices, options: TableOptions) -> None:
    """Refuse training rows from which the target can't be learnt: time and groups don't mix classes."""
    what, there = f"--split {options.split}: ", np.unique(rows.labels[train])
    remedy = "split otherwise"
    for index, name in enumerate(rows.classes):
        if index not in there:
            raise InputError(f"{what}no training row has the class {name!r} of the target {rows.target!r}: {remedy}")
    if len(there) == 1:
        raise InputError(f"{what}the target {rows.target!r} is always the same in the training rows: {remedy}")


def _absent(rows: Rows, parts: Sequence[Indices]) -> list[str]:
    """Return which classes a part doesn't have, a sentence each."""
    notes = []
    for part, name in zip(parts[1:], ("validation", "test"), strict=False):
        absent = [rows.classes[n] for n in range(len(rows.classes)) if n not in rows.labels[part]]
        if absent:
            notes.append(f"{rows.target}: no {name} row has the class {', '.join(map(repr, absent))}")
    return notes
