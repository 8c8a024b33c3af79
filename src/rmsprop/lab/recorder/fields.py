"""The fields of a line of the recorder's file, each checked when it is read: what comes later relies on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

# What a double, and so any reader of JSON, counts exactly.
_MOST = 2**53
_LAYER = {"name": str, "size": int, "dtype": str, "weights": bool}


def whole(value: Any, name: str) -> int:
    """Return a whole number that isn't negative: a step, or a size.

    Args:
        value: What the file has.
        name: What it is.

    Returns:
        The number.

    Raises:
        ValueError: If it is something else.

    Examples:
        >>> whole(3, "step")
        3
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise ValueError(f"{name} is no whole number from 0 on")
    return value


def number(value: Any) -> float:
    """Return a number, of which the file has those that aren't finite as strings, and null for what can't be told.

    Args:
        value: What the file has.

    Returns:
        The number.

    Raises:
        ValueError: If it is something else.

    Examples:
        >>> number(None), number("inf"), number(0.5)
        (nan, inf, 0.5)
    """
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a list, an object or a truth value stands where a number is needed")
    try:
        return float(value)
    except OverflowError:  # whole numbers of JSON have any number of digits
        return -math.inf if str(value).startswith("-") else math.inf


def entries(value: Any, name: str) -> Mapping[str, Any]:
    """Return an object.

    Args:
        value: What the file has.
        name: What it is.

    Returns:
        The object.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no object with names")
    return value


def items(value: Any, name: str) -> list[Any]:
    """Return a list.

    Args:
        value: What the file has.
        name: What it is.

    Returns:
        The list.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(value, list):
        raise ValueError(f"{name} is no list")
    return value


def layer(value: Any) -> dict[str, Any]:
    """Return what is said of a layer.

    Args:
        value: What the file has.

    Returns:
        Its name, its size, the dtype of its parameters and of their averages, and whether it has weights.

    Raises:
        ValueError: If something is missing, or of another type.
    """
    found = entries(value, "a layer")
    wrong = [name for name, kind in _LAYER.items() if not isinstance(found.get(name), kind)]
    if wrong or not isinstance(averages := found.get("averages"), str | None):
        raise ValueError(f"a layer's {wrong[0] if wrong else 'averages'} is missing or of the wrong type")
    whole(found["size"], "a layer's size")
    return {**{name: found[name] for name in _LAYER}, "averages": averages}


def option(value: Any) -> float | bool:
    """Return an option of a parameter group.

    Args:
        value: What the file has.

    Returns:
        It.

    Raises:
        ValueError: If it is neither a number nor a truth value.
    """
    return value if isinstance(value, bool) else number(value)
