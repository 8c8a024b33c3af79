"""The kernels of clipping: the exact sum of `rmsprop.clipping`, to the bit, and what it makes of a step."""

import struct

import triton
import triton.language as tl

from rmsprop import clipping

_LIMB_BITS = tl.constexpr(clipping.LIMB_BITS)
_LIMBS, _LOWEST = tl.constexpr(clipping.LIMBS), tl.constexpr(clipping.LOWEST_LIMB)
_INFINITIES, _NANS = tl.constexpr(clipping.WORDS - 2), tl.constexpr(clipping.WORDS - 1)
# As bits, because a number would become a float32.
_STABILIZER = tl.constexpr(struct.unpack("<q", struct.pack("<d", clipping.STABILIZER))[0])
_BIAS = tl.constexpr(1023)
_INFINITY = tl.constexpr(0x7FF0000000000000)
_MAGNITUDE = tl.constexpr(0x7FFFFFFFFFFFFFFF)
_MOST = tl.constexpr((_BIAS.value + clipping.LIMB_BITS * (clipping.LIMBS + clipping.LOWEST_LIMB) - 1) << 52)


@triton.jit
def total(values):
    """Return the sum of some numbers."""
    return tl.sum(values, 0)


@triton.jit
def largest_of(values):
    """Return the largest of some numbers."""
    return tl.max(values, 0)


@triton.jit
def _magic(limb):
    # 1.5·2^52 times a limb's weight: adding it leaves the nearest multiple of the weight in the last bits.
    bits = (((limb + _LOWEST) * _LIMB_BITS + (_BIAS + 52)).to(tl.int64) << 52) | (1 << 51)
    return bits, bits.to(tl.float64, bitcast=True)


@triton.jit
def add_block(value, words, limb, high, low):
    """Return a part of a sum with the squares of some numbers added, by the limb of its largest square.

    Args:
        value: The numbers, float64.
        words: The sum, to which infinities and NaN are added.
        limb: The limb of what was added so far.
        high: What was added, in units of that limb.
        low: And in units of the one below.
    """
    square = value * value
    largest = largest_of(square.to(tl.int64, bitcast=True) & _MAGNITUDE)
    if largest >= _MOST:
        tl.atomic_add(words + tl.where(largest > _INFINITY, _NANS, _INFINITIES), 1)
    elif largest > 0:
        # See `rmsprop.clipping.limb_of`.
        exponent = ((largest - 1) >> 52) - _BIAS + 1 - _LIMB_BITS * (_LOWEST + 1)
        found = tl.where(exponent < 0, 0, exponent) // _LIMB_BITS + 1
        if found > limb:  # what was added so far has nothing in the new limb
            low = tl.where(found == limb + 1, high, 0)
            high = tl.full((), 0, tl.int64)
            limb = found
        high_bits, high_magic = _magic(limb)
        low_bits, low_magic = _magic(limb - 1)
        above = square + high_magic
        below = (square - (above - high_magic)) + low_magic
        high += total(above.to(tl.int64, bitcast=True) - high_bits)
        low += total(below.to(tl.int64, bitcast=True) - low_bits)
    return limb, high, low


@triton.jit
def add_part(words, limb, high, low):
    """Add a part of a sum to it."""
    place = words + 2 * limb
    tl.atomic_add(place, high & 0xFFFFFFFF)
    tl.atomic_add(place + 1, high >> 32)
    tl.atomic_add(place - 2, low & 0xFFFFFFFF)
    tl.atomic_add(place - 1, low >> 32)


@triton.jit
def add_squares(tensors, grads, owners, span, words, STORED: tl.constexpr, BLOCK: tl.constexpr):
    """Add the squares of all gradients that the tables name to a sum.

    Args:
        tensors: Two words of 8 bytes per tensor: the number of its elements, and its first program.
        grads: The address of each tensor's gradient.
        owners: Which tensor each program reads a part of; those of one tensor follow each other.
        span: How many blocks a program reads.
        words: The sum, as `rmsprop.clipping.squares` has it.
        STORED: The type of gradients.
        BLOCK: How many elements are read at a time.
    """
    tensor = tl.load(owners + tl.program_id(0)).to(tl.int64)
    size, first_program = tl.load(tensors + 2 * tensor), tl.load(tensors + 2 * tensor + 1)
    grad = tl.load(grads + tensor).to(tl.pointer_type(STORED))
    begin = (tl.program_id(0).to(tl.int64) - first_program) * span * BLOCK
    limb = tl.full((), 1, tl.int64)
    high, low = tl.full((), 0, tl.int64), tl.full((), 0, tl.int64)
    for nth in range(span):
        offsets = begin + nth * BLOCK + tl.arange(0, BLOCK)
        value = tl.load(grad + offsets, mask=offsets < size, other=0.0).to(tl.float64)
        limb, high, low = add_block(value, words, limb, high, low)
    add_part(words, limb, high, low)


@triton.jit
def _at(places, values, place):
    return total(tl.where(places == place, values, 0)).to(tl.float64)


@triton.jit(do_not_specialize=["max_norm", "scale"])
def finish(words, max_norm, scale, grad_scale, found_inf, skipped, numbers, found, PLACES: tl.constexpr):
    """Make of a sum of squares what a step needs to know.

    Args:
        words: The sum.
        max_norm: The bits of the largest norm that is left as it is, a float64.
        scale: The bits of what gradients are multiplied with on the host.
        grad_scale: What gradients are to be divided by, one element; or None.
        found_inf: Anything but 0 in it means that nothing may change; one element; or None.
        skipped: How many steps were skipped, counted on here.
        numbers: Where the norm and the factor of the clipping go, two float64.
        found: Where it goes whether nothing may change, a float32.
        PLACES: A power of two that is not below the number of limbs.
    """
    places = tl.arange(0, PLACES)
    low = tl.load(words + 2 * places, mask=places < _LIMBS, other=0)
    high = tl.load(words + 2 * places + 1, mask=places < _LIMBS, other=0)
    high += low >> 32
    low = low & 0xFFFFFFFF
    top = largest_of(tl.where((low | high) != 0, places, 1))
    sum_of_squares = (_at(places, high, top) * 4294967296.0 + _at(places, low, top)) * 1099511627776.0
    sum_of_squares += _at(places, high, top - 1) * 4294967296.0 + _at(places, low, top - 1)
    weight = (((top - 1 + _LOWEST) * _LIMB_BITS + _BIAS).to(tl.int64) << 52).to(tl.float64, bitcast=True)
    norm = tl.sqrt(sum_of_squares * weight) * scale.to(tl.int64).to(tl.float64, bitcast=True)
    norm = tl.where(tl.load(words + _INFINITIES) != 0, float("inf"), norm)
    norm = tl.where(tl.load(words + _NANS) != 0, float("nan"), norm)
    if grad_scale is not None:
        norm = norm * (1.0 / tl.load(grad_scale).to(tl.float64))
    stop = ~(tl.abs(norm) < float("inf"))
    if found_inf is not None:
        stop = stop | (tl.load(found_inf) != 0.0)
    stabilizer = tl.full((), _STABILIZER, tl.int64).to(tl.float64, bitcast=True)
    factor = max_norm.to(tl.int64).to(tl.float64, bitcast=True) / (norm + stabilizer)
    tl.store(numbers, norm)
    tl.store(numbers + 1, tl.where(factor < 1.0, factor, 1.0))
    tl.store(found, stop.to(tl.float32))
    tl.store(skipped, tl.load(skipped) + stop.to(tl.int64))
