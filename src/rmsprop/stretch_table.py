"""Stretches of memory: where updates write and read, and which of them can't be made at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rmsprop.layout import StretchStruct


class Stretches:
    """Stretches of memory that updates write to, in the order of their beginnings.

    Args:
        begins: Where each begins, an array of addresses in ascending order.
        ends: Where each ends, in ascending order too.

    Examples:
        >>> Stretches(np.array([16, 64]), np.array([32, 80])).struct.count
        2
    """

    def __init__(self, begins: Any, ends: Any) -> None:
        self.begins, self.ends = (np.ascontiguousarray(side, np.int64) for side in (begins, ends))
        self.struct = StretchStruct(len(self.begins), self.begins.ctypes.data, self.ends.ctypes.data)


NOWHERE = Stretches((), ())


def entangled(written: Sequence[tuple[int, int, int]], read: Sequence[tuple[int, int, int]]) -> set[int]:
    """Return which updates can't be made at the same time as all others.

    Args:
        written: The stretches that updates write to, none of them empty: where each begins, where it ends, and the
            number of its update.
        read: The stretches of gradients, likewise.

    Returns:
        The numbers of those that write where another one writes or reads, or read where another one writes.

    Examples:
        >>> sorted(entangled([(0, 8, 0), (8, 16, 1), (16, 24, 2), (20, 28, 3)], [(4, 6, 1)]))
        [0, 1, 2, 3]
    """
    rows = sorted(written)
    found: set[int] = set()
    reach, owner = 0, -1
    for begin, end, number in rows:
        if begin < reach:
            found |= {number, owner}
        if end > reach:
            reach, owner = end, number
    return found | _readers(rows, read)


def _readers(written: Sequence[tuple[int, int, int]], read: Sequence[tuple[int, int, int]]) -> set[int]:
    """Return who reads where something is written, and who writes there."""
    if not written or not read:
        return set()
    begins, ends, owners = np.array(written, np.int64).T
    highest = np.maximum.accumulate(ends)
    found: set[int] = set()
    for begin, end, number in read:
        first, last = np.searchsorted(highest, begin, side="right"), np.searchsorted(begins, end)
        if hit := [int(owners[k]) for k in range(first, last) if ends[k] > begin]:
            found |= {number, *hit}
    return found
