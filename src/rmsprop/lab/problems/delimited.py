"""Reads a table of text: lines of fields with something between them, each named by its line where it is wrong."""

from __future__ import annotations

import codecs
import csv
import io
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from rmsprop.files import unpacked
from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.options import TableOptions
from rmsprop.lab.problems.places import Places

# What stands for a missing value in a text file: pandas' words, and the question mark of the UCI repository.
MISSING = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "None", "none")
_DELIMITERS = (",", ";", "\t", "|", " ")  # a space last: it is in names too
# How many lines show which delimiter is meant.
_HEAD = 50
_GZIP = b"\x1f\x8b"
_LINE_END = r"\r\n?|\n"
_SEP = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
# How many rows are Python's before they are polars': bounds what the many small strings take.
_ROWS = 20_000


@dataclass(frozen=True)
class DelimitedTable:
    """A table of text as it stands in its file.

    Args:
        header: The names of the columns.
        frame: The values, all text; columns are named by their number.
        delimiter: What stands between them.
        places: The line of each row.
        notes: What a person should know about the file, a sentence each.
        blank: The line of the first blank one that has rows above and below it; None if there is none.
    """

    header: list[str]
    frame: pl.DataFrame
    delimiter: str
    places: Places
    notes: tuple[str, ...] = ()
    blank: int | None = None


def read_delimited(name: str, content: bytes, options: TableOptions) -> DelimitedTable:
    """Read a table of text, perhaps compressed by gzip.

    Args:
        name: What errors call the file.
        content: The file's bytes.
        options: How to read it.

    Returns:
        The table.

    Raises:
        InputError: If it isn't one; the message names the line.
    """
    content = _unpacked(name, content)
    encoding = options.encoding or _encoding(content)
    lines = _lines(name, content, encoding)
    first, separator = _begin(name, lines, options)
    delimiter = separator or _delimiter(name, lines[first : first + _HEAD])
    if delimiter == " ":
        lines[first:] = [line.strip() + "\n" for line in lines[first:]]
    records = _records(name, lines, first, delimiter)
    _, header = next(records)
    frame, numbers, blank = _frame(name, header, records)
    if not content.isascii():
        frame = frame.with_columns(pl.all().str.normalize("NFC"))
    notes = (f"read as {encoding}, as its first bytes say",) if encoding.startswith(("utf-16", "utf-32")) else ()
    return DelimitedTable(header, frame, delimiter, Places("line", numbers), () if options.encoding else notes, blank)


def _unpacked(name: str, content: bytes) -> bytes:
    if not content.startswith(_GZIP):
        return content
    try:
        return unpacked(content)
    except ValueError as error:
        raise InputError(f"{name} is not a readable gzip file: {error}") from error


def _encoding(content: bytes) -> str:
    """Return the encoding that the first bytes of a file announce, or UTF-8."""
    for mark, encoding in (
        (codecs.BOM_UTF32_LE, "utf-32"),  # before that of UTF-16, with which it begins
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            return encoding
    return "utf-8-sig"


def _lines(name: str, content: bytes, encoding: str) -> list[str]:
    try:
        lines = list(io.TextIOWrapper(io.BytesIO(content), encoding, newline=""))
    except UnicodeError as error:
        shown = "UTF-8" if encoding == "utf-8-sig" else encoding
        raise InputError(
            f"{name} is not {shown} text ({_undecodable(content, encoding)}): "
            f"say its --encoding, such as cp1252, or save it as UTF-8"
        ) from error
    if not any(line.strip() for line in lines) or "\0" in "".join(lines[:100]):
        raise InputError(f"{name} is empty or not text: give a table with a header and rows, or its --encoding")
    return lines


def _undecodable(content: bytes, encoding: str) -> str:
    """Return the line of the first byte that an encoding doesn't know."""
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, errors="replace")
        return f"line {len(re.findall(_LINE_END, before)) + 1}"
    except UnicodeError:
        pass
    return "its first bytes"


def _begin(name: str, lines: list[str], options: TableOptions) -> tuple[int, str | None]:
    """Return which line is the header, and the delimiter that was given or that Excel's ``sep=;`` names."""
    first = _after_blanks(lines, 0)
    said = _SEP.fullmatch(lines[first])
    if said:
        first = _after_blanks(lines, first + 1)
        if first == len(lines):
            raise InputError(f"{name} has nothing below its line sep=: give a table with a header and rows")
    return first, options.separator or (said[1] if said else None)


def _after_blanks(lines: Sequence[str], start: int) -> int:
    return next((index for index in range(start, len(lines)) if lines[index].strip()), len(lines))


def _delimiter(name: str, lines: Sequence[str]) -> str:
    """Return what splits the header into the most fields, preferably as many as most records have."""
    if name.lower().endswith((".tsv", ".tsv.gz")) and "\t" in lines[0]:
        return "\t"
    return max(_DELIMITERS, key=lambda delimiter: _fit(lines, delimiter))


def _fit(lines: Sequence[str], delimiter: str) -> tuple[bool, int]:
    """Return whether most records have as many fields as the header, and how many that has."""
    if delimiter == " " and any(other in lines[0] for other in _DELIMITERS[:-1]):
        return False, 0
    try:
        header, *widths = map(len, filter(None, csv.reader(lines, delimiter=delimiter, skipinitialspace=True)))
    except csv.Error:  # a field of over 131,072 characters: another delimiter is meant
        return False, 0
    return header > 1 and 2 * widths.count(header) > len(widths), header


def _records(name: str, lines: Sequence[str], first: int, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the number of its first line; that of a blank line has at most one field, without text."""
    reader = csv.reader(iter(lines[first:]), delimiter=delimiter, skipinitialspace=True, strict=True)
    proper = re.compile(
        rf' *(?:"(?:[^"]|"")*"|[^"{re.escape(delimiter)}]*)'
        rf'(?:{re.escape(delimiter)} *(?:"(?:[^"]|"")*"|[^"{re.escape(delimiter)}]*))*'
    )
    end = 0
    while True:
        start = end
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _flaw(name, first + start + 1, str(error)) from error
        end = reader.line_num
        if '"' in "".join(row) and not proper.fullmatch("".join(lines[first + start : first + end]).strip()):
            raise _flaw(name, first + start + 1, "quote")
        yield first + start + 1, row


def _flaw(name: str, line: int, error: str) -> InputError:
    if "limit" in error:
        most = f"{csv.field_size_limit():,}"
        return InputError(f"{name}, line {line} holds a field of over {most} characters: shorten it")
    if "end of data" in error:
        return InputError(f"{name}, line {line} opens a quote that nothing closes: close it, or remove it")
    return InputError(
        f'{name}, line {line} holds a stray quote ("): remove it, or put its field in quotes and write it twice there'
    )


def _frame(
    name: str, header: Sequence[str], records: Iterator[tuple[int, list[str]]]
) -> tuple[pl.DataFrame, Sequence[int], int | None]:
    """Return the rows, the lines they begin at, and the first blank line with rows above and below it."""
    schema = dict.fromkeys(map(str, range(len(header))), pl.String())
    numbers, rows = array("q"), list[list[str]]()
    chunks = [pl.DataFrame(schema=schema)]
    blanks = array("q")
    for number, row in records:
        if len(row) <= 1 and not "".join(row).strip():
            blanks.append(number)
            continue
        if len(row) != len(header):
            if not any(map(str.strip, row)):
                blanks.append(number)
                continue
            raise InputError(
                f"{name}, line {number} has {len(row)} {'field' if len(row) == 1 else 'fields'} and the header "
                f"{len(header)}: every row needs as many fields as the header"
            )
        numbers.append(number)
        rows.append(row)
        if len(rows) == _ROWS:
            chunks.append(_chunk(rows, schema))
            rows = []
    if rows:
        chunks.append(_chunk(rows, schema))
    last = numbers[-1] if numbers else 0
    return pl.concat(chunks, rechunk=True), numbers, next((line for line in blanks if line < last), None)


def _chunk(rows: list[list[str]], schema: dict[str, pl.String]) -> pl.DataFrame:
    columns = zip(schema, zip(*rows, strict=True), strict=True)
    return pl.DataFrame([pl.Series(name, values, dtype=pl.String) for name, values in columns])
