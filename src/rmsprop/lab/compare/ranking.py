"""Optimizers ranked by one measure: what each run costs, averages with their intervals, and who is told from whom."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from rmsprop.lab.compare.results import Run, Track
from rmsprop.lab.compare.statistics import (
    Draws,
    Estimate,
    Floats,
    differences,
    estimate,
    improvement,
    of_studies,
    possible,
    quantile,
    resamples,
    widened,
)

Outcome = Literal["better", "worse", "not distinguishable"]


@dataclass(frozen=True)
class Measure:
    """Something by which runs are compared.

    Args:
        key: A word for it.
        name: What it is, so that "by ..." can be said of it.
        higher_is_better: Whether the larger of two values wins.
        value: Its value in a run; NaN and a divergence count as the worst there can be.
        span: How far two of its values can be apart. Default: any distance.
    """

    key: str
    name: str
    higher_is_better: bool
    value: Callable[[Run], float]
    span: float = math.inf

    def costs(self, runs: Sequence[Run]) -> Floats:
        """Return what the runs cost by this measure: its values, negated if higher is better, infinity for the lost.

        Args:
            runs: The runs.

        Returns:
            One number per run; less is better.
        """
        values = np.array([math.nan if run.curve.diverged_at is not None else self.value(run) for run in runs])
        return np.where(np.isnan(values), np.inf, -values if self.higher_is_better else values)

    def shown(self, cost: float) -> float:
        """Return the value that costs so much."""
        return -cost if self.higher_is_better else cost


@dataclass(frozen=True)
class Standing:
    """How one optimizer does by one measure, in costs: less is better.

    Args:
        optimizer: Its name.
        costs: One per seed, in the order of the seeds.
        center: The interquartile mean with its 95 % interval.
        quartiles: The lower quartile, the median and the upper quartile.
        difference: The interquartile mean of its costs minus the reference's, seed by seed; None for the reference.
        improvement: The probability that it beats the reference; None for the reference.
    """

    optimizer: str
    costs: Floats
    center: Estimate
    quartiles: tuple[float, float, float]
    difference: Estimate | None = None
    improvement: Estimate | None = None

    @property
    def outcome(self) -> Outcome | None:
        """What can be said of it against the reference; None of the reference itself."""
        if self.difference is None:
            return None
        if not self.difference.decided:
            return "not distinguishable"
        return "better" if self.difference.high < 0.0 else "worse"


@dataclass(frozen=True)
class Ranking:
    """All optimizers by one measure in one track.

    Args:
        track: Which runs.
        measure: The measure.
        standings: One per optimizer, in the order of the comparison.
    """

    track: Track
    measure: Measure
    standings: tuple[Standing, ...]

    @property
    def leader(self) -> Standing | None:
        """Whose interquartile mean is best; None if every one is infinite."""
        best = min(self.standings, key=lambda standing: standing.center.value)
        return best if math.isfinite(best.center.value) else None

    def of(self, optimizer: str) -> Standing:
        """Return the standing of one optimizer."""
        return next(standing for standing in self.standings if standing.optimizer == optimizer)


def ranked(
    track: Track,
    measure: Measure,
    costs: Mapping[str, Floats],
    studies: tuple[int, ...],
    reference: str,
    level: float,
    *,
    alike: bool,
) -> Ranking:
    """Compare optimizers with one of them by what their runs cost.

    Args:
        track: Which runs.
        measure: The measure.
        costs: Per optimizer one cost per seed, in the order of the seeds: what `Measure.costs` gives.
        studies: The study of each seed, all equal where nothing was tuned.
        reference: The optimizer that the others are compared with.
        level: The confidence level of each difference.
        alike: Whether all seeds of a study give the same run.

    Returns:
        The ranking, in the order of ``costs``.
    """
    drawn = _drawn(studies)

    def difference(name: str) -> Estimate | None:
        if name == reference:
            return None
        values = differences(costs[name], costs[reference])
        if alike and track == "tuned":
            return possible(of_studies(values, studies, level), measure.span)
        found = estimate(values, drawn, level=level)
        return possible(widened(found, values), measure.span) if drawn.units == len(values) else found

    standings = [_standing(name, costs[name], costs[reference], drawn, difference(name)) for name in costs]
    return Ranking(track, measure, tuple(standings))


def _standing(name: str, costs: Floats, reference: Floats, drawn: Draws, difference: Estimate | None) -> Standing:
    low, middle, high = (float(quantile(costs, share)) for share in (0.25, 0.5, 0.75))
    chance = None if difference is None else improvement(costs, reference, drawn)
    return Standing(name, costs, estimate(costs, drawn), (low, middle, high), difference, chance)


@cache
def _drawn(studies: tuple[int, ...]) -> Draws:
    return resamples(studies)
