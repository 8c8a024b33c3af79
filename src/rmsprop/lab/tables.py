"""Reads a person's table: CSV, Parquet or NumPy's .npz becomes a polars frame, or one clear line says why not."""

from __future__ import annotations

import codecs
import csv
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl

from rmsprop.lab.errors import InputError

SUFFIXES = (".csv", ".parquet", ".npz")
# What stands for a missing value in a text file: pandas' words, and the question mark of the UCI repository.
MISSING = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "None", "none")
_DELIMITERS = (",", ";", "\t", "|")
_HEAD_BYTES = 1 << 20


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
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is not a table: give a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")
    if not path.exists():
        raise InputError(f"there is no file {path}: check the path")
    if not path.is_file():
        raise InputError(f"{path} is not a file: give the path of one table")
    try:
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


def _check_target(path: Path, frame: pl.DataFrame, target: str | None) -> str:
    shown = ", ".join(frame.columns[:12]) + (", ..." if frame.width > 12 else "")
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
    header, delimiter = _header(path)
    _check_names(path, header)
    try:
        frame = pl.read_csv(path, separator=delimiter, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"{path} is not a well-formed CSV file ({_first_line(error)}): every row needs as many fields as the header"
        ) from error
    frame = frame.rename(dict(zip(frame.columns, header, strict=True)))
    if "" in header:  # pandas writes its index as a first column without a name
        frame = frame.drop("")
    text = pl.all().str.strip_chars()
    frame = frame.select(pl.when(~text.is_in(MISSING)).then(text))
    return frame if delimiter == "," else _decimal_points(frame)


def _header(path: Path) -> tuple[list[str], str]:
    """Return the column names and the delimiter that splits the first line into the most of them."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}): save it as CSV in UTF-8") from error
    if not text.strip() or "\0" in text:
        raise InputError(f"{path} is empty or not text: give a table with a header and rows")
    lines = text.splitlines()
    headers = {d: next(csv.reader(lines, delimiter=d)) for d in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda d: len(headers[d]))
    return [name.strip() for name in headers[delimiter]], delimiter


def _check_names(path: Path, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{path} has {names.count(twice[0])} columns named {twice[0]!r}: rename or remove all but one")
    if all(_is_number(name) for name in names):
        raise InputError(f"{path} begins with numbers ({', '.join(names[:3])}): its first line must name the columns")


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
        return pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path} is not a readable Parquet file: {_first_line(error)}") from error


def _read_npz(path: Path, target: str) -> pl.DataFrame:
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not a .npz file: write one with numpy.savez(path, X=inputs, y=target)")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name in ("X", target)}
            names = ", ".join(file.files)
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a readable .npz file: {_first_line(error)}") from error
    if "X" not in arrays or target not in arrays or target == "X":
        raise InputError(f"{path} needs the arrays X and {target}, and has {names or 'none'}: rename them, or --target")
    x, y = arrays["X"], arrays[target]
    if x.ndim == 0 or x.dtype.kind not in "biuf":
        raise InputError(f"{path}: X has shape {x.shape} and dtype {x.dtype}; it must hold rows of real numbers")
    if y.size != len(x) or y.dtype.kind not in "biufU":
        raise InputError(f"{path}: {target} has shape {y.shape} and dtype {y.dtype}; it must hold {len(x)} values")
    x = x.reshape(len(x), -1) if x.size else x.reshape(len(x), 0)
    columns = {f"x{index}": x[:, index].astype(np.float64) for index in range(x.shape[1])}
    return pl.DataFrame(columns | {target: y.ravel()})


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
