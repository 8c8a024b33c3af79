"""Rules about where a loss goes: overfitting, still falling, stopped early, converged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean

from rmsprop.lab.verdict.curves import LossCurves
from rmsprop.lab.verdict.facts import Advice, Fact, lr_or_none
from rmsprop.lab.verdict.levels import (
    ALONE,
    FEWEST_FOR_TREND,
    SUPPORTED,
    SURE,
    Fall,
    error,
    last_fall,
    rises_to_end,
    smooth,
    tail,
    tail_length,
    trend,
)

# Batches make the loss of two neighbouring epochs differ by a few per cent; a change below is not called one.
FALLING = 0.05
# That is meant for an end of so many epochs. A shorter one falls less, and is called falling for less.
_FALLING_POINTS = 5
# Late in a run a large relative fall can be of no use: below this share of the initial loss it doesn't count.
_WORTHWHILE = 0.002
# A run that is to be twice as long has to fall by as much again in the end of what is added: if each part of the curve
# falls by less than this share of the part before it, the next parts hardly fall any more.
_GOES_ON = 0.5
# So far above the least that is of use a fall has to be, in standard errors; a training loss that falls with the
# validation loss, half as far.
_CLEAR, _CLEAR_TOGETHER = 1.0, 0.5
# Where each of two curves falls, or of two signs each says that one rises, so many standard deviations of both together
# are as rare in noise as those of `SUPPORTED`, and this is the least that each of them has to have.
_TOGETHER, _LEAST = 2.7, 1.4
# The validation loss of a finished run wanders by about 5 %, and by up to 11 % where it is a twentieth of the initial
# one (measured: the built-in problems, 3 seeds each). A rise has to be above both.
_OVERFIT_RISE, _OVERFIT_FLOOR = 0.10, 0.02
# A schedule ends with small steps, so every curve ends flat. What counts is whether the loss was falling by this share
# at the last epoch with at least half of the highest learning rate, and then fell by this share of the initial loss
# (measured: half of it at most in the built-in problems, 3 seeds each). Up to there it is seen in thirds: steps are
# large, so that in a fifth of a short run one bad epoch would decide.
_HALF, _CUT_SHORT, _THIRDS = 0.5, 0.02, 3
# Steps of this share of the largest would still have brought a loss down that was to fall further.
_LARGE = 0.25


def overfitting(curves: LossCurves) -> Fact | None:
    """Find a validation loss that rises while the training loss doesn't; a training loss at 0 is no excuse."""
    validation = curves.validation
    if not validation:
        return None
    smoothed = smooth(validation)
    best = last_lowest(smoothed, validation)
    end, rise = tail(validation), tail(validation) - smoothed[best]
    floor = max(_OVERFIT_RISE * curves.scale(smoothed[best]), _OVERFIT_FLOOR * curves.scale(curves.initial_judged))
    if rise <= floor or len(validation) - 1 - best < tail_length(validation):
        return None
    train = curves.train
    if not _rises_surely(curves, best) or tail(train) > max(smooth(train)[best], train[best]):
        return None
    lowest = min(smoothed[best], validation[best])  # what is told of is that epoch's own
    numbers = {"lowest": lowest, "end": end, "train_then": train[best], "train_now": tail(train)}
    earlier = (Advice("stop earlier", curves.length(curves.times[best])),) if best else ()
    return Fact(
        kind="overfitting",
        sign="validation loss",
        since=curves.times[best],
        numbers=numbers,
        advice=(*earlier, Advice("smaller model"), Advice("more weight decay")),
    )


def _rises_surely(curves: LossCurves, best: int) -> bool:
    """Tell whether noise alone wouldn't rise like this from its lowest point; less does where training goes on."""
    rest = curves.validation[best:]
    signs = [rises_to_end(curves.validation, best), *([trend(rest)] if len(rest) >= FEWEST_FOR_TREND else [])]
    if _goes_on(curves, best):
        return mean(signs) > SUPPORTED and min(signs) > _LEAST
    return min(signs) > SURE


def _goes_on(curves: LossCurves, since: int) -> bool:
    """Tell whether the training loss falls on after a point."""
    before = smooth(curves.train)[since]
    return trend(curves.train[since:]) < -ALONE and before - tail(curves.train) > FALLING * curves.scale(before)


def last_lowest(smoothed: Sequence[float], losses: Sequence[float]) -> int:
    """Return where losses are lowest.

    Neighbouring medians are often the same number: the loss itself tells them apart. Of equal losses it is the last, as
    a curve that is still level hasn't risen yet.
    """
    return min(range(len(losses)), key=lambda n: (smoothed[n], losses[n], -n))


def stopped_early(curves: LossCurves) -> Fact | None:
    """Say that a run was stopped because its validation loss got no lower, though the end of its curve may fall."""
    if curves.patience is None:
        return None
    seen = range(1 if curves.knows_start else 0, len(curves.validation))
    best = min(seen, key=lambda n: curves.validation[n], default=None)
    lowest = {} if best is None else {"lowest": curves.validation[best], "best": curves.times[best]}
    return Fact(
        kind="stopped early",
        sign="no lower validation loss",
        numbers={**lowest, "patience": curves.patience, "last": curves.times[-1]},
        advice=(Advice("more patience", 2 * curves.patience),) if _fall(curves) else (),
    )


def falling(curves: LossCurves) -> Fact | None:
    """Find a loss that would fall further if the run went on, or had its learning rate longer."""
    return None if curves.patience is not None else _fall(curves)


def _fall(curves: LossCurves) -> Fact | None:
    fall, train = last_fall(curves.judged), last_fall(curves.train)
    surely = _is_falling(curves, fall, train)
    by_train = not surely and _falls_with_training(curves, train)
    if not (surely or by_train):
        return _cut_short(curves)
    return Fact(
        kind="still falling",
        sign="training loss" if by_train else "falling at the end",
        numbers=_numbers(curves, train if by_train else fall),
        advice=(Advice("train longer", _twice(curves) if _supports_number(curves) else None),),
    )


def _twice(curves: LossCurves) -> int:
    return 2 * curves.length(curves.times[-1])


def _is_falling(curves: LossCurves, fall: Fall, train: Fall) -> bool:
    """Tell whether the curve that is judged falls: surely, or less so where the training loss falls, too."""
    is_supported = train.sureness > 0.0 and _is_worthwhile(curves, train, curves.initial)
    return _is_worthwhile(curves, fall, curves.initial_judged) and fall.sureness > (
        SUPPORTED if is_supported else ALONE
    )


def _falls_with_training(curves: LossCurves, train: Fall) -> bool:
    """Tell whether the training loss falls, and the validation loss seems to, but is too noisy to tell."""
    validation = curves.validation
    if not validation or train.before - train.now <= _least(curves, train, curves.initial, FALLING, _CLEAR_TOGETHER):
        return False
    length, signs = tail_length(validation), (train.sureness, -trend(validation[len(validation) // 2 :]))
    unsure = error(validation, len(validation) - length, length)
    return 2 * unsure > FALLING * curves.scale(tail(validation)) and min(signs) > 0.0 and sum(signs) > _TOGETHER


def _is_worthwhile(curves: LossCurves, fall: Fall, initial: float) -> bool:
    share = FALLING * min(1.0, fall.points / _FALLING_POINTS)
    return fall.before - fall.now > _least(curves, fall, initial, share, _CLEAR)


def _least(curves: LossCurves, fall: Fall, initial: float, share: float, clear: float) -> float:
    """Return by how much a loss has to fall to be called falling."""
    return max(share * curves.scale(fall.before), _WORTHWHILE * curves.scale(initial)) + clear * fall.error


def _supports_number(curves: LossCurves) -> bool:
    """Tell whether the curve doesn't flatten so much that as much time again would be of no use."""
    losses, length = curves.judged, tail_length(curves.judged)
    if len(losses) < 3 * length:
        return True
    first, second, third = (tail(losses[: len(losses) - k * length]) for k in (2, 1, 0))
    return second - third >= _GOES_ON * (first - second)


def _lively(curves: LossCurves) -> int:
    """Return the last point with at least half of the highest learning rate; 0 if no rate is known."""
    highest = max((rate for rate in curves.rates if math.isfinite(rate)), default=0.0)
    return max((n for n, rate in enumerate(curves.rates, start=1) if rate >= _HALF * highest > 0.0), default=0)


def _cut_short(curves: LossCurves) -> Fact | None:
    lively, losses = _lively(curves), curves.judged
    if not 0 < lively < len(losses) - 1:
        return None
    fall = last_fall(losses[: lively + 1], _THIRDS)
    if _settled_before(curves):
        return None
    end, initial = tail(losses), curves.scale(curves.initial_judged)
    least = max(_CUT_SHORT * curves.scale(fall.before), _WORTHWHILE * initial)
    if not (fall.sureness > SUPPORTED and fall.before - fall.now > least and fall.now - end >= _CUT_SHORT * initial):
        return None
    return Fact(
        kind="still falling",
        sign="cut short by the schedule",
        since=curves.times[lively],
        numbers=_numbers(curves, fall, lively) | {"end": end},
        advice=(Advice("train longer", _twice(curves)), Advice("raise lr", lr_or_none(3 * curves.lr))),
    )


def _settled_before(curves: LossCurves) -> bool:
    """Tell whether the last third was level, though it began with steps that were still large."""
    start = 2 * len(curves.judged) // 3
    rates, last = curves.rates, curves.judged[start:]
    is_seen = len(last) >= FEWEST_FOR_TREND and start <= len(rates) and rates[start - 1] >= _LARGE * max(rates)
    return is_seen and trend(last) > -SUPPORTED


def converged(curves: LossCurves) -> Fact:
    """Say that the loss is level: what is left when no other rule has found anything."""
    slowed = 0 < _lively(curves) < len(curves.judged) - 1
    return Fact(
        kind="converged",
        sign="level at the end of the schedule" if slowed else "level",
        numbers=_numbers(curves, last_fall(curves.judged)),
    )


def _numbers(curves: LossCurves, fall: Fall, end: int | None = None) -> dict[str, float]:
    last = len(curves.times) - 1 if end is None else end
    duration = curves.times[last] - curves.times[last - fall.points]
    return {"before": fall.before, "now": fall.now, "duration": duration, "noise": fall.noise}
