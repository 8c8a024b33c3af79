"""The dialects as a table of words: what `rmsprop dialects` and the documentation show."""

from __future__ import annotations

from collections.abc import Mapping

from rmsprop.dialects import DIALECTS, Dialect
from rmsprop.lab.dialects.formulas import number

# Heading -> field of `rmsprop.Rule`; but for the first, and for lr.
COLUMNS: Mapping[str, str] = {
    "name": "name",
    "ε": "eps",
    "ε and the root": "eps_inside_sqrt",
    "centered": "centered",
    "v₀": "initial_square_avg",
    "decay": "decay",
    "momentum": "momentum",
    "lr and buffer": "lr_in_momentum",
    "lr": "lr",
    "weight decay": "weight_decay_mode",
}
_SAID = {
    "eps_inside_sqrt": ("outside", "inside"),
    "centered": ("no", "yes"),
    "lr_in_momentum": ("outside", "inside"),
}


def rows() -> list[tuple[str, ...]]:
    """Return a row of words per dialect, in the order of `COLUMNS`.

    Examples:
        >>> [row[:3] for row in rows() if row[0] == "keras_legacy"]
        [('keras_legacy', '1e-7', 'outside; inside once momentum > 0')]
    """
    return [_row(name, dialect) for name, dialect in DIALECTS.items()]


def short_rows() -> list[tuple[str, ...]]:
    """Return the same rows with a star in the place of what becomes of a default once another choice is made.

    Examples:
        >>> [row[:3] for row in short_rows() if row[0] == "keras_legacy"]
        [('keras_legacy', '1e-7', 'outside *')]
    """
    return [tuple(f"{cell.partition(';')[0]} *" if ";" in cell else cell for cell in row) for row in rows()]


def stars() -> list[str]:
    """Return what the stars of `short_rows` stand for.

    Examples:
        >>> stars()[0]
        '* keras_legacy: ε and the root: inside once momentum > 0'
    """
    return [
        f"* {name}: {heading}: {condition}"
        for name, dialect in DIALECTS.items()
        for heading, field in COLUMNS.items()
        for condition in conditions(dialect, field)
    ]


def conditions(dialect: Dialect, field: str) -> list[str]:
    """Return what a default becomes once another choice is made.

    Args:
        dialect: The dialect.
        field: The field of `rmsprop.Rule` whose default it is.

    Returns:
        A phrase for each such choice.

    Examples:
        >>> conditions(DIALECTS["mxnet"], "momentum")
        ['0.9 once centered']
    """
    return [
        f"{_said(field, defaults[field])} once {_switched_on(dialect, switch)}"
        for switch, defaults in dialect.when.items()
        if field in defaults
    ]


def _row(name: str, dialect: Dialect) -> tuple[str, ...]:
    values = {"name": name, "lr": "none" if dialect.lr is None else number(dialect.lr)}
    return tuple(values.get(field) or _cell(dialect, field) for field in COLUMNS.values())


def _cell(dialect: Dialect, field: str) -> str:
    return "; ".join([_said(field, getattr(dialect.rule, field)), *conditions(dialect, field)])


def _said(field: str, value: object) -> str:
    if isinstance(value, bool):
        return _SAID[field][value]
    return number(value) if isinstance(value, float | int) else str(value)


def _switched_on(dialect: Dialect, switch: str) -> str:
    return switch if isinstance(getattr(dialect.rule, switch), bool) else f"{switch} > 0"
