"""The Triton kernels: all tensors of a step in one launch, in the arithmetic of `rmsprop.reference`, to the bit.

With ``caution`` another launch before it counts what agrees.

Every operation rounds once, in the written order, as in ``native/update.hpp``: √ and ÷ are the correctly rounded ones,
and the launch forbids fused multiply-add. The update reads p, g, v and writes p, v; nothing lies in between.

This module needs Triton; `rmsprop.torch.gpu` imports it when a GPU is to be used.
"""

# No `from __future__ import annotations`: Triton reads the annotations themselves.

import triton
import triton.language as tl

from rmsprop.codes import BLOCK as CODED
from rmsprop.layout import NUMBERS_BYTES, WEIGHT_DECAY_MODES, offset
from rmsprop.rule import MOST_FOR_THE_REST
from rmsprop.storage import PERIOD_BITS, SIGNED_DIGITS, STREAMS

# How memory is laid out in the tables that the kernel reads, in words of 8 bytes.
# Per tensor: addresses of parameter, square_avg or grad_var, grad_avg and momentum_buffer, the number of elements, the
# tensor's first program, which row of numbers it takes, and the address of what rounding took off it. For random bits
# their seed, the number of the parameter, where its elements are in the whole (see `Place` in native/noise.hpp), and
# address and size of a counter of steps that is on the device. For state in 8 bits the addresses of the scales of its
# three arrays. The addresses of gradients have a table of their own.
WORDS_PER_TENSOR = tl.constexpr(18)
LOST = tl.constexpr(7)
_SEED, _NUMBER, _FIRST, _RUN, _STRIDE = (tl.constexpr(word) for word in range(8, 13))
_COUNTER, _COUNTER_BYTES = tl.constexpr(13), tl.constexpr(14)
_SPREAD_SCALES, _MEAN_SCALES, _BUFFER_SCALES = (tl.constexpr(word) for word in range(15, 18))
# Per row of numbers: the struct `rmsprop_rule` of native/rmsprop.h, then the address and the size of a learning rate
# that is on the device.
LR_ADDRESS, _LR_BYTES = tl.constexpr(NUMBERS_BYTES // 8), tl.constexpr(NUMBERS_BYTES // 8 + 1)
WORDS_PER_RULE = tl.constexpr(NUMBERS_BYTES // 8 + 2)
_L2, _DECOUPLED, _CAUTIOUS = (tl.constexpr(WEIGHT_DECAY_MODES[mode]) for mode in ("l2", "decoupled", "cautious"))
# Where the numbers stand: numbers in words of 8 bytes, choices in words of 4.
_LR, _GRAD_SCALE, _WEIGHT_DECAY = (tl.constexpr(offset(name) // 8) for name in ("lr", "grad_scale", "weight_decay"))
_GAIN, _KEEP = (tl.constexpr(offset(name) // 8) for name in ("gain", "keep"))
_EPS_INSIDE, _EPS_OUTSIDE = (tl.constexpr(offset(name) // 8) for name in ("eps_inside", "eps_outside"))
_MOMENTUM, _MOMENTUM_LOSS = (tl.constexpr(offset(name) // 8) for name in ("momentum", "momentum_loss"))
_MOMENTUM_GAIN, _MAX_GRAD = (tl.constexpr(offset(name) // 8) for name in ("momentum_gain", "max_grad"))
_NEW_IS_BASE, _SHORT_MOMENTUM = (tl.constexpr(offset(name) // 4) for name in ("new_is_base", "short_momentum"))
_MAX_QUOTIENT, _IS_FIRST = (tl.constexpr(offset(name) // 8) for name in ("max_quotient", "is_first"))
_NESTEROV, _LR_IN_MOMENTUM, _WEIGHT_DECAY_MODE, _DELAYED = (
    tl.constexpr(offset(name) // 4) for name in ("nesterov", "lr_in_momentum", "weight_decay_mode", "delayed")
)

# Elements that a program updates at a time. Four per thread are 16 bytes of a float32 array; with eight the compiler
# needs three times the registers, and a third of the warps fit on a multiprocessor.
BLOCK = 1024
# Elements that share a scale in 8 bits, digits and octaves of signed codes, and the streams of random bits.
_CODED = tl.constexpr(CODED)
_MEAN_DIGITS, _BUFFER_DIGITS = (tl.constexpr(SIGNED_DIGITS[name]) for name in ("grad_avg", "momentum_buffer"))
_MEAN_OCTAVES, _BUFFER_OCTAVES = (tl.constexpr(128 >> SIGNED_DIGITS[name]) for name in ("grad_avg", "momentum_buffer"))
_WEIGHTS, _SPREADS = tl.constexpr(0), tl.constexpr(STREAMS["square_avg"])
_MEANS, _BUFFERS = tl.constexpr(STREAMS["grad_avg"]), tl.constexpr(STREAMS["momentum_buffer"])
_PERIOD_BITS = tl.constexpr(PERIOD_BITS)
_MOST_FOR_THE_REST = tl.constexpr(MOST_FOR_THE_REST)
_PER_THREAD = 4
_TYPES = {"float32": tl.float32, "float64": tl.float64, "float16": tl.float16, "bfloat16": tl.bfloat16}


def types(dtype: str, packing: str | None = None) -> dict[str, tl.dtype]:
    """Return the kernel's ``STORED``, ``WORKING`` and ``KEPT``.

    Args:
        dtype: That of the parameters, a key of `rmsprop.layout.DTYPES`.
        packing: What state is packed into. Default None: it is not.
    """
    working = tl.float64 if dtype == "float64" else tl.float32
    kept = {None: working, "bfloat16": tl.bfloat16, "8bit": tl.uint8}[packing]
    return {"STORED": _TYPES[dtype], "WORKING": working, "KEPT": kept}


def launch_options(warp_size: int) -> dict[str, int | bool]:
    """Return what the kernel is launched with, on a device with that many threads in a warp."""
    return {"num_warps": BLOCK // (_PER_THREAD * warp_size), "enable_fp_fusion": False}


@triton.jit
def _divide(a, b):
    return tl.div_rn(a, b) if a.dtype == tl.float32 else a / b


@triton.jit
def _root(x):
    return tl.sqrt_rn(x) if x.dtype == tl.float32 else tl.sqrt(x)


@triton.jit
def _is_infinite(x):
    return tl.abs(x) == float("inf")


@triton.jit
def _average(old, new, gain, keep, new_is_base):
    # gain·new + keep·old from the side that weighs more; an infinite average stays infinite.
    base = tl.where(new_is_base, new, old)
    other = tl.where(new_is_base, old, new)
    share = tl.where(new_is_base, keep, gain)
    return tl.where(_is_infinite(base), base + other, base + share * (other - base))


@triton.jit
def _limited(value, most):
    value = tl.where(value < -most, -most, value)  # NaN stays NaN
    return tl.where(value > most, most, value)


@triton.jit
def _decayed_sum(old, new, momentum, momentum_loss, short_momentum):
    # momentum·old + new, with 1 − momentum rounded instead of momentum where it is the smaller one.
    plain = momentum * old + new
    corrected = old + (new - momentum_loss * old)
    # Triton's interpreter knows no "or" of comparisons of floats.
    return tl.where(short_momentum, plain, tl.where(_is_infinite(old), plain, corrected))


@triton.jit
def _step(
    g,
    p,
    spread,
    mean,
    buffer,
    numbers,
    CENTERED: tl.constexpr,
    MOMENTUM: tl.constexpr,
):
    # The quotient, the step that is made of it, and the state; native/update.hpp, line by line. What the rule does not
    # have stays as it is.
    lr_inside = numbers[0]
    grad_scale, gain, keep, eps_inside, eps_outside = numbers[2:7]
    momentum, momentum_loss, weight_decay, max_grad, max_quotient = numbers[7:12]
    is_first, new_is_base, short_momentum, nesterov, weight_decay_mode, delayed = numbers[12:]
    g = _limited(g * grad_scale, max_grad)
    g = tl.where(weight_decay_mode == _L2, g + weight_decay * p, g)

    spread = tl.where(is_first, g * g, spread)
    before = spread
    if CENTERED:
        deviation = g - mean
        mean = _average(mean, g, gain, keep, new_is_base)
        spread = _average(spread, (keep * deviation) * deviation, gain, keep, new_is_base)
    else:
        spread = _average(spread, g * g, gain, keep, new_is_base)

    # One of the two epsilons is 0, and adding 0 changes no bit of a number that is not negative.
    denominator = _root(tl.where(delayed, before, spread) + eps_inside) + eps_outside
    quotient = _divide(g, denominator)
    quotient = _limited(tl.where(g == 0.0, tl.where(denominator == 0.0, g, quotient), quotient), max_quotient)

    u = quotient
    if MOMENTUM:
        u = lr_inside * u
        buffer = _decayed_sum(buffer, u, momentum, momentum_loss, short_momentum)
        u = tl.where(nesterov, u + momentum * buffer, buffer)
    return quotient, u, spread, mean, buffer


@triton.jit
def _moved(p, u, numbers):
    lr_outside, weight_decay, weight_decay_mode = numbers[1], numbers[9], numbers[16]
    moved_by = lr_outside * u
    decayed = p - weight_decay * p
    with_care = tl.where(moved_by * p < 0.0, p, decayed)
    p = tl.where(weight_decay_mode == _DECOUPLED, decayed, tl.where(weight_decay_mode == _CAUTIOUS, with_care, p))
    return p - moved_by


@triton.jit
def _agreement_scale(count, size):
    # `rmsprop.rule.agreement_scale`
    scale = size.to(tl.float64) / count.to(tl.float64)
    return tl.where(scale > _MOST_FOR_THE_REST, _MOST_FOR_THE_REST, scale)


@triton.jit
def _load(pointer, left, BLOCK: tl.constexpr, WHOLE: tl.constexpr):
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
def _at(address, start, TYPE: tl.constexpr, WHOLE: tl.constexpr):
    pointer = address.to(tl.pointer_type(TYPE)) + start
    # This is what lets a thread read and write 16 bytes at a time.
    return tl.multiple_of(pointer, 16) if WHOLE else pointer


@triton.jit
def _mixed(word):
    word += 0x9E3779B97F4A7C15
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB
    return word ^ (word >> 31)


@triton.jit
def _number_of_update(row, steps, tensor):
    # What random bits go by besides seed, parameter and element. A counter on the device has counted it already.
    step = tl.load(steps + tensor)
    address, size = tl.load(row + _COUNTER), tl.load(row + _COUNTER_BYTES)
    step += tl.load(address.to(tl.pointer_type(tl.float32)), mask=size == 4, other=0.0).to(tl.int64)
    step += tl.load(address.to(tl.pointer_type(tl.float64)), mask=size == 8, other=0.0).to(tl.int64)
    return step


@triton.jit
def _places(row, start, BLOCK: tl.constexpr):
    # The indices of elements in the whole parameter.
    first, run, stride = tl.load(row + _FIRST), tl.load(row + _RUN), tl.load(row + _STRIDE)
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
def _noise(row, step, start, STREAM: tl.constexpr, BLOCK: tl.constexpr):
    # `rmsprop.storage.noise` and, for the streams of state, `state_noise`, line by line.
    seed, number = tl.load(row + _SEED).to(tl.uint64), tl.load(row + _NUMBER).to(tl.uint64)
    index = _places(row, start, BLOCK)
    if STREAM == _WEIGHTS:
        return _hashed(_mixed(_mixed(_mixed(seed) ^ step.to(tl.uint64)) ^ number), index)
    else:
        key = _mixed(_mixed(_mixed(seed) ^ (step >> _PERIOD_BITS).to(tl.uint64)) ^ (number + (STREAM << 56)))
        byte = _hashed(key, index >> 2) >> ((index & 3).to(tl.uint32) * 8)
        turned = (key.to(tl.uint32) + step.to(tl.uint32) * 0x9E3779B9) & 0xFFFFF000
        return (byte << 24) + (turned | (_mixed(key ^ step.to(tl.uint64)) >> 52).to(tl.uint32))


@triton.jit
def _by_chance(value, noise, STORED: tl.constexpr):
    # `rmsprop.storage.round_stochastically`, line by line.
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


@triton.jit
def _decode_positive(code, scale):
    # `rmsprop.codes.decode_positive`, line by line.
    raw = (code - 1 + (scale & 0x3FFF)) << (20 - (scale >> 14))
    raw = tl.where(code == 0, 0, raw)
    return tl.where(code >= 254, tl.where(code == 254, 0x7F800000, 0x7FC00000), raw).to(tl.float32, bitcast=True)


@triton.jit
def _decode_signed(code, base, DIGITS: tl.constexpr):
    # `rmsprop.codes.decode_signed`, line by line.
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
    bits = tl.reshape(bits, (BLOCK // _CODED, _CODED))
    noise = tl.reshape(tl.where(tl.arange(0, BLOCK) < left, noise, 0), (BLOCK // _CODED, _CODED))
    magnitude = bits & 0x7FFFFFFF
    return bits, magnitude, noise, tl.reduce(tl.where(magnitude < 0x7F800000, magnitude, 0), 1, _larger, True)


@triton.jit
def _encode_positive(value, noise, left, BLOCK: tl.constexpr):
    # `rmsprop.codes.encode_positive`, line by line.
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
    noise = tl.where(is_raised, tl.reshape(pairs, (BLOCK // _CODED, _CODED)), noise)
    code = (above + (noise >> (9 + digits).to(tl.uint32)).to(tl.int32)) >> shift
    code = 1 + tl.minimum(code, tl.minimum(252, (0x7F800000 >> shift) - 1 - origin))
    code = tl.where(magnitude == 0, 0, code)
    code = tl.where(magnitude >= 0x7F800000, tl.where(magnitude > 0x7F800000, 255, 254), code)
    return tl.reshape(code, (BLOCK,)), tl.reshape(((digits - 3) << 14) | origin, (BLOCK // _CODED,))


@triton.jit
def _encode_signed(value, noise, left, DIGITS: tl.constexpr, OCTAVES: tl.constexpr, BLOCK: tl.constexpr):
    # `rmsprop.codes.encode_signed`, line by line.
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
    return tl.reshape(code, (BLOCK,)), tl.reshape(base, (BLOCK // _CODED,))


@triton.jit
def _load_state(
    pointer, scales, start, left, STREAM: tl.constexpr, KEPT: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr
):
    stored = _load(pointer, left, BLOCK, WHOLE)
    if tl.uint8 == KEPT:
        offsets = tl.arange(0, BLOCK)
        pointer = tl.load(scales).to(tl.pointer_type(tl.int16)) + start // _CODED
        scale = tl.load(pointer + offsets // _CODED, mask=offsets < left, other=0).to(tl.int32) & 0xFFFF
        if STREAM == _SPREADS:
            return _decode_positive(stored.to(tl.int32), scale)
        elif STREAM == _MEANS:
            return _decode_signed(stored.to(tl.int32), scale, _MEAN_DIGITS)
        else:
            return _decode_signed(stored.to(tl.int32), scale, _BUFFER_DIGITS)
    elif tl.bfloat16 == KEPT:
        return stored.to(tl.float32)
    else:
        return stored


@triton.jit
def _store_state(
    pointer,
    scales,
    value,
    start,
    left,
    row,
    step,
    STREAM: tl.constexpr,
    KEPT: tl.constexpr,
    BLOCK: tl.constexpr,
    WHOLE: tl.constexpr,
):
    if tl.uint8 == KEPT:
        noise = _noise(row, step, start, STREAM, BLOCK)
        if STREAM == _SPREADS:
            code, scale = _encode_positive(value, noise, left, BLOCK)
        elif STREAM == _MEANS:
            code, scale = _encode_signed(value, noise, left, _MEAN_DIGITS, _MEAN_OCTAVES, BLOCK)
        else:
            code, scale = _encode_signed(value, noise, left, _BUFFER_DIGITS, _BUFFER_OCTAVES, BLOCK)
        _store(pointer, code, left, BLOCK, WHOLE)
        block = tl.arange(0, BLOCK // _CODED)
        place = tl.load(scales).to(tl.pointer_type(tl.int16)) + start // _CODED
        tl.store(place + block, scale.to(tl.int16), mask=block * _CODED < left)
    elif tl.bfloat16 == KEPT:
        noise = _noise(row, step, start, STREAM, BLOCK)
        _store(pointer, _by_chance(value, noise, KEPT), left, BLOCK, WHOLE)
    else:
        _store(pointer, value, left, BLOCK, WHOLE)


@triton.jit
def _update_block(
    addresses,
    start,
    left,
    numbers,
    row,
    step,
    agreement_scale,
    STORED: tl.constexpr,
    WORKING: tl.constexpr,
    KEPT: tl.constexpr,
    CENTERED: tl.constexpr,
    MOMENTUM: tl.constexpr,
    CAUTION: tl.constexpr,
    ROUNDING: tl.constexpr,
    BLOCK: tl.constexpr,
    WHOLE: tl.constexpr,
):
    grads = _at(addresses[0], start, STORED, WHOLE)
    params = _at(addresses[1], start, STORED, WHOLE)
    spreads = _at(addresses[2], start, KEPT, WHOLE)
    means = _at(addresses[3], start, KEPT, WHOLE)
    buffers = _at(addresses[4], start, KEPT, WHOLE)
    g = _load(grads, left, BLOCK, WHOLE).to(WORKING)
    p = _load(params, left, BLOCK, WHOLE).to(WORKING)
    if ROUNDING == "kahan":
        lost = _at(tl.load(row + LOST), start, STORED, False)
        p = p + _load(lost, left, BLOCK, WHOLE).to(WORKING)
    scales = row + _SPREAD_SCALES, row + _MEAN_SCALES, row + _BUFFER_SCALES
    spread = _load_state(spreads, scales[0], start, left, _SPREADS, KEPT, BLOCK, WHOLE)
    mean = _load_state(means, scales[1], start, left, _MEANS, KEPT, BLOCK, WHOLE) if CENTERED else spread
    buffer = _load_state(buffers, scales[2], start, left, _BUFFERS, KEPT, BLOCK, WHOLE) if MOMENTUM else spread
    quotient, u, spread, mean, buffer = _step(g, p, spread, mean, buffer, numbers, CENTERED, MOMENTUM)
    if CAUTION:
        u = tl.where(u * quotient > 0.0, agreement_scale * u, 0.0 * u)  # NaN stays NaN
    p = _moved(p, u, numbers)
    if ROUNDING == "stochastic":
        _store(params, _by_chance(p, _noise(row, step, start, _WEIGHTS, BLOCK), STORED), left, BLOCK, WHOLE)
    else:
        _store(params, p, left, BLOCK, WHOLE)
    if ROUNDING == "kahan":
        missing = p - p.to(STORED).to(WORKING)
        _store(lost, tl.where(tl.abs(missing) < float("inf"), missing, 0.0), left, BLOCK, WHOLE)
    _store_state(spreads, scales[0], spread, start, left, row, step, _SPREADS, KEPT, BLOCK, WHOLE)
    if CENTERED:
        _store_state(means, scales[1], mean, start, left, row, step, _MEANS, KEPT, BLOCK, WHOLE)
    if MOMENTUM:
        _store_state(buffers, scales[2], buffer, start, left, row, step, _BUFFERS, KEPT, BLOCK, WHOLE)


@triton.jit
def _plus(a, b):
    return a + b


@triton.jit
def _agreeing(
    addresses,
    start,
    left,
    numbers,
    row,
    STORED: tl.constexpr,
    WORKING: tl.constexpr,
    KEPT: tl.constexpr,
    CENTERED: tl.constexpr,
    ROUNDING: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # How many elements of a block take a step that agrees with their gradient.
    g = _load(_at(addresses[0], start, STORED, False), left, BLOCK, False).to(WORKING)
    p = _load(_at(addresses[1], start, STORED, False), left, BLOCK, False).to(WORKING)
    if ROUNDING == "kahan":
        p = p + _load(_at(tl.load(row + LOST), start, STORED, False), left, BLOCK, False).to(WORKING)
    spreads = _at(addresses[2], start, KEPT, False)
    means = _at(addresses[3], start, KEPT, False)
    buffers = _at(addresses[4], start, KEPT, False)
    spread = _load_state(spreads, row + _SPREAD_SCALES, start, left, _SPREADS, KEPT, BLOCK, False)
    mean = _load_state(means, row + _MEAN_SCALES, start, left, _MEANS, KEPT, BLOCK, False) if CENTERED else spread
    buffer = _load_state(buffers, row + _BUFFER_SCALES, start, left, _BUFFERS, KEPT, BLOCK, False)
    quotient, u, spread, mean, buffer = _step(g, p, spread, mean, buffer, numbers, CENTERED, True)
    agrees = tl.where(tl.arange(0, BLOCK) < left, u * quotient, 0.0) > 0.0
    return tl.reduce(agrees.to(tl.int32), 0, _plus).to(tl.int64)


@triton.jit(do_not_specialize=["span"])
def count_agreements(
    tensors,
    grads,
    rules,
    owners,
    span,
    grad_scale,
    found_inf,
    factor,
    agreements,
    STORED: tl.constexpr,
    WORKING: tl.constexpr,
    KEPT: tl.constexpr,
    CENTERED: tl.constexpr,
    ROUNDING: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Count the elements of all tensors whose step, as `update` would take it, agrees with their gradient.

    Whole numbers are added, so that the counts depend on no order.

    Args:
        tensors: As for `update`, and so are the other arguments.
        grads: The address of each tensor's gradient.
        rules: The rules, all with momentum.
        owners: Which tensor each program reads a part of.
        span: How many blocks a program reads.
        grad_scale: What gradients are to be divided by; or None.
        found_inf: Anything but 0 in it means that no step will be taken; or None.
        factor: What gradients are multiplied with beside that; or None.
        agreements: A count per tensor, which is added to.
        STORED: The type of parameters and gradients.
        WORKING: The type of the arithmetic.
        KEPT: The type of the state.
        CENTERED: Whether the rule is centered.
        ROUNDING: How parameters of 16 bits are rounded.
        BLOCK: How many elements are read at a time.
    """
    if found_inf is not None:
        if tl.load(found_inf) != 0.0:
            return
    tensor = tl.load(owners + tl.program_id(0)).to(tl.int64)
    row = tensors + tensor * WORDS_PER_TENSOR
    param, spread, mean, buffer = tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)
    addresses = (tl.load(grads + tensor), param, spread, mean, buffer)
    size, first_program = tl.load(row + 4), tl.load(row + 5)
    numbers = _read_numbers(rules + tl.load(row + 6) * WORDS_PER_RULE, grad_scale, factor, WORKING)
    begin = (tl.program_id(0).to(tl.int64) - first_program) * span * BLOCK
    count = tl.full((), 0, tl.int64)
    for nth in range(span):
        start = begin + nth * BLOCK
        if start < size:
            count += _agreeing(
                addresses, start, size - start, numbers, row, STORED, WORKING, KEPT, CENTERED, ROUNDING, BLOCK
            )
    tl.atomic_add(agreements + tensor, count)


@triton.jit
def _read_numbers(rule, grad_scale, factor, WORKING: tl.constexpr):
    # Numbers are combined in float64 and then rounded once, as they are on the host.
    numbers, flags = rule.to(tl.pointer_type(tl.float64)), rule.to(tl.pointer_type(tl.int32))
    lr, scale, weight_decay = tl.load(numbers + _LR), tl.load(numbers + _GRAD_SCALE), tl.load(numbers + _WEIGHT_DECAY)
    weight_decay_mode = tl.load(flags + _WEIGHT_DECAY_MODE)
    lr_bytes = tl.load(rule + _LR_BYTES)
    if lr_bytes != 0:
        address = tl.load(rule + LR_ADDRESS)
        lr = tl.load(address.to(tl.pointer_type(tl.float32)), mask=lr_bytes == 4, other=0.0).to(tl.float64)
        lr += tl.load(address.to(tl.pointer_type(tl.float64)), mask=lr_bytes == 8, other=0.0)
        weight_decay = tl.where(weight_decay_mode == _L2, weight_decay, weight_decay * lr)
    if grad_scale is not None:
        scale = scale * (1.0 / tl.load(grad_scale).to(tl.float64))
    if factor is not None:
        scale = scale * tl.load(factor)
    is_inside = tl.load(flags + _LR_IN_MOMENTUM) != 0
    return (
        (tl.where(is_inside, lr, 1.0) * tl.load(numbers + _MOMENTUM_GAIN)).to(WORKING),
        tl.where(is_inside, 1.0, lr).to(WORKING),
        scale.to(WORKING),
        tl.load(numbers + _GAIN).to(WORKING),
        tl.load(numbers + _KEEP).to(WORKING),
        tl.load(numbers + _EPS_INSIDE).to(WORKING),
        tl.load(numbers + _EPS_OUTSIDE).to(WORKING),
        tl.load(numbers + _MOMENTUM).to(WORKING),
        tl.load(numbers + _MOMENTUM_LOSS).to(WORKING),
        weight_decay.to(WORKING),
        tl.load(numbers + _MAX_GRAD).to(WORKING),
        tl.load(numbers + _MAX_QUOTIENT).to(WORKING),
        tl.load(numbers + _IS_FIRST) != 0,
        tl.load(flags + _NEW_IS_BASE) != 0,
        tl.load(flags + _SHORT_MOMENTUM) != 0,
        tl.load(flags + _NESTEROV) != 0,
        weight_decay_mode,
        tl.load(flags + _DELAYED) != 0,
    )


@triton.jit(do_not_specialize=["span"])
def update(
    tensors,
    grads,
    rules,
    owners,
    span,
    grad_scale,
    found_inf,
    factor,
    agreements,
    steps,
    STORED: tl.constexpr,
    WORKING: tl.constexpr,
    KEPT: tl.constexpr,
    CENTERED: tl.constexpr,
    MOMENTUM: tl.constexpr,
    CAUTION: tl.constexpr,
    ROUNDING: tl.constexpr,
    PACKING: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Update all tensors that the tables name.

    Args:
        tensors: A row of `WORDS_PER_TENSOR` words of 8 bytes per tensor.
        grads: The address of each tensor's gradient.
        rules: A row of `WORDS_PER_RULE` words of 8 bytes per rule.
        owners: Which tensor each program updates a part of; those of one tensor follow each other.
        span: How many blocks a program updates.
        grad_scale: What gradients are to be divided by, one element on the device; or None.
        found_inf: Anything but 0 in it means that nothing may change; one element on the device; or None.
        factor: What gradients are multiplied with beside that, one float64 on the device; or None.
        agreements: How many elements of each tensor take a step that agrees with their gradient; None without caution.
        steps: The number of each tensor's update, 0 where a counter on the device knows it; None without random bits.
        STORED: The type of parameters and gradients.
        WORKING: The type of the arithmetic: float64 for float64, else float32.
        KEPT: The type of the state: that of the arithmetic, bfloat16, or bytes for codes.
        CENTERED: Whether the rule is centered.
        MOMENTUM: Whether it has momentum.
        CAUTION: Whether steps against gradients are left out.
        ROUNDING: How parameters of 16 bits are rounded.
        PACKING: What state is packed into, or ``"none"``.
        BLOCK: How many elements are updated at a time.
    """
    if found_inf is not None:
        if tl.load(found_inf) != 0.0:
            return
    tensor = tl.load(owners + tl.program_id(0)).to(tl.int64)
    row = tensors + tensor * WORDS_PER_TENSOR
    grad = tl.load(grads + tensor)
    param, spread, mean, buffer = tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)
    size, first_program = tl.load(row + 4), tl.load(row + 5)
    addresses = (grad, param, spread, mean, buffer)
    aligned = ((grad | param | spread | mean | buffer) % 16) == 0
    numbers = _read_numbers(rules + tl.load(row + 6) * WORDS_PER_RULE, grad_scale, factor, WORKING)
    agreement_scale = 1.0
    if CAUTION:
        agreement_scale = _agreement_scale(tl.load(agreements + tensor), size).to(WORKING)
    step = 0
    if ROUNDING == "stochastic" or PACKING != "none":
        step = _number_of_update(row, steps, tensor)

    begin = (tl.program_id(0).to(tl.int64) - first_program) * span * BLOCK
    for nth in range(span):
        start = begin + nth * BLOCK
        left = size - start
        if aligned & (left >= BLOCK):
            _update_block(
                addresses,
                start,
                left,
                numbers,
                row,
                step,
                agreement_scale,
                STORED,
                WORKING,
                KEPT,
                CENTERED,
                MOMENTUM,
                CAUTION,
                ROUNDING,
                BLOCK,
                True,
            )
        elif left > 0:
            _update_block(
                addresses,
                start,
                left,
                numbers,
                row,
                step,
                agreement_scale,
                STORED,
                WORKING,
                KEPT,
                CENTERED,
                MOMENTUM,
                CAUTION,
                ROUNDING,
                BLOCK,
                False,
            )
