"""One precision policy: in which precision an update works, what its state is kept in, and how numbers are rounded.

By the names that every framework gives its dtypes; this module knows none of them.

1. An update works in at least 32 bits, and state is kept in the precision in which it works: an average that is rounded
   to the nearest of 16 bits stops moving, because what a step adds to it is less than half of its last digit. Who asks
   for it gets state in 16 or 8 bits that is rounded by chance, and so right on average (`encode`).
2. What is wider keeps its width, and what is complex stays complex. Where complex arithmetic is done, averages of
   squares are real (`real_dtype`).
3. The kernel takes 16 bits as they are stored, and a complex number as two reals (`KERNEL_DTYPES`).
4. Parameters of 16 bits are rounded to the nearest, at random (`round_stochastically`), or with what rounding took off
   kept beside them (`split`). The functions here, in NumPy, are the specification; the kernels give the same bits.
5. Where rounding needs chance it takes `noise`, a function of what is rounded, not of who rounds it: equal on all
   threads, processes and shards, and after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from rmsprop import codes

# In which nothing is computed or kept, though parameters and gradients may be stored in it.
NARROW_DTYPES = frozenset({"float16", "bfloat16", "complex32"})

# From here on a float32 can't count: adding 1 to it changes nothing.
FLOAT32_IS_FULL = 2**24

_REAL: Mapping[str, str] = MappingProxyType({"complex64": "float32", "complex128": "float64"})
_WIDE = frozenset({"float32", "float64", *_REAL})

# dtype of a parameter -> what the kernel is told that its numbers are, a key of `rmsprop.layout.DTYPES`.
KERNEL_DTYPES: Mapping[str, str] = MappingProxyType(
    {"float16": "float16", "bfloat16": "bfloat16", "float32": "float32", "float64": "float64", **_REAL}
)


def working_dtype(name: str) -> str:
    """Return the precision in which a parameter is updated and its state is kept.

    Args:
        name: The dtype that it is stored in, of any framework.

    Returns:
        The same, but at least 32 bits: ``"complex64"`` for ``"complex32"``, ``"float32"`` for all else that is narrower
        or holds no floating-point numbers.

    Examples:
        >>> [working_dtype(name) for name in ("bfloat16", "float32", "float64", "complex32")]
        ['float32', 'float32', 'float64', 'complex64']
    """
    if name in _WIDE:
        return name
    return "complex64" if name.startswith("complex") else "float32"


def real_dtype(name: str) -> str:
    """Return the precision of the real numbers in a working precision: what a mean of |g|² is kept in.

    Args:
        name: What `working_dtype` returned.

    Returns:
        ``"float32"`` for ``"complex64"`` and ``"float32"``, ``"float64"`` for ``"complex128"`` and ``"float64"``.

    Examples:
        >>> real_dtype("complex128")
        'float64'
    """
    return _REAL.get(name, name)


Rounding = Literal["nearest", "stochastic", "kahan"]
ROUNDINGS: tuple[Rounding, ...] = ("nearest", "stochastic", "kahan")
Packing = Literal["bfloat16", "8bit"]
PACKINGS: tuple[Packing, ...] = ("bfloat16", "8bit")  # what state can be kept in besides the working precision

# Array of a state -> the number of its random bits; 0 are those of the weights.
STREAMS: Mapping[str, int] = MappingProxyType({"square_avg": 1, "grad_var": 1, "grad_avg": 2, "momentum_buffer": 3})
# Array of both signs -> digits of its codes. The buffer's numbers are steps, of one size in a block; the means' go as
# far apart as gradients do.
SIGNED_DIGITS: Mapping[str, int] = MappingProxyType({"grad_avg": 3, "momentum_buffer": 4})

Array = np.ndarray[Any, Any]

# The bits of a lane, of the elements that share a word of `noise`; and of the steps that share their bytes of
# `state_noise`.
LANE_BITS, PERIOD_BITS = 8, 7
# The constants of two well-known mixers.
_GOLDEN64, _GOLDEN32 = 0x9E3779B97F4A7C15, np.uint32(0x9E3779B9)
_MASK64 = (1 << 64) - 1


def noise(seed: int, step: int, number: int, index: Array) -> Array:
    """Return random bits for elements of a parameter, a pure function of what they are for.

    Args:
        seed: Chooses one of 2⁶⁴ sequences.
        step: The number of the update, counted from 1.
        number: The number of the parameter, counted from 0.
        index: The places of elements in the whole parameter, in the order of its memory, an array of unsigned integers
            of any shape.

    Returns:
        32 bits per element, an array of ``index``'s shape.

    Examples:
        >>> bool((noise(0, 1, 0, np.arange(9))[3:] == noise(0, 1, 0, np.arange(3, 9))).all())
        True

    Source: the mixers are those of Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA
    2014, figure 16, and, for 32 bits, of Wellons, "Prospecting for hash functions", 2018.
    """
    index = np.asarray(index, np.uint64)
    key = np.uint64(_mixed(_mixed(_mixed(seed) ^ step) ^ number))
    with np.errstate(over="ignore"):
        word = _mixed_array(key + (index >> np.uint64(LANE_BITS)) * np.uint64(_GOLDEN64))
        lane = (index & np.uint64((1 << LANE_BITS) - 1)).astype(np.uint32)
        x: Array = (word.astype(np.uint32) + lane * _GOLDEN32) ^ (word >> np.uint64(32)).astype(np.uint32)
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
        return np.asarray(x ^ (x >> np.uint32(16)))


def _mixed(word: int) -> int:
    word = (word + _GOLDEN64) & _MASK64
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK64
    return word ^ (word >> 31)


def _mixed_array(word: Any) -> Any:
    word = word + np.uint64(_GOLDEN64)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def round_stochastically(values: Array, bits: Array, dtype: str) -> Array:
    """Return numbers of 16 bits that are right on average: one of the two neighbours, the nearer one more often.

    What rounding to the nearest makes infinite becomes so here; nothing else does.

    Args:
        values: float32, of any shape.
        bits: Random bits for each, as `noise` returns them.
        dtype: ``"bfloat16"`` or ``"float16"``.

    Returns:
        The bits of the numbers, as uint16.

    Examples:
        >>> a_third_up = np.full(3, 1.0 + 2.0**-7 / 3, np.float32)
        >>> round_stochastically(a_third_up, np.array([0, 1 << 31, (1 << 32) - 1], np.uint32), "bfloat16") - 0x3F80
        array([0, 0, 1], dtype=uint16)

    Source: Gupta et al., "Deep learning with limited numerical precision", arXiv 1502.02551, section 3.
    """
    raw: Array = np.asarray(values, np.float32, order="C").view(np.uint32)
    rounded: Array
    sign, magnitude = (raw >> np.uint32(16)) & np.uint32(0x8000), raw & np.uint32(0x7FFFFFFF)
    if dtype == "bfloat16":
        rounded = (magnitude + (bits >> np.uint32(16))) >> np.uint32(16)
        largest, overflow, nan = 0x7F7F, 0x7F7F8000, (magnitude >> np.uint32(16)) | np.uint32(0x40)
    else:
        chance = bits >> np.uint32(19)
        normal = ((magnitude + chance) >> np.uint32(13)) - np.uint32(112 << 10)
        is_small = magnitude < np.uint32(113 << 23)
        fixed = (np.where(is_small, magnitude, 0).astype(np.uint32).view(np.float32) * np.float32(2.0**37)).astype("u4")
        rounded = np.where(is_small, (fixed + chance) >> np.uint32(13), normal)
        largest, overflow = 0x7BFF, 0x477FF000
        nan = np.uint32(0x7E00) | ((magnitude >> np.uint32(13)) & np.uint32(0x3FF))
    infinity = np.uint32(largest + 1)
    finite = np.where(magnitude >= np.uint32(overflow), infinity, np.minimum(rounded, np.uint32(largest)))
    return np.asarray(sign | np.where(magnitude > np.uint32(0x7F800000), nan, finite)).astype(np.uint16)


def widened(stored: Array, dtype: str) -> Array:
    """Return numbers of 16 bits as float32.

    Args:
        stored: Their bits, as uint16.
        dtype: ``"bfloat16"`` or ``"float16"``.

    Returns:
        The same numbers.

    Examples:
        >>> widened(np.array([0x3F80, 0xC000], np.uint16), "bfloat16")
        array([ 1., -2.], dtype=float32)
    """
    if dtype == "bfloat16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return stored.view(np.float16).astype(np.float32)


def round_to_nearest(values: Array, dtype: str) -> Array:
    """Return the nearest numbers of 16 bits, of two equally near ones that which is even.

    Args:
        values: float32, of any shape.
        dtype: ``"bfloat16"`` or ``"float16"``.

    Returns:
        The bits of the numbers, as uint16.

    Examples:
        >>> round_to_nearest(np.array([1.0], np.float32), "float16") == 0x3C00
        array([ True])
    """
    if dtype == "float16":
        with np.errstate(over="ignore"):
            return np.asarray(values, np.float16).view(np.uint16)
    raw = np.asarray(values, np.float32, order="C").view(np.uint32)
    with np.errstate(over="ignore"):
        rounded = (raw + np.uint32(0x7FFF) + ((raw >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    is_nan = (raw & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    return np.where(is_nan, (raw >> np.uint32(16)) | np.uint32(0x40), rounded).astype(np.uint16)


def split(values: Array, dtype: str) -> tuple[Array, Array]:
    """Return numbers as two of 16 bits each: the nearest, and the nearest of what is then missing.

    Args:
        values: float32, of any shape.
        dtype: ``"bfloat16"`` or ``"float16"``.

    Returns:
        The bits of both, as uint16. The second is 0 where the first is infinite or NaN.

    Examples:
        >>> high, low = split(np.array([1.0 + 2.0**-12], np.float32), "bfloat16")
        >>> widened(high, "bfloat16") + widened(low, "bfloat16") == 1.0 + 2.0**-12
        array([ True])

    Source: Kahan, "Further remarks on reducing truncation errors", Communications of the ACM 8(1), 1965; for weights:
    Zamirai et al., "Revisiting BFloat16 training", arXiv 2010.06192, algorithm 3.
    """
    high = round_to_nearest(values, dtype)
    with np.errstate(invalid="ignore"):
        missing = np.asarray(values, np.float32) - widened(high, dtype)
    return high, round_to_nearest(np.where(np.isfinite(missing), missing, np.float32(0)), dtype)


def state_noise(seed: int, step: int, number: int, name: str, index: Array) -> Array:
    """Return random bits for packing an array of a parameter's state.

    A byte of `noise` per element, and what all elements share: a turn of a circle by the golden ratio per step. So in
    128 steps that follow each other the chances that a number takes go evenly round the circle, from a place of its
    own: a small move that is made again and again happens as often as it should, not now twice and now not at all, and
    an average strays less from the exact one.

    Args:
        seed: Chooses one of 2⁶⁴ sequences.
        step: The number of the update, counted from 1.
        number: The number of the parameter, counted from 0.
        name: A key of `STREAMS`.
        index: The places of elements in the whole parameter, in the order of its memory, an array of unsigned integers
            of any shape.

    Returns:
        32 bits per element, an array of ``index``'s shape. Below the highest 8 they are equal for all elements; the
        lowest 12 are for a choice of their own (`rmsprop.codes`).

    Examples:
        >>> sum(int(state_noise(0, step, 0, "grad_avg", np.array(5))) < 2**28 for step in range(128))
        8

    Source: Weyl, "Über die Gleichverteilung von Zahlen mod. Eins", Mathematische Annalen 77, 1916, for the turns.
    """
    number += STREAMS[name] << 56
    period, index = step >> PERIOD_BITS, np.asarray(index, np.uint64)
    word = noise(seed, period, number, index >> np.uint64(2))
    byte = word >> ((index & np.uint64(3)).astype(np.uint32) * np.uint32(8))
    with np.errstate(over="ignore"):
        return np.asarray((byte << np.uint32(24)) + np.uint32(_shared_bits(seed, step, period, number)))


def _shared_bits(seed: int, step: int, period: int, number: int) -> int:
    key = _mixed(_mixed(_mixed(seed) ^ period) ^ number)
    turned = (key + step * int(_GOLDEN32)) & 0xFFFFFFFF
    return (turned & ~0xFFF) | (_mixed(key ^ step) >> 52)


def encode(name: str, values: Array, bits: Array, packing: Packing, room: int = 1) -> tuple[Array, ...]:
    """Return what is kept of an array of state, right on average.

    Args:
        name: A key of `STREAMS`.
        values: float32, a row, in the order of memory.
        bits: Random bits for each, as `state_noise` returns them.
        packing: ``"bfloat16"`` or ``"8bit"``.
        room: What is free for rounding up the largest number of a block of 8 bits, 1 or 0. Default 1.

    Returns:
        For ``"bfloat16"`` the bits of the numbers, as uint16. For ``"8bit"`` codes and the scales of their blocks, as
        `rmsprop.codes` makes them.

    Examples:
        >>> stored = encode("square_avg", np.array([1.0, 0.5], np.float32), np.zeros(2, np.uint32), "8bit")
        >>> decode("square_avg", stored, "8bit")
        array([1. , 0.5], dtype=float32)
    """
    if packing == "bfloat16":
        return (round_stochastically(values, bits, "bfloat16"),)
    if name in SIGNED_DIGITS:
        return codes.encode_signed(values, bits, SIGNED_DIGITS[name], room)
    return codes.encode_positive(values, bits, room)


def encode_again(name: str, values: Array) -> tuple[Array, Array]:
    """Return codes of 8 bits for numbers that have been in 8 bits before, if possible exactly those.

    Args:
        name: A key of `STREAMS`.
        values: float32, a row, in the order of memory. Blocks of it that no codes can stand for are rounded to nearest.

    Returns:
        Codes and the scales of their blocks.

    Examples:
        >>> codes, scales = encode_again("square_avg", np.array([1.0, 0.3], np.float32))
        >>> decode("square_avg", (codes, scales), "8bit")
        array([1.        , 0.30078125], dtype=float32)
    """
    halves = np.full(values.size, 1 << 31, np.uint32)
    wide, tight = (encode(name, values, halves, "8bit", room) for room in (1, 0))
    differ = decode(name, tight, "8bit").view(np.uint32) != values.view(np.uint32)
    of_block = np.add.reduceat(differ, np.arange(0, values.size, codes.BLOCK)) > 0 if values.size else wide[1] > 0
    of_number = np.repeat(of_block, codes.BLOCK)[: values.size]
    return np.where(of_number, wide[0], tight[0]), np.where(of_block, wide[1], tight[1])


def decode(name: str, stored: tuple[Array, ...], packing: Packing) -> Array:
    """Return the numbers that `encode` has packed.

    Args:
        name: A key of `STREAMS`.
        stored: What `encode` returned.
        packing: ``"bfloat16"`` or ``"8bit"``.

    Returns:
        float32, a row.
    """
    if packing == "bfloat16":
        return widened(stored[0], "bfloat16")
    code, scales = stored
    if name in SIGNED_DIGITS:
        return codes.decode_signed(code, scales, SIGNED_DIGITS[name])
    return codes.decode_positive(code, scales)
