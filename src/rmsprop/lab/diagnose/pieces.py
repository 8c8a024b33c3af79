"""A curve of any number of points, cut into pieces that a verdict can judge as if they were epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from rmsprop.lab.diagnose.history import History, Series
from rmsprop.lab.train.history import Epoch
from rmsprop.lab.train.verdict import Record, Words

# Pieces of a curve of single batches: enough to see a course, few enough to average the batches' noise away.
MOST_PIECES, FEWEST_PIECES, POINTS_PER_PIECE = 40, 5, 10
# Fewer validations than these don't make a curve.
FEWEST_VALIDATIONS = 4
# The loss before training is that of the first batch, or the median of so large a part of them where single batches
# differ by more than this share of their mean.
FIRST_PART, NOISY = 0.01, 0.5
OTHERS = Words(
    lr="lr={:.2g}",
    length="{} steps",
    longer="{} steps",
    decay="a decay",
    weight_decay="the weight decay",
    warmup="a warm-up",
    schedule="a cosine, say",
    piece="stretch",
    pieces="stretches",
    start="at the beginning",
    unit="step",
)


def record_of(history: History) -> Record | str:
    """Return the curves as a verdict wants them.

    Args:
        history: The run's history.

    Returns:
        The curves, without points that aren't finite, or why there is nothing to judge.
    """
    curves = _Curves(history)
    if len(curves.train[0]) < 2:
        return "no training loss" if not history.train else "fewer than two finite losses"
    ends = curves.ends()
    if history.initial is not None:
        ends = [0, *ends]
    if len(ends) < 2:
        return "fewer than two pieces of the curve"
    first, first_validation = history.initial or curves.beginning(ends[0])
    return Record(
        lr=float(np.max(curves.lr[1])) if len(curves.lr[1]) else math.nan,
        initial_loss=first,
        initial_validation_loss=first_validation if curves.validated else first,
        constant_loss=history.constant_loss,
        steps_per_epoch=1,
        epochs=curves.epochs(ends),
        holds_out=history.holds_out and curves.validated,
        words=replace(history.words, times=tuple(ends)),
    )


def has_validation(history: History) -> bool:
    """Tell whether there are enough validation losses to judge by."""
    return sum(map(math.isfinite, history.validation.values)) >= FEWEST_VALIDATIONS


Points = tuple[np.ndarray, np.ndarray]


class _Curves:
    """The curves of a history without what isn't finite."""

    def __init__(self, history: History) -> None:
        self.unit = history.unit
        self.validated = has_validation(history)
        self.train, self.validation = _finite(history.train), _finite(history.validation)
        self.worst, self.lr = _finite(history.worst or history.train), _finite(history.lr)

    def ends(self) -> list[int]:
        """Return the times at which pieces end: validations, or points of the training loss, or every few of these."""
        times = self.validation[0] if self.validated else self.train[0]
        if self.validated or self.unit == "epoch" or len(times) <= MOST_PIECES:
            return [int(time) for time in times if time >= self.train[0][0]]
        pieces = min(MOST_PIECES, max(FEWEST_PIECES, len(times) // POINTS_PER_PIECE))
        return [int(times[round(i)]) for i in np.linspace(0, len(times) - 1, pieces + 1)]

    def beginning(self, start: int) -> tuple[float, float]:
        """Return the losses of the first points, which stand for the time before the first step."""
        losses = self.train[1]
        last = losses[-max(FEWEST_PIECES, len(losses) // MOST_PIECES) :]
        noisy = self.unit == "step" and last.std() > NOISY * abs(last.mean())
        first = float(np.median(losses[: max(1, round(FIRST_PART * len(losses)))]) if noisy else losses[0])
        # What isn't trained yet does as badly on other data, and the first validation may come late.
        return first, max(first, _at(self.validation, start)) if self.validated else first

    def epochs(self, ends: Sequence[int]) -> tuple[Epoch, ...]:
        """Return what is known of the pieces between these times."""
        epochs = []
        train = worst = float(self.train[1][0])
        for number, (after, until) in enumerate(pairwise(ends), start=1):
            losses, largest = _between(self.train, after, until), _between(self.worst, after, until)
            train, worst = (float(losses.mean()), float(largest.max())) if len(losses) else (train, worst)
            validation = _at(self.validation, until) if self.validated else train
            epochs.append(Epoch(number, until, _at(self.lr, until), train, validation, math.nan, math.nan, worst, {}))
        return tuple(epochs)


def _finite(curve: Series) -> Points:
    times, values = np.array(curve.times, dtype=int), np.array(curve.values, dtype=float)
    return times[np.isfinite(values)], values[np.isfinite(values)]


def _between(points: Points, after: int, until: int) -> np.ndarray:
    times, values = points
    return values[np.searchsorted(times, after, "right") : np.searchsorted(times, until, "right")]


def _at(points: Points, time: int) -> float:
    """Return the last value up to a time."""
    times, values = points
    last = int(np.searchsorted(times, time, "right")) - 1
    return float(values[last]) if last >= 0 else math.nan
