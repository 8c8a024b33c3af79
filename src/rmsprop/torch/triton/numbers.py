"""The numbers of a rule, read from the table of rules and rounded to the working precision."""

import triton
import triton.language as tl

from rmsprop.layout import WEIGHT_DECAY_MODES, offset
from rmsprop.torch.triton.tables import LR_ADDRESS, LR_BYTES

L2, DECOUPLED, CAUTIOUS = (tl.constexpr(WEIGHT_DECAY_MODES[mode]) for mode in ("l2", "decoupled", "cautious"))
# Where the numbers stand: numbers in words of 8 bytes, choices in words of 4.
AT_LR, AT_GRAD_SCALE, AT_MAX_GRAD = (tl.constexpr(offset(name) // 8) for name in ("lr", "grad_scale", "max_grad"))
AT_GAIN, AT_KEEP, AT_WEIGHT_DECAY = (tl.constexpr(offset(name) // 8) for name in ("gain", "keep", "weight_decay"))
AT_EPS_INSIDE, AT_EPS_OUTSIDE = (tl.constexpr(offset(name) // 8) for name in ("eps_inside", "eps_outside"))
AT_MOMENTUM, AT_MOMENTUM_LOSS, AT_MOMENTUM_GAIN = (
    tl.constexpr(offset(name) // 8) for name in ("momentum", "momentum_loss", "momentum_gain")
)
AT_MAX_QUOTIENT, AT_IS_FIRST = (tl.constexpr(offset(name) // 8) for name in ("max_quotient", "is_first"))
AT_SHARE, AT_AVERAGE_LR = (tl.constexpr(offset(name) // 8) for name in ("share", "average_lr"))
AT_NEW_IS_BASE, AT_SHORT_MOMENTUM = (tl.constexpr(offset(name) // 4) for name in ("new_is_base", "short_momentum"))
AT_NESTEROV, AT_LR_IN_MOMENTUM, AT_WEIGHT_DECAY_MODE, AT_DELAYED = (
    tl.constexpr(offset(name) // 4) for name in ("nesterov", "lr_in_momentum", "weight_decay_mode", "delayed")
)


@triton.jit
def read_numbers(rule, grad_scale, factor, WORKING: tl.constexpr):
    """Return the numbers of a rule in the order of `update.step_of`.

    They are combined in float64 and then rounded once, as they are on the host.

    Args:
        rule: Its row in the table.
        grad_scale: What gradients are to be divided by, or None.
        factor: What they are multiplied with beside that, or None.
        WORKING: The type of the arithmetic.
    """
    numbers, flags = rule.to(tl.pointer_type(tl.float64)), rule.to(tl.pointer_type(tl.int32))
    lr, scale = tl.load(numbers + AT_LR), tl.load(numbers + AT_GRAD_SCALE)
    weight_decay, weight_decay_mode = tl.load(numbers + AT_WEIGHT_DECAY), tl.load(flags + AT_WEIGHT_DECAY_MODE)
    lr_bytes = tl.load(rule + LR_BYTES)
    if lr_bytes != 0:
        address = tl.load(rule + LR_ADDRESS)
        lr = tl.load(address.to(tl.pointer_type(tl.float32)), mask=lr_bytes == 4, other=0.0).to(tl.float64)
        lr += tl.load(address.to(tl.pointer_type(tl.float64)), mask=lr_bytes == 8, other=0.0)
        weight_decay = tl.where(weight_decay_mode == L2, weight_decay, weight_decay * lr)
    if grad_scale is not None:
        scale = scale * (1.0 / tl.load(grad_scale).to(tl.float64))
    if factor is not None:
        scale = scale * tl.load(factor)
    is_inside = tl.load(flags + AT_LR_IN_MOMENTUM) != 0
    return (
        (tl.where(is_inside, lr, 1.0) * tl.load(numbers + AT_MOMENTUM_GAIN)).to(WORKING),
        tl.where(is_inside, 1.0, lr).to(WORKING),
        scale.to(WORKING),
        tl.load(numbers + AT_GAIN).to(WORKING),
        tl.load(numbers + AT_KEEP).to(WORKING),
        tl.load(numbers + AT_EPS_INSIDE).to(WORKING),
        tl.load(numbers + AT_EPS_OUTSIDE).to(WORKING),
        tl.load(numbers + AT_MOMENTUM).to(WORKING),
        tl.load(numbers + AT_MOMENTUM_LOSS).to(WORKING),
        weight_decay.to(WORKING),
        tl.load(numbers + AT_MAX_GRAD).to(WORKING),
        tl.load(numbers + AT_MAX_QUOTIENT).to(WORKING),
        tl.load(numbers + AT_IS_FIRST) != 0,
        tl.load(flags + AT_NEW_IS_BASE) != 0,
        tl.load(flags + AT_SHORT_MOMENTUM) != 0,
        tl.load(flags + AT_NESTEROV) != 0,
        weight_decay_mode,
        tl.load(flags + AT_DELAYED) != 0,
        scale,
        tl.load(numbers + AT_SHARE).to(WORKING),
        tl.load(numbers + AT_AVERAGE_LR).to(WORKING),
    )


@triton.jit
def grad_scales(numbers, unit, start, left, BLOCK: tl.constexpr):
    """Return what the gradients of a block are multiplied with: one number, or one per element.

    Args:
        numbers: The numbers of the rule.
        unit: The tensor's row in the table of units, or None.
        start: The first element.
        left: How many elements are left.
        BLOCK: How many elements there are.
    """
    if unit is None:
        return numbers[2]
    else:
        factors, offsets = tl.load(unit).to(tl.pointer_type(tl.float64)), tl.arange(0, BLOCK)
        factor = tl.load(factors + (start + offsets) // tl.load(unit + 1), mask=offsets < left, other=1.0)
        return (numbers[18] * factor).to(numbers[2].dtype)
