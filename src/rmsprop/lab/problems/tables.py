"""Reads a person's table: CSV, Parquet or NumPy's .npz becomes a polars frame, or one clear line says why not."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.defaults import TABLE_SUFFIXES

# What stands for a missing value in a text file: pandas' words, and the question mark of the UCI repository.
MISSING = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "None", "none")
_DELIMITERS = (",", ";", "\t", "|")
_HEAD_BYTES = 1 << 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def read_table(path: Path, target: str | None) -> tuple[pl.DataFrame, str]:
    """Read a table.

    Args:
        path: A ``.csv``, ``.parquet`` or ``.npz`` file. An ``.npz`` file holds the inputs as array ``X`` and the
            target as ``y``, or as the array that ``target`` names.
        target: The column to predict; it may be None for an ``.npz`` file only.

    Returns:
        The table, in which text is as it stands in the file, and the target's name.

    Raises:
        InputError: If the file can't be read as a table with that target.
    """
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise InputError(f"{path} is not a table: give a {', '.join(TABLE_SUFFIXES[:-1])} or {TABLE_SUFFIXES[-1]} file")
    if not _is_utf8(str(path)):
        raise InputError(f"the file name {str(path)!r} is not UTF-8: rename the file")
    try:
        if not path.exists():
            raise InputError(f"there is no file {path}: check the path")
        if not path.is_file():
            raise InputError(f"{path} is not a file: give the path of one table")
        match path.suffix.lower():
            case ".csv":
                frame = _read_csv(path)
            case ".parquet":
                frame = _read_parquet(path)
            case _:
                target = target or "y"
                frame = _read_npz(path, target)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from error
    return frame, _check_target(path, frame, target)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_target(path: Path, frame: pl.DataFrame, target: str | None) -> str:
    shown = (", ".join(frame.columns[:12]) or "none") + (", ..." if frame.width > 12 else "")
    if target is None:
        raise InputError(f"say which column of {path} to predict: --target with one of {shown}")
    if target not in frame.columns:
        raise InputError(f"{path} has no column {target!r}: it has {shown}")
    if frame.is_empty():
        raise InputError(f"{path} has a header but no rows: give a table with rows")
    if frame.width < 2:
        raise InputError(f"{path} has no column besides the target {target!r}: give at least one to predict it from")
    return target


def _read_csv(path: Path) -> pl.DataFrame:
    header, delimiter, line_end = _header(path)
    _check_header(path, header)
    try:
        frame = pl.read_csv(path, separator=delimiter, eol_char=line_end, infer_schema=False, glob=False)
    except pl.exceptions.PolarsError as error:
        if "utf-8" in str(error):
            raise InputError(f"{path} is not UTF-8 text: save it as CSV in UTF-8") from error
        flaw = _long_row(path, len(header), delimiter) or _first_line(error)
        raise InputError(
            f"{path} is not a well-formed CSV file ({flaw}): every row needs as many fields as the header"
        ) from error
    if frame.width != len(header):
        raise InputError(f"{path} has a header that can't be read: its first line must name the columns within 1 MB")
    frame.columns = header
    if "" in header:  # pandas writes its index as a first column without a name
        frame = frame.drop("")
    text = pl.all().str.strip_chars()
    frame = frame.select(pl.when(~text.is_in(MISSING)).then(text))
    return frame if delimiter == "," else _decimal_points(frame)


def _header(path: Path) -> tuple[list[str], str, str]:
    """Return the column names, the delimiter that splits the first line into the most of them, and the line end."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}): save it as CSV in UTF-8") from error
    if not text.strip() or "\0" in text:
        raise InputError(f"{path} is empty or not text: give a table with a header and rows, as CSV in UTF-8")
    line_end = "\r" if "\r" in text and "\n" not in text else "\n"  # as Excel for the Macintosh writes it
    headers = {delimiter: _first_row(text, delimiter, line_end) for delimiter in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda d: len(headers[d]))
    return _tidy(path, headers[delimiter]), delimiter, line_end


def _first_row(text: str, delimiter: str, line_end: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=line_end), delimiter=delimiter))
    except csv.Error:  # a field of over 131,072 characters: another delimiter is meant
        return []


def _tidy(path: Path, names: Sequence[str]) -> list[str]:
    """Return column names without what a terminal obeys or nobody sees."""
    tidy = [_CONTROL.sub(" ", name).strip() for name in names]
    if any(tidy) and (twice := next((name for name, count in Counter(tidy).items() if count > 1), None)) is not None:
        what = f"columns named {twice!r}" if twice else "columns without a name"
        raise InputError(f"{path} has {tidy.count(twice)} {what}: rename or remove all but one")
    return tidy


def _check_header(path: Path, names: list[str]) -> None:
    if not any(names):
        raise InputError(f"{path} begins with a line that is empty or can't be read: it must name the columns")
    if all(_is_number(name) for name in names):
        raise InputError(f"{path} begins with numbers ({', '.join(names[:3])}): its first line must name the columns")


def _long_row(path: Path, width: int, delimiter: str) -> str | None:
    """Return which row has more fields than the header, if one has."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file, suppress(csv.Error):
        for number, row in enumerate(csv.reader(file, delimiter=delimiter)):
            if len(row) > width:
                return f"row {number} has {len(row)} fields, the header {width}"
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _decimal_points(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn 3,14 into 3.14 in the columns where every comma is a decimal one."""
    number = r"^[+-]?\d*(,\d+)?([eE][+-]?\d+)?$"
    commas = [series.name for series in frame if series.str.contains(number).all() and series.str.contains(",").any()]
    return frame.with_columns(pl.col(commas).str.replace(",", "."))


def _read_parquet(path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path, glob=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path} is not a readable Parquet file: {_first_line(error)}") from error
    frame.columns = _tidy(path, frame.columns)
    return frame


# What NumPy, zipfile and zlib raise for a file that was cut, changed, encrypted or made up.
_BAD_NPZ = (ValueError, EOFError, AttributeError, TypeError, RuntimeError, MemoryError, zlib.error, zipfile.BadZipFile)


def _read_npz(path: Path, target: str) -> pl.DataFrame:
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not a .npz file: write one with numpy.savez(path, X=inputs, y=target)")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files if name in ("X", target)}
            names = ", ".join(file.files)
    except _BAD_NPZ as error:
        raise InputError(f"{path} is not a readable .npz file: {_first_line(error)}") from error
    if "X" not in arrays or target not in arrays or target == "X":
        raise InputError(f"{path} needs the arrays X and {target}, and has {names or 'none'}: rename them, or --target")
    x, y = arrays["X"], arrays[target]
    if x.ndim == 0 or x.dtype.kind not in "biuf":
        raise InputError(f"{path}: X has shape {x.shape} and dtype {x.dtype}; it must hold rows of real numbers")
    if y.size != len(x) or y.dtype.kind not in "biufU":
        raise InputError(
            f"{path}: {target} has shape {y.shape} and dtype {y.dtype}; it must hold {len(x)} numbers or words"
        )
    x = x.reshape(len(x), -1) if x.size else x.reshape(len(x), 0)
    columns = {f"x{index}": x[:, index].astype(np.float64) for index in range(x.shape[1])}
    return pl.DataFrame(columns | {target: y.ravel().astype(np.float64) if y.dtype.kind == "f" else y.ravel()})


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
