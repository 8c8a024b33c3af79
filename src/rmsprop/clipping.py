"""The norm that gradients are clipped by, as a sum that is exact: equal bits in any order of its terms.

A norm that depends on the order of summation depends on threads, on the layout of a tensor, and on how it is cut into
shards. Here every square is rounded to a multiple of a weight q that depends on the largest square alone, at most 2⁻⁴⁰
of it; multiples of q add exactly, as integers. The functions here, in NumPy, are the specification; both kernels and
tensor operations give the same bits.

Who adds does not know the largest square of all before the end. So a sum has whole multiples of fixed weights, the
limbs: a part of the squares is added to the limb of its largest square and to the one below, which is all of it that
the whole sum may ever show.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LIMB_BITS = 40
LOWEST_LIMB, LIMBS = -25, 50  # limb k has the weight 2^(40·(k − 25))
# A sum: two words of 64 bits per limb, the second worth 2³² of the first, then how many parts had infinities, and NaN.
WORDS = 2 * LIMBS + 2
_HALF = 32
INFINITE = 2.0 ** (LIMB_BITS * (LIMBS + LOWEST_LIMB) - 1)  # a square from here on counts as infinite
STABILIZER = 1e-6  # what torch.nn.utils.clip_grad_norm_ adds to the norm that it divides by
_PART = 1 << 20  # numbers whose limbs an integer of 64 bits holds, and temporaries that stay small


def squares(values: Array) -> Array:
    """Return the sum of the squares of some numbers.

    Args:
        values: Real floats of any width and shape.

    Returns:
        The sum, an array of `WORDS` integers: sums of parts, added, are the sum of the whole.

    Examples:
        >>> norm(squares(np.array([3.0, 4.0])))
        5.0
    """
    flat = np.asarray(values).reshape(-1)
    words = np.zeros(WORDS, np.int64)
    for start in range(0, flat.size, _PART):
        _add_part(words, flat[start : start + _PART].astype(np.float64))
    return words


def _add_part(words: Array, values: Array) -> None:
    with np.errstate(over="ignore"):
        terms = values * values
    largest = terms.max()
    if not largest < INFINITE:
        words[-1 if np.isnan(largest) else -2] += 1
    elif largest:
        limb = limb_of(float(largest))
        above = np.rint(np.ldexp(terms, -LIMB_BITS * limb))
        rest = terms - np.ldexp(above, LIMB_BITS * limb)
        below = np.rint(np.ldexp(rest, -LIMB_BITS * (limb - 1)))
        for place, part in ((limb, above), (limb - 1, below)):
            whole = int(part.astype(np.int64).sum())
            first = 2 * (place - LOWEST_LIMB)
            words[first] += whole & (2**_HALF - 1)
            words[first + 1] += whole >> _HALF


def limb_of(square: float) -> int:
    """Return the limb of a positive square: it is above half of the limb's weight and not above half of the next one's.

    Args:
        square: The square.

    Examples:
        >>> limb_of(1.0), limb_of(2.0**39), limb_of(2.0**40)
        (0, 0, 1)
    """
    mantissa, exponent = math.frexp(square)  # from 1/2 on, so that 2^e has the exponent e + 1
    return max(LOWEST_LIMB + 1, (exponent - (mantissa == 0.5)) // LIMB_BITS)


def norm(words: Array) -> float:
    """Return the Euclidean norm from a sum of squares.

    Args:
        words: The sum of what `squares` returned.

    Returns:
        The norm: ``inf`` if a square is 2⁹⁹⁹ or above, NaN if one is NaN.

    Examples:
        >>> norm(squares(np.array([1.0, np.inf])))
        inf
    """
    if words[-2] or words[-1]:
        return math.nan if words[-1] else math.inf
    limbs = words[:-2].reshape(LIMBS, 2).copy()
    limbs[:, 1] += limbs[:, 0] >> _HALF
    limbs[:, 0] &= 2**_HALF - 1
    top = int(np.flatnonzero(limbs.any(axis=1)).max(initial=1))
    (low, high), (low_below, high_below) = limbs[top].tolist(), limbs[top - 1].tolist()
    total = (high * 2.0**32 + low) * 2.0**LIMB_BITS + (high_below * 2.0**32 + low_below)
    return math.sqrt(math.ldexp(total, LIMB_BITS * (top - 1 + LOWEST_LIMB)))


def factor(norm: float, max_norm: float) -> float:
    """Return what gradients are multiplied with, so that their norm is at most a given one.

    Args:
        norm: Their norm.
        max_norm: The largest allowed one.

    Examples:
        >>> factor(4.0, 1.0) < 0.25, factor(0.5, 1.0)
        (True, 1.0)

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", arXiv 1211.5063,
    algorithm 1, as ``torch.nn.utils.clip_grad_norm_`` has it.
    """
    return min(1.0, max_norm / (norm + STABILIZER))


def update_scale(words: Array, size: int, max_rms: float) -> float:
    """Return what the quotients g/√v of a tensor are multiplied with, so that their root mean square is within a limit.

    Args:
        words: The sum of their squares.
        size: How many they are; a complex number is two.
        max_rms: The largest allowed root mean square.

    Returns:
        d/RMS, or 1 where RMS is at most d or not finite.

    Examples:
        >>> update_scale(squares(np.full(9, 4.0)), 9, 1.0)
        0.25

    Source: Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", arXiv 1804.04235,
    section 6: U/max(1, RMS(U)/d).
    """
    rms = norm(words) / math.sqrt(max(size, 1))
    return max_rms / rms if max_rms < rms < math.inf else 1.0


def check_limit(name: str, value: Any) -> float | None:
    """Return a limit as a float, or say in one sentence why it cannot be one.

    Args:
        name: The option.
        value: What the caller gave; None: no limit.

    Raises:
        TypeError: If it is no real number.
        ValueError: If it is NaN, zero or negative.

    Examples:
        >>> check_limit("max_grad_norm", 40)
        40.0
    """
    if value is None:
        return None
    allowed = "a number above 0, or None for no limit"
    if isinstance(value, bool | str | bytes) or not hasattr(value, "__float__") or getattr(value, "shape", ()) != ():
        raise TypeError(f"Invalid {name}: {value!r} is a {type(value).__name__} (allowed: {allowed})")
    number = float(value)
    if not number > 0.0:
        raise ValueError(f"Invalid {name}: {value} (allowed: {allowed})")
    return number
