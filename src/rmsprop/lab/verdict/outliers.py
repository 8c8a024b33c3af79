"""Rules about single losses: a run that diverged, losses that aren't finite, batches that stand out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

from rmsprop.lab.problems.conventions import is_lost
from rmsprop.lab.verdict.curves import Gaps, LossCurves
from rmsprop.lab.verdict.facts import Advice, Fact, lr_or_none
from rmsprop.lab.verdict.levels import tail

# A step of RMSProp is about lr whatever the gradient, so torch's default is small enough for most weights: what to try
# after a divergence, if a tenth of what diverged is more.
_SAFE_LR = 0.01
# No slow beginning makes steps good that are larger than most weights: at lr 3 a run with a warm-up is lost as well.
_HOT_LR = 0.1
# A batch is a spike if its loss is so many times what the worst batches of the epochs before had, and not small.
_SPIKE_FACTOR, _SPIKE_FLOOR, _SPIKE_MEMORY = 4.0, 0.5, 5


def diverged(curves: LossCurves) -> Fact | None:
    """Find a run that was given up, or whose loss is lost at the end: not finite, or far above the first."""
    if curves.lost is not None:
        lost = curves.lost
        numbers = {"step": lost.step}
        return _diverged(curves, curves.times[-1] + 1, lost.loss, numbers, at_once=len(curves.train) == 1)
    gaps = curves.gaps
    if gaps is not None and gaps.lost is not None:
        numbers = {"count": gaps.count, "of": gaps.of, "first": gaps.first}
        return _diverged(curves, gaps.lost, gaps.value, numbers, at_once=False)
    end = tail(curves.train)
    if not is_lost(end, curves.initial):
        return None
    return _diverged(curves, _lost_since(curves), end, {}, at_once=False)


def _lost_since(curves: LossCurves) -> int:
    """Return when the loss was lost: where several losses make a point, when the first of them was."""
    initial = curves.initial
    point = next(n for n, loss in enumerate(curves.train) if is_lost(loss, initial))
    until = curves.times[point]
    after = curves.times[point - 1] if point else -math.inf
    lost = [is_lost(loss, initial) for _, loss in curves.single]
    first = next((n for n, (time, _) in enumerate(curves.single) if after < time <= until and lost[n]), None)
    if first is None:
        return until
    while first and lost[first - 1]:
        first -= 1
    return curves.single[first][0]


def lower_lr(lr: float) -> float:
    """Return the learning rate to try after a run with another one was lost.

    Args:
        lr: The learning rate of that run, NaN if it isn't known.

    Returns:
        A lower one, or NaN.
    """
    return min(lr / 10, _SAFE_LR)


def _diverged(curves: LossCurves, since: int, loss: float, numbers: Mapping[str, float], *, at_once: bool) -> Fact:
    lower = Advice("lower lr", lr_or_none(lower_lr(curves.lr)))
    slowly = (Advice("warm up"),) if at_once and curves.first_steps_largest and not curves.lr > _HOT_LR else ()
    never = (Advice("find what isn't finite"),) if math.isnan(curves.initial) else ()
    return Fact(
        kind="diverged",
        sign="loss far above the first" if math.isfinite(loss) else "loss not finite",
        since=since,
        numbers={"loss": loss, "initial": curves.initial, **numbers},
        cause="learning rate too high",
        advice=(*never, lower, *slowly),
    )


def not_finite(curves: LossCurves) -> tuple[Fact, ...]:
    """Find losses in mid-run that aren't finite: how many, which first, and since when it is finite again."""
    found = []
    if curves.gaps is not None and curves.gaps.lost is None:
        found.append(_not_finite(curves.gaps, "training"))
    if curves.validation_gaps is not None:
        found.append(_not_finite(curves.validation_gaps, "validation"))
    return tuple(found)


def _not_finite(gaps: Gaps, which: str) -> Fact:
    recovered = math.nan if gaps.recovered is None else gaps.recovered
    return Fact(
        kind="loss not finite",
        sign="training loss" if which == "training" else "validation loss",
        since=gaps.first,
        numbers={
            "count": gaps.count,
            "of": gaps.of,
            "first": gaps.first,
            "value": gaps.value,
            "recovered": recovered,
        },
        advice=(Advice("find what isn't finite"),),
    )


def spikes(curves: LossCurves) -> Fact | None:
    """Find batches whose loss stands out."""
    worst, floor = curves.worst, _SPIKE_FLOOR * curves.scale(curves.initial)
    usual = [median(worst[max(0, e - _SPIKE_MEMORY) : e]) if e else math.inf for e in range(len(worst))]
    if not worst or min(worst) < 0.0:  # of these there is no multiple
        return None
    found = [e for e, loss in enumerate(worst) if loss > max(_SPIKE_FACTOR * usual[e], floor)]
    if not found:
        return None
    highest = max(found, key=worst.__getitem__)
    times = curves.worst_times or curves.times[1:]
    numbers = {"count": len(found), "of": len(worst), "highest": worst[highest], "usual": usual[highest]}
    return Fact(
        kind="spikes",
        sign="batches stood out",
        since=times[found[0]],
        numbers=numbers | {"at": times[highest]},
        advice=(Advice("clip gradients") if curves.can_clip else Advice("lower lr", lr_or_none(curves.lr / 3)),),
    )
