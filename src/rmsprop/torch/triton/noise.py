"""Rounding by chance: the random bits of `rmsprop.storage`, and what they make of a number."""

import triton
import triton.language as tl

from rmsprop.storage import PERIOD_BITS, STREAMS
from rmsprop.torch.triton.tables import COUNTER, COUNTER_BYTES, FIRST, NUMBER, RUN, SEED, STRIDE

WEIGHTS, SPREADS = tl.constexpr(0), tl.constexpr(STREAMS["square_avg"])
MEANS, BUFFERS = tl.constexpr(STREAMS["grad_avg"]), tl.constexpr(STREAMS["momentum_buffer"])
_PERIOD_BITS = tl.constexpr(PERIOD_BITS)


@triton.jit
def _mixed(word):
    word += 0x9E3779B97F4A7C15
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB
    return word ^ (word >> 31)


@triton.jit
def number_of_update(row, steps, tensor):
    """Return what random bits go by besides seed, parameter and element; a counter on the device has counted already.

    Args:
        row: The tensor's row in the table.
        steps: The number of each tensor's update, 0 where a counter knows it.
        tensor: The tensor's number.
    """
    step = tl.load(steps + tensor)
    address, size = tl.load(row + COUNTER), tl.load(row + COUNTER_BYTES)
    step += tl.load(address.to(tl.pointer_type(tl.float32)), mask=size == 4, other=0.0).to(tl.int64)
    step += tl.load(address.to(tl.pointer_type(tl.float64)), mask=size == 8, other=0.0).to(tl.int64)
    return step


@triton.jit
def _places(row, start, BLOCK: tl.constexpr):
    # The indices of elements in the whole parameter.
    first, run, stride = tl.load(row + FIRST), tl.load(row + RUN), tl.load(row + STRIDE)
    index = start + tl.arange(0, BLOCK)
    if stride != 0:  # a shard that lies in runs
        index = index // run * stride + index % run
    return (first + index).to(tl.uint64)


@triton.jit
def _hashed(key, index):
    # `rmsprop.storage.noise`, line by line.
    word = _mixed(key + (index >> 8) * 0x9E3779B97F4A7C15)
    lane = (index & 255).to(tl.uint32)
    x = (word.to(tl.uint32) + lane * 0x9E3779B9) ^ (word >> 32).to(tl.uint32)
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def noise_of(row, step, start, STREAM: tl.constexpr, BLOCK: tl.constexpr):
    """Return random bits for a block: `rmsprop.storage.noise` and, for streams of state, `state_noise`, line by line.

    Args:
        row: The tensor's row in the table.
        step: The number of the update.
        start: The first element.
        STREAM: The array that is rounded.
        BLOCK: How many elements there are.
    """
    seed, number = tl.load(row + SEED).to(tl.uint64), tl.load(row + NUMBER).to(tl.uint64)
    index = _places(row, start, BLOCK)
    if STREAM == WEIGHTS:
        return _hashed(_mixed(_mixed(_mixed(seed) ^ step.to(tl.uint64)) ^ number), index)
    else:
        key = _mixed(_mixed(_mixed(seed) ^ (step >> _PERIOD_BITS).to(tl.uint64)) ^ (number + (STREAM << 56)))
        byte = _hashed(key, index >> 2) >> ((index & 3).to(tl.uint32) * 8)
        turned = (key.to(tl.uint32) + step.to(tl.uint32) * 0x9E3779B9) & 0xFFFFF000
        return (byte << 24) + (turned | (_mixed(key ^ step.to(tl.uint64)) >> 52).to(tl.uint32))


@triton.jit
def rounded_by_chance(value, noise, STORED: tl.constexpr):
    """Return numbers rounded to 16 bits: `rmsprop.storage.round_stochastically`, line by line."""
    bits = value.to(tl.uint32, bitcast=True)
    sign, magnitude = (bits >> 16) & 0x8000, bits & 0x7FFFFFFF
    if tl.bfloat16 == STORED:
        rounded = (magnitude + (noise >> 16)) >> 16
        finite = tl.where(rounded < 0x7F7F, rounded, 0x7F7F)
        bounded = tl.where(magnitude >= 0x7F7F8000, 0x7F80, finite)
        nan = (magnitude >> 16) | 0x40
    else:
        chance = noise >> 19
        is_small = magnitude < 0x38800000
        small = tl.where(is_small, magnitude, 0).to(tl.float32, bitcast=True)
        fixed = (small * 137438953472.0).to(tl.int32).to(tl.uint32)
        rounded = tl.where(is_small, (fixed + chance) >> 13, ((magnitude + chance) >> 13) - 0x1C000)
        finite = tl.where(rounded < 0x7BFF, rounded, 0x7BFF)
        bounded = tl.where(magnitude >= 0x477FF000, 0x7C00, finite)
        nan = 0x7E00 | ((magnitude >> 13) & 0x3FF)
    stored = sign | tl.where(magnitude > 0x7F800000, nan, bounded)
    return stored.to(tl.uint16).to(STORED, bitcast=True)
