"""Rules that look at the loss alone: the verdict on its curves, and what else those of other loops may show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rmsprop.lab.diagnose.finding import Finding, Severity
from rmsprop.lab.diagnose.history import History, Statistics, median
from rmsprop.lab.diagnose.readers.names import REWARDS, words
from rmsprop.lab.diagnose.segments import curves_of, is_segmented
from rmsprop.lab.diagnose.sentences import terms
from rmsprop.lab.verdict.facts import Advice, Cause, Fact, Kind
from rmsprop.lab.verdict.judge import judge
from rmsprop.lab.wording import evidence, remedy

# How bad a fact is.
SEVERITIES: Mapping[Kind, Severity] = {
    "diverged": "bad",
    "loss not finite": "warning",
    "spikes": "warning",
    "overfitting": "warning",
    "loss no better than guessing": "warning",
    "stalled": "warning",
    "still falling": "note",
    "stopped early": "note",
    "converged": "fine",
}


def course(history: History) -> Sequence[Finding] | str:
    """Judge the loss: diverged, overfitting, stalled, still falling, converged, spikes and what isn't finite."""
    curves = curves_of(history)
    if isinstance(curves, str):
        return curves
    facts = judge(curves)
    if reward := _reward(history):
        facts = tuple(fact for fact in facts if "loss not finite" in (fact.kind, fact.sign))
        if not facts:
            return f"the loss of an agent follows the values that it learns, and may rise with them: look at {reward}"
    rises = bool(curves.validation) and curves.validation[-1] > min(curves.validation)
    return [_finding(history, _with_travel(history, fact, rises=rises)) for fact in facts]


def _reward(history: History) -> str | None:
    """Return the score of an agent that learns by reward, if the run is one."""
    scores = history.reading.scores if history.reading else ()
    return next((score for score in scores if words(score) & REWARDS), None)


def overfitting(history: History) -> Sequence[Finding] | str:
    """Say why overfitting couldn't be judged; `course` judges it."""
    if not history.is_validated:
        return "no validation loss, or fewer than four"
    return [] if history.holds_out else "validation looks at the training rows"


def _with_travel(history: History, fact: Fact, *, rises: bool) -> Fact:
    """Return a fact with the cause that the way of the weights tells, if it tells one."""
    if fact.kind != "stalled":
        return fact
    moved = travel(history)
    cause = moved.cause if moved.hardly and not rises else fact.cause or moved.cause
    if cause == fact.cause or (cause == "learning rate too low" and rises):
        return fact
    return replace(fact, cause=cause, advice=(Advice("lower lr" if cause == "learning rate too high" else "raise lr"),))


def _finding(history: History, fact: Fact) -> Finding:
    spoken = terms(history, has_points=not is_segmented(history))
    kind: str = fact.kind
    said = evidence(fact, spoken)
    if fact.kind == "stalled":
        kind, said = fact.cause or "plateau", said + travel(history).evidence
    if "step" in fact.numbers:  # whoever trained saw the loss of the step, which no curve of epochs has
        said = f"The run was given up at step {fact.numbers['step']:.0f}. {said}"
    return Finding(
        kind=kind,
        severity=SEVERITIES[fact.kind],
        evidence=said,
        remedy=remedy(fact.advice, spoken),
        since=None if fact.sign == "cut short by the schedule" else fact.since,
        unit=history.unit,
    )


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
