"""Numbers as JSON can hold them."""

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
