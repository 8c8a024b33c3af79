"""Compares optimizers, measure by measure: never one ranking of all that counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmsprop.lab.compare.ranking import Measure, Ranking, ranked
from rmsprop.lab.compare.results import Comparison, Run, Track, best_validation
from rmsprop.lab.compare.statistics import simultaneous
from rmsprop.lab.compare.targets import LossTarget, main_target, targets, until_half

# In the order in which they are told.
TRACK_TITLES: dict[Track, str] = {"tuned": "Equal tuning", "defaults": "Default settings"}


@dataclass(frozen=True)
class Reached:
    """What it takes an optimizer to reach a target.

    Args:
        optimizer: Its name.
        steps: Per seed, infinity where it never did.
        half: Steps until half of the runs had.
        evaluations: Gradient evaluations until then.
        seconds: Seconds of a single run until then, at the measured time per step.
    """

    optimizer: str
    steps: tuple[float, ...]
    half: float
    evaluations: float
    seconds: float

    @property
    def share(self) -> float:
        """The share of runs that reached it."""
        return sum(map(math.isfinite, self.steps)) / len(self.steps)


@dataclass(frozen=True)
class Analysis:
    """What a comparison says.

    Args:
        comparison: The comparison.
        labels: What each optimizer is called.
        tracks: The tracks that there are runs of.
        rankings: One per track and measure.
        targets: What runs should reach, from the easiest to the hardest.
        target: The one that tables show; None without any.
        level: The confidence level of each difference, so that all of one measure and track hold together at 95 %.
        alike: The tracks in which all seeds of a study give the same run, as on a surface without noise.
    """

    comparison: Comparison
    labels: dict[str, str]
    tracks: tuple[Track, ...]
    rankings: tuple[Ranking, ...]
    targets: tuple[LossTarget, ...]
    target: LossTarget | None
    level: float
    alike: frozenset[Track]

    @property
    def reference(self) -> str:
        """What the reference is called."""
        return self.labels[self.comparison.reference]

    def ranking(self, track: Track, key: str) -> Ranking:
        """Return the ranking of a track by the measure with this key."""
        return next(found for found in self.rankings if (found.track, found.measure.key) == (track, key))

    def by(self, track: Track) -> tuple[Ranking, ...]:
        """Return the rankings of a track."""
        return tuple(ranking for ranking in self.rankings if ranking.track == track)

    def runs(self, track: Track, optimizer: str) -> list[Run]:
        """Return the runs of an optimizer in a track, in the order of their seeds."""
        return runs_of(self.comparison, track, optimizer)

    def reached(self, track: Track, target: LossTarget) -> tuple[Reached, ...]:
        """Return what it takes each optimizer of a track to reach a target."""
        names = self.comparison.optimizers
        return tuple(_reached(self.comparison, name, self.runs(track, name), target) for name in names)


def analyse(comparison: Comparison) -> Analysis:
    """Compare the optimizers of a comparison with its reference, measure by measure.

    Args:
        comparison: What was run.

    Returns:
        The analysis.
    """
    tracks = tuple(track for track in TRACK_TITLES if any(run.track == track for run in comparison.runs))
    found = targets(comparison)
    target = main_target(comparison, found)
    level = simultaneous(len(comparison.optimizers) - 1)
    measures = _measures(comparison, target)
    labels = {run.optimizer: run.choice.label for run in comparison.runs}
    alike = frozenset(track for track in tracks if _alike(comparison, track))
    rankings = tuple(
        _rank(comparison, track, measure, level, track in alike) for track in tracks for measure in measures
    )
    return Analysis(comparison, labels, tracks, rankings, found, target, level, alike)


def runs_of(comparison: Comparison, track: Track, optimizer: str) -> list[Run]:
    """Return the runs of an optimizer in a track, in the order of their seeds.

    Args:
        comparison: The comparison.
        track: The track.
        optimizer: The optimizer's name.

    Returns:
        The runs.
    """
    runs = (run for run in comparison.runs if (run.track, run.optimizer) == (track, optimizer))
    return sorted(runs, key=lambda run: run.seed)


def _alike(comparison: Comparison, track: Track) -> bool:
    """Whether seeds make no difference: the runs of each optimizer and study are the same, up to rounding."""
    first: dict[tuple[str, int | None], Run] = {}
    runs = [run for run in comparison.runs if run.track == track]
    pairs = [(run, first.setdefault((run.optimizer, run.study), run)) for run in runs]
    return len(first) < len(runs) and all(
        np.allclose(run.curve.train, other.curve.train, rtol=1e-9, atol=0.0) for run, other in pairs
    )


def _measures(comparison: Comparison, target: LossTarget | None) -> list[Measure]:
    facts, optimum = comparison.facts, comparison.facts.optimum
    if optimum is None:
        loss = Measure("loss", "validation loss", higher_is_better=False, value=_best_loss)
    else:  # then there is nothing to overfit to
        loss = Measure("gap", "distance to the least loss", False, lambda run: float(run.curve.train[-1] - optimum))
    name = facts.metric if optimum is not None else f"test {facts.metric}"
    span = 1.0 if _is_share(comparison) else math.inf
    measures = [loss, Measure("metric", name, facts.higher_is_better, _test_metric, span)]
    if target is not None:
        all_steps = facts.epochs * facts.steps_per_epoch
        measures.append(Measure("steps", "steps to the target", False, target.steps, float(all_steps)))
    return measures


def _is_share(comparison: Comparison) -> bool:
    """Whether the metric lies from 0 to 1; a problem of a person's own may leave the unit of anything empty."""
    values = [_test_metric(run) for run in comparison.runs if run.curve.diverged_at is None]
    return not comparison.facts.metric_unit and all(0.0 <= value <= 1.0 for value in values if math.isfinite(value))


def _best_loss(run: Run) -> float:
    return best_validation(run.curve)


def _test_metric(run: Run) -> float:
    return run.curve.test_metric


def _rank(comparison: Comparison, track: Track, measure: Measure, level: float, alike: bool) -> Ranking:
    runs = {name: runs_of(comparison, track, name) for name in comparison.optimizers}
    costs = {name: measure.costs(runs[name]) for name in comparison.optimizers}
    studies = tuple(run.study or 0 for run in runs[comparison.reference])
    return ranked(track, measure, costs, studies, comparison.reference, level, alike=alike)


def _reached(comparison: Comparison, name: str, runs: Sequence[Run], target: LossTarget) -> Reached:
    steps = tuple(target.steps(run) for run in runs)
    half = until_half(steps)
    evaluations, seconds = comparison.evaluations[name], comparison.seconds_per_step.get(name, math.nan)
    return Reached(name, steps, half, half * evaluations, half * seconds)
