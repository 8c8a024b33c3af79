"""Which steps are measured: as many as may be without costing more than a share of the loop's time."""

from __future__ import annotations

import math
from time import perf_counter

# Shares of the loop's time that writing losses and measuring steps may take. Being given a loss and hearing of a step
# cost some microseconds besides (`python -m benchmarks.recorder`).
LOSSES_SHARE, STATISTICS_SHARE = 0.001, 0.002
# Before that so many seconds may be spent on steps, each so many times as far as the one before: the first steps are
# the largest where v₀ is 0, and a short run is to be seen whole.
ALLOWANCE, APART = 0.1, 1.25
# Whatever it costs, steps 1, 2, 5, 10, 20, 50, 100, ... are measured: on a busy machine a few slow measurements would
# else leave a run without any, and there are only three of them in each tenfold of steps.
MARKS = (1, 2, 5)
# A file of a long run needs no more points than a picture can show: they are at least so large a part of it apart.
FINENESS = 200


class MeasuringBudget:
    """Decides which steps are measured, from what measuring has cost.

    Args:
        step: The steps that were taken before.
        every: Measure every so many steps whatever it costs; None to let costs decide.
    """

    def __init__(self, step: int, every: int | None) -> None:
        """See the class."""
        self._every = every
        self._last = step
        self._left = ALLOWANCE
        self._cost = 0.0
        self._first = True
        self._statistics_due = self._losses_due = 0.0
        self._marked = step + 1.0  # the next step that is measured whatever the time is

    def losses_are_due(self) -> bool:
        """Tell whether losses may be written."""
        return perf_counter() >= self._losses_due

    def wrote_losses(self, seconds: float) -> None:
        """Take note of what writing losses has cost.

        Args:
            seconds: The time it took.
        """
        self._losses_due = perf_counter() + seconds / LOSSES_SHARE

    def measures(self, step: int) -> bool:
        """Tell whether to measure a step.

        Args:
            step: Its number, from 1.

        Returns:
            Whether to.
        """
        if self._every is not None:
            return step % self._every == 0
        if step >= self._marked:
            return True
        return perf_counter() >= self._statistics_due and (step - self._last) * FINENESS >= step

    def quiet(self, step: int) -> tuple[float, float]:
        """Tell how long there is nothing to do, if the next step isn't measured.

        Args:
            step: The last step.

        Returns:
            A step and a time: until one of them is reached there is nothing to write, and no next step to measure.
        """
        if self._every is not None:
            return step + self._every - (step + 1) % self._every, self._losses_due
        apart = math.ceil(self._last * FINENESS / (FINENESS - 1)) - 1
        if apart > step:
            return min(self._marked - 1, apart), self._losses_due
        return self._marked - 1, min(self._statistics_due, self._losses_due)

    def spent(self, seconds: float) -> None:
        """Take note of what a part of a measurement has cost.

        Args:
            seconds: The time it took.
        """
        self._cost += seconds

    def measured(self, step: int) -> None:
        """Take note that a measurement is done.

        Args:
            step: The number of the step that was measured.
        """
        if self._first:  # it loads and warms up what the others find ready
            self._first, self._cost = False, 0.0
        if step >= self._marked:
            self._left -= self._cost
            allowed = math.ceil(step * APART) if self._left > 0.0 else math.inf
            self._marked = min(allowed, _next_mark(step))
        self._statistics_due = perf_counter() + self._cost / STATISTICS_SHARE
        self._last, self._cost = step, 0.0


def _next_mark(step: int) -> int:
    """Return the first step after this one that is measured whatever it costs."""
    tens: int = 10 ** (len(str(step)) - 1)
    return next(mark for mark in (*(tens * each for each in MARKS), 10 * tens) if mark > step)
