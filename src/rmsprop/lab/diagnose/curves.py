"""Rules that look at the loss alone: the verdict on its curves, and what else those of other loops may show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rmsprop.lab.diagnose.finding import Finding, Severity
from rmsprop.lab.diagnose.history import History
from rmsprop.lab.diagnose.segments import curves_of, is_segmented
from rmsprop.lab.diagnose.sentences import terms
from rmsprop.lab.diagnose.travel import travel
from rmsprop.lab.verdict.facts import Advice, Fact, Kind
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
    "converged": "fine",
}


def course(history: History) -> Sequence[Finding] | str:
    """Judge the loss: diverged, overfitting, stalled, still falling, converged, spikes and what isn't finite."""
    curves = curves_of(history)
    if isinstance(curves, str):
        return curves
    rises = bool(curves.validation) and curves.validation[-1] > min(curves.validation)
    return [_finding(history, _with_travel(history, fact, rises=rises)) for fact in judge(curves)]


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
    words = evidence(fact, spoken)
    if fact.kind == "stalled":
        kind, words = fact.cause or "plateau", words + travel(history).evidence
    if "step" in fact.numbers:  # whoever trained saw the loss of the step, which no curve of epochs has
        words = f"The run was given up at step {fact.numbers['step']:.0f}. {words}"
    return Finding(
        kind=kind,
        severity=SEVERITIES[fact.kind],
        evidence=words,
        remedy=remedy(fact.advice, spoken),
        since=None if fact.sign == "cut short by the schedule" else fact.since,
        unit=history.unit,
    )


def warm_up(history: History) -> Sequence[Finding] | str:
    """Look for a loss that jumps in the first steps, which are the largest where v₀ is 0."""
    if history.unit == "epoch":
        return "no losses of single steps"
    return _jump(history)


# A jump is a median of five losses that is so many times the first loss, and what the run ends with.
_JUMP, _MEDIAN_OF = 2.0, 5
# After so many windows of the average v has forgotten that it began at 0.
_WINDOWS = 3.0


def _jump(history: History) -> Sequence[Finding] | str:
    decay = float(history.group.get("decay", 0.99))
    until = min(_WINDOWS / max(1.0 - decay, 1e-9), 0.5 * history.end)
    early = [i for i, time in enumerate(history.train.times) if time <= until]
    losses = np.array(history.train.values)[early]
    if len(losses) < _MEDIAN_OF:
        return "fewer than five losses of first steps"
    medians = [float(np.median(losses[i : i + _MEDIAN_OF])) for i in range(len(losses) - _MEDIAN_OF + 1)]
    end = float(np.median(history.train.values[-max(_MEDIAN_OF, len(history.train) // 5) :]))
    first = max(losses[0], end)
    peak = int(np.argmax(medians))
    if not (0.0 < _JUMP * first < medians[peak]):
        return []
    highest = peak + int(np.argmax(losses[peak : peak + _MEDIAN_OF]))
    at = history.train.times[early[highest]]
    return [
        Finding(
            kind="warm-up too hot",
            severity="warning",
            evidence=f"The loss rose from {losses[0]:.3g} to {losses[highest]:.4g} at step {at}, and ended at "
            f"{end:.3g}.{_first_strides(history, at)}",
            remedy=_slower(decay, history.end),
            since=at,
        )
    ]


def _slower(decay: float, end: int) -> str:
    """Return the remedy for first steps that are too large; a warm-up has to leave half of the run."""
    memory = round(_WINDOWS / max(1.0 - decay, 1e-9))
    if memory > end:
        return (
            "Begin with bias correction or v₀ = 1 (initial_square_avg=1): v forgets that it began at 0 in about "
            f"{memory} steps, which is longer than the run."
        )
    slowly = min(memory, end // 2)
    return f"Raise the learning rate slowly over the first {slowly} steps, or begin with v₀ = 1 or bias correction."


def _first_strides(history: History, until: int) -> str:
    """Return a sentence on the size of the first steps, with a space before it; empty if it isn't known."""
    strides = history.statistics.of("stride") if history.statistics else None
    if history.statistics is None or strides is None or history.statistics.steps[0] > until:
        return ""
    first = strides[[step <= until for step in history.statistics.steps]]
    return f" A coordinate moved by up to {np.nanmax(first):.2g} learning rates in one of these steps."
