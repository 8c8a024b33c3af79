"""Numbers that users give: what each may be, and the one sentence that says so where it can't."""

from __future__ import annotations

import math
from abc import ABCMeta
from numbers import Real

# Field -> (what an error calls it, largest allowed value). The wording is torch's where torch has one,
# so that code and tests that match its messages keep working.
_RANGES: dict[str, tuple[str, float]] = {
    "lr": ("learning rate", math.inf),
    "decay": ("decay value", 1.0),
    "eps": ("epsilon value", math.inf),
    "initial_square_avg": ("initial_square_avg value", math.inf),
    "momentum": ("momentum value", 1.0),
    "weight_decay": ("weight_decay value", math.inf),
    "weight_decay_max_lr": ("weight_decay_max_lr value", math.inf),
    "staleness_decay": ("staleness_decay", math.inf),
}


class Traced(metaclass=ABCMeta):  # noqa: B024 (other frameworks' classes are registered, none is written)
    """A number whose value may be known only when compiled code runs: an array of a framework that traces Python code.

    A front end of such a framework registers its types, as `numbers.Real.register` does, and checks those whose value
    is known. A rule takes such a number unchecked, and nothing branches on it.

    Examples:
        >>> isinstance(0.9, Traced)
        False
    """


def known_below(number: float, bound: float) -> bool:
    """Whether a hyperparameter is known to be smaller than a bound; a traced one never is.

    Args:
        number: The hyperparameter.
        bound: The bound.

    Returns:
        The answer, as a Python bool that code may branch on.

    Examples:
        >>> known_below(0.3, 0.5)
        True
    """
    return not isinstance(number, Traced) and number < bound


def known_from(number: float, bound: float) -> bool:
    """Whether a hyperparameter is known to be at least a bound; a traced one never is.

    Args:
        number: The hyperparameter.
        bound: The bound.

    Returns:
        The answer, as a Python bool that code may branch on.

    Examples:
        >>> known_from(0.5, 0.5)
        True
    """
    return not isinstance(number, Traced) and number >= bound


def check_number(field: str, value: object, label: str | None = None, *, traced: bool = False) -> float:
    """Return a hyperparameter as a float, or say in one sentence why it cannot be one.

    Args:
        field: The hyperparameter: ``"lr"`` or the name of a numeric field of `Rule`.
        value: What the caller gave: a real number, or an array or tensor without axes that holds one.
        label: What an error calls it; by default torch's wording, or the field's name.
        traced: Whether a traced number will do. Default False.

    Returns:
        ``value`` as a Python float; a traced number unchecked and as it is.

    Raises:
        TypeError: If ``value`` is not a real number.
        ValueError: If it is NaN, infinite, negative or above the field's upper bound.

    Examples:
        >>> check_number("momentum", 0.9)
        0.9
        >>> check_number("decay", 1.5)
        Traceback (most recent call last):
        ValueError: Invalid decay value: 1.5 (allowed: a number from 0 to 1)
    """
    name, high = _RANGES[field]
    name = label or name
    allowed = "a finite number >= 0" if high == math.inf else f"a number from 0 to {high:g}"
    if traced and isinstance(value, Traced):
        return value  # type: ignore[return-value]
    number = as_float(name, value, allowed)
    if not (0.0 <= number <= high and number < math.inf):
        raise ValueError(f"Invalid {name}: {value} (allowed: {allowed})")
    return number


def check_step_lr(value: object) -> float:
    """Return the learning rate of a step as a float, or say why it cannot be one.

    A schedule may take it to zero and, rounding or past its end, below: what the first learning rate must not be.

    Args:
        value: What the schedule or the loop has made of it: a real number, or an array without axes that holds one.

    Returns:
        ``value`` as a Python float.

    Raises:
        TypeError: If it is not a real number.
        ValueError: If it is NaN or infinite.

    Examples:
        >>> check_step_lr(-1e-19)
        -1e-19
        >>> check_step_lr(math.nan)
        Traceback (most recent call last):
        ValueError: Invalid learning rate: nan (allowed: a finite number)
    """
    name, allowed = _RANGES["lr"][0], "a finite number"
    number = as_float(name, value, allowed)
    if not math.isfinite(number):
        raise ValueError(f"Invalid {name}: {value} (allowed: {allowed})")
    return number


def as_float(name: str, value: object, allowed: str) -> float:
    """Return a real number, or what an array without axes holds, as a float; an int beyond all floats is infinite.

    Args:
        name: What an error calls it.
        value: What the caller gave.
        allowed: Which numbers an error says there may be; the range is for the caller to check.

    Raises:
        TypeError: If it is not a real number.

    Examples:
        >>> as_float("r", 3, "a finite number >= 0")
        3.0
    """
    if type(value) is float:
        return value
    single = getattr(value, "shape", None) == () and not isinstance(value, Traced)
    number = value.item() if single else value  # type: ignore[attr-defined]
    if isinstance(number, bool) or not isinstance(number, Real):
        raise TypeError(f"Invalid {name}: {value!r} is a {type(number).__name__} (allowed: {allowed})")
    try:
        return float(number)
    except OverflowError:
        return math.inf


def check_factor(value: object) -> float:
    """Return how many times as large a batch becomes, or say why it cannot be that.

    Args:
        value: What the caller gave: a real number, or an array without axes that holds one.

    Returns:
        ``value`` as a Python float.

    Raises:
        TypeError: If it is not a real number.
        ValueError: If it is NaN, infinite, or not above 0.

    Examples:
        >>> check_factor(16)
        16.0
    """
    factor = as_float("factor", value, "a finite number above 0")
    if not 0.0 < factor < math.inf:
        raise ValueError(f"Invalid factor: {value} (allowed: a finite number above 0)")
    return factor
