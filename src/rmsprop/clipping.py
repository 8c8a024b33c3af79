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
        _add_rows(words[None], flat[None, start : start + _PART])
    return words


def limb_of(square: Any) -> Any:
    """Return the limb of a positive square: it is above half of the limb's weight, not above half of the next one's.

    Args:
        square: The square, or an array of them.

    Examples:
        >>> limb_of(np.array([1.0, 2.0**39, 2.0**40]))
        array([0, 0, 1])
    """
    mantissa, exponent = np.frexp(square)  # from 1/2 on, so that 2^e has the exponent e + 1
    return np.maximum(LOWEST_LIMB + 1, (exponent.astype(np.int64) - (mantissa == 0.5)) // LIMB_BITS)


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
    return float(norms(words[None])[0])


def norms(words: Array) -> Array:
    """Return the Euclidean norm of each row of sums, as `norm` does.

    Args:
        words: Rows of what `squares` returns.

    Examples:
        >>> norms(np.stack([squares(np.array([3.0, 4.0])), squares(np.zeros(2))]))
        array([5., 0.])
    """
    limbs = words[:, :-2].reshape(-1, LIMBS, 2).copy()
    limbs[:, :, 1] += limbs[:, :, 0] >> _HALF
    limbs[:, :, 0] &= 2**_HALF - 1
    is_used: Array = (limbs != 0).any(axis=2)
    top = np.maximum(1, LIMBS - 1 - np.argmax(is_used[:, ::-1], axis=1))
    top[~is_used.any(axis=1)] = 1
    here = np.arange(len(words))
    high, low = ((limbs[here, limb, 1] * 2.0**32 + limbs[here, limb, 0]) for limb in (top, top - 1))
    found: Array = np.sqrt(np.ldexp(high * 2.0**LIMB_BITS + low, LIMB_BITS * (top - 1 + LOWEST_LIMB)))
    found[words[:, -2] != 0] = np.inf
    found[words[:, -1] != 0] = np.nan
    return found


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


def update_scales(words: Array, sizes: Any, max_rms: Any) -> Array:
    """Return what the quotients g/√v of tensors are multiplied with, so that the RMS of each is within a limit.

    Args:
        words: A row per tensor, the sum of the squares of its quotients.
        sizes: How many they are; a complex number is two.
        max_rms: The largest allowed root mean square of each, or of all.

    Returns:
        d/RMS of each, or 1 where RMS is at most d or not finite.

    Examples:
        >>> update_scales(np.stack([squares(np.full(9, 4.0)), squares(np.ones(2))]), [9, 2], 1.0)
        array([0.25, 1.  ])

    Source: Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", arXiv 1804.04235,
    section 6: U/max(1, RMS(U)/d).
    """
    rms = norms(words) / np.sqrt(np.maximum(sizes, 1))
    is_above = (max_rms < rms) & (rms < math.inf)
    return np.where(is_above, max_rms / np.where(is_above, rms, 1.0), 1.0)


# What paper and timm keep norms of units above: of parameters, so that zeros can move, and of gradients, which are
# divided by. native/squares.cpp has them too.
LEAST_PARAM_NORM, LEAST_GRAD_NORM = 1e-3, 1e-6


def unit_factors(grad_norms: Any, param_norms: Any, max_ratio: float, xp: Any = np) -> Any:
    """Return what the gradients of units are multiplied with, so that they are at most a ratio of their parameters.

    Args:
        grad_norms: The norm of each unit's gradient, in float64.
        param_norms: The norm of its parameters, likewise.
        max_ratio: λ, the largest allowed ratio of the two.
        xp: The library of these arrays, with ``where``. Default: NumPy.

    Examples:
        >>> unit_factors(np.array([1.0, 1.0]), np.array([200.0, 25.0]), 0.01)
        array([1.  , 0.25])

    Source: Brock et al., "High-Performance Large-Scale Image Recognition Without Normalization", arXiv 2102.06171,
    equation 3, with ε = 1e-3; the bound of the divisor is that of timm 1.0.31 and Optax 0.2.8.
    """
    most = xp.where(param_norms < LEAST_PARAM_NORM, LEAST_PARAM_NORM, param_norms) * max_ratio
    divisor = xp.where(grad_norms < LEAST_GRAD_NORM, LEAST_GRAD_NORM, grad_norms)
    return xp.where(grad_norms < most, 1.0, most / divisor)


def row_squares(rows: Array) -> Array:
    """Return the sum of the squares of each row: `squares` of many rows at once.

    Args:
        rows: Real floats of any width, in two dimensions.

    Returns:
        A row of `WORDS` integers for each.

    Examples:
        >>> [norm(words) for words in row_squares(np.array([[3.0, 4.0], [0.0, 2.0]]))]
        [5.0, 2.0]
    """
    words = np.zeros((len(rows), WORDS), np.int64)
    most = max(1, _PART // max(1, rows.shape[1]))  # as many rows as temporaries that stay small have place for
    for start in range(0, len(rows), most):
        for column in range(0, rows.shape[1], _PART):
            _add_rows(words[start : start + most], rows[start : start + most, column : column + _PART])
    return words


def _add_rows(words: Array, rows: Array) -> None:
    """Add the squares of each row to its sum, by the limb of its largest square and the one below."""
    values = rows.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        terms = values * values
        largest = terms.max(axis=1, initial=0.0)
        is_finite = largest < INFINITE
        words[:, -1] += np.isnan(largest)
        words[:, -2] += ~is_finite & ~np.isnan(largest)
        limbs = limb_of(np.where(is_finite, largest, 0.0))
        terms[~is_finite] = 0.0
        above = np.rint(np.ldexp(terms, -LIMB_BITS * limbs[:, None]))
        rest = terms - np.ldexp(above, LIMB_BITS * limbs[:, None])
        below = np.rint(np.ldexp(rest, -LIMB_BITS * (limbs - 1)[:, None]))
    here = np.arange(len(rows))
    for places, part in ((limbs, above), (limbs - 1, below)):
        whole, first = part.astype(np.int64).sum(axis=1), 2 * (places - LOWEST_LIMB)
        words[here, first] += whole & (2**_HALF - 1)
        words[here, first + 1] += whole >> _HALF


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
