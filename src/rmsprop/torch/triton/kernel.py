"""The walk over all tensors of a step in one launch.

The update reads p, g, v and writes p, v; nothing lies in between.
"""

import triton
import triton.language as tl

from rmsprop.torch.triton.noise import number_of_update
from rmsprop.torch.triton.numbers import grad_scales, read_numbers
from rmsprop.torch.triton.storage import arrays_of, read_gradient, read_param, read_state, write_param, write_state
from rmsprop.torch.triton.tables import WORDS_PER_RULE, part_of
from rmsprop.torch.triton.update import updated


@triton.jit
def _update_block(
    tensor,
    scales,
    start,
    left,
    numbers,
    CENTERED: tl.constexpr,
    BUFFER: tl.constexpr,
    ROUNDING: tl.constexpr,
    BLOCK: tl.constexpr,
    WHOLE: tl.constexpr,
):
    arrays, row, step = tensor
    unit, update_scale, agreement_scale = scales
    g = read_gradient(arrays, start, left, numbers[2].dtype, BLOCK, WHOLE)
    p = read_param(arrays, row, start, left, numbers[2].dtype, ROUNDING, BLOCK, WHOLE)
    spread, mean, buffer = read_state(arrays, row, start, left, CENTERED, BUFFER, BLOCK, WHOLE)
    scale = grad_scales(numbers, unit, start, left, BLOCK)
    p, spread, mean, buffer = updated(
        g, scale, p, spread, mean, buffer, numbers, update_scale, agreement_scale, CENTERED, BUFFER
    )
    write_param(arrays, p, row, step, start, left, ROUNDING, BLOCK, WHOLE)
    write_state(arrays, (spread, mean, buffer), row, step, start, left, CENTERED, BUFFER, BLOCK, WHOLE)


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
    units,
    update_scales,
    agreement_scales,
    steps,
    STORED: tl.constexpr,
    WORKING: tl.constexpr,
    KEPT: tl.constexpr,
    CENTERED: tl.constexpr,
    BUFFER: tl.constexpr,
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
        units: Per tensor the address of what its units of gradients are multiplied with, float64, and how many elements
            are in each; or None.
        update_scales: What the quotients of each tensor are multiplied with, float64; or None.
        agreement_scales: What its steps are multiplied with that agree with their gradients, those of other elements
            being 0; or None.
        steps: The number of each tensor's update, 0 where a counter on the device knows it; None without random bits.
        STORED: The type of parameters and gradients.
        WORKING: The type of the arithmetic: float64 for float64, else float32.
        KEPT: The type of the state: that of the arithmetic, bfloat16, or bytes for codes.
        CENTERED: Whether the rule is centered.
        BUFFER: What there is beside averages: "none", "momentum", or the "iterate" that the parameter averages.
        ROUNDING: How parameters of 16 bits are rounded.
        PACKING: What state is packed into, or ``"none"``.
        BLOCK: How many elements are updated at a time.
    """
    if found_inf is not None:
        if tl.load(found_inf) != 0.0:
            return
    tensor, row, begin, size = part_of(tensors, owners, span, BLOCK)
    grad, param, spread = tl.load(grads + tensor), tl.load(row), tl.load(row + 1)
    mean, buffer = tl.load(row + 2), tl.load(row + 3)
    aligned = ((grad | param | spread | mean | buffer) % 16) == 0
    numbers = read_numbers(rules + tl.load(row + 6) * WORDS_PER_RULE, grad_scale, factor, WORKING)
    unit, update_scale, agreement_scale = units, update_scales, agreement_scales
    if units is not None:
        unit = units + 2 * tensor
    if update_scales is not None:
        update_scale = tl.load(update_scales + tensor).to(WORKING)
    if agreement_scales is not None:
        agreement_scale = tl.load(agreement_scales + tensor).to(WORKING)
    scales = (unit, update_scale, agreement_scale)
    step = 0
    if ROUNDING == "stochastic" or PACKING != "none":
        step = number_of_update(row, steps, tensor)

    of_tensor = (arrays_of(row, grad, STORED, KEPT), row, step)
    for nth in range(span):
        start = begin + nth * BLOCK
        left = size - start
        if aligned & (left >= BLOCK):
            _update_block(of_tensor, scales, start, left, numbers, CENTERED, BUFFER, ROUNDING, BLOCK, True)
        elif left > 0:
            _update_block(of_tensor, scales, start, left, numbers, CENTERED, BUFFER, ROUNDING, BLOCK, False)
