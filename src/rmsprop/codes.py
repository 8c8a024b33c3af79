"""Numbers of 32 bits as codes of 8: small floats, in blocks that share a scale, rounded at random.

The functions here, in NumPy, are the specification; the kernels give the same bits.

1. A code is what is left of a float's exponent and fraction when the low bits are cut off and the scale's subtracted:
   decoding is an addition and a shift of whole numbers, without a table.
2. Numbers that are not negative (`encode_positive`) keep as many digits of the fraction as the range of their block
   allows: 6 within 4 octaves (powers of two), 5 within 8, 4 within 16, and 3 otherwise, for 31 octaves; what is smaller
   still becomes the smallest. Zero stands for zero alone: an average of squares that has almost died out must not
   become an infinite step.
3. Signed numbers (`encode_signed`) have a digit less for the sign. Below the octaves are whole numbers of the smallest,
   zero among them: averages of both signs pass it all the time, so a block's smallest number says nothing about it.
4. Two codes are kept for infinity and NaN.

An average moves by a share of 1 − ρ per step, less than a code's digits hold: rounded to the nearest it would stand
still. By chance it is right on average, over the whole recursion too. Of numbers that are not negative the logarithm
is: what counts is how many times too large an average of squares is, and of one that is right on average most are too
small while a few are far too large.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# Numbers that share a scale, which takes two bytes.
BLOCK = 128
_INFINITY, _NAN = np.uint32(0x7F800000), np.uint32(0x7FC00000)
_MAGNITUDE = np.uint32(0x7FFFFFFF)
_FEWEST, _MOST = 3, 6  # digits
_CODES = 253  # of finite numbers above zero
_RAISED = np.uint32(0xFFF)  # the random bits that tell whether a neighbour's count
_LOWEST = 22  # base of signed numbers


def blocks(size: int) -> int:
    """Return how many scales a row of numbers has.

    Args:
        size: How many numbers there are.

    Examples:
        >>> blocks(129)
        2
    """
    return -(size // -BLOCK)


def encode_positive(values: Array, bits: Array, room: int = 1) -> tuple[Array, Array]:
    """Return codes of numbers that are not negative, their logarithms right on average.

    Between the codes of a and b = (1 + q)·a, x = (1 + f·q)·a is rounded up with the chance f + f·(1 − f)·c. That is
    log(1 + f·q)/log(1 + q) for c = q/2, but for terms in q². Here c is half of 2 to the power of −digits, which q is at
    most: so an average that goes down over many octaves has the right logarithm. The chance is made of two that are
    even: with the chance c the larger one of a neighbour's random bits and its own counts.

    Args:
        values: float32, a row. Signs are ignored.
        bits: Random bits for each, as `rmsprop.storage.state_noise` returns them.
        room: The codes that are free above the largest number of a block, 1 if that may be rounded up, else 0. Default
            1.

    Returns:
        The codes, a row of uint8, and the scales, a row of uint16: the digits less 3 in the upper 2 bits, and below
        them what code 1 stands for, the bits of its exponent and of those digits.

    Examples:
        >>> codes, scales = encode_positive(np.array([4, 1, 0.5, 0], np.float32), np.zeros(4, np.uint32))
        >>> decode_positive(codes, scales)
        array([4. , 1. , 0.5, 0. ], dtype=float32)
    """
    magnitude, chance = _in_blocks(values.view(np.uint32) & _MAGNITUDE), _in_blocks(bits)
    highest = np.where(magnitude < _INFINITY, magnitude, 0).max(axis=1, keepdims=True, initial=0)
    counts = (magnitude < _INFINITY) & (magnitude > 0)
    lowest = np.where(counts, magnitude, highest).min(axis=1, keepdims=True, initial=_INFINITY)
    digits = np.full_like(highest, _FEWEST)
    for more in range(_FEWEST + 1, _MOST + 1):
        digits += (highest >> (23 - more)) - (lowest >> (23 - more)) < _CODES - room
    shift = 23 - digits
    top = highest >> shift
    most = _CODES - 1 - room  # codes between the largest number and the smallest
    origin = np.maximum(lowest >> shift, np.where(top > most, top - most, 1)).astype(np.uint32)
    above = np.where(magnitude > origin << shift, magnitude - (origin << shift), np.uint32(0))
    of_pair = np.repeat(chance.reshape(-1, BLOCK // 2, 2).max(axis=2), 2, axis=1)
    chance = np.where((chance & _RAISED) < (_RAISED + 1) >> (digits + 1), of_pair, chance)
    code = (above + (chance >> (9 + digits))) >> shift
    code = 1 + np.minimum(code, np.minimum(_CODES - 1, (_INFINITY >> shift) - 1 - origin))
    code = np.where(magnitude == 0, 0, code)
    code = np.where(magnitude >= _INFINITY, 254 + (magnitude > _INFINITY), code)
    scales = ((digits - _FEWEST) << 14) | origin
    return _row(code, values).astype(np.uint8), scales.astype(np.uint16).reshape(-1)


def decode_positive(codes: Array, scales: Array) -> Array:
    """Return the numbers that `encode_positive` has made codes of.

    Args:
        codes: The codes, a row of uint8.
        scales: The scales, a row of uint16.

    Returns:
        float32, a row.
    """
    code, scale = _in_blocks(codes.astype(np.uint32)), scales.astype(np.uint32).reshape(-1, 1)
    raw = (code - 1 + (scale & 0x3FFF)) << (20 - (scale >> 14))
    raw = np.where(code == 0, 0, raw)
    raw = np.where(code >= 254, np.where(code == 254, _INFINITY, _NAN), raw)
    return _row(raw, codes).astype(np.uint32).view(np.float32)


def encode_signed(values: Array, bits: Array, digits: int, room: int = 1) -> tuple[Array, Array]:
    """Return codes of numbers of both signs, right on average.

    Args:
        values: float32, a row.
        bits: Random bits for each, as `rmsprop.storage.state_noise` returns them.
        digits: The digits of the fraction, 3 (over 18 octaves, the lowest 3 with fewer) or 4 (over 11).
        room: The octaves that are free for the largest number of a block, 1 if that may be rounded up into the next,
            else 0. Default 1.

    Returns:
        The codes, a row of uint8, and the scales, a row of uint16: exponents from which octaves are counted.

    Examples:
        >>> codes, scales = encode_signed(np.array([-4, 0.5, 0], np.float32), np.zeros(3, np.uint32), 3)
        >>> decode_signed(codes, scales, 3)
        array([-4. ,  0.5,  0. ], dtype=float32)
    """
    d = np.uint32(digits)
    raw, chance = _in_blocks(values.view(np.uint32)), _in_blocks(bits)
    magnitude = raw & _MAGNITUDE
    highest = np.where(magnitude < _INFINITY, magnitude, 0).max(axis=1, keepdims=True, initial=0) >> 23
    base = np.maximum(highest.astype(np.int64) - (128 >> d) + 1 + room, _LOWEST).astype(np.uint32)
    normal = (base + 1) << 23
    is_small = magnitude < normal
    small = np.where(is_small, magnitude, 0).astype(np.uint32).view(np.float32)
    fixed = (small + normal.view(np.float32)).view(np.uint32) - normal
    above = np.where(is_small, fixed, magnitude - (base << 23))
    code = (above + (chance >> (9 + d))) >> (23 - d)
    code = np.minimum(code, np.minimum(125, ((255 - base) << d) - 1))
    code = np.where(magnitude >= _INFINITY, 126, code)
    code = np.where(code == 0, 0, code | ((raw >> 24) & 0x80))
    code = np.where(magnitude > _INFINITY, 127, code)
    return _row(code, values).astype(np.uint8), base.astype(np.uint16).reshape(-1)


def decode_signed(codes: Array, scales: Array, digits: int) -> Array:
    """Return the numbers that `encode_signed` has made codes of.

    Args:
        codes: The codes, a row of uint8.
        scales: The scales, a row of uint16.
        digits: The digits of the fraction.

    Returns:
        float32, a row.
    """
    d = np.uint32(digits)
    code, base = _in_blocks(codes.astype(np.uint32)), scales.astype(np.uint32).reshape(-1, 1)
    sign, magnitude = (code & 0x80) << 24, code & 0x7F
    small = magnitude.astype(np.float32) * ((base + 1 - d) << 23).view(np.float32)
    raw = np.where(magnitude >> d, (magnitude << (23 - d)) + (base << 23), small.view(np.uint32))
    raw = np.where(magnitude >= 126, np.where(magnitude == 126, _INFINITY, _NAN), raw)
    return _row(sign | raw, codes).astype(np.uint32).view(np.float32)


def _in_blocks(row: Array) -> Array:
    """Return a row as a table of blocks, filled up with zeros."""
    padded: Array = np.zeros(blocks(row.size) * BLOCK, row.dtype)
    padded[: row.size] = row
    return padded.reshape(-1, BLOCK)


def _row(table: Array, like: Array) -> Array:
    return table.reshape(-1)[: like.size]
