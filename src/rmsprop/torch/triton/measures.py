"""What an update of a whole tensor depends on, measured before it: how many steps agree, and the squares of quotients.

A program of either kernel reads what one of `kernel.update` does, and changes nothing but the measures. What is added
are whole numbers, so that a sum depends on no order.
"""

import triton
import triton.language as tl

from rmsprop.clipping import WORDS
from rmsprop.torch.triton.norm import add_block, add_part
from rmsprop.torch.triton.numbers import grad_scales, read_numbers
from rmsprop.torch.triton.storage import arrays_of, read_gradient, read_param, read_state
from rmsprop.torch.triton.tables import WORDS_PER_RULE, part_of
from rmsprop.torch.triton.update import quotient_of, step_of

_WORDS = tl.constexpr(WORDS)


@triton.jit
def _plus(a, b):
    return a + b


@triton.jit
def _quotients(
    arrays, row, start, left, numbers, unit, CENTERED: tl.constexpr, ROUNDING: tl.constexpr, BLOCK: tl.constexpr
):
    g = read_gradient(arrays, start, left, numbers[2].dtype, BLOCK, False)
    p = read_param(arrays, row, start, left, numbers[2].dtype, ROUNDING, BLOCK, False)
    state = read_state(arrays, row, start, left, CENTERED, "none", BLOCK, False)
    scale = grad_scales(numbers, unit, start, left, BLOCK)
    found = quotient_of(g, scale, p, state[0], state[1], numbers, CENTERED)
    return tl.where(tl.arange(0, BLOCK) < left, found[0], 0.0)


@triton.jit(do_not_specialize=["span"])
def measure_quotients(
    tensors,
    grads,
    rules,
    owners,
    span,
    grad_scale,
    found_inf,
    factor,
    units,
    words,
    STORED: tl.constexpr,
    WORKING: tl.constexpr,
    KEPT: tl.constexpr,
    CENTERED: tl.constexpr,
    ROUNDING: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add up the squares of the quotients g/√v of all tensors.

    Args:
        tensors: As for `kernel.update`, and so are the other arguments.
        grads: The address of each tensor's gradient.
        rules: The rules.
        owners: Which tensor each program reads a part of.
        span: How many blocks a program reads.
        grad_scale: What gradients are to be divided by; or None.
        found_inf: Anything but 0 in it means that no step will be taken; or None.
        factor: What gradients are multiplied with beside that; or None.
        units: What units of gradients are multiplied with; or None.
        words: A sum per tensor, as `rmsprop.clipping.squares` has it, which is added to.
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
    tensor, row, begin, size = part_of(tensors, owners, span, BLOCK)
    arrays = arrays_of(row, tl.load(grads + tensor), STORED, KEPT)
    numbers = read_numbers(rules + tl.load(row + 6) * WORDS_PER_RULE, grad_scale, factor, WORKING)
    unit = units
    if units is not None:
        unit = units + 2 * tensor
    words += tensor * _WORDS
    limb = tl.full((), 1, tl.int64)
    high, low = tl.full((), 0, tl.int64), tl.full((), 0, tl.int64)
    for nth in range(span):
        start = begin + nth * BLOCK
        if start < size:
            found = _quotients(arrays, row, start, size - start, numbers, unit, CENTERED, ROUNDING, BLOCK)
            limb, high, low = add_block(found.to(tl.float64), words, limb, high, low)
    add_part(words, limb, high, low)


@triton.jit
def _agreeing(
    arrays,
    row,
    start,
    left,
    numbers,
    unit,
    update_scale,
    CENTERED: tl.constexpr,
    ROUNDING: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # How many elements of a block take a step that agrees with their gradient.
    quotient = _quotients(arrays, row, start, left, numbers, unit, CENTERED, ROUNDING, BLOCK)
    if update_scale is not None:
        quotient = update_scale * quotient
    state = read_state(arrays, row, start, left, False, "momentum", BLOCK, False)
    step = step_of(quotient, state[2], numbers)[0]
    return tl.reduce((step * quotient > 0.0).to(tl.int32), 0, _plus).to(tl.int64)


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
    units,
    update_scales,
    agreements,
    STORED: tl.constexpr,
    WORKING: tl.constexpr,
    KEPT: tl.constexpr,
    CENTERED: tl.constexpr,
    ROUNDING: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Count the elements of all tensors whose step, as `kernel.update` would take it, agrees with their gradient.

    Args:
        tensors: As for `kernel.update`, and so are the other arguments.
        grads: The address of each tensor's gradient.
        rules: The rules, all with momentum.
        owners: Which tensor each program reads a part of.
        span: How many blocks a program reads.
        grad_scale: What gradients are to be divided by; or None.
        found_inf: Anything but 0 in it means that no step will be taken; or None.
        factor: What gradients are multiplied with beside that; or None.
        units: What units of gradients are multiplied with; or None.
        update_scales: What quotients are multiplied with; or None.
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
    tensor, row, begin, size = part_of(tensors, owners, span, BLOCK)
    arrays = arrays_of(row, tl.load(grads + tensor), STORED, KEPT)
    numbers = read_numbers(rules + tl.load(row + 6) * WORDS_PER_RULE, grad_scale, factor, WORKING)
    unit, update_scale = units, update_scales
    if units is not None:
        unit = units + 2 * tensor
    if update_scales is not None:
        update_scale = tl.load(update_scales + tensor).to(WORKING)
    count = tl.full((), 0, tl.int64)
    for nth in range(span):
        start = begin + nth * BLOCK
        if start < size:
            count += _agreeing(arrays, row, start, size - start, numbers, unit, update_scale, CENTERED, ROUNDING, BLOCK)
    tl.atomic_add(agreements + tensor, count)
