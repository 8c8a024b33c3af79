"""What a decay means in steps: half-life, effective window, the steps that hold most of the weight, and back.

After k steps a squared gradient still has the weight (1 − ρ)ρᵏ in the average v.
"""

from __future__ import annotations

import math


def _open_unit(name: str, value: float) -> float:
    if not 0.0 < value < 1.0:
        raise ValueError(f"Invalid {name}: {value} (allowed: a number between 0 and 1, both excluded)")
    return float(value)


def _steps(name: str, value: float, low: float) -> float:
    if not low < value < math.inf:
        raise ValueError(f"Invalid {name}: {value} (allowed: a finite number of steps above {low:g})")
    return float(value)


def half_life(decay: float) -> float:
    """Return the number of steps after which a gradient's weight has halved, ln 2 / −ln ρ.

    Args:
        decay: ρ, between 0 and 1.

    Returns:
        The half-life in steps.

    Raises:
        ValueError: If ``decay`` is not between 0 and 1.

    Examples:
        >>> round(half_life(0.99), 1)
        69.0
    """
    return math.log(2.0) / -math.log(_open_unit("decay", decay))


def window(decay: float) -> float:
    """Return the effective window 1/(1 − ρ): the mean age of a gradient in the average, plus one.

    Args:
        decay: ρ, between 0 and 1.

    Returns:
        The window in steps.

    Raises:
        ValueError: If ``decay`` is not between 0 and 1.

    Examples:
        >>> round(window(0.99))
        100
    """
    return 1.0 / (1.0 - _open_unit("decay", decay))


def mass_window(decay: float, mass: float = 0.95) -> float:
    """Return how many of the last steps hold a share of the average's weight, ln(1 − mass)/ln ρ.

    Args:
        decay: ρ, between 0 and 1.
        mass: The share of the weight, between 0 and 1. Default 0.95.

    Returns:
        The number of steps.

    Raises:
        ValueError: If an argument is not between 0 and 1.

    Examples:
        >>> round(mass_window(0.9))
        28
    """
    return math.log1p(-_open_unit("mass", mass)) / math.log(_open_unit("decay", decay))


def decay_from_half_life(steps: float) -> float:
    """Return the decay whose half-life is so many steps, 2^(−1/steps).

    Args:
        steps: The half-life in steps, above 0.

    Returns:
        ρ, between 0 and 1.

    Raises:
        ValueError: If ``steps`` is not a finite number above 0.

    Examples:
        >>> round(decay_from_half_life(69), 3)
        0.99
    """
    return math.exp2(-1.0 / _steps("half-life", steps, 0.0))


def decay_from_window(steps: float) -> float:
    """Return the decay whose effective window is so many steps, 1 − 1/steps.

    Args:
        steps: The window in steps, above 1.

    Returns:
        ρ, between 0 and 1.

    Raises:
        ValueError: If ``steps`` is not a finite number above 1.

    Examples:
        >>> decay_from_window(100)
        0.99
    """
    return 1.0 - 1.0 / _steps("window", steps, 1.0)


def decay_from_mass_window(steps: float, mass: float = 0.95) -> float:
    """Return the decay whose last so many steps hold a share of the weight, (1 − mass)^(1/steps).

    Args:
        steps: The number of steps, above 0.
        mass: The share of the weight, between 0 and 1. Default 0.95.

    Returns:
        ρ, between 0 and 1.

    Raises:
        ValueError: If ``steps`` is not a finite number above 0, or ``mass`` not between 0 and 1.

    Examples:
        >>> round(decay_from_mass_window(28.4), 3)
        0.9
    """
    return math.pow(1.0 - _open_unit("mass", mass), 1.0 / _steps("mass window", steps, 0.0))
