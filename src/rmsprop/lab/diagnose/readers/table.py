"""A table of text: CSV and its like, as loggers, spreadsheets and killed processes leave it.

This isn't how `rmsprop train` reads tables: there NaN is a missing value and a row of another length an error, here it
is a loss that isn't a number and what a killed process leaves.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from rmsprop.lab.diagnose.readers.log import Log
from rmsprop.lab.diagnose.readers.names import is_loss
from rmsprop.lab.errors import InputError
from rmsprop.lab.text_files import declared_separator

_DELIMITERS = (",", ";", "\t", "|")
_DECIMAL = re.compile(r"[+-]?(\d*|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?$")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?$")
# From so large a share of short rows on it is a habit of the writer that leaves out empty cells at the end.
_HABIT = 0.1
_SHOWN = 5


@dataclass
class _RawTable:
    """The rows of a table, and what was wrong with some."""

    header: list[str]
    cells: list[dict[str, str]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    lacking: list[int] = field(default_factory=list)
    short: list[int] = field(default_factory=list)
    long: list[int] = field(default_factory=list)
    headers: list[int] = field(default_factory=list)
    filled: int = 0


def parse(text: str, where: str, name: str) -> Log:
    """Read a table of text.

    Args:
        text: The text; its first line that isn't empty or a comment names the columns.
        where: What it is, for an error.
        name: What to call the run.

    Returns:
        The log.

    Raises:
        InputError: If it has no header or no rows.
    """
    delimiter, lines = _delimited(text)
    if len(lines) < 2:
        what = "has one line only" if lines else "is empty"
        raise InputError(f"{where} {what}: give a file with a header and rows")
    rows = _rows(_split(lines, delimiter, where), where)
    names = list(dict.fromkeys([*rows.header, *(name for row in rows.cells for name in row)]))
    columns = {name: _points([row.get(name) for row in rows.cells], delimiter) for name in names if name}
    return Log(
        where=where,
        name=name,
        source="a CSV file" if delimiter != "\t" else "a TSV file",
        columns=columns,
        rows=rows.numbers,
        dropped=len(rows.long) + len(rows.short),
        notes=tuple(_notes(rows)),
    )


def _delimited(text: str) -> tuple[str, list[tuple[int, str]]]:
    """Return the delimiter, and the lines that say something with their numbers."""
    lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip() and line[0] != "#"]
    if lines and (declared := declared_separator(lines[0][1])):
        return declared, lines[1:]
    header = [line for _, line in lines[:1]]
    fields = {each: _fields(header, each) for each in _DELIMITERS}
    best = max(fields, key=lambda delimiter: fields[delimiter])
    widths = {len(line.split()) for _, line in lines[:2]}
    if fields[best] < 2 and len(widths) == 1 and widths != {1}:
        return "\t", [(n, "\t".join(line.split())) for n, line in lines]  # columns set apart by spaces
    return best, lines


def _fields(header: Sequence[str], delimiter: str) -> int:
    try:
        return len(next(csv.reader(header, delimiter=delimiter), []))
    except csv.Error:  # a field of over 131,072 characters: another delimiter is meant
        return 0


def _split(lines: Sequence[tuple[int, str]], delimiter: str, where: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines:
        try:
            yield number, [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, strict=True))]
        except csv.Error as error:
            raise InputError(f"{where}: line {number} can't be split into cells ({error}): correct it") from error


def _rows(lines: Iterator[tuple[int, list[str]]], where: str) -> _RawTable:
    _, header = next(lines)
    rows = _RawTable(header)
    _check_header(header, where)
    for row, (number, cells) in enumerate(lines, start=1):
        if _is_header(cells, header):
            _check_header(cells, where)
            header = cells
            rows.headers.append(number)
        elif any(cells[len(header) :]):
            rows.long.append(number)
        else:
            rows.cells.append(dict(zip(header, cells, strict=False)))
            rows.numbers.append(row)
            rows.lines.append(number)
            rows.lacking.append(len(header) - len(cells))
    return _without_short(rows)


def _check_header(header: Sequence[str], where: str) -> None:
    named = [name for name in header if name]
    if len(header) == 1 and len(header[0].split()) > 1 and not is_loss(header[0]):
        raise InputError(
            f"{where} is neither a table nor lines of text that name a loss with a number, such as loss=0.5: "
            "give a file whose first line names columns, separated by commas, or one of JSON"
        )
    if all(map(_is_number, named)):
        raise InputError(f"{where} begins with numbers ({', '.join(header[:3])}): its first line must name the columns")
    twice = next((name for name, count in Counter(named).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{where} has {named.count(twice)} columns named {twice!r}: rename or remove all but one")


def _is_header(cells: Sequence[str], header: Sequence[str]) -> bool:
    """Tell whether a row names columns, if only some of those that were there before."""
    named = [cell for cell in cells if cell]
    return bool(named) and not any(map(_is_number, named)) and 2 * len(set(named) & set(header)) > len(named)


def _without_short(rows: _RawTable) -> _RawTable:
    """Leave out rows that end early: a killed process wrote half of them, unless the writer has the habit."""
    short = [i for i, lacking in enumerate(rows.lacking) if lacking > 0]
    habit = len(short) > max(1, _HABIT * len(rows.cells))
    left_out = {i for i in short if not habit or i == len(rows.cells) - 1}
    kept = [i for i in range(len(rows.cells)) if i not in left_out]
    return replace(
        rows,
        cells=[rows.cells[i] for i in kept],
        numbers=[rows.numbers[i] for i in kept],
        short=[rows.lines[i] for i in sorted(left_out)],
        filled=len(short) - len(left_out),
    )


def _notes(rows: _RawTable) -> Iterator[str]:
    if rows.headers:
        yield f"a header stands once more in {_named(rows.headers)}: the rows after it are read by it"
    if rows.short:
        yield f"{_named(rows.short)} left out: fewer cells than the header"
    if rows.long:
        yield f"{_named(rows.long)} left out: more cells than the header"
    if rows.filled:
        yield f"{rows.filled} rows have fewer cells than the header: those at the end count as empty"


def _named(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:_SHOWN])) + (", ..." if len(lines) > _SHOWN else "")
    return f"line{'s' * (len(lines) > 1)} {shown}"


def _points(cells: list[str | None], delimiter: str) -> list[str | None]:
    """Write the numbers of a column with a decimal point and without separators of thousands."""
    with_comma = [cell for cell in cells if cell and "," in cell]
    if not with_comma:
        return cells
    if delimiter == "," and all(map(_THOUSANDS.match, with_comma)):
        return [cell and cell.replace(",", "") for cell in cells]
    if all(map(_DECIMAL.match, with_comma)):
        return [cell and cell.replace(".", "").replace(",", ".") for cell in cells]
    return cells


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True
