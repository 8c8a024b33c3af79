"""From single timings to results: medians, ratios within rounds, goals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cases import Case, Limit
from benchmarks.contenders import OURS
from benchmarks.floor import FLOORS
from benchmarks.goals import Goal
from benchmarks.timing import Sample

FLOOR = "floor"
Seconds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Row:
    """The timings of one contender in one case, in seconds per step, by the wall clock unless said otherwise.

    Args:
        contender: Who, or `FLOOR`.
        median: The median.
        low: The lower quartile.
        high: The upper quartile.
        least: The smallest.
        times_ours: The median over all rounds of its time divided by ours in the same round.
        times_low: The lower quartile of these quotients.
        times_high: Their upper quartile.
        processor: Processor time, the mean of the middle half: threads' time is exact to a tick of the system's clock
            only, so that a median would be of a few values.
        processor_times_ours: This mean divided by ours.
    """

    contender: str
    median: float
    low: float
    high: float
    least: float
    times_ours: float
    times_low: float
    times_high: float
    processor: float
    processor_times_ours: float


def summarize(case: Case, samples: Iterable[Sample]) -> dict[str, Any]:
    """Summarize the timings of a case.

    Args:
        case: The case.
        samples: All its timings.

    Returns:
        ``rows``, ``goals`` and the bandwidth of our median step in GB/s.
    """
    seconds = _by_contender(samples)
    ours = seconds[OURS]
    rows = [_row(name, values, ours) for name, values in seconds.items()]
    by_name = {row.contender: row for row in rows}
    goals = [Goal(case.heading, f"times {name}", n, by_name[name].times_ours) for name, n in case.at_least.items()]
    goals += [_limited(case, limit, by_name) for limit in case.limits]
    if case.floor is not None:
        goals.append(Goal(case.heading, "floor / rmsprop", case.floor, by_name[FLOOR].times_ours))
    return {"rows": rows, "goals": goals, "gigabytes_per_second": case.bytes_per_step / by_name[OURS].median / 1e9}


def _limited(case: Case, limit: Limit, rows: Mapping[str, Row]) -> Goal:
    used = rows[limit.who].processor
    measured = used / rows[limit.of].processor if limit.of else used * 1e6
    return Goal(case.heading, limit.text, limit.most, measured, at_least=False)


def _by_contender(samples: Iterable[Sample]) -> dict[str, np.ndarray]:
    """Return placements × rounds × (wall, processor) seconds per step.

    The floors become one: in each placement the faster of them.
    """
    lists: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for sample in sorted(samples, key=lambda sample: (sample.placement, sample.round)):
        lists.setdefault(sample.contender, {}).setdefault(sample.placement, []).append(sample.per_step)
    arrays = {name: np.array(list(placements.values())) for name, placements in lists.items()}
    if floors := [arrays.pop(name) for name in FLOORS if name in arrays]:
        arrays[FLOOR] = _fastest(floors)
    return arrays


def _fastest(runners: Sequence[np.ndarray]) -> np.ndarray:
    chosen = np.argmin([np.median(times[..., 0], axis=1) for times in runners], axis=0)
    return np.array([runners[runner][placement] for placement, runner in enumerate(chosen)])


def _row(contender: str, seconds: np.ndarray, ours: np.ndarray) -> Row:
    wall, processor = seconds[..., 0], _middle_mean(seconds[..., 1])
    low, median, high = np.quantile(wall, [0.25, 0.5, 0.75]).tolist()
    times_low, times_ours, times_high = np.quantile(wall / ours[..., 0], [0.25, 0.5, 0.75]).tolist()
    times = times_ours, times_low, times_high
    return Row(
        contender, median, low, high, float(wall.min()), *times, processor, processor / _middle_mean(ours[..., 1])
    )


def _middle_mean(values: np.ndarray) -> float:
    """Return the mean without the least and the largest quarter, which others on the machine disturb."""
    quarter = values.size // 4
    return float(np.sort(values, axis=None)[quarter : values.size - quarter].mean())
