"""The walk over all tensors of a step in one launch, and the count before it that ``caution`` needs.

The update reads p, g, v and writes p, v; nothing lies in between.
"""

import triton
import triton.language as tl

from rmsprop.rule import MOST_FOR_THE_REST
from rmsprop.torch.triton.noise import number_of_update
from rmsprop.torch.triton.numbers import read_numbers
from rmsprop.torch.triton.storage import arrays_of, read_gradient, read_param, read_state, write_param, write_state
from rmsprop.torch.triton.tables import WORDS_PER_RULE, WORDS_PER_TENSOR
from rmsprop.torch.triton.update import quotient_of, step_of, updated

_MOST_FOR_THE_REST = tl.constexpr(MOST_FOR_THE_REST)


@triton.jit
def _plus(a, b):
    return a + b


@triton.jit
def _agreement_scale(count, size):
    # `rmsprop.rule.agreement_scale`
    scale = size.to(tl.float64) / count.to(tl.float64)
    return tl.where(scale > _MOST_FOR_THE_REST, _MOST_FOR_THE_REST, scale)


@triton.jit
def _agreeing(
    arrays,
    row,
    start,
    left,
    numbers,
    CENTERED: tl.constexpr,
    ROUNDING: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # How many elements of a block take a step that agrees with their gradient.
    g = read_gradient(arrays, start, left, numbers[0].dtype, BLOCK, False)
    p = read_param(arrays, row, start, left, numbers[0].dtype, ROUNDING, BLOCK, False)
    spread, mean, buffer = read_state(arrays, row, start, left, CENTERED, True, BLOCK, False)
    quotient, spread, mean = quotient_of(g, p, spread, mean, numbers, CENTERED)
    step, buffer = step_of(quotient, buffer, numbers)
    agrees = tl.where(tl.arange(0, BLOCK) < left, step * quotient, 0.0) > 0.0
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
    arrays = arrays_of(row, tl.load(grads + tensor), STORED, KEPT)
    size, first_program = tl.load(row + 4), tl.load(row + 5)
    numbers = read_numbers(rules + tl.load(row + 6) * WORDS_PER_RULE, grad_scale, factor, WORKING)
    begin = (tl.program_id(0).to(tl.int64) - first_program) * span * BLOCK
    count = tl.full((), 0, tl.int64)
    for nth in range(span):
        start = begin + nth * BLOCK
        if start < size:
            count += _agreeing(arrays, row, start, size - start, numbers, CENTERED, ROUNDING, BLOCK)
    tl.atomic_add(agreements + tensor, count)


@triton.jit
def _update_block(
    arrays,
    row,
    step,
    start,
    left,
    numbers,
    agreement_scale,
    CENTERED: tl.constexpr,
    MOMENTUM: tl.constexpr,
    CAUTION: tl.constexpr,
    ROUNDING: tl.constexpr,
    BLOCK: tl.constexpr,
    WHOLE: tl.constexpr,
):
    g = read_gradient(arrays, start, left, numbers[0].dtype, BLOCK, WHOLE)
    p = read_param(arrays, row, start, left, numbers[0].dtype, ROUNDING, BLOCK, WHOLE)
    spread, mean, buffer = read_state(arrays, row, start, left, CENTERED, MOMENTUM, BLOCK, WHOLE)
    p, spread, mean, buffer = updated(g, p, spread, mean, buffer, numbers, agreement_scale, CENTERED, MOMENTUM, CAUTION)
    write_param(arrays, p, row, step, start, left, ROUNDING, BLOCK, WHOLE)
    write_state(arrays, (spread, mean, buffer), row, step, start, left, CENTERED, MOMENTUM, BLOCK, WHOLE)


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
    grad, param, spread = tl.load(grads + tensor), tl.load(row), tl.load(row + 1)
    mean, buffer = tl.load(row + 2), tl.load(row + 3)
    aligned = ((grad | param | spread | mean | buffer) % 16) == 0
    arrays = arrays_of(row, grad, STORED, KEPT)
    size, first_program = tl.load(row + 4), tl.load(row + 5)
    numbers = read_numbers(rules + tl.load(row + 6) * WORDS_PER_RULE, grad_scale, factor, WORKING)
    scale = 1.0
    if CAUTION:
        scale = _agreement_scale(tl.load(agreements + tensor), size).to(WORKING)
    step = 0
    if ROUNDING == "stochastic" or PACKING != "none":
        step = number_of_update(row, steps, tensor)

    begin = (tl.program_id(0).to(tl.int64) - first_program) * span * BLOCK
    for nth in range(span):
        start = begin + nth * BLOCK
        left = size - start
        if aligned & (left >= BLOCK):
            _update_block(
                arrays, row, step, start, left, numbers, scale, CENTERED, MOMENTUM, CAUTION, ROUNDING, BLOCK, True
            )
        elif left > 0:
            _update_block(
                arrays, row, step, start, left, numbers, scale, CENTERED, MOMENTUM, CAUTION, ROUNDING, BLOCK, False
            )
