"""Reads a person's table: text, a sheet, Parquet or NumPy's .npz becomes a polars frame, or one line says why not."""

from __future__ import annotations

import lzma
import re
import sys
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from rmsprop.files import ALWAYS_ALLOWED, LARGEST_RATIO
from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.defaults import STANDARD_INPUT, TABLE_SUFFIXES, table_suffix
from rmsprop.lab.problems.table.delimited import MISSING, read_delimited
from rmsprop.lab.problems.table.options import TableOptions, composed
from rmsprop.lab.problems.table.places import Places

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True)
class RawTable:
    """A table as it was read.

    Args:
        frame: Its columns; text is as it stands in the file, and missing values are null.
        target: The name of the column to predict.
        places: Where its rows stand in the file.
        delimiter: What separates the columns in the file; None if it isn't text.
        notes: What a person should know about the file, a sentence each.
        blank: The line of the first blank one among its rows; None if there is none.
    """

    frame: pl.DataFrame
    target: str
    places: Places = field(default_factory=Places)
    delimiter: str | None = None
    notes: tuple[str, ...] = ()
    blank: int | None = None


# What polars raises for a damaged file: where it didn't expect the damage, its Rust code panics, which is no Exception.
_BAD_BINARY = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
_Reader: TypeAlias = Callable[[str, Path, str, TableOptions], RawTable]


def read_table(path: Path, target: str | None, options: TableOptions | None = None) -> RawTable:
    """Read a table.

    Args:
        path: A file of one of `TABLE_SUFFIXES`, or ``-``: text from standard input. An ``.npz`` file holds the inputs
            as array ``X`` and the target as ``y``, or as the array that ``target`` names.
        target: The column to predict; it may be None for an ``.npz`` file only.
        options: How to read it. Default None leaves it to the file.

    Returns:
        The table.

    Raises:
        InputError: If the file can't be read as a table with that target.
    """
    table = _read(path, _tidied(target), options or TableOptions(), _READERS)
    _check_target(_name(path), table.frame, table.target)
    return table


def read_new_rows(path: Path, target: str, options: TableOptions) -> RawTable:
    """Read a table of rows to predict, each of which counts.

    Args:
        path: As for `read_table`.
        target: The column that was to be predicted; the table need not have it.
        options: How to read it. A delimiter and an encoding are heeded where it is text.

    Returns:
        The table.

    Raises:
        InputError: If the file can't be read, has no rows, or has blank lines among them.
    """
    if table_suffix(str(path)) in (".parquet", ".npz", ".xlsx"):
        options = replace(options, delimiter=None, encoding=None)
    table = _read(path, target, options, {**_READERS, ".npz": _read_new_npz})
    if table.frame.is_empty():
        raise InputError(f"{_name(path)} has a header but no rows: give a table with rows")
    if table.blank is not None:
        raise InputError(
            f"{_name(path)}, line {table.blank} is blank, and each row gets an answer: remove or fill the line"
        )
    return table


def _name(path: Path) -> str:
    return "standard input" if str(path) == STANDARD_INPUT else str(path)


def _read(path: Path, target: str, options: TableOptions, readers: Mapping[str, _Reader]) -> RawTable:
    name = _name(path)
    suffix = table_suffix(str(path))
    if suffix is None:
        raise InputError(f"{name} is not a table: give a {', '.join(TABLE_SUFFIXES[:-1])} or {TABLE_SUFFIXES[-1]} file")
    if not _is_utf8(name):
        raise InputError(f"the file name {name!r} is not UTF-8: rename the file")
    try:
        _check_file(path)
        return readers.get(suffix, _read_text)(name, path, target, options)
    except OSError as error:
        raise InputError(f"{name} can't be read: {error.strerror or error}") from error


def _check_file(path: Path) -> None:
    if str(path) == STANDARD_INPUT:
        return
    if not path.exists():
        raise InputError(f"there is no file {path}: check the path")
    if not path.is_file():
        raise InputError(f"{path} is not a file: give the path of one table")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_target(name: str, frame: pl.DataFrame, target: str) -> None:
    shown = (", ".join(frame.columns[:12]) or "none") + (", ..." if frame.width > 12 else "")
    if not target:
        raise InputError(f"say which column of {name} to predict: --target with one of {shown}")
    if target not in frame.columns:
        raise InputError(f"{name} has no column {target!r}: it has {shown}")
    if frame.is_empty():
        raise InputError(f"{name} has a header but no rows: give a table with rows")
    if frame.width < 2:
        raise InputError(f"{name} has no column besides the target {target!r}: give at least one to predict it from")


def _read_text(name: str, path: Path, target: str, options: TableOptions) -> RawTable:
    content = sys.stdin.buffer.read() if str(path) == STANDARD_INPUT else path.read_bytes()
    read = read_delimited(name, content, options)
    header = _tidy(name, read.header)
    _check_header(name, header)
    frame = read.frame.rename(dict(zip(read.frame.columns, header, strict=True)))
    text = pl.all().str.strip_chars()
    frame = frame.select(pl.when(~text.is_in([*MISSING, *options.na])).then(text))
    return RawTable(frame, target, read.places, read.delimiter, read.notes, read.blank)


def _tidied(name: str | None) -> str:
    """Return a column's name without what a terminal obeys or nobody sees."""
    return composed(_CONTROL.sub(" ", name or "").strip())


def _tidy(file: str, names: Sequence[str]) -> list[str]:
    tidy = [_tidied(name) for name in names]
    if any(tidy) and (twice := next((name for name, count in Counter(tidy).items() if count > 1), None)) is not None:
        what = f"columns named {twice!r}" if twice else "columns without a name"
        raise InputError(f"{file} has {tidy.count(twice)} {what}: rename or remove all but one")
    return tidy


def _check_header(file: str, names: list[str]) -> None:
    if not any(names):
        raise InputError(f"{file} begins with a line that can't be read: it must name the columns")
    if all(_is_number(name) for name in names):
        raise InputError(f"{file} begins with numbers ({', '.join(names[:3])}): its first line must name the columns")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_parquet(name: str, path: Path, target: str, options: TableOptions) -> RawTable:
    try:
        frame = pl.read_parquet(path, glob=False)
    except _BAD_BINARY as error:
        raise InputError(f"{name} is not a readable Parquet file: {_first_line(error)}") from error
    frame.columns = _tidy(name, frame.columns)
    return RawTable(typed_without(name, frame, options), target)


def _read_sheet(name: str, path: Path, target: str, options: TableOptions) -> RawTable:
    """Read the first sheet of a workbook, whose first row names the columns."""
    try:
        import fastexcel
    except ModuleNotFoundError as error:
        raise InputError(
            f"{name} is an Excel file, and reading one needs fastexcel: pip install 'rmsprop[excel]', or save it as CSV"
        ) from error
    try:
        _check_archive(path)
        sheets = fastexcel.read_excel(path).sheet_names
        frame = pl.read_excel(path, sheet_id=1, infer_schema_length=None, drop_empty_rows=False, drop_empty_cols=False)
    except (fastexcel.FastExcelError, zipfile.BadZipFile, *_BAD_BINARY) as error:
        raise InputError(f"{name} is not a readable Excel file: {_first_line(error)}") from error
    frame.columns = _tidy(name, [re.sub(r"^__UNNAMED__\d+$", "", column) for column in frame.columns])
    _check_header(name, frame.columns)
    text = pl.col(pl.String).str.strip_chars().str.normalize("NFC")
    frame = frame.with_columns(pl.when(~text.is_in(MISSING)).then(text))
    notes = (f"read the first of {len(sheets)} sheets, {sheets[0]!r}",) if len(sheets) > 1 else ()
    places = Places("row", range(2, len(frame) + 2))
    return RawTable(typed_without(name, frame, options), target, places, notes=notes)


def typed_without(name: str, frame: pl.DataFrame, options: TableOptions) -> pl.DataFrame:
    """Return a table that knows types without what stands for a missing value; refuse what is for text.

    Args:
        name: What errors call the table.
        frame: The table.
        options: How to read it.

    Returns:
        The table.

    Raises:
        InputError: If an option is for text only.
    """
    for option in ("delimiter", "encoding"):
        if getattr(options, option) is not None:
            raise InputError(f"--{option} is for a file of text, and {name} is none: leave it out")
    numbers = [float(word) for word in options.na if _is_number(word)]
    text, numeric = pl.col(pl.String, pl.Categorical, pl.Enum), pl.selectors.numeric()
    frame = frame.with_columns(pl.when(~text.cast(pl.String).is_in(options.na)).then(text))
    return frame.with_columns(pl.when(~numeric.cast(pl.Float64).is_in(numbers)).then(numeric))


# What NumPy, zipfile and zlib raise for a file that was cut, changed, encrypted or made up.
_BAD_NPZ = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RuntimeError, TypeError, ValueError),
    *(SyntaxError, lzma.LZMAError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def _read_npz(name: str, path: Path, target: str, options: TableOptions) -> RawTable:
    frame = _arrays(path, target or "y")
    return RawTable(typed_without(name, frame, options), target or "y")


def _read_new_npz(name: str, path: Path, target: str, options: TableOptions) -> RawTable:
    return RawTable(typed_without(name, _inputs(path, *_loaded(path, ("X",))), options), target)


def _arrays(path: Path, target: str) -> pl.DataFrame:
    arrays, names = _loaded(path, ("X", target))
    if "X" not in arrays or target not in arrays or target == "X":
        raise InputError(f"{path} needs the arrays X and {target}, and has {names or 'none'}: rename them, or --target")
    inputs, y, rows = _inputs(path, arrays, names), arrays[target], len(arrays["X"])
    if y.size != rows or y.dtype.kind not in "biufU":
        raise InputError(
            f"{path}: {target} has shape {y.shape} and dtype {y.dtype}; it must hold {rows} numbers or words"
        )
    answers = y.ravel().astype(np.float64) if y.dtype.kind == "f" else y.ravel()
    return pl.DataFrame({series.name: series for series in inputs} | {target: answers})


def _loaded(path: Path, wanted: Sequence[str]) -> tuple[dict[str, npt.NDArray[Any]], str]:
    """Return those of the wanted arrays that are in a file, and the names of all that are."""
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not a .npz file: write one with numpy.savez(path, X=inputs, y=target)")
    try:
        _check_archive(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files if name in wanted}
            return arrays, ", ".join(file.files)
    except InputError:
        raise
    except _BAD_NPZ as error:
        raise InputError(f"{path} is not a readable .npz file: {_first_line(error)}") from error


def _check_archive(path: Path) -> None:
    """Check that an archive doesn't swell when it is unpacked."""
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > ALWAYS_ALLOWED + LARGEST_RATIO * path.stat().st_size:
        raise InputError(f"{path} says that it holds {size:,} bytes, over {LARGEST_RATIO} times its size: save it anew")


def _inputs(path: Path, arrays: Mapping[str, npt.NDArray[Any]], names: str) -> pl.DataFrame:
    if "X" not in arrays:
        raise InputError(f"{path} needs the array X, and has {names or 'none'}: rename it")
    x = arrays["X"]
    if x.ndim == 0 or x.dtype.kind not in "biuf":
        raise InputError(f"{path}: X has shape {x.shape} and dtype {x.dtype}; it must hold rows of real numbers")
    x = x.reshape(len(x), -1) if x.size else x.reshape(len(x), 0)
    return pl.DataFrame({f"x{index}": x[:, index].astype(np.float64) for index in range(x.shape[1])})


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_READERS: Mapping[str, _Reader] = {".parquet": _read_parquet, ".npz": _read_npz, ".xlsx": _read_sheet}
