"""What a decay keeps: the weights of past gradients, what is missing at first, and how large the first steps are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rmsprop.horizon import half_life, mass_window, window
from rmsprop.lab.dialects.first_steps import FirstSteps, first_steps
from rmsprop.lab.errors import InputError
from rmsprop.rule import Rule

# More lines than that can't be told apart in one picture.
MOST_DECAYS = 6
# A size that gradients of deep networks have; with 1, v₀ = 1 would look like no start at all.
GRADIENT = 0.01
# Squares of these, and steps of them, are still normal numbers in float64.
LEAST_GRADIENT, MOST_GRADIENT = 1e-150, 1e150
FILLED_AT = (1, 10, 100, 1000)
# What v starts from, in words.
STARTS = ("v₀ = 0", "v₀ = 1", "bias correction")


@dataclass(frozen=True, kw_only=True)
class Window:
    """The memory of a decay ρ.

    Args:
        decay: ρ.
        half_life: The steps after which a squared gradient's weight has halved.
        window: 1/(1 − ρ).
        mass_window: How many of the last steps hold 95 % of the weight: from so many steps on, at most 5 % of v is
            still missing, too.
        filled: t -> 1 − ρᵗ, the share of its weights that v has received after t steps.
        first: What v starts from, a name in `STARTS` -> the sizes of the first steps for a gradient that stays the
            same, in units of the learning rate.
    """

    decay: float
    half_life: float
    window: float
    mass_window: float
    filled: dict[int, float]
    first: dict[str, FirstSteps]


def weights(decay: float, ages: np.ndarray) -> np.ndarray:
    """Return the weight (1 − ρ)ρᵏ that a squared gradient has in v after k steps.

    Args:
        decay: ρ, between 0 and 1.
        ages: k, in steps.

    Returns:
        The weights, which sum to 1 over all ages.

    Examples:
        >>> weights(0.5, np.arange(3))
        array([0.5  , 0.25 , 0.125])
    """
    return np.asarray((1.0 - decay) * np.exp(ages * math.log(decay)))


def deficit(decay: float, steps: np.ndarray) -> np.ndarray:
    """Return 1 − ρᵗ, the share of the weights that v has received after t steps from v₀ = 0.

    Args:
        decay: ρ, between 0 and 1.
        steps: t, counted from 1.

    Returns:
        The share, which bias correction divides by.

    Examples:
        >>> deficit(0.9, np.array([1, 10])).round(3)
        array([0.1  , 0.651])
    """
    return np.asarray(-np.expm1(steps * math.log(decay)))


def step_sizes(decay: float, start: str, gradient: float, steps: np.ndarray) -> np.ndarray:
    """Return how large the steps are under a gradient that stays the same, without ε.

    Args:
        decay: ρ, between 0 and 1.
        start: What v starts from, one of `STARTS`.
        gradient: The gradient.
        steps: t, counted from 1.

    Returns:
        The sizes in units of the learning rate: the gradient over √v, where v = ρᵗ·v₀ + (1 − ρᵗ)·g².

    Examples:
        >>> step_sizes(0.9, "v₀ = 0", 0.01, np.array([1, 100])).round(2)
        array([3.16, 1.  ])
    """
    filled = np.ones_like(steps, dtype=np.float64) if start == "bias correction" else deficit(decay, steps)
    return np.asarray(gradient / np.sqrt((1.0 - filled) * (start == "v₀ = 1") + filled * gradient**2))


def measure(decays: Sequence[float], gradient: float = GRADIENT) -> list[Window]:
    """Return the memory of some decays.

    Args:
        decays: Between 0 and 1, both excluded; 1 to `MOST_DECAYS` of them, each once.
        gradient: The size of the gradient whose first steps are told. Default 0.01.

    Returns:
        One window per decay.

    Raises:
        InputError: If a value can't be used.

    Examples:
        >>> found = measure([0.9])[0]
        >>> round(found.half_life, 2), round(found.first["v₀ = 0"].sizes[1], 2)
        (6.58, 3.16)
    """
    check(decays)
    if not LEAST_GRADIENT <= gradient <= MOST_GRADIENT:
        raise InputError(
            f"--gradient is {gradient:g}: it must be a number from {LEAST_GRADIENT:g} to {MOST_GRADIENT:g}"
        )
    return [_measured(decay, gradient) for decay in decays]


def check(decays: Sequence[float]) -> None:
    """Refuse decays that have no window, or are too many.

    Args:
        decays: What was given.

    Raises:
        InputError: If a value can't be used.
    """
    if not 1 <= len(decays) <= MOST_DECAYS:
        raise InputError(f"{len(decays)} decays are given: give 1 to {MOST_DECAYS}, such as 0.9 0.99 0.999")
    for decay in decays:
        if not 0.0 < decay < 1.0:
            raise InputError(f"the decay is {decay}: it must be a number between 0 and 1, both excluded, such as 0.99")
        if decays.count(decay) > 1:
            raise InputError(f"the decay {decay} is given twice: give each once")


def rules(decay: float) -> dict[str, Rule]:
    """Return the rules that differ in what v starts from, without ε.

    Args:
        decay: ρ.

    Returns:
        A name in `STARTS` -> the rule.
    """
    plain = Rule(decay=decay, eps=0.0)
    made = plain, replace(plain, initial_square_avg=1.0), replace(plain, bias_correction=True)
    return dict(zip(STARTS, made, strict=True))


def _measured(decay: float, gradient: float) -> Window:
    return Window(
        decay=decay,
        half_life=half_life(decay),
        window=window(decay),
        mass_window=mass_window(decay),
        filled={step: float(deficit(decay, np.array(step))) for step in FILLED_AT},
        first={name: first_steps(rule, [gradient])[gradient] for name, rule in rules(decay).items()},
    )
