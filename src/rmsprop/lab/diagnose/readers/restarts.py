"""Logs that begin anew in the middle: a run that was continued, taken up from a checkpoint, or another run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rmsprop.lab.diagnose.history import Series

Curves = Mapping[str, Series]
# So large a share of a curve's points tells where it begins and ends, and so small a change is none.
_END, _SAME = 0.05, 0.1


@dataclass(frozen=True)
class Stretch:
    """Part of a log, or several put together, and what was done about where they met.

    Args:
        curves: The curves by name.
        rows: How many rows it has.
        dropped: How many of them were left out: they say nothing, or what they tell of was done again.
        combined: How many were put together with another of the same time.
        notes: What a person should know, a sentence each.
    """

    curves: Curves
    rows: int
    dropped: int = 0
    combined: int = 0
    notes: tuple[str, ...] = ()


def joined(stretches: Sequence[Stretch], loss: str) -> list[Stretch]:
    """Return the runs of a log that was written in stretches.

    Args:
        stretches: The stretches, in the order in which they were written.
        loss: The curve that tells another run from one that goes on.

    Returns:
        The runs.
    """
    runs = [stretches[0]]
    for stretch in stretches[1:]:
        whole = _continued(runs[-1], stretch, loss)
        runs = [*runs, stretch] if whole is None else [*runs[:-1], whole]
    return runs


def _continued(run: Stretch, new: Stretch, loss: str) -> Stretch | None:
    """Return a run with what was written after it; None if that is of another run."""
    shared = [name for name in new.curves if len(new.curves[name]) and len(run.curves.get(name, ()))]
    if not shared:
        return _appended(run, new)
    loss = loss if loss in shared else shared[0]
    before, after = run.curves[loss], new.curves[loss]
    start, stride = after.times[0], _stride(before)
    if start > before.times[-1]:
        return _appended(run, new)
    if start <= before.times[0] + stride and _begins_again(before.values, after.values):
        return None
    if start > before.times[0]:
        note = f"time goes back to {start}, after a restart: what was done again is read as it was the last time"
        return _appended(run, new, cut=start, note=note)
    note = f"time begins again at {start} and the loss goes on where it was: counted on"
    return _appended(run, new, shift=before.times[-1] + stride - start, note=note)


def _appended(run: Stretch, new: Stretch, *, cut: int | None = None, shift: int = 0, note: str = "") -> Stretch:
    """Append a stretch to a run, without what the run has from a time on, if one is given."""
    kept = {name: curve if cut is None else _until(curve, cut) for name, curve in run.curves.items()}
    again = max(len(run.curves[name]) - len(kept[name]) for name in kept)
    curves = {
        name: _after(kept.get(name, Series()), new.curves.get(name, Series()), shift) for name in {**kept, **new.curves}
    }
    return Stretch(
        curves,
        run.rows + new.rows,
        run.dropped + new.dropped + again,
        run.combined + new.combined,
        tuple(dict.fromkeys([*run.notes, *new.notes, *([note] if note else [])])),
    )


def _until(curve: Series, end: int) -> Series:
    kept = sum(time < end for time in curve.times)
    return Series(curve.times[:kept], curve.values[:kept])


def _after(before: Series, after: Series, shift: int) -> Series:
    later = {time + shift: value for time, value in zip(after.times, after.values, strict=True)}
    return Series.of(dict(zip(before.times, before.values, strict=True)) | later)


def _stride(curve: Series) -> int:
    """Return how far apart the points of a curve are."""
    return round(float(np.median([b - a for a, b in pairwise(curve.times)]))) if len(curve) > 1 else 1


def _begins_again(before: Sequence[float], after: Sequence[float]) -> bool:
    """Tell whether a loss is nearer to where another one began than to where that ended."""
    size = max(1, round(_END * len(before)))
    begin, end, new = _typical(before[:size]), _typical(before[-size:]), _typical(after[: min(size, len(after))])
    if not math.isfinite(end):
        return math.isfinite(new)
    if not (math.isfinite(begin) and math.isfinite(new)) or abs(begin - end) <= _SAME * max(abs(begin), abs(end)):
        return False
    if min(begin, end, new) > 0.0:
        begin, end, new = math.log(begin), math.log(end), math.log(new)
    return abs(new - begin) < abs(new - end)


def _typical(values: Sequence[float]) -> float:
    return float(np.median(values))
