"""JSON: lines of objects, a list of objects, lists by name, and what Hugging Face's Trainer writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rmsprop.lab.diagnose.readers.log import Log
from rmsprop.lab.errors import InputError

_STATE = "log_history"
# What TensorBoard's page gives for a curve, as it names the same columns in CSV.
_EXPORTED = ("Wall time", "Step", "Value")


def parse(text: str, where: str, name: str) -> Log:
    """Read a log in JSON.

    Args:
        text: The text.
        where: What it is, for an error.
        name: What to call the run.

    Returns:
        The log.

    Raises:
        InputError: If it isn't JSON, or holds no rows.
    """
    try:
        return _whole(json.loads(text), where, name)
    except json.JSONDecodeError:
        return _lines(text, where, name)
    except RecursionError as error:
        raise InputError(f"{where} has lists or objects too deep in each other: write one object per row") from error


def first_of(content: bytes) -> Any:
    """Return what the first line of JSON lines says.

    Args:
        content: The lines.

    Returns:
        It; None if it isn't JSON.
    """
    try:
        return json.loads(content.split(b"\n", 1)[0])
    except (ValueError, RecursionError):  # of brackets in brackets in brackets
        return None


def _whole(value: Any, where: str, name: str) -> Log:
    if isinstance(value, dict) and isinstance(value.get(_STATE), list):
        return _table(value[_STATE], where, name, "the state of a Hugging Face Trainer")
    if isinstance(value, dict) and isinstance(value.get("history"), dict):  # with epochs and parameters beside
        value = value["history"]
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return _table(value, where, name, "a JSON file")
    if (
        isinstance(value, list)
        and value
        and all(isinstance(each, list) and len(each) == len(_EXPORTED) for each in value)
    ):
        return _table([dict(zip(_EXPORTED, each, strict=True)) for each in value], where, name, "a JSON file")
    columns = {"loss": value} if isinstance(value, list) else dict(_lists("", value))
    if not columns:
        return _table([value], where, name, "a JSON file")
    return _by_column(columns, where, name)


def _lists(prefix: str, value: Any) -> Iterator[tuple[str, Sequence[Any]]]:
    """Return the lists in an object under what leads to them: {"train": {"loss": [1]}} holds train/loss."""
    if isinstance(value, list):
        yield prefix, value
    elif isinstance(value, dict) and value and all(key.isdigit() for key in value):  # as pandas writes a column
        yield prefix, list(value.values())
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _lists(f"{prefix}/{key}" if prefix else key, each)


def _by_column(columns: Mapping[str, Sequence[Any]], where: str, name: str) -> Log:
    rows = max(map(len, columns.values()))
    if not rows:
        raise InputError(f"{where} is empty: its lists hold nothing")
    filled = {column: [*cells, *[None] * (rows - len(cells))] for column, cells in columns.items()}
    return Log(where=where, name=name, source="a JSON file", columns=filled, rows=range(1, rows + 1), by_epoch=True)


def _lines(text: str, where: str, name: str) -> Log:
    lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    rows, dropped = [], []
    for number, line in lines:
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            if number != lines[-1][0] or not rows:
                raise InputError(f"{where}: line {number} isn't JSON: correct or remove it") from error
            dropped = [f"line {number} left out: it was written by half"]
    return _table(rows, where, name, "JSON lines", dropped)


def _table(rows: Sequence[Any], where: str, name: str, source: str, torn: Sequence[str] = ()) -> Log:
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{where} has rows that are no objects: write one object with names per row")
    flat = [dict(_flat("", row)) for row in rows]
    if not any(flat):
        raise InputError(f"{where} is empty: it has no rows")
    names = dict.fromkeys(key for row in flat for key in row)
    columns = {key: [row.get(key) for row in flat] for key in names}
    numbers = range(1, len(flat) + 1)
    return Log(
        where=where, name=name, source=source, columns=columns, rows=numbers, dropped=len(torn), notes=tuple(torn)
    )


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(f"{prefix}/{key}" if prefix else key, each)
    elif not isinstance(value, list):
        yield prefix, value
