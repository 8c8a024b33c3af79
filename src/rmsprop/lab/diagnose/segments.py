"""A history as curves that can be judged: single batches put together, what isn't finite left out and counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from rmsprop.lab.diagnose.history import History, Series
from rmsprop.lab.verdict.curves import LossCurves, gaps_of
from rmsprop.lab.verdict.levels import beginning, beginning_error

# Segments of a curve of single batches: enough to see a course, few enough to average the batches' noise away.
_MOST, _FEWEST, _POINTS = 40, 5, 10


def curves_of(history: History) -> LossCurves | str:
    """Return the curves of a history.

    Args:
        history: The run's history.

    Returns:
        The curves, or why there is nothing to judge.
    """
    points = _Points(history)
    gaps = gaps_of(history.train.times, history.train.values)
    if not history.train and history.given_up is None:
        return "no training loss"
    ends = points.ends()
    if history.initial is not None:
        ends = [0, *ends]
    lost = history.given_up is not None or (gaps is not None and gaps.lost is not None)
    if len(ends) < 2 and not lost:
        return "fewer than two finite losses"
    train, worst = points.train_at(ends, history.initial)
    return LossCurves(
        times=ends,
        train=train,
        validation=points.validation_at(ends, history.initial) if history.holds_out else (),
        worst=worst,
        worst_times=points.worst_times(ends),
        single=points.single,
        rates=tuple(_at(points.lr, until) for until in ends[1:]),
        lr=_asked_for(history, points),
        knows_start=history.initial is not None,
        start_error=points.start_error(ends) if history.initial is None else 0.0,
        constant=history.constant_loss,
        constant_validation=history.constant_validation_loss,
        lost=history.given_up,
        gaps=gaps,
        validation_gaps=gaps_of(history.validation.times, history.validation.values),
        first_steps_largest=_begins_at_zero(history),
        patience=history.patience,
        can_clip=history.terms is None,
    )


def _asked_for(history: History, points: _Points) -> float:
    known = points.lr[1]
    return float(np.max(known)) if len(known) else float(history.group.get("lr", math.nan))


def _begins_at_zero(history: History) -> bool:
    """Tell whether the optimizer is an RMSProp whose v begins at 0 and isn't corrected for it."""
    return "decay" in history.group and history.begins_at_zero


_Curve = tuple[np.ndarray, np.ndarray]


class _Points:
    """The points of a history that are finite."""

    def __init__(self, history: History) -> None:
        self.unit = history.unit
        self.validated = history.is_validated
        self.train, self.validation = _finite(history.train), _finite(history.validation)
        self.worst, self.lr = _finite(history.worst or history.train), _finite(history.lr)

    @property
    def segmented(self) -> bool:
        """Whether several losses of batches make a segment, which no validation ends."""
        return not self.validated and self.unit == "step" and len(self.train[0]) > _MOST

    @property
    def single(self) -> Sequence[tuple[int, float]]:
        """The training losses, each with its time."""
        times, losses = self.train
        return tuple(zip(times.tolist(), losses.tolist(), strict=True))

    def ends(self) -> list[int]:
        """Return the times at which segments end: validations, or training losses, or every few of these."""
        times = self.validation[0] if self.validated else self.train[0]
        if not len(self.train[0]):
            return []
        if not self.segmented:
            return [int(time) for time in times if time >= self.train[0][0]]
        segments = min(_MOST, max(_FEWEST, len(times) // _POINTS))
        return [int(times[round(i)]) for i in np.linspace(0, len(times) - 1, segments + 1)]

    def train_at(self, ends: Sequence[int], initial: tuple[float, float] | None) -> tuple[list[float], list[float]]:
        """Return the mean training loss, and the largest, of the segments; before the first mean, that of the start."""
        if not ends or not len(self.train[0]):
            return ([initial[0]] if initial else [math.nan]), []
        train, worst = [initial[0] if initial else self._start(ends)], []
        highest = float(self.train[1][0])
        for after, until in pairwise(ends):
            losses, largest = _between(self.train, after, until), _between(self.worst, after, until)
            highest = float(largest.max()) if len(largest) else highest
            train.append(float(losses.mean()) if len(losses) else train[-1])
            worst.append(highest)
        return train, worst

    def worst_times(self, ends: Sequence[int]) -> tuple[int, ...]:
        """Return when the largest loss of each segment was; at its end where none is known."""
        found = []
        for after, until in pairwise(ends):
            times, losses = (_between((self.worst[0], part), after, until) for part in self.worst)
            found.append(int(times[losses.argmax()]) if len(losses) else until)
        return tuple(found)

    def _start(self, ends: Sequence[int]) -> float:
        """Return the training loss at the beginning: the first, and what only noise tells from it."""
        return beginning(self.train[1].tolist(), most=self._first(ends))

    def start_error(self, ends: Sequence[int]) -> float:
        """Return the standard error of that loss: it is of fewer batches than those after it."""
        return beginning_error(self.train[1].tolist(), most=self._first(ends)) if ends and len(self.train[0]) else 0.0

    def _first(self, ends: Sequence[int]) -> int:
        """Return how many losses may belong to the beginning."""
        until = ends[1] if self.segmented else ends[0]
        return max(1, int(np.searchsorted(self.train[0], until, "right")))

    def validation_at(self, ends: Sequence[int], initial: tuple[float, float] | None) -> list[float]:
        """Return the validation losses at these times; none if there are too few."""
        if not self.validated:
            return []
        losses = [_at(self.validation, time) for time in ends]
        return [initial[1], *losses[1:]] if initial else losses


def is_segmented(history: History) -> bool:
    """Tell whether points of the curves stand for several losses of batches."""
    points = _Points(history)
    return points.segmented or (points.validated and points.unit == "step")


def _finite(curve: Series) -> _Curve:
    times, values = np.array(curve.times, dtype=int), np.array(curve.values, dtype=float)
    return times[np.isfinite(values)], values[np.isfinite(values)]


def _between(points: _Curve, after: int, until: int) -> np.ndarray:
    times, values = points
    return values[np.searchsorted(times, after, "right") : np.searchsorted(times, until, "right")]


def _at(points: _Curve, time: int) -> float:
    """Return the last value up to a time."""
    times, values = points
    last = int(np.searchsorted(times, time, "right")) - 1
    return float(values[last]) if last >= 0 else math.nan
