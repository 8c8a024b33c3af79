"""State in 8 bits: `rmsprop.codes`, function by function and line by line. Codes in blocks share a scale."""

import triton
import triton.language as tl

from rmsprop.codes import BLOCK as ELEMENTS

_ELEMENTS = tl.constexpr(ELEMENTS)


@triton.jit
def decode_positive(code, scale):
    """Do as `rmsprop.codes.decode_positive` does."""
    raw = (code - 1 + (scale & 0x3FFF)) << (20 - (scale >> 14))
    raw = tl.where(code == 0, 0, raw)
    return tl.where(code >= 254, tl.where(code == 254, 0x7F800000, 0x7FC00000), raw).to(tl.float32, bitcast=True)


@triton.jit
def decode_signed(code, base, DIGITS: tl.constexpr):
    """Do as `rmsprop.codes.decode_signed` does."""
    sign, magnitude = (code & 0x80) << 24, code & 0x7F
    small = magnitude.to(tl.float32) * ((base + 1 - DIGITS) << 23).to(tl.float32, bitcast=True)
    normal = (magnitude << (23 - DIGITS)) + (base << 23)
    raw = tl.where(magnitude >> DIGITS == 0, small.to(tl.int32, bitcast=True), normal)
    raw = tl.where(magnitude >= 126, tl.where(magnitude == 126, 0x7F800000, 0x7FC00000), raw)
    return (sign | raw).to(tl.float32, bitcast=True)


@triton.jit
def _larger(a, b):
    return tl.maximum(a, b)


@triton.jit
def _smaller(a, b):
    return tl.minimum(a, b)


@triton.jit
def _in_coded_blocks(value, noise, left, BLOCK: tl.constexpr):
    # Bits of numbers and of chances as rows that share a scale, and the largest finite magnitude of each.
    bits = tl.where(tl.arange(0, BLOCK) < left, value.to(tl.int32, bitcast=True), 0)
    bits = tl.reshape(bits, (BLOCK // _ELEMENTS, _ELEMENTS))
    noise = tl.reshape(tl.where(tl.arange(0, BLOCK) < left, noise, 0), (BLOCK // _ELEMENTS, _ELEMENTS))
    magnitude = bits & 0x7FFFFFFF
    return bits, magnitude, noise, tl.reduce(tl.where(magnitude < 0x7F800000, magnitude, 0), 1, _larger, True)


@triton.jit
def encode_positive(value, noise, left, BLOCK: tl.constexpr):
    """Do as `rmsprop.codes.encode_positive` does."""
    _, magnitude, noise, highest = _in_coded_blocks(value, noise, left, BLOCK)
    lowest = tl.where(magnitude < 0x7F800000, tl.where(magnitude != 0, magnitude, highest), highest)
    lowest = tl.reduce(lowest, 1, _smaller, True)
    digits = 3 + ((highest >> 19) - (lowest >> 19) < 252).to(tl.int32)
    digits += ((highest >> 18) - (lowest >> 18) < 252).to(tl.int32)
    digits += ((highest >> 17) - (lowest >> 17) < 252).to(tl.int32)
    shift = 23 - digits
    top = highest >> shift
    origin = tl.maximum(lowest >> shift, tl.where(top >= 253, top - 251, 1))
    above = tl.where(magnitude > origin << shift, magnitude - (origin << shift), 0)
    pairs = tl.reshape(noise, (BLOCK // 2, 2))
    pairs = tl.broadcast_to(tl.reduce(pairs, 1, _larger, True), (BLOCK // 2, 2))
    is_raised = (noise & 0xFFF).to(tl.int32) < 0x1000 >> (digits + 1)
    noise = tl.where(is_raised, tl.reshape(pairs, (BLOCK // _ELEMENTS, _ELEMENTS)), noise)
    code = (above + (noise >> (9 + digits).to(tl.uint32)).to(tl.int32)) >> shift
    code = 1 + tl.minimum(code, tl.minimum(252, (0x7F800000 >> shift) - 1 - origin))
    code = tl.where(magnitude == 0, 0, code)
    code = tl.where(magnitude >= 0x7F800000, tl.where(magnitude > 0x7F800000, 255, 254), code)
    return tl.reshape(code, (BLOCK,)), tl.reshape(((digits - 3) << 14) | origin, (BLOCK // _ELEMENTS,))


@triton.jit
def encode_signed(value, noise, left, DIGITS: tl.constexpr, OCTAVES: tl.constexpr, BLOCK: tl.constexpr):
    """Do as `rmsprop.codes.encode_signed` does."""
    bits, magnitude, noise, highest = _in_coded_blocks(value, noise, left, BLOCK)
    base = tl.maximum((highest >> 23) - OCTAVES + 2, 22)
    normal = (base + 1) << 23
    is_small = magnitude < normal
    small = tl.where(is_small, magnitude, 0).to(tl.float32, bitcast=True)
    fixed = (small + normal.to(tl.float32, bitcast=True)).to(tl.int32, bitcast=True) - normal
    above = tl.where(is_small, fixed, magnitude - (base << 23))
    code = (above + (noise >> (9 + DIGITS)).to(tl.int32)) >> (23 - DIGITS)
    code = tl.minimum(code, tl.minimum(125, ((255 - base) << DIGITS) - 1))
    code = tl.where(magnitude >= 0x7F800000, 126, code)
    code = tl.where(code == 0, 0, code | ((bits >> 24) & 0x80))
    code = tl.where(magnitude > 0x7F800000, 127, code)
    return tl.reshape(code, (BLOCK,)), tl.reshape(base, (BLOCK // _ELEMENTS,))
