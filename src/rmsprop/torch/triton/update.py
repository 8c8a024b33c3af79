"""The update of one element, on numbers in working precision: ``native/update.hpp``, line by line.

The numbers of a rule are what `numbers.read_numbers` returns.
"""

import triton
import triton.language as tl

from rmsprop.torch.triton.numbers import CAUTIOUS, DECOUPLED, L2
from rmsprop.update_numbers import WITH_QUOTIENT

_WITH_QUOTIENT = tl.constexpr(WITH_QUOTIENT)


@triton.jit
def _divide(a, b):
    return tl.div_rn(a, b) if a.dtype == tl.float32 else a / b


@triton.jit
def _root(x):
    return tl.sqrt_rn(x) if x.dtype == tl.float32 else tl.sqrt(x)


@triton.jit
def is_infinite(x):
    """Whether numbers are infinite."""
    return tl.abs(x) == float("inf")


@triton.jit
def _average(old, new, gain, keep, new_is_base):
    # gain·new + keep·old from the side that weighs more; an infinite average stays infinite.
    base = tl.where(new_is_base, new, old)
    other = tl.where(new_is_base, old, new)
    share = tl.where(new_is_base, keep, gain)
    return tl.where(is_infinite(base), base + other, base + share * (other - base))


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
    return tl.where(short_momentum, plain, tl.where(is_infinite(old), plain, corrected))


@triton.jit
def quotient_of(g, grad_scale, p, spread, mean, numbers, CENTERED: tl.constexpr):
    """Return the quotient g/√v, and the averages after the update; one that the rule doesn't have stays as it is."""
    gain, keep, eps_inside, eps_outside = numbers[3:7]
    weight_decay, max_grad, max_quotient, is_first, new_is_base = numbers[9:14]
    weight_decay_mode, delayed = numbers[16:18]
    g = _limited(g * grad_scale, max_grad)
    g = tl.where(weight_decay_mode == L2, g + weight_decay * p, g)

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
    quotient = tl.where(g == 0.0, tl.where(denominator == 0.0, g, quotient), quotient)
    return _limited(quotient, max_quotient), spread, mean


@triton.jit
def step_of(quotient, buffer, numbers):
    """Return the step that momentum makes of a quotient, and the buffer after it."""
    lr_inside, momentum, momentum_loss = numbers[0], numbers[7], numbers[8]
    short_momentum, nesterov = numbers[14:16]
    u = lr_inside * quotient
    buffer = _decayed_sum(buffer, u, momentum, momentum_loss, short_momentum)
    return tl.where(nesterov, u + momentum * buffer, buffer), buffer


@triton.jit
def moved(p, step, numbers):
    """Return a parameter after a step and weight decay."""
    lr_outside, weight_decay, weight_decay_mode = numbers[1], numbers[9], numbers[16]
    moved_by = lr_outside * step
    decayed = p - weight_decay * p
    with_care = tl.where(moved_by * p < 0.0, p, decayed)
    p = tl.where(weight_decay_mode == DECOUPLED, decayed, tl.where(weight_decay_mode == CAUTIOUS, with_care, p))
    return p - moved_by


@triton.jit
def averaged(p, quotient, iterate, numbers):
    """Return a parameter that averages iterates, and the iterate, after a step that the iterate takes."""
    lr_outside, weight_decay, weight_decay_mode = numbers[1], numbers[9], numbers[16]
    share, average_lr = numbers[19], numbers[20]
    u = tl.where(weight_decay_mode == _WITH_QUOTIENT, quotient + weight_decay * p, quotient)
    return (p + share * (iterate - p)) - average_lr * u, iterate - lr_outside * u


@triton.jit
def updated(
    g,
    grad_scale,
    p,
    spread,
    mean,
    buffer,
    numbers,
    update_scale,
    agreement_scale,
    CENTERED: tl.constexpr,
    BUFFER: tl.constexpr,
):
    """Return parameter, averages and buffer after an update; what the rule doesn't have stays as it is.

    Args:
        g: The gradient.
        grad_scale: What it is multiplied with first.
        p: The parameter.
        spread: v, or v − m².
        mean: m.
        buffer: The momentum buffer, or the iterate.
        numbers: The numbers of the rule.
        update_scale: What the quotient is multiplied with; or None.
        agreement_scale: What a step is multiplied with that agrees with its gradient, others being 0; or None.
        CENTERED: Whether the rule is centered.
        BUFFER: What there is beside averages: "none", "momentum", or the "iterate" that the parameter averages.
    """
    quotient, spread, mean = quotient_of(g, grad_scale, p, spread, mean, numbers, CENTERED)
    if update_scale is not None:
        quotient = update_scale * quotient
    if BUFFER == "iterate":
        p, buffer = averaged(p, quotient, buffer, numbers)
    else:
        step = quotient
        if BUFFER == "momentum":
            step, buffer = step_of(quotient, buffer, numbers)
        if agreement_scale is not None:
            step = tl.where(step * quotient > 0.0, agreement_scale * step, 0.0 * step)  # NaN stays NaN
        p = moved(p, step, numbers)
    return p, spread, mean, buffer
