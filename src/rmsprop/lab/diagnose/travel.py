"""How far the weights moved, which tells a learning rate that is too high from one that is too low."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rmsprop.lab.diagnose.history import History, Statistics, median
from rmsprop.lab.verdict.facts import Cause

# If all steps went the same way, weights that moved less than this share of themselves in a whole run were hardly
# trained; a single step that changes them by more than this leaves nothing of what was learnt.
HARDLY, TOO_MUCH = 0.05, 0.1


@dataclass(frozen=True)
class Travel:
    """How far weights moved in a step and in the whole run, as shares of themselves; NaN where it isn't known."""

    per_step: float
    total: float

    @property
    def hardly(self) -> bool:
        """Whether the weights have hardly moved."""
        return self.total < HARDLY

    @property
    def cause(self) -> Cause | None:
        """What it says about the learning rate, if anything."""
        if self.hardly:
            return "learning rate too low"
        return "learning rate too high" if self.per_step > TOO_MUCH else None

    @property
    def evidence(self) -> str:
        """A sentence, with a space before it; empty if nothing is known."""
        if math.isnan(self.per_step):
            return ""
        return (
            f" A step changes the weights by {self.per_step:.2g} of themselves, all steps by {self.total:.2g} at most."
        )


def travel(history: History) -> Travel:
    """Return how far the weights moved.

    Args:
        history: The run's history.

    Returns:
        The distance.
    """
    ratios = history.statistics.of("ratio") if history.statistics else None
    if history.statistics is None or ratios is None:
        return Travel(math.nan, math.nan)
    ratios = np.where(_unmoved(history.statistics), math.nan, ratios)
    weights = [i for i, layer in enumerate(history.statistics.layers) if layer["weights"]]
    rows = ratios[:, weights] if weights else ratios
    per_step = [median(row[np.isfinite(row)]) for row in rows]
    steps, known = np.array(history.statistics.steps, dtype=float), ~np.isnan(per_step)
    if known.sum() < 1:
        return Travel(math.nan, math.nan)
    every = np.interp(np.linspace(1, history.end, 1000), steps[known], np.array(per_step)[known])
    return Travel(median(per_step[len(per_step) // 2 :]), float(every.mean() * history.end))


def _unmoved(statistics: Statistics) -> np.ndarray:
    """Return where the gradient of all weights is 0: no learning rate moves them."""
    shares = [statistics.of(name) for name in ("still", "still_weights")]
    known = [np.zeros_like(statistics.values["ratio"]), *(share for share in shares if share is not None)]
    return np.asarray(np.fmax.reduce(known) >= 1.0)
