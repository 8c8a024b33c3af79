"""Blocks of stored numbers as numbers in working precision, and back.

What a program works on is a block: elements from ``start`` on, of which ``left`` are there. A ``WHOLE`` block has all
of them and begins at a multiple of 16 bytes; a thread reads and writes 16 bytes of it at a time.
"""

import triton
import triton.language as tl

from rmsprop.codes import BLOCK as CODED
from rmsprop.storage import SIGNED_DIGITS
from rmsprop.torch.triton.codes import decode_positive, decode_signed, encode_positive, encode_signed
from rmsprop.torch.triton.noise import BUFFERS, MEANS, SPREADS, WEIGHTS, noise_of, rounded_by_chance
from rmsprop.torch.triton.tables import BUFFER_SCALES, LOST, MEAN_SCALES, SPREAD_SCALES

# Elements that share a scale in 8 bits, and digits and octaves of signed codes.
_CODED = tl.constexpr(CODED)
_MEAN_DIGITS, _BUFFER_DIGITS = (tl.constexpr(SIGNED_DIGITS[name]) for name in ("grad_avg", "momentum_buffer"))
_MEAN_OCTAVES, _BUFFER_OCTAVES = (tl.constexpr(128 >> SIGNED_DIGITS[name]) for name in ("grad_avg", "momentum_buffer"))


@triton.jit
def arrays_of(row, grad, STORED: tl.constexpr, KEPT: tl.constexpr):
    """Return where gradient, parameter, spread, mean and buffer of a tensor begin.

    Args:
        row: The tensor's row in the table.
        grad: The address of its gradient.
        STORED: The type of parameter and gradient.
        KEPT: The type of its state.
    """
    return (
        grad.to(tl.pointer_type(STORED)),
        tl.load(row).to(tl.pointer_type(STORED)),
        tl.load(row + 1).to(tl.pointer_type(KEPT)),
        tl.load(row + 2).to(tl.pointer_type(KEPT)),
        tl.load(row + 3).to(tl.pointer_type(KEPT)),
    )


@triton.jit
def at(pointer, start, WHOLE: tl.constexpr):
    """Return where a block begins."""
    pointer += start
    return tl.multiple_of(pointer, 16) if WHOLE else pointer


@triton.jit
def load(pointer, left, BLOCK: tl.constexpr, WHOLE: tl.constexpr):
    """Return the stored numbers of a block, 0 where none is left."""
    offsets = tl.arange(0, BLOCK)
    if WHOLE:
        return tl.load(pointer + offsets)
    else:
        return tl.load(pointer + offsets, mask=offsets < left, other=0.0)


@triton.jit
def _store(pointer, value, left, BLOCK: tl.constexpr, WHOLE: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    if WHOLE:
        tl.store(pointer + offsets, value.to(pointer.dtype.element_ty))
    else:
        tl.store(pointer + offsets, value.to(pointer.dtype.element_ty), mask=offsets < left)


@triton.jit
def _load_state(array, scales, start, left, STREAM: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr):
    stored = load(at(array, start, WHOLE), left, BLOCK, WHOLE)
    if array.dtype.element_ty == tl.uint8:
        offsets = tl.arange(0, BLOCK)
        pointer = tl.load(scales).to(tl.pointer_type(tl.int16)) + start // _CODED
        scale = tl.load(pointer + offsets // _CODED, mask=offsets < left, other=0).to(tl.int32) & 0xFFFF
        if STREAM == SPREADS:
            return decode_positive(stored.to(tl.int32), scale)
        elif STREAM == MEANS:
            return decode_signed(stored.to(tl.int32), scale, _MEAN_DIGITS)
        else:
            return decode_signed(stored.to(tl.int32), scale, _BUFFER_DIGITS)
    elif array.dtype.element_ty == tl.bfloat16:
        return stored.to(tl.float32)
    else:
        return stored


@triton.jit
def _encode(value, noise, left, STREAM: tl.constexpr, BLOCK: tl.constexpr):
    if STREAM == SPREADS:
        return encode_positive(value, noise, left, BLOCK)
    elif STREAM == MEANS:
        return encode_signed(value, noise, left, _MEAN_DIGITS, _MEAN_OCTAVES, BLOCK)
    else:
        return encode_signed(value, noise, left, _BUFFER_DIGITS, _BUFFER_OCTAVES, BLOCK)


@triton.jit
def _store_state(
    array, scales, value, row, step, start, left, STREAM: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr
):
    pointer = at(array, start, WHOLE)
    if array.dtype.element_ty == tl.uint8:
        code, scale = _encode(value, noise_of(row, step, start, STREAM, BLOCK), left, STREAM, BLOCK)
        _store(pointer, code, left, BLOCK, WHOLE)
        block = tl.arange(0, BLOCK // _CODED)
        place = tl.load(scales).to(tl.pointer_type(tl.int16)) + start // _CODED
        tl.store(place + block, scale.to(tl.int16), mask=block * _CODED < left)
    elif array.dtype.element_ty == tl.bfloat16:
        noise = noise_of(row, step, start, STREAM, BLOCK)
        _store(pointer, rounded_by_chance(value, noise, tl.bfloat16), left, BLOCK, WHOLE)
    else:
        _store(pointer, value, left, BLOCK, WHOLE)


@triton.jit
def read_gradient(arrays, start, left, WORKING: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr):
    """Return a block of a gradient."""
    return load(at(arrays[0], start, WHOLE), left, BLOCK, WHOLE).to(WORKING)


@triton.jit
def read_param(
    arrays, row, start, left, WORKING: tl.constexpr, ROUNDING: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr
):
    """Return a block of a parameter, with what rounding took off it."""
    p = load(at(arrays[1], start, WHOLE), left, BLOCK, WHOLE).to(WORKING)
    if ROUNDING == "kahan":
        lost = tl.load(row + LOST).to(arrays[1].dtype)
        p = p + load(at(lost, start, False), left, BLOCK, WHOLE).to(WORKING)
    return p


@triton.jit
def write_param(arrays, p, row, step, start, left, ROUNDING: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr):
    """Store a block of a parameter, rounded as chosen."""
    pointer = at(arrays[1], start, WHOLE)
    if ROUNDING == "stochastic":
        noise = noise_of(row, step, start, WEIGHTS, BLOCK)
        _store(pointer, rounded_by_chance(p, noise, pointer.dtype.element_ty), left, BLOCK, WHOLE)
    else:
        _store(pointer, p, left, BLOCK, WHOLE)
    if ROUNDING == "kahan":
        missing = p - p.to(pointer.dtype.element_ty).to(p.dtype)
        lost = tl.load(row + LOST).to(arrays[1].dtype)
        _store(at(lost, start, False), tl.where(tl.abs(missing) < float("inf"), missing, 0.0), left, BLOCK, WHOLE)


@triton.jit
def read_state(
    arrays, row, start, left, CENTERED: tl.constexpr, BUFFER: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr
):
    """Return blocks of spread, mean and buffer; something else in the place of what there isn't."""
    spread = _load_state(arrays[2], row + SPREAD_SCALES, start, left, SPREADS, BLOCK, WHOLE)
    mean, buffer = spread, spread
    if CENTERED:
        mean = _load_state(arrays[3], row + MEAN_SCALES, start, left, MEANS, BLOCK, WHOLE)
    if BUFFER != "none":
        buffer = _load_state(arrays[4], row + BUFFER_SCALES, start, left, BUFFERS, BLOCK, WHOLE)
    return spread, mean, buffer


@triton.jit
def write_state(
    arrays,
    state,
    row,
    step,
    start,
    left,
    CENTERED: tl.constexpr,
    BUFFER: tl.constexpr,
    BLOCK: tl.constexpr,
    WHOLE: tl.constexpr,
):
    """Store blocks of spread, mean and buffer, by the random bits of an update where they are packed."""
    _store_state(arrays[2], row + SPREAD_SCALES, state[0], row, step, start, left, SPREADS, BLOCK, WHOLE)
    if CENTERED:
        _store_state(arrays[3], row + MEAN_SCALES, state[1], row, step, start, left, MEANS, BLOCK, WHOLE)
    if BUFFER != "none":
        _store_state(arrays[4], row + BUFFER_SCALES, state[2], row, step, start, left, BUFFERS, BLOCK, WHOLE)
