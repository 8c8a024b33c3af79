"""How two rules differ: choice by choice in words and numbers, and the step at which a small run parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rmsprop.horizon import half_life
from rmsprop.lab.dialects.formulas import number
from rmsprop.lab.dialects.small_run import STEPS, dropping, small_run
from rmsprop.rule import Rule

# Two runs have parted when a parameter differs by more than this share: far above rounding, far below what one sees.
APART = 1e-6
# Where gradients are about 1, ε makes no difference; where they are as small as deep networks have them, it does.
SCALES = (1.0, 1e-4)


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of two rules that are compared.

    Args:
        name: What it is called.
        rule: The rule.
    """

    name: str
    rule: Rule


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A choice that two rules make differently.

    Args:
        choice: What is chosen.
        values: What each of the two has.
        meaning: What that does, in words and numbers.
        matters: Whether it changes any update, the other choices being what they are.
    """

    choice: str
    values: tuple[str, str]
    meaning: str
    matters: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Parting:
    """Where two small runs part.

    Args:
        step: The first step after which a parameter differs by more than `APART` of its size; None if there is none.
        scale: What every gradient was multiplied with.
        parameter: The position of the parameter that differs most then.
        thetas: The path of that parameter in each run, from before the first step.
        losses: The loss in each run, above the least there is, at the same points.
    """

    step: int | None
    scale: float
    parameter: int
    thetas: tuple[np.ndarray, np.ndarray]
    losses: tuple[np.ndarray, np.ndarray]


def differences(a: Side, b: Side) -> list[Difference]:
    """Return the choices that two rules make differently, in the order of the update.

    Args:
        a: One rule.
        b: The other.

    Returns:
        The differences; empty if the rules are equal.

    Examples:
        >>> a, b = Side(name="torch", rule=Rule()), Side(name="mine", rule=Rule(decay=0.9))
        >>> [(found.choice, found.values) for found in differences(a, b)]
        [('decay', ('0.99', '0.9'))]
    """
    found = [choice(a, b) for choice in _CHOICES]
    return [difference for difference in found if difference.values[0] != difference.values[1]]


def parting(a: Side, b: Side, lr: float) -> Parting:
    """Run both rules on the small problem with the same learning rate, which falls to a tenth after step 40.

    If they don't part, they are run again with every gradient multiplied by 0.0001.

    Args:
        a: One rule.
        b: The other.
        lr: The learning rate that both start from.

    Returns:
        Where they part.

    Examples:
        >>> parting(Side(name="torch", rule=Rule()), Side(name="mine", rule=Rule(decay=0.9)), lr=0.05).step
        1
    """
    for scale in SCALES:
        runs = [small_run(side.rule, dropping(lr), scale=scale) for side in (a, b)]
        first, second = (run.theta for run in runs)
        steps = np.flatnonzero(_apart(first, second).any(1))
        if steps.size:
            break
    step = int(steps[0]) if steps.size else None
    parameter = int(np.argmax(np.abs(first - second)[step])) if step is not None else 0
    return Parting(
        step=step,
        scale=scale,
        parameter=parameter,
        thetas=(first[:, parameter], second[:, parameter]),
        losses=(runs[0].loss, runs[1].loss),
    )


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):  # infinities have no difference
        near = np.abs(a - b) <= APART * np.maximum(np.abs(a), np.abs(b))
    return np.asarray(~near & (a != b) & ~(np.isnan(a) & np.isnan(b)))


def shown_steps(step: int | None) -> tuple[int, ...]:
    """Return the steps that tell how a small run went, the one at which it parts among them.

    Args:
        step: The step at which it parts, or None.

    Returns:
        The steps in rising order.

    Examples:
        >>> shown_steps(3)
        (1, 2, 3, 10, 40, 50, 100)
    """
    return tuple(sorted({1, 2, 10, 40, 50, STEPS} | ({step} if step else set())))


def _pair(value: Callable[[Rule], str], a: Side, b: Side) -> tuple[str, str]:
    return value(a.rule), value(b.rule)


def _weight_decay(a: Side, b: Side) -> Difference:
    def value(rule: Rule) -> str:
        corrected = f", corrected by lr/{number(rule.weight_decay_max_lr)}" if rule.weight_decay_max_lr else ""
        return f"{number(rule.weight_decay)}, {rule.weight_decay_mode}{corrected}"

    matters = bool(a.rule.weight_decay or b.rule.weight_decay)
    meaning = (
        "l2 adds λθ to the gradient, where the denominator scales it with the rest; decoupled takes lr·λ·θ off the "
        "parameter, whatever the gradients are; cautious does that where the update doesn't move away from 0; "
        "corrected, it is multiplied by the learning rate over the largest one."
    )
    off = "No effect while weight decay is 0: l2 would add it to the gradient, decoupled take it off the parameter."
    return Difference(
        choice="weight decay", values=_pair(value, a, b), meaning=meaning if matters else off, matters=matters
    )


def _decay(a: Side, b: Side) -> Difference:
    def memory(rule: Rule) -> str:
        if rule.decay == 1.0:
            return "never"
        return f"after {half_life(rule.decay):.3g} steps" if rule.decay else "at once"

    meaning = (
        f"In {a.name} a gradient's weight in the average has halved {memory(a.rule)}, in {b.name} {memory(b.rule)}."
    )
    return Difference(choice="decay", values=_pair(lambda rule: number(rule.decay), a, b), meaning=meaning)


def _start(a: Side, b: Side) -> Difference:
    matters = _begins(a.rule) != _begins(b.rule)
    meaning = (
        "v keeps the share ρᵗ of its start. A start of 0 makes the first steps longer than lr; a start far above g² "
        "makes them shorter, until it has faded."
    )
    if not matters:
        meaning = "No effect: bias correction takes the start out of the average."
    values = _pair(lambda rule: "g₁²" if rule.init_from_gradient else number(rule.initial_square_avg), a, b)
    return Difference(choice="v starts from", values=values, meaning=meaning, matters=matters)


def _begins(rule: Rule) -> float | str:
    return "g₁²" if rule.init_from_gradient and not rule.bias_correction else rule.initial_average


def _delayed(a: Side, b: Side) -> Difference:
    delayed, plain = (a, b) if a.rule.delayed else (b, a)
    meaning = (
        f"{delayed.name} divides a gradient by the average of those before it, and limits the quotient to (t − 1)^¼, "
        f"so that its first step moves nothing; in {plain.name} a gradient is part of what divides it."
    )
    return Difference(choice="delayed", values=_pair(lambda rule: _on(rule.delayed), a, b), meaning=meaning)


def _bias_correction(a: Side, b: Side) -> Difference:
    corrected, plain = (a, b) if a.rule.bias_correction else (b, a)
    effect = (
        "which leaves no variance after the first step: it is divided by ε alone"
        if corrected.rule.centered
        else "so that the first steps are as long as later ones"
    )
    meaning = f"{corrected.name} divides its averages by 1 − ρᵗ, {effect}; {plain.name} does not."
    values = _pair(lambda rule: _on(rule.bias_correction), a, b)
    return Difference(choice="bias correction", values=values, meaning=meaning)


def _centered(a: Side, b: Side) -> Difference:
    centered, plain = (a, b) if a.rule.centered else (b, a)
    meaning = (
        f"{centered.name} divides by the standard deviation √(v − m²) of the gradient, {plain.name} by its root mean "
        f"square √v: where gradients keep their sign, {centered.name} takes the longer steps."
    )
    return Difference(choice="centered", values=_pair(lambda rule: _on(rule.centered), a, b), meaning=meaning)


def _epsilon(a: Side, b: Side) -> Difference:
    def value(rule: Rule) -> str:
        return f"{number(rule.eps)} {'inside' if rule.eps_inside_sqrt else 'outside'} the root" if rule.eps else "0"

    def floor(rule: Rule) -> str:
        if rule.eps and rule.eps_inside_sqrt:
            return f"√{number(rule.eps)} = {number(float(f'{math.sqrt(rule.eps):.3g}'))}"
        return number(rule.eps)

    meaning = (
        f"Where v is near 0, {a.name} divides by {floor(a.rule)} and {b.name} by {floor(b.rule)}: gradients well below "
        f"that are not brought up to steps of lr."
    )
    return Difference(choice="epsilon", values=_pair(value, a, b), meaning=meaning)


def _momentum(a: Side, b: Side) -> Difference:
    def reach(rule: Rule) -> str:
        if rule.averaged_momentum:
            return "1 step"
        return "without end" if rule.momentum == 1.0 else f"{1.0 / (1.0 - rule.momentum):.3g} steps"

    meaning = f"A constant push adds up to {reach(a.rule)} in {a.name} and {reach(b.rule)} in {b.name}."
    return Difference(choice="momentum", values=_pair(lambda rule: number(rule.momentum), a, b), meaning=meaning)


def _nesterov(a: Side, b: Side) -> Difference:
    ahead, plain = (a, b) if a.rule.nesterov else (b, a)
    meaning = f"{ahead.name} steps with the buffer as it will be after one more decay, {plain.name} with it as it is."
    return Difference(choice="nesterov", values=_pair(lambda rule: _on(rule.nesterov), a, b), meaning=meaning)


def _lr_in_momentum(a: Side, b: Side) -> Difference:
    inside, outside = (a, b) if a.rule.lr_in_momentum else (b, a)
    matters = bool(a.rule.momentum and b.rule.momentum)
    meaning = (
        f"While the learning rate stays, the two are the same. When it changes, what is in the buffer keeps the old "
        f"rate in {inside.name} and takes the new one in {outside.name}."
    )
    if not matters:
        meaning = "No effect without momentum in both. With it, they would differ once the learning rate changes."
    values = _pair(lambda rule: "inside" if rule.lr_in_momentum else "outside", a, b)
    return Difference(choice="lr and the buffer", values=values, meaning=meaning, matters=matters)


def _averaged_momentum(a: Side, b: Side) -> Difference:
    averaged, added = (a, b) if a.rule.averaged_momentum else (b, a)
    matters = bool(a.rule.momentum or b.rule.momentum)
    meaning = (
        f"The buffer of {averaged.name} averages the steps, so that a constant push stays as long as it is; that of "
        f"{added.name} adds them up."
    )
    values = _pair(lambda rule: _on(rule.averaged_momentum), a, b)
    if not matters:
        meaning = "No effect without momentum: there is no buffer."
    return Difference(choice="averaged momentum", values=values, meaning=meaning, matters=matters)


def _caution(a: Side, b: Side) -> Difference:
    cautious, plain = (a, b) if a.rule.caution else (b, a)
    meaning = (
        f"{cautious.name} takes no step with another sign than its gradient, and longer ones in the rest of the "
        f"tensor; {plain.name} takes them all."
    )
    return Difference(choice="caution", values=_pair(lambda rule: _on(rule.caution), a, b), meaning=meaning)


def _on(flag: bool) -> str:
    return "yes" if flag else "no"


_CHOICES = (
    _weight_decay,
    _decay,
    _start,
    _delayed,
    _bias_correction,
    _centered,
    _epsilon,
    _momentum,
    _nesterov,
    _averaged_momentum,
    _caution,
    _lr_in_momentum,
)
