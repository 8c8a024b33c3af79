"""A log as a table, whatever it was written as, and its cells as numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from rmsprop.lab.errors import InputError

# As print and str write them, who log what isn't a plain number.
_WRAPPED = re.compile(r"(?:tensor|np\.float\d+)\(([^,()]+)[,)]")
_EMPTY = ("", "na", "n/a", "#n/a", "<na>", "none", "null", "-")
Numbers = list[float | None]


@dataclass(frozen=True, kw_only=True)
class Log:
    """A log as a table.

    Args:
        where: What it was read from, for an error.
        name: What to call the run.
        source: What it was read from, in a few words.
        columns: The cells as they were written, None where there is none; all columns are of one length.
        rows: The numbers of the rows in the file.
        dropped: How many rows were damaged.
        notes: What a person should know of the reading, a sentence each.
        by_epoch: Whether rows without a time are epochs, as the lists of a Keras history are.
    """

    where: str
    name: str
    source: str
    columns: Mapping[str, Sequence[Any]]
    rows: Sequence[int]
    dropped: int = 0
    notes: tuple[str, ...] = ()
    by_epoch: bool = False
    # The columns whose numbers were asked for; another log, with other rows, begins without.
    _numbers: dict[str, Numbers] = field(default_factory=dict, init=False, repr=False, compare=False)

    def numbers(self, name: str) -> Numbers:
        """Return a column's numbers.

        Args:
            name: The column.

        Returns:
            The numbers; None where there is none.

        Raises:
            InputError: If something else is in it.
        """
        if name not in self._numbers:
            self._numbers[name] = self._parsed(name)
        return self._numbers[name]

    def _parsed(self, name: str) -> Numbers:
        found = []
        for row, cell in zip(self.rows, self.columns[name], strict=True):
            try:
                found.append(number(cell))
            except (ValueError, OverflowError) as error:
                raise InputError(
                    f"{self.where}: row {row} has {cell!r} where a number is needed (column {name}): correct it"
                ) from error
        return found

    def counts(self) -> dict[str, int]:
        """Return how many numbers each column has, where 2 stands for more as well."""
        return {name: sum(1 for _ in islice(filter(_is_number, cells), 2)) for name, cells in self.columns.items()}

    def where_rows(self, kept: Sequence[int], name: str) -> Log:
        """Return some of the rows as a log of its own.

        Args:
            kept: Their indices.
            name: What to call the run.

        Returns:
            The log.
        """
        columns = {column: [cells[i] for i in kept] for column, cells in self.columns.items()}
        return replace(self, columns=columns, rows=[self.rows[i] for i in kept], name=name)


def number(cell: Any) -> float | None:
    """Return what a cell says.

    Args:
        cell: The cell.

    Returns:
        The number, perhaps not finite; None if the cell is empty.

    Raises:
        ValueError: If it says something else.

    Examples:
        >>> number(" 1e-3"), number("NA"), number("inf"), number("tensor(0.5, device='cuda:0')")
        (0.001, None, inf, 0.5)
    """
    if isinstance(cell, str):
        return _number_of(cell)
    if cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool)):
        return None if cell is None else float(cell)
    raise ValueError(cell)


def _number_of(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        if text.strip().lower() in _EMPTY:
            return None
        wrapped = _WRAPPED.match(text)
        if wrapped is None:
            raise
        return float(wrapped[1])


def _is_number(cell: Any) -> bool:
    try:
        return number(cell) is not None
    except (ValueError, OverflowError):
        return False


def whole(cells: Numbers, largest: int) -> list[int | None] | None:
    """Return numbers as whole ones.

    Args:
        cells: The numbers.
        largest: Numbers above this are none that something was counted to.

    Returns:
        The numbers; None if one isn't whole, or there are none.

    Examples:
        >>> whole([1.0, None, 2.0], 10), whole([0.5, 1.0], 10)
        ([1, None, 2], None)
    """
    known = [cell for cell in cells if cell is not None and not math.isnan(cell)]
    if not known or any(not math.isfinite(cell) or cell != int(cell) or abs(cell) > largest for cell in known):
        return None
    return [None if cell is None or math.isnan(cell) else int(cell) for cell in cells]
