"""Rules that look at the loss alone: the verdict of `rmsprop train`, and what else curves of other loops may show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rmsprop.lab.diagnose.finding import Finding, Severity
from rmsprop.lab.diagnose.history import History
from rmsprop.lab.diagnose.pieces import has_validation, record_of
from rmsprop.lab.diagnose.travel import travel
from rmsprop.lab.problems.conventions import is_lost
from rmsprop.lab.train.curves import tail
from rmsprop.lab.train.verdict import LOST_FACTOR, Record, Verdict, judge

# How bad a verdict of `rmsprop train` is.
SEVERITIES: Mapping[str, Severity] = {
    "diverged": "bad",
    "spikes": "warning",
    "overfitting": "warning",
    "stalled": "warning",
    "still falling": "note",
    "converged": "fine",
}


def course(history: History) -> Sequence[Finding] | str:
    """Judge the loss as `rmsprop train` does: diverged, overfitting, stalled, still falling, converged, spikes."""
    record = record_of(history)
    lost = _lost(history, record)
    if lost:
        return [lost]
    if isinstance(record, str):
        return record
    if min(*record.train, *record.validation) <= 0.0 and history.initial is None:
        return "the loss isn't above 0 everywhere, so that shares of it mean nothing"
    verdicts = judge(record)
    if verdicts[0].kind in ("still falling", "converged") and tail(record.train) > LOST_FACTOR * record.initial_loss:
        # A verdict looks at where the curve goes; of one that began far below, that is the wrong end.
        verdicts = (_above(record), *verdicts[1:])
    return [_finding(history, record, verdict) for verdict in verdicts]


def _above(record: Record) -> Verdict:
    first, end = record.initial_loss, tail(record.train)
    evidence = f"The training loss was {first:.3g} {record.words.start} and is {end:.3g} at the end."
    remedy = f"Try a smaller learning rate, {record.words.lr.format(record.lr / 10)}."
    return Verdict("stalled", None, evidence, remedy, "learning rate too high")


def overfitting(history: History) -> Sequence[Finding] | str:
    """Say why overfitting couldn't be judged; `course` judges it."""
    if not has_validation(history):
        return "no validation loss, or fewer than four"
    return [] if history.holds_out else "validation looks at the training rows"


def _lost(history: History, record: Record | str) -> Finding | None:
    values = history.train.values
    broken = [i for i, loss in enumerate(values) if not math.isfinite(loss)]
    if history.given_up is not None:
        return _given_up(history, history.given_up)
    if broken and broken[-1] == len(values) - 1:
        since = next(i for i in broken if all(not math.isfinite(loss) for loss in values[i:]))
        return _diverged(history, record, history.train.times[since], values[since])
    if not isinstance(record, str) and is_lost(tail(record.train), record.initial_loss):
        since = next(n for n, loss in enumerate(record.train) if is_lost(loss, record.initial_loss))
        return _diverged(history, record, record.words.time(since), tail(record.train))
    return None


def _diverged(history: History, record: Record | str, since: int, loss: float) -> Finding:
    if isinstance(record, str):
        evidence = f"The training loss is {loss} from the beginning."
        remedy = "Look at the data and the model for what isn't finite, and try a much smaller learning rate."
    else:
        verdict = judge(replace(record, lost_at=since, lost_loss=loss))[0]
        evidence, remedy = verdict.evidence, _without_rate(verdict.remedy, record)
    return Finding(kind="diverged", severity="bad", evidence=evidence, remedy=remedy, since=since, unit=history.unit)


def _given_up(history: History, verdict: Verdict) -> Finding:
    """Say what `rmsprop train` said: it saw the loss of the step, which no curve of epochs has."""
    return Finding(
        kind="diverged",
        severity="bad",
        evidence=f"The run was given up at step {verdict.since}. {verdict.evidence}",
        remedy=verdict.remedy,
        since=history.end + 1,
        unit=history.unit,
    )


def _without_rate(remedy: str, record: Record) -> str:
    """Leave out the learning rate to try where the one that was used isn't known."""
    rate = record.words.lr.format(math.nan)
    for shown in (f" ({rate})", f", {rate}", f": {rate}"):
        remedy = remedy.replace(shown, "")
    return remedy


def _finding(history: History, record: Record, verdict: Verdict) -> Finding:
    kind: str = verdict.kind
    evidence, remedy, since = verdict.evidence, _without_rate(verdict.remedy, record), verdict.since
    if kind == "stalled":
        moved = travel(history)
        cause = moved.cause if moved.hardly else verdict.cause or moved.cause
        if cause != verdict.cause:
            remedy = f"Try a {'smaller' if cause == 'learning rate too high' else 'larger'} learning rate."
        kind, evidence = cause or "plateau", evidence + moved.evidence
    return Finding(
        kind=kind,
        severity=SEVERITIES[verdict.kind],
        evidence=evidence,
        remedy=remedy,
        since=None if since is None else record.words.time(since),
        unit=history.unit,
    )
