"""Curves whose times are counted in different ways, put onto the steps of the training loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from rmsprop.lab.diagnose.history import Series

# A curve over epochs has its last point before this share of the steps: nobody validates at first and then never more.
_EARLY = 0.5


def on_steps(curves: Mapping[str, Series], loss: str) -> tuple[dict[str, Series], tuple[str, ...]]:
    """Put curves whose times are the numbers of epochs onto the steps of the training loss.

    Args:
        curves: The curves by name.
        loss: The training loss, over steps.

    Returns:
        The curves, and what was done, in a sentence.

    Examples:
        >>> validation = Series.of({0: 2.0, 1: 1.0, 2: 1.0, 3: 0.5})
        >>> on_steps({"loss": Series.of(dict.fromkeys(range(100), 1.0)), "val": validation}, "loss")[0]["val"].times
        (24, 49, 74, 99)
    """
    train = curves[loss]
    by_epoch = [name for name, curve in curves.items() if name != loss and _counts_epochs(curve, train)]
    if not by_epoch:
        return dict(curves), ()
    moved = {name: _moved(curve, train) for name, curve in curves.items() if name in by_epoch}
    each = round(_length(train) / max(len(moved[name]) for name in by_epoch))
    taken = f"an epoch is taken for {each} step{'s' * (each != 1)}"
    note = f"{' and '.join(by_epoch)} {'are' if by_epoch[1:] else 'is'} counted in epochs and {loss} in steps: {taken}"
    return {**curves, **moved}, (note,)


def _counts_epochs(curve: Series, train: Series) -> bool:
    rising = len(curve) > 1 and all(b - a == 1 for a, b in pairwise(curve.times))
    return rising and curve.times[0] in (0, 1) and curve.times[-1] < _EARLY * train.times[-1]


def _moved(curve: Series, train: Series) -> Series:
    """Return a curve over epochs with the step at which each of them ended as its time."""
    first = train.times[0]
    ends = [first + round((n + 1) * _length(train) / len(curve)) - 1 for n in range(len(curve))]
    return Series(tuple(ends), curve.values)


def _length(train: Series) -> int:
    stride = round(float(np.median(np.diff(train.times)))) if len(train) > 1 else 1
    return train.times[-1] - train.times[0] + stride


def by_position(curves: Mapping[str, Sequence[tuple[int, float]]]) -> tuple[dict[str, Series], tuple[str, ...]]:
    """Count the points of curves that have several at one time, as if each were a step.

    Args:
        curves: Times and values by name, the times in order.

    Returns:
        The curves, and what was done, in a sentence.

    Examples:
        >>> by_position({"loss": [(0, 3.0), (0, 2.0), (1, 1.5), (1, 1.0)], "val": [(0, 2.5), (1, 1.2)]})[0]["val"]
        Series(times=(1, 3), values=(2.5, 1.2))
    """
    repeating = [name for name, points in curves.items() if len({time for time, _ in points}) < len(points)]
    if not repeating:
        return {name: Series.of(dict(points)) for name, points in curves.items()}, ()
    most = max(repeating, key=lambda name: len(curves[name]))
    ends = {time: position for position, (time, _) in enumerate(curves[most])}
    counts = Counter(time for time, _ in curves[most])
    moved = {name: _placed(points, ends, counts) for name, points in curves.items()}
    return moved, (f"{most} has several points at one step: they are counted",)


def _placed(points: Sequence[tuple[int, float]], ends: Mapping[int, int], counts: Mapping[int, int]) -> Series:
    """Return a curve over the positions of another one: what stands alone at a time comes at the end of it."""
    own, seen, placed = Counter(time for time, _ in points), Counter[int](), {}
    for time, value in points:
        if time in ends:
            start = ends[time] - (counts[time] if own[time] > 1 else 1) + 1
            placed[start + seen[time]] = value
            seen[time] += 1
    return Series.of(placed)
