"""How large the first steps of a rule are: for a gradient that stays the same, in units of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rmsprop.lab.format import short
from rmsprop.reference import init, update
from rmsprop.rule import Rule

# One gradient of the size that theory likes, and two of the sizes that deep networks have.
GRADIENTS = (1.0, 1e-2, 1e-4)
SHOWN = (1, 2, 10, 100)
WITHIN = 0.05
# A rule that hasn't settled by then is said not to have.
MOST_STEPS = 20_000


@dataclass(frozen=True, kw_only=True)
class FirstSteps:
    """The sizes of the first steps for one constant gradient, weight decay aside.

    Args:
        sizes: Step, counted from 1 -> its size in units of the learning rate.
        final: The size that the steps settle at, in the same unit. Centered it is the gradient over ε or √ε, because a
            constant has no variance. Infinite if they grow without end.
        settled: The first step from which on all are within 5 % of ``final``; None if that takes more than
            `MOST_STEPS`, or never happens.
    """

    sizes: Mapping[int, float]
    final: float
    settled: int | None


def first_steps(rule: Rule, gradients: Sequence[float] = GRADIENTS) -> dict[float, FirstSteps]:
    """Run a rule on constant gradients.

    Args:
        rule: The rule.
        gradients: The gradients, each above 0. Default 1, 0.01 and 0.0001.

    Returns:
        Gradient -> the sizes of its steps.

    Examples:
        >>> first = first_steps(Rule(decay=0.99))[1.0]
        >>> round(first.sizes[1]), round(first.final), first.settled
        (10, 1, 237)
    """
    rule = replace(rule, weight_decay=0.0, caution=False)  # a step always agrees with a constant gradient
    finals = [_final(rule, gradient) for gradient in gradients]
    until = [_until_steady(rule, gradient, final) for gradient, final in zip(gradients, finals, strict=True)]
    steps = max(SHOWN[-1], min(MOST_STEPS, max(until)))
    found = {}
    for gradient, final, sizes in zip(gradients, finals, _sizes(rule, np.array(gradients), steps), strict=True):
        settled = _first_near(final, sizes) if math.isfinite(final) else None
        shown = {step: float(sizes[step - 1]) for step in SHOWN}
        found[gradient] = FirstSteps(sizes=shown, final=final, settled=settled)
    return found


def remarks(rule: Rule) -> list[str]:
    """Return what is to be said of first steps that numbers alone don't explain.

    Args:
        rule: The rule.

    Returns:
        Sentences; none if the steps are what one expects.

    Examples:
        >>> remarks(Rule(centered=True, bias_correction=True))[0].partition(".")[0]
        'The first step is divided by ε alone, next to 0: it is 1e8 learning rates long at a gradient of 1'
        >>> remarks(Rule())
        []
    """
    alone = ("√ε" if rule.eps_inside_sqrt else "ε") + " alone" if rule.eps else "0"
    found = []
    if why := _nothing_held(rule):
        below = math.sqrt(rule.eps) if rule.eps_inside_sqrt else rule.eps
        size = f"it is {short(1.0 / below)} learning rates long at a gradient of 1" if rule.eps else "it is infinite"
        found.append(
            f"The first step is divided by {alone}{', next to 0' if 0.0 < below < 0.01 else ''}: {size}. {why}"
        )
    if rule.centered:
        found.append(
            f"A gradient that stays the same has no variance: centered, its steps come to be divided by {alone}. Where "
            "gradients vary, they don't."
        )
    return found


def _nothing_held(rule: Rule) -> str:
    """Return why the averages hold nothing to divide by after one step, in a sentence; empty if they hold something."""
    if rule.delayed:
        return ""  # the first step is none
    if rule.centered and rule.bias_correction:
        return "One gradient has no variance, and bias correction takes away what v began with: leave one of them off."
    if rule.centered and rule.decay == 0.0:
        return "At decay 0 the mean is the gradient itself, so that there never is a variance."
    if rule.decay == 1.0 and not rule.initial_average and not rule.init_from_gradient:
        return "At decay 1 v stays at the 0 that it began with."
    return ""


def _sizes(rule: Rule, gradients: np.ndarray, steps: int) -> np.ndarray:
    """Return the steps in units of the learning rate, a row per gradient."""
    theta, sizes = np.zeros(len(gradients)), np.empty((len(gradients), steps))
    state = init(rule, theta)
    for step in range(1, steps + 1):
        moved, state = update(rule, 1.0, step, theta, gradients, state)
        sizes[:, step - 1] = -moved  # from 0 again each time, so that no rounding of a large θ gets in
    return sizes


def _until_steady(rule: Rule, gradient: float, final: float) -> int:
    """Return after how many steps what the averages and the buffer started from no longer shows."""
    if final == math.inf:
        return 0
    # The share of the start that is left must be far below this. In logarithms, because it can be below all floats.
    least = 2.0 * (math.log(gradient) - max(0.0, math.log(final)))
    left = math.log(1e-4) + least - math.log(max(gradient**2, rule.initial_average))
    decays = [share for share in (rule.decay, rule.momentum) if 0.0 < share < 1.0]
    return 1 + sum(math.ceil(left / math.log(share)) for share in decays)


def _final(rule: Rule, gradient: float) -> float:
    """Return the step of averages that hold nothing but the gradient, times what the buffer collects of it."""
    spread = 0.0 if rule.centered else gradient**2  # a constant has no variance
    start = gradient**2 if rule.init_from_gradient else rule.initial_average
    held = start if rule.decay == 1.0 else spread
    with_held = Rule(decay=1.0, initial_square_avg=held, eps=rule.eps, eps_inside_sqrt=rule.eps_inside_sqrt)
    one_step = float(_sizes(with_held, np.array([gradient]), 1)[0, 0])
    if rule.delayed and one_step > 1.0:
        return math.inf  # the limit of a quotient grows with every step
    if rule.averaged_momentum:
        return one_step
    return one_step / (1.0 - rule.momentum) if rule.momentum < 1.0 else math.inf


def _first_near(final: float, sizes: np.ndarray) -> int | None:
    outside = np.flatnonzero(~(np.abs(sizes - final) <= WITHIN * final))
    first = int(outside[-1]) + 2 if outside.size else 1
    return first if first <= len(sizes) else None
