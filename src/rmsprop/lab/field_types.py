"""Values from a file, held against the types of the fields that they are for.

This module imports no framework, so that `rmsprop train --help` stays fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin


def misfit(values: Mapping[str, object], kinds: Mapping[str, Any]) -> str | None:
    """Return the name of the first value that its field can't have, or None if each can.

    Args:
        values: Field -> value, as JSON has it: a list stands for a tuple, and an int of 64 bits for a float.
        kinds: Field -> type, as `typing.get_type_hints` has it; what isn't here is not looked at.

    Returns:
        The name.

    Examples:
        >>> misfit({"epochs": 3, "na": ["-", []]}, {"epochs": int, "na": tuple[str, ...]})
        'na'
    """
    return next((name for name, value in values.items() if name in kinds and not _fits(value, kinds[name])), None)


def _fits(value: object, kind: Any) -> bool:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in parts)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(each, parts[0]) for each in value)
    if isinstance(value, int) and not isinstance(value, bool):
        # Larger ones fit into no float or integer of a library.
        return kind in (int, float) and abs(value) < 2**63
    return type(value) is (NoneType if kind is None else kind)
