"""NaN that stands for an empty cell, as pandas writes what isn't there, told from a loss that is not a number."""

from __future__ import annotations

import math
from itertools import groupby

from rmsprop.lab.diagnose.readers.log import Numbers

# A curve with holes has as many of them at least, or else a loss that was not a number for a while is meant.
_HOLES = 3


def without_gaps(cells: Numbers, beside: Numbers) -> Numbers:
    """Return a column's numbers with None for NaN where NaN stands for an empty cell.

    Args:
        cells: The losses of one kind. If one of them is None already, the file has another way to write nothing.
        beside: Those of the other kind, in the same rows.

    Returns:
        The numbers. A loss that is NaN to the end, for longer than any hole was, stays so.

    Examples:
        >>> without_gaps([2.0, math.nan, 1.0, math.nan], [math.nan, 3.0, math.nan, 2.0])
        [2.0, None, 1.0, None]
        >>> without_gaps([2.0, 1.0, math.nan, math.nan], [2.0, 1.5, math.nan, math.nan])
        [2.0, 1.0, nan, nan]
    """
    finite = [i for i, cell in enumerate(cells) if _is_finite(cell)]
    if None in cells or len(finite) < 2:
        return cells
    inner = [math.isnan(cell) for cell in cells[: finite[-1]] if cell is not None]
    holes = [len(list(group)) for hole, group in groupby(inner) if hole]
    filled = [_is_finite(other) for other, hole in zip(beside, inner, strict=False) if hole]
    if not holes or not (
        (_alternate(cells, beside) and any(filled)) or (_has_holes(holes, len(finite)) and all(filled))
    ):
        return cells
    until = len(cells) if len(cells) - 1 - finite[-1] <= max(holes) else finite[-1]
    return [None if i < until and cell is not None and math.isnan(cell) else cell for i, cell in enumerate(cells)]


def _alternate(cells: Numbers, beside: Numbers) -> bool:
    """Tell whether each row has one of two numbers at most."""
    return not any(_is_finite(a) and _is_finite(b) for a, b in zip(cells, beside, strict=True))


def _has_holes(holes: list[int], known: int) -> bool:
    return len(holes) >= _HOLES and sum(holes) >= known


def _is_finite(cell: float | None) -> bool:
    return cell is not None and math.isfinite(cell)
