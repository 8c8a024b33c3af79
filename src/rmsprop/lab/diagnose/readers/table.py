"""A CSV file of somebody else's, whose columns are guessed from their names."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from rmsprop.lab.diagnose.history import History, Series, Unit
from rmsprop.lab.diagnose.readers.names import Roles, guess
from rmsprop.lab.errors import InputError

# No run has more steps, and NumPy's integers end soon after.
_LARGEST_TIME = 2**62
_EMPTY = ("", "na", "none", "null")


def read(path: Path, loss: str | None, validation: str | None) -> History:
    """Read a CSV file with a column of losses.

    Args:
        path: The file.
        loss: The column of the training loss. Default: guessed from the names.
        validation: That of the validation loss. Default: guessed.

    Returns:
        The history.

    Raises:
        InputError: If it has no such column, or it can't be told which one is meant.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text: give a CSV file, a recorder's file or TensorBoard's events") from error
    columns = _columns(path, text)
    roles = guess(list(columns), str(path), loss, validation)
    unit, times = _times(columns, roles.time)
    return history_of(
        path.stem,
        f"a CSV file, {len(times)} rows",
        unit,
        roles,
        {name: Series.of(_points(path, times, columns[name])) for name in roles.used},
    )


def history_of(name: str, source: str, unit: Unit, roles: Roles, curves: Mapping[str, Series]) -> History:
    """Return the history of curves whose roles are known.

    Args:
        name: What to call it.
        source: What it was read from.
        unit: What times are counted in.
        roles: Which curve is what.
        curves: The curves by name.

    Returns:
        The history.
    """
    return History(
        name=name,
        source=source,
        unit=unit,
        train=curves[roles.loss],
        validation=curves[roles.validation] if roles.validation else Series(),
        lr=curves[roles.lr] if roles.lr else Series(),
    )


def _columns(path: Path, text: str) -> dict[str, list[str]]:
    lines = text.splitlines()
    if len(lines) < 2:
        raise InputError(f"{path} is empty: give a CSV file with a header and rows")
    delimiter = max(",;\t", key=lines[0].count)
    rows = list(csv.reader(lines, delimiter=delimiter))
    header = [name.strip() for name in rows[0]]
    whole = [row for row in rows[1:] if len(row) == len(header)]  # a killed run may leave half a line
    return {name: [row[i].strip() for row in whole] for i, name in enumerate(header) if name}


def _times(columns: Mapping[str, Sequence[str]], time: str | None) -> tuple[Unit, list[int]]:
    rows = len(next(iter(columns.values())))
    if time is None:
        return "step", list(range(1, rows + 1))
    try:
        times = [int(float(text)) for text in columns[time]]
    except (ValueError, OverflowError):
        return "step", list(range(1, rows + 1))
    if max(map(abs, times), default=0) > _LARGEST_TIME:
        return "step", list(range(1, rows + 1))
    return ("epoch" if "epoch" in time.lower() else "step"), times


def _points(path: Path, times: Sequence[int], column: Sequence[str]) -> dict[int, float]:
    points = {}
    for row, (time, text) in enumerate(zip(times, column, strict=True), start=1):
        if text.lower() in _EMPTY:
            continue
        try:
            points[time] = float(text)
        except ValueError as error:
            raise InputError(f"{path}: row {row} has {text!r} where a number is needed: correct it") from error
    return points
