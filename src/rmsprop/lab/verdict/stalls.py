"""Rules about a loss that got nowhere: lost again, unchanged, going up and down, no better than guessing."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import median

from rmsprop.lab.verdict.course import FALLING, falling, last_lowest
from rmsprop.lab.verdict.curves import LossCurves
from rmsprop.lab.verdict.facts import Advice, Cause, Fact, Sign, lr_or_none
from rmsprop.lab.verdict.levels import (
    FEWEST_FOR_TREND,
    SURE,
    beginning_length,
    error,
    last_fall,
    noise,
    rises_to_end,
    running,
    smooth,
    tail,
    tail_length,
    trend,
)

# A loss that differs by this share of itself from epoch to epoch, and of the initial one, isn't settling anywhere. It
# is seen in the last half, and the fewer points there are, the larger it has to be: the noise of noise.
_UNSTEADY, _UNSTEADY_FLOOR, _UNSURE = 0.25, 0.01, 2.5
# Steps that are too small make the loss fall in nearly every epoch, and hardly; noise makes it fall in half of them. In
# a few epochs noise does so by chance.
_STEADY, _FEW = 0.8, 10
# In noise too large for that it falls surely, and in the second half by at least this share of its fall in the first.
_AS_BEFORE = 0.5
# A run that keeps more than this share of its initial loss, or of a constant answer's loss, has learnt next to nothing.
_UNCHANGED, _CONSTANT = 0.90, 0.95
# A training loss that ends this much above its lowest, and by this share of the initial loss, has been lost again.
_LOST_FACTOR, _LOST_FLOOR = 1.5, 0.05
# Noise that is a share of the loss doesn't carry it so many times its own size up, however large it is.
_FAR = 2.0
# A validation loss of a finite number of rows tells two answers apart by about a hundredth at best.
_GUESSING = 0.98


def lost_again(curves: LossCurves) -> Fact | None:
    """Find a training loss that had been lower, or begins below where it ends."""
    train, end = curves.train, tail(curves.train)
    smoothed, before = smooth(train), len(train) - tail_length(train)
    best = last_lowest(smoothed[:before], train[:before])
    rise = end - smoothed[best]
    high = max((_LOST_FACTOR - 1.0) * curves.scale(smoothed[best]), _LOST_FLOOR * curves.scale(curves.initial))
    far = rise > _FAR * curves.scale(smoothed[best])
    if rise <= high or not (far or rises_to_end(train, best) > SURE):
        return None
    numbers = {"lowest": smoothed[best], "end": end, "initial": curves.initial}
    lower = Advice("lower lr", lr_or_none(curves.lr / 10))
    return Fact(
        kind="stalled",
        sign="lost again",
        since=curves.times[last_lowest(train[:before], train[:before])],
        numbers=numbers,
        cause="learning rate too high",
        advice=(lower,),
    )


def unchanged(curves: LossCurves) -> Fact | None:
    """Find a training loss that is hardly below where it began, or what a constant answer has."""
    end, learnt = tail(curves.train), _learnt(curves)
    if learnt and end < _CONSTANT * curves.constant:
        return None
    above = end - curves.initial > (_LOST_FACTOR - 1.0) * curves.scale(curves.initial)
    if falling(curves) and not above and (learnt or last_fall(curves.judged).sureness > SURE):
        return None
    cause, advice = _way_out(curves, end)
    if cause is None and (jumps := unsteady(curves)):
        return jumps
    numbers = {"initial": curves.initial, "end": end, "constant": curves.constant}
    sign: Sign = "went up" if cause == "learning rate too high" else "unchanged"
    return Fact(kind="stalled", sign=sign, numbers=numbers, cause=cause, advice=advice)


def _learnt(curves: LossCurves) -> bool:
    """Tell whether the training loss ends below its beginning, by more than noise, or the validation loss with it."""
    train, length = curves.train, tail_length(curves.train)
    fall = curves.initial - tail(train)
    if fall <= (1.0 - _UNCHANGED) * curves.scale(curves.initial):
        return False
    if fall > SURE * _error_of_change(curves) or (len(train) >= FEWEST_FOR_TREND and trend(train) < -SURE):
        return True
    held_out = curves.validation  # that of all rows has less noise than a few batches at the beginning
    return bool(held_out) and held_out[0] - tail(held_out) > max(
        (1.0 - _UNCHANGED) * curves.scale(held_out[0]), 2 * SURE * error(held_out, len(held_out) - length, length)
    )


def _error_of_change(curves: LossCurves) -> float:
    """Return the standard error of how far the end of the training loss lies from its beginning."""
    train, length = curves.train, tail_length(curves.train)
    overall = noise(train)  # that of a few points is hardly known
    first = 0.0 if curves.knows_start else error(train, 0, beginning_length(train), overall)
    return math.hypot(max(first, curves.start_error), error(train, len(train) - length, length, overall))


def _way_out(curves: LossCurves, end: float) -> tuple[Cause | None, tuple[Advice, ...]]:
    """Tell steps that are too large from steps that are too small from a target that can't be learnt."""
    if _went_up(curves, end):
        return "learning rate too high", (Advice("lower lr", lr_or_none(curves.lr / 10)),)
    if _falls_steadily(curves) and not _validation_rises(curves):
        return "learning rate too low", (Advice("raise lr", lr_or_none(10 * curves.lr)),)
    inputs = (Advice("other inputs"),) if math.isfinite(curves.constant) else ()
    return None, (*inputs, Advice("larger model"), Advice("another lr"))


def _went_up(curves: LossCurves, end: float) -> bool:
    train, initial = curves.train, curves.initial
    sure = SURE * _error_of_change(curves)
    if end - initial > max(FALLING * curves.scale(initial), sure):
        return True
    highest = max(running(train, tail_length(train) // 2))
    return highest - initial > max((_LOST_FACTOR - 1.0) * curves.scale(initial), sure)


def _falls_steadily(curves: LossCurves) -> bool:
    """Tell whether the training loss falls from one time to the next, or in the noise of small batches all along."""
    train = curves.train
    steps = [after < before for before, after in pairwise(train)]
    if sum(steps) >= (_STEADY if len(steps) >= _FEW else 1.0) * len(steps):
        return True
    middle = len(train) // 2
    if len(train) - middle < FEWEST_FOR_TREND or max(trend(train), trend(train[middle:])) >= -SURE:
        return False
    halfway = tail(train[:middle])
    return halfway - tail(train) > _AS_BEFORE * (curves.initial - halfway)  # else it comes to rest


def _validation_rises(curves: LossCurves) -> bool:
    """Tell whether longer steps on the same way would make the validation loss worse."""
    validation = curves.validation
    return bool(validation) and tail(validation) > min(smooth(validation)) and tail(validation) >= validation[0]


def unsteady(curves: LossCurves) -> Fact | None:
    """Find a loss that goes up and down instead of settling."""
    losses = curves.judged
    half = losses[-max(2 * tail_length(losses), len(losses) // 2) :]
    level = median(half)
    steps = [abs(after - before) for before, after in pairwise(half)]
    change, noisy = median(steps), _UNSTEADY * (1.0 + _UNSURE / math.sqrt(len(steps)))
    if change <= max(noisy * curves.scale(level), _UNSTEADY_FLOOR * curves.scale(curves.initial_judged)):
        return None
    return Fact(
        kind="stalled",
        sign="unsteady",
        numbers={"end": level, "change": change},
        cause="learning rate too high",
        advice=(Advice("lower lr", lr_or_none(curves.lr / 10)), Advice("let lr fall")),
    )


def never_better_than_guessing(curves: LossCurves) -> Fact | None:
    """Find a run that learnt its training rows, and at no time anything of use for others."""
    learnt = _learnt(curves) and tail(curves.train) < _CONSTANT * curves.constant
    return guessing(curves) if learnt and not _beat_guessing(curves) else None


def _beat_guessing(curves: LossCurves) -> bool:
    """Tell whether the validation loss was ever below that of the best constant answer by more than chance.

    A single epoch counts: its weights are the ones that are kept. A constant answer is as lucky on these rows.
    """
    return min(curves.validation, default=math.inf) < _CONSTANT * curves.constant_validation


def guessing(curves: LossCurves) -> Fact | None:
    """Find a validation loss that ends no lower than that of the best constant answer."""
    validation, constant = curves.validation, curves.constant_validation
    if not validation or not math.isfinite(constant) or constant < 0.0 or falling(curves):
        return None
    end, best = tail(validation), min(range(len(validation)), key=validation.__getitem__)
    if end < _GUESSING * constant:
        return None
    earlier = (Advice("stop earlier", curves.length(curves.times[best])),)
    # Far above guessing nothing is said of the inputs: the answers are too bold. They stay so, or get worse, where a
    # smaller model takes steps that are too large, or weights are pulled back between them.
    far = end > _LOST_FACTOR * constant
    bold = (Advice("lower lr", lr_or_none(curves.lr / 10)),)
    once = _beat_guessing(curves)  # then the inputs do tell something
    inputs = () if once else (Advice("other inputs"),)
    empty = (*inputs, Advice("smaller model"), Advice("more weight decay"))
    return Fact(
        kind="loss no better than guessing",
        sign="validation loss",
        numbers={"end": end, "lowest": validation[best], "best": curves.times[best], "constant": constant},
        advice=(*(earlier if best and once else ()), *(bold if far else empty)),
    )
