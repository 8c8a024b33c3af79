"""Numbers as JSON can hold them, and as people read them."""

from __future__ import annotations

import math
from typing import Any


def finite(value: Any) -> Any:
    """Replace NaN and infinities by None, at any depth.

    Args:
        value: Dicts, lists, tuples and what they hold.

    Returns:
        The same with lists for tuples.

    Examples:
        >>> finite({"sizes": (1.0, float("inf"))})
        {'sizes': [1.0, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


def number(value: float) -> float | str:
    """Return a number as JSON can hold it: one that isn't finite is a word, which `float` takes back.

    Args:
        value: The number.

    Returns:
        The number or the word.

    Examples:
        >>> number(1.5), number(float("nan"))
        (1.5, 'nan')
    """
    return value if math.isfinite(value) else str(value)


def short(value: float, digits: int = 3) -> str:
    """Return a number with a few significant digits, and its exponent as one types it.

    Args:
        value: The number.
        digits: How many digits. Default 3.

    Returns:
        Its text.

    Examples:
        >>> short(1.234e-8), short(0.5), short(2e6, 1)
        ('1.23e-8', '0.5', '2e6')
    """
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def percent(share: float, digits: int | None = None) -> str:
    """Return a share in percent, with a space in which no line breaks.

    Args:
        share: The share, of 1.
        digits: Significant digits. Default None: whole percents.

    Returns:
        Its text.

    Examples:
        >>> percent(0.123) == "12\u00a0%", percent(0.123, 3) == "12.3\u00a0%"
        (True, True)
    """
    number = f"{100 * share:.0f}" if digits is None else short(100 * share, digits)
    return f"{number}\u00a0%"
