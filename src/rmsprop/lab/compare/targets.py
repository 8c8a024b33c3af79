"""What a run should reach, and what it costs to get there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmsprop.lab.compare.results import Comparison, Run, best_validation
from rmsprop.lab.compare.statistics import Floats, quantile

# Whoever may set the target. RMSProp in any dialect may not: it is what the comparison is about.
SETTERS = ("sgd", "momentum", "nesterov", "adam")
# How far above the least objective a run should come where that is known.
GAPS = (1e-2, 1e-4, 1e-6)


@dataclass(frozen=True)
class LossTarget:
    """A level that a curve falls to.

    Args:
        level: The objective to reach.
        gap: How far it is above the optimum; None if it is a validation objective.
        setter: The name of the optimizer that set it; None if the optimum did.
    """

    level: float
    gap: float | None = None
    setter: str | None = None

    @property
    def name(self) -> str:
        """The level in words: f − f* at most 1e-4, or a validation loss."""
        if self.gap is not None:
            return f"f − f* at most {self.gap:.0e}".replace("e-0", "e-")
        return f"validation loss at most {self.level:.3g}"

    def steps(self, run: Run) -> float:
        """Return the steps until a run reached the level, in whole epochs, after which the objective is known.

        Args:
            run: The run.

        Returns:
            The steps; infinity if it never did, or diverged later.
        """
        curve = run.curve
        reached = (curve.validation if self.gap is None else curve.train) <= self.level
        if curve.diverged_at is not None or not reached.any():
            return math.inf
        return float(int(reached.argmax()) * curve.steps_per_epoch)


def targets(comparison: Comparison) -> tuple[LossTarget, ...]:
    """Return what the runs of a comparison should reach, from the easiest to the hardest.

    Where the least objective f* is known, that is an f − f* of 1e-2, 1e-4 and 1e-6 on the training rows. Elsewhere it
    is what the best of SGD, momentum, Nesterov and Adam reaches: the least of their medians of the best validation
    objective, tuned if they were tuned.

    Args:
        comparison: The comparison.

    Returns:
        The targets; none if it takes one of these four and no such run ended well.
    """
    optimum = comparison.facts.optimum
    if optimum is not None:
        return tuple(LossTarget(optimum + gap, gap) for gap in GAPS)
    medians = {name: float(quantile(best_losses(runs), 0.5)) for name, runs in _setting_runs(comparison).items()}
    best = min(medians, key=medians.__getitem__, default=None)
    return () if best is None or not math.isfinite(medians[best]) else (LossTarget(medians[best], setter=best),)


def main_target(comparison: Comparison, among: Sequence[LossTarget]) -> LossTarget | None:
    """Return the target that tables show: the hardest that half of the runs of one of the four reached.

    Args:
        comparison: The comparison.
        among: What `targets` gave.

    Returns:
        The target, the easiest if there is no such; None if there is none at all.
    """
    for target in reversed(among):
        for runs in _setting_runs(comparison).values():
            if math.isfinite(until_half([target.steps(run) for run in runs])):
                return target
    return among[0] if among else None


def until_half(costs: Sequence[float]) -> float:
    """Return the cost at which half of the runs, or more, had reached the target.

    Args:
        costs: One per run, infinity for those that never did.

    Returns:
        The cost, infinity if fewer than half did.

    Examples:
        >>> until_half([30.0, 10.0, 20.0, float("inf")])
        20.0
    """
    return sorted(costs)[(len(costs) - 1) // 2]


def best_losses(runs: Sequence[Run]) -> Floats:
    """Return the best validation objective of each run after its first epoch, infinity for those that diverged.

    Args:
        runs: The runs.

    Returns:
        One number per run.
    """
    return np.array([best_validation(run.curve) for run in runs])


def _setting_runs(comparison: Comparison) -> dict[str, list[Run]]:
    tracks = {run.track for run in comparison.runs}
    track = "tuned" if "tuned" in tracks else "defaults"
    names = [name for name in comparison.optimizers if name in SETTERS]
    runs = {name: [run for run in comparison.runs if (run.track, run.optimizer) == (track, name)] for name in names}
    return {name: found for name, found in runs.items() if found}
